//! A Pod's spec as a kubelet needs it, read once a Pod.

use std::collections::BTreeSet;
use std::sync::Arc;

use ivory_core::{Kind, Object};
use serde_json::Value;

use crate::node::images::is_latest;
use crate::node::json::{int, items, list, text};
use crate::node::probe::ProbeSpec;
use crate::node::volumes;

/// `spec.restartPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// Whatever the exit status.
    Always,
    /// After a failure.
    OnFailure,
    /// Never.
    Never,
}

/// `imagePullPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pull {
    /// At each start.
    Always,
    /// When the node doesn't have it.
    IfNotPresent,
    /// Never.
    Never,
}

/// A Pod.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// Init containers first, in order, then the others.
    pub containers: Vec<ContainerSpec>,
    /// How many of them are init containers.
    pub inits: usize,
    /// Restart policy.
    pub restart: Restart,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_s: i64,
    /// ConfigMaps and Secrets that its volumes show.
    pub shown: BTreeSet<(Kind, Arc<str>)>,
}

/// A container.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Its image.
    pub image: Arc<str>,
    /// When the image is pulled.
    pub pull: Pull,
    /// Startup, liveness, readiness.
    pub probes: [Option<ProbeSpec>; 3],
    /// `spec.initContainers` or `spec.containers`, and the place in it.
    pub place: (&'static str, usize),
}

impl PodSpec {
    /// Reads a Pod.
    pub fn of(pod: &Object) -> Self {
        let mut containers = Vec::new();
        for group in ["initContainers", "containers"] {
            let of_group = items(pod, &["spec", group]).iter().enumerate();
            containers.extend(of_group.map(|(i, c)| ContainerSpec::of(c, (group, i))));
        }
        Self {
            inits: items(pod, &["spec", "initContainers"]).len(),
            containers,
            restart: match pod.str_at(&["spec", "restartPolicy"]) {
                Some("OnFailure") => Restart::OnFailure,
                Some("Never") => Restart::Never,
                _ => Restart::Always,
            },
            grace_s: pod.i64_at(&["spec", "terminationGracePeriodSeconds"]).unwrap_or(30),
            shown: volumes::shown(pod),
        }
    }

    /// Whether a container that ended so is started again.
    pub fn restarts(&self, index: usize, exit: i32) -> bool {
        match self.restart {
            Restart::Never => false,
            Restart::Always if index >= self.inits => true,
            Restart::Always | Restart::OnFailure => exit != 0,
        }
    }
}

impl ContainerSpec {
    fn of(container: &Value, place: (&'static str, usize)) -> Self {
        let image = text(container, &["image"]).unwrap_or_default().trim();
        let probe = |name: &str| container.get(name).and_then(ProbeSpec::of);
        Self {
            name: text(container, &["name"]).unwrap_or_default().into(),
            image: image.into(),
            pull: match text(container, &["imagePullPolicy"]) {
                Some("Always") => Pull::Always,
                Some("Never") => Pull::Never,
                Some(_) => Pull::IfNotPresent,
                None if is_latest(image) => Pull::Always,
                None => Pull::IfNotPresent,
            },
            probes: [probe("startupProbe"), probe("livenessProbe"), probe("readinessProbe")],
            place,
        }
    }

    /// The container in a Pod's JSON.
    pub fn json<'a>(&self, pod: &'a Object) -> &'a Value {
        items(pod, &["spec", self.place.0]).get(self.place.1).unwrap_or(&Value::Null)
    }

    /// The ports that the manifest declares.
    pub fn ports(&self, pod: &Object) -> Vec<u16> {
        list(self.json(pod), &["ports"])
            .iter()
            .filter_map(|p| u16::try_from(int(p, &["containerPort"])?).ok())
            .collect()
    }
}
