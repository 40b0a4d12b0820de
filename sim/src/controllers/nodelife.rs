//! Nodes that fall silent. A kubelet shows its life by renewing `spec.renewTime` of the Lease of its node's
//! name in `kube-node-lease`. When that is 50 s old the node's conditions become Unknown, it is tainted, its
//! Pods are marked as not ready, and those that don't tolerate the taint (any longer) are deleted; their
//! objects stay, terminating, until the kubelet is back or somebody forces them. If every node is silent the
//! control plane itself is presumed cut off, and nobody is tainted. Zones and eviction rates are left out.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, time_text};
use serde_json::{Map, Value, json};

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Sync};
use crate::controllers::support::{conditions, moment, pods};
use crate::time::{Span, Time};

/// How long a node may be silent: `--node-monitor-grace-period`, 50 s since Kubernetes 1.32 (40 s before).
const GRACE: Span = Span::s(50);
/// How often the real one looks.
const PERIOD: Span = Span::s(5);
/// Where the Leases are.
pub const LEASES: &str = "kube-node-lease";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const KINDS: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The controller.
pub(super) struct NodeLifecycle;

impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-lifecycle"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Node, Kind::Lease, Kind::Pod]
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        match object.kind {
            Kind::Node => {
                let changed = seen.differs(ready) || seen.differs(|n| n.at(&["spec", "taints"]));
                if seen.new.is_some() && changed {
                    keys.push(Key::of(object));
                }
            }
            // A Pod that came to a tainted node.
            Kind::Pod if pods::matters(seen) => {
                let node = object.str_at(&["spec", "nodeName"]);
                let node = node.and_then(|n| caches.get(Kind::Node, "", n));
                keys.extend(node.filter(|n| taint_since(n, None).is_some()).map(|n| Key::of(n)));
            }
            // Renewals of a Lease are looked at when the node's time would be up.
            _ => {}
        }
    }

    /// It has no queue of nodes (`monitorNodeHealth`, Kubernetes 1.34): what failed is tried at the next look. So an API
    /// server that is back is told at once of all that fell silent while it was away.
    fn retries_after(&self) -> Option<Span> {
        Some(PERIOD)
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let Some(node) = caches.get(key.kind, "", &key.name) else {
            return;
        };
        let silent_at = heard(node, caches) + GRACE;
        if silent_at > sync.now {
            sync.look_again(silent_at - sync.now);
        } else {
            sync.look_again(PERIOD);
        }
        let silent = silent_at <= sync.now;
        let on_it = || {
            let all = caches.all(Kind::Pod);
            all.filter(|p| p.str_at(&["spec", "nodeName"]) == Some(&*node.meta.name))
        };
        if silent && ready(node) != Some("Unknown") {
            sync.status(node, unknown(node, sync));
            return on_it().filter(|p| pods::ready(p)).for_each(|pod| mark_unready(pod, sync));
        }
        // Only where that failed (`nodesToRetry`): what a kubelet says that lives after all holds.
        if silent && sync.failed_before {
            on_it().filter(|p| pods::ready(p)).for_each(|pod| mark_unready(pod, sync));
        }
        let all_silent = caches.all(Kind::Node).all(|n| heard(n, caches) + GRACE <= sync.now);
        let taint = match ready(node) {
            _ if all_silent => None,
            Some("True") => None,
            Some("Unknown") if silent => Some(UNREACHABLE),
            Some("Unknown") => return,
            _ => Some(NOT_READY),
        };
        if retaint(node, taint, sync) {
            return;
        }
        if let Some((key, since)) = taint.and_then(|k| Some((k, taint_since(node, Some(k))?))) {
            on_it().for_each(|pod| evict(pod, key, since, sync));
        }
    }
}

/// The status of a node's condition `Ready`.
fn ready(node: &Object) -> Option<&str> {
    node.condition("Ready")?.get("status")?.as_str()
}

/// When a node was last heard of.
fn heard(node: &Object, caches: &Caches) -> Time {
    let lease = caches.get(Kind::Lease, LEASES, &node.meta.name);
    let renewed = lease.and_then(|l| moment(l.at(&["spec", "renewTime"])));
    let beat = node.condition("Ready").filter(|c| c["status"] != "Unknown");
    let beat = beat.and_then(|c| moment(c.get("lastHeartbeatTime")));
    let made = node.meta.created_at.map(Time::from);
    [renewed, beat, made].into_iter().flatten().max().unwrap_or_default()
}

