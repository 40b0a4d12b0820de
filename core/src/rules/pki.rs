//! Certificates: the namespace's authority, and every leaf of the cluster. A leaf is kept as long as it
//! is right, and renewed after two thirds of its life (`reference/reconcile.md` §5).

use std::time::Duration;

use jiff::Timestamp;

use crate::build::secrets::{self, Pair};
use crate::crypto::pki::{Issued, Leaf, Root};
use crate::kind::Kind;
use crate::names;
use crate::object::OwnerRef;
use crate::pass::Pass;
use crate::plan::Op;
use crate::read::Read;
use crate::report::{Reason, Step};

/// The authority, or none while it can't be told. Makes it when it is missing or useless, and joins this
/// cluster to its owners.
pub fn root(pass: &mut Pass<'_>) -> Option<Root> {
    let name = names::ROOT_CA_SECRET;
    let live = match pass.observed.one(Kind::Secret, name) {
        Read::Unknown(_) => {
            pass.unreadable(Step::Pki, format!("Secret {name}"));
            return None;
        }
        Read::Absent => None,
        Read::Known(secret) if secret.terminating() => {
            pass.wait(Step::Pki, "Terminating", format!("Secret {name} is being deleted"));
            return None;
        }
        Read::Known(secret) => Some(secret.clone()),
    };
    let now = pass.context.now;
    let kept = live.as_ref().and_then(|s| {
        let certificate = s.data("root.crt")?;
        let root = Root::read(certificate.expose_text()?, &s.data("root.key")?).ok()?;
        root.check(now).ok()?;
        Some((
            Issued { certificate: certificate.expose_text()?.to_owned(), key: s.data("root.key")? },
            root,
        ))
    });
    let (pair, root) = match kept {
        Some(kept) => kept,
        None => {
            let pair = Root::generate(&pass.context.entropy.derive("root"), now);
            let root = Root::read(&pair.certificate, &pair.key).ok()?;
            (pair, root)
        }
    };
    // Every cluster of the namespace is an owner; the authority goes with the last of them.
    let mut owners = live.as_ref().map(|s| (*s.meta.owners).clone()).unwrap_or_default();
    owners.retain(|o| o.kind == Kind::IvoryCluster.name() && o.uid != pass.cluster.uid);
    owners.push(OwnerRef::plain(&pass.cluster.object));
    owners.sort_by(|a, b| a.name.cmp(&b.name));
    let desired = secrets::root(pass.cluster, &pair, owners);
    if live.is_none() {
        let reason = Reason::Missing { kind: Kind::Secret, name: name.to_owned() };
        pass.write(Step::Pki, reason, Op::Create { object: bare(&desired) });
    }
    pass.ensure(Step::Pki, desired);
    wake_at(pass, root.renew_at());
    Some(root)
}

/// The identity of a Secret and nothing else: creating it proves that nobody had made it, and leaves its
/// fields to the apply that follows.
#[must_use]
pub fn bare(desired: &crate::Object) -> std::sync::Arc<crate::Object> {
    let mut object = crate::Object::new(desired.kind, &desired.meta.namespace, &desired.meta.name);
    object.meta.owners = desired.meta.owners.clone();
    std::sync::Arc::new(object)
}

/// The certificates of a Secret's key pair: what it holds if that is right, else new ones.
pub fn leaf(
    pass: &mut Pass<'_>,
    root: &Root,
    secret: &str,
    keys: (&str, &str),
    common_name: &str,
    dns_names: &[String],
) -> Option<Pair> {
    let now = pass.context.now;
    let kept = match pass.observed.find(Kind::Secret, secret) {
        Read::Unknown(_) => {
            pass.unreadable(Step::Pki, format!("Secret {secret}"));
            return None;
        }
        Read::Absent => None,
        Read::Known(live) => {
            live.data(keys.0).zip(live.data(keys.1)).and_then(|(certificate, key)| {
                let text = certificate.expose_text()?.to_owned();
                let leaf = Leaf::read(&text, &key).ok()?;
                leaf.check(root.authority(), common_name, dns_names, now).ok()?;
                Some((Pair { certificate: text, key }, leaf.renew_at()))
            })
        }
    };
    if let Some((pair, renew_at)) = kept {
        wake_at(pass, renew_at);
        return Some(pair);
    }
    let seed = pass.context.entropy.derive(&format!("leaf/{secret}/{}", keys.0));
    match root.issue(&seed, common_name, dns_names, now) {
        Ok(Issued { certificate, key }) => Some(Pair { certificate, key }),
        Err(why) => {
            pass.block(
                Step::Pki,
                "CertificateFailed",
                format!("no certificate for {secret}: {why:?}"),
            );
            None
        }
    }
}

