//! What a member publishes about itself: the annotation `status` and the role label of its Pod (§1.2); and what
//! it answers to probes (§3.4).

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::patroni::config::{MemberConfig, Version};
use crate::patroni::member::{Member, Role, Word};
use crate::patroni::waits::Side;
use crate::postgres::parameters::Waiting;
use crate::postgres::server::State;
use crate::time::{Span, Time};
use crate::world::{Cx, Probe};

/// What was published last, so that an idle member neither formats nor writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    facts: Option<Facts>,
    label: Option<Arc<str>>,
    text: Arc<str>,
}

impl Published {
    /// The write failed; the next turn tries again.
    pub fn forget(&mut self) {
        self.facts = None;
    }
}

/// What the text is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Facts {
    word: Word,
    role: Role,
    position: Option<(u64, u32)>,
    replication: Option<&'static str>,
    checkpointed: bool,
    pending_restart: Vec<Waiting>,
    pause: bool,
}

impl Word {
    pub fn text(self) -> &'static str {
        match self {
            Word::Stopped => "stopped",
            Word::Initializing => "initializing new cluster",
            Word::InitdbFailed => "initdb failed",
            Word::CustomBootstrap => "running custom bootstrap script",
            Word::CustomFailed => "custom bootstrap failed",
            Word::CreatingReplica => "creating replica",
            Word::Running => "running",
            Word::Starting => "starting",
            Word::Restarting => "restarting",
            Word::Stopping => "stopping",
            Word::Crashed => "crashed",
            Word::StartFailed => "start failed",
        }
    }
}

impl Role {
    pub fn text(self, version: Version) -> &'static str {
        match self {
            Role::Primary => version.leader_word(),
            Role::Replica => "replica",
            Role::StandbyLeader => "standby_leader",
            Role::Demoted => "demoted",
            Role::Promoted => "promoted",
            Role::Uninitialized => "uninitialized",
        }
    }
}

impl Member {
    /// Publishes the member if anything differs from what is there.
    pub(super) fn touch(&mut self, cx: &mut Cx<'_>) {
        let facts = self.facts(cx);
        let config = self.config.clone();
        let label = self.role_label(&config, cx.now(), facts.role);
        let same = self.published.facts.as_ref() == Some(&facts)
            && self.published.label.as_deref() == label;
        if same && self.pod_shows(label) {
            return;
        }
        if self.published.facts.as_ref() != Some(&facts) {
            self.published.text = self.status_text(&facts).into();
        }
        self.published.facts = Some(facts);
        self.published.label = label.map(Arc::from);
        let mut labels = serde_json::Map::new();
        labels.insert(self.config.role_label.clone(), label.into());
        let patch = json!({"metadata": {
            "annotations": {"status": *self.published.text},
            "labels": labels,
        }});
        let request = self.store().patch_pod(patch);
        self.submit(cx, request, Side::Patch);
    }

    /// Whether the cached Pod says what was published last; what a stranger changed, or an earlier life of this member
    /// whose write came late, is repaired.
    fn pod_shows(&self, label: Option<&str>) -> bool {
        let Some(pod) = self.store().pod(&self.config.name) else {
            return true;
        };
        pod.label(&self.config.role_label) == label
            && pod.annotation("status") == Some(&*self.published.text)
    }

    fn facts(&self, cx: &Cx<'_>) -> Facts {
        let role = match self.role {
            Role::Replica if self.dynamic.standby.is_some() && self.holds_key(cx.now()) => {
                Role::StandbyLeader
            }
            role => role,
        };
        let shows = matches!(self.word, Word::Running | Word::Restarting | Word::Starting)
            && (self.action.is_none() || self.role == Role::Promoted);
        Facts {
            word: self.word,
            role,
            position: if shows { self.look(cx).map(|d| (d.end, d.timeline)) } else { None },
            replication: match self.pg.state {
                State::Standby if self.receiver.streaming() => Some("streaming"),
                // So it says whenever there is a `restore_command`, whatever that has brought.
                State::Standby if !self.repositories.is_empty() => Some("in archive recovery"),
                _ => None,
            },
            // Only a leader says that it has not.
            checkpointed: self.checkpointed || self.leader_expiry.is_none_or(|e| e <= cx.now()),
            pending_restart: self.pending_restart.clone(),
            pause: self.dynamic.pause,
        }
    }

