//! Deployments: a ReplicaSet per template, and the way from one to the next. Left out: proportional scaling
//! of several sets during a rollout, ReplicaFailure, hash collisions.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, OwnerRef};
use serde_json::{Map, Value, json};

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Sync};
use crate::controllers::support::workload::revision_hash;
use crate::controllers::support::{conditions, int_or_percent, moment, pods, put_count};
use crate::kube::Subresource;
use crate::time::Span;

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// What kubectl keeps on an object is not handed down.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The controller.
pub(super) struct Deployments;

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Deployment, Kind::ReplicaSet, Kind::Pod]
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        match object.kind {
            Kind::Deployment => keys.push(Key::of(object)),
            Kind::ReplicaSet => {
                keys.extend(seen.both().filter_map(|o| Key::controller(o, Kind::Deployment)));
            }
            // The strategy Recreate waits for the end of the last old Pod.
            Kind::Pod if seen.new.is_none() => {
                let set = Key::controller(object, Kind::ReplicaSet);
                let set = set.and_then(|k| caches.get(k.kind, &k.namespace, &k.name));
                keys.extend(set.and_then(|s| Key::controller(s, Kind::Deployment)));
            }
            _ => {}
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let Some(deployment) = caches.get(key.kind, &key.namespace, &key.name) else {
            return;
        };
        let mut sets: Vec<_> = caches.controlled(Kind::ReplicaSet, deployment).cloned().collect();
        sets.sort_by_key(|s| (s.meta.created_at, s.meta.name.clone()));
        let mut rollout = Rollout::new(deployment, sets);
        if deployment.terminating() {
            return rollout.write_status(sync, false);
        }
        if rollout.note_pause(sync) {
            return;
        }
        if rollout.paused() {
            rollout.resize(sync);
            return rollout.write_status(sync, false);
        }
        if rollout.renumber(sync) {
            return;
        }
        // Whoever wrote the one half of the status has no version for the other half before its cache has seen that.
        let noted = rollout.note_revision(sync);
        let made = rollout.act(caches, sync);
        rollout.truncate(sync);
        if !noted && !made {
            rollout.write_status(sync, true);
        }
    }
}

struct Rollout<'a> {
    deployment: &'a Object,
    wanted: i64,
    max_surge: i64,
    max_unavailable: i64,
    new: Option<Arc<Object>>,
    /// Oldest first.
    old: Vec<Arc<Object>>,
}

fn size(set: &Object) -> i64 {
    set.i64_at(&["spec", "replicas"]).unwrap_or(0)
}

fn counter(object: &Object, key: &str) -> i64 {
    object.i64_at(&["status", key]).unwrap_or(0)
}

/// A template without the label that tells ReplicaSets apart.
fn plain(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH);
    }
    template
}

fn recreates(deployment: &Object) -> bool {
    deployment.str_at(&["spec", "strategy", "type"]) == Some("Recreate")
}

impl<'a> Rollout<'a> {
    fn new(deployment: &'a Object, sets: Vec<Arc<Object>>) -> Self {
        let wanted = deployment.i64_at(&["spec", "replicas"]).unwrap_or(1).max(0);
        let rolling = deployment.at(&["spec", "strategy", "rollingUpdate"]);
        let of = |key: &str, up| int_or_percent(rolling.and_then(|r| r.get(key)), wanted, up);
        let max_surge = of("maxSurge", true).unwrap_or(0);
        let mut max_unavailable = of("maxUnavailable", false).unwrap_or(0);
        if max_surge == 0 && max_unavailable == 0 {
            max_unavailable = 1;
        }
        let template = deployment.at(&["spec", "template"]);
        let is_new =
            |set: &Arc<Object>| set.at(&["spec", "template"]).map(plain) == template.map(plain);
        let at = sets.iter().position(is_new);
        let mut old = sets;
        let new = at.map(|at| old.remove(at));
        Self {
            deployment,
            wanted,
            max_surge,
            max_unavailable: if recreates(deployment) { 0 } else { max_unavailable.min(wanted) },
            new,
            old,
        }
    }

    fn paused(&self) -> bool {
        self.deployment.at(&["spec", "paused"]) == Some(&Value::Bool(true))
    }

