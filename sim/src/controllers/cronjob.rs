//! CronJobs. Left out: `timeZone` (everything is UTC), the Events, and the warning about too many missed
//! times, of which the latest is started here as there.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, OwnerRef, time_text};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::controllers::cron::Schedule;
use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Sync};
use crate::controllers::job::finished;
use crate::time::{Span, Time};

/// The annotation of a Job that says for which time it was made.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// So much later than the schedule says does it look again, as the real one.
const SLACK: Span = Span::ms(100);

/// The controller.
pub(super) struct CronJobs;

impl Controller for CronJobs {
    fn name(&self) -> &'static str {
        "cronjob"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::CronJob, Kind::Job]
    }

    fn keys(&self, seen: Seen<'_>, _: &Caches, keys: &mut Keys) {
        match seen.latest().kind {
            Kind::CronJob => keys.push(Key::of(seen.latest())),
            _ => keys.extend(seen.both().filter_map(|j| Key::controller(j, Kind::CronJob))),
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let Some(cron) = caches.get(key.kind, &key.namespace, &key.name) else {
            return;
        };
        let jobs: Vec<_> = caches.controlled(Kind::Job, cron).cloned().collect();
        trim_history(cron, &jobs, sync);
        let running = jobs.iter().filter(|j| finished(j).is_none());
        let mut active: Vec<Value> = running.clone().map(|j| reference(j)).collect();
        let mut status = cron.at(&["status"]).and_then(Value::as_object).cloned();
        let status = status.get_or_insert_default();
        note_success(&jobs, status);
        note_schedule(&jobs, status);
        if !cron.terminating() {
            let running: Vec<_> = running.cloned().collect();
            if let Some(at) = due(cron, &jobs, &running, sync) {
                if cron.str_at(&["spec", "concurrencyPolicy"]) == Some("Replace") {
                    running.iter().for_each(|j| sync.delete(j));
                    active.clear();
                }
                // The status tells of it once the Job is seen, in one piece.
                sync.create(job_of(cron, at));
            }
        }
        if active.is_empty() {
            status.remove("active");
        } else {
            status.insert("active".into(), active.into());
        }
        sync.status(cron, std::mem::take(status));
    }
}

/// The time for which a Job is to be started now, if any. Sees to it that the next one isn't missed.
fn due(
    cron: &Object,
    jobs: &[Arc<Object>],
    running: &[Arc<Object>],
    sync: &mut Sync,
) -> Option<Timestamp> {
    if cron.at(&["spec", "suspend"]) == Some(&Value::Bool(true)) {
        return None;
    }
    let schedule: Schedule = cron.str_at(&["spec", "schedule"])?.parse().ok()?;
    let now = sync.timestamp();
    if let Some(next) = schedule.next(now) {
        sync.look_again(Time::from(next) - sync.now + SLACK);
    }
    let last: Option<Timestamp> =
        cron.str_at(&["status", "lastScheduleTime"]).and_then(|t| t.parse().ok());
    let deadline_s = cron.i64_at(&["spec", "startingDeadlineSeconds"]);
    let horizon = deadline_s.map(|s| (sync.now + Span::s(-s)).timestamp());
    let from = [last.or(cron.meta.created_at), horizon].into_iter().flatten().max()?;
    let at = schedule.latest(from, now)?;
    let too_late = deadline_s.is_some_and(|s| Time::from(at) + Span::s(s) < sync.now);
    let forbidden = cron.str_at(&["spec", "concurrencyPolicy"]) == Some("Forbid");
    let name = job_name(cron, at);
    let started = Some(at) == last || jobs.iter().any(|j| *j.meta.name == *name);
    let may = !forbidden || running.is_empty();
    (!too_late && !started && may).then_some(at)
}

fn job_name(cron: &Object, at: Timestamp) -> String {
    format!("{}-{}", cron.meta.name, at.as_second() / 60)
}

fn job_of(cron: &Object, at: Timestamp) -> Object {
    let mut job = Object::new(Kind::Job, &cron.meta.namespace, &job_name(cron, at));
    let template = cron.at(&["spec", "jobTemplate"]);
    let map = |key: &str| {
        let found = template.and_then(|t| t.get("metadata")?.get(key)?.as_object());
        let text = |(k, v): (&String, &Value)| Some((k.clone(), v.as_str()?.to_owned()));
        found.into_iter().flatten().filter_map(text).collect()
    };
    job.meta.labels = Arc::new(map("labels"));
    let mut annotations: ivory_core::object::StringMap = map("annotations");
    annotations.insert(SCHEDULED.into(), time_text(at));
    job.meta.annotations = Arc::new(annotations);
    job.meta.owners = Arc::new(vec![OwnerRef::controller_of(cron)]);
    if let Some(spec) = template.and_then(|t| t.get("spec")) {
        job.body_mut().insert("spec".into(), spec.clone());
    }
    job
}

fn reference(job: &Object) -> Value {
    json!({
        "apiVersion": job.kind.api_version(), "kind": job.kind.name(), "name": &*job.meta.name,
        "namespace": &*job.meta.namespace, "uid": &*job.meta.uid,
        "resourceVersion": job.meta.resource_version.to_string(),
    })
}

/// Deletes the oldest finished Jobs beyond the limits: by default 3 that succeeded and 1 that failed stay.
fn trim_history(cron: &Object, jobs: &[Arc<Object>], sync: &mut Sync) {
    for (end, field, default) in
        [("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1)]
    {
        let limit = cron.i64_at(&["spec", field]).unwrap_or(default);
        let mut done: Vec<_> = jobs.iter().filter(|j| finished(j) == Some(end)).collect();
        done.sort_by_key(|j| {
            let started = j.str_at(&["status", "startTime"]).unwrap_or_default();
            (started.to_owned(), j.meta.name.clone())
        });
        let surplus = done.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        let oldest = done.into_iter().take(surplus);
        oldest.filter(|j| !j.terminating()).for_each(|j| sync.delete(j));
    }
}

fn note_success(jobs: &[Arc<Object>], status: &mut Map<String, Value>) {
    let times = jobs.iter().filter_map(|j| j.str_at(&["status", "completionTime"]));
    // Times of this spelling are in order as text.
    if let Some(last) = times.max()
        && status.get("lastSuccessfulTime").and_then(Value::as_str).is_none_or(|t| t < last)
    {
        status.insert("lastSuccessfulTime".into(), last.into());
    }
}

fn note_schedule(jobs: &[Arc<Object>], status: &mut Map<String, Value>) {
    let times = jobs.iter().filter_map(|j| j.annotation(SCHEDULED));
    if let Some(last) = times.max()
        && status.get("lastScheduleTime").and_then(Value::as_str).is_none_or(|t| t < last)
    {
        status.insert("lastScheduleTime".into(), last.into());
    }
}
