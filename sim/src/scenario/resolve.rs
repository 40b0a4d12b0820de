//! What a scenario's names mean at a moment: roles become instances, Pods and objects. It reads what is
//! stored and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::{Kind, Object, labels, names};

use super::alias::Aliases;
use super::driver::Driver;
use super::language::Place;
use super::target::{Member, Pick, Target, Who};
use crate::world::KubeId;

/// Kind, namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ref {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Ref {
    /// The name of an object.
    #[must_use]
    pub fn to(object: &Object) -> Self {
        Self {
            kind: object.kind,
            namespace: object.meta.namespace.to_string(),
            name: object.meta.name.to_string(),
        }
    }
}

/// One instance: a StatefulSet, a Pod, or both.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name, which is its StatefulSet's.
    pub name: String,
    /// Its set.
    pub set: String,
    /// As which of its set it was born; 0 if nobody saw it.
    pub born: usize,
    /// Its Pod, if there is one.
    pub pod: Option<Arc<Object>>,
}

/// A moment of a story, seen from one cluster.
pub struct Scene<'a> {
    /// The world.
    pub driver: &'a dyn Driver,
    /// Names and births.
    pub aliases: &'a Aliases,
    /// The Kubernetes.
    pub kube: KubeId,
    /// The namespace.
    pub namespace: &'a str,
    /// The cluster.
    pub cluster: &'a str,
    /// The object whose turn it is.
    pub it: Option<&'a Ref>,
}

