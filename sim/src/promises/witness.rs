//! The witness that calls the checkers: it picks what may matter to them out of all that happens.

use std::any::Any;
use std::sync::Arc;

use ivory_core::check::{Finding as PlanFinding, check};
use ivory_core::report::Outcome;
use ivory_core::{Kind, labels, names};

use super::seen::{Log, Looks, Pass, Plan, Plans, Seen, Write, Writes, key, switched};
use super::{
    Checker, Promise, clusters_apart, data_rewritten_only_on_request, no_commit_lost,
    no_secret_told, one_down_at_a_time, one_writable, only_owned, outage_changes_nothing,
    quiet_is_silent, read_errors_change_nothing, sql_immune, status_true, volumes_kept,
};
use crate::kube::{Change, ChangeType, Verb};
use crate::time::Time;
use crate::world::{Envelope, Finding, KubeId, What, Witness, World};

/// All checkers of one world.
#[derive(Clone, Default)]
pub struct Checkers {
    findings: Vec<Finding>,
    looks: Looks,
    /// How much of the journal was looked at.
    told: usize,
    changes: Vec<(KubeId, Change)>,
    plans: Arc<Plans>,
    alarm: Option<Time>,
    planned: bool,
    all: All,
}

#[derive(Clone, Default)]
struct All {
    one_writable: one_writable::State,
    no_commit_lost: no_commit_lost::State,
    volumes_kept: volumes_kept::State,
    data_rewritten: data_rewritten_only_on_request::State,
    one_down: one_down_at_a_time::State,
    read_errors: read_errors_change_nothing::State,
    quiet: quiet_is_silent::State,
    clusters_apart: clusters_apart::State,
    only_owned: only_owned::State,
    status_true: status_true::State,
    no_secret: no_secret_told::State,
    sql_immune: sql_immune::State,
    outage: outage_changes_nothing::State,
}

impl All {
    fn each(&mut self) -> [&mut dyn Checker; 13] {
        [
            &mut self.one_writable,
            &mut self.no_commit_lost,
            &mut self.volumes_kept,
            &mut self.data_rewritten,
            &mut self.one_down,
            &mut self.read_errors,
            &mut self.quiet,
            &mut self.clusters_apart,
            &mut self.only_owned,
            &mut self.status_true,
            &mut self.no_secret,
            &mut self.sql_immune,
            &mut self.outage,
        ]
    }
}

impl Checkers {
    /// How often each promise was looked at.
    #[must_use]
    pub fn looks(&self) -> &Looks {
        &self.looks
    }

    /// The last plans.
    #[must_use]
    pub fn plans(&self) -> &Plans {
        &self.plans
    }

    fn log(&mut self, now: Time) -> (&mut All, Log<'_>) {
        let log = Log {
            now,
            findings: &mut self.findings,
            looks: &mut self.looks,
            alarm: &mut self.alarm,
        };
        (&mut self.all, log)
    }

    fn write(&mut self, world: &World, kube: KubeId, what: Writes<'_>) {
        let plans = self.plans.clone();
        let write = Write { world, kube, what, plans: &plans };
        // What a zombie wanted is no harm where nothing comes of it.
        if write.refused() {
            return;
        }
        let (all, mut log) = self.log(world.now());
        all.each().into_iter().for_each(|checker| checker.write(&write, &mut log));
    }
}

/// The promise that a bad plan breaks.
#[must_use]
pub fn planned_badly(finding: &PlanFinding) -> &'static Promise {
    match finding {
        PlanFinding::TwoInstancesDown(_) | PlanFinding::LeaderDeleted(_) => {
            &one_down_at_a_time::PROMISE
        }
        PlanFinding::VolumeDeletedWithoutRequest(_) => &volumes_kept::PROMISE,
        PlanFinding::NotOurs(_) | PlanFinding::NotGranted(_) | PlanFinding::DeleteUnseen(_) => {
            &only_owned::PROMISE
        }
        PlanFinding::ChangedUnknown(_) => &read_errors_change_nothing::PROMISE,
        PlanFinding::ActsWhilePaused(_) => &status_true::PROMISE,
        PlanFinding::TooMany(_) => &quiet_is_silent::PROMISE,
    }
}

