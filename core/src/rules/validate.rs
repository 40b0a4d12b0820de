//! What no schema can refuse, or what an older one let through: said as a condition, and nothing of the
//! running cluster is touched because of it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::SecretProjection;

use crate::api::shared::ServiceType;
use crate::cluster::Cluster;
use crate::crypto::pki::{self, Authority};
use crate::kind::Kind;
use crate::names;
use crate::object::Object;
use crate::observed::Observed;
use crate::read::Read;

/// Why a spec can't be followed; empty when it can.
#[must_use]
pub fn complaints(observed: &Observed, cluster: &Cluster) -> Vec<(&'static str, String)> {
    let spec = &cluster.spec;
    let mut all = Vec::new();
    let variable = format!("RELATED_IMAGE_IVORY_{}", spec.postgres_version);
    if cluster.images.database.is_none() {
        let text =
            format!("no image for the database: set spec.image, or {variable} of the operator");
        all.push(("MissingImage", text));
    }
    if cluster.has_repo_host() && cluster.images.pgbackrest.is_none() {
        let text = "no image for pgBackRest: set spec.backups.pgbackrest.image, or \
                    RELATED_IMAGE_PGBACKREST of the operator";
        all.push(("MissingImage", text.into()));
    }
    if spec.service.node_port.is_some() && spec.service.type_ == ServiceType::ClusterIP {
        let text = "spec.service.nodePort needs spec.service.type NodePort or LoadBalancer";
        all.push(("MisconfiguredClusterIP", text.into()));
    }
    if let Some(standby) = spec.active_standby()
        && standby.host.is_none()
        && standby.repo_name.is_none()
    {
        let text = "spec.standby needs a host or a repoName to follow";
        all.push(("InvalidStandbyConfiguration", text.into()));
    }
    for set in cluster.sets() {
        if cluster.name.len() + set.name.len() > 46 {
            let text = format!(
                "the names of cluster and instance set {:?} have {} characters together, 46 at most",
                set.name,
                cluster.name.len() + set.name.len()
            );
            all.push(("NameTooLong", text));
        }
    }
    for set in cluster.sets() {
        let ours =
            ["database", "replication-cert-copy", "pgbackrest", "pgbackrest-config", "exporter"];
        let mut seen = BTreeSet::from(ours);
        if let Some(twice) = set.spec.containers.iter().find(|c| !seen.insert(&c.name)) {
            let text =
                format!("instance set {:?} has two containers called {}", set.name, twice.name);
            all.push(("DuplicateContainer", text));
        }
    }
    let mut names = BTreeSet::new();
    for set in cluster.sets() {
        if !names.insert(set.name.clone()) {
            // An unnamed set is called by its place, which another may have for a name.
            all.push(("DuplicateSet", format!("two instance sets are called {:?}", set.name)));
        }
    }
    all.extend(other_version(observed, cluster));
    all.extend(custom_tls(observed, cluster));
    if spec.custom_tls_secret.is_some() != spec.custom_replication_tls_secret.is_some() {
        let text = "spec.customTLSSecret and spec.customReplicationTLSSecret must be given together, \
                    of one authority";
        all.push(("CustomTLSIncomplete", text.into()));
    }
    all
}

/// A major version is no setting: the data directory of another one is another directory, and an empty one.
fn other_version(observed: &Observed, cluster: &Cluster) -> Option<(&'static str, String)> {
    let patroni = observed.find(Kind::Endpoints, &names::scope_config(&cluster.name));
    let initialized = patroni.known().and_then(|e| e.annotation("initialize")).is_some();
    let noted = cluster.status.patroni.as_ref().is_some_and(|p| p.system_identifier.is_some());
    if !initialized && !noted {
        return None;
    }
    let Read::Known(sets) = observed.labelled(Kind::StatefulSet) else { return None };
    let mine = sets.iter().filter(|s| s.controlled_by(&cluster.uid));
    let wanted = cluster.data_directory();
    let found = mine.filter_map(|s| data_directory(s)).find(|found| *found != wanted)?;
    let text = format!(
        "the data is in {found}, and spec.postgresVersion is {}: a running cluster can't be given another major \
         version; set the former one again",
        cluster.spec.postgres_version
    );
    Some(("PostgresVersionChanged", text))
}

/// The data directory for which an instance's workload was made.
fn data_directory(set: &Object) -> Option<String> {
    let containers = set.at(&["spec", "template", "spec", "containers"])?.as_array()?;
    let database = containers.iter().find(|c| c["name"] == names::DATABASE_CONTAINER)?;
    let variable = database.get("env")?.as_array()?.iter().find(|v| v["name"] == "PGDATA")?;
    variable.get("value")?.as_str().map(str::to_owned)
}

