//! The closed set of Kubernetes kinds that the operator, its users and the simulated controllers
//! handle, with the facts a client needs to address them. It does not describe their schemas.

use std::fmt;
use std::str::FromStr;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident, $group:tt, $version:tt, $plural:literal, $namespaced:literal;)*) => {
        /// A Kubernetes kind, together with the one version in which this project speaks it.
        ///
        /// Closed on purpose: a decision over kinds is checked by the compiler for completeness.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// Every kind, in the order of this declaration.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The `kind` word of the manifest, for example `StatefulSet`.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Kind::$name => stringify!($name),)* } }

            /// The API group; empty for the core group.
            #[must_use]
            pub const fn group(self) -> &'static str { match self { $(Kind::$name => $group,)* } }

            /// The API version within the group, for example `v1`.
            #[must_use]
            pub const fn version(self) -> &'static str { match self { $(Kind::$name => $version,)* } }

            /// The lower-case plural that stands in URLs and RBAC rules.
            #[must_use]
            pub const fn plural(self) -> &'static str { match self { $(Kind::$name => $plural,)* } }

            /// Whether objects of this kind live in a namespace.
            #[must_use]
            pub const fn namespaced(self) -> bool { match self { $(Kind::$name => $namespaced,)* } }

            /// The manifest's `apiVersion`, for example `apps/v1`, or `v1` for the core group.
            #[must_use]
            pub const fn api_version(self) -> &'static str {
                match self { $(Kind::$name => kinds!(@gv $group, $version),)* }
            }
        }
    };
    (@gv "", $version:literal) => { $version };
    (@gv $group:literal, $version:literal) => { concat!($group, "/", $version) };
}

kinds! {
    /// The custom resource: one highly available database cluster.
    IvoryCluster, "ivory-operator.ivorysql.org", "v1beta1", "ivoryclusters", true;
    /// The custom resource of a major version upgrade.
    IvyUpgrade, "ivory-operator.ivorysql.org", "v1beta1", "ivyupgrades", true;
    Namespace, "", "v1", "namespaces", false;
    Node, "", "v1", "nodes", false;
    Pod, "", "v1", "pods", true;
    Service, "", "v1", "services", true;
    Endpoints, "", "v1", "endpoints", true;
    ConfigMap, "", "v1", "configmaps", true;
    Secret, "", "v1", "secrets", true;
    ServiceAccount, "", "v1", "serviceaccounts", true;
    PersistentVolumeClaim, "", "v1", "persistentvolumeclaims", true;
    PersistentVolume, "", "v1", "persistentvolumes", false;
    Event, "", "v1", "events", true;
    StatefulSet, "apps", "v1", "statefulsets", true;
    Deployment, "apps", "v1", "deployments", true;
    ReplicaSet, "apps", "v1", "replicasets", true;
    ControllerRevision, "apps", "v1", "controllerrevisions", true;
    Job, "batch", "v1", "jobs", true;
    CronJob, "batch", "v1", "cronjobs", true;
    PodDisruptionBudget, "policy", "v1", "poddisruptionbudgets", true;
    EndpointSlice, "discovery.k8s.io", "v1", "endpointslices", true;
    Lease, "coordination.k8s.io", "v1", "leases", true;
    StorageClass, "storage.k8s.io", "v1", "storageclasses", false;
    PriorityClass, "scheduling.k8s.io", "v1", "priorityclasses", false;
    Role, "rbac.authorization.k8s.io", "v1", "roles", true;
    RoleBinding, "rbac.authorization.k8s.io", "v1", "rolebindings", true;
    ClusterRole, "rbac.authorization.k8s.io", "v1", "clusterroles", false;
    ClusterRoleBinding, "rbac.authorization.k8s.io", "v1", "clusterrolebindings", false;
    CustomResourceDefinition, "apiextensions.k8s.io", "v1", "customresourcedefinitions", false;
}

impl Kind {
    /// The kind that a manifest's `apiVersion` and `kind` name, if it is one of ours.
    #[must_use]
    pub fn of_manifest(api_version: &str, kind: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|k| k.name() == kind && k.api_version() == api_version)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Accepts what people type after `kubectl get`: the kind's word or its plural, in any case.
    fn from_str(text: &str) -> Result<Kind, UnknownKind> {
        Kind::ALL
            .iter()
            .copied()
            .find(|k| k.name().eq_ignore_ascii_case(text) || k.plural().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// The text names no kind that this project handles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind {0:?}")]
pub struct UnknownKind(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_and_plurals_lead_back_to_the_kind() {
        for &kind in Kind::ALL {
            assert_eq!(Kind::of_manifest(kind.api_version(), kind.name()), Some(kind));
            assert_eq!(kind.plural().parse(), Ok(kind));
        }
        assert_eq!(Kind::of_manifest("v1", "StatefulSet"), None);
        assert!("flower".parse::<Kind>().is_err());
    }
}
