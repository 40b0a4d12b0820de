//! The side of the real API server: requests as HTTP, with a kube client's credentials and nothing else of it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use http::Request;
use ivory_core::Kind;
use kube::client::Body;
use serde_json::{Value, json};

use super::AGENT;
use super::ask::{Ask, Memory, Raw};
use super::script::Verb;

/// How long a watch is read, in seconds.
const WATCH_S: u32 = 1;
/// The same where a bookmark may come: the server sends its last some two seconds before the end.
const WATCH_BOOKMARKS_S: u32 = 4;
/// A continue token of the first revision that there was, which is compacted away after some minutes.
const TOO_OLD: &str = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhXHUwMDAwIn0";

/// A connection to a real API server.
pub(crate) struct Real {
    client: kube::Client,
}

impl Real {
    /// Connects to the cluster that KUBECONFIG names.
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        if std::env::var_os("KUBECONFIG").is_none() {
            bail!(
                "KUBECONFIG must name a cluster for tests: this makes and deletes namespaces and definitions"
            );
        }
        let mut config = kube::Config::infer().await.context("KUBECONFIG")?;
        // A refusal is an answer, here: 429 and its like are not asked again.
        config.default_retry = false;
        Ok(Self { client: kube::Client::try_from(config).context("KUBECONFIG")? })
    }

    /// The server's version, for example `v1.34.4`.
    pub(crate) async fn version(&self) -> anyhow::Result<String> {
        let raw = self.send("GET", "/version", "", &Value::Null).await?;
        Ok(raw.body["gitVersion"].as_str().unwrap_or_default().to_owned())
    }

    /// What the server says to a request.
    pub(crate) async fn answer(&self, ask: &Ask<'_>) -> anyhow::Result<Raw> {
        if ask.step.later {
            tokio::time::sleep(Duration::from_millis(2100)).await;
        }
        let (method, path, content, body) = http_of(ask);
        let mut raw = self.send(method, &path, content, &body).await?;
        if ask.continues.as_deref() == Some("too-old") {
            // The server compacts every five minutes, and this token is older than all of it.
            for minute in 0..12 {
                if raw.code == 410 {
                    break;
                }
                eprintln!("    the server is younger than its first compaction; minute {minute}");
                tokio::time::sleep(Duration::from_secs(60)).await;
                raw = self.send(method, &path, content, &body).await?;
            }
        }
        let writes = !matches!(ask.verb, Verb::Get | Verb::List | Verb::Watch | Verb::Table);
        if ask.kind == Kind::CustomResourceDefinition && writes && raw.code < 300 && !ask.step.dry {
            self.settle(&ask.name, ask.verb != Verb::Delete).await?;
        }
        Ok(raw)
    }

    /// Waits until a definition is served as it is written now, or is gone.
    pub(crate) async fn settle(&self, name: &str, there: bool) -> anyhow::Result<()> {
        let path = format!("{}/{name}", collection(Kind::CustomResourceDefinition, ""));
        for _ in 0..150 {
            let raw = self.send("GET", &path, "", &Value::Null).await?;
            let conditions = raw.body["status"]["conditions"].as_array();
            let established = conditions.is_some_and(|all| {
                all.iter().any(|c| c["type"] == "Established" && c["status"] == "True")
            });
            if (there && established) || (!there && raw.code == 404) {
                // Nothing tells when every handler has taken it in.
                tokio::time::sleep(Duration::from_millis(1500)).await;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("the definition {name} did not settle in 30 s")
    }

    /// Whether there is an object of a cluster-scoped kind.
    pub(crate) async fn exists(&self, kind: Kind, name: &str) -> anyhow::Result<bool> {
        let path = format!("{}/{name}", collection(kind, ""));
        Ok(self.send("GET", &path, "", &Value::Null).await?.code == 200)
    }

    /// Whether a namespace has a ServiceAccount of its own, as a controller manager gives it.
    pub(crate) async fn has_controllers(&self, namespace: &str) -> anyhow::Result<bool> {
        let path = format!("{}/default", collection(Kind::ServiceAccount, namespace));
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(self.send("GET", &path, "", &Value::Null).await?.code == 200)
    }

    /// Creates an object that no script asks for.
    pub(crate) async fn create(&self, kind: Kind, manifest: &Value) -> anyhow::Result<()> {
        let raw = self.send("POST", &collection(kind, ""), JSON, manifest).await?;
        match raw.code {
            201 => Ok(()),
            code => bail!("{kind}: {code} {}", raw.body["message"]),
        }
    }

    /// Removes what a script left, whatever finalizers are on it.
    pub(crate) async fn remove_all(&self, memory: &Memory) -> anyhow::Result<()> {
        for kind in Kind::ALL.iter().copied().filter(|kind| kind.namespaced()) {
            let list =
                self.send("GET", &collection(kind, &memory.namespace), "", &Value::Null).await?;
            for item in list.body["items"].as_array().into_iter().flatten() {
                let name = item["metadata"]["name"].as_str().unwrap_or_default();
                self.remove(kind, &memory.namespace, name).await?;
            }
        }
        for (kind, name) in memory.cluster_scoped() {
            self.remove(*kind, "", name).await?;
            if *kind == Kind::CustomResourceDefinition {
                self.settle(name, false).await?;
            }
        }
        self.remove(Kind::Namespace, "", &memory.namespace).await?;
        // Where no controller empties namespaces, nobody else lets them go.
        let path = format!("{}/{}/finalize", collection(Kind::Namespace, ""), memory.namespace);
        let meta = json!({"name": memory.namespace});
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta, "spec": {"finalizers": []}});
        self.send("PUT", &path, JSON, &body).await?;
        Ok(())
    }

    /// Removes an object, whatever finalizers are on it.
    pub(crate) async fn remove(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<()> {
        let path = format!("{}/{name}", collection(kind, namespace));
        let options = json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"});
        let raw = self.send("DELETE", &path, JSON, &options).await?;
        if raw.body["metadata"]["finalizers"].is_array() && kind != Kind::CustomResourceDefinition {
            let patch = json!({"metadata": {"finalizers": null}});
            self.send("PATCH", &path, MERGE, &patch).await?;
        }
        Ok(())
    }

    /// The version of a collection.
    pub(crate) async fn version_of(&self, kind: Kind, namespace: &str) -> anyhow::Result<u64> {
        let path = format!("{}?limit=1", collection(kind, namespace));
        let raw = self.send("GET", &path, "", &Value::Null).await?;
        let version = raw.body["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        version.parse().with_context(|| format!("{kind} can't be listed: {}", raw.body["message"]))
    }

    /// What a watch from a version on tells within its second.
    pub(crate) async fn changes(
        &self,
        kind: Kind,
        namespace: &str,
        from: u64,
    ) -> anyhow::Result<Vec<Value>> {
        let all = collection(kind, namespace);
        let path = format!("{all}?watch=true&timeoutSeconds={WATCH_S}&resourceVersion={from}");
        let raw = self.send("GET", &path, "", &Value::Null).await?;
        let events =
            raw.events.with_context(|| format!("{kind} can't be watched: {}", raw.body))?;
        match events.iter().find(|event| event["type"] == "ERROR") {
            Some(error) => bail!("{kind} can't be watched: {}", error["object"]["message"]),
            None => Ok(events),
        }
    }

    /// Changes the status of a cluster-scoped object.
    pub(crate) async fn merge_status(
        &self,
        kind: Kind,
        name: &str,
        patch: &Value,
    ) -> anyhow::Result<()> {
        let path = format!("{}/{name}/status", collection(kind, ""));
        let raw = self.send("PATCH", &path, MERGE, patch).await?;
        match raw.code {
            200 => Ok(()),
            code => bail!("{kind} {name}: {code} {}", raw.body["message"]),
        }
    }

    /// Renews a node's Lease, as its kubelet would. Gives the version that it has now.
    pub(crate) async fn renew(&self, node: &str) -> anyhow::Result<u64> {
        let name = format!("{}/{node}", collection(Kind::Lease, "kube-node-lease"));
        let path = format!("{name}?fieldManager={node}&force=true");
        let spec = json!({"holderIdentity": node, "leaseDurationSeconds": 40,
            "renewTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()});
        let lease = json!({"apiVersion": Kind::Lease.api_version(), "kind": "Lease", "metadata": {"name": node}, "spec": spec});
        let raw = self.send("PATCH", &path, "application/apply-patch+yaml", &lease).await?;
        let version = raw.body["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        version.parse().with_context(|| format!("the node's Lease: {}", raw.body["message"]))
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        content: &str,
        body: &Value,
    ) -> anyhow::Result<Raw> {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let accept = match path.contains("includeObject=None") {
            true => "application/json;as=Table;g=meta.k8s.io;v=v1",
            false => "application/json",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("accept", accept)
            .header("user-agent", AGENT);
        if !content.is_empty() {
            request = request.header("content-type", content);
        }
        let response = self.client.send(request.body(Body::from(bytes))?).await?;
        let code = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.filter_map(|w| warning(w.to_str().ok()?)).collect();
        let bytes = response.into_body().collect_bytes().await?;
        if path.contains("watch=true") && code == 200 {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let events = lines.map(serde_json::from_slice).collect::<Result<_, _>>()?;
            return Ok(Raw { code, warnings, body: Value::Null, events: Some(events) });
        }
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
        Ok(Raw { code, warnings, body, events: None })
    }
}

/// The text of `299 - "text"`.
fn warning(header: &str) -> Option<String> {
    let quoted = header.split_once(" \"")?.1.strip_suffix('"')?;
    Some(quoted.replace("\\\"", "\"").replace("\\\\", "\\"))
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

fn collection(kind: Kind, namespace: &str) -> String {
    let root = if kind.group().is_empty() { "api" } else { "apis" };
    let namespace = match namespace {
        "" => String::new(),
        namespace => format!("namespaces/{namespace}/"),
    };
    format!("/{root}/{}/{namespace}{}", kind.api_version(), kind.plural())
}

/// Method, path with parameters, content type and body of a request.
fn http_of(ask: &Ask<'_>) -> (&'static str, String, &'static str, Value) {
    let step = ask.step;
    let all = collection(ask.kind, &ask.namespace);
    let sub = step.sub.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
    let one = format!("{all}/{}{sub}", ask.name);
    let body = ask.body.clone();
    let patch = |content| ("PATCH", one.clone(), content, body.clone());
    let meta = json!({"name": ask.name, "namespace": ask.namespace});
    let (method, path, content, body) = match ask.verb {
        Verb::Create => ("POST", all, JSON, body),
        Verb::Update => ("PUT", one, JSON, body),
        Verb::Apply => patch("application/apply-patch+yaml"),
        Verb::Merge => patch(MERGE),
        Verb::Strategic => patch("application/strategic-merge-patch+json"),
        Verb::Json => patch("application/json-patch+json"),
        Verb::Get => ("GET", one, "", Value::Null),
        Verb::Delete => ("DELETE", one, JSON, body),
        Verb::DeleteAll => ("DELETE", all, JSON, body),
        Verb::List | Verb::Watch | Verb::Table => ("GET", all, "", Value::Null),
        Verb::Evict => {
            let mut eviction =
                json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta});
            eviction["deleteOptions"] = body;
            ("POST", format!("{one}/eviction"), JSON, eviction)
        }
        Verb::Bind => {
            let target = json!({"apiVersion": "v1", "kind": "Node", "name": step.node});
            let binding =
                json!({"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": target});
            ("POST", format!("{one}/binding"), JSON, binding)
        }
    };
    let query = query_of(ask);
    let path = if query.is_empty() { path } else { format!("{path}?{query}") };
    (method, path, content, body)
}

fn query_of(ask: &Ask<'_>) -> String {
    let step = ask.step;
    let mut all: Vec<(&str, String)> = Vec::new();
    let mut given = |key, value: &Option<String>| all.extend(value.clone().map(|v| (key, v)));
    given("fieldManager", &step.manager);
    given("fieldValidation", &step.unknown);
    given("labelSelector", &ask.labels);
    given("fieldSelector", &ask.fields);
    given("limit", &step.limit.map(|limit| limit.to_string()));
    given("resourceVersion", &ask.from);
    let token =
        ask.continues.as_ref().map(|t| if t == "too-old" { TOO_OLD.into() } else { t.clone() });
    given("continue", &token);
    let mut flag = |given: bool, key, value: &str| {
        if given {
            all.push((key, value.to_owned()));
        }
    };
    flag(step.force, "force", "true");
    flag(step.dry, "dryRun", "All");
    flag(ask.verb == Verb::Table, "includeObject", "None");
    if ask.verb == Verb::Watch {
        flag(true, "watch", "true");
        let long = step.bookmarks || step.initial;
        let seconds = if long { WATCH_BOOKMARKS_S } else { WATCH_S };
        flag(true, "timeoutSeconds", &seconds.to_string());
        flag(long, "allowWatchBookmarks", "true");
        flag(step.initial, "sendInitialEvents", "true");
        flag(step.initial, "resourceVersionMatch", "NotOlderThan");
    }
    let pairs: Vec<_> =
        all.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
    pairs.join("&")
}

fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let byte = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(byte).collect()
}
