//! A client in the same process: real HTTP, its bytes going through memory. Each request has a connection of its own,
//! so that one which is given up, or broken by a fault, takes nothing else with it.

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::{client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use tower::Service;

use crate::server::{Answer, BoxError, Caller, Server};
use crate::wire::BODY_MAX_BYTES;

/// How much is under way in one direction at most.
const PIPE_BYTES: usize = 64 << 10;

/// The service that a client of a server in the same process is made of. Commands in containers, which turn the
/// connection into a WebSocket, go through it too.
pub fn pipe<B>(
    server: Server,
    caller: Caller,
) -> impl Service<
    Request<B>,
    Response = Response<Incoming>,
    Error = BoxError,
    Future = BoxFuture<'static, Result<Response<Incoming>, BoxError>>,
> + Clone
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    tower::service_fn(move |request| {
        let (server, caller) = (server.clone(), caller.clone());
        let asked: BoxFuture<'static, _> = Box::pin(ask(server, caller, request));
        asked
    })
}

async fn ask<B>(
    server: Server,
    caller: Caller,
    request: Request<B>,
) -> Result<Response<Incoming>, BoxError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let service = service_fn(move |request| answer(server.clone(), caller.clone(), request));
    tokio::spawn(
        server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(far), service)
            .with_upgrades(),
    );
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(near)).await?;
    tokio::spawn(connection.with_upgrades());
    // A stream of changes may be all that holds the connection, which ends with it.
    Ok(sender.send_request(request.map(Box::pin)).await?)
}

async fn answer(server: Server, caller: Caller, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let body = to_bytes(Body::new(body), BODY_MAX_BYTES).await?;
    server.answer(&caller, Request::from_parts(parts, body)).await
}
