//! Where the WAL is that a replica needs: the leader looks on its own volume, then into one repository after the other.

use crate::patroni::member::Member;
use crate::patroni::switchover::{failed, printed};
use crate::patroni::waits::{Side, Talk};
use crate::pgbackrest::{BackrestReply, BackrestRequest};
use crate::postgres::wal::Lsn;
use crate::time::Span;
use crate::world::call::{Call, CallError, Reply};
use crate::world::{Cx, Ticket};

/// What is looked for, and which repository is asked now.
#[derive(Clone, Debug)]
pub(super) struct Search {
    timeline: u32,
    from: Lsn,
    repository: usize,
}

impl Member {
    /// Looks on the own volume.
    pub(super) fn wal_place(&mut self, cx: &mut Cx<'_>, asker: Ticket, timeline: u64, from: Lsn) {
        let Ok(timeline) = u32::try_from(timeline) else {
            return cx.reply(asker, Reply::Exec(failed(1, "value too great for base")));
        };
        let recycled = |text: &String| text.ends_with("has already been removed");
        let lost = self.look(cx).map(|d| d.stream(d.system_id, timeline, from).err());
        // Who is on a timeline that is not the leader's does not lack WAL.
        if lost.is_some_and(|error| !error.as_ref().is_some_and(recycled)) {
            return cx.reply(asker, Reply::Exec(printed("here\n")));
        }
        self.look_into(cx, asker, Search { timeline, from, repository: 0 });
    }

    fn look_into(&mut self, cx: &mut Cx<'_>, asker: Ticket, search: Search) {
        let Some(target) = self.repositories.get(search.repository).cloned() else {
            return cx.reply(asker, Reply::Exec(printed("nowhere\n")));
        };
        let system_id = self.look(cx).map(|d| d.system_id);
        match (self.repository(cx, &target), system_id) {
            (Some(to), Some(system_id)) => {
                let Search { timeline, from, .. } = search;
                let request =
                    BackrestRequest::Get { repo: target.number, system_id, timeline, from };
                let side = Side::Talk(asker, Talk::Wal(search));
                self.ask(cx, to, Call::Backrest(request), Span::s(10), side);
            }
            _ => cx.reply(asker, Reply::Exec(failed(103, ""))),
        }
    }

    /// A repository has answered.
    pub(super) fn wal_found(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Ticket,
        search: Search,
        reply: Result<Reply, CallError>,
    ) {
        match reply {
            Ok(Reply::Backrest(BackrestReply::Log(records))) if records.is_empty() => {
                let repository = search.repository + 1;
                self.look_into(cx, asker, Search { repository, ..search });
            }
            Ok(Reply::Backrest(BackrestReply::Log(_))) => {
                cx.reply(asker, Reply::Exec(printed("archived\n")));
            }
            _ => cx.reply(asker, Reply::Exec(failed(103, ""))),
        }
    }
}