    fn status_text(&self, facts: &Facts) -> String {
        let (config, version) = (&self.config, self.version());
        let mut text = format!(
            "{{\"conn_url\":\"postgres://{}/postgres\",\"api_url\":\"https://{}/patroni\",\"state\":\"{}\",\"role\":\"{}\",\"version\":\"{version}\"",
            config.connect_address,
            config.rest_address,
            facts.word.text(),
            facts.role.text(version),
        );
        if let Some((position, timeline)) = facts.position {
            let _ = write!(text, ",\"xlog_location\":{position}");
            if version >= Version(4, 1, 0) && facts.role != Role::Primary {
                let _ = write!(text, ",\"replay_lsn\":{position},\"receive_lsn\":{position}");
            }
            if let (Some(replication), true) = (facts.replication, version >= Version(3, 0, 4)) {
                let _ = write!(text, ",\"replication_state\":\"{replication}\"");
            }
            let _ = write!(text, ",\"timeline\":{timeline}");
        }
        if config.nofailover {
            text.push_str(",\"tags\":{\"nofailover\":true}");
        }
        for (key, value) in [
            ("checkpoint_after_promote\":false", !facts.checkpointed),
            ("pending_restart\":true", !facts.pending_restart.is_empty()),
            ("pause\":true", facts.pause),
        ] {
            if value {
                let _ = write!(text, ",\"{key}");
            }
        }
        if version >= Version(4, 0, 0) && !facts.pending_restart.is_empty() {
            let reasons = facts.pending_restart.iter().map(|waiting| {
                let values = json!({"old_value": waiting.old, "new_value": waiting.new});
                (waiting.name.to_owned(), values)
            });
            let reasons: serde_json::Map<_, _> = reasons.collect();
            let _ = write!(text, ",\"pending_restart_reason\":{}", Value::Object(reasons));
        }
        text.push('}');
        text
    }

    /// The role label's rule, first match wins (§1.2).
    fn role_label<'a>(&self, config: &'a MemberConfig, now: Time, role: Role) -> Option<&'a str> {
        // The cached name counts, not its validity.
        let leads = self.store().leader(now) == Some(&*config.name);
        if leads {
            let standby = role == Role::StandbyLeader;
            let value = if standby { &config.standby_leader_label } else { &config.leader_label };
            return Some(value);
        }
        (self.word == Word::Running && role != Role::Primary).then(|| role.text(self.version()))
    }

    /// What the kubelet's probes find.
    pub(super) fn health(&self, now: Time, probe: Probe) -> Option<bool> {
        if self.hung_until.is_some_and(|until| now < until) {
            return None;
        }
        if self.stopping.as_ref().is_some_and(super::demote::Stop::exits) {
            return Some(false);
        }
        let Some(store) = &self.dcs else {
            return Some(false);
        };
        match probe {
            Probe::Startup => Some(true),
            Probe::Liveness => {
                let spans = if self.pg.primary() { 1 } else { 2 };
                // `next_run`, which a clock that was set back leaves far ahead.
                let next = self.last_loop.max(self.base) + self.dynamic.loop_wait;
                let late = next + Span(self.dynamic.ttl.0 * spans);
                Some(self.dynamic.pause || now <= late)
            }
            Probe::Readiness => {
                if self.leader_expiry.is_some_and(|e| now < e) {
                    return Some(true);
                }
                if self.word != Word::Running || !self.pg.up() {
                    return Some(false);
                }
                if self.version() < Version(4, 1, 0) {
                    return Some(store.readable() && now - self.last_loop < self.dynamic.ttl);
                }
                let lag = store.optime().saturating_sub(self.receiver.position);
                Some(self.receiver.streaming() && lag <= self.dynamic.maximum_lag_bytes)
            }
        }
    }
}
