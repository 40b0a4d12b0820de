//! Disruption budgets: one a set, as long as the set wants one.

use crate::build::disruption;
use crate::kind::Kind;
use crate::labels;
use crate::pass::Pass;
use crate::read::Read;
use crate::report::{Reason, Step};

/// Ensures the budgets that are wanted and deletes those of ours that are not.
pub fn ensure(pass: &mut Pass<'_>) {
    let cluster = pass.cluster;
    let wanted: Vec<_> = cluster
        .sets()
        .filter_map(|set| {
            let minimum = disruption::minimum(&set)?;
            let input = format!("disruption budget {}", set.name);
            Some(pass.memo.built(input, || disruption::budget(cluster, &set, minimum)))
        })
        .collect();
    let Read::Known(live) = pass.observed.labelled(Kind::PodDisruptionBudget) else {
        return pass.unreadable(Step::Disruption, "the poddisruptionbudgets of the cluster");
    };
    let unwanted = live.iter().filter(|o| {
        o.label(labels::INSTANCE_SET).is_some()
            && o.controlled_by(&pass.cluster.uid)
            && wanted.iter().all(|w| w.meta.name != o.meta.name)
    });
    for object in unwanted.cloned().collect::<Vec<_>>() {
        let (kind, name) = (object.kind, object.meta.name.to_string());
        pass.delete(Step::Disruption, &object, Reason::Unwanted { kind, name });
    }
    for object in wanted {
        pass.ensure_shared(Step::Disruption, object);
    }
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::test_support::World;

    #[test]
    fn a_set_has_a_budget_while_it_wants_one() {
        let budgets = |world: &World| world.all(Kind::PodDisruptionBudget).len();
        assert_eq!(budgets(&World::settled(1)), 0, "it would keep the one from ever moving");
        let mut world = World::settled(2);
        assert_eq!(budgets(&world), 1);
        world.edit(|s| s["instances"][0]["minAvailable"] = 0.into());
        world.settle();
        assert_eq!(budgets(&world), 0);
    }
}