    /// Says that it is paused, or goes on. True when that was news.
    fn note_pause(&self, sync: &mut Sync) -> bool {
        let before = self.deployment.at(&["status"]).and_then(Value::as_object);
        let mut status = before.cloned().unwrap_or_default();
        let progress = conditions::find(&status, "Progressing");
        let reason = progress.and_then(|c| c.get("reason")?.as_str());
        let has_deadline = self.deployment.at(&["spec", "progressDeadlineSeconds"]).is_some();
        let (reason, message) = match (self.paused(), reason == Some("DeploymentPaused")) {
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return false,
        };
        if !has_deadline {
            return false;
        }
        let now = sync.time_text();
        let stamp = [("lastUpdateTime", Value::from(now.clone()))];
        conditions::set(&mut status, "Progressing", "Unknown", reason, message, &now, &stamp);
        sync.status(self.deployment, status);
        true
    }

    /// Sets the size of the one ReplicaSet that has Pods, or of the newest.
    fn resize(&self, sync: &mut Sync) {
        let all = || self.old.iter().chain(&self.new);
        let mut active = all().filter(|set| size(set) > 0);
        let set = match (active.next(), active.next()) {
            (Some(_), Some(_)) => None,
            (Some(one), None) => Some(one),
            (None, _) => self.new.as_ref().or(self.old.last()),
        };
        if let Some(set) = set.filter(|set| size(set) != self.wanted) {
            self.scale(set, self.wanted, sync);
        }
    }