/// Whether checkers follow this change: heartbeats of Patroni and kubelets are the most, and say nothing to them.
fn followed(change: &Change) -> bool {
    let object = &change.object;
    match object.kind {
        Kind::IvoryCluster | Kind::Secret => true,
        Kind::StatefulSet => change.what != ChangeType::Modified,
        Kind::Endpoints => object.meta.name.ends_with(one_writable::CONFIG),
        Kind::Pod => match &change.old {
            Some(old) if change.what == ChangeType::Modified => {
                old.condition_true("Ready") != object.condition_true("Ready")
                    || old.label(labels::ROLE) != object.label(labels::ROLE)
                    || old.terminating() != object.terminating()
            }
            _ => true,
        },
        _ => false,
    }
}

impl Witness for Checkers {
    fn takes_effect(&mut self, world: &World, envelope: &Envelope) {
        match &envelope.what {
            What::Request(request)
                if request.manager.as_deref() == Some(names::FIELD_MANAGER)
                    && !matches!(request.verb, Verb::Get(_) | Verb::List { .. }) =>
            {
                self.write(world, envelope.kube, Writes::Request(request));
            }
            What::Exec { target, command, deadline } => {
                self.write(world, envelope.kube, Writes::Exec(target, command, *deadline));
            }
            _ => {}
        }
    }

    fn changed(&mut self, kube: KubeId, change: &Change) {
        if followed(change) {
            self.changes.push((kube, change.clone()));
        }
    }

    fn planned(&mut self, planned: Pass<'_>) {
        self.planned = true;
        let cluster = &planned.observed.cluster;
        let key = key(planned.kube, cluster);
        let pods = planned.observed.labelled(Kind::Pod);
        let pods = pods.known().copied().unwrap_or_default().iter();
        let before = self.plans.get(&key);
        let waits = planned.plan.report.lines.iter().filter_map(|(step, outcome)| {
            let text = match outcome {
                Outcome::Waiting(_) | Outcome::Blocked(_) => format!("{step}: {outcome}"),
                Outcome::Acted | Outcome::InSync => return None,
            };
            let since = before.and_then(|b| b.waits.get(&text)).copied();
            Some((text, since.unwrap_or(planned.at)))
        });
        let plan = Plan {
            waits: waits.collect(),
            at: planned.at,
            generation: cluster.meta.generation,
            paused: switched(cluster, "paused"),
            pods: pods.map(|p| (p.meta.name.clone(), p.meta.resource_version)).collect(),
        };
        Arc::make_mut(&mut self.plans).insert(key, plan);
        let (all, mut log) = self.log(planned.at);
        for finding in check(planned.observed, planned.plan) {
            let text = format!("{}: the plan {finding}", planned.observed.cluster.meta.name);
            log.broken(planned_badly(&finding), text);
        }
        all.each().into_iter().for_each(|checker| checker.pass(&planned, &mut log));
    }

    fn after(&mut self, world: &World) {
        let now = world.now();
        let due = self.alarm.is_some_and(|alarm| alarm <= now);
        let news = world.journal().len() != self.told;
        if !news && self.changes.is_empty() && !due && !self.planned {
            return;
        }
        if due {
            self.alarm = None;
        }
        self.planned = false;
        let news = &world.journal()[self.told..];
        self.told = world.journal().len();
        let (changes, plans) = (std::mem::take(&mut self.changes), self.plans.clone());
        let seen = Seen::new(world, news, &changes, &plans);
        let (all, mut log) = self.log(now);
        all.each().into_iter().for_each(|checker| checker.event(&seen, &mut log));
    }

    fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn boxed(&self) -> Arc<dyn Witness> {
        Arc::new(self.clone())
    }

    fn any(&self) -> &dyn Any {
        self
    }
}
