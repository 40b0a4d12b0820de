//! Synchronous replication (patroni.md §2.10): the primary keeps `synchronous_standby_names` and the `-sync`
//! object in step, one write a turn. Quorum mode keeps the names; its `/sync` lists the voters.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::kube::Request;
use crate::patroni::config::SyncMode;
use crate::patroni::dcs::Slot;
use crate::patroni::durations;
use crate::patroni::member::Member;
use crate::patroni::waits::{Alarm, Then};
use crate::postgres::SqlReply;
use crate::postgres::sync_names::SyncNames;
use crate::world::Cx;
use crate::world::call::Reply;

impl Member {
    /// The turn's part for synchronous replication. True when the turn waits for it.
    pub(super) fn synchronize(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.dynamic.synchronous == SyncMode::Off {
            return self.unsynchronize(cx);
        }
        let now = cx.now();
        let me = &*self.config.name;
        let recorded = self.store().sync_state().map(|(leader, standbys)| {
            let standbys: Vec<Arc<str>> = standbys.into_iter().map(Arc::from).collect();
            (leader.to_owned(), standbys)
        });
        let Some((_, current)) = recorded.filter(|(leader, _)| leader == me) else {
            let request = self.sync_request(&[]);
            self.begin(cx, request, Then::Sync);
            return true;
        };
        let picked = self.pick(cx);
        let named = |name: &Arc<str>| self.pg.sync.names(name) && self.pg.sync != SyncNames::Any;
        let keep: Vec<Arc<str>> = current.iter().filter(|n| picked.contains(n)).cloned().collect();
        if keep != current {
            let request = self.sync_request(&keep);
            self.begin(cx, request, Then::Sync);
            return true;
        }
        let wanted = self.names_for(&picked);
        if wanted != self.pg.sync {
            let position = self.look(cx).map_or(0, |d| d.end);
            for name in picked.iter().filter(|n| !named(n)) {
                self.sync_since.insert(name.clone(), position);
            }
            self.set_names(cx, wanted);
            if picked != current {
                self.begin_wait(cx);
                self.alarm(cx, durations::SYNC_WAIT, Alarm::Nap);
                return true;
            }
            return false;
        }
        let confirmed: Vec<Arc<str>> = picked
            .iter()
            .filter(|n| {
                let since = self.sync_since.get(*n).copied().unwrap_or(0);
                current.contains(n) || self.pg.acked(now, n).is_some_and(|a| a >= since)
            })
            .cloned()
            .collect();
        if confirmed != current {
            let request = self.sync_request(&confirmed);
            self.begin(cx, request, Then::Sync);
            return true;
        }
        false
    }

    fn unsynchronize(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.pg.sync != SyncNames::None {
            self.set_names(cx, SyncNames::None);
        }
        if self.store().sync_state().is_none() {
            return false;
        }
        let mut map = Map::new();
        for key in ["leader", "sync_standby", "quorum"] {
            map.insert(key.into(), Value::Null);
        }
        let request = self.store().write(Slot::Sync, map, None, true);
        self.begin(cx, request, Then::Sync);
        true
    }

    /// The standbys to be waited for, in name order as `/sync` lists them.
    fn pick(&self, cx: &Cx<'_>) -> Vec<Arc<str>> {
        let now = cx.now();
        let mut fit: Vec<(bool, u64, Arc<str>)> = Vec::new();
        for pod in self.store().members() {
            let name = &pod.meta.name;
            let status = pod.annotation("status").unwrap_or("");
            if *name == self.config.name || !status.contains("\"state\":\"running\"") {
                continue;
            }
            if let Some(acked) = self.pg.acked(now, name) {
                let already = self.pg.sync != SyncNames::Any && self.pg.sync.names(name);
                fit.push((already, acked, name.clone()));
            }
        }
        // Those that are waited for already come first, then whoever has most.
        fit.sort_by(|a, b| (b.0, b.1).cmp(&(a.0, a.1)).then(a.2.cmp(&b.2)));
        let count = match self.dynamic.synchronous {
            SyncMode::Quorum => fit.len(),
            _ => self.dynamic.synchronous_count,
        };
        let mut names: Vec<Arc<str>> = fit.into_iter().take(count).map(|f| f.2).collect();
        names.sort();
        names
    }

    fn names_for(&self, picked: &[Arc<str>]) -> SyncNames {
        if picked.is_empty() {
            return if self.dynamic.strict { SyncNames::Any } else { SyncNames::None };
        }
        let count = self.dynamic.synchronous_count.min(picked.len());
        match self.dynamic.synchronous {
            SyncMode::Quorum => SyncNames::Quorum(count, picked.to_vec()),
            _ => SyncNames::First(count, picked.to_vec()),
        }
    }

    fn set_names(&mut self, cx: &mut Cx<'_>, names: SyncNames) {
        self.pg.sync = names;
        let now = cx.now();
        for ticket in self.pg.released(now) {
            cx.reply(ticket, Reply::Sql(SqlReply::Committed));
        }
    }

    fn sync_request(&self, standbys: &[Arc<str>]) -> Request {
        let mut map = Map::new();
        map.insert("leader".into(), (*self.config.name).into());
        let list = standbys.join(",");
        let list = if list.is_empty() { Value::Null } else { list.into() };
        map.insert("sync_standby".into(), list);
        if self.version() >= super::config::Version(4, 0, 0) {
            let quorum = match self.dynamic.synchronous {
                SyncMode::Quorum => standbys.len().saturating_sub(self.dynamic.synchronous_count),
                _ => 0,
            };
            map.insert("quorum".into(), quorum.to_string().into());
        }
        self.store().write(Slot::Sync, map, None, true)
    }

    /// Before a promotion nobody but the new leader may take over.
    pub(super) fn sync_before_promotion(&self) -> Request {
        self.sync_request(&[])
    }

    /// The names at the beginning of a primary's life.
    pub(super) fn set_sync_for_promotion(&mut self, cx: &mut Cx<'_>) {
        if self.dynamic.synchronous != SyncMode::Off {
            let names = self.names_for(&[]);
            self.set_names(cx, names);
        }
    }
}
