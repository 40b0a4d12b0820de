//! Certificates: the namespace's authority, and every leaf of the cluster. A leaf is kept as long as it
//! is right, and renewed after two thirds of its life (`reference/reconcile.md` §5).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::build::secrets::{self, Pair, Roots};
use crate::cluster::Cluster;
use crate::crypto::pki::{Issued, Leaf, Root};
use crate::kind::Kind;
use crate::labels;
use crate::names;
use crate::object::{Object, OwnerRef};
use crate::pass::Pass;
use crate::plan::Op;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::trust::{Origin, Trust};

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
/// fields to the apply that follows. The labels by which it is found are part of it: one that is created late, by an
/// operator that has a successor already, must be seen when nobody wants it any more.
#[must_use]
pub fn bare(desired: &Object) -> Arc<Object> {
    let mut object = Object::new(desired.kind, &desired.meta.namespace, &desired.meta.name);
    object.meta.owners = desired.meta.owners.clone();
    let found_by = |key: &str| [labels::CLUSTER, labels::PGUSER].contains(&key);
    let labels = desired.meta.labels.iter().filter(|(key, _)| found_by(key));
    object.meta.labels = Arc::new(labels.map(|(k, v)| (k.clone(), v.clone())).collect());
    Arc::new(object)
}

/// The key pair of a Secret, and where it comes from.
struct Found {
    pair: Arc<Pair>,
    origin: Origin,
}

/// The names in a certificate of the Go operator: those of one Service or Pod, without the second spelling of the longest.
/// Such a certificate is taken over, and gets all names when it is renewed.
fn as_the_go_operator_names(names: &[String]) -> Vec<String> {
    let one = names.iter().take(5).enumerate();
    one.filter(|(place, _)| *place != 1).map(|(_, name)| name.clone()).collect()
}

