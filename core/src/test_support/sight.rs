//! What the operator sees of the world: objects, and what is answered to its questions.

use std::collections::BTreeMap;

use serde_json::json;

use super::{CLUSTER, World};
use crate::Kind;
use crate::command::Command;
use crate::object::Object;
use crate::observed::Observed;
use crate::queries::queries;
use crate::read::{Answer, Output, Query, Read, ReadKey};
use crate::reads::second_look;

impl World {
    /// Everything that core wants to read.
    pub fn observed(&self) -> Observed {
        let seen = |kind: Kind| if self.lagging == Some(kind) { &self.old } else { &self.objects };
        let cluster = seen(Kind::IvoryCluster).get(&(Kind::IvoryCluster, CLUSTER.to_owned()));
        let cluster = cluster.cloned().unwrap_or_else(|| self.cluster());
        let mut read = |key: ReadKey| {
            let found = |kind: &Kind, f: &dyn Fn(&Object) -> bool| {
                let all = seen(*kind).values().filter(|o| o.kind == *kind && f(o));
                all.cloned().collect::<Vec<_>>()
            };
            let read = match &key {
                _ if self.unknown.contains(&key) => Read::Unknown("a test says so".into()),
                ReadKey::One { kind, name, .. } => match found(kind, &|o| *o.meta.name == **name) {
                    list if list.is_empty() => Read::Absent,
                    list => Read::Known(list),
                },
                ReadKey::Select { kind, selector, .. } => {
                    Read::Known(found(kind, &|o| selector.matches(&o.meta.labels)))
                }
            };
            (key, read)
        };
        let objects = crate::reads::reads(&cluster).into_iter().map(&mut read).collect();
        let mut observed = Observed { cluster, objects, answers: BTreeMap::new() };
        let more: Vec<_> = second_look(&observed).into_iter().map(read).collect();
        observed.objects.extend(more);
        for query in queries(&observed, &self.config) {
            let answer = self.answer(&query);
            observed.answers.insert(query, answer);
        }
        observed
    }

    fn answer(&self, query: &Query) -> Read<Answer> {
        let stdout = match query.command {
            Command::WalDirectory => format!("{}\n", self.wal_directory),
            Command::ArchiveState => {
                let (since, archived, last) = self.archive;
                let (files, now) = (i64::from(since > 0), self.now.as_second());
                format!("{files} {} {since} {archived} {now} {last}\n", files << 24)
            }
            Command::BackupInfo => self.backup_info.clone(),
            Command::ParameterState { .. } => self.parameter_state(),
            Command::StandbyState => {
                let word = if self.standby.0 { "streaming" } else { "not-streaming" };
                format!("{word} {} {}\n", self.standby.1, self.now.as_second())
            }
            Command::VolumeState => self.volumes.clone(),
            Command::WalPlace { .. } => format!("{}\n", self.wal_place),
            Command::SourceState { .. } => format!("{}\n", self.source),
            Command::InitSqlState { ref token } => match self.init_sql.get(token) {
                None => "none\n".to_owned(),
                Some((exit, at_s)) => format!("{exit} {at_s}\n"),
            },
            _ => return Read::Unknown("nobody answers this".into()),
        };
        let output = Output { exit: 0, stdout: stdout.into(), stderr: "".into() };
        Read::Known(Answer { output, at: self.now })
    }

    /// What the spec sets, as the server's files would have it.
    fn parameter_state(&self) -> String {
        let cluster = crate::cluster::Cluster::read(&self.cluster(), &self.config);
        let Ok(cluster) = cluster else { return String::new() };
        let made = crate::rules::config::dynamic(&cluster);
        let made = made["postgresql"]["parameters"].as_object().cloned().unwrap_or_default();
        let is = |name: &str, word: &str| self.parameters.get(name).is_some_and(|w| *w == word);
        let there = made.into_iter().filter(|(name, _)| !is(name, "left out"));
        let settings: serde_json::Map<_, _> = there
            .map(|(name, value)| {
                let error = self.parameters.get(&*name).unwrap_or(&"");
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                (name.clone(), json!({"value": value, "error": error}))
            })
            .collect();
        let missing: Vec<_> =
            self.parameters.keys().filter(|name| is(name, "missing")).copied().collect();
        json!({"settings": settings, "missing": missing}).to_string()
    }
}
