//! > Eventually stable: when faults stop, every cluster reaches its spec within a bound and then is quiet.
//!
//! Looked at wherever a story waits, and at its end. The bound is the story's own (`within`); exploration's is an hour, and
//! then the operator has to fall silent within twenty minutes. When a bound is missed, [`awaited`] says what is awaited, by
//! whom, and since when: in the words of the operator's last plan, and in those of the cluster's conditions.

use ivory_core::Kind;

use super::witness::Checkers;
use super::{Promise, When};
use crate::scenario::alias::Aliases;
use crate::scenario::driver::Driver;
use crate::world::KubeId;

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 16,
    name: "eventually stable",
    words: "Eventually stable: when faults stop, every cluster reaches its spec within a bound and then is quiet.",
    when: &[When::End],
    file: file!(),
    held_by: &[],
};

/// What is awaited, by whom, since when: a sentence each.
#[must_use]
pub fn awaited(world: &mut dyn Driver, aliases: &Aliases) -> Vec<String> {
    let now = world.now();
    let mut all = Vec::new();
    let checkers = world.world().and_then(|w| w.witness::<Checkers>());
    for ((kube, _, cluster), plan) in checkers.into_iter().flat_map(|c| c.plans().iter()) {
        for (wait, since) in &plan.waits {
            let (from, span) = (since.seconds(), (now - *since).seconds());
            let wait = aliases.show(*kube, wait);
            all.push(format!(
                "the operator, for {cluster}, since {from:.1} s ({span:.1} s): {wait}"
            ));
        }
    }
    let kubes = u8::try_from(world.kubes()).unwrap_or(u8::MAX);
    for kube in (0..kubes).map(KubeId) {
        for cluster in world.list(kube, Kind::IvoryCluster, None) {
            let conditions = cluster.at(&["status", "conditions"]).and_then(|c| c.as_array());
            for condition in conditions.into_iter().flatten() {
                let text = |key: &str| condition[key].as_str().unwrap_or_default();
                if text("status") == "True" && text("type") != "Progressing" {
                    continue;
                }
                let message = aliases.show(kube, text("message"));
                all.push(format!(
                    "{}: {} is {} ({}) since {}: {message}",
                    cluster.meta.name,
                    text("type"),
                    text("status"),
                    text("reason"),
                    text("lastTransitionTime"),
                ));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::site::build;
    use crate::scenario::parse::parse;
    use crate::scenario::run::run;

    #[test]
    fn a_bound_that_is_missed_says_what_is_awaited_by_whom_and_since_when() {
        let text = "description: Nobody is that fast.\nsteps:\n  - apply: examples/kustomize/ivory/ivory.yaml\n  \
            - wait: {ready: true}\n    within: 10s\n";
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let story = parse("fast.yaml", folder, text).expect("a story");
        let outcome = run(&story, None, false, &build).expect("a world");
        let failure = outcome.failure.expect("it takes longer");
        assert_eq!(failure.promise, Some(PROMISE.number));
        let said = |part: &str| failure.awaited.iter().any(|line| line.contains(part));
        assert!(said("the operator, for hippo, since "), "{:?}", failure.awaited);
        assert!(said("hippo: Reconciled is False"), "{:?}", failure.awaited);
    }
}
