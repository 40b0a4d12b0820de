//! The side of the real controllers. Changes are read by watches of a second, and put into the order of their
//! versions, which one etcd gives to all kinds.

use futures_util::future::try_join_all;
use ivory_core::Kind;
use serde_json::{Value, json};

use super::play::{self, NODE, Outcome, Side};
use crate::conformance::ask::{Ask, Memory, Raw};
use crate::conformance::model::namespace;
use crate::conformance::real::Real;
use crate::conformance::script::Script;

/// The node's Lease is renewed whenever so many seconds have passed.
const RENEWAL_S: u32 = 5;

struct Live<'a> {
    real: &'a Real,
    namespace: String,
    /// Each kind that is followed, and the version up to which.
    follows: Vec<(Kind, u64)>,
    /// The version of the whole when the Lease was renewed last.
    renewed: u64,
    passed_s: u32,
}

/// Plays a script there. What it makes is removed, whether or not it could be played to its end.
pub(super) async fn play(real: &Real, script: &Script) -> anyhow::Result<Vec<Outcome>> {
    let run = jiff::Timestamp::now().as_millisecond();
    let here = format!("sequence-{}-{run}", script.name);
    let mut memory = Memory::new(&here);
    node(real).await?;
    real.create(Kind::Namespace, &namespace(&here)).await?;
    let played = played(real, script, &mut memory).await;
    // First the namespace, so that controllers make nothing new in it.
    let removed = real.remove(Kind::Namespace, "", &here).await;
    let removed = removed.and(real.remove_all(&memory).await);
    let played = played?;
    removed?;
    Ok(played)
}

async fn played(real: &Real, script: &Script, memory: &mut Memory) -> anyhow::Result<Vec<Outcome>> {
    let mut follows = Vec::new();
    let mut side = Live {
        real,
        namespace: memory.namespace.clone(),
        follows: Vec::new(),
        renewed: 0,
        passed_s: 0,
    };
    // The namespace gets what every namespace is given.
    for _ in 0..3 {
        side.pass().await?;
    }
    for kind in play::follows(script)? {
        let scope = if kind.namespaced() { &*side.namespace } else { "" };
        follows.push((kind, real.version_of(kind, scope).await?));
    }
    side.follows = follows;
    play::play(&mut side, script, memory).await
}

/// Makes the node that Pods are bound to, if it isn't there.
async fn node(real: &Real) -> anyhow::Result<()> {
    if real.exists(Kind::Node, NODE).await? {
        return Ok(());
    }
    let meta = json!({"name": NODE});
    real.create(Kind::Node, &json!({"apiVersion": "v1", "kind": "Node", "metadata": meta})).await?;
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
    real.merge_status(Kind::Node, NODE, &status).await
}

impl Side for Live<'_> {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    async fn answer(&mut self, ask: &Ask<'_>) -> anyhow::Result<Raw> {
        self.real.answer(ask).await
    }

    async fn pass(&mut self) -> anyhow::Result<Vec<(Value, bool)>> {
        if self.passed_s.is_multiple_of(RENEWAL_S) {
            // What happened before the renewal before this one has been told since. A watch of which nothing is heard
            // must not fall behind what the server remembers.
            let now = self.real.renew(NODE).await?;
            let told = std::mem::replace(&mut self.renewed, now);
            self.follows.iter_mut().for_each(|(_, from)| *from = told.max(*from));
        }
        self.passed_s += 1;
        if self.follows.is_empty() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            return Ok(Vec::new());
        }
        let all = self.follows.iter().map(|(kind, from)| {
            let scope = if kind.namespaced() { &*self.namespace } else { "" };
            self.real.changes(*kind, scope, *from)
        });
        let all = try_join_all(all).await?;
        let mut changes = Vec::new();
        for ((kind, from), events) in self.follows.iter_mut().zip(all) {
            for event in events {
                let object = &event["object"];
                let version = object["metadata"]["resourceVersion"].as_str();
                let version: u64 = version.unwrap_or_default().parse()?;
                *from = version.max(*from);
                let near = kind.namespaced() || object.to_string().contains(&self.namespace);
                if near {
                    changes.push((version, object.clone(), event["type"] == "DELETED"));
                }
            }
        }
        changes.sort_by_key(|(version, ..)| *version);
        Ok(changes.into_iter().map(|(_, object, gone)| (object, gone)).collect())
    }
}
