//! The process of a restore Job (components.md §2.6): restores, lets PostgreSQL recover and promote, stops it,
//! and puts the directory aside as `<data>_bootstrap`, where Patroni's bootstrap method `existing` finds it.

use std::sync::Arc;

use crate::pgbackrest::{BackrestReply, BackrestRequest, RepoTarget, Target};
use crate::postgres::DataDirectory;
use crate::postgres::data::Control;
use crate::time::{Span, Time};
use crate::world::call::{Call, CallError, Reply};
use crate::world::journal::Milestone;
use crate::world::{Actor, Cx, Input, Signal, Where};

/// What the process is started with.
#[derive(Clone, Debug)]
pub struct RestoreStart {
    /// The Pod's namespace and name.
    pub namespace: Arc<str>,
    /// The Pod's name.
    pub pod: Arc<str>,
    /// The PersistentVolume with the data.
    pub volume: Arc<str>,
    /// The data directory's name at the volume's root.
    pub directory: Arc<str>,
    /// Where `pg_wal` shall be.
    pub wal_directory: Arc<str>,
    /// The options, joined.
    pub options: String,
    /// Repositories.
    pub repositories: Vec<RepoTarget>,
}

/// The process.
#[derive(Clone, Debug)]
pub struct RestoreJob {
    name: Arc<str>,
    start: Arc<RestoreStart>,
    arrived: Option<Arc<DataDirectory>>,
    newest_timeline: Option<u32>,
}

/// The files are copied and the log is replayed.
const COPIED: u64 = 1;

/// Reads the value of an option, with or without quotes.
fn option<'a>(options: &'a str, name: &str) -> Option<&'a str> {
    let at = options.find(&format!("--{name}="))? + name.len() + 3;
    let rest = &options[at..];
    match rest.chars().next()? {
        quote @ ('"' | '\'') => rest[1..].split(quote).next(),
        _ => rest.split_whitespace().next(),
    }
}

/// Reads `2026-01-01 00:10:00+00` and the like; PostgreSQL takes hours alone as offset.
fn moment(text: &str) -> Option<Time> {
    let text = text.trim().replacen(' ', "T", 1);
    let text = text.strip_suffix(" UTC").map(|t| format!("{t}Z")).unwrap_or(text);
    let full = match text.rfind(['+', '-']) {
        Some(at) if at > 10 && text.len() - at == 3 => format!("{text}:00"),
        Some(at) if at > 10 => text,
        _ if text.ends_with('Z') => text,
        _ => format!("{text}Z"),
    };
    full.parse::<jiff::Timestamp>().ok().map(Time::from)
}

impl RestoreJob {
    /// A process that has yet to start.
    #[must_use]
    pub fn new(start: RestoreStart) -> Self {
        Self {
            name: format!("restore/{}/{}", start.namespace, start.pod).into(),
            start: Arc::new(start),
            arrived: None,
            newest_timeline: None,
        }
    }

    fn repository(&self, cx: &Cx<'_>) -> Option<(u8, Where)> {
        let number = option(&self.start.options, "repo").and_then(|r| r.parse().ok()).unwrap_or(1);
        let target = self.start.repositories.iter().find(|t| t.number == number)?;
        Some((number, target.resolve(cx, &self.start.namespace)?))
    }

    fn begin(&mut self, cx: &mut Cx<'_>) {
        let options = &self.start.options;
        let target = match (option(options, "type"), option(options, "target")) {
            (Some("time"), Some(text)) => match moment(text) {
                Some(at) => Some(Target::Time(at)),
                None => return self.failed(cx, "ERROR: [032]: the target is no time"),
            },
            (Some("immediate"), _) => Some(Target::Immediate),
            (Some("lsn"), Some(text)) => {
                let parse = |t: &str| {
                    let (high, low) = t.split_once('/')?;
                    let part = |p| u64::from_str_radix(p, 16).ok();
                    Some(part(high)? << 32 | part(low)?)
                };
                parse(text).map(Target::Lsn)
            }
            _ => None,
        };
        let set = option(options, "set").map(str::to_owned);
        let Some((repo, to)) = self.repository(cx) else {
            return self.failed(cx, "ERROR: [049]: the repository host can't be reached");
        };
        cx.call(to.clone(), Call::Backrest(BackrestRequest::NewestTimeline { repo }), Span::s(30));
        cx.call(to, Call::Backrest(BackrestRequest::Restore { repo, target, set }), Span::s(60));
    }

