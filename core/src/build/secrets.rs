//! Secrets: certificates and users (`reference/api.md` §4.6). What stands in them is decided elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::Sensitive;
use crate::api::users::User;
use crate::build::meta::owned;
use crate::cluster::{Cluster, Set};
use crate::crypto::pki::Issued;
use crate::kind::Kind;
use crate::object::{Object, OwnerRef};
use crate::postgres::uri::Connection;
use crate::{labels, names};

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: Sensitive,
}

/// A Secret's data under construction.
#[derive(Default)]
struct Data(Map<String, Value>);

impl Data {
    fn put(mut self, key: &str, bytes: &[u8]) -> Self {
        self.0.insert(key.to_owned(), STANDARD.encode(bytes).into());
        self
    }
    fn pair(self, certificate: &str, key: &str, pair: &Pair) -> Self {
        self.put(certificate, pair.certificate.as_bytes()).put(key, pair.key.expose())
    }
    fn into(self, object: Object) -> Object {
        object.with("data", self.0)
    }
}

/// Whom a Secret trusts: the bundle, and since when it is more than the root.
pub struct Roots {
    /// All of them, PEM.
    pub bundle: String,
    /// What is noted of the change of root that is under way.
    pub since: Option<String>,
}

fn noted(mut object: Object, roots: &Roots) -> Object {
    if let Some(since) = &roots.since {
        let mut annotations = (*object.meta.annotations).clone();
        annotations.insert(labels::TRUST_CHANGED.to_owned(), since.clone());
        object.meta.annotations = annotations.into();
    }
    object
}

/// The authority of the namespace. It bears no label, and every cluster owns it.
#[must_use]
pub fn root(cluster: &Cluster, pair: &Issued, owners: Vec<OwnerRef>) -> Object {
    let mut object = Object::new(Kind::Secret, &cluster.namespace, names::ROOT_CA_SECRET);
    object.meta.owners = owners.into();
    let data = Data::default().put("root.crt", pair.certificate.as_bytes());
    data.put("root.key", pair.key.expose()).into(object)
}

/// One of the cluster's two certificates; `purpose` is `ivory-tls` or `replication-client-tls`.
#[must_use]
pub fn tls(cluster: &Cluster, name: &str, purpose: &str, pair: &Pair, roots: &Roots) -> Object {
    let own = [(labels::CLUSTER_CERTIFICATE, purpose)];
    let object = noted(owned(cluster, Kind::Secret, name, &own, &[&cluster.spec.metadata]), roots);
    let data = Data::default().pair("tls.crt", "tls.key", pair);
    data.put("ca.crt", roots.bundle.as_bytes()).into(object)
}

/// The certificates of an instance. Patroni wants key and certificate in one file, the key first.
#[must_use]
pub fn instance(
    cluster: &Cluster,
    set: &Set<'_>,
    name: &str,
    pair: &Pair,
    roots: &Roots,
) -> Object {
    let own = [(labels::INSTANCE_SET, &*set.name), (labels::INSTANCE, name)];
    let sources = [&cluster.spec.metadata, &set.spec.metadata];
    let object = owned(cluster, Kind::Secret, &names::instance_certs(name), &own, &sources);
    let combined = [pair.key.expose(), pair.certificate.as_bytes()].concat();
    let mut data = Data::default()
        .pair("dns.crt", "dns.key", pair)
        .put("patroni.ca-roots", roots.bundle.as_bytes())
        .put("patroni.crt-combined", &combined);
    if cluster.has_repo_host() {
        data = data.pair("pgbackrest-server.crt", "pgbackrest-server.key", pair);
    }
    data.into(noted(object, roots)).with("type", "Opaque")
}

/// pgBackRest's certificates.
#[must_use]
pub fn pgbackrest(cluster: &Cluster, client: &Pair, server: &Pair, roots: &Roots) -> Object {
    let own = [(labels::PGBACKREST, ""), (labels::PGBACKREST_CONFIG, "")];
    let sources = [&cluster.spec.metadata, &cluster.spec.backups.pgbackrest.metadata];
    let name = names::pgbackrest_secret(&cluster.name);
    let object = owned(cluster, Kind::Secret, &name, &own, &sources);
    let data = Data::default()
        .put("pgbackrest.ca-roots", roots.bundle.as_bytes())
        .pair("pgbackrest-client.crt", "pgbackrest-client.key", client)
        .pair("pgbackrest-repo-host.crt", "pgbackrest-repo-host.key", server);
    data.into(noted(object, roots)).with("type", "Opaque")
}

/// The Secret of a database user, with everything that an application needs to connect.
#[must_use]
pub fn pguser(
    cluster: &Cluster,
    user: &User,
    name: &str,
    password: &Sensitive,
    verifier: &Sensitive,
) -> Object {
    let own = [(labels::ROLE, labels::role::PGUSER), (labels::PGUSER, &*user.name)];
    let object = owned(cluster, Kind::Secret, name, &own, &[&cluster.spec.metadata]);
    let host = format!("{}.{}.svc", names::primary_service(&cluster.name), cluster.namespace);
    let mut data = Data::default()
        .put("host", host.as_bytes())
        .put("port", cluster.spec.port.to_string().as_bytes())
        .put("user", user.name.as_bytes())
        .put("password", password.expose())
        .put("verifier", verifier.expose());
    if let Some(database) = user.databases.first() {
        let connection = Connection {
            user: &user.name,
            password,
            host: &host,
            port: u16::try_from(cluster.spec.port).unwrap_or(0),
            database,
        };
        data = data
            .put("dbname", database.as_bytes())
            .put("uri", connection.uri().expose())
            .put("jdbc-uri", connection.jdbc_uri(false).expose());
    }
    data.into(object)
}
