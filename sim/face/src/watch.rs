//! The server's side of a watch: a stream of lines that ends when its time is over, when it is told to, or when what
//! it should tell is forgotten.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use ivory_core::Kind;
use ivory_sim::kube::Filter;
use tokio::time::{Instant, sleep_until};

use crate::faults::{End, Faults};
use crate::living::Living;
use crate::server::BoxError;
use crate::wire;

/// How long a watch lasts if its client doesn't say.
const LASTS_S: u64 = 1800;

/// What is followed.
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    pub(crate) namespace: Option<String>,
    pub(crate) filter: Filter,
    pub(crate) metadata_alone: bool,
    pub(crate) from: u64,
    pub(crate) initial: bool,
    pub(crate) timeout_s: Option<u64>,
}

/// The body of the answer to a watch.
pub(crate) fn body(living: &Arc<Living>, faults: &Faults, wanted: Wanted) -> Body {
    let lasts = Duration::from_secs(wanted.timeout_s.unwrap_or(LASTS_S));
    let follower = Follower {
        version: living.version(),
        living: living.clone(),
        ends: faults.ends.subscribe(),
        lag: faults.lag.subscribe(),
        late: VecDeque::new(),
        end: Instant::now() + lasts,
        begun: wanted.from != 0 && !wanted.initial,
        listed: false,
        wanted,
        over: false,
    };
    Body::from_stream(stream::unfold(follower, Follower::next))
}

struct Follower {
    living: Arc<Living>,
    /// `from` is up to where all was told.
    wanted: Wanted,
    version: tokio::sync::watch::Receiver<u64>,
    ends: tokio::sync::watch::Receiver<(u64, End)>,
    lag: tokio::sync::watch::Receiver<Duration>,
    /// What is to be told, and when, in order.
    late: VecDeque<(Instant, String)>,
    end: Instant,
    /// Whether that which there was at the beginning is told.
    begun: bool,
    /// Whether it has looked once.
    listed: bool,
    over: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Bytes, BoxError>, Self)> {
        if self.over {
            return None;
        }
        loop {
            self.version.mark_unchanged();
            match self.news() {
                Ok(text) if !text.is_empty() => {
                    // A list is answered at once; only what happens afterwards can be late.
                    let lag = if self.listed { *self.lag.borrow() } else { Duration::ZERO };
                    let due = self.late.back().map_or(Instant::now(), |l| l.0);
                    self.late.push_back((due.max(Instant::now() + lag), text));
                }
                Ok(_) => {}
                Err(text) => {
                    self.over = true;
                    return Some((Ok(text.into()), self));
                }
            }
            self.listed = true;
            let now = Instant::now();
            if self.late.front().is_some_and(|l| l.0 <= now)
                && let Some((_, text)) = self.late.pop_front()
            {
                return Some((Ok(text.into()), self));
            }
            let due = self.late.front().map_or(self.end, |l| l.0);
            tokio::select! {
                () = sleep_until(due), if due < self.end => {}
                moved = self.version.changed() => moved.ok()?,
                () = sleep_until(self.end) => return None,
                ended = self.ends.changed() => {
                    ended.ok()?;
                    self.over = true;
                    let how = self.ends.borrow().1;
                    let end = match how {
                        End::Cut => Err("connection reset".into()),
                        End::Expired => Ok(wire::expired("too old resource version").into()),
                    };
                    return Some((end, self));
                }
            }
        }
    }

    /// What happened since the last time, as lines; or the line that ends the watch.
    fn news(&mut self) -> Result<String, String> {
        let wanted = &self.wanted;
        // Without a version, or with initial events asked for, all that there is comes first.
        let from = if self.begun { wanted.from } else { 0 };
        let told = self.living.with(|world, kube| {
            let api = &world.kube(kube).api;
            let told = api.watch(wanted.kind, wanted.namespace.as_deref(), &wanted.filter, from);
            told.map(|events| (events, api.resource_version()))
        });
        let (events, version) = told.map_err(|error| wire::expired(&error.to_string()))?;
        let alone = wanted.metadata_alone;
        let mut text: String =
            events.iter().map(|(what, o)| wire::event(*what, o, alone)).collect();
        if !self.begun && wanted.initial {
            text += &wire::bookmark(wanted.kind, version, true);
        }
        self.begun = true;
        self.wanted.from = version;
        Ok(text)
    }
}
