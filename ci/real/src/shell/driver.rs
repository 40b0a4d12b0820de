//! The simulated world as a story's place, with the real shell in it. Its time is tokio's, which is paused and jumps to
//! whatever is due next, so hours pass in seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ivory_core::{Kind, Object};
use ivory_face::{Action, End, Living, Told};
use ivory_sim::lab::site::{LabSite, SECOND};
use ivory_sim::lab::{Lab, OPERATOR};
use ivory_sim::scenario::driver::{Ask, Break, ClientFacts, Driver, Refusal};
use ivory_sim::scenario::language::{ClientSpec, SqlAsk, WorldSpec};
use ivory_sim::scenario::world_driver::{PATIENCE, PERSON, Site as _, refusal, request, strike};
use ivory_sim::time::{Span, Time};
use ivory_sim::world::fingerprint::Normal;
use ivory_sim::world::journal::{Entry, Milestone};
use ivory_sim::world::{Finding, KubeId, World};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Dispatch;

use super::operators::Station;
use super::said::Said;
use crate::e2e::milestones::timeline;

/// What is left of a story when its world is gone.
#[derive(Clone, Default)]
pub(super) struct Ended(Arc<Mutex<Remains>>);

/// What a story leaves behind.
#[derive(Default)]
pub(super) struct Remains {
    /// All that happened.
    pub(super) journal: Vec<Entry>,
    /// The objects that were there at the end.
    pub(super) normal: Normal,
    /// What the operators asked of each Kubernetes' API server.
    pub(super) told: Vec<Vec<Told>>,
    /// When a member became leader.
    pub(super) led: Vec<Instant>,
}

