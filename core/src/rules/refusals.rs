//! What the API server refuses to have written though no permission is missing: quotas, admission webhooks and policies do
//! that, for as long as somebody leaves them so. It is said, it is tried again, and the rest of the plan goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::pass::Pass;
use crate::report::Step;
use crate::setbacks::Refusals;

/// No change of any object tells that a quota was raised or a webhook mended.
const AGAIN: Duration = Duration::from_secs(60);
/// So many reasons are told, with so many characters of each, and so many objects for one.
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
    // What one policy refuses is refused for one reason.
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (what, why) in refusals {
        // Before that stands what is refused, in other words.
        let why = why.split_once(" is forbidden: ").map_or(why.as_str(), |(_, why)| why);
        reasons.entry(why).or_default().push(what);
    }
    let parts: Vec<String> = reasons
        .iter()
        .map(|(why, what)| {
            let named = what[..what.len().min(TOLD)].join(", ");
            let more = what.len().saturating_sub(TOLD);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{named}{more}: {}", shortened(why))
        })
        .take(TOLD)
        .collect();
    (!parts.is_empty()).then(|| format!("the API server refuses {}", parts.join("; ")))
}

fn shortened(why: &str) -> String {
    let why = why.replace('\n', " ");
    let mut short: String = why.chars().take(TEXT).collect();
    if short.len() < why.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::World;
    use crate::{Kind, names};

    #[test]
    fn the_first_are_named_with_what_the_api_server_said() {
        let refusals = |n: usize| {
            let why = |i: usize| format!("secrets \"{i}\" is forbidden: a\nb");
            (0..n).map(|i| (format!("Secret {i}"), why(i))).collect()
        };
        assert_eq!(refused(&refusals(0)), None);
        assert_eq!(refused(&refusals(1)).as_deref(), Some("the API server refuses Secret 0: a b"));
        let mut five: Refusals = refusals(5);
        five.insert("Pod a".into(), "no".into());
        let expected =
            "the API server refuses Secret 0, Secret 1, Secret 2 and 2 more: a b; Pod a: no";
        assert_eq!(refused(&five).as_deref(), Some(expected));
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
