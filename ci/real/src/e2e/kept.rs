//! What is kept of a story when its world is gone: the journal, the objects, and the clients.

use std::sync::{Arc, Mutex, PoisonError};

use ivory_core::{Kind, Object};
use ivory_sim::scenario::driver::{Ask, Break, ClientFacts, Driver, Refusal};
use ivory_sim::scenario::language::{ClientSpec, SqlAsk};
use ivory_sim::time::Time;
use ivory_sim::world::fingerprint::Normal;
use ivory_sim::world::journal::{Entry, Milestone};
use ivory_sim::world::{Finding, KubeId};

use super::psql::App;

/// Shared between a driver and whoever started the story.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    journal: Vec<Entry>,
    normal: Normal,
    apps: Vec<Arc<App>>,
}

impl Kept {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All that happened.
    pub(crate) fn happened(&self, journal: &[Entry]) {
        self.with(|i| i.journal = journal.to_vec());
    }

    /// The objects at the end.
    pub(crate) fn left(&self, normal: Normal) {
        self.with(|i| i.normal = normal);
    }

    /// The objects at the end of a story in the simulator.
    pub(crate) fn normal(&self) -> Normal {
        self.with(|i| i.normal.clone())
    }

    /// A client was started.
    pub(crate) fn joined(&self, app: Arc<App>) {
        self.with(|i| i.apps.push(app));
    }

    /// The journal of a story that is over.
    pub(crate) fn journal(&self) -> Vec<Entry> {
        self.with(|i| i.journal.clone())
    }

    /// The clients of the story.
    pub(crate) fn apps(&self) -> Vec<Arc<App>> {
        self.with(|i| i.apps.clone())
    }
}

/// A driver whose journal is kept.
pub(crate) struct Keeping {
    /// The driver.
    pub(crate) inner: Box<dyn Driver>,
    /// Where its journal goes.
    pub(crate) kept: Kept,
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.kept.happened(self.inner.journal());
        if let Some(world) = self.inner.world() {
            self.kept.left(world.normal());
        }
    }
}

impl Driver for Keeping {
    fn now(&self) -> Time {
        self.inner.now()
    }
    fn kubes(&self) -> usize {
        self.inner.kubes()
    }
    fn advance_to(&mut self, until: Time) {
        self.inner.advance_to(until);
    }
    fn ask(&mut self, kube: KubeId, ask: &Ask) -> Result<(), Refusal> {
        self.inner.ask(kube, ask)
    }
    fn get(&self, kube: KubeId, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.inner.get(kube, kind, namespace, name)
    }
    fn list(&self, kube: KubeId, kind: Kind, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.inner.list(kube, kind, namespace)
    }
    fn version(&self) -> u64 {
        self.inner.version()
    }
    fn journal(&self) -> &[Entry] {
        self.inner.journal()
    }
    fn remark(&mut self, what: Milestone) {
        self.inner.remark(what);
    }
    fn fault(&mut self, kube: KubeId, fault: &Break) -> Result<(), String> {
        self.inner.fault(kube, fault)
    }
    fn connect(&mut self, kube: KubeId, client: &ClientSpec) -> Result<(), String> {
        self.inner.connect(kube, client)
    }
    fn disconnect(&mut self, name: &str) {
        self.inner.disconnect(name);
    }
    fn client(&self, name: &str) -> Option<ClientFacts> {
        self.inner.client(name)
    }
    fn sql(
        &mut self,
        kube: KubeId,
        namespace: &str,
        secret: &str,
        ask: &SqlAsk,
    ) -> Result<(), String> {
        self.inner.sql(kube, namespace, secret, ask)
    }
    fn findings(&self) -> Vec<Finding> {
        self.inner.findings()
    }
    fn digest(&self) -> u64 {
        self.inner.digest()
    }
    fn trace(&self) -> &str {
        self.inner.trace()
    }
}