    fn heard(&mut self, cx: &mut Cx<'_>, reply: Result<Reply, CallError>) {
        match reply {
            Ok(Reply::Backrest(BackrestReply::Timeline(newest))) => {
                self.newest_timeline = Some(newest)
            }
            Ok(Reply::Backrest(BackrestReply::Restored(data))) => {
                let wait = crate::patroni::durations::copy(data.contents.bytes(), Span::s(4));
                self.arrived = Some(data);
                cx.timer(wait, COPIED);
            }
            Ok(Reply::Backrest(BackrestReply::Failed(why))) => self.failed(cx, &why),
            _ => self.failed(cx, "ERROR: [049]: the repository host can't be reached"),
        }
    }

    fn place(&mut self, cx: &mut Cx<'_>) {
        let (Some(arrived), now) = (self.arrived.take(), cx.now()) else {
            return;
        };
        let mut data = arrived.copy_for_standby(&self.start.wal_directory);
        let timeline = self.newest_timeline.unwrap_or(0).max(data.timeline) + 1;
        data.promote(now, timeline);
        data.checkpoint(now, true);
        data.control = Control::ShutDown;
        let prepared: Arc<str> = format!("{}_bootstrap", self.start.directory).into();
        let Some(volume) = cx.volume(&self.start.volume) else {
            return self.failed(cx, "the data volume is not there");
        };
        volume.directories.remove(&self.start.directory);
        volume.directories.insert(prepared, data);
        cx.note(Milestone::Backup {
            text: format!("{}: the data are restored (timeline {timeline})", self.start.pod),
        });
        cx.exit(0);
    }

    fn failed(&self, cx: &mut Cx<'_>, why: &str) {
        cx.note(Milestone::Backup {
            text: format!("{}: the restore failed: {why}", self.start.pod),
        });
        cx.exit(1);
    }
}

impl Actor for RestoreJob {
    crate::actor_boilerplate!();

    fn name(&self) -> &str {
        &self.name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Start => self.begin(cx),
            Input::Reply(_, reply) => self.heard(cx, reply),
            // A repository in an object store is reached from within this container.
            Input::Call(ticket, Call::Backrest(request)) => {
                let now = cx.now();
                let reply =
                    crate::pgbackrest::bucket_request(cx, now, &self.start.repositories, &request);
                cx.reply(ticket, Reply::Backrest(reply));
            }
            Input::Timer(COPIED) => self.place(cx),
            Input::Signal(Signal::Term) => cx.exit(143),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_people_write_them() {
        let at = Time::START + Span::s(600);
        for (text, expected) in [
            ("2026-01-01 00:10:00+00", Some(at)),
            ("2026-01-01 00:10:00", Some(at)),
            ("2026-01-01 00:10:00 UTC", Some(at)),
            ("2025-12-31 20:10:00-04", Some(at)),
            ("2026-01-01T00:10:00Z", Some(at)),
            ("2026-01-01 05:40:00+05:30", Some(at)),
            ("yesterday", None),
        ] {
            assert_eq!(moment(text), expected, "{text}");
        }
        let options = r#"--type=time --target="2026-01-01 00:10:00+00" --repo=2"#;
        assert_eq!(option(options, "target"), Some("2026-01-01 00:10:00+00"));
        assert_eq!(option(options, "repo"), Some("2"));
        assert_eq!(option(options, "set"), None);
    }
}
