//! What a member says of itself: the annotation `status` on its Pod, written by Patroni at the end of
//! each of its loops. A Pod whose node died keeps the last word, so it may be old.

use serde_json::Value;

/// The annotation's key.
pub const ANNOTATION: &str = "status";

/// What a member is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// It leads a cluster of its own: `primary` from Patroni 4 on, `master` before.
    Primary,
    /// It follows.
    Replica,
    /// It leads a standby cluster, and so is read-only.
    StandbyLeader,
    /// It led until a moment ago.
    Demoted,
    /// It is becoming the leader.
    Promoted,
    /// It has no data.
    Uninitialized,
    /// A word that is not known here.
    Other,
}

impl Role {
    fn of(word: &str) -> Self {
        match word {
            "primary" | "master" => Self::Primary,
            "replica" => Self::Replica,
            "standby_leader" => Self::StandbyLeader,
            "demoted" => Self::Demoted,
            "promoted" => Self::Promoted,
            "uninitialized" => Self::Uninitialized,
            _ => Self::Other,
        }
    }
}

/// A parameter that waits for a restart, with its values as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Its name.
    pub name: String,
    /// What the server runs with.
    pub old: String,
    /// What it will run with.
    pub new: String,
}

/// A member's status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// What it is.
    pub role: Role,
    /// What its PostgreSQL does, in Patroni's words: `running`, `starting`, `stopped`, `creating replica`…
    pub state: String,
    /// Its timeline.
    pub timeline: Option<u64>,
    /// How far it has come, in bytes of WAL: what a primary flushed, what a replica received or replayed.
    pub xlog_location: Option<u64>,
    /// The parameters that wait for a restart, if any does. Before Patroni 4.0 it is not said which, and
    /// the list is empty.
    pub pending_restart: Option<Vec<Waiting>>,
    /// `streaming` or `in archive recovery`; from Patroni 3.0.4 on.
    pub replication_state: Option<String>,
    /// Patroni's version.
    pub version: Option<String>,
    /// Whether Patroni is paused.
    pub pause: bool,
    /// Whether its tags keep it from leading.
    pub nofailover: bool,
}

impl Status {
    /// Reads the annotation; none if it is no JSON mapping. Of fields of another type, nothing counts.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // A list would be read as the fields in their order.
        let map = text.trim_start().starts_with('{');
        let said: Said = serde_json::from_str(text).ok().filter(|_| map)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let flag = |value: &Value| *value == Value::Bool(true);
        Some(Self {
            role: said.role.as_str().map_or(Role::Other, Role::of),
            state: text(&said.state).unwrap_or_default(),
            timeline: said.timeline.as_u64(),
            xlog_location: said.xlog_location.as_u64(),
            pending_restart: flag(&said.pending_restart)
                .then(|| waiting(&said.pending_restart_reason)),
            replication_state: text(&said.replication_state),
            version: text(&said.version),
            pause: flag(&said.pause),
            nofailover: said.tags.get("nofailover").is_some_and(flag),
        })
    }

    /// Whether PostgreSQL runs.
    #[must_use]
    pub fn running(&self) -> bool {
        self.state == "running"
    }

    /// Whether it has no data, and neither makes nor copies any: it waits for a leader.
    #[must_use]
    pub fn waits_for_data(&self) -> bool {
        self.role == Role::Uninitialized && self.state == "stopped"
    }

    /// Whether it takes writes: the leader of a cluster of its own whose PostgreSQL runs.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.role == Role::Primary && self.running()
    }

    /// Whether it follows its leader without a gap. Before Patroni 3.0.4 no member says so, and then a
    /// replica that runs is taken to. From then on who says nothing does not stream.
    #[must_use]
    pub fn streaming(&self) -> bool {
        let streams = match &self.replication_state {
            Some(state) => state == "streaming",
            None => !self.tells_replication(),
        };
        self.role == Role::Replica && self.running() && streams
    }

    /// Whether its Patroni is one that says `replication_state`.
    fn tells_replication(&self) -> bool {
        let numbers = |text: &String| -> Vec<u32> {
            text.split('.').map_while(|part| part.parse().ok()).collect()
        };
        self.version.as_ref().is_some_and(|version| numbers(version) >= vec![3, 0, 4])
    }
}

