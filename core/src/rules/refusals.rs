//! What the API server refuses to have written though no permission is missing: quotas, admission webhooks and policies do
//! that, for as long as somebody leaves them so. It is said, it is tried again, and the rest of the plan goes on.

use std::time::Duration;

use crate::pass::Pass;
use crate::report::Step;
use crate::setbacks::Refusals;

/// No change of any object tells that a quota was raised or a webhook mended.
const AGAIN: Duration = Duration::from_secs(60);
/// So many objects are named, with so many characters of what the API server said of each.
const TOLD: usize = 3;
const TEXT: usize = 400;

/// Names what is refused, in the API server's words.
pub fn tell(pass: &mut Pass<'_>) {
    if let Some(text) = refused(&pass.context.refused) {
        pass.block(Step::Permissions, "Refused", text);
        pass.look_again(AGAIN);
    }
}

fn refused(refusals: &Refusals) -> Option<String> {
    let mut parts: Vec<String> =
        refusals.iter().take(TOLD).map(|(what, why)| one(what, why)).collect();
    let more = refusals.len().saturating_sub(TOLD);
    parts.extend((more > 0).then(|| format!("and {more} more")));
    (!parts.is_empty()).then(|| format!("the API server refuses {}", parts.join("; ")))
}

fn one(what: &str, why: &str) -> String {
    let why = why.replace('\n', " ");
    let mut short: String = why.chars().take(TEXT).collect();
    if short.len() < why.len() {
        short.push('…');
    }
    format!("{what}: {short}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::World;
    use crate::{Kind, names};

    #[test]
    fn the_first_are_named_with_what_the_api_server_said() {
        let refusals = |n: usize| (0..n).map(|i| (format!("Secret {i}"), "a\nb".into())).collect();
        assert_eq!(refused(&refusals(0)), None);
        let text = refused(&refusals(5)).expect("a text");
        let expected =
            "the API server refuses Secret 0: a b; Secret 1: a b; Secret 2: a b; and 2 more";
        assert_eq!(text, expected);
        let long = [("Pod a".to_owned(), "x".repeat(2000))].into();
        assert!(refused(&long).expect("a text").len() < 500);
    }

    #[test]
    fn the_rest_goes_on_and_it_is_said_until_it_is_accepted() {
        let mut world = World::settled(2);
        let (one, other) = (world.instances()[0].clone(), world.instances()[1].clone());
        let set = format!("StatefulSet {one}");
        world.refusing.insert(set.clone(), (403, "a webhook does not like it"));
        world.edit(|s| {
            s["metadata"]["labels"]["team"] = "blue".into();
            s["users"][0]["name"] = "hippopotamus".into();
        });
        world.settle();
        let blue = |w: &World, kind, name: &str| w.the(kind, name).label("team") == Some("blue");
        assert!(blue(&world, Kind::StatefulSet, &other) && !blue(&world, Kind::StatefulSet, &one));
        let secret = names::pguser_secret("hippo", "hippopotamus");
        assert!(world.get(Kind::Secret, &secret).is_some());
        let said = world.cluster().condition("Reconciled").expect("a condition").clone();
        assert_eq!((&said["status"], &said["reason"]), (&"False".into(), &"Refused".into()));
        let message = said["message"].as_str().expect("text");
        assert!(message.contains(&format!("{set}: a webhook does not like it")), "{message}");
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
        world.refusing.clear();
        world.settle();
        assert!(blue(&world, Kind::StatefulSet, &one));
        assert_eq!(world.condition("Reconciled").map(|c| c.1).as_deref(), Some("InSync"));
    }

    #[test]
    fn whose_claim_is_refused_gets_no_workload() {
        let mut world = World::settled(1);
        world.edit(|s| s["instances"][0]["replicas"] = 2.into());
        // Names are drawn, so whatever is new is refused.
        let plan = world.plan();
        let mut claims = plan.writes.iter().map(|w| w.op.about());
        let claim = claims.find(|w| w.contains("-pgdata")).expect("a claim");
        world.refusing.insert(claim, (403, "exceeded quota"));
        world.execute(&plan, usize::MAX).expect_err("a refusal");
        world.settle();
        assert_eq!(world.all(Kind::StatefulSet).len(), 2, "the first and the repository's");
        world.refusing.clear();
        world.settle();
        assert_eq!(world.all(Kind::StatefulSet).len(), 3);
    }
}
