//! Commands in containers, by WebSocket: `v5.channel.k8s.io`, as kube-rs, client-go and kubectl speak it. A container
//! of the simulation understands the commands that core renders; of an external Pod whoever runs it is asked.

use anyhow::Context as _;
use axum::body::Body;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use ivory_core::command::Command;
use ivory_core::hash::digest;
use ivory_core::read::{Output, Target};
use ivory_core::{Kind, Sensitive};
use ivory_sim::kube::Status;
use ivory_sim::time::Span;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::faults::Asked;
use crate::server::Server;

/// The protocols that are spoken, the better first; the older one can't end the standard input.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// As long as any command is given at most. Over HTTP nobody tells its deadline; who asks hangs up.
const DEADLINE: Span = Span::s(60);
/// The exit status of a shell for a command that there is not.
const NOT_FOUND: i32 = 127;

/// A command that somebody wants to be run in a container.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The Pod's namespace.
    pub namespace: String,
    /// The Pod's name.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Standard input, to its end; none if nothing is sent.
    pub stdin: Option<Sensitive>,
}

/// Runs commands in external Pods.
pub trait Outside: Send + Sync {
    /// Runs a command to its end; `None` if the Pod is none of its own.
    fn run(&self, asker: Asker) -> BoxFuture<'_, Option<Output>>;
}

/// Who runs one command, and keeps what came of it.
pub(crate) struct Runner {
    pub(crate) server: Server,
    /// As which it is kept; who asks is in it.
    pub(crate) asked: Asked,
    /// Whether the client never hears how it ended.
    pub(crate) lost: bool,
}

/// Answers a request to open the stream of a command, and converses on it when it is open.
///
/// # Errors
/// With the refusal, if the client does not ask for a WebSocket that is spoken here.
pub(crate) fn open(
    runner: Runner,
    asker: Asker,
    wants_stdin: bool,
    headers: &HeaderMap,
    upgrade: OnUpgrade,
) -> Result<Response<Body>, Status> {
    let bad = |message: &str| Status {
        code: 400,
        reason: "BadRequest",
        message: message.to_owned(),
        causes: Vec::new(),
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let key = text("sec-websocket-key").ok_or_else(|| bad("upgrade request required"))?;
    let asked = text("sec-websocket-protocol").unwrap_or_default();
    let spoken = |p: &&&str| asked.split(',').any(|word| word.trim() == **p);
    let protocol = PROTOCOLS.iter().find(spoken).ok_or_else(|| bad("no protocol in common"))?;
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        let done = async {
            let io = TokioIo::new(upgrade.await?);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
            converse(runner, socket, asker, wants_stdin).await
        };
        // A client that went away in the middle needs no answer.
        let _: anyhow::Result<()> = done.await;
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, *protocol)
        .body(Body::empty())
        .map_err(|error| bad(&error.to_string()))
}

/// The server's side of one command: its input to the end, then its output and how it ended.
async fn converse<S>(
    mut runner: Runner,
    mut socket: WebSocketStream<S>,
    mut asker: Asker,
    wants_stdin: bool,
) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if wants_stdin {
        let mut stdin = Vec::new();
        loop {
            match socket.next().await.context("the client went away")?? {
                Message::Binary(bytes) => match bytes.split_first() {
                    Some((0, text)) => stdin.extend_from_slice(text),
                    Some((255, [0])) => break,
                    _ => {}
                },
                Message::Close(_) => return Ok(()),
                _ => {}
            }
        }
        asker.stdin = Some(Sensitive::new(stdin));
    }
    let holder = runner.server.holder();
    let done = runner.run(asker).await;
    // A program of which nobody knows how it ended counts as one that failed.
    let code = if done.as_ref().is_ok_and(|(_, good)| *good) { 200 } else { 500 };
    let heard = Some(code).filter(|_| !runner.lost);
    runner.server.record(&runner.asked, heard, true, holder);
    if runner.lost {
        std::future::pending::<()>().await;
    }
    let (output, status) = match done {
        Ok((output, _)) => {
            let status = ended(output.exit);
            (Some(output), status)
        }
        Err(why) => (None, json!({"metadata": {}, "status": "Failure", "message": why})),
    };
    let mut frames = Vec::new();
    if let Some(output) = &output {
        frames.push((1u8, output.stdout.to_string()));
        frames.push((2, output.stderr.to_string()));
    }
    frames.push((3, status.to_string()));
    for (channel, text) in frames {
        let mut bytes = vec![channel];
        bytes.extend_from_slice(text.as_bytes());
        socket.send(Message::Binary(bytes.into())).await?;
    }
    socket.close(None).await?;
    Ok(())
}

impl Runner {
    /// Runs it to its end, and says whether it did its work.
    async fn run(&mut self, asker: Asker) -> Result<(Output, bool), String> {
        let Server { living, outside, .. } = &self.server;
        if let Some(outside) = outside
            && let Some(output) = outside.run(asker.clone()).await
        {
            let good = output.exit == 0;
            return Ok((output, good));
        }
        let pod = living.with(|world, kube| {
            world.kube(kube).api.get(Kind::Pod, &asker.namespace, &asker.pod).cloned()
        });
        let pod = pod.ok_or_else(|| format!("pods \"{}\" not found", asker.pod))?;
        let Some(command) = Command::parse(&asker.argv, asker.stdin.as_ref()) else {
            let stderr = "the simulation runs no commands but those of the operator\n".into();
            return Ok((Output { exit: NOT_FOUND, stdout: "".into(), stderr }, false));
        };
        let uid = pod.meta.uid.clone();
        self.asked.detail = format!("{uid} {}", fingerprint(&asker, &command));
        let Asker { namespace, pod, container, .. } = asker;
        let target = Target { namespace, pod, uid, container };
        let output = living.exec(&self.asked.by, &target, &command, DEADLINE).await;
        let output = output.map_err(|error| format!("{error:?}"))?;
        let good = command.outcome(&output).is_ok();
        Ok((output, good))
    }
}

/// Tells commands apart without their secrets: what it does, and a digest of all that was said.
fn fingerprint(asker: &Asker, command: &Command) -> String {
    let said = (&asker.argv, asker.stdin.as_ref().map(|text| digest(&text.expose())));
    format!("{} {:x}", command.label(), digest(&said))
}

/// The Status that ends a command's stream.
fn ended(exit: i32) -> Value {
    if exit == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {exit}"),
        "details": {"causes": [{"reason": "ExitCode", "message": exit.to_string()}]},
    })
}
