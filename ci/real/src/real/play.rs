//! The story: a cluster begins, hands over, loses its leader, gets it back, and is cut off from the API. What must
//! hold on either side is asserted here; whether both agree is `compare`'s matter.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{bail, ensure};

use super::cluster::{LOOP_S, TTL_S};
use super::side::Side;
use super::trace::{Event, NONE, What};

/// How long is waited for what takes a second or two where nothing else runs.
const PATIENCE_S: f64 = 120.0;
/// How often conditions are looked at.
const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// A figure of a case: what took how long, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    pub(super) what: &'static str,
    pub(super) seconds: f64,
    /// Whether Patroni's own clock decides it, and not how fast the machine is.
    pub(super) clocked: bool,
}

/// One case, as one side played it.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) began: f64,
    pub(super) figures: Vec<Figure>,
    pub(super) events: Vec<Event>,
    /// Members by the part that they played.
    pub(super) parts: BTreeMap<String, &'static str>,
    /// What went wrong; a story ends with it.
    pub(super) wrong: Option<String>,
}

/// The cases in order; each builds on those before.
pub(super) const CASES: [&str; 5] = ["bootstrap", "switchover", "crash", "return", "outage"];

/// Plays all cases, or those up to the last one named.
pub(super) async fn play(side: &mut Side, only: &[String]) -> Vec<Case> {
    let last = CASES.iter().rposition(|c| only.iter().any(|o| o == c)).unwrap_or(CASES.len() - 1);
    let mut told = Vec::new();
    let mut lost = String::new();
    for name in &CASES[..=last] {
        let mut case = Playing { before: side.log.get(What::Key, None), figures: Vec::new() };
        let (from, began) = (side.log.len(), side.log.clock());
        let done = match *name {
            "bootstrap" => case.bootstrap(side).await,
            "switchover" => case.switchover(side).await,
            "crash" => {
                lost.clone_from(&case.before);
                case.crash(side).await
            }
            "return" => case.comes_back(side, &lost).await,
            _ => case.outage(side).await,
        };
        let wrong = done.err().map(|error| format!("{error:#}"));
        let parts = case.parts(side);
        let events = side.log.since(from);
        let figures = case.figures;
        let end = wrong.is_some();
        told.push(Case { name, began, figures, events, parts, wrong });
        if end {
            break;
        }
    }
    told
}

/// A case that is being played.
struct Playing {
    /// Who had the key at its beginning.
    before: String,
    figures: Vec<Figure>,
}

async fn seconds(seconds: u32) {
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
}

/// Waits until something is so, and says when it was.
async fn until(
    side: &Side,
    most_s: f64,
    what: &str,
    so: impl Fn(&Side) -> bool,
) -> anyhow::Result<f64> {
    let end = side.log.clock() + most_s;
    while !so(side) {
        if side.log.clock() > end {
            let mut printed = String::new();
            for member in &side.members {
                printed += &format!("\n{member}:\n{}", side.printed(member));
            }
            bail!("within {most_s} s there was no {what}{printed}");
        }
        tokio::time::sleep(LOOKS_EVERY).await;
    }
    Ok(side.log.clock())
}

