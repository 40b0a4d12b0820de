//! Leadership among replicas, by a Lease: requests and clock here, decisions in core's `election`.

use std::sync::Arc;
use std::time::Duration;

use ivory_core::election::{Decision, Election, RETRY};
use ivory_core::read::Read;
use ivory_core::{Kind, Object};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::api::ApiServer;
use crate::clock::Clock;
use crate::fault::{Fault, FaultKind};
use crate::metrics::Metrics;

/// A renewal without an answer for so long is tried again, while there is still time.
const REQUEST_MAX: Duration = Duration::from_secs(3);

/// The Lease by which replicas agree.
pub struct Lease {
    /// The API server.
    pub api: ApiServer,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who this replica is.
    pub identity: String,
    /// The time that is written into it, for people.
    pub clock: Clock,
}

impl Lease {
    /// Stands for leadership until `finish`, and gives it up then. `leads` holds until when this replica
    /// may act.
    pub async fn campaign(
        self,
        leads: watch::Sender<Option<Instant>>,
        metrics: Arc<Metrics>,
        mut finish: watch::Receiver<bool>,
    ) {
        let start = Instant::now();
        let mut election = Election::new(&self.identity);
        let mut known: Option<Arc<Object>> = None;
        let mut led = false;
        while !*finish.borrow() {
            // A holder need not read what it wrote itself.
            let lease = match (&known, election.leads_until()) {
                (Some(lease), Some(_)) => Read::Known(lease.clone()),
                _ => self.read().await,
            };
            let sent = start.elapsed();
            let now = self.clock.now();
            let decision = election.decide(&self.namespace, &self.name, &lease, sent, now);
            let pause = match decision {
                Decision::Wait(pause) => pause,
                Decision::Create(_) | Decision::Replace(_) => match self.write(&decision).await {
                    Ok(written) => {
                        election.acknowledged(&written, sent);
                        known = Some(Arc::new(written));
                        Duration::ZERO
                    }
                    Err(fault) => {
                        // What is there now has to be read.
                        known = None;
                        if fault.kind != FaultKind::Conflict {
                            tracing::warn!(error = %fault, "the lease could not be written");
                        }
                        RETRY
                    }
                },
            };
            let until = election.leads_until().map(|until| start + until);
            leads.send_replace(until);
            let leading = until.is_some_and(|until| until > Instant::now());
            if leading != led {
                tracing::info!(leads = leading, identity = self.identity, "leadership");
                metrics.leads(leading);
                led = leading;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = finish.wait_for(|finish| *finish) => {}
            }
        }
        leads.send_replace(None);
        if let Some(lease) = known
            && let Some(released) = election.release(&lease, self.clock.now())
        {
            match self.write(&Decision::Replace(released)).await {
                Ok(_) => tracing::info!("the lease is released"),
                Err(fault) => tracing::warn!(error = %fault, "the lease was not released"),
            }
        }
    }

    async fn read(&self) -> Read<Arc<Object>> {
        let read = self.api.get(Kind::Lease, &self.namespace, &self.name);
        match timeout(REQUEST_MAX, read).await {
            Ok(Ok(Some(lease))) => Read::Known(Arc::new(lease)),
            Ok(Ok(None)) => Read::Absent,
            Ok(Err(fault)) => {
                tracing::warn!(error = %fault, "the lease could not be read");
                Read::Unknown(fault.text.into())
            }
            Err(_) => Read::Unknown("no answer".into()),
        }
    }

    async fn write(&self, decision: &Decision) -> Result<Object, Fault> {
        let work = async {
            match decision {
                Decision::Create(lease) => self.api.create(lease, Vec::new()).await,
                Decision::Replace(lease) => self.api.replace(lease).await,
                Decision::Wait(_) => Err(Fault::unknown("nothing to write")),
            }
        };
        timeout(REQUEST_MAX, work).await.unwrap_or_else(|_| Err(Fault::unknown("no answer")))
    }
}

/// Ends when leadership has run out.
pub async fn lost(mut leads: watch::Receiver<Option<Instant>>) {
    loop {
        let until = *leads.borrow_and_update();
        let Some(until) = until.filter(|until| *until > Instant::now()) else {
            return;
        };
        tokio::select! {
            () = sleep_until(until) => {}
            changed = leads.changed() => if changed.is_err() { return sleep_until(until).await },
        }
    }
}

/// Ends when leadership is won.
pub async fn won(mut leads: watch::Receiver<Option<Instant>>) {
    let leading = |until: &Option<Instant>| until.is_some_and(|until| until > Instant::now());
    // An error means that nobody stands any more, which happens only when the process ends.
    let _ = leads.wait_for(leading).await;
}
