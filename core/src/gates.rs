//! Feature gates: fields that count only where the operator was told so (`reference/api.md` §5.3). Behind a closed gate
//! a field is as good as absent, and an Event says which gate it needs: a Pod that mounted a claim that nobody
//! makes could never be scheduled.

use std::collections::BTreeSet;

use crate::api::IvoryClusterSpec;

/// A field behind a gate.
struct Gated {
    gate: &'static str,
    path: &'static str,
    /// Takes the field out of a spec. Whether it was there.
    take: fn(&mut IvoryClusterSpec) -> bool,
}

const TABLE: &[Gated] = &[
    Gated {
        gate: "InstanceSidecars",
        path: "spec.instances[].containers",
        take: |s| s.instances.iter_mut().filter_map(|i| take(&mut i.containers)).count() > 0,
    },
    Gated {
        gate: "TablespaceVolumes",
        path: "spec.instances[].tablespaceVolumes",
        take: |s| {
            s.instances.iter_mut().filter_map(|i| take(&mut i.tablespace_volumes)).count() > 0
        },
    },
];

/// Empties a list; none if it was empty.
fn take<T>(list: &mut Vec<T>) -> Option<Vec<T>> {
    Some(std::mem::take(list)).filter(|taken| !taken.is_empty())
}

/// Takes out of a spec what is behind closed gates. What that was, and which gate it needs, for people.
pub fn close(spec: &mut IvoryClusterSpec, open: &BTreeSet<String>) -> Vec<String> {
    let closed = TABLE.iter().filter(|row| !open.contains(row.gate));
    let taken = closed.filter_map(|row| {
        let text = || format!("{} needs the feature gate {}", row.path, row.gate);
        (row.take)(spec).then(text)
    });
    taken.collect()
}
