//! The instances of a cluster as they are: StatefulSet, Pods and volume claims of each, and what Patroni
//! says of it. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::kind::Kind;
use crate::labels::{self, role};
use crate::object::Object;
use crate::observed::Observed;
use crate::patroni::status::{Role, Status};
use crate::read::Read;
use crate::rules::{diverged, pod_labels, stranded};
use crate::{names, report::Reason};

/// One instance as it is.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its set.
    pub set: String,
    /// Its StatefulSet.
    pub stateful_set: Option<Arc<Object>>,
    /// Its Pods; more than one only while something is wrong.
    pub pods: Vec<Arc<Object>>,
    /// Its data volume claim.
    pub data_claim: Option<Arc<Object>>,
    /// Its WAL volume claim.
    pub wal_claim: Option<Arc<Object>>,
    /// Its ConfigMap and certificates, if there are any.
    pub furniture: Vec<Arc<Object>>,
    /// What Patroni wrote on its Pod.
    pub patroni: Option<Status>,
    /// Whether its set wants a WAL volume.
    pub wants_wal: bool,
    /// Whether it can never catch up, and another can be made that will.
    pub given_up: bool,
}

/// All instances of a cluster, in name order, and who leads.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// The instances.
    pub all: BTreeMap<String, Member>,
    /// Names of instances that an earlier cluster of the same name left behind. They are not ours, and not
    /// free either.
    pub foreign: BTreeSet<String>,
    /// Annotation `leader` of Patroni's Endpoints: the Pod that holds the lease. It outlives its Pod.
    pub lease: Option<String>,
    /// The system identifier, once the cluster is bootstrapped: as Patroni has it, else as the status
    /// remembers it. A lost object does not unmake a database.
    pub system_identifier: Option<String>,
    /// Whether Patroni's own record of the bootstrap is there.
    pub initialized: bool,
}

impl Member {
    /// Its one Pod, unless that is on its way out.
    #[must_use]
    pub fn pod(&self) -> Option<&Arc<Object>> {
        match &self.pods[..] {
            [pod] if !pod.terminating() => Some(pod),
            _ => None,
        }
    }

