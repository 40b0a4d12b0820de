//! A proxy in front of the API server: it passes on everything, counts it, and answers commands in containers
//! in the ghost's name. It speaks plain HTTP and lets in whoever reaches it, on this machine alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::ghost::Ghost;

/// Bodies of requests stay far below what the API server takes.
const BODY_MAX_BYTES: usize = 8 << 20;
/// The protocol of commands in containers; kube-rs and client-go both speak it.
const PROTOCOL: &str = "v5.channel.k8s.io";

/// What was counted so far.
#[derive(Clone, Default)]
pub(super) struct Counts {
    /// Requests, watches among them, without commands.
    pub(super) requests: u64,
    /// Those that change something: no reads, no Lease, no Events.
    pub(super) writes: u64,
    /// Events that were written.
    pub(super) events: u64,
    /// What watches told.
    pub(super) watch_events: u64,
    /// Commands in containers.
    pub(super) commands: u64,
    /// Those about the Lease, which a replica renews in any case.
    leases: u64,
    by_resource: BTreeMap<String, u64>,
}

impl Counts {
    /// What was asked, the Lease aside.
    pub(super) fn asked(&self) -> u64 {
        self.requests + self.commands - self.leases
    }
}

/// The proxy.
pub(super) struct Proxy {
    shared: Arc<Shared>,
    kubeconfig: PathBuf,
}

struct Shared {
    client: kube::Client,
    ghost: Arc<Ghost>,
    counts: Mutex<Counts>,
}

