//! The operator under many clusters on an API server without nodes. A ghost plays what is missing there
//! (controllers, kubelets, Patroni), and a proxy between operator and API server counts what is asked, and
//! answers commands in containers that nobody runs. The operator is a process like any other: another one can
//! be measured by the same yardstick.

mod ghost;
mod load;
mod process;
mod proxy;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use ghost::Ghost;
use process::Process;
use proxy::{Counts, Proxy};

/// The operator under many clusters on the API server that KUBECONFIG names, which needs no nodes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many clusters
    #[arg(long, short = 'n', default_value_t = 1)]
    clusters: u32,
    /// How many instances each has
    #[arg(long, default_value_t = 1)]
    instances: u32,
    /// The command line that starts the operator; KUBECONFIG is set for it
    #[arg(long, default_value = "ivory-operator")]
    operator: String,
    /// How long the steady state is looked at, as 90s or 10m
    #[arg(long = "for", default_value = "10m", value_parser = span)]
    span: Duration,
    /// How long all may take to become ready
    #[arg(long, default_value = "30m", value_parser = span)]
    within: Duration,
    /// The namespace for the clusters; made, and left behind. What stands there is used if it fits
    #[arg(long, default_value = "scale")]
    namespace: String,
    /// Over how many namespaces they are spread: NAMESPACE-0 and so on. Those of one namespace share an authority
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    namespaces: u32,
    /// The conditions by which the operator says that a cluster is ready; another one may have others
    #[arg(long, value_delimiter = ',', default_value = "Ready,Reconciled,PGBackRestReplicaCreate")]
    ready: Vec<String>,
    /// Where the operator serves /readyz over plain HTTP
    #[arg(long, default_value = "127.0.0.1:8081")]
    readyz: String,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// The goals for any number of clusters up to a thousand.
const RSS_MAX_MIB: f64 = 150.0;
const CPU_MAX_PERCENT: f64 = 5.0;
const READY_MAX_S: f64 = 1.0;
/// The operator is left alone for so long before its steady state is looked at.
const CALM: Duration = Duration::from_secs(30);
/// After a restart it is done when it asked nothing for so long, beside its lease.
const SILENCE: Duration = Duration::from_secs(15);

/// What was measured.
#[derive(Serialize)]
struct Figures {
    clusters: u32,
    instances: u32,
    namespaces: u32,
    start: Phase,
    steady: Phase,
    /// From the start of a second process, with everything there, until it is silent.
    restart: Phase,
}

impl Args {
    /// The namespace of a cluster.
    fn namespace_of(&self, number: u32) -> String {
        match self.namespaces {
            1 => self.namespace.clone(),
            all => format!("{}-{}", self.namespace, number % all),
        }
    }
}

/// What was measured of one stretch of time.
#[derive(Serialize)]
struct Phase {
    seconds: f64,
    /// From the start of the process until /readyz said so, if it was started then and did.
    operator_ready_s: Option<f64>,
    requests_per_minute: f64,
    /// Requests that change something, without the Lease and Events.
    writes: u64,
    events: u64,
    watch_events_per_second: f64,
    commands_per_hour: f64,
    cpu_seconds: f64,
    cpu_percent: f64,
    rss_mib: f64,
    rss_peak_mib: f64,
}

/// Runs it; the exit status says whether all held.
///
/// # Errors
/// When it could not be run at all.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(args))
}

async fn measure(args: &Args) -> anyhow::Result<ExitCode> {
    let mut config = kube::Config::infer().await.context("no KUBECONFIG")?;
    config.default_retry = false;
    let client = kube::Client::try_from(config)?;
    load::install(&client, args).await?;
    let ghost = Arc::new(Ghost::new(client.clone(), args.ready.clone()));
    ghost.haunt();
    load::create(&client, args).await?;
    eprintln!("{} clusters are there; the operator starts", args.clusters);

    let proxy = Proxy::start(client, ghost.clone()).await?;
    let (mut operator, operator_ready) = start(args, &proxy)?;
    let before = Sample::take(&proxy, &operator)?;
    let goal = args.clusters as usize;
    let mut told = Instant::now();
    while ghost.ready() < goal {
        operator.check()?;
        let waited = before.at.elapsed();
        anyhow::ensure!(waited < args.within, "only {} of {goal} became ready", ghost.ready());
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            eprintln!("{:4.0} s: {} ready", waited.as_secs_f64(), ghost.ready());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ready = Sample::take(&proxy, &operator)?;
    let mut start = Phase::between(&before, &ready);
    start.operator_ready_s = operator_ready.await?;
    eprintln!("all ready after {:.1} s", start.seconds);
    tokio::time::sleep(CALM).await;
    let calm = Sample::take(&proxy, &operator)?;
    tokio::time::sleep(args.span).await;
    operator.check()?;
    let steady = Phase::between(&calm, &Sample::take(&proxy, &operator)?);
    drop(operator);
    let restart = restart(args, &proxy).await?;
    let (clusters, instances, namespaces) = (args.clusters, args.instances, args.namespaces);
    let figures = Figures { clusters, instances, namespaces, start, steady, restart };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print(&figures, &proxy);
    }
    Ok(verdict(&figures))
}