fn unknown(node: &Object, sync: &Sync) -> Map<String, Value> {
    let before = node.at(&["status"]).and_then(Value::as_object);
    let mut status = before.cloned().unwrap_or_default();
    for kind in KINDS {
        let beat = conditions::find(&status, kind).and_then(|c| c.get("lastHeartbeatTime"));
        let beat: Vec<_> = beat.cloned().map(|b| ("lastHeartbeatTime", b)).into_iter().collect();
        let message = "Kubelet stopped posting node status.";
        let now = sync.time_text();
        conditions::set(&mut status, kind, "Unknown", "NodeStatusUnknown", message, &now, &beat);
    }
    status
}

fn ours(taint: &Value) -> bool {
    let key = taint.get("key").and_then(Value::as_str);
    key == Some(UNREACHABLE) || key == Some(NOT_READY)
}

/// Since when a node bears a NoExecute taint of this key, or of either of ours.
fn taint_since(node: &Object, key: Option<&str>) -> Option<Time> {
    let taints = node.at(&["spec", "taints"])?.as_array()?;
    let found = taints
        .iter()
        .find(|t| t["effect"] == "NoExecute" && ours(t) && key.is_none_or(|key| t["key"] == key))?;
    moment(found.get("timeAdded"))
}

/// Gives a node this one of our taints and none other. True when that changes something.
fn retaint(node: &Object, taint: Option<&str>, sync: &mut Sync) -> bool {
    let now: Vec<Value> =
        node.at(&["spec", "taints"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut wanted: Vec<Value> =
        now.iter().filter(|t| !ours(t) || taint.is_some_and(|k| t["key"] == k)).cloned().collect();
    for effect in ["NoSchedule", "NoExecute"] {
        let Some(key) = taint else { break };
        if !wanted.iter().any(|t| t["key"] == key && t["effect"] == effect) {
            wanted.push(
                json!({"key": key, "effect": effect, "timeAdded": time_text(sync.timestamp())}),
            );
        }
    }
    if wanted == now {
        return false;
    }
    let mut node = node.clone();
    let spec = node.body_mut().entry("spec").or_insert_with(|| json!({}));
    if let Some(spec) = spec.as_object_mut() {
        if wanted.is_empty() {
            spec.remove("taints");
        } else {
            spec.insert("taints".into(), wanted.into());
        }
    }
    sync.update(node);
    true
}

/// Its node can't say so any more, so it is said for it: Services shall not lead there.
fn mark_unready(pod: &Object, sync: &mut Sync) {
    let before = pod.at(&["status"]).and_then(Value::as_object);
    let mut status = before.cloned().unwrap_or_default();
    let now = sync.time_text();
    let old = conditions::find(&status, "Ready");
    let text = |key: &str| old.and_then(|c| c.get(key)?.as_str()).unwrap_or_default().to_owned();
    let (reason, message) = (text("reason"), text("message"));
    conditions::set(&mut status, "Ready", "False", &reason, &message, &now, &[]);
    sync.status(pod, status);
}

/// Deletes a Pod whose patience with a taint has run out.
fn evict(pod: &Arc<Object>, key: &str, since: Time, sync: &mut Sync) {
    if pod.terminating() {
        return;
    }
    let tolerations = pod.at(&["spec", "tolerations"]).and_then(Value::as_array);
    let tolerating: Vec<&Value> =
        tolerations.into_iter().flatten().filter(|t| tolerates(t, key)).collect();
    let patience = |t: &&Value| t.get("tolerationSeconds").and_then(Value::as_i64);
    let until = match tolerating.iter().filter_map(patience).min() {
        Some(seconds) => since + Span::s(seconds.max(0)),
        None if tolerating.is_empty() => since,
        None => return,
    };
    if until > sync.now {
        sync.look_again(until - sync.now);
    } else {
        sync.delete(pod);
    }
}

fn tolerates(toleration: &Value, key: &str) -> bool {
    let text = |name: &str| toleration.get(name).and_then(Value::as_str).unwrap_or_default();
    let effect = matches!(text("effect"), "" | "NoExecute");
    let exists = text("operator") == "Exists";
    effect
        && match text("key") {
            "" => exists,
            own => own == key && (exists || text("value").is_empty()),
        }
}
