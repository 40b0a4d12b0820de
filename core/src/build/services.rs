//! Services, and the Endpoints through which the primary Service leads to the leader
//! (`reference/api.md` §4.7). Patroni keeps the Endpoints of the leader Service itself.

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, ServicePort, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::shared::ServiceType;
use crate::build::meta::owned;
use crate::cluster::Cluster;
use crate::kind::Kind;
use crate::object::Object;
use crate::{labels, names};

/// The name of PostgreSQL's port, in Services and containers alike.
pub const PORT_NAME: &str = "ivory";

/// The Service that gives every Pod of the cluster a DNS name, ready or not.
#[must_use]
pub fn pods(cluster: &Cluster) -> Object {
    let spec = ServiceSpec {
        cluster_ip: Some("None".into()),
        publish_not_ready_addresses: Some(true),
        selector: Some([(labels::CLUSTER.into(), cluster.name.clone())].into()),
        ..ServiceSpec::default()
    };
    let name = names::pod_service(&cluster.name);
    owned(cluster, Kind::Service, &name, &[], &[&cluster.spec.metadata]).with("spec", spec)
}

/// The leader's Service. It has no selector: Patroni writes its Endpoints.
#[must_use]
pub fn leader(cluster: &Cluster) -> Object {
    let service = &cluster.spec.service;
    let mut port = database_port(cluster);
    // A type that has none is complained of, and the Service may have to come back meanwhile.
    port.node_port = service.node_port.filter(|_| service.type_ != ServiceType::ClusterIP);
    let spec = ServiceSpec {
        type_: Some(service.type_.as_str().into()),
        ports: Some(vec![port]),
        ..ServiceSpec::default()
    };
    let scope = names::scope(&cluster.name);
    let sources = [&cluster.spec.metadata, &service.metadata];
    owned(cluster, Kind::Service, &scope, &[(labels::PATRONI, &scope)], &sources).with("spec", spec)
}

/// The Service that keeps Kubernetes from collecting the Endpoints of Patroni's configuration.
#[must_use]
pub fn leader_config(cluster: &Cluster) -> Object {
    let scope = names::scope(&cluster.name);
    let spec = ServiceSpec { cluster_ip: Some("None".into()), ..ServiceSpec::default() };
    let name = names::scope_config(&cluster.name);
    let own = [(labels::PATRONI, &*scope)];
    owned(cluster, Kind::Service, &name, &own, &[&cluster.spec.metadata]).with("spec", spec)
}

/// The Service that applications know.
#[must_use]
pub fn primary(cluster: &Cluster) -> Object {
    let spec = ServiceSpec {
        cluster_ip: Some("None".into()),
        ports: Some(vec![database_port(cluster)]),
        ..ServiceSpec::default()
    };
    primary_meta(cluster, Kind::Service).with("spec", spec)
}

/// The Endpoints of the primary Service: the leader Service's address, which never moves.
#[must_use]
pub fn primary_endpoints(cluster: &Cluster, leader_ip: &str) -> Object {
    let subset = EndpointSubset {
        addresses: Some(vec![EndpointAddress {
            ip: leader_ip.into(),
            ..EndpointAddress::default()
        }]),
        ports: Some(vec![EndpointPort {
            name: Some(PORT_NAME.into()),
            port: cluster.spec.port,
            protocol: Some("TCP".into()),
            ..EndpointPort::default()
        }]),
        not_ready_addresses: None,
    };
    primary_meta(cluster, Kind::Endpoints).with("subsets", vec![subset])
}

/// The Service of the replicas.
#[must_use]
pub fn replicas(cluster: &Cluster) -> Object {
    let selector = [(labels::CLUSTER, &*cluster.name), (labels::ROLE, labels::role::REPLICA)];
    let spec = ServiceSpec {
        type_: Some("ClusterIP".into()),
        ports: Some(vec![database_port(cluster)]),
        selector: Some(selector.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
        ..ServiceSpec::default()
    };
    let own = [(labels::ROLE, labels::role::REPLICA)];
    let name = names::replica_service(&cluster.name);
    owned(cluster, Kind::Service, &name, &own, &[&cluster.spec.metadata]).with("spec", spec)
}

/// What a stranger took from Patroni's Endpoints: their labels. The content is Patroni's.
#[must_use]
pub fn patroni_endpoints_labels(cluster: &Cluster, name: &str) -> Object {
    let mut object = Object::new(Kind::Endpoints, &cluster.namespace, name);
    let own = [
        (labels::CLUSTER.to_owned(), cluster.name.clone()),
        (labels::PATRONI.to_owned(), names::scope(&cluster.name)),
    ];
    object.meta.labels = crate::object::StringMap::from(own).into();
    object
}

fn primary_meta(cluster: &Cluster, kind: Kind) -> Object {
    let own = [(labels::ROLE, labels::role::PRIMARY)];
    let name = names::primary_service(&cluster.name);
    owned(cluster, kind, &name, &own, &[&cluster.spec.metadata])
}

fn database_port(cluster: &Cluster) -> ServicePort {
    ServicePort {
        name: Some(PORT_NAME.into()),
        port: cluster.spec.port,
        protocol: Some("TCP".into()),
        // By name, so that the number may differ between Pods while it changes.
        target_port: Some(IntOrString::String(PORT_NAME.into())),
        ..ServicePort::default()
    }
}
