//! What runs in containers. The kubelet knows nothing of databases: it asks [`Programs`], which goes by the
//! place of a container in its Pod (and not by the image's name, so that private mirrors work).

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::{Object, Sensitive};
use serde_json::Value;

use crate::disk::Volume;
use crate::node::{Env, Mounts, volumes};
use crate::time::Span;
use crate::world::{Actor, Cx, Input, Signal};

/// Everything that a container is started with.
#[derive(Clone, Debug)]
pub struct ContainerStart {
    /// The Pod as its kubelet knows it.
    pub pod: Arc<Object>,
    /// The container's name.
    pub container: Arc<str>,
    /// Whether it is an init container.
    pub init: bool,
    /// Its image.
    pub image: Arc<str>,
    /// Its environment.
    pub env: Env,
    /// The ConfigMaps and Secrets in the Pod's volumes; later ones come as [`Input::Mounts`].
    pub mounts: Arc<Mounts>,
    /// Its persistent volumes: mount path → the PersistentVolume's name.
    pub volumes: BTreeMap<String, Arc<str>>,
    /// Declared ports.
    pub ports: Vec<u16>,
    /// The node.
    pub node: Arc<str>,
    /// The Pod's address.
    pub ip: Arc<str>,
    /// How often the container was started before.
    pub restarts: i64,
}

impl ContainerStart {
    /// A name for the process's actor.
    #[must_use]
    pub fn actor_name(&self) -> String {
        let meta = &self.pod.meta;
        format!("{}/{}/{}", meta.namespace, meta.name, self.container)
    }

    /// The container in the Pod's JSON.
    #[must_use]
    pub fn json(&self) -> &Value {
        let group = if self.init { "initContainers" } else { "containers" };
        crate::node::json::items(&self.pod, &["spec", group])
            .iter()
            .find(|c| crate::node::json::text(c, &["name"]) == Some(&self.container))
            .unwrap_or(&Value::Null)
    }

    /// The contents of a file from a ConfigMap or Secret, by its path in the container. `mounts` may be newer
    /// than those of the start.
    #[must_use]
    pub fn file(&self, mounts: &Mounts, path: &str) -> Option<Sensitive> {
        volumes::file(&self.pod, self.json(), mounts, path)
    }
}

/// The disks that an init container sees.
pub struct Disks<'a, 'w> {
    pub(super) cx: &'a mut Cx<'w>,
    pub(super) volumes: &'a BTreeMap<String, Arc<str>>,
}

impl Disks<'_, '_> {
    /// The volume that is mounted at a path, for changing.
    pub fn at(&mut self, mount_path: &str) -> Option<&mut Volume> {
        self.cx.volume(self.volumes.get(mount_path)?)
    }
}

/// How an init container goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitOutcome {
    /// How long it runs.
    pub takes: Span,
    /// Its exit status.
    pub exit: i32,
    /// Its termination message, and last line in the log.
    pub message: String,
}

impl InitOutcome {
    /// Ends well after a moment.
    #[must_use]
    pub fn fine() -> Self {
        Self { takes: Span::ms(200), exit: 0, message: String::new() }
    }
}

/// All programs that containers can run.
pub trait Programs: Send + Sync {
    /// The process of a container. `None` is a program that nothing is known of: it runs and does nothing.
    fn start(&self, start: &ContainerStart) -> Option<Arc<dyn Actor>>;

    /// What an init container does. Its changes to disks happen at its start, its exit comes later.
    fn init(&self, _start: &ContainerStart, _disks: &mut Disks<'_, '_>) -> InitOutcome {
        InitOutcome::fine()
    }

    /// The ports on which the process listens; those that the manifest declares, unless the program knows better.
    fn ports(&self, start: &ContainerStart) -> Vec<u16> {
        start.ports.clone()
    }
}

/// Programs of which nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrograms;

impl Programs for NoPrograms {
    fn start(&self, _start: &ContainerStart) -> Option<Arc<dyn Actor>> {
        None
    }
}

/// A process that runs until it is told to stop, and then stops at once.
#[derive(Clone, Debug)]
pub struct Idle {
    name: String,
}

impl Idle {
    /// The process of a container.
    #[must_use]
    pub fn new(start: &ContainerStart) -> Self {
        Self { name: start.actor_name() }
    }
}

impl Actor for Idle {
    fn name(&self) -> &str {
        &self.name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        if matches!(input, Input::Signal(Signal::Term)) {
            cx.exit(0);
        }
    }

    crate::actor_boilerplate!();
}

/// A process that ends by itself.
#[derive(Clone, Debug)]
pub struct Exits {
    name: String,
    after: Span,
    code: i32,
}

impl Exits {
    /// The process of a container that ends after a while with a status.
    #[must_use]
    pub fn new(start: &ContainerStart, after: Span, code: i32) -> Self {
        Self { name: start.actor_name(), after, code }
    }
}

impl Actor for Exits {
    fn name(&self) -> &str {
        &self.name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Start => cx.timer(self.after, 0),
            Input::Timer(_) => cx.exit(self.code),
            Input::Signal(Signal::Term) => cx.exit(143),
            _ => {}
        }
    }

    crate::actor_boilerplate!();
}
