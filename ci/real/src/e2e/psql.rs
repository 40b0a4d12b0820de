//! Applications and statements by hand: `psql` in Pods, with what the user's Secret says and nothing else.
//! Every statement opens a connection of its own and checks the server's certificate.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{AsyncBufReadExt as _, TryStreamExt as _};
use ivory_core::{Kind, names};
use ivory_sim::lab::site::roots;
use ivory_sim::scenario::driver::ClientFacts;
use ivory_sim::scenario::language::{ClientSpec, SqlAsk, SqlWhat};
use ivory_sim::scenario::resolve::Ref;
use ivory_sim::time::{Span, Time};
use ivory_sim::world::journal::Milestone;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use serde_json::{Value, json};

use super::live::Live;
use super::pods;

/// The Pod for statements by hand.
const HAND: &str = "e2e-hand";
/// How long a statement by hand may take, its Pod's start apart.
const STATEMENT: Duration = Duration::from_secs(15);
/// How long a client may be silent before that counts as an outage, and how long its last word is waited for.
/// A line goes through the kubelet and the API server, and a client that can't connect says so after seven
/// seconds; its own pause between rows is added.
const SILENT: Span = Span::s(12);
/// How long lost rows are asked for: an answer needs a primary.
const COUNTING: Duration = Duration::from_secs(60);

/// A client, and what it knows.
pub(crate) struct App {
    name: String,
    namespace: String,
    image: String,
    every: Span,
    facts: Mutex<Facts>,
}

#[derive(Default)]
struct Facts {
    acknowledged: BTreeSet<u64>,
    began: Option<Time>,
    /// The last acknowledged row.
    last: Option<Time>,
    /// The last word of any kind.
    heard: Option<Time>,
    ended: Option<Time>,
    gap: Span,
    writes: bool,
    /// None: nobody could be asked.
    lost: Option<u64>,
}

/// What is known of a client in the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    /// The longest time without an acknowledged commit, up to the end.
    pub(crate) longest_gap: Span,
    /// How many acknowledged rows are missing; none if that could not be asked.
    pub(crate) lost_rows: Option<u64>,
}

impl App {
    /// Starts a client's Pod, and follows what it says.
    ///
    /// # Errors
    /// When the Pod does not start.
    pub(crate) async fn start(
        live: &Arc<Live>,
        spec: &ClientSpec,
        image: &str,
    ) -> anyhow::Result<Arc<Self>> {
        let app = Arc::new(Self {
            name: spec.name.clone(),
            namespace: spec.namespace.clone(),
            image: image.to_owned(),
            every: spec.every,
            facts: Mutex::default(),
        });
        let cluster = cluster_of(&spec.secret)?;
        let roots = roots_of(live, &spec.namespace, &cluster);
        pods::start(&live.client, app.manifest(spec, &roots)).await?;
        let (live, follower) = (live.clone(), app.clone());
        tokio::spawn(async move { follower.follow(&live).await });
        Ok(app)
    }

    fn pod(&self) -> String {
        format!("e2e-client-{}", self.name)
    }

    fn table(&self) -> String {
        table(&self.name)
    }