impl Proxy {
    /// Listens on a free port of this machine.
    pub(super) async fn start(client: kube::Client, ghost: Arc<Ghost>) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared { client, ghost, counts: Mutex::default() });
        let router = Router::new().fallback(pass_on).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let kubeconfig = std::env::temp_dir().join(format!("ivory-scale-{port}.json"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        });
        std::fs::write(&kubeconfig, config.to_string())
            .context("no kubeconfig could be written")?;
        Ok(Self { shared, kubeconfig })
    }

    /// The kubeconfig that leads here.
    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The counters now.
    pub(super) fn counts(&self) -> Counts {
        self.shared.counted(|c| c.clone())
    }

    /// Requests by verb and resource.
    pub(super) fn by_resource(&self) -> BTreeMap<String, u64> {
        self.counts().by_resource
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Nobody needs it any more.
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

impl Shared {
    fn counted<T>(&self, work: impl FnOnce(&mut Counts) -> T) -> T {
        work(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Answer = Result<Response<Body>, (StatusCode, String)>;

async fn pass_on(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let bad = |error: &dyn std::fmt::Display| (StatusCode::BAD_GATEWAY, error.to_string());
    let what = What::of(request.method(), request.uri());
    if what.resource == "pods/exec" {
        shared.counted(|c| c.commands += 1);
        return command(shared, request);
    }
    shared.counted(|c| {
        c.requests += 1;
        *c.by_resource.entry(format!("{} {}", what.verb, what.resource)).or_default() += 1;
        let reads = ["get", "list", "watch"].contains(&what.verb);
        match what.resource.as_str() {
            "events" if !reads => c.events += 1,
            "leases" => c.leases += 1,
            _ if !reads => c.writes += 1,
            _ => {}
        }
    });
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX_BYTES).await.map_err(|e| bad(&e))?;
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let mut onward = axum::http::Request::builder().method(parts.method).uri(path);
    for name in [header::ACCEPT, header::CONTENT_TYPE, header::USER_AGENT] {
        if let Some(value) = parts.headers.get(&name) {
            onward = onward.header(name, value);
        }
    }
    let onward = onward.body(kube::client::Body::from(body)).map_err(|e| bad(&e))?;
    let (mut parts, body) = shared.client.send(onward).await.map_err(|e| bad(&e))?.into_parts();
    // The length is that of the body as it is sent on.
    parts.headers.remove(header::TRANSFER_ENCODING);
    let body = Body::new(body);
    if what.verb != "watch" {
        return Ok(Response::from_parts(parts, body));
    }
    let told = body.into_data_stream().inspect(move |chunk| {
        let lines = chunk.iter().flatten().filter(|b| **b == b'\n').count();
        shared.counted(|c| c.watch_events += lines as u64);
    });
    Ok(Response::from_parts(parts, Body::from_stream(told)))
}

/// Verb and resource, as an authorizer names them.
struct What {
    verb: &'static str,
    resource: String,
}

impl What {
    fn of(method: &Method, uri: &Uri) -> Self {
        let mut parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let head = if parts.first() == Some(&"api") { 2 } else { 3 };
        parts.drain(..head.min(parts.len()));
        if parts.first() == Some(&"namespaces") && parts.len() > 2 {
            parts.drain(..2);
        }
        let resource = match parts[..] {
            [resource, _, below, ..] => format!("{resource}/{below}"),
            [resource, ..] => resource.to_owned(),
            [] => "(discovery)".to_owned(),
        };
        let watches =
            uri.query().is_some_and(|q| q.split('&').any(|p| p == "watch=true" || p == "watch=1"));
        let verb = match *method {
            Method::GET if watches => "watch",
            Method::GET if parts.len() > 1 => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        Self { verb, resource }
    }
}

fn command(shared: Arc<Shared>, mut request: Request) -> Answer {
    let bad = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned());
    let key = header_of(request.headers(), header::SEC_WEBSOCKET_KEY.as_str())
        .ok_or_else(|| bad("commands are answered over WebSockets alone"))?;
    // …/namespaces/NAMESPACE/pods/POD/exec
    let mut parts = request.uri().path().rsplit('/').map(str::to_owned);
    let (pod, namespace) = (parts.nth(1).unwrap_or_default(), parts.nth(1).unwrap_or_default());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let done = async {
            let io = TokioIo::new(upgrade.await?);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
            converse(&shared.ghost, socket, (&namespace, &pod), &query).await
        };
        if let Err(error) = done.await {
            eprintln!("a command in {pod}: {error:#}");
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
        .header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
        .body(Body::empty())
        .map_err(|e| bad(&e.to_string()))
}

fn header_of(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// The server's side of one command: its input to the end, then its output and how it ended.
async fn converse<S>(
    ghost: &Ghost,
    mut socket: WebSocketStream<S>,
    (namespace, pod): (&str, &str),
    query: &str,
) -> anyhow::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let pairs = || query.split('&').filter_map(|p| p.split_once('='));
    let argv: Vec<String> =
        pairs().filter(|(k, _)| *k == "command").map(|(_, v)| decoded(v)).collect();
    let mut stdin = Vec::new();
    if pairs().any(|(k, v)| k == "stdin" && v == "true") {
        while let Some(message) = socket.next().await {
            match message? {
                Message::Binary(bytes) => match bytes.split_first() {
                    Some((0, text)) => stdin.extend_from_slice(text),
                    // The input is closed.
                    Some((255, [0])) => break,
                    _ => {}
                },
                Message::Close(_) => return Ok(()),
                _ => {}
            }
        }
    }
    let said = ghost.execute((namespace, pod), &argv, stdin).await?;
    let status = json!({"metadata": {}, "status": "Success"}).to_string();
    for (channel, text) in [(1u8, said), (3, status)] {
        let mut bytes = vec![channel];
        bytes.extend_from_slice(text.as_bytes());
        socket.send(Message::Binary(bytes.into())).await?;
    }
    socket.close(None).await?;
    Ok(())
}

/// A value of a query, as a form encodes it.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut hex = || rest.next().and_then(|b| char::from(b).to_digit(16));
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (hex().unwrap_or(0), hex().unwrap_or(0));
                u8::try_from(high * 16 + low).unwrap_or(b'?')
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_as_in_rbac_rules() {
        for (method, uri, expected) in [
            (Method::GET, "/api/v1/namespaces/a/pods/x", "get pods"),
            (Method::GET, "/api/v1/pods?watch=true&limit=5", "watch pods"),
            (Method::GET, "/apis/apps/v1/namespaces/a/statefulsets?limit=50", "list statefulsets"),
            (
                Method::PATCH,
                "/apis/g/v1/namespaces/a/ivoryclusters/x/status",
                "patch ivoryclusters/status",
            ),
            (Method::POST, "/api/v1/namespaces/a/pods/x/exec?command=a", "create pods/exec"),
            (Method::GET, "/apis", "list (discovery)"),
        ] {
            let what = What::of(&method, &uri.parse().expect("a URI"));
            assert_eq!(format!("{} {}", what.verb, what.resource), expected);
        }
    }

    #[test]
    fn values_are_decoded() {
        assert_eq!(decoded("psql+-c+%27a%2Bb%27"), "psql -c 'a+b'");
    }
}