/// The cluster's server certificate and the replication client's, unless the spec brings its own.
pub fn cluster_certificates(pass: &mut Pass<'_>, root: &Root) {
    let cluster = pass.cluster;
    let (name, namespace, domain) = (&cluster.name, &cluster.namespace, &cluster.domain);
    if cluster.spec.custom_tls_secret.is_none() {
        let secret = names::cluster_cert(name);
        let mut dns = names::dns_names(&names::primary_service(name), namespace, domain);
        dns.extend(names::dns_names(&names::replica_service(name), namespace, domain));
        let common_name = dns[0].clone();
        if let Some(pair) = leaf(pass, root, &secret, ("tls.crt", "tls.key"), &common_name, &dns) {
            pass.ensure(Step::Pki, secrets::tls(cluster, &secret, "ivory-tls", &pair, root));
        }
    }
    if cluster.spec.custom_replication_tls_secret.is_none() {
        let secret = names::replication_cert(name);
        let user = names::REPLICATION_USER;
        let dns = [user.to_owned()];
        if let Some(pair) = leaf(pass, root, &secret, ("tls.crt", "tls.key"), user, &dns) {
            let purpose = "replication-client-tls";
            pass.ensure(Step::Pki, secrets::tls(cluster, &secret, purpose, &pair, root));
        }
    }
}

/// The certificates of one instance: for Patroni's REST API and for pgBackRest's server.
pub fn instance_certificates(pass: &mut Pass<'_>, root: &Root, set: &str, instance: &str) {
    let cluster = pass.cluster;
    let secret = names::instance_certs(instance);
    let host = format!("{}.{}", names::instance_pod(instance), names::pod_service(&cluster.name));
    let dns = names::dns_names(&host, &cluster.namespace, &cluster.domain);
    let common_name = dns[0].clone();
    let Some(pair) = leaf(pass, root, &secret, ("dns.crt", "dns.key"), &common_name, &dns) else {
        return;
    };
    let Some(set) = cluster.set(set) else { return };
    pass.ensure(Step::Instances, secrets::instance(cluster, &set, instance, &pair, root));
}

/// pgBackRest's client certificate and that of the repository host's server.
pub fn pgbackrest_certificates(pass: &mut Pass<'_>, root: &Root, repo_host: &str) {
    let cluster = pass.cluster;
    let secret = names::pgbackrest_secret(&cluster.name);
    let client = [crate::pgbackrest::config::client_name(&cluster.uid)];
    let keys = ("pgbackrest-client.crt", "pgbackrest-client.key");
    let Some(client) = leaf(pass, root, &secret, keys, &client[0], &client) else { return };
    let host = format!("{}.{}", names::instance_pod(repo_host), names::pod_service(&cluster.name));
    let dns = names::dns_names(&host, &cluster.namespace, &cluster.domain);
    let common_name = dns[0].clone();
    let keys = ("pgbackrest-repo-host.crt", "pgbackrest-repo-host.key");
    let Some(server) = leaf(pass, root, &secret, keys, &common_name, &dns) else { return };
    pass.ensure(Step::Repository, secrets::pgbackrest(cluster, &client, &server, root));
}

fn wake_at(pass: &mut Pass<'_>, at: Timestamp) {
    let seconds = at.as_second() - pass.context.now.as_second();
    pass.look_again(Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1)));
}
