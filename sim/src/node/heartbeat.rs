//! How a node shows that it lives: its Node object, and a Lease that it renews every 10 s.

use std::sync::Arc;

use ivory_core::object::OwnerRef;
use ivory_core::{Kind, Object};
use serde_json::{Value, json};

use crate::kube::Response;
use crate::node::requests;
use crate::node::shared::{Asked, Shared};
use crate::node::status::wire;
use crate::time::{Span, Time};
use crate::world::Cx;

/// Between two renewals: a quarter of the lease's 40 s.
pub const PERIOD: Span = Span::s(10);
/// The status is written this often even when it says nothing new (`nodeStatusReportFrequency`).
const STATUS_PERIOD: Span = Span::s(300);
const LEASES: &str = "kube-node-lease";

/// The heart.
#[derive(Clone, Default)]
pub struct Heart {
    lease: Option<Arc<Object>>,
    /// Whether an answer about the lease is awaited.
    renewing: bool,
    registered: bool,
    status_at: Option<Time>,
}

impl Heart {
    /// Registers the node.
    pub fn start(&mut self, shared: &mut Shared, cx: &mut Cx<'_>) {
        shared.ask(cx, Asked::Register, requests::create(node_object(shared, cx.now())));
    }

    /// Every [`PERIOD`].
    pub fn beat(&mut self, shared: &mut Shared, cx: &mut Cx<'_>) {
        if !self.registered {
            let node = node_object(shared, cx.now());
            shared.ask(cx, Asked::Register, requests::create(node));
            return;
        }
        self.renew(shared, cx);
        let Some(node) = shared.node() else {
            return;
        };
        let due = self.status_at.is_none_or(|at| cx.now() - at >= STATUS_PERIOD);
        if due || !node.condition_true("Ready") {
            self.write_status(shared, cx, &node);
        }
    }

    fn renew(&mut self, shared: &mut Shared, cx: &mut Cx<'_>) {
        // Microseconds, as `MicroTime` has them.
        let now = cx.now().timestamp().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        if self.renewing {
            return;
        }
        self.renewing = true;
        let verb = match &self.lease {
            Some(lease) => {
                let mut lease = (**lease).clone();
                if let Some(Value::Object(spec)) = lease.body_mut().get_mut("spec") {
                    spec.insert("renewTime".into(), now.into());
                }
                requests::update(lease)
            }
            None => {
                let mut lease = Object::new(Kind::Lease, LEASES, &shared.config.name);
                if let Some(node) = shared.node() {
                    lease.meta.owners = Arc::new(vec![OwnerRef::plain(&node)]);
                }
                let spec = json!({
                    "holderIdentity": shared.config.name, "leaseDurationSeconds": 40, "renewTime": now,
                });
                lease.body_mut().insert("spec".into(), spec);
                requests::create(lease)
            }
        };
        shared.ask(cx, Asked::Lease, verb);
    }

    /// The answer about the lease. A lost answer or a conflict is cured by reading it.
    pub fn lease_answered(&mut self, shared: &mut Shared, cx: &mut Cx<'_>, response: &Response) {
        self.renewing = false;
        match response {
            Ok(_) => self.lease = requests::object_of(response).or(self.lease.take()),
            Err(status) if status.code == 404 => self.lease = None,
            Err(status) if status.code == 409 => {
                self.renewing = true;
                let verb = requests::get(Kind::Lease, LEASES, &shared.config.name);
                shared.ask(cx, Asked::Lease, verb);
            }
            Err(_) => {}
        }
    }

    /// The answer to the registration; a Node that is there already is taken over.
    pub fn registered(&mut self, shared: &mut Shared, cx: &mut Cx<'_>, response: &Response) {
        match response {
            Ok(_) => self.registered = true,
            Err(status) if status.reason == "AlreadyExists" => self.registered = true,
            Err(_) => return,
        }
        let node = requests::object_of(response)
            .unwrap_or_else(|| Arc::new(Object::new(Kind::Node, "", &shared.config.name)));
        self.write_status(shared, cx, &node);
        self.renew(shared, cx);
    }

    /// The volumes in use changed; the Node says so before a Pod's end does.
    pub fn volumes_changed(&mut self, shared: &mut Shared, cx: &mut Cx<'_>) {
        if let Some(node) = shared.node().filter(|_| self.registered) {
            self.write_status(shared, cx, &node);
        }
    }

    fn write_status(&mut self, shared: &mut Shared, cx: &mut Cx<'_>, node: &Object) {
        self.status_at = Some(cx.now());
        let status = node_status(shared, node, cx.now());
        let verb = requests::patch_status(node, json!({"status": status}));
        shared.ask(cx, Asked::NodeStatus, verb);
    }

    /// The answer to a write of the status.
    pub fn status_answered(&mut self, response: &Response) {
        if response.is_err() {
            self.status_at = None;
        }
    }
}

fn node_object(shared: &Shared, now: Time) -> Object {
    let config = &shared.config;
    let mut node = Object::new(Kind::Node, "", &config.name);
    let mut labels = config.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", config.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", "amd64"),
        ("topology.kubernetes.io/zone", config.zone.as_str()),
    ] {
        if !value.is_empty() {
            labels.insert(key.to_owned(), value.to_owned());
        }
    }
    node.meta.labels = Arc::new(labels);
    let status = node_status(shared, &node, now);
    let body = node.body_mut();
    let spec = if config.taints.is_empty() { json!({}) } else { json!({"taints": config.taints}) };
    body.insert("spec".into(), spec);
    body.insert("status".into(), status);
    node
}

fn node_status(shared: &Shared, node: &Object, now: Time) -> Value {
    let config = &shared.config;
    let resources = json!({
        "cpu": config.cpu, "memory": config.memory, "pods": config.pods.to_string(),
        "ephemeral-storage": "100Gi",
    });
    let now = wire(now);
    let condition = |kind: &str, holds: bool, reason: &str, message: &str| {
        let before = node.condition(kind);
        let status = if holds { "True" } else { "False" };
        let text = |key: &str| before.and_then(|c| c.get(key)).and_then(Value::as_str);
        let since = text("lastTransitionTime").filter(|_| text("status") == Some(status));
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": since.unwrap_or(&now),
        })
    };
    json!({
        "volumesInUse": shared.volumes_in_use(),
        "capacity": resources, "allocatable": resources,
        "addresses": [
            {"type": "InternalIP", "address": &*shared.host_ip},
            {"type": "Hostname", "address": config.name},
        ],
        "conditions": [
            condition("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
        ],
        "nodeInfo": {"kubeletVersion": "v1.34.0", "osImage": "simulated", "containerRuntimeVersion": "containerd://2.1.0"},
    })
}