impl Scene<'_> {
    /// The cluster's own object.
    #[must_use]
    pub fn cluster_object(&self) -> Option<Arc<Object>> {
        self.driver.get(self.kube, Kind::IvoryCluster, self.namespace, self.cluster)
    }

    /// All objects of a kind that belong to the cluster by their label.
    #[must_use]
    pub fn owned(&self, kind: Kind) -> Vec<Arc<Object>> {
        let namespace = kind.namespaced().then_some(self.namespace);
        let mut all = self.driver.list(self.kube, kind, namespace);
        all.retain(|o| o.label(labels::CLUSTER) == Some(self.cluster));
        all
    }

    /// All instances, in the order of their sets and births.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        let mut found: BTreeMap<String, Instance> = BTreeMap::new();
        let workloads = self.owned(Kind::StatefulSet).into_iter();
        for object in workloads.chain(self.owned(Kind::Pod)) {
            let (Some(name), Some(set)) =
                (object.label(labels::INSTANCE), object.label(labels::INSTANCE_SET))
            else {
                continue;
            };
            let entry = found.entry(name.to_owned()).or_insert_with(|| Instance {
                name: name.to_owned(),
                set: set.to_owned(),
                born: self.aliases.born(self.kube, name).unwrap_or(0),
                pod: None,
            });
            if object.kind == Kind::Pod {
                entry.pod = Some(object.clone());
            }
        }
        let mut all: Vec<Instance> = found.into_values().collect();
        all.sort_by(|a, b| (&a.set, a.born, &a.name).cmp(&(&b.set, b.born, &b.name)));
        all
    }

    /// The instances whose Pods are labelled as leaders; one that goes away counts only if no other leads. A
    /// Pod on a dead node keeps its label: of several the one that holds Patroni's lease leads.
    #[must_use]
    pub fn leaders(&self) -> Vec<Instance> {
        let mut all = self.instances();
        all.retain(|i| i.leads());
        if all.iter().any(|i| !i.leaving()) {
            all.retain(|i| !i.leaving());
        }
        let scope = names::scope(self.cluster);
        let lease = self.driver.get(self.kube, Kind::Endpoints, self.namespace, &scope);
        let holder = lease.as_ref().and_then(|l| l.annotation("leader"));
        let holds = |i: &Instance| holder == Some(&*names::instance_pod(&i.name));
        if all.len() > 1 && all.iter().any(holds) {
            all.retain(holds);
        }
        all
    }

    /// The instances, or the repository host's Pod as one, that a member names.
    #[must_use]
    pub fn members(&self, member: &Member) -> Vec<Instance> {
        let mut all = match member.who {
            Who::RepoHost => {
                let name = names::repo_host(self.cluster);
                let pod = self.driver.get(
                    self.kube,
                    Kind::Pod,
                    self.namespace,
                    &names::instance_pod(&name),
                );
                return vec![Instance { name, set: String::new(), born: 1, pod }];
            }
            Who::Primary => self.leaders(),
            Who::Replica => {
                let leaders: BTreeSet<String> =
                    self.leaders().into_iter().map(|i| i.name).collect();
                let mut all = self.instances();
                // While nobody leads, who follows nobody may be the one that led, and have the only copy of the data.
                let follows = |i: &Instance| {
                    let pod = i.pod.as_ref();
                    pod.and_then(|p| p.label(labels::ROLE)) == Some(labels::role::REPLICA)
                };
                all.retain(|i| !leaders.contains(&i.name) && (!leaders.is_empty() || follows(i)));
                all
            }
            Who::Instance => self.instances(),
        };
        if let Some(set) = &member.set {
            all.retain(|i| i.set == *set);
        }
        match member.pick {
            Pick::Every => all,
            Pick::Oldest => all.into_iter().min_by_key(|i| i.born).into_iter().collect(),
            Pick::Newest => all.into_iter().max_by_key(|i| i.born).into_iter().collect(),
            Pick::Born(n) => {
                all.retain(|i| i.born == n);
                all
            }
        }
    }

    /// The objects that a target names, whether they exist or not. Empty when no instance is so called.
    #[must_use]
    pub fn refs(&self, target: &Target) -> Vec<Ref> {
        let named = |kind: Kind, name: String| Ref {
            kind,
            namespace: match kind.namespaced() {
                true => self.namespace.to_owned(),
                false => String::new(),
            },
            name,
        };
        match target {
            Target::Cluster => vec![named(Kind::IvoryCluster, self.cluster.to_owned())],
            Target::It => self.it.cloned().into_iter().collect(),
            Target::Named(kind, name) => vec![named(*kind, name.clone())],
            Target::Of(kind, member) => self
                .members(member)
                .into_iter()
                .chain(self.claimed(*kind, member))
                .collect::<Vec<_>>()
                .iter()
                .filter_map(|i| Some(named(*kind, self.name_of(*kind, member, i)?)))
                .collect(),
        }
    }

    /// Instances of which only the claims are left, where those of every instance are meant.
    fn claimed(&self, kind: Kind, member: &Member) -> Vec<Instance> {
        let all = member.who == Who::Instance && member.pick == Pick::Every;
        if !all || kind != Kind::PersistentVolumeClaim {
            return Vec::new();
        }
        let there: BTreeSet<String> = self.instances().into_iter().map(|i| i.name).collect();
        let mut left: BTreeMap<String, Instance> = BTreeMap::new();
        for claim in self.owned(kind) {
            let (name, set) = (claim.label(labels::INSTANCE), claim.label(labels::INSTANCE_SET));
            let (Some(name), Some(set)) = (name, set) else { continue };
            if !there.contains(name) && member.set.as_ref().is_none_or(|wanted| wanted == set) {
                let born = self.aliases.born(self.kube, name).unwrap_or(0);
                let (name, set) = (name.to_owned(), set.to_owned());
                left.insert(name.clone(), Instance { name, set, born, pod: None });
            }
        }
        left.into_values().collect()
    }

    fn name_of(&self, kind: Kind, member: &Member, instance: &Instance) -> Option<String> {
        let name = &instance.name;
        Some(match kind {
            Kind::Pod => names::instance_pod(name),
            Kind::StatefulSet => name.clone(),
            Kind::ConfigMap => names::instance_config(name),
            Kind::Secret => names::instance_certs(name),
            Kind::PersistentVolumeClaim if member.who == Who::RepoHost => {
                names::repo_volume(self.cluster, "repo1")
            }
            Kind::PersistentVolumeClaim => names::data_volume(name),
            Kind::PersistentVolume => {
                let claim = self.name_of(Kind::PersistentVolumeClaim, member, instance)?;
                let kind = Kind::PersistentVolumeClaim;
                let claim = self.driver.get(self.kube, kind, self.namespace, &claim)?;
                claim.str_at(&["spec", "volumeName"])?.to_owned()
            }
            Kind::Node => instance.node()?.to_owned(),
            _ => return None,
        })
    }

    /// The objects that a target names and that exist.
    #[must_use]
    pub fn objects(&self, target: &Target) -> Vec<Arc<Object>> {
        let refs = self.refs(target).into_iter();
        refs.filter_map(|r| self.object(&r)).collect()
    }

    /// An object by its reference.
    #[must_use]
    pub fn object(&self, r: &Ref) -> Option<Arc<Object>> {
        self.driver.get(self.kube, r.kind, &r.namespace, &r.name)
    }

    /// A place on the network by its name there.
    ///
    /// # Errors
    /// A sentence, when the Pod is on no node.
    pub fn place(&self, place: &Place) -> Result<String, String> {
        match place {
            Place::Node(name) => match self.driver.get(self.kube, Kind::Node, "", name) {
                Some(_) => Ok(name.clone()),
                None => Err(format!("there is no node {name}")),
            },
            Place::EveryNode => Err("every node is not one place".to_owned()),
            Place::ControlPlane => Ok("control-plane".to_owned()),
            Place::Outside => Ok("outside".to_owned()),
            Place::NodeOf(member) => self
                .members(member)
                .first()
                .and_then(|i| i.node().map(str::to_owned))
                .ok_or_else(|| format!("{member} is on no node")),
        }
    }

    /// The nodes that a place means.
    ///
    /// # Errors
    /// A sentence, when it means none.
    pub fn nodes(&self, place: &Place) -> Result<Vec<String>, String> {
        match place {
            Place::EveryNode => {
                let all = self.driver.list(self.kube, Kind::Node, None);
                Ok(all.iter().map(|n| n.meta.name.to_string()).collect())
            }
            one => Ok(vec![self.place(one)?]),
        }
    }

    /// An object as people know it: `StatefulSet instance1/1`.
    #[must_use]
    pub fn show(&self, r: &Ref) -> String {
        format!("{} {}", r.kind, self.aliases.show(self.kube, &r.name))
    }
}

impl Instance {
    /// Whether its Pod is labelled as the leader.
    #[must_use]
    pub fn leads(&self) -> bool {
        let pod = self.pod.as_ref();
        pod.and_then(|p| p.label(labels::ROLE)).is_some_and(labels::role::is_leader)
    }

    /// Whether its Pod is being deleted.
    #[must_use]
    pub fn leaving(&self) -> bool {
        self.pod.as_ref().is_some_and(|p| p.terminating())
    }

    /// Whether its Pod is ready.
    #[must_use]
    pub fn ready(&self) -> bool {
        let pod = self.pod.as_ref();
        pod.is_some_and(|p| p.condition_true("Ready") && !p.terminating())
    }

    /// The node of its Pod.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.pod.as_ref()?.str_at(&["spec", "nodeName"])
    }
}