    /// Whether its Pod is ready.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.pod().is_some_and(|p| p.condition_true("Ready"))
    }

    /// Whether a Pod of it is ready, be it on its way out.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.pods.iter().any(|p| p.condition_true("Ready"))
    }

    /// What its Pod says of its database container.
    fn container(&self) -> Option<&Value> {
        let statuses = self.pod()?.at(&["status", "containerStatuses"])?.as_array()?;
        statuses.iter().find(|s| s["name"].as_str() == Some(names::DATABASE_CONTAINER))
    }

    /// Whether its StatefulSet shall have a Pod.
    #[must_use]
    pub fn asked_to_run(&self) -> bool {
        let set = self.stateful_set.as_ref();
        set.is_some_and(|s| s.i64_at(&["spec", "replicas"]) != Some(0))
    }

    /// Whether it has a StatefulSet that is not on its way out: without one its Pod goes too, in a moment.
    #[must_use]
    pub fn stays(&self) -> bool {
        self.stateful_set.as_ref().is_some_and(|s| !s.terminating())
    }

    /// Whether its database container runs.
    #[must_use]
    pub fn running(&self) -> bool {
        self.container().is_some_and(|s| s.pointer("/state/running").is_some())
    }

    /// Whether its container runs and may well work, though its Pod is not ready: it has not been ready for less than
    /// `patience`, or its node is not heard of. Then Kubernetes takes the Pod's readiness away, and the container's last
    /// word stays.
    #[must_use]
    pub fn may_work(&self, now: Timestamp, patience: SignedDuration) -> bool {
        let last_word = self.container().is_some_and(|s| s["ready"] == true);
        let since = self.ready_changed();
        self.running() && (last_word || since.is_some_and(|s| now.duration_since(s) < patience))
    }

    /// When its Pod became ready, or ceased to be.
    #[must_use]
    pub fn ready_changed(&self) -> Option<Timestamp> {
        self.pod()?.condition("Ready")?["lastTransitionTime"].as_str()?.parse().ok()
    }

    /// Whether its database accepts writes, as Patroni says; a standby cluster's leader does not.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.running() && self.patroni.as_ref().is_some_and(Status::writable)
    }

    /// Whether it says that it leads, be it a cluster of its own or a standby cluster.
    #[must_use]
    pub fn leads(&self) -> bool {
        let leads =
            |s: &Status| matches!(s.role, Role::Primary | Role::StandbyLeader) && s.running();
        self.running() && self.patroni.as_ref().is_some_and(leads)
    }

    /// Whether its Pod bears the leader's label. After a crash that may be a dead one.
    #[must_use]
    pub fn labelled_leader(&self) -> bool {
        self.pods.iter().any(|p| p.label(labels::ROLE).is_some_and(role::is_leader))
    }

    /// Whether it follows a leader and serves reads.
    #[must_use]
    pub fn streaming(&self) -> bool {
        self.ready() && self.running() && self.patroni.as_ref().is_some_and(Status::streaming)
    }

    /// Whether its PostgreSQL runs, as Patroni says. Its Pod need not be ready: one that lags, or has nobody to follow, is not
    /// (`GET /readiness` of Patroni 4.1).
    #[must_use]
    pub fn says_it_runs(&self) -> bool {
        self.running() && self.patroni.as_ref().is_some_and(Status::running)
    }

    /// Whether its PostgreSQL was told to restart in place within `patience` and has not said since that nothing waits for
    /// that any more. Who told it may be gone, and what it says of itself is up to ten seconds old.
    #[must_use]
    pub fn restarts(&self, now: Timestamp, patience: SignedDuration) -> bool {
        let asked = || self.pod()?.annotation(labels::RESTART_ASKED)?.parse().ok();
        let waits = || self.patroni.as_ref().is_none_or(|s| s.pending_restart.is_some());
        asked().is_some_and(|at: Timestamp| now.duration_since(at).abs() < patience) && waits()
    }

    /// Whether its volume is going under it, or can never be of use: such an instance is replaced, never mended. A claim
    /// that is not seen is another matter: its labels may be gone, or the read is older than the claim.
    #[must_use]
    pub fn condemned(&self) -> bool {
        self.loses_volume() || self.given_up
    }

    fn loses_volume(&self) -> bool {
        let going = |claim: &Option<Arc<Object>>| claim.as_ref().is_some_and(|c| c.terminating());
        going(&self.data_claim) || (self.wants_wal && going(&self.wal_claim))
    }

    /// What condemns it, as a word and in words.
    #[must_use]
    pub fn verdict(&self) -> (&'static str, &'static str) {
        match self.loses_volume() {
            true => ("VolumeLost", "has lost its volume"),
            false if self.diverged() => ("Diverged", "has left its leader's history"),
            false => ("Stranded", "can never catch up, since the WAL that it needs is lost,"),
        }
    }

    /// Its claim says that it left its leader's history ([`diverged`]).
    #[must_use]
    pub fn diverged(&self) -> bool {
        self.stranded_with() == Some(diverged::MARK)
    }

    /// Its claim says that the WAL is lost that it needs next ([`stranded`]), and which backup there was then; or that it
    /// left its leader's history.
    #[must_use]
    pub fn stranded_with(&self) -> Option<&str> {
        self.data_claim.as_ref()?.annotation(labels::STRANDED)
    }

    /// Whether it streams, or leads, whatever its claim says.
    #[must_use]
    pub fn got_on(&self) -> bool {
        self.streaming() || self.leads()
    }

    /// Whether it will be replaced as soon as there is a backup that it can be replaced from.
    #[must_use]
    pub fn awaits_backup(&self) -> bool {
        self.stranded_with().is_some() && !self.got_on() && !self.condemned()
    }

    /// Whether nothing of it was seen but Pods and what lies about it: neither its StatefulSet nor a volume.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.stateful_set.is_none() && self.data_claim.is_none() && self.wal_claim.is_none()
    }

    /// Whether its data volume was made and it was not seen to be asked to run yet, as its claim says.
    #[must_use]
    pub fn never_used(&self) -> bool {
        self.data_claim.as_ref().is_some_and(|c| c.annotation(labels::NEVER_USED).is_some())
    }

    /// Whether it was never asked to run, so that it has no data for certain.
    #[must_use]
    pub fn is_new(&self) -> bool {
        let begun = self.stateful_set.is_some() || self.data_claim.is_some();
        !begun || (self.never_used() && !self.asked_to_run())
    }

    /// Whether there may be data on its volume.
    #[must_use]
    pub fn may_have_data(&self) -> bool {
        self.data_claim.is_some() && !self.condemned() && !self.is_new()
    }

    /// The claim that its StatefulSet mounts as a volume.
    #[must_use]
    pub fn mounted_claim(&self, volume: &str) -> Option<&str> {
        let volumes = self.stateful_set.as_ref()?.at(&["spec", "template", "spec", "volumes"])?;
        let volume = volumes
            .as_array()?
            .iter()
            .find(|v| v.get("name").and_then(Value::as_str) == Some(volume))?;
        volume.pointer("/persistentVolumeClaim/claimName")?.as_str()
    }

    /// Whether its Pod was made from the StatefulSet's present template; none while that can't be told.
    #[must_use]
    pub fn up_to_date(&self) -> Option<bool> {
        let (set, pod) = (self.stateful_set.as_ref()?, self.pod()?);
        if set.i64_at(&["status", "observedGeneration"])? != set.meta.generation {
            return None;
        }
        let revision = set.str_at(&["status", "updateRevision"])?;
        Some(pod.label("controller-revision-hash")? == revision)
    }
}

