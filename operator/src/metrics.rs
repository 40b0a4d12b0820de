//! What is counted, under names that follow the Prometheus conventions: `ivory_operator_…`, base units,
//! counters with `_total`.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use ivory_core::Kind;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    reconciles: Counters,
    durations: Histogram,
    writes: Counters,
    waits: Counters,
    requests: Counters,
    errors: Counters,
    watch_restarts: Counters,
    findings: Counter,
    queue: Gauge<i64, AtomicI64>,
    running: Gauge<i64, AtomicI64>,
    clusters: Gauge<i64, AtomicI64>,
    leader: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("ivory_operator");
        let r = &mut registry;
        let counters = |r: &mut Registry, name: &str, help: &str| {
            let family = Counters::default();
            r.register(name, help, family.clone());
            family
        };
        let gauge = |r: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::<i64, AtomicI64>::default();
            r.register(name, help, gauge.clone());
            gauge
        };
        let reconciles = counters(r, "reconciles", "Passes over a cluster, by result");
        let durations = Histogram::new(exponential_buckets(0.005, 2.5, 11));
        r.register("reconcile_duration_seconds", "How long passes took", durations.clone());
        let writes = counters(r, "writes", "Writes that succeeded, by kind and verb");
        let waits =
            counters(r, "waits", "Passes that ended waiting or blocked, by step and reason");
        let requests =
            counters(r, "api_requests", "Requests to the API server, watches and commands apart");
        let errors =
            counters(r, "api_errors", "Requests that failed, by verb, kind and status code");
        let watch_restarts = counters(r, "watch_errors", "Watches that failed and began again");
        let findings = Counter::default();
        r.register("refused_plans", "Plans that the checker refused", findings.clone());
        let queue = gauge(r, "queue_length", "Clusters that are due and wait for their turn");
        let running = gauge(r, "reconciles_running", "Passes under way");
        let clusters = gauge(r, "clusters", "Clusters that are looked after");
        let leader = gauge(r, "leader", "1 while this replica acts");
        Self {
            registry,
            reconciles,
            durations,
            writes,
            waits,
            requests,
            errors,
            watch_restarts,
            findings,
            queue,
            running,
            clusters,
            leader,
        }
    }

    /// The text of `/metrics`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// A pass ended.
    pub fn pass(&self, result: &'static str, took: Duration) {
        let labels = vec![("result", result.to_owned())];
        self.reconciles.get_or_create(&labels).inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// A write succeeded.
    pub fn wrote(&self, kind: Kind, verb: &'static str) {
        let labels = vec![("kind", kind.to_string()), ("verb", verb.to_owned())];
        self.writes.get_or_create(&labels).inc();
    }

    /// A pass ended waiting for something.
    pub fn waits(&self, step: String, reason: &'static str) {
        let labels = vec![("step", step), ("reason", reason.to_owned())];
        self.waits.get_or_create(&labels).inc();
    }

    /// A request was sent.
    pub fn api_request(&self, verb: &'static str, kind: Kind) {
        let labels = vec![("verb", verb.to_owned()), ("kind", kind.to_string())];
        self.requests.get_or_create(&labels).inc();
    }

    /// A request failed.
    pub fn api_error(&self, verb: &'static str, kind: Kind, code: &str) {
        let labels =
            vec![("verb", verb.to_owned()), ("kind", kind.to_string()), ("code", code.to_owned())];
        self.errors.get_or_create(&labels).inc();
    }

    /// A watch failed.
    pub fn watch_failed(&self, kind: Kind) {
        let labels = vec![("kind", kind.to_string())];
        self.watch_restarts.get_or_create(&labels).inc();
    }

    /// A plan was refused.
    pub fn refused(&self) {
        self.findings.inc();
    }

    /// How many clusters are known, wait, and are worked on.
    pub fn load(&self, clusters: usize, waiting: usize, running: usize) {
        let to = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.clusters.set(to(clusters));
        self.queue.set(to(waiting));
        self.running.set(to(running));
    }

    /// Whether this replica acts.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let metrics = Metrics::new();
        metrics.wrote(Kind::Service, "apply");
        metrics.pass("in_sync", Duration::from_millis(7));
        metrics.leads(true);
        let text = metrics.text();
        for line in [
            "ivory_operator_writes_total{kind=\"Service\",verb=\"apply\"} 1",
            "ivory_operator_reconciles_total{result=\"in_sync\"} 1",
            "ivory_operator_reconcile_duration_seconds_count 1",
            "ivory_operator_leader 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
