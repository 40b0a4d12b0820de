//! The real cluster as the world of a story: time is real here, so `advance` sleeps; requests are sent as
//! `kubectl` would send them; facts are read from watches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ivory_core::plan::Propagation;
use ivory_core::{Kind, Object};
use ivory_sim::scenario::driver::{Ask, Break, ClientFacts, Driver, Refusal};
use ivory_sim::scenario::language::{ClientSpec, SqlAsk};
use ivory_sim::scenario::resolve::Ref;
use ivory_sim::time::Time;
use ivory_sim::world::journal::{Entry, Milestone};
use ivory_sim::world::{Finding, KubeId};
use kube::api::{
    DeleteParams, DynamicObject, Patch, PatchParams, PropagationPolicy, ValidationDirective,
};
use tokio::runtime::Handle;

use super::faults::Faults;
use super::kept::Kept;
use super::live::{Live, api, object};
use super::psql::{self, App};

/// How long a change may take to come back through the watches.
const SEEN: Duration = Duration::from_secs(10);

/// One story on the real cluster.
pub(crate) struct RealDriver {
    /// What runs the requests.
    pub(crate) handle: Handle,
    /// The cluster.
    pub(crate) live: Arc<Live>,
    /// What can be broken.
    pub(crate) faults: Faults,
    /// The image with psql.
    pub(crate) image: String,
    /// What happened, and who connected; outlives the story.
    pub(crate) kept: Kept,
    /// What happened so far.
    pub(crate) journal: Vec<Entry>,
    /// The clients.
    pub(crate) apps: BTreeMap<String, Arc<App>>,
}

impl RealDriver {
    fn listen(&mut self) {
        self.journal.extend(self.live.settled(false));
    }

    /// Sleeps until something is true of the watched copy, for a while at most.
    async fn seen(&self, is: impl Fn(&Live) -> bool) {
        let wait = async {
            while !is(&self.live) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // If it is never seen, the expectations of the story will say so.
        let _ = tokio::time::timeout(SEEN, wait).await;
    }

    async fn request(&self, ask: &Ask) -> kube::Result<()> {
        match ask {
            Ask::Apply(desired) => {
                let api = api(&self.live.client, desired.kind, &desired.meta.namespace);
                let mut params = PatchParams::apply("kubectl").force();
                params.field_validation = Some(ValidationDirective::Strict);
                let body = Patch::Apply(desired.to_value());
                let answer = api.patch(&desired.meta.name, &params, &body).await?;
                self.came_back(desired.kind, &answer).await;
            }
            Ask::Merge { of, with } => {
                let api = api(&self.live.client, of.kind, &of.namespace);
                let params = PatchParams {
                    field_manager: Some("kubectl".to_owned()),
                    field_validation: Some(ValidationDirective::Strict),
                    ..PatchParams::default()
                };
                let answer = api.patch(&of.name, &params, &Patch::Merge(with)).await?;
                self.came_back(of.kind, &answer).await;
            }
            Ask::Delete { of, grace_s, propagation } => {
                let api = api(&self.live.client, of.kind, &of.namespace);
                let before = self.live.get(of).map(|o| o.meta.uid.clone());
                let params = DeleteParams {
                    grace_period_seconds: grace_s.and_then(|s| u32::try_from(s).ok()),
                    propagation_policy: propagation.map(|p| match p {
                        Propagation::Background => PropagationPolicy::Background,
                        Propagation::Foreground => PropagationPolicy::Foreground,
                        Propagation::Orphan => PropagationPolicy::Orphan,
                    }),
                    ..DeleteParams::default()
                };
                api.delete(&of.name, &params).await?;
                self.seen(|live| {
                    live.get(of)
                        .is_none_or(|o| o.terminating() || Some(&o.meta.uid) != before.as_ref())
                })
                .await;
            }
        }
        Ok(())
    }

    /// Waits until the watches have seen a version of an object.
    async fn came_back(&self, kind: Kind, answer: &DynamicObject) {
        let Ok(answer) = object(kind, answer) else { return };
        let r = super::live::reference(&answer);
        let wanted = answer.meta.resource_version;
        self.seen(|live| live.get(&r).is_some_and(|o| o.meta.resource_version >= wanted)).await;
    }
}

impl Driver for RealDriver {
    fn now(&self) -> Time {
        self.live.now()
    }

    fn kubes(&self) -> usize {
        1
    }

    fn advance_to(&mut self, until: Time) {
        let left = until - self.now();
        if let Ok(left) = u64::try_from(left.0) {
            std::thread::sleep(Duration::from_micros(left));
        }
        self.listen();
    }

    fn ask(&mut self, _: KubeId, ask: &Ask) -> Result<(), Refusal> {
        let answer = self.handle.block_on(self.request(ask));
        self.listen();
        answer.map_err(refusal)
    }

    fn get(&self, _: KubeId, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.live.get(&Ref { kind, namespace: namespace.into(), name: name.into() })
    }

    fn list(&self, _: KubeId, kind: Kind, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.live.list(kind, namespace)
    }

    fn version(&self) -> u64 {
        self.live.version()
    }

    fn journal(&self) -> &[Entry] {
        &self.journal
    }

    fn remark(&mut self, what: Milestone) {
        self.live.note(self.live.now(), "story", what);
        self.listen();
    }

    fn fault(&mut self, _: KubeId, fault: &Break) -> Result<(), String> {
        let done = self.handle.block_on(self.faults.strike(&self.live, fault));
        self.listen();
        done.map_err(|e| format!("{e:#}"))
    }

    fn connect(&mut self, _: KubeId, client: &ClientSpec) -> Result<(), String> {
        // A Pod keeps the password with which it started.
        self.disconnect(&client.name);
        let app = self.handle.block_on(App::start(&self.live, client, &self.image));
        let app = app.map_err(|e| format!("{e:#}"))?;
        self.kept.joined(app.clone());
        self.apps.insert(client.name.clone(), app);
        Ok(())
    }

    fn disconnect(&mut self, name: &str) {
        if let Some(app) = self.apps.get(name) {
            self.handle.block_on(app.finish(&self.live));
        }
    }

    fn client(&self, name: &str) -> Option<ClientFacts> {
        Some(self.apps.get(name)?.knows(self.now()))
    }

    fn sql(
        &mut self,
        _: KubeId,
        namespace: &str,
        secret: &str,
        ask: &SqlAsk,
    ) -> Result<(), String> {
        self.handle.block_on(psql::by_hand(&self.live, (namespace, secret), ask, &self.image))
    }

    fn findings(&self) -> Vec<Finding> {
        Vec::new()
    }

    fn digest(&self) -> u64 {
        0
    }

    fn trace(&self) -> &str {
        ""
    }
}

impl Drop for RealDriver {
    fn drop(&mut self) {
        self.journal.extend(self.live.settled(true));
        self.kept.happened(&self.journal);
    }
}

fn refusal(error: kube::Error) -> Refusal {
    let kube::Error::Api(status) = error else {
        return Refusal { code: 504, message: error.to_string(), fields: Vec::new() };
    };
    let causes = status.details.iter().flat_map(|d| &d.causes);
    let fields = causes.filter(|c| !c.field.is_empty());
    Refusal {
        code: status.code,
        fields: fields.map(|c| (c.field.clone(), c.message.clone())).collect(),
        message: status.message.clone(),
    }
}
