//! The disruption budget of a set (`reference/reconcile.md` §2.15).

use k8s_openapi::api::policy::v1::PodDisruptionBudgetSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::build::meta::owned;
use crate::cluster::{Cluster, Set};
use crate::kind::Kind;
use crate::object::Object;
use crate::{labels, names};

/// How many instances of a set are kept available; none when the set wants no budget.
#[must_use]
pub fn minimum(set: &Set<'_>) -> Option<IntOrString> {
    let default = IntOrString::Int(i32::from(set.spec.replicas > 1));
    let minimum = set.spec.min_available.clone().unwrap_or(default);
    (scaled(&minimum, set.spec.replicas) > 0).then_some(minimum)
}

/// The budget of a set that keeps so many available.
#[must_use]
pub fn budget(cluster: &Cluster, set: &Set<'_>, minimum: IntOrString) -> Object {
    let selector = [(labels::CLUSTER, &*cluster.name), (labels::INSTANCE_SET, &*set.name)];
    let spec = PodDisruptionBudgetSpec {
        min_available: Some(minimum),
        selector: Some(LabelSelector {
            match_labels: Some(selector.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            match_expressions: None,
        }),
        ..PodDisruptionBudgetSpec::default()
    };
    let name = names::set_pdb(&cluster.name, &set.name);
    let own = [(labels::INSTANCE_SET, &*set.name)];
    let sources = [&cluster.spec.metadata, &set.spec.metadata];
    owned(cluster, Kind::PodDisruptionBudget, &name, &own, &sources).with("spec", spec)
}

/// A number, or a percentage of `of` rounded up, as the disruption controller counts it.
fn scaled(value: &IntOrString, of: i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|p| p.parse::<i32>().ok());
            percent.map_or(0, |p| (p.saturating_mul(of) + 99) / 100)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_up() {
        for (value, of, expected) in [("50%", 3, 2), ("0%", 3, 0), ("100%", 2, 2), ("1%", 5, 1)] {
            assert_eq!(scaled(&IntOrString::String(value.into()), of), expected, "{value} of {of}");
        }
        assert_eq!(scaled(&IntOrString::Int(2), 1), 2);
    }
}