/// The fields of the annotation that count, whatever they are. It is read far more often than anything else, every time
/// that a member renews it; so nothing is made of the others.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Said {
    role: Value,
    state: Value,
    timeline: Value,
    xlog_location: Value,
    pending_restart: Value,
    pending_restart_reason: Value,
    replication_state: Value,
    version: Value,
    pause: Value,
    tags: Value,
}

/// Reads `{"jit": {"old_value": "on", "new_value": "off"}}`; numbers count as their digits.
fn waiting(reasons: &Value) -> Vec<Waiting> {
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let reasons = reasons.as_object().into_iter().flatten();
    reasons
        .map(|(name, values)| Waiting {
            name: name.clone(),
            old: text(values.get("old_value")),
            new: text(values.get("new_value")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// What Patroni 4.1 wrote on a leader that waits for a restart.
    const LEADER: &str = r#"{"conn_url":"postgres://10.0.0.5:5432/postgres","api_url":"https://hippo-00-aaaa-0.hippo-pods:8008/patroni","state":"running","role":"primary","version":"4.1.5","xlog_location":50332000,"timeline":3,"pending_restart":true,"pending_restart_reason":{"jit":{"old_value":"on","new_value":"off"}}}"#;

    #[test]
    fn a_leader_is_read() {
        let status = Status::parse(LEADER).expect("readable");
        let expected = Status {
            role: Role::Primary,
            state: "running".into(),
            timeline: Some(3),
            xlog_location: Some(50_332_000),
            pending_restart: Some(vec![Waiting {
                name: "jit".to_owned(),
                old: "on".to_owned(),
                new: "off".to_owned(),
            }]),
            replication_state: None,
            version: Some("4.1.5".into()),
            pause: false,
            nofailover: false,
        };
        assert_eq!(status, expected);
    }

    #[test]
    fn roles_and_states_say_what_a_member_can_do() {
        // role, state, replication state; then: writable, streaming
        for (role, state, replication, writable, streaming) in [
            ("master", "running", "", true, false),
            ("primary", "running", "", true, false),
            ("primary", "stopped", "", false, false),
            ("standby_leader", "running", "streaming", false, false),
            ("promoted", "running", "", false, false),
            ("replica", "running", "streaming", false, true),
            ("replica", "running", "", false, true),
            ("replica", "running", "in archive recovery", false, false),
            ("replica", "starting", "streaming", false, false),
            ("uninitialized", "creating replica", "", false, false),
            ("queen", "running", "streaming", false, false),
        ] {
            let mut value = json!({"role": role, "state": state});
            if !replication.is_empty() {
                value["replication_state"] = replication.into();
            }
            let status = Status::parse(&value.to_string()).expect("readable");
            let found = (status.writable(), status.streaming());
            assert_eq!(found, (writable, streaming), "{value}");
        }
    }

    #[test]
    fn who_could_say_that_it_streams_and_does_not_is_not_taken_to() {
        for (version, streams) in
            [("2.1.4", true), ("3.0.2", true), ("3.0.4", false), ("4.1.4", false), ("4.1b", false)]
        {
            let said = json!({"role": "replica", "state": "running", "version": version});
            let status = Status::parse(&said.to_string()).expect("readable");
            assert_eq!(status.streaming(), streams, "{version}");
        }
    }

    #[test]
    fn what_is_of_another_type_does_not_count() {
        let text = r#"{"role":["primary",{"a":null}],"state":7,"timeline":-1,"xlog_location":1.5,"pause":"yes",
            "pending_restart":true,"pending_restart_reason":[],"tags":{"nofailover":true},"version":null}"#;
        let status = Status::parse(text).expect("readable");
        assert_eq!((status.role, &*status.state), (Role::Other, ""));
        assert_eq!((status.timeline, status.xlog_location, status.pause), (None, None, false));
        assert_eq!((status.pending_restart, status.nofailover), (Some(Vec::new()), true));
        assert_eq!(status.version, None);
        for text in ["[]", "1", "null", "{\"role\":1e999}", "{} {}"] {
            assert_eq!(Status::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".*", at in 0..LEADER.len(), with in "[\\[\\]{}\",0-9a-z:-]{0,3}") {
            let _ = Status::parse(&text);
            let mut broken = LEADER.to_owned();
            broken.replace_range(at..=at, &with);
            let _ = Status::parse(&broken);
        }
    }
}
