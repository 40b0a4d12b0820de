//! From the command line to the running process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::{HeaderValue, header::USER_AGENT};
use clap::Parser as _;
use ivory_core::context::Config;
use ivory_core::steps;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::api::ApiServer;
use crate::args::{Cli, Command, RunArgs, images};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::health::{self, Health};
use crate::lease::Lease;
use crate::metrics::Metrics;
use crate::run::{Setup, serve};
use crate::{environment, logging, manifests, rbac};

/// How this client names itself to the API server.
const AGENT: &str = concat!("ivory-operator/", env!("CARGO_PKG_VERSION"));

/// Does what the command line says.
///
/// # Errors
/// When the process can't start; once it runs, trouble is logged and waited out.
pub fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let args = match cli.command {
        Some(Command::Crd) => return print(&manifests::crds()?),
        Some(Command::Rbac) => return print(&rbac::all()),
        Some(Command::Manifests) => return print(&manifests::all()?),
        Some(Command::Run(args)) => *args,
        None => cli.run,
    };
    let go_debug = std::env::var("HIGHGO_DEBUG").is_ok_and(|v| v.eq_ignore_ascii_case("true"));
    logging::begin(args.log_format, args.debug || go_debug);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(run(args));
    // All that was to be finished is; a planner that hangs must not keep the process.
    runtime.shutdown_background();
    result
}

#[allow(clippy::unnecessary_wraps, reason = "the other arms fail")]
fn print(text: &str) -> anyhow::Result<()> {
    print!("{text}");
    Ok(())
}

async fn run(args: RunArgs) -> anyhow::Result<()> {
    let (stop_sender, stop) = watch::channel(false);
    tokio::spawn(signals(stop_sender)?);
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::default());
    health::serve(args.health_address, args.metrics_address, health.clone(), metrics.clone())
        .await?;

    let kube = client_config(&args).await?;
    let own_namespace = args.namespace.clone().unwrap_or_else(|| kube.default_namespace.clone());
    let client = kube::Client::try_from(kube).context("no client for the API server")?;
    let api = ApiServer::new(client.clone(), metrics.clone());
    let Some(openshift) = detect(&client, stop.clone()).await else {
        return Ok(());
    };
    let config = Config {
        images: images(std::env::vars()),
        openshift,
        domain: environment::domain(),
        gates: args.feature_gates.0.clone(),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespaces = args.namespaces().join(","),
        openshift,
        domain = config.domain,
        images = config.images.len(),
        "started"
    );
    let clock = Clock::system();
    let lease = (!args.lease_name.is_empty()).then(|| Lease {
        api: api.clone(),
        namespace: own_namespace,
        name: args.lease_name.clone(),
        identity: environment::identity(),
        clock: clock.clone(),
    });
    let setup = Setup {
        api,
        config,
        planner: steps::plan,
        clock,
        chance: Chance::system(),
        namespaces: args.namespaces(),
        workers: usize::from(args.workers),
        metrics,
        health,
        stop,
    };
    serve(setup, lease).await
}

async fn client_config(args: &RunArgs) -> anyhow::Result<kube::Config> {
    let mut config = match &args.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).context("no kubeconfig")?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .context("no kubeconfig")?
        }
        None => kube::Config::infer()
            .await
            .context("neither a kubeconfig nor a service account was found")?,
    };
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    // Whoever repeats a request must read first, so that is done where plans are made.
    config.default_retry = false;
    Ok(config)
}

/// Asks until the API server answers; none if the process is to stop before.
async fn detect(client: &kube::Client, mut stop: watch::Receiver<bool>) -> Option<bool> {
    loop {
        match environment::openshift(client).await {
            Ok(openshift) => return Some(openshift),
            Err(error) => {
                let error = crate::fault::Fault::of(error, Vec::new);
                tracing::warn!(%error, "the API server does not answer yet");
            }
        }
        tokio::select! {
            () = sleep(Duration::from_secs(2)) => {}
            _ = stop.wait_for(|stop| *stop) => return None,
        }
    }
}

/// SIGTERM and SIGINT end the process in order.
fn signals(stop: watch::Sender<bool>) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
        stop.send_replace(true);
        // Kept, so that nobody takes its end for a signal.
        std::future::pending::<()>().await;
    })
}