    fn manifest(&self, spec: &ClientSpec, (roots, key_of_roots): &(String, String)) -> Value {
        let script = format!(
            "ask() {{ timeout 5 psql -X -q -A -t -v ON_ERROR_STOP=1 \"$@\" 2>&1; }}\n\
             until said=$(ask -c 'create schema if not exists e2e' -c 'create table if not exists {table} (n bigint)')\n\
             do echo \"! $(echo \"$said\" | head -n 1)\"; sleep 0.1; done\n\
             n=0\n\
             while true; do\n\
             n=$((n + 1))\n\
             if said=$(ask -c \"insert into {table} values ($n)\"); then echo \"$n\"\n\
             else echo \"! $(echo \"$said\" | head -n 1)\"; fi\n\
             sleep {every}\n\
             done\n",
            table = self.table(),
            every = spec.every.seconds(),
        );
        let mut manifest =
            pods::harmless(&self.namespace, &self.pod(), &self.image, &["sh", "-c", &script]);
        let key = |name: &str, key: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": spec.secret, "key": key}}});
        let spec = &mut manifest["spec"];
        spec["containers"][0]["env"] = json!([
            key("PGHOST", "host"),
            key("PGPORT", "port"),
            key("PGUSER", "user"),
            key("PGPASSWORD", "password"),
            key("PGDATABASE", "dbname"),
            {"name": "PGSSLMODE", "value": "verify-full"},
            {"name": "PGSSLROOTCERT", "value": "/roots/ca.crt"},
            {"name": "PGCONNECT_TIMEOUT", "value": "2"},
        ]);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "roots", "mountPath": "/roots"}]);
        spec["volumes"] = json!([{"name": "roots", "secret": {
            "secretName": roots,
            "items": [{"key": key_of_roots, "path": "ca.crt"}],
        }}]);
        manifest
    }

    /// Reads the client's lines as they come, with the times that the kubelet gave them.
    async fn follow(&self, live: &Live) {
        let api: Api<Pod> = Api::namespaced(live.client.clone(), &self.namespace);
        let params = LogParams { follow: true, timestamps: true, ..LogParams::default() };
        let mut read = 0;
        while self.facts().ended.is_none() {
            if let Ok(stream) = api.log_stream(&self.pod(), &params).await {
                let mut lines = stream.lines();
                let mut count = 0;
                while let Ok(Some(line)) = lines.try_next().await {
                    count += 1;
                    // A stream that broke begins again with the first line.
                    if count > read {
                        read = count;
                        self.heard(live, &line);
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn heard(&self, live: &Live, line: &str) {
        let Some((time, said)) = line.split_once(' ') else { return };
        let Ok(at) = time.parse::<Timestamp>() else { return };
        let at = live.time(at);
        let mut facts = self.facts();
        if facts.ended.is_some() {
            return;
        }
        facts.heard = Some(at);
        let began = *facts.began.get_or_insert(at);
        let since = facts.last.unwrap_or(began);
        let client: Arc<str> = self.name.as_str().into();
        match said.parse::<u64>() {
            Ok(row) => {
                facts.gap = facts.gap.max(at - since);
                if !facts.writes {
                    let first = facts.acknowledged.is_empty();
                    let gap_ms = if first { 0 } else { (at - since).0 / 1_000 };
                    live.note(at, &self.name, Milestone::Writable { client, gap_ms });
                }
                facts.acknowledged.insert(row);
                facts.last = Some(at);
                facts.writes = true;
            }
            Err(_) => {
                if facts.writes {
                    let why = said.trim_start_matches("! ").to_owned();
                    live.note(at, &self.name, Milestone::NotWritable { client, why });
                }
                facts.writes = false;
            }
        }
    }

    fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it: hears what it says of this moment, counts the acknowledged rows that the primary does not have,
    /// and stops it; what it knows stays.
    pub(crate) async fn finish(&self, live: &Live) {
        if self.facts().ended.is_some() {
            return;
        }
        let end = live.now();
        // Its word about this moment comes a little later. If none comes, its gap is open.
        while self.facts().heard.is_none_or(|heard| heard < end) && live.now() - end < self.silent()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.facts().ended = Some(end);
        let counting = tokio::time::Instant::now();
        loop {
            match self.count_lost(live).await {
                Ok(lost) => {
                    self.facts().lost = Some(lost);
                    break;
                }
                Err(error) if counting.elapsed() > COUNTING => {
                    let text = format!("its rows could not be counted: {error:#}");
                    live.note(live.now(), &self.name, Milestone::Note { text });
                    break;
                }
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
        pods::stop(&live.client, &self.namespace, &self.pod()).await;
    }

    fn silent(&self) -> Span {
        SILENT + self.every
    }

    /// How many acknowledged rows the present primary does not have.
    async fn count_lost(&self, live: &Live) -> anyhow::Result<u64> {
        let script = format!("timeout 10 psql -X -q -A -t -c 'select n from {}'\n", self.table());
        // What is acknowledged by now must be there; later rows are not asked for.
        let known = self.facts().acknowledged.clone();
        if known.is_empty() {
            return Ok(0);
        }
        let target = (self.namespace.as_str(), &*self.pod());
        let said = pods::sh(&live.client, target, &script, STATEMENT).await?;
        anyhow::ensure!(said.ok, "{}", said.err.trim());
        Ok(missing(&known, &said.out))
    }

    /// What it knows now. Rows are counted at its end alone.
    pub(crate) fn knows(&self, now: Time) -> ClientFacts {
        let facts = self.facts();
        ClientFacts {
            acknowledged: facts.acknowledged.len() as u64,
            lost_rows: facts.lost.unwrap_or(0),
            longest_gap: facts.gap.max(facts.open_gap(now, self.silent())),
            writes: facts.writes && now - facts.last.unwrap_or(now) < Span::s(6),
        }
    }

    /// What is to be said of it when it has ended.
    pub(crate) fn account(&self, now: Time) -> Account {
        let facts = self.facts();
        let open = facts.open_gap(now, self.silent());
        Account { longest_gap: facts.gap.max(open), lost_rows: facts.lost }
    }
}

impl Facts {
    /// For how long no row has been acknowledged. Silence after an acknowledged row is no outage until it has
    /// lasted: a line takes a moment to come here. A client that died is silent for ever.
    fn open_gap(&self, now: Time, silent: Span) -> Span {
        let end = self.ended.unwrap_or(now);
        let open = self.last.or(self.began).map_or(Span::ZERO, |since| end - since);
        let speaks = self.heard.is_some_and(|heard| now - heard < silent || heard >= end);
        if self.writes && speaks { Span::ZERO } else { open }
    }
}

/// A client's table. Neither SQL nor a shell sees anything to quote in its name.
fn table(client: &str) -> String {
    format!("e2e.{}", client.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
}

/// How many of these rows psql did not print.
fn missing(known: &BTreeSet<u64>, printed: &str) -> u64 {
    let present: BTreeSet<u64> = printed.lines().filter_map(|l| l.trim().parse().ok()).collect();
    known.difference(&present).count() as u64
}

/// The cluster of a user's Secret, by the Secret's name.
fn cluster_of(secret: &str) -> anyhow::Result<String> {
    let (cluster, _) = secret
        .split_once("-pguser-")
        .ok_or_else(|| anyhow::anyhow!("Secret {secret} is no user's"))?;
    Ok(cluster.to_owned())
}

/// Runs a statement by hand, and says what is wrong with the answer.
///
/// # Errors
/// A sentence: what psql said, or how the answer differs.
pub(crate) async fn by_hand(
    live: &Live,
    (namespace, secret): (&str, &str),
    ask: &SqlAsk,
    image: &str,
) -> Result<(), String> {
    let text = |e: anyhow::Error| format!("{e:#}");
    let running = Ref { kind: Kind::Pod, namespace: namespace.into(), name: HAND.into() };
    if live.get(&running).is_none() {
        let pod = pods::harmless(namespace, HAND, image, &["sleep", "1000000"]);
        pods::start(&live.client, pod).await.map_err(text)?;
    }
    let connect = connection(live, namespace, secret, ask.replicas)?;
    let statement = match ask.what {
        SqlWhat::Insert(rows) => {
            let create =
                "create schema if not exists e2e; create table if not exists e2e.hand (n bigint);";
            let insert =
                "insert into e2e.hand values (1);".repeat(usize::try_from(rows).unwrap_or(0));
            format!("{create}{insert}")
        }
        SqlWhat::Rows(_) => "select count(*) from e2e.hand".to_owned(),
        SqlWhat::ReadOnly(_) => "show transaction_read_only".to_owned(),
    };
    let script = format!(
        "{connect}timeout 10 psql -X -q -A -t -v ON_ERROR_STOP=1 <<'END'\n{statement}\nEND\n"
    );
    let said = pods::sh(&live.client, (namespace, HAND), &script, STATEMENT).await.map_err(text)?;
    if !said.ok {
        return Err(said.err.lines().next().unwrap_or("psql failed").to_owned());
    }
    let out = said.out.trim();
    let wanted = match ask.what {
        SqlWhat::Insert(_) => return Ok(()),
        SqlWhat::Rows(rows) => rows.to_string(),
        SqlWhat::ReadOnly(wanted) => if wanted { "on" } else { "off" }.to_owned(),
    };
    match out == wanted {
        true => Ok(()),
        false => Err(format!("`{statement}` answers {out}, not {wanted}")),
    }
}

/// The lines of shell that tell psql where to go and who asks. They go over standard input, so that no
/// password stands in a command line.
fn connection(
    live: &Live,
    namespace: &str,
    secret: &str,
    replicas: bool,
) -> Result<String, String> {
    let cluster = cluster_of(secret).map_err(|e| e.to_string())?;
    let read = |name: &str, key: &str| -> Result<String, String> {
        let r = Ref { kind: Kind::Secret, namespace: namespace.into(), name: name.into() };
        let secret = live.get(&r).ok_or_else(|| format!("there is no Secret {name}"))?;
        let value = secret.data(key).ok_or_else(|| format!("Secret {name} lacks {key}"))?;
        Ok(value.expose_text().ok_or_else(|| format!("{key} of {name} is no text"))?.to_owned())
    };
    let host = match replicas {
        true => format!("{}.{namespace}.svc", names::replica_service(&cluster)),
        false => read(secret, "host")?,
    };
    let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut lines = String::new();
    let mut set = |name: &str, value: &str| {
        lines.push_str(&format!("export {name}={}\n", quote(value)));
    };
    set("PGHOST", &host);
    for (name, key) in [
        ("PGPORT", "port"),
        ("PGUSER", "user"),
        ("PGPASSWORD", "password"),
        ("PGDATABASE", "dbname"),
    ] {
        set(name, &read(secret, key)?);
    }
    set("PGSSLMODE", "verify-full");
    set("PGSSLROOTCERT", "/tmp/roots.crt");
    set("PGCONNECT_TIMEOUT", "5");
    let (roots, key) = roots_of(live, namespace, &cluster);
    let roots = read(&roots, &key)?;
    lines.push_str(&format!("cat > /tmp/roots.crt <<'END'\n{}\nEND\n", roots.trim_end()));
    Ok(lines)
}

/// The Secret with the authorities that clients of a cluster trust, and its key.
fn roots_of(live: &Live, namespace: &str, cluster: &str) -> (String, String) {
    let of = Ref { kind: Kind::IvoryCluster, namespace: namespace.into(), name: cluster.into() };
    roots(live.get(&of).as_deref(), cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Time {
        Time::START + Span::s(s)
    }

    /// The open gap at second 100 of a client whose last row was acknowledged at `last`, and that spoke at `heard`.
    fn check(last: i64, heard: i64, writes: bool, ended: Option<i64>, gap_s: i64) {
        let facts = Facts {
            began: Some(at(0)),
            last: Some(at(last)),
            heard: Some(at(heard)),
            ended: ended.map(at),
            writes,
            ..Facts::default()
        };
        assert_eq!(facts.open_gap(at(100), Span::s(12)), Span::s(gap_s), "{last} {heard} {writes}");
    }

    #[test]
    fn a_client_that_fell_silent_has_an_open_gap() {
        check(99, 99, true, None, 0);
        check(95, 95, true, None, 0);
        check(60, 60, true, None, 40);
        check(60, 99, false, None, 40);
        check(60, 99, false, Some(90), 30);
        check(70, 70, true, Some(80), 10);
        check(81, 81, true, Some(80), 0);
    }

    #[test]
    fn a_clients_name_needs_no_quotes_as_a_table() {
        assert_eq!(table("rhino-app"), "e2e.rhino_app");
    }

    #[test]
    fn a_row_that_was_not_printed_is_lost() {
        let known: BTreeSet<u64> = [1, 2, 3].into();
        assert_eq!(missing(&known, "1\n 2\n3\n4\n"), 0);
        assert_eq!(missing(&known, "1\n3\n"), 1);
        assert_eq!(missing(&known, ""), 3);
    }
}