/// What an object says of the instance that it belongs to. A StatefulSet's labels can be taken away or
/// changed by anybody, its selector by nobody.
#[must_use]
pub fn identity<'a>(object: &'a Object, label: &str) -> Option<&'a str> {
    let selector = object
        .at(&["spec", "selector", "matchLabels"])
        .filter(|_| object.kind == Kind::StatefulSet);
    selector.and_then(|s| s.get(label)?.as_str()).or_else(|| object.label(label))
}

impl Members {
    /// Sorts what was read by instance.
    ///
    /// # Errors
    /// When a read that matters is unknown.
    pub fn read(observed: &Observed, cluster: &Cluster) -> Result<Self, Reason> {
        let mut members = Self::default();
        for kind in [
            Kind::StatefulSet,
            Kind::Pod,
            Kind::PersistentVolumeClaim,
            Kind::ConfigMap,
            Kind::Secret,
        ] {
            let Read::Known(objects) = observed.labelled(kind) else {
                let what = format!("the {} of the cluster", kind.plural());
                return Err(Reason::Unreadable { what });
            };
            for object in objects.iter().chain(observed.unlabelled(kind)) {
                members.take(object, &cluster.uid);
            }
        }
        let Members { all, foreign, .. } = &mut members;
        all.retain(|name, _| !foreign.contains(name));
        for member in all.values_mut() {
            let set = cluster.set(&member.set);
            member.wants_wal = set.is_none_or(|s| s.spec.wal_volume_claim_spec.is_some());
        }
        let annotation = |name: &str, key: &str| match observed.find(Kind::Endpoints, name) {
            Read::Known(object) => {
                Ok(object.annotation(key).filter(|v| !v.is_empty()).map(str::to_owned))
            }
            Read::Absent => Ok(None),
            Read::Unknown(_) => Err(Reason::Unreadable { what: format!("Endpoints {name}") }),
        };
        members.lease = annotation(&names::scope(&cluster.name), "leader")?;
        let noted = || {
            // Patroni's object can be deleted, and it writes a new one. That unmakes no database: as long as a
            // data volume is there, what was seen before holds.
            let holds_data = members.all.values().any(|m| m.data_claim.is_some());
            let patroni = cluster.status.patroni.as_ref().filter(|_| holds_data)?;
            patroni.system_identifier.clone()
        };
        let initialize = annotation(&names::scope_config(&cluster.name), "initialize")?;
        let initialize =
            initialize.filter(|_| !members.is_of_an_earlier_cluster(observed, cluster));
        members.initialized = initialize.is_some();
        members.system_identifier = initialize.or_else(noted);
        members.give_up(observed, cluster);
        Ok(members)
    }

    /// Whoever is stranded is given up as soon as there is another backup than when that was found, and who left the
    /// leader's history at once. While nobody leads nobody is: its data may be the newest there is.
    fn give_up(&mut self, observed: &Observed, cluster: &Cluster) {
        if self.leader().is_none() || !self.all.values().any(Member::awaits_backup) {
            return;
        }
        let now = stranded::backup(observed, cluster);
        for member in self.all.values_mut().filter(|m| m.awaits_backup()) {
            let newer = !now.is_empty() && member.stranded_with() != Some(&*now);
            member.given_up = member.diverged() || newer;
        }
    }

