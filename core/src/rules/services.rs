//! Services, and the Endpoints that lead from the primary Service to the leader.

use crate::build::services;
use crate::kind::Kind;
use crate::names;
use crate::pass::Pass;
use crate::read::Read;
use crate::report::Step;

/// All Services of a cluster.
pub fn ensure(pass: &mut Pass<'_>) {
    let cluster = pass.cluster;
    for build in [
        services::pods,
        services::leader,
        services::leader_config,
        services::primary,
        services::replicas,
    ] {
        pass.ensure(Step::Services, build(cluster));
    }
    primary_endpoints(pass);
    for name in [names::scope(&cluster.name), names::scope_config(&cluster.name)] {
        patroni_endpoints(pass, &name);
    }
}

/// The leader Service has its address only once the API server made it.
fn primary_endpoints(pass: &mut Pass<'_>) {
    let leader = names::scope(&pass.cluster.name);
    let Read::Known(service) = pass.observed.find(Kind::Service, &leader) else {
        return pass.wait(Step::Services, "ServicePending", format!("Service {leader} has no address yet"));
    };
    match service.str_at(&["spec", "clusterIP"]).filter(|ip| !ip.is_empty() && *ip != "None") {
        Some(ip) => {
            let desired = services::primary_endpoints(pass.cluster, ip);
            pass.ensure(Step::Services, desired);
        }
        None => pass.wait(Step::Services, "ServicePending", format!("Service {leader} has no address yet")),
    }
}

/// Labels of Patroni's Endpoints that a stranger removed come back; Patroni finds its objects by them.
fn patroni_endpoints(pass: &mut Pass<'_>, name: &str) {
    let Read::Known(live) = pass.observed.one(Kind::Endpoints, name) else { return };
    let desired = services::patroni_endpoints_labels(pass.cluster, name);
    let missing = desired.meta.labels.iter().any(|(key, value)| live.label(key) != Some(value));
    if missing {
        pass.ensure(Step::Services, desired);
    }
}
