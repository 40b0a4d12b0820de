//! What the operator costs the API server while it has nothing to do: its own counters, read through the API
//! server from each of its Pods every few seconds.

use std::sync::Arc;
use std::time::Duration;

use ivory_core::Kind;
use ivory_sim::time::{Span, Time};

use super::live::Live;
use super::operator_log::OPERATOR;

/// How often the counters are read.
const EVERY: Duration = Duration::from_secs(5);
/// The counter's name, as the operator's metrics have it.
const COUNTER: &str = "ivory_operator_api_requests_total";

/// Reads the counters for as long as the process lives. A reading lacks nothing: where one Pod did not answer,
/// there is none.
pub(crate) async fn follow(live: Arc<Live>, namespace: String) {
    loop {
        if let Some(requests) = requests(&live, &namespace).await {
            live.counted(requests);
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn requests(live: &Live, namespace: &str) -> Option<u64> {
    let pods = live.list(Kind::Pod, Some(namespace));
    let mut sum = None;
    for pod in pods.iter().filter(|p| p.label(OPERATOR.0) == Some(OPERATOR.1)) {
        let path =
            format!("/api/v1/namespaces/{namespace}/pods/{}:8080/proxy/metrics", pod.meta.name);
        let request = http::Request::get(path).body(Vec::new()).ok()?;
        let text = live.client.request_text(request).await.ok()?;
        sum = Some(sum.unwrap_or(0) + total(&text));
    }
    sum
}

/// The counter's sum over all its labels but those of the lease: who leads is renewed however many clusters there are.
fn total(text: &str) -> u64 {
    let others = text.lines().filter(|line| !line.contains("kind=\"Lease\""));
    let value = |line: &str| line.strip_prefix(COUNTER)?.rsplit_once(' ')?.1.parse::<u64>().ok();
    others.filter_map(value).sum()
}

/// Requests a minute over the last `span` before a moment. None where the counters were not read twice then, or an
/// operator that began anew meanwhile began to count anew.
pub(crate) fn per_minute(readings: &[(Time, u64)], until: Time, span: Span) -> Option<f64> {
    let within: Vec<&(Time, u64)> =
        readings.iter().filter(|(at, _)| until - *at <= span && *at <= until).collect();
    let ((began, before), (ended, after)) = (within.first()?, within.last()?);
    let minutes = (*ended - *began).seconds() / 60.0;
    let more = u32::try_from(after.checked_sub(*before)?).ok()?;
    (minutes > 0.0).then(|| f64::from(more) / minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_summed_but_for_the_lease() {
        let text = "# TYPE ivory_operator_api_requests counter\n\
            ivory_operator_api_requests_total{verb=\"get\",kind=\"Pod\"} 12\n\
            ivory_operator_api_requests_total{verb=\"replace\",kind=\"Lease\"} 100\n\
            ivory_operator_api_requests_total{verb=\"apply\",kind=\"Secret\"} 30\n\
            ivory_operator_api_errors_total{verb=\"get\"} 7\n";
        assert_eq!(total(text), 42);
    }

    #[test]
    fn a_rate_is_that_of_the_time_asked_for() {
        let at = |s: i64| Time::START + Span::s(s);
        let readings = [(at(0), 0), (at(100), 50), (at(110), 51), (at(130), 53)];
        let rate = |until, span| per_minute(&readings, at(until), Span::s(span));
        assert_eq!(rate(131, 31), Some(6.0));
        assert_eq!(rate(111, 20), Some(6.0));
        assert_eq!(rate(131, 5), None);
        assert_eq!(per_minute(&[(at(0), 9), (at(60), 2)], at(60), Span::s(60)), None);
    }
}