    /// Whether Patroni's record of the bootstrap is that of an earlier cluster of this name, of which nothing else is left:
    /// it is older than this cluster, and every data volume is younger. A read that lags behind the deletion shows
    /// that, and instances that are told of a database wait for it for ever.
    fn is_of_an_earlier_cluster(&self, observed: &Observed, cluster: &Cluster) -> bool {
        let Some(made) = cluster.object.meta.created_at else { return false };
        let record = observed.find(Kind::Endpoints, &names::scope_config(&cluster.name));
        let older = |o: &Object| o.meta.created_at.is_some_and(|at| at < made);
        record.known().is_some_and(|o| older(o))
            && !self.all.values().filter_map(|m| m.data_claim.as_ref()).any(|claim| older(claim))
    }

    fn take(&mut self, object: &Arc<Object>, cluster_uid: &str) {
        let by_name = (object.kind == Kind::Pod).then(|| self.instance_of_pod(object)).flatten();
        let by_name = by_name.map(|m| m.name.clone());
        let Some(instance) = by_name.as_deref().or_else(|| identity(object, labels::INSTANCE))
        else {
            return;
        };
        let workload_or_claim =
            [Kind::StatefulSet, Kind::PersistentVolumeClaim].contains(&object.kind);
        if workload_or_claim && object.controller().is_some_and(|o| &*o.uid != cluster_uid) {
            self.foreign.insert(instance.to_owned());
            return;
        }
        let member = self.all.entry(instance.to_owned()).or_default();
        instance.clone_into(&mut member.name);
        // The first to say so is the StatefulSet, whose selector can't be changed.
        if let Some(set) = identity(object, labels::INSTANCE_SET)
            && member.set.is_empty()
        {
            set.clone_into(&mut member.set);
        }
        match object.kind {
            Kind::StatefulSet => member.stateful_set = Some(object.clone()),
            Kind::Pod => {
                member.patroni = object.annotation("status").and_then(Status::parse);
                member.pods.push(object.clone());
            }
            Kind::PersistentVolumeClaim => match object.label(labels::ROLE) {
                Some(role::PGDATA) => member.data_claim = Some(object.clone()),
                Some(role::PGWAL) => member.wal_claim = Some(object.clone()),
                _ => member.furniture.push(object.clone()),
            },
            _ => member.furniture.push(object.clone()),
        }
    }

    /// The instance that a Pod is of by its name and its data, whatever its labels say: anybody can change those.
    fn instance_of_pod(&self, pod: &Object) -> Option<&Member> {
        let member = self.all.get(names::workload_of(&pod.meta.name)?)?;
        pod_labels::belong(member.stateful_set.as_ref()?, pod).then_some(member)
    }