fn primary(side: &Side) -> Option<String> {
    match side.log.who(What::Postgres, "primary").as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// Whether a member leads, in every place where that can be read.
fn leads(side: &Side, member: &str) -> bool {
    side.log.get(What::Key, None) == member
        && side.log.get(What::Address, None) == member
        && side.log.get(What::Label, Some(member)) == "master"
        && primary(side).as_deref() == Some(member)
}

fn follows(side: &Side, member: &str) -> bool {
    side.log.get(What::Label, Some(member)) == "replica"
        && side.log.get(What::Postgres, Some(member)) == "standby"
}

/// A moment soon after the leader's renewal, so that both sides are in the same phase of their loops.
async fn phase(side: &Side) -> anyhow::Result<f64> {
    let before = side.log.renewed();
    until(side, f64::from(2 * LOOP_S), "renewal", |s| s.log.renewed() > before).await?;
    seconds(1).await;
    Ok(side.log.renewed())
}

impl Playing {
    fn figure(&mut self, what: &'static str, seconds: f64, clocked: bool) {
        self.figures.push(Figure { what, seconds, clocked });
    }

    /// Who plays which part: whoever led, whoever leads then, and the others.
    fn parts(&self, side: &Side) -> BTreeMap<String, &'static str> {
        let leads = side.log.get(What::Key, None);
        let part = |member: &String| match member {
            m if *m == self.before => "leader",
            m if *m == leads && self.before == NONE => "leader",
            m if *m == leads => "next",
            _ => "other",
        };
        side.members.iter().map(|m| (m.clone(), part(m))).collect()
    }

    async fn bootstrap(&mut self, side: &mut Side) -> anyhow::Result<()> {
        let began = side.log.clock();
        for member in side.members.clone() {
            side.start(&member)?;
        }
        let open = until(side, PATIENCE_S, "primary", |s| primary(s).is_some()).await?;
        self.figure("primary writable", open - began, false);
        until(side, PATIENCE_S, "leader", |s| leads(s, &s.log.get(What::Key, None))).await?;
        let leader = side.log.get(What::Key, None);
        let others = |s: &Side| s.members.iter().filter(|m| **m != leader).all(|m| follows(s, m));
        let all = until(side, PATIENCE_S, "replicas", others).await?;
        self.figure("all replicas follow, after that", all - open, false);
        ensure!(side.log.get(What::Initialize, None) == "set", "it is not initialized");
        ensure!(side.log.get(What::Transitions, None) == "0", "the key changed hands");
        seconds(2 * LOOP_S).await;
        Ok(())
    }

    async fn switchover(&mut self, side: &mut Side) -> anyhow::Result<()> {
        let from = self.before.clone();
        let to = side.members.iter().find(|m| **m != from).cloned().unwrap_or_default();
        phase(side).await?;
        let mark = side.log.len();
        let began = side.log.clock();
        let output = side.switchover(&from, &to).await?;
        ensure!(
            output.exit == 0 && output.stdout.to_lowercase().contains("switched over"),
            "patronictl: {} {} {}",
            output.exit,
            output.stdout,
            output.stderr
        );
        self.figure("patronictl", side.log.clock() - began, false);
        until(side, PATIENCE_S, "new leader", |s| leads(s, &to)).await?;
        let back =
            until(side, PATIENCE_S, "replica of the old leader", |s| follows(s, &from)).await?;
        let events = side.log.since(mark);
        let at = |member: &str, value: fn(&str) -> bool| {
            let mut of = events
                .iter()
                .filter(|e| e.track.0 == What::Postgres && e.track.1.as_deref() == Some(member));
            of.find(|e| value(&e.value)).map(|e| e.at)
        };
        let closed = at(&from, |v| v != "primary");
        let open = at(&to, |v| v == "primary");
        let (Some(closed), Some(open)) = (closed, open) else { bail!("nobody saw it happen") };
        ensure!(closed <= open + 0.3, "two primaries for {:.1} s", closed - open);
        self.figure("nobody writable", open - closed, false);
        self.figure("old leader follows, after that", back - open, false);
        seconds(2 * LOOP_S).await;
        ensure!(side.log.get(What::History, None) == "1", "no history");
        Ok(())
    }

    async fn crash(&mut self, side: &mut Side) -> anyhow::Result<()> {
        let leader = self.before.clone();
        let renewed = phase(side).await?;
        side.crash(&leader).await?;
        until(side, PATIENCE_S, "end of the leader", |s| {
            s.log.get(What::Postgres, Some(&leader)) == "down"
        })
        .await?;
        let open = until(side, PATIENCE_S, "new primary", |s| primary(s).is_some()).await?;
        self.figure("new primary, after the last renewal", open - renewed, true);
        let next = side.log.get(What::Key, None);
        ensure!(next != leader, "the dead leader has the key");
        until(side, PATIENCE_S, "new leader", |s| leads(s, &next)).await?;
        let label = side.log.get(What::Label, Some(&leader));
        ensure!(label == "master", "the dead Pod's label became {label}");
        seconds(2 * LOOP_S).await;
        ensure!(side.log.get(What::History, None) == "2", "no history");
        Ok(())
    }

    async fn comes_back(&mut self, side: &mut Side, lost: &str) -> anyhow::Result<()> {
        phase(side).await?;
        let began = side.log.clock();
        side.start(lost)?;
        let back = until(side, PATIENCE_S, "replica", |s| follows(s, lost)).await?;
        self.figure("follows", back - began, false);
        seconds(2 * LOOP_S).await;
        ensure!(side.log.get(What::Key, None) == self.before, "the leader changed");
        Ok(())
    }

    async fn outage(&mut self, side: &mut Side) -> anyhow::Result<()> {
        let renewed = phase(side).await?;
        let began = side.log.clock();
        let lasts = TTL_S + LOOP_S;
        side.outage(lasts);
        let nobody = |s: &Side| s.log.who(What::Postgres, "primary").is_empty();
        let closed = until(side, f64::from(TTL_S), "end of writing", nobody).await?;
        self.figure("leader gives up, after the last renewal", closed - renewed, true);
        let over = began + f64::from(lasts);
        while side.log.clock() < over {
            let found = side.log.who(What::Postgres, "primary");
            ensure!(found.is_empty(), "{found:?} writable while nobody could have the key");
            tokio::time::sleep(LOOKS_EVERY).await;
        }
        let open = until(side, PATIENCE_S, "primary", |s| primary(s).is_some()).await?;
        self.figure("primary, after the API came back", open - over, false);
        until(side, PATIENCE_S, "leader", |s| leads(s, &s.log.get(What::Key, None))).await?;
        let leader = side.log.get(What::Key, None);
        let others = |s: &Side| s.members.iter().filter(|m| **m != leader).all(|m| follows(s, m));
        until(side, PATIENCE_S, "replicas", others).await?;
        seconds(2 * LOOP_S).await;
        ensure!(side.log.get(What::History, None) == "3", "no history");
        Ok(())
    }
}
