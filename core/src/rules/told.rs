//! What the database was last told, as the status remembers it: by which command, in which database system, under which
//! leadership and when. A leader takes with it what it was told in its last moments: no replica had received that, or it was
//! deposed already and did not know. So whoever leads next is told again. What was told long before is on the replicas, and
//! what people changed by hand since is theirs; unless somebody was made to lead who lacks nobody knows how much.

use jiff::{SignedDuration, Timestamp};

use crate::command::Command;
use crate::hash::safe_hash;
use crate::pass::Pass;
use crate::patroni::dcs::Leader;
use crate::report::Step;
use crate::rules::members::Members;

/// What was told less than this before another took the lead may have been lost with the former: a replica that does not
/// stream gets it when its segment is archived, after `archive_timeout` of a minute, and the lease outlives its holder by
/// half a minute.
const LASTS_AFTER: SignedDuration = SignedDuration::from_secs(120);

/// What stands for a revision that the database may have or lack.
const UNSURE: &str = "unsure";

/// What the database is to be told.
pub struct News {
    /// Why, for people.
    pub why: String,
    /// What to remember once it was.
    pub record: String,
}

/// Whether the database is to be told by a command; none if it was. `of` names what the command sets, `last` is what is
/// remembered.
pub fn news(
    pass: &mut Pass<'_>,
    members: &Members,
    of: &'static str,
    command: &Command,
    last: Option<&str>,
) -> Option<News> {
    let system = members.system_identifier.as_deref();
    let what = pass.memo.revision(of, system, command, || revision(system, command));
    let leads_since = leads_since(pass);
    let lost = |last: &Told<'_>| {
        last.what == UNSURE
            || (*last.what == *what && leads_since.is_some_and(|since| last.may_be_lost(since)))
    };
    let why = match last.map(Told::read) {
        Some(last) if lost(&last) => {
            format!("what the {of} were told last may be lost with the former leader")
        }
        Some(last) if *last.what == *what => return None,
        _ => format!("the {of} differ from what was last set"),
    };
    let told =
        |since: Timestamp| format!("-{}-{}", since.as_second(), pass.context.now.as_second());
    Some(News { why, record: format!("{what}{}", leads_since.map(told).unwrap_or_default()) })
}

/// Whoever was made to lead may lack any of what a former leader was told: all is told again. Returns whether something was
/// not told yet under the present leader.
pub fn doubt(pass: &mut Pass<'_>) -> bool {
    if pass.writes_in(&[Step::Databases, Step::Users]) {
        return true;
    }
    let since = leads_since(pass).map(Timestamp::as_second);
    let status = &mut pass.status;
    let records = [&mut status.database_revision, &mut status.users_revision];
    let old = |record: &&mut String| Told::read(record).place.map(|(s, _)| s.as_second()) != since;
    let doubted = records.into_iter().flatten().filter(old);
    doubted.map(|record| UNSURE.clone_into(record)).count() > 0
}

fn leads_since(pass: &Pass<'_>) -> Option<Timestamp> {
    Leader::of(pass.observed, &pass.cluster.name)?.acquired
}

fn revision(system: Option<&str>, command: &Command) -> String {
    let rendered = command.render();
    let stdin = rendered.stdin.as_ref().map(|s| s.expose().to_vec()).unwrap_or_default();
    let digest = crate::hash::digest(&(rendered.argv, stdin)).to_string();
    safe_hash([system.unwrap_or_default(), &*digest])
}

/// What is remembered: `HASH-LEADS_SINCE-TOLD_AT` in seconds since 1970, or a hash alone where the leader did not say since
/// when it leads, as in a status that an earlier version wrote.
struct Told<'a> {
    what: &'a str,
    place: Option<(Timestamp, Timestamp)>,
}

impl<'a> Told<'a> {
    fn read(text: &'a str) -> Self {
        let mut parts = text.split('-');
        let what = parts.next().unwrap_or_default();
        let mut time = || Timestamp::from_second(parts.next()?.parse().ok()?).ok();
        let place = time().and_then(|since| Some((since, time()?)));
        Self { what, place }
    }

    /// Whether another has taken the lead since, and so soon that this may not be in its database.
    fn may_be_lost(&self, leads_since: Timestamp) -> bool {
        self.place.is_some_and(|(led_since, at)| {
            led_since.as_second() != leads_since.as_second()
                && leads_since.duration_since(at) < LASTS_AFTER
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{World, commands};
    use crate::{Kind, names};

    fn leads_since(world: &mut World, since: Timestamp) {
        world.change(Kind::Endpoints, &names::scope("hippo"), |e| {
            e["metadata"]["annotations"]["acquireTime"] = since.to_string().into();
        });
    }

    /// What of a database is set in a pass.
    fn set(world: &mut World) -> Vec<&'static str> {
        let plan = world.plan();
        let names = commands(&plan).into_iter().filter_map(|(_, command)| match command {
            Command::Databases { .. } => Some("databases"),
            Command::Users { .. } => Some("users"),
            _ => None,
        });
        let names = names.collect();
        world.round();
        names
    }

    #[test]
    fn what_a_leader_was_told_in_its_last_moments_is_told_again_and_nothing_else() {
        let all = vec!["databases", "users"];
        for (after_s, expected) in [(-20, &all), (0, &all), (119, &all), (120, &vec![])] {
            let mut world = World::settled(1);
            let since = world.now;
            leads_since(&mut world, since);
            world.edit(|s| s["users"] = serde_json::json!([{"name": "hippo", "databases": ["a"]}]));
            let told = world.now + SignedDuration::from_secs(5);
            world.settle();
            assert_eq!(set(&mut world), [""; 0]);
            leads_since(&mut world, told + SignedDuration::from_secs(after_s));
            assert_eq!(set(&mut world), *expected, "{after_s}");
            assert_eq!(set(&mut world), [""; 0], "{after_s}: once");
        }
    }

    #[test]
    fn who_did_not_say_since_when_it_leads_told_enough() {
        let mut world = World::settled(1);
        assert_eq!(set(&mut world), [""; 0]);
        let now = world.now;
        leads_since(&mut world, now);
        assert_eq!(set(&mut world), [""; 0]);
    }
}
