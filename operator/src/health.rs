//! `/healthz`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::metrics::Metrics;

/// A loop that did not come round for so long hangs, and only a restart helps.
const BEAT_MAX: Duration = Duration::from_secs(60);

/// Whether the process lives and is ready.
#[derive(Default)]
pub struct Health {
    ready: AtomicBool,
    /// When the loop last came round; none while there is none.
    beat: Mutex<Option<Instant>>,
}

impl Health {
    /// The loop came round.
    pub fn beat(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// There is no loop any more.
    pub fn rest(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether it could do its work: a replica that waits for the lease could.
    pub fn ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Whether the loop comes round, if there is one.
    #[must_use]
    pub fn lives(&self) -> bool {
        let beat = *self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        beat.is_none_or(|beat| beat.elapsed() < BEAT_MAX)
    }
}

/// Serves both addresses from now on.
///
/// # Errors
/// When an address can't be listened on.
pub async fn serve(
    health_address: SocketAddr,
    metrics_address: SocketAddr,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
) -> anyhow::Result<()> {
    let answer = |good: bool| {
        if good { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "no\n") }
    };
    let (lives, ready) = (health.clone(), health);
    let probes = Router::new().route("/healthz", get(async move || answer(lives.lives()))).route(
        "/readyz",
        get(async move || answer(ready.ready.load(Ordering::Relaxed) && ready.lives())),
    );
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = async move || ([(CONTENT_TYPE, kind)], metrics.text());
    let metrics = Router::new().route("/metrics", get(text));
    for (address, router) in [(health_address, probes), (metrics_address, metrics)] {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("can't listen on {address}"))?;
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, %address, "no longer served");
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_noticed() {
        let health = Health::default();
        assert!(health.lives(), "a replica that waits has no loop");
        health.beat();
        assert!(health.lives());
        tokio::time::advance(BEAT_MAX).await;
        assert!(!health.lives());
        health.rest();
        assert!(health.lives());
    }
}