impl Ended {
    /// Takes it out.
    pub(super) fn take(&self) -> Remains {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A world with real shells.
pub(super) struct ShellDriver {
    runtime: Runtime,
    /// Hears what the shells log.
    dispatch: Dispatch,
    said: Said,
    /// One for each Kubernetes.
    stations: Vec<Station>,
    site: LabSite,
    journal: Vec<Entry>,
    /// How much of the world's own journal is in it.
    copied: usize,
    ended: Ended,
}

impl ShellDriver {
    /// The world of a story.
    ///
    /// # Errors
    /// A sentence, when it can't be made.
    pub(super) fn new(spec: &WorldSpec, ended: Ended) -> Result<Self, String> {
        let mut lab = Lab::built(spec)?;
        let mut begun = Vec::new();
        for &kube in &lab.kubes {
            let operator = lab.operator(kube);
            operator.into_iter().for_each(|id| lab.world.kill(id, 0));
            begun.push((kube, operator.is_some()));
        }
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let guard = runtime.enter();
        let living = Living::new(lab.world, KubeId(0), 1);
        let said = Said::of(living.clone());
        let stations = begun
            .iter()
            .map(|(kube, _)| Station::new(living.beside(*kube), *kube, spec.seed, &said));
        let stations: Vec<Station> = stations.collect();
        drop(guard);
        let dispatch = said.dispatch();
        let mut driver = Self {
            runtime,
            dispatch,
            said,
            stations,
            site: LabSite::default(),
            journal: Vec::new(),
            copied: 0,
            ended,
        };
        for (kube, up) in begun {
            driver.switch(kube, OPERATOR, up);
        }
        Ok(driver)
    }

    fn station(&self, kube: KubeId) -> &Station {
        &self.stations[usize::from(kube.0)]
    }

    fn switch(&mut self, kube: KubeId, name: &'static str, up: bool) {
        let _guard = self.runtime.enter();
        let station = &mut self.stations[usize::from(kube.0)];
        tracing::dispatcher::with_default(&self.dispatch, || station.switch(name, up));
    }

    /// Looks at the world, or changes it.
    fn with<T>(&self, kube: KubeId, work: impl FnOnce(&mut World, KubeId) -> T) -> T {
        let _guard = self.runtime.enter();
        self.station(kube).living.with(work)
    }

    /// The same with the place of the story at hand.
    fn at_site<T>(
        &mut self,
        kube: KubeId,
        work: impl FnOnce(&mut World, &mut LabSite, KubeId) -> T,
    ) -> T {
        let mut site = self.site.clone();
        let done = self.with(kube, |world, id| work(world, &mut site, id));
        self.site = site;
        done
    }

    /// Lets tasks run, and time pass if they wait for it.
    fn block<T>(&self, work: impl Future<Output = T>) -> T {
        tracing::dispatcher::with_default(&self.dispatch, || self.runtime.block_on(work))
    }

    /// Takes up what happened.
    fn catch_up(&mut self) {
        let copied = self.copied;
        let news = self.with(KubeId(0), |world, _| world.journal()[copied..].to_vec());
        self.copied += news.len();
        let from = self.journal.len();
        self.journal.extend(news);
        self.journal.extend(self.said.take());
        self.journal[from..].sort_by_key(|entry| entry.at);
    }
}

impl Drop for ShellDriver {
    fn drop(&mut self) {
        self.catch_up();
        let normal = self.with(KubeId(0), |world, _| world.normal());
        let told = self.stations.iter().map(|s| s.server.faults.told()).collect();
        let journal = std::mem::take(&mut self.journal);
        let living = &self.station(KubeId(0)).living;
        let leads = |e: &&Entry| matches!(&e.what, Milestone::Database { text, .. } if timeline(text).is_some());
        let led = journal.iter().filter(leads).map(|e| living.instant(e.at)).collect();
        let mut ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        *ended = Remains { journal, normal, told, led };
    }
}

impl Driver for ShellDriver {
    fn now(&self) -> Time {
        self.with(KubeId(0), |world, _| world.now())
    }

    fn kubes(&self) -> usize {
        self.stations.len()
    }

    fn advance_to(&mut self, until: Time) {
        let due = self.station(KubeId(0)).living.instant(until);
        self.block(async move { sleep_until(due).await });
        self.catch_up();
    }

    fn ask(&mut self, kube: KubeId, ask: &Ask) -> Result<(), Refusal> {
        let living = self.station(kube).living.clone();
        let asked = async move {
            let patience = Duration::from_micros(PATIENCE.0.unsigned_abs());
            timeout(patience, living.request(PERSON, request(ask))).await
        };
        let answer = self.block(asked);
        self.catch_up();
        match answer {
            Ok(answer) => answer.map(drop).map_err(refusal),
            Err(_) => Err(Refusal {
                code: 504,
                message: "the API server does not answer".to_owned(),
                fields: Vec::new(),
            }),
        }
    }

    fn get(&self, kube: KubeId, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.with(kube, |world, id| world.kube(id).api.get(kind, namespace, name).cloned())
    }

    fn list(&self, kube: KubeId, kind: Kind, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.with(kube, |world, id| world.kube(id).api.list(kind, namespace).cloned().collect())
    }

    fn version(&self) -> u64 {
        self.with(KubeId(0), |world, _| {
            world.kube_ids().map(|k| world.kube(k).api.resource_version()).sum()
        })
    }

    fn journal(&self) -> &[Entry] {
        &self.journal
    }

    fn remark(&mut self, what: Milestone) {
        self.with(KubeId(0), |world, _| world.remark(what));
        self.catch_up();
    }

    fn fault(&mut self, kube: KubeId, fault: &Break) -> Result<(), String> {
        match fault {
            Break::Operator(up) => self.switch(kube, OPERATOR, *up),
            Break::SecondOperator(up) => self.switch(kube, SECOND, *up),
            Break::UpgradeOperator => {
                self.switch(kube, OPERATOR, false);
                self.stations[usize::from(kube.0)].upgrade();
                self.switch(kube, OPERATOR, true);
            }
            Break::Lag(span) => {
                self.station(kube).server.faults.lag.send_replace(duration(*span));
            }
            fault => {
                if let Break::ApiOutage(span) = fault {
                    let _guard = self.runtime.enter();
                    let faults = &self.station(kube).server.faults;
                    faults.during(duration(*span), Action::Refuse, |_| true);
                    faults.end_watches(End::Cut);
                }
                self.at_site(kube, |world, site, id| strike(world, site, id, fault))?;
            }
        }
        self.catch_up();
        Ok(())
    }

    fn connect(&mut self, kube: KubeId, client: &ClientSpec) -> Result<(), String> {
        self.at_site(kube, |world, site, id| site.connect(world, id, client))
    }

    fn disconnect(&mut self, name: &str) {
        self.at_site(KubeId(0), |world, site, _| site.disconnect(world, name));
    }

    fn client(&self, name: &str) -> Option<ClientFacts> {
        self.with(KubeId(0), |world, _| self.site.client(world, name))
    }

    fn sql(
        &mut self,
        kube: KubeId,
        namespace: &str,
        secret: &str,
        ask: &SqlAsk,
    ) -> Result<(), String> {
        let done =
            self.at_site(kube, |world, site, id| site.sql(world, id, (namespace, secret), ask));
        // The statement took its time in the world alone.
        self.advance_to(self.now());
        done
    }

    fn findings(&self) -> Vec<Finding> {
        let mut all = self.with(KubeId(0), |world, _| world.findings().to_vec());
        all.extend(self.said.findings());
        all
    }

    fn digest(&self) -> u64 {
        0
    }

    fn trace(&self) -> &str {
        ""
    }
}

fn duration(span: Span) -> Duration {
    Duration::from_micros(span.0.unsigned_abs())
}
