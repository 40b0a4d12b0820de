//! What every Pod of a cluster has: security contexts, scratch space, a name for its user, spreading
//! (`reference/components.md` §0.4).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector,
    PodSecurityContext, PodSpec, ProjectedVolumeSource, ResourceRequirements, SeccompProfile,
    SecurityContext, TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::cluster::Cluster;
use crate::labels::{self, data};

/// The group that owns volumes, as the images have it.
const DATA_GROUP: i64 = 26;

/// A container of ours: the image, and the restricted security context.
#[must_use]
pub fn container(cluster: &Cluster, name: &str, image: Option<&String>) -> Container {
    Container {
        name: name.into(),
        // Without an image the API server refuses the workload; the plan says so before.
        image: image.cloned(),
        image_pull_policy: cluster.spec.image_pull_policy.map(|p| p.as_str().into()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                localhost_profile: None,
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// The parts of a Pod spec that all Pods share. A Pod with data also has the volumes' group.
#[must_use]
pub fn pod(cluster: &Cluster, holds_data: bool) -> PodSpec {
    let groups: Vec<i64> =
        cluster.spec.supplemental_groups.iter().copied().filter(|g| *g > 0).collect();
    let mut context = PodSecurityContext {
        fs_group_change_policy: Some("OnRootMismatch".into()),
        ..PodSecurityContext::default()
    };
    if holds_data {
        context.fs_group = (!cluster.openshift).then_some(DATA_GROUP);
        context.supplemental_groups = (!groups.is_empty()).then_some(groups);
    }
    // Kubernetes keeps one of each name, and applying two is refused.
    let mut secrets = cluster.spec.image_pull_secrets.clone();
    let mut seen = std::collections::BTreeSet::new();
    secrets.retain(|secret| seen.insert(secret.name.clone()));
    PodSpec {
        enable_service_links: Some(false),
        image_pull_secrets: (!secrets.is_empty()).then_some(secrets),
        security_context: Some(context),
        ..PodSpec::default()
    }
}

/// The user's spread constraints, then the two default ones unless the spec forbids them.
#[must_use]
pub fn spread(
    cluster: &Cluster,
    user: &[TopologySpreadConstraint],
) -> Option<Vec<TopologySpreadConstraint>> {
    let mut all = user.to_vec();
    if !cluster.spec.disable_default_pod_scheduling {
        all.extend(["kubernetes.io/hostname", "topology.kubernetes.io/zone"].map(|key| {
            TopologySpreadConstraint {
                max_skew: 1,
                topology_key: key.into(),
                when_unsatisfiable: "ScheduleAnyway".into(),
                label_selector: Some(LabelSelector {
                    match_labels: Some([(labels::CLUSTER.into(), cluster.name.clone())].into()),
                    match_expressions: Some(vec![LabelSelectorRequirement {
                        key: labels::DATA.into(),
                        operator: "In".into(),
                        values: Some(vec![data::IVORY.into(), data::PGBACKREST.into()]),
                    }]),
                }),
                ..TopologySpreadConstraint::default()
            }
        }));
    }
    // The API server keeps them as a list by these two keys and refuses doubles.
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|c| seen.insert((c.topology_key.clone(), c.when_unsatisfiable.clone())));
    (!all.is_empty()).then_some(all)
}

/// Adds the scratch volume and mounts it in every container.
pub fn add_tmp(pod: &mut PodSpec) {
    let source = EmptyDirVolumeSource {
        size_limit: Some(Quantity("16Mi".into())),
        ..EmptyDirVolumeSource::default()
    };
    push_volume(pod, Volume { name: "tmp".into(), empty_dir: Some(source), ..Volume::default() });
    let all = pod.containers.iter_mut().chain(pod.init_containers.iter_mut().flatten());
    for container in all {
        mount(container, "tmp", "/tmp", false);
    }
}

/// Adds the init container that gives the Pod's user a name, and the library that serves it to programs.
pub fn add_nss_wrapper(pod: &mut PodSpec, mut init: Container) {
    init.command = Some(crate::scripts::nss_wrapper());
    let variables = [
        ("LD_PRELOAD", "/usr/lib64/libnss_wrapper.so"),
        ("NSS_WRAPPER_PASSWD", "/tmp/nss_wrapper/ivory/passwd"),
        ("NSS_WRAPPER_GROUP", "/tmp/nss_wrapper/ivory/group"),
    ];
    for container in &mut pod.containers {
        if ["database", "pgbackrest", "pgbackrest-restore"].contains(&&*container.name) {
            let env = container.env.get_or_insert_default();
            env.extend(variables.map(|(name, value)| variable(name, value)));
        }
    }
    pod.init_containers.get_or_insert_default().push(init);
}

/// Adds a volume to a Pod.
pub fn push_volume(pod: &mut PodSpec, volume: Volume) {
    pod.volumes.get_or_insert_default().push(volume);
}

/// A volume of several sources. Kubernetes takes the list of them as one value, so the defaults that it would set
/// inside are written here: left out, the list would differ from what is there for ever.
#[must_use]
pub fn projected(name: &str, mut sources: Vec<VolumeProjection>, mode: Option<i32>) -> Volume {
    for source in &mut sources {
        if let Some(token) = &mut source.service_account_token {
            token.expiration_seconds.get_or_insert(3600);
        }
        let items = source.downward_api.iter_mut().flat_map(|d| d.items.iter_mut().flatten());
        for field in items.filter_map(|item| item.field_ref.as_mut()) {
            field.api_version.get_or_insert_with(|| "v1".into());
        }
    }
    let source = ProjectedVolumeSource { default_mode: mode, sources: Some(sources) };
    Volume { name: name.into(), projected: Some(source), ..Volume::default() }
}

/// Mounts a volume in a container.
pub fn mount(container: &mut Container, volume: &str, path: &str, read_only: bool) {
    container.volume_mounts.get_or_insert_default().push(VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    });
}

/// An environment variable.
#[must_use]
pub fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

/// An environment variable with the value of a Pod's field.
#[must_use]
pub fn field_variable(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { api_version: Some("v1".into()), field_path: path.into() };
    let from = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: name.into(), value: None, value_from: Some(from) }
}

/// Resources as the spec has them; none rather than empty.
#[must_use]
pub fn resources(from: Option<&ResourceRequirements>) -> Option<ResourceRequirements> {
    from.filter(|r| **r != ResourceRequirements::default()).cloned()
}

/// A label map from borrowed text.
#[must_use]
pub fn label_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}
