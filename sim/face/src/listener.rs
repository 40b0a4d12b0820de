//! The face that any program can be pointed at: HTTP/1.1 over TLS on an address of this machine, bearer tokens, and
//! a switch with which it is out of reach.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::body::{Body, to_bytes};
use http::{Request as HttpRequest, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ivory_core::Sensitive;
use ivory_sim::kube::Status;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::server::{Answer, Caller, Server, refused, text};
use crate::tls::Identity;
use crate::tokens::Holder;
use crate::wire::BODY_MAX_BYTES;

/// Whether clients reach the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// They do.
    Open,
    /// Nobody listens; what was connected is cut off.
    Refused,
}

/// A server that listens. It stops when this is dropped.
pub struct Face {
    /// What it serves.
    pub server: Server,
    address: SocketAddr,
    identity: Identity,
    reach: watch::Sender<Reach>,
    task: tokio::task::JoinHandle<()>,
}

impl Face {
    /// Listens at an address of this machine; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address is not to be had.
    pub async fn listen(server: Server, address: SocketAddr) -> anyhow::Result<Self> {
        // Clients compare the certificate with the clock on the wall, whatever time it is in the world.
        #[allow(clippy::disallowed_methods, reason = "as said")]
        let identity = Identity::fresh(jiff::Timestamp::now())?;
        let acceptor = TlsAcceptor::from(identity.config()?);
        let listener = bind(address).await?;
        let address = listener.local_addr()?;
        let (reach, reached) = watch::channel(Reach::Open);
        let task = tokio::spawn(accept(listener, address, acceptor, server.clone(), reached));
        Ok(Self { server, address, identity, reach, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of the authority that its own is issued by, PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.identity.authority
    }

    /// Makes it reachable or not.
    pub fn reach(&self, reach: Reach) {
        self.reach.send_replace(reach);
    }

    /// A token for somebody.
    ///
    /// # Errors
    /// If the account or the Pod is not there.
    pub fn token(&self, holder: Holder) -> anyhow::Result<Sensitive> {
        let server = &self.server;
        server.living.with(|world, kube| server.tokens.issue(&world.kube(kube).api, holder))
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listen at {address}"))
}

async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    server: Server,
    mut reached: watch::Receiver<Reach>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let Some(open) = &listener else {
            if reached.wait_for(|r| *r == Reach::Open).await.is_err() {
                return;
            }
            // Whoever took the port meanwhile will leave it again, or the clients will say that nobody is there.
            listener = bind(address).await.ok();
            if listener.is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            continue;
        };
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(converse(stream, acceptor.clone(), server.clone()));
                }
            }
            changed = reached.changed() => {
                if changed.is_err() {
                    return;
                }
                if *reached.borrow() == Reach::Refused {
                    listener = None;
                    connections.abort_all();
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, acceptor: TlsAcceptor, server: Server) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(|request| answer(&server, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A connection that breaks is its client's matter.
    let _ = connection.await;
}

async fn answer(server: &Server, request: HttpRequest<Incoming>) -> Answer {
    let authorization = text(request.headers(), header::AUTHORIZATION.as_str());
    let holder = server
        .living
        .with(|world, kube| server.tokens.holder(&world.kube(kube).api, authorization));
    let public = ["/healthz", "/livez", "/readyz", "/version"].contains(&request.uri().path());
    let holder = match holder {
        Some(holder) => holder,
        None if public => Holder::Admin,
        None => return Ok(refused(&Status::unauthorized())),
    };
    let caller = Caller::of(holder, request.headers());
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(header::AUTHORIZATION);
    let body = to_bytes(Body::new(body), BODY_MAX_BYTES).await?;
    server.answer(&caller, HttpRequest::from_parts(parts, body)).await
}