/// Starts the operator where everything is there, and waits until it is done.
async fn restart(args: &Args, proxy: &Proxy) -> anyhow::Result<Phase> {
    let (mut operator, operator_ready) = start(args, proxy)?;
    let before = Sample::take(proxy, &operator)?;
    // It may wait for the lease of the first one, and asks next to nothing until then.
    let watches = || proxy.by_resource().get("watch ivoryclusters").copied();
    let watched = watches();
    let (mut last, mut since) = (before.counts.asked(), Instant::now());
    while since.elapsed() < SILENCE || watches() == watched {
        operator.check()?;
        anyhow::ensure!(before.at.elapsed() < args.within, "it is never done after a restart");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let asked = proxy.counts().asked();
        if asked != last {
            (last, since) = (asked, Instant::now());
        }
    }
    let mut phase = Phase::between(&before, &Sample::take(proxy, &operator)?);
    phase.operator_ready_s = operator_ready.await?;
    Ok(phase)
}

/// Starts the operator, and counts the seconds until it says that it is ready.
fn start(args: &Args, proxy: &Proxy) -> anyhow::Result<(Process, JoinHandle<Option<f64>>)> {
    let operator = Process::start(&args.operator, proxy.kubeconfig())?;
    Ok((operator, tokio::spawn(until_ready(args.readyz.clone(), args.within))))
}

/// Seconds until the operator that was just started says that it is ready.
async fn until_ready(address: String, within: Duration) -> Option<f64> {
    let begin = Instant::now();
    while begin.elapsed() < within {
        if says_ready(&address).await.unwrap_or(false) {
            return Some(begin.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    None
}

async fn says_ready(address: &str) -> std::io::Result<bool> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split_whitespace().nth(1) == Some("200"))
}

fn print(figures: &Figures, proxy: &Proxy) {
    let Figures { clusters, instances, namespaces, .. } = figures;
    println!("{clusters} clusters of {instances} instances in {namespaces} namespaces");
    println!("{:<28}{:>14}{:>14}{:>14}", "", "until ready", "steady state", "restart");
    let line = |what: &str, of: fn(&Phase) -> f64| {
        let [a, b, c] = [&figures.start, &figures.steady, &figures.restart].map(of);
        println!("{what:<28}{a:>14.1}{b:>14.1}{c:>14.1}");
    };
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    {
        line("seconds", |p| p.seconds);
        line("/readyz after, seconds", |p| p.operator_ready_s.unwrap_or(f64::NAN));
        line("requests a minute", |p| p.requests_per_minute);
        line("writes", |p| p.writes as f64);
        line("Events written", |p| p.events as f64);
        line("watch events a second", |p| p.watch_events_per_second);
        line("commands an hour", |p| p.commands_per_hour);
        line("CPU seconds", |p| p.cpu_seconds);
        line("CPU, percent of a core", |p| p.cpu_percent);
        line("RSS, MiB", |p| p.rss_mib);
        line("RSS at its peak, MiB", |p| p.rss_peak_mib);
    }
    println!("requests in all:");
    for (what, count) in proxy.by_resource() {
        println!("{count:>9}  {what}");
    }
}

fn verdict(figures: &Figures) -> ExitCode {
    let (steady, restart) = (&figures.steady, &figures.restart);
    let one_is_slow =
        |p: &Phase| figures.clusters == 1 && p.operator_ready_s.is_none_or(|s| s > READY_MAX_S);
    let wrong = [
        (
            [&figures.start, restart].into_iter().any(one_is_slow),
            format!("more than {READY_MAX_S} s from the operator's start until it is ready"),
        ),
        (restart.writes > 0, format!("{} writes after a restart", restart.writes)),
        (
            restart.rss_peak_mib > RSS_MAX_MIB,
            format!("more than {RSS_MAX_MIB} MiB after a restart"),
        ),
        (steady.writes > 0, format!("{} writes although nothing changed", steady.writes)),
        (steady.rss_mib > RSS_MAX_MIB, format!("more than {RSS_MAX_MIB} MiB")),
        (steady.cpu_percent > CPU_MAX_PERCENT, format!("more than {CPU_MAX_PERCENT} % of a core")),
    ];
    let mut code = ExitCode::SUCCESS;
    for (_, text) in wrong.iter().filter(|(wrong, _)| *wrong) {
        eprintln!("missed: {text}");
        code = ExitCode::FAILURE;
    }
    code
}

/// The state of all counters at a moment.
struct Sample {
    at: Instant,
    counts: Counts,
    cpu_seconds: f64,
    rss_mib: f64,
    rss_peak_mib: f64,
}

impl Sample {
    fn take(proxy: &Proxy, operator: &Process) -> anyhow::Result<Self> {
        let (rss_mib, rss_peak_mib) = operator.rss_mib()?;
        let cpu_seconds = operator.cpu_seconds()?;
        Ok(Self { at: Instant::now(), counts: proxy.counts(), cpu_seconds, rss_mib, rss_peak_mib })
    }
}

impl Phase {
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    fn between(a: &Sample, b: &Sample) -> Self {
        let seconds = (b.at - a.at).as_secs_f64();
        let per = |n: u64, span: f64| n as f64 * span / seconds;
        let cpu_seconds = b.cpu_seconds - a.cpu_seconds;
        Self {
            seconds,
            operator_ready_s: None,
            requests_per_minute: per(b.counts.requests - a.counts.requests, 60.0),
            writes: b.counts.writes - a.counts.writes,
            events: b.counts.events - a.counts.events,
            watch_events_per_second: per(b.counts.watch_events - a.counts.watch_events, 1.0),
            commands_per_hour: per(b.counts.commands - a.counts.commands, 3600.0),
            cpu_seconds,
            cpu_percent: cpu_seconds / seconds * 100.0,
            rss_mib: b.rss_mib,
            rss_peak_mib: b.rss_peak_mib,
        }
    }
}

fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "not a span like 90s or 10m".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        _ => Err(wrong()),
    }
}
