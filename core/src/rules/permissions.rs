//! What the operator is not permitted to do. It is said, and the rest of the plan goes on: only an
//! administrator can change it, and what else there is to do does not suffer from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::grants::Grant;
use crate::kind::Kind;
use crate::pass::Pass;
use crate::report::Step;

/// No change of any object tells that a permission was given.
const AGAIN: Duration = Duration::from_secs(60);

/// Names every permission that was missing.
pub fn tell(pass: &mut Pass<'_>) {
    if let Some(text) = missing(&pass.context.denied) {
        pass.block(Step::Permissions, "Forbidden", text);
        pass.look_again(AGAIN);
    }
}

/// Resources with the verbs that are missing on them. Storage classes belong to no namespace; an operator that
/// may not read them learns from the refused resize what they would have told.
fn missing(denied: &BTreeSet<Grant>) -> Option<String> {
    let mut verbs: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for grant in denied.iter().filter(|g| g.resource != Kind::StorageClass.plural()) {
        verbs.entry(grant.name()).or_default().push(grant.verb);
    }
    let parts: Vec<String> =
        verbs.iter().map(|(resource, verbs)| format!("{} {resource}", verbs.join("/"))).collect();
    (!parts.is_empty()).then(|| format!("the operator is not permitted to {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Op;
    use crate::test_support::World;

    #[test]
    fn resources_are_named_as_in_rbac_rules() {
        let check = |grants: &[(Kind, &'static str)], expected: Option<&str>| {
            let denied = grants.iter().map(|(kind, verb)| Grant::new(*kind, verb)).collect();
            assert_eq!(missing(&denied).as_deref(), expected);
        };
        check(&[], None);
        check(&[(Kind::StorageClass, "list")], None);
        check(&[(Kind::Pod, "list")], Some("the operator is not permitted to list pods"));
        check(
            &[(Kind::Secret, "watch"), (Kind::StatefulSet, "patch"), (Kind::StatefulSet, "create")],
            Some("the operator is not permitted to watch secrets, create/patch statefulsets.apps"),
        );
        let exec = crate::grants::of_exec().into_iter().collect();
        assert_eq!(
            missing(&exec).as_deref(),
            Some("the operator is not permitted to create/get pods/exec")
        );
    }

    #[test]
    fn what_is_not_permitted_is_said_and_goes_when_it_is() {
        let mut world = World::settled(1);
        world.denied.insert(Grant::new(Kind::PodDisruptionBudget, "patch"));
        let plan = world.plan();
        assert!(plan.writes.iter().all(|w| matches!(w.op, Op::Status { .. } | Op::Event { .. })));
        world.settle();
        let reconciled = world.condition("Reconciled");
        assert_eq!(reconciled, Some(("False".into(), "Forbidden".into())));
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
        world.denied.clear();
        world.settle();
        assert_eq!(world.condition("Reconciled").map(|c| c.1).as_deref(), Some("InSync"));
    }

    #[test]
    fn a_generation_is_not_observed_while_something_is_not_permitted() {
        let mut world = World::settled(1);
        let before = world.cluster().i64_at(&["status", "observedGeneration"]);
        world.denied.insert(Grant::new(Kind::Service, "patch"));
        world.edit(|s| s["metadata"]["labels"]["a"] = "b".into());
        world.settle();
        assert_eq!(world.cluster().i64_at(&["status", "observedGeneration"]), before);
        world.denied.clear();
        world.settle();
        let after = world.cluster().i64_at(&["status", "observedGeneration"]);
        assert_eq!(after, Some(world.cluster().meta.generation));
    }
}