/// What is wrong with the Secrets that the user brings: all files must be there, and both must trust one
/// authority. A Secret that could not be read is not complained of.
fn custom_tls(observed: &Observed, cluster: &Cluster) -> Vec<(&'static str, String)> {
    let (server, client) =
        (&cluster.spec.custom_tls_secret, &cluster.spec.custom_replication_tls_secret);
    let mut all = Vec::new();
    let mut authorities = Vec::new();
    for projection in [server, client].into_iter().flatten() {
        let name = &projection.name;
        match observed.one(Kind::Secret, name) {
            Read::Unknown(_) => {}
            Read::Absent => all.push(("CustomTLSMissing", format!("Secret {name} does not exist"))),
            Read::Known(secret) => {
                let file =
                    |path: &str| secret.data(key_of(projection, path)?).filter(|v| !v.is_empty());
                for path in ["tls.crt", "tls.key", "ca.crt"] {
                    if file(path).is_none() {
                        all.push((
                            "CustomTLSMissing",
                            format!("Secret {name} has nothing for {path}"),
                        ));
                    }
                }
                for path in ["tls.crt", "ca.crt", "tls.key"] {
                    let text = file(path);
                    let text = text.as_ref().and_then(|t| t.expose_text());
                    let fits = |text| match path {
                        "tls.key" => pki::is_private_key(text),
                        _ => !Authority::list(text).is_empty(),
                    };
                    if text.is_some_and(|text| !fits(text)) {
                        let what = if path == "tls.key" { "private key" } else { "certificate" };
                        let text = format!("Secret {name} holds no PEM {what} for {path}");
                        all.push(("CustomTLSInvalid", text));
                    }
                }
                authorities.extend(file("ca.crt"));
            }
        }
    }
    let text = |i: usize| authorities.get(i).and_then(|a: &crate::Sensitive| a.expose_text());
    if let (Some(first), Some(second)) = (text(0), text(1))
        && !Authority::shared(first, second)
        && all.is_empty()
    {
        let text = "the Secrets of spec.customTLSSecret and spec.customReplicationTLSSecret share no \
                    authority in their ca.crt";
        all.push(("CustomTLSDiffers", text.into()));
    }
    all
}

/// The key of a Secret that becomes a file; without a mapping it is the file's own name.
pub(super) fn key_of<'a>(projection: &'a SecretProjection, path: &'a str) -> Option<&'a str> {
    match projection.items.as_deref() {
        None | Some([]) => Some(path),
        Some(items) => items.iter().find(|i| i.path == path).map(|i| &*i.key),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use crate::Kind;
    use crate::crypto::pki::Root;
    use crate::object::Object;
    use crate::test_support::{NAMESPACE, World};

    /// A settled cluster that is told to use two Secrets, `server` and `client`; what it says to them.
    fn complaint(change: impl FnOnce(&mut Value, &mut Value)) -> Option<String> {
        let mut world = World::settled(1);
        let authority = |seed: u8| Root::generate(&[seed; 32], world.now);
        let (one, other) = (authority(1), authority(2));
        let files = |issued: &crate::crypto::pki::Issued, names: [&str; 3]| {
            let text = |bytes: &[u8]| Value::from(STANDARD.encode(bytes));
            let certificate = text(issued.certificate.as_bytes());
            let mut files = json!({});
            files[names[0]] = certificate.clone();
            files[names[1]] = text(issued.key.expose());
            files[names[2]] = certificate;
            files
        };
        let usual = ["tls.crt", "tls.key", "ca.crt"];
        let mut server = files(&one, ["a", "b", "c"]);
        let mut client = json!({"mine": files(&one, usual), "other": files(&other, usual)});
        change(&mut server, &mut client);
        let secret =
            |name, data: &Value| Object::new(Kind::Secret, NAMESPACE, name).with("data", data);
        world.put(secret("server", &server));
        world.put(secret("client", &client["mine"]));
        world.edit(|s| {
            s["customTLSSecret"] = json!({"name": "server", "items": [
                {"key": "a", "path": "tls.crt"}, {"key": "b", "path": "tls.key"}, {"key": "c", "path": "ca.crt"},
            ]});
            s["customReplicationTLSSecret"] = json!({"name": "client"});
        });
        world.settle();
        let reason = world.condition("Reconciled").map(|c| c.1);
        reason.filter(|reason| reason.starts_with("CustomTLS"))
    }

    #[test]
    fn secrets_that_the_user_brings_are_looked_at_before_anything_is_done() {
        assert_eq!(complaint(|_, _| {}), None, "keys of other names are fine");
        let garbage = || Value::from(STANDARD.encode("-----BEGIN CERTIFICATE-----\nx\n"));
        for (word, change) in [
            ("CustomTLSMissing", &mut |s: &mut Value, _: &mut Value| s["a"] = json!("")),
            ("CustomTLSInvalid", &mut |s: &mut Value, _: &mut Value| s["a"] = garbage()),
            ("CustomTLSInvalid", &mut |s: &mut Value, _: &mut Value| s["b"] = s["a"].clone()),
            ("CustomTLSInvalid", &mut |_: &mut Value, c: &mut Value| {
                c["mine"]["ca.crt"] = garbage()
            }),
            ("CustomTLSDiffers", &mut |_: &mut Value, c: &mut Value| {
                c["mine"] = c["other"].clone()
            }),
        ] as [(&str, &mut dyn FnMut(&mut Value, &mut Value)); 5]
        {
            assert_eq!(complaint(|s, c| change(s, c)).as_deref(), Some(word));
        }
    }

    #[test]
    fn an_image_that_nobody_names_is_missed() {
        let mut world = World::settled(1);
        let missing = |world: &mut World| {
            let report = world.plan().report;
            let said = |part: &str| report.lines.iter().any(|(_, o)| o.to_string().contains(part));
            ["no image for the database", "no image for pgBackRest"].map(said)
        };
        assert_eq!(missing(&mut world), [false, false]);
        world.edit(|s| s["image"] = Value::Null);
        assert_eq!(missing(&mut world), [true, false]);
        world.edit(|s| s["backups"]["pgbackrest"]["image"] = Value::Null);
        assert_eq!(missing(&mut world), [true, true]);
    }
}
