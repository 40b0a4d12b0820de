//! Whom a Secret of the cluster trusts, which matters while the root changes. The new root joins the old ones at
//! once; for a day everybody goes on with the certificates of the old root, so that whoever knows only that one can
//! connect; then the leaves are issued anew; and another day later the old roots go. In no moment do two members
//! distrust each other, since trust comes a day before what needs it, and leaves a day after.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::crypto::pki::{Authority, Issuer, Root};
use crate::kind::Kind;
use crate::labels;
use crate::object::time_text;
use crate::pass::Pass;
use crate::read::Read;
use crate::report::Step;

/// How long each of the two steps takes: much longer than mounted Secrets need to reach their Pods.
const OVERLAP: SignedDuration = SignedDuration::from_hours(24);

/// Under which keys Secrets of a cluster hold the roots that they trust.
const BUNDLES: [&str; 3] = ["ca.crt", "patroni.ca-roots", "pgbackrest.ca-roots"];

/// Whom one Secret trusts.
#[derive(Clone, Debug)]
pub struct Trust {
    root: Arc<Root>,
    olds: Vec<Authority>,
    since: Option<Timestamp>,
}

/// Where a leaf comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It is issued in this pass.
    New,
    /// The Secret holds it, from the present root.
    Kept,
    /// The Secret holds it, from a root of before.
    KeptFromOld,
}

impl Trust {
    /// What a Secret trusts under this key of its data; none while it can't be read.
    #[must_use]
    pub fn read(pass: &mut Pass<'_>, root: &Arc<Root>, secret: &str, key: &str) -> Option<Self> {
        let now = pass.context.now;
        let mut trust = Self { root: root.clone(), olds: Vec::new(), since: None };
        let live = match pass.observed.find(Kind::Secret, secret) {
            Read::Unknown(_) => {
                pass.unreadable(Step::Pki, format!("Secret {secret}"));
                return None;
            }
            Read::Absent => {
                trust.join(pass);
                return Some(trust);
            }
            Read::Known(live) => live,
        };
        let text = || live.data(key).and_then(|t| t.expose_text().map(str::to_owned));
        if pass.memo.trusts_only(live, root, || text().is_some_and(|t| t == trust.bundle())) {
            return Some(trust);
        }
        let Some(text) = text() else {
            trust.join(pass);
            return Some(trust);
        };
        trust.olds = trust.before(&text, now);
        if trust.olds.is_empty() {
            return Some(trust);
        }
        let noted = live.annotation(labels::TRUST_CHANGED).and_then(|t| t.parse().ok());
        trust.since = noted.filter(|_| text == trust.bundle()).or(Some(now));
        Some(trust)
    }

    /// Roots of before in a bundle. A stranger's authority is none.
    fn before(&self, bundle: &str, now: Timestamp) -> Vec<Authority> {
        let root = self.root.authority();
        let mut olds = Authority::list(bundle);
        olds.retain(|a| a != root && a.named_like(root) && a.not_after() > now);
        olds
    }

    /// A Secret that was lost while the root changes trusts whom the cluster's others trust: their leaves may still be
    /// of a root of before.
    fn join(&mut self, pass: &Pass<'_>) {
        let now = pass.context.now;
        let Read::Known(secrets) = pass.observed.labelled(Kind::Secret) else { return };
        let own = self.bundle();
        let ours = secrets.iter().filter(|s| s.controlled_by(&pass.cluster.uid));
        for bundle in ours.flat_map(|s| BUNDLES.iter().filter_map(|key| s.data(key))) {
            let Some(text) = bundle.expose_text().filter(|text| *text != own) else { continue };
            for old in self.before(text, now) {
                if !self.olds.contains(&old) {
                    self.olds.push(old);
                }
            }
        }
        self.since = (!self.olds.is_empty()).then_some(now);
    }

    /// The roots whose leaves may stay, and until when. The present one first, for as long as it lives.
    pub fn issuers(&self, now: Timestamp) -> impl Iterator<Item = (Issuer<'_>, Option<Timestamp>)> {
        let until = self.since.map(|since| since + OVERLAP).filter(|until| now < *until);
        let olds = self.olds.iter().filter_map(move |old| Some((old.into(), Some(until?))));
        [(Issuer::Own(&self.root), None)].into_iter().chain(olds)
    }

    /// The trust once these leaves are in the Secret, and when to look at it again.
    #[must_use]
    pub fn after(mut self, leaves: &[Origin], now: Timestamp) -> (Self, Option<Timestamp>) {
        if self.olds.is_empty() {
            return (self, None);
        }
        if leaves.contains(&Origin::New) {
            self.since = Some(now);
        }
        let until = self.since.unwrap_or(now) + OVERLAP;
        if until <= now && leaves.iter().all(|l| *l == Origin::Kept) {
            self.olds.clear();
            self.since = None;
            return (self, None);
        }
        (self, Some(until))
    }

    /// Whether no change of root is under way.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.olds.is_empty()
    }

    /// All of them as PEM, the present root first.
    #[must_use]
    pub fn bundle(&self) -> String {
        Authority::bundle([self.root.authority()].into_iter().chain(&self.olds))
    }

    /// When the last step was taken, as it is noted on the Secret.
    #[must_use]
    pub fn since(&self) -> Option<String> {
        self.since.map(time_text)
    }
}
