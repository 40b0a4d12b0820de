//! Certificates: the namespace's authority, and every leaf of the cluster. A leaf is kept as long as it
//! is right, and renewed after two thirds of its life (`reference/reconcile.md` §5).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::build::secrets::{self, Pair};
use crate::cluster::Cluster;
use crate::crypto::pki::{Issued, Leaf, Root};
use crate::kind::Kind;
use crate::names;
use crate::object::{Object, OwnerRef};
use crate::pass::Pass;
use crate::plan::Op;
use crate::read::Read;
use crate::report::{Reason, Step};

/// The authority, or none while it can't be told. Makes it when it is missing or useless, and joins this
/// cluster to its owners.
pub fn root(pass: &mut Pass<'_>) -> Option<Arc<Root>> {
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
        pass.memo.root(s, now, || {
            let (certificate, key) = (s.data("root.crt")?, s.data("root.key")?);
            let root = Root::read(certificate.expose_text()?, &key).ok()?;
            root.check(now).ok()?;
            Some((Issued { certificate: certificate.expose_text()?.to_owned(), key }, root))
        })
    });
    if let (Some(live), Some((issued, root))) = (&live, kept) {
        let (cluster, input) = (pass.cluster, kept_input("root", name, &[live]));
        pass.ensure_built(Step::Pki, input, || {
            secrets::root(cluster, &issued, owners(cluster, Some(live)))
        });
        wake_at(pass, root.renew_at());
        return Some(root);
    }
    let issued = Root::generate(&pass.context.entropy.derive("root"), now);
    let root = Arc::new(Root::read(&issued.certificate, &issued.key).ok()?);
    let desired = secrets::root(pass.cluster, &issued, owners(pass.cluster, live.as_ref()));
    if live.is_none() {
        let reason = Reason::Missing { kind: Kind::Secret, name: name.to_owned() };
        pass.write(Step::Pki, reason, Op::Create { object: bare(&desired) });
    }
    pass.ensure(Step::Pki, desired);
    wake_at(pass, root.renew_at());
    Some(root)
}

/// Every cluster of the namespace is an owner; the authority goes with the last of them.
fn owners(cluster: &Cluster, live: Option<&Arc<Object>>) -> Vec<OwnerRef> {
    let mut owners = live.map(|s| (*s.meta.owners).clone()).unwrap_or_default();
    owners.retain(|o| o.kind == Kind::IvoryCluster.name() && o.uid != cluster.uid);
    owners.push(OwnerRef::plain(&cluster.object));
    owners.sort_by(|a, b| a.name.cmp(&b.name));
    owners
}

/// The input of an object whose content is kept: what it is, and the versions of the live objects that the
/// content is read from.
#[must_use]
pub fn kept_input(what: &str, of: &str, sources: &[&Arc<Object>]) -> String {
    let mut input = format!("kept {what} {of}");
    for source in sources {
        // Writing to a String can't fail.
        let _ = write!(input, " {} {}", source.meta.uid, source.meta.resource_version);
    }
    input
}

/// The identity of a Secret and nothing else: creating it proves that nobody had made it, and leaves its
/// fields to the apply that follows.
#[must_use]
pub fn bare(desired: &Object) -> Arc<Object> {
    let mut object = Object::new(desired.kind, &desired.meta.namespace, &desired.meta.name);
    object.meta.owners = desired.meta.owners.clone();
    Arc::new(object)
}

/// The key pair of a Secret, and whether it is there already.
struct Found {
    pair: Arc<Pair>,
    kept: bool,
}