    /// Gives a ReplicaSet whose template is the wanted one again the next number. True when that is to be seen first.
    fn renumber(&self, sync: &mut Sync) -> bool {
        let Some(new) = &self.new else {
            return false;
        };
        let number = new.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0);
        if number >= self.next_revision() {
            return false;
        }
        let mut changed = (**new).clone();
        let annotations = Arc::make_mut(&mut changed.meta.annotations);
        let before = annotations.insert(REVISION.into(), self.next_revision().to_string());
        if let Some(before) = before {
            let history = match annotations.get(HISTORY) {
                Some(earlier) => format!("{earlier},{before}"),
                None => before,
            };
            annotations.insert(HISTORY.into(), history);
        }
        sync.update(changed);
        true
    }

    /// Notes on the Deployment which revision it is at, with the status. True when that was news.
    fn note_revision(&self, sync: &mut Sync) -> bool {
        let revision = self.new.as_ref().and_then(|s| s.annotation(REVISION));
        let Some(revision) = revision.filter(|r| self.deployment.annotation(REVISION) != Some(r))
        else {
            return false;
        };
        let mut noted = self.deployment.clone();
        Arc::make_mut(&mut noted.meta.annotations).insert(REVISION.into(), revision.into());
        let request = sync.update_request(noted, Subresource::Status);
        sync.send(request);
        true
    }

    /// One step towards what is wanted. True when a new ReplicaSet was made for it.
    fn act(&mut self, caches: &Caches, sync: &mut Sync) -> bool {
        let had = self.new.is_some();
        let made = self.go_on(caches, sync);
        if made && !had {
            self.note_new(sync);
        }
        made && !had
    }

    /// Notes on the Deployment that there is a new ReplicaSet, with the status.
    fn note_new(&self, sync: &mut Sync) {
        let mut noted = self.deployment.clone();
        let revision = self.next_revision().to_string();
        Arc::make_mut(&mut noted.meta.annotations).insert(REVISION.into(), revision);
        if self.deployment.at(&["spec", "progressDeadlineSeconds"]).is_some() {
            let before = self.deployment.at(&["status"]).and_then(Value::as_object);
            let mut status = before.cloned().unwrap_or_default();
            let now = sync.time_text();
            let stamp = [("lastUpdateTime", Value::from(now.clone()))];
            let message = "Created new replica set";
            let reason = "NewReplicaSetCreated";
            conditions::set(&mut status, "Progressing", "True", reason, message, &now, &stamp);
            noted.body_mut().insert("status".into(), status.into());
        }
        let request = sync.update_request(noted, Subresource::Status);
        sync.send(request);
    }

    /// True when the new ReplicaSet was made or changed its size.
    fn go_on(&mut self, caches: &Caches, sync: &mut Sync) -> bool {
        if recreates(self.deployment) {
            return self.recreate(caches, sync);
        }
        let old_size: i64 = self.old.iter().map(|s| size(s)).sum();
        let new_size = self.new.as_ref().map_or(0, |s| size(s));
        let room = (self.wanted + self.max_surge - old_size - new_size).max(0);
        let target = if new_size > self.wanted {
            self.wanted
        } else {
            new_size + room.min(self.wanted - new_size)
        };
        let grew = self.bring(target, sync);
        if !grew {
            self.shrink_old(old_size, new_size, sync);
        }
        grew
    }

    fn recreate(&mut self, caches: &Caches, sync: &mut Sync) -> bool {
        if self.old.iter().any(|s| size(s) > 0) {
            for set in self.old.clone() {
                self.scale(&set, 0, sync);
            }
            return false;
        }
        let lives =
            |set: &Arc<Object>| caches.controlled(Kind::Pod, set).any(|pod| !pods::finished(pod));
        !self.old.iter().any(lives) && self.bring(self.wanted, sync)
    }

    /// Makes the new ReplicaSet, or sets its size. True when that changes something.
    fn bring(&mut self, target: i64, sync: &mut Sync) -> bool {
        let Some(set) = self.new.clone() else {
            let set = self.new_set(target);
            sync.create(set);
            return true;
        };
        self.scale(&set, target, sync)
    }

    fn scale(&self, set: &Arc<Object>, target: i64, sync: &mut Sync) -> bool {
        let mut scaled = (**set).clone();
        let wanted =
            [(DESIRED, self.wanted.to_string()), (MAX, (self.wanted + self.max_surge).to_string())];
        let stale = wanted.iter().any(|(k, v)| set.annotation(k) != Some(v));
        if size(set) == target && (!stale || target == 0) {
            return false;
        }
        let annotations = Arc::make_mut(&mut scaled.meta.annotations);
        annotations.extend(wanted.map(|(k, v)| (k.to_owned(), v)));
        if let Some(spec) = scaled.body_mut().get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("replicas".into(), target.into());
        }
        sync.update(scaled);
        size(set) != target
    }

    fn shrink_old(&self, old_size: i64, new_size: i64, sync: &mut Sync) {
        let Some(new) = &self.new else {
            return;
        };
        let least = self.wanted - self.max_unavailable;
        let new_missing = new_size - counter(new, "availableReplicas");
        let mut spare = old_size + new_size - least - new_missing;
        if old_size == 0 || spare <= 0 {
            return;
        }
        // First the Pods that serve nobody, then those that the available ones can stand in for.
        let mut sizes: Vec<i64> = self.old.iter().map(|s| size(s)).collect();
        for (set, size) in self.old.iter().zip(&mut sizes) {
            let cut = (*size - counter(set, "availableReplicas")).clamp(0, spare);
            *size -= cut;
            spare -= cut;
        }
        let all = self.old.iter().chain([new]);
        let available: i64 = all.map(|s| counter(s, "availableReplicas")).sum();
        let mut more = available - least;
        for size in &mut sizes {
            let cut = (*size).min(more).max(0);
            *size -= cut;
            more -= cut;
        }
        for (set, target) in self.old.iter().zip(sizes) {
            if target != size(set) {
                self.scale(set, target, sync);
            }
        }
    }

    fn new_set(&self, replicas: i64) -> Object {
        let mut template = self.deployment.at(&["spec", "template"]).cloned().unwrap_or_default();
        let hash = revision_hash(&template);
        let name = format!("{}-{hash}", self.deployment.meta.name);
        let mut selector = self.deployment.at(&["spec", "selector"]).cloned().unwrap_or_default();
        template["metadata"]["labels"][HASH] = hash.as_str().into();
        selector["matchLabels"][HASH] = hash.into();
        let mut set = Object::new(Kind::ReplicaSet, &self.deployment.meta.namespace, &name);
        let labels = template["metadata"]["labels"].as_object();
        let text = |(k, v): (&String, &Value)| Some((k.clone(), v.as_str()?.to_owned()));
        set.meta.labels = Arc::new(labels.into_iter().flatten().filter_map(text).collect());
        let mut annotations = (*self.deployment.meta.annotations).clone();
        annotations.remove(LAST_APPLIED);
        annotations.insert(REVISION.into(), self.next_revision().to_string());
        annotations.insert(DESIRED.into(), self.wanted.to_string());
        annotations.insert(MAX.into(), (self.wanted + self.max_surge).to_string());
        set.meta.annotations = Arc::new(annotations);
        set.meta.owners = Arc::new(vec![OwnerRef::controller_of(self.deployment)]);
        let mut spec = json!({"replicas": replicas, "selector": selector, "template": template});
        if let Some(seconds) = self.deployment.at(&["spec", "minReadySeconds"]) {
            spec["minReadySeconds"] = seconds.clone();
        }
        set.body_mut().insert("spec".into(), spec);
        set
    }

    fn next_revision(&self) -> i64 {
        let numbers = self.old.iter().filter_map(|s| s.annotation(REVISION)?.parse().ok());
        numbers.max().unwrap_or(0) + 1
    }

    /// Deletes the oldest empty ReplicaSets beyond the history limit, once the rollout is through.
    fn truncate(&self, sync: &mut Sync) {
        let limit = self.deployment.i64_at(&["spec", "revisionHistoryLimit"]).unwrap_or(10);
        let complete = self.new.as_ref().is_some_and(|new| {
            counter(new, "availableReplicas") == self.wanted && size(new) == self.wanted
        });
        if !complete || self.old.iter().any(|s| counter(s, "replicas") > 0) {
            return;
        }
        let surplus = self.old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        let empty = |s: &&Arc<Object>| size(s) == 0 && !s.terminating();
        let dead = self.old.iter().take(surplus).filter(empty);
        dead.for_each(|s| sync.delete(s));
    }

    fn write_status(&self, sync: &mut Sync, judges: bool) {
        let all = || self.old.iter().chain(&self.new);
        let sum = |key: &str| all().map(|s| counter(s, key)).sum::<i64>();
        let before = self.deployment.at(&["status"]).and_then(Value::as_object);
        let mut status = before.cloned().unwrap_or_default();
        let total: i64 = all().map(|s| size(s)).sum();
        let available = sum("availableReplicas");
        let updated = self.new.as_ref().map_or(0, |s| counter(s, "replicas"));
        put_count(&mut status, "replicas", sum("replicas"));
        put_count(&mut status, "updatedReplicas", updated);
        put_count(&mut status, "readyReplicas", sum("readyReplicas"));
        put_count(&mut status, "availableReplicas", available);
        put_count(&mut status, "unavailableReplicas", (total - available).max(0));
        let generation = self.deployment.meta.generation;
        status.insert("observedGeneration".into(), generation.into());
        let now = sync.time_text();
        let (holds, reason, message) = if available >= self.wanted - self.max_unavailable {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            (
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        };
        let stamp = [("lastUpdateTime", Value::from(now.clone()))];
        conditions::set(&mut status, "Available", holds, reason, message, &now, &stamp);
        if judges {
            self.judge_progress(&mut status, &now, sync);
        }
        sync.status(self.deployment, status);
    }

    fn judge_progress(&self, status: &mut Map<String, Value>, now: &str, sync: &mut Sync) {
        let Some(deadline_s) = self.deployment.i64_at(&["spec", "progressDeadlineSeconds"]) else {
            return conditions::remove(status, "Progressing");
        };
        let of = |key: &str| status.get(key).and_then(Value::as_i64).unwrap_or(0);
        let was = |key: &str| counter(self.deployment, key);
        let (replicas, updated, available) =
            (of("replicas"), of("updatedReplicas"), of("availableReplicas"));
        let condition = conditions::find(status, "Progressing").cloned();
        let reason = condition.as_ref().and_then(|c| c.get("reason")?.as_str());
        if reason == Some("NewReplicaSetAvailable") && replicas == updated {
            return;
        }
        let complete = [replicas, updated, available].iter().all(|n| *n == self.wanted);
        let moved = updated > was("updatedReplicas")
            || replicas - updated < was("replicas") - was("updatedReplicas")
            || of("readyReplicas") > was("readyReplicas")
            || available > was("availableReplicas");
        let name = self.new.as_ref().map(|s| s.meta.name.clone());
        let of_set = |text: &str| match &name {
            Some(name) => format!("ReplicaSet {name:?} {text}"),
            None => format!("Deployment {:?} {text}", self.deployment.meta.name),
        };
        let since = condition.as_ref().and_then(|c| moment(c.get("lastUpdateTime")));
        let stamp = [("lastUpdateTime", Value::from(now))];
        let mut set = |holds, reason, message: String| {
            conditions::set(status, "Progressing", holds, reason, &message, now, &stamp);
        };
        let deadline = since.map(|s| s + Span::s(deadline_s));
        if complete {
            set("True", "NewReplicaSetAvailable", of_set("has successfully progressed."));
        } else if moved || condition.is_none() {
            let kept = condition.as_ref().filter(|c| c["status"] == "True");
            let kept = kept.map(|c| c["lastTransitionTime"].clone());
            conditions::remove(status, "Progressing");
            let stamp = [
                ("lastUpdateTime", Value::from(now)),
                ("lastTransitionTime", kept.unwrap_or(now.into())),
            ];
            let (reason, text) = ("ReplicaSetUpdated", of_set("is progressing."));
            conditions::set(status, "Progressing", "True", reason, &text, now, &stamp);
            sync.look_again(Span::s(deadline_s + 1));
        } else if deadline.is_some_and(|d| d <= sync.now) {
            set("False", "ProgressDeadlineExceeded", of_set("has timed out progressing."));
        } else if let Some(deadline) = deadline {
            sync.look_again(deadline - sync.now + Span::s(1));
        }
    }
}