/// The key pair in two files of a Secret, certificate and key: what it holds if that is right, else a new one.
/// The first name is the common name too.
fn leaf(
    pass: &mut Pass<'_>,
    (root, trust): (&Arc<Root>, &Trust),
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
            let older = as_the_go_operator_names(names);
            let named = |issuer, names| leaf.check(issuer, common_name, names, now).is_ok();
            let right = |issuer| named(issuer, names) || named(issuer, &older);
            let (_, until) = trust.issuers(now).find(|(issuer, _)| right(*issuer))?;
            let origin = until.map_or(Origin::Kept, |_| Origin::KeptFromOld);
            let renew_at = until.map_or(leaf.renew_at(), |until| until.min(leaf.renew_at()));
            Some((Pair { certificate: text, key }, origin, renew_at))
        }),
    };
    if let Some((pair, origin, renew_at)) = kept {
        wake_at(pass, renew_at);
        return Some(Found { pair, origin });
    }
    let seed = pass.context.entropy.derive(&format!("leaf/{secret}/{}", keys.0));
    match root.issue(&seed, common_name, names, now) {
        Ok(Issued { certificate, key }) => {
            Some(Found { pair: Arc::new(Pair { certificate, key }), origin: Origin::New })
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
    let Some(trust) = Trust::read(pass, root, secret, "ca.crt") else { return };
    let keys = ("tls.crt", "tls.key");
    let Some(found) = leaf(pass, (root, &trust), secret, keys, names) else { return };
    let cluster = pass.cluster;
    ensure(pass, Step::Pki, (secret, purpose), (trust, &[found.origin]), |roots| {
        secrets::tls(cluster, secret, purpose, &found.pair, roots)
    });
}

/// Ensures a Secret that follows from key pairs and the authority, and from `more`. When all pairs are kept and
/// no change of root is under way, it follows from versions of live objects.
fn ensure(
    pass: &mut Pass<'_>,
    step: Step,
    (secret, more): (&str, &str),
    (trust, leaves): (Trust, &[Origin]),
    build: impl FnOnce(&Roots) -> Object,
) {
    let kept = trust.settled() && leaves.iter().all(|l| *l == Origin::Kept);
    let (trust, again) = trust.after(leaves, pass.context.now);
    if let Some(again) = again {
        wake_at(pass, again);
    }
    let build = || build(&Roots { bundle: trust.bundle(), since: trust.since() });
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
    let Some(set) = cluster.set(set) else { return };
    let Some(trust) = Trust::read(pass, root, &secret, "patroni.ca-roots") else { return };
    let keys = ("dns.crt", "dns.key");
    let Some(found) = leaf(pass, (root, &trust), &secret, keys, &dns) else { return };
    ensure(pass, Step::Instances, (&secret, &set.name), (trust, &[found.origin]), |roots| {
        secrets::instance(cluster, &set, instance, &found.pair, roots)
    });
}

/// pgBackRest's client certificate and that of the repository host's server.
pub fn pgbackrest_certificates(pass: &mut Pass<'_>, root: &Arc<Root>, repo_host: &str) {
    let cluster = pass.cluster;
    let secret = names::pgbackrest_secret(&cluster.name);
    let client = [crate::pgbackrest::config::client_name(&cluster.uid)];
    let keys = ("pgbackrest-client.crt", "pgbackrest-client.key");
    let Some(trust) = Trust::read(pass, root, &secret, "pgbackrest.ca-roots") else { return };
    let both = (root, &trust);
    let Some(client) = leaf(pass, both, &secret, keys, &client) else { return };
    let host = format!("{}.{}", names::instance_pod(repo_host), names::pod_service(&cluster.name));
    let dns = names::dns_names(&host, &cluster.namespace, &cluster.domain);
    let keys = ("pgbackrest-repo-host.crt", "pgbackrest-repo-host.key");
    let Some(server) = leaf(pass, both, &secret, keys, &dns) else { return };
    let origins = [client.origin, server.origin];
    ensure(pass, Step::Repository, (&secret, ""), (trust, &origins), |roots| {
        secrets::pgbackrest(cluster, &client.pair, &server.pair, roots)
    });
}

fn wake_at(pass: &mut Pass<'_>, at: Timestamp) {
    let seconds = at.as_second() - pass.context.now.as_second();
    pass.look_again(Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1)));
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use jiff::SignedDuration;

    use std::sync::Arc;

    use crate::crypto::pki::{Leaf, Root};
    use crate::labels::TRUST_CHANGED;
    use crate::object::Object;
    use crate::plan::Op;
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
    fn a_certificate_of_the_go_operator_is_kept_until_it_is_renewed() {
        let secret = "hippo-cluster-cert";
        for (host, kept) in [("hippo-primary", true), ("rhino-primary", false)] {
            let mut world = World::settled(1);
            let key = world.the(Kind::Secret, names::ROOT_CA_SECRET).data("root.key");
            let certificate = text(&world, names::ROOT_CA_SECRET, "root.crt");
            let root = Root::read(&certificate, &key.expect("a key")).expect("a root");
            let ours = text(&world, secret, "tls.crt");
            let key = world.the(Kind::Secret, secret).data("tls.key").expect("a key");
            let ours = Leaf::read(&ours, &key).expect("a leaf").dns_names();
            let four: Vec<String> = [0, 2, 3, 4]
                .iter()
                .map(|place| ours[*place].replace("hippo-primary", host))
                .collect();
            let theirs = root.issue(&[5; 32], &four[0], &four, world.now).expect("a leaf");
            world.change(Kind::Secret, secret, |s| {
                s["data"]["tls.crt"] = STANDARD.encode(&theirs.certificate).into();
                s["data"]["tls.key"] = STANDARD.encode(theirs.key.expose()).into();
            });
            world.settle();
            assert_eq!(text(&world, secret, "tls.crt") == theirs.certificate, kept, "{host}");
            world.now += SignedDuration::from_hours(245 * 24);
            world.settle();
            let key = world.the(Kind::Secret, secret).data("tls.key").expect("a key");
            let renewed = Leaf::read(&text(&world, secret, "tls.crt"), &key).expect("a leaf");
            assert_eq!(renewed.dns_names(), ours);
        }
    }

    #[test]
    fn the_next_renewal_is_not_slept_through() {
        let mut world = World::settled(1);
        // While it runs, it is looked at every ten minutes for another reason.
        world.edit(|s| s["shutdown"] = true.into());
        world.settle();
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
    fn another_root_is_trusted_a_day_before_it_signs_and_the_old_one_a_day_longer() {
        let mut world = World::settled(1);
        let all = certificates(&world);
        let leaves = |world: &World| all.iter().map(|(s, k)| text(world, s, k)).collect::<Vec<_>>();
        let bundle = |world: &World| text(world, "hippo-cluster-cert", "ca.crt");
        let hours = |world: &mut World, hours: i64| {
            world.now += SignedDuration::from_hours(hours);
            world.settle();
        };
        let (before, old) = (leaves(&world), bundle(&world));
        world.remove(Kind::Secret, names::ROOT_CA_SECRET);
        world.settle();
        let root = text(&world, names::ROOT_CA_SECRET, "root.crt");
        assert_ne!(root, old);
        // Who knows only the old root still recognises the leaves; whoever asks now learns both.
        assert_eq!((leaves(&world), bundle(&world)), (before.clone(), format!("{root}{old}")));
        hours(&mut world, 23);
        assert_eq!((leaves(&world), bundle(&world)), (before.clone(), format!("{root}{old}")));
        hours(&mut world, 2);
        let after = leaves(&world);
        assert!(before.iter().zip(&after).all(|(old, new)| old != new));
        assert_eq!(bundle(&world), format!("{root}{old}"));
        hours(&mut world, 23);
        assert_eq!(bundle(&world), format!("{root}{old}"));
        hours(&mut world, 2);
        assert_eq!((leaves(&world), bundle(&world)), (after, root));
        let secret = world.the(Kind::Secret, "hippo-cluster-cert");
        assert_eq!(secret.annotation(crate::labels::TRUST_CHANGED), None);
    }

    #[test]
    fn an_operator_that_was_away_for_long_skips_no_step() {
        let mut world = World::settled(1);
        let leaf = |world: &World| text(world, "hippo-cluster-cert", "tls.crt");
        let before = leaf(&world);
        world.remove(Kind::Secret, names::ROOT_CA_SECRET);
        world.settle();
        // A second root before the first change is over: three are trusted.
        world.now += SignedDuration::from_hours(1);
        world.remove(Kind::Secret, names::ROOT_CA_SECRET);
        world.settle();
        let bundle = |world: &World| text(world, "hippo-cluster-cert", "ca.crt");
        let trusted = |world: &World| bundle(world).matches("BEGIN CERTIFICATE").count();
        assert_eq!((trusted(&world), leaf(&world) == before), (3, true));
        world.now += SignedDuration::from_hours(100);
        world.settle();
        assert_eq!((trusted(&world), leaf(&world) == before), (3, false));
        world.now += SignedDuration::from_hours(100);
        world.settle();
        assert_eq!(trusted(&world), 1);
    }

    #[test]
    fn a_secret_that_is_lost_while_the_root_changes_trusts_the_roots_of_the_others() {
        let mut world = World::settled(2);
        let old = text(&world, names::ROOT_CA_SECRET, "root.crt");
        world.remove(Kind::Secret, names::ROOT_CA_SECRET);
        world.settle();
        let both = format!("{}{old}", text(&world, names::ROOT_CA_SECRET, "root.crt"));
        let instance = names::instance_certs(&world.leader());
        for (secret, key) in [
            ("hippo-cluster-cert", "ca.crt"),
            ("hippo-replication-cert", "ca.crt"),
            ("hippo-pgbackrest", "pgbackrest.ca-roots"),
            (&*instance, "patroni.ca-roots"),
        ] {
            world.remove(Kind::Secret, secret);
            world.settle();
            assert_eq!(text(&world, secret, key), both, "{secret}");
        }
    }

    #[test]
    fn a_strangers_authority_is_no_root_of_before() {
        let mut world = World::settled(1);
        let leaf = text(&world, "hippo-cluster-cert", "tls.crt");
        let root = text(&world, names::ROOT_CA_SECRET, "root.crt");
        let other = {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(format!("{root}{leaf}"))
        };
        world.change(Kind::Secret, "hippo-cluster-cert", |s| s["data"]["ca.crt"] = other.into());
        world.settle();
        assert_eq!(text(&world, "hippo-cluster-cert", "ca.crt"), root);
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

    #[test]
    fn a_secret_that_is_lost_while_no_root_changes_has_no_change_to_tell_of() {
        let mut world = World::settled(1);
        world.remove(Kind::Secret, "hippo-cluster-cert");
        world.settle_with(|_, plan| {
            let written = plan.writes.iter().filter_map(|w| match &w.op {
                Op::Apply { object } | Op::Create { object } => Some(object),
                _ => None,
            });
            let tells = |o: &&Arc<Object>| o.annotation(TRUST_CHANGED).is_some();
            assert_eq!(written.filter(tells).count(), 0);
        });
    }
}
