//! What the operator finds out about where it runs.

use kube::Client;

/// Where Kubernetes writes the DNS settings of a container.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const SCC_GROUP: &str = "security.openshift.io";

/// Whether this Kubernetes is an OpenShift: it serves SecurityContextConstraints.
///
/// # Errors
/// When the API server doesn't say.
pub async fn openshift(client: &Client) -> kube::Result<bool> {
    let groups = client.list_api_groups().await?;
    let Some(group) = groups.groups.into_iter().find(|g| g.name == SCC_GROUP) else {
        return Ok(false);
    };
    let Some(version) = group.versions.first() else {
        return Ok(false);
    };
    let resources = client.list_api_group_resources(&version.group_version).await?;
    let scc = |kind: &str| kind == "SecurityContextConstraints";
    Ok(resources.resources.iter().any(|r| scc(&r.kind)))
}

/// The DNS domain of the Kubernetes that this process runs in, with its trailing dot. The kubelet tells it to
/// every container as a search domain.
#[must_use]
pub fn domain() -> String {
    let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    domain_of(&text).unwrap_or_else(|| "cluster.local.".to_owned())
}

fn domain_of(resolv_conf: &str) -> Option<String> {
    let searches = resolv_conf
        .lines()
        .filter_map(|l| l.trim().strip_prefix("search"))
        .flat_map(str::split_whitespace);
    let domain = searches.filter_map(|s| s.strip_prefix("svc.")).next()?;
    Some(format!("{}.", domain.trim_end_matches('.')))
}

/// Who this process is, for others to read: its host, which in a Pod is the Pod's name, and a random part.
#[must_use]
pub fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = getrandom::u64().unwrap_or_default();
    format!("{}_{random:016x}", host.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_the_search_domain_of_services() {
        for (text, expected) in [
            (
                "search db.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
                Some("cluster.local."),
            ),
            ("nameserver 1.1.1.1\nsearch a.svc.x.example svc.x.example.\n", Some("x.example.")),
            ("search example.org\n", None),
            ("", None),
        ] {
            assert_eq!(domain_of(text).as_deref(), expected);
        }
    }
}