/// The key pair in two files of a Secret, certificate and key: what it holds if that is right, else a new one.
/// The first name is the common name too.
fn leaf(
    pass: &mut Pass<'_>,
    root: &Arc<Root>,
    secret: &str,
    keys: (&'static str, &'static str),
    names: &[String],
) -> Option<Found> {
    let common_name = names.first()?;
    let now = pass.context.now;
    let kept = match pass.observed.find(Kind::Secret, secret) {
        Read::Unknown(_) => {
            pass.unreadable(Step::Pki, format!("Secret {secret}"));
            return None;
        }
        Read::Absent => None,
        Read::Known(live) => pass.memo.leaf((live, keys.0), root, names, now, || {
            let (certificate, key) = live.data(keys.0).zip(live.data(keys.1))?;
            let text = certificate.expose_text()?.to_owned();
            let leaf = Leaf::read(&text, &key).ok()?;
            leaf.check(root.authority(), common_name, names, now).ok()?;
            Some((Pair { certificate: text, key }, leaf.renew_at()))
        }),
    };
    if let Some((pair, renew_at)) = kept {
        wake_at(pass, renew_at);
        return Some(Found { pair, kept: true });
    }
    let seed = pass.context.entropy.derive(&format!("leaf/{secret}/{}", keys.0));
    match root.issue(&seed, common_name, names, now) {
        Ok(Issued { certificate, key }) => {
            Some(Found { pair: Arc::new(Pair { certificate, key }), kept: false })
        }
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
pub fn cluster_certificates(pass: &mut Pass<'_>, root: &Arc<Root>) {
    let cluster = pass.cluster;
    let (name, namespace, domain) = (&cluster.name, &cluster.namespace, &cluster.domain);
    if cluster.spec.custom_tls_secret.is_none() {
        let secret = names::cluster_cert(name);
        let mut dns = names::dns_names(&names::primary_service(name), namespace, domain);
        dns.extend(names::dns_names(&names::replica_service(name), namespace, domain));
        tls(pass, root, &secret, "ivory-tls", &dns);
    }
    if cluster.spec.custom_replication_tls_secret.is_none() {
        let secret = names::replication_cert(name);
        let user = [names::REPLICATION_USER.to_owned()];
        tls(pass, root, &secret, "replication-client-tls", &user);
    }
}

fn tls(pass: &mut Pass<'_>, root: &Arc<Root>, secret: &str, purpose: &str, names: &[String]) {
    let Some(found) = leaf(pass, root, secret, ("tls.crt", "tls.key"), names) else { return };
    let cluster = pass.cluster;
    ensure(pass, Step::Pki, (secret, purpose), found.kept, || {
        secrets::tls(cluster, secret, purpose, &found.pair, root)
    });
}

/// Ensures a Secret that follows from key pairs and the authority, and from `more`. When all pairs are kept,
/// it follows from versions of live objects.
fn ensure(
    pass: &mut Pass<'_>,
    step: Step,
    (secret, more): (&str, &str),
    kept: bool,
    build: impl FnOnce() -> Object,
) {
    let live = pass.observed.find(Kind::Secret, secret);
    let authority = pass.observed.one(Kind::Secret, names::ROOT_CA_SECRET);
    match (live, authority) {
        (Read::Known(live), Read::Known(authority)) if kept => {
            let input = kept_input(secret, more, &[live, authority]);
            pass.ensure_built(step, input, build);
        }
        _ => {
            pass.ensure(step, build());
        }
    }
}

/// The certificates of one instance: for Patroni's REST API and for pgBackRest's server.
pub fn instance_certificates(pass: &mut Pass<'_>, root: &Arc<Root>, set: &str, instance: &str) {
    let cluster = pass.cluster;
    let secret = names::instance_certs(instance);
    let host = format!("{}.{}", names::instance_pod(instance), names::pod_service(&cluster.name));
    let dns = names::dns_names(&host, &cluster.namespace, &cluster.domain);
    let Some(found) = leaf(pass, root, &secret, ("dns.crt", "dns.key"), &dns) else { return };
    let Some(set) = cluster.set(set) else { return };
    ensure(pass, Step::Instances, (&secret, &set.name), found.kept, || {
        secrets::instance(cluster, &set, instance, &found.pair, root)
    });
}

/// pgBackRest's client certificate and that of the repository host's server.
pub fn pgbackrest_certificates(pass: &mut Pass<'_>, root: &Arc<Root>, repo_host: &str) {
    let cluster = pass.cluster;
    let secret = names::pgbackrest_secret(&cluster.name);
    let client = [crate::pgbackrest::config::client_name(&cluster.uid)];
    let keys = ("pgbackrest-client.crt", "pgbackrest-client.key");
    let Some(client) = leaf(pass, root, &secret, keys, &client) else { return };
    let host = format!("{}.{}", names::instance_pod(repo_host), names::pod_service(&cluster.name));
    let dns = names::dns_names(&host, &cluster.namespace, &cluster.domain);
    let keys = ("pgbackrest-repo-host.crt", "pgbackrest-repo-host.key");
    let Some(server) = leaf(pass, root, &secret, keys, &dns) else { return };
    ensure(pass, Step::Repository, (&secret, ""), client.kept && server.kept, || {
        secrets::pgbackrest(cluster, &client.pair, &server.pair, root)
    });
}

fn wake_at(pass: &mut Pass<'_>, at: Timestamp) {
    let seconds = at.as_second() - pass.context.now.as_second();
    pass.look_again(Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1)));
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::test_support::{World, texts};
    use crate::{Kind, names};

    fn text(world: &World, secret: &str, key: &str) -> String {
        let value = world.the(Kind::Secret, secret).data(key);
        value.and_then(|v| v.expose_text().map(str::to_owned)).unwrap_or_default()
    }

    /// Secrets and keys of every certificate of a settled cluster of one.
    fn certificates(world: &World) -> Vec<(String, &'static str)> {
        vec![
            ("hippo-cluster-cert".into(), "tls.crt"),
            ("hippo-replication-cert".into(), "tls.crt"),
            (names::instance_certs(&world.leader()), "dns.crt"),
            ("hippo-pgbackrest".into(), "pgbackrest-client.crt"),
            ("hippo-pgbackrest".into(), "pgbackrest-repo-host.crt"),
        ]
    }

    #[test]
    fn leaves_are_renewed_after_two_thirds_and_the_root_stays() {
        for (days, renewed) in [(200, false), (240, false), (245, true), (500, true)] {
            let mut world = World::settled(1);
            let all = certificates(&world);
            let before: Vec<_> = all.iter().map(|(s, k)| text(&world, s, k)).collect();
            let root = text(&world, names::ROOT_CA_SECRET, "root.crt");
            world.now += SignedDuration::from_hours(days * 24);
            world.settle();
            for ((secret, key), before) in all.iter().zip(before) {
                assert_eq!(
                    text(&world, secret, key) != before,
                    renewed,
                    "{secret} {key} after {days} days"
                );
            }
            assert_eq!(text(&world, names::ROOT_CA_SECRET, "root.crt"), root);
        }
    }

    #[test]
    fn the_next_renewal_is_not_slept_through() {
        let mut world = World::settled(1);
        let at = world.plan().requeue.expect("a time").as_secs();
        assert!((242 * 86_400..244 * 86_400).contains(&at), "{at} s");
    }

    #[test]
    fn a_missing_key_is_a_new_pair_and_nothing_else_changes() {
        for (secret, key) in
            [("hippo-cluster-cert", "tls.key"), ("hippo-replication-cert", "tls.crt")]
        {
            let mut world = World::settled(1);
            let before: Vec<_> =
                certificates(&world).iter().map(|(s, k)| text(&world, s, k)).collect();
            world.change(Kind::Secret, secret, |s| {
                s["data"].as_object_mut().expect("data").remove(key);
            });
            world.settle();
            assert!(!text(&world, secret, key).is_empty());
            for ((s, k), before) in certificates(&world).into_iter().zip(before) {
                assert_eq!(text(&world, &s, k) != before, s == secret, "{s} {k}");
            }
        }
    }

    #[test]
    fn another_root_reissues_every_leaf() {
        let mut world = World::settled(1);
        let before: Vec<_> = certificates(&world).iter().map(|(s, k)| text(&world, s, k)).collect();
        world.remove(Kind::Secret, names::ROOT_CA_SECRET);
        world.settle();
        let root = text(&world, names::ROOT_CA_SECRET, "root.crt");
        assert_eq!(text(&world, "hippo-cluster-cert", "ca.crt"), root);
        for ((s, k), before) in certificates(&world).into_iter().zip(before) {
            assert_ne!(text(&world, &s, k), before, "{s} {k}");
        }
    }

    #[test]
    fn every_cluster_of_the_namespace_owns_the_root() {
        let mut world = World::settled(1);
        world.change(Kind::Secret, names::ROOT_CA_SECRET, |s| {
            let mut other = s["metadata"]["ownerReferences"][0].clone();
            other["name"] = "other".into();
            other["uid"] = "another uid".into();
            s["metadata"]["ownerReferences"] = serde_json::json!([other]);
        });
        world.settle();
        let owners = &world.the(Kind::Secret, names::ROOT_CA_SECRET).meta.owners;
        let names: Vec<_> = owners.iter().map(|o| (&*o.name, o.controller)).collect();
        assert_eq!(names, [("hippo", None), ("other", None)]);
    }

    #[test]
    fn a_root_that_changed_since_it_was_read_is_not_overwritten() {
        let mut world = World::settled(1);
        world.change(Kind::Secret, names::ROOT_CA_SECRET, |s| {
            s["metadata"]["ownerReferences"] = serde_json::json!([]);
        });
        let plan = world.plan();
        world.change(Kind::Secret, names::ROOT_CA_SECRET, |s| {
            s["metadata"]["annotations"] = serde_json::json!({"somebody": "was here"});
        });
        let refused = world.execute(&plan, usize::MAX);
        assert!(refused.is_err_and(|r| r.0.contains("modified")), "{:?}", texts(&plan));
    }
}