    /// The instances of a set that have a StatefulSet, in name order.
    pub fn of_set<'a>(&'a self, set: &'a str) -> impl Iterator<Item = &'a Member> + use<'a> {
        self.all.values().filter(move |m| m.set == set && m.stateful_set.is_some())
    }

    /// The instances that have a StatefulSet, in name order.
    pub fn with_workload(&self) -> impl Iterator<Item = &Member> {
        self.all.values().filter(|m| m.stateful_set.is_some())
    }

    /// The instance that leads for certain: it holds the lease, and its Pod lives and runs.
    #[must_use]
    pub fn leader(&self) -> Option<&Member> {
        let lease = self.lease.as_deref()?;
        let holds = |m: &&Member| m.pod().is_some_and(|p| &*p.meta.name == lease);
        self.all.values().find(holds).filter(|m| m.running())
    }

    /// Whether an instance is the one that leads for certain.
    #[must_use]
    pub fn is_leader(&self, member: &Member) -> bool {
        self.leader().is_some_and(|leader| leader.name == member.name)
    }

    /// Whether an instance keeps its volumes and has all the data: it leads or streams.
    #[must_use]
    pub fn holds_the_data(&self, member: &Member) -> bool {
        !member.condemned() && (member.streaming() || self.is_leader(member))
    }

    /// The instance whose database accepts writes.
    #[must_use]
    pub fn writable(&self) -> Option<&Member> {
        self.leader().filter(|m| m.writable())
    }

    /// Whether a database was ever made: from then on, data may exist.
    #[must_use]
    pub fn bootstrapped(&self) -> bool {
        self.system_identifier.is_some()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::context::Config;
    use crate::read::ReadKey;
    use crate::reads::reads;
    use crate::test_support::World;

    /// Whether a cluster counts as bootstrapped whose Endpoints say nothing, with what its status says.
    fn bootstrapped(with_volume: bool, status: serde_json::Value) -> bool {
        let manifest: serde_json::Value =
            serde_saphyr::from_str(include_str!("../../tests/fixtures/full.yaml")).unwrap();
        let object = Arc::new(Object::from_value(manifest).unwrap().with("status", status));
        let cluster = Cluster::read(&object, &Config::default()).unwrap();
        let mut claim = Object::new(Kind::PersistentVolumeClaim, "default", "a-pgdata");
        let own = [(labels::INSTANCE, "a"), (labels::ROLE, role::PGDATA)];
        claim.meta.labels = Arc::new(own.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let claims = if with_volume { vec![Arc::new(claim)] } else { Vec::new() };
        let objects = reads(&object).into_iter().map(|key| {
            let read = match &key {
                ReadKey::Select { kind: Kind::PersistentVolumeClaim, .. } => {
                    Read::Known(claims.clone())
                }
                ReadKey::Select { .. } => Read::Known(Vec::new()),
                ReadKey::One { .. } => Read::Absent,
            };
            (key, read)
        });
        let objects = objects.collect();
        let observed = Observed { cluster: object.clone(), objects, answers: BTreeMap::new() };
        Members::read(&observed, &cluster).unwrap().bootstrapped()
    }

    #[test]
    fn the_record_of_an_earlier_cluster_is_none() {
        let mut world = World::settled(2);
        let made = world.cluster().meta.created_at.expect("a time");
        let bootstrapped = |world: &World| {
            let cluster = Cluster::read(&world.cluster(), &Config::default()).expect("a cluster");
            Members::read(&world.observed(), &cluster).expect("read").initialized
        };
        let set = |world: &mut World, kind, name: &str, seconds: i64| {
            let mut object = (**world.the(kind, name)).clone();
            object.meta.created_at = Some(made + jiff::SignedDuration::from_secs(seconds));
            world.put(object);
        };
        let claims: Vec<_> = world.instances().iter().map(|i| names::data_volume(i)).collect();
        for (record, claim, expected) in
            [(1, 1, true), (-1, 1, false), (-1, -1, true), (0, 1, true)]
        {
            set(&mut world, Kind::Endpoints, "hippo-ha-config", record);
            claims.iter().for_each(|c| set(&mut world, Kind::PersistentVolumeClaim, c, claim));
            assert_eq!(bootstrapped(&world), expected, "{record} {claim}");
        }
    }

    #[test]
    fn a_deleted_endpoints_object_unmakes_no_database() {
        let known = json!({"patroni": {"systemIdentifier": "7"}});
        assert!(bootstrapped(true, known.clone()));
        assert!(!bootstrapped(false, known));
        assert!(!bootstrapped(true, json!({})));
    }

    fn read(world: &World) -> Members {
        let cluster = Cluster::read(&world.cluster(), &Config::default()).expect("a cluster");
        Members::read(&world.observed(), &cluster).expect("read")
    }

    #[test]
    fn of_several_pods_none_is_the_instances_own() {
        let mut members = read(&World::settled(1));
        let member = members.all.values_mut().next().expect("an instance");
        assert!(member.pod().is_some() && member.ready() && member.running());
        let mut other = (*member.pods[0]).clone();
        other.meta.uid = "another".into();
        member.pods.push(Arc::new(other));
        assert_eq!(member.pod(), None);
        assert!(!member.ready() && !member.running() && member.serves());
    }

    #[test]
    fn who_holds_the_lease_leads_only_while_it_runs() {
        let mut world = World::settled(2);
        let leader = world.leader();
        let found = |world: &World| read(world).leader().map(|m| m.name.clone());
        assert_eq!(found(&world), Some(leader.clone()));
        world.change(Kind::Pod, &names::instance_pod(&leader), |pod| {
            pod["status"]["containerStatuses"][0]["state"] = json!({"terminated": {}});
        });
        assert_eq!(found(&world), None, "the lease outlives its holder");
    }
}
