//! Who leads: one process at a time runs controllers, and the others wait for its Lease.
//!
//! Clocks of different machines are never compared. A rival's lease is over when its record has not
//! *changed* for the lease duration by our own monotonic clock, however old the times in it look; our
//! own is over when no renewal has succeeded for the renewal deadline, which is shorter, so that we stop
//! before anybody else starts. The client is one of its own, without rate limits: load on the other one
//! must not starve a renewal.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use crate::clock::Clock;

/// A request for the lease that takes longer counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked for, by whom, and the times that all candidates go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// Who asks; different for every process.
    pub identity: String,
    /// How long an unchanged record is respected.
    pub duration: Duration,
    /// How long a leader may go without a successful renewal.
    pub renewal: Duration,
    /// The pause between two attempts.
    pub retry: Duration,
}

impl Terms {
    /// Upstream's times: 15 s, 10 s and 2 s.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renewal: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Where a candidate stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// The lease has not been seen yet.
    #[default]
    Unknown,
    /// Somebody else leads.
    Waiting,
    /// We lead.
    Leading,
}

/// The lease was not renewed in time, or somebody else took it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "leader election lost: lease {lease} was not renewed in time; is the API server reachable?"
)]
pub struct Lost {
    /// Namespace and name.
    pub lease: String,
}

/// A candidate.
pub struct Candidate {
    api: Api<Lease>,
    clock: Clock,
    terms: Terms,
    /// The lease as it was last seen, and when its record was first seen like this.
    seen: Option<(Lease, Instant)>,
    standing: watch::Sender<Standing>,
}

/// Why an attempt gave no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Request(#[from] kube::Error),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
}

impl Candidate {
    /// A candidate that has not asked yet.
    pub fn new(client: Client, clock: Clock, terms: Terms) -> Self {
        Self {
            api: Api::namespaced(client, &terms.namespace),
            clock,
            terms,
            seen: None,
            standing: watch::Sender::default(),
        }
    }

    /// What is asked for, and by whom.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Where this candidate stands, from now on.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Asks until we lead.
    pub async fn acquire(&mut self) {
        info!(
            lease = self.lease(),
            identity = self.terms.identity,
            "attempting to acquire leader lease"
        );
        loop {
            match self.attempt().await {
                Ok(true) => {
                    info!(lease = self.lease(), "successfully acquired lease");
                    self.standing.send_replace(Standing::Leading);
                    return;
                }
                Ok(false) => {
                    self.standing.send_replace(Standing::Waiting);
                }
                Err(error) => warn!(lease = self.lease(), %error, "the lease cannot be asked for"),
            }
            sleep(self.terms.retry).await;
        }
    }

    /// Renews until that fails for too long, or somebody else leads.
    pub async fn hold(&mut self) -> Lost {
        let mut renewed = Instant::now();
        loop {
            sleep(self.terms.retry).await;
            let deadline = renewed + self.terms.renewal;
            let asked = Instant::now();
            let outcome = tokio::select! {
                biased;
                outcome = self.attempt() => Some(outcome),
                () = sleep_until(deadline) => None,
            };
            match outcome {
                // What counts is when the renewal was asked for: the server may have taken it then.
                Some(Ok(true)) => renewed = asked,
                Some(Err(error)) if Instant::now() < deadline => {
                    debug!(lease = self.lease(), %error, "renewing the lease failed, trying again");
                }
                Some(Ok(false) | Err(_)) | None => {
                    self.standing.send_replace(Standing::Waiting);
                    return Lost {
                        lease: self.lease(),
                    };
                }
            }
        }
    }

    /// Gives the lease up, so that the next one need not wait for it to run out.
    pub async fn release(mut self) {
        self.standing.send_replace(Standing::Waiting);
        let Some((lease, _)) = self.seen.take() else {
            return;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_ref() != Some(&self.terms.identity) {
            return;
        }
        let now = MicroTime(self.clock.now());
        let released = Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                ..spec
            }),
            ..lease
        };
        let parameters = PostParams::default();
        let request = self.api.replace(&self.terms.name, &parameters, &released);
        match timeout(PATIENCE, request).await {
            Ok(Ok(_)) => info!(lease = self.lease(), "released the lease"),
            Ok(Err(error)) => warn!(lease = self.lease(), %error, "the lease was not released"),
            Err(_) => warn!(lease = self.lease(), "the lease was not released in time"),
        }
    }

    fn lease(&self) -> String {
        format!("{}/{}", self.terms.namespace, self.terms.name)
    }

    /// Takes or renews the lease if it is free or ours. True if we hold it now.
    async fn attempt(&mut self) -> Result<bool, Failure> {
        match timeout(PATIENCE, self.ask()).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Failure::Late),
        }
    }

    async fn ask(&mut self) -> Result<bool, kube::Error> {
        // A leader knows the lease as it wrote it, and asks only if somebody else wrote, too.
        if let Some((lease, _)) = self.seen.clone()
            && self.is_ours(&lease)
            && let Ok(written) = self.write(lease).await
        {
            self.see(written);
            return Ok(true);
        }
        let Some(lease) = self.api.get_opt(&self.terms.name).await? else {
            let new = Lease {
                metadata: ObjectMeta {
                    name: Some(self.terms.name.clone()),
                    namespace: Some(self.terms.namespace.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.record(None)),
            };
            let created = self.api.create(&PostParams::default(), &new).await;
            return self.won(created);
        };
        self.see(lease.clone());
        if !self.is_ours(&lease) && !self.is_free(&lease) {
            return Ok(false);
        }
        let written = self.write(lease).await;
        self.won(written)
    }

    /// Somebody else was faster: that is an answer, too.
    fn won(&mut self, written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match written {
            Ok(lease) => {
                self.see(lease);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn write(&self, lease: Lease) -> Result<Lease, kube::Error> {
        let record = self.record(lease.spec.as_ref());
        let lease = Lease {
            spec: Some(record),
            ..lease
        };
        // The resource version is that of the lease as it was seen.
        self.api
            .replace(&self.terms.name, &PostParams::default(), &lease)
            .await
    }

    /// The record that says that we lead.
    fn record(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(self.clock.now());
        let old = old.cloned().unwrap_or_default();
        let is_ours = old.holder_identity.as_ref() == Some(&self.terms.identity);
        let transitions = old.lease_transitions;
        LeaseSpec {
            holder_identity: Some(self.terms.identity.clone()),
            lease_duration_seconds: i32::try_from(self.terms.duration.as_secs()).ok(),
            acquire_time: match old.acquire_time {
                Some(time) if is_ours => Some(time),
                _ => Some(now.clone()),
            },
            renew_time: Some(now),
            lease_transitions: if is_ours {
                transitions
            } else {
                Some(transitions.map_or(0, |count| count.saturating_add(1)))
            },
            ..LeaseSpec::default()
        }
    }

    fn see(&mut self, lease: Lease) {
        let since = match &self.seen {
            Some((known, since)) if known.spec == lease.spec => *since,
            _ => Instant::now(),
        };
        self.seen = Some((lease, since));
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        holder(lease) == Some(self.terms.identity.as_str())
    }

    /// Nobody holds it, or whoever does has not renewed it for as long as it said it lasts.
    fn is_free(&self, lease: &Lease) -> bool {
        if holder(lease).is_none() {
            return true;
        }
        let spec = lease.spec.as_ref();
        let lasts = spec
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.terms.duration, Duration::from_secs);
        self.seen
            .as_ref()
            .is_some_and(|(_, since)| since.elapsed() >= lasts)
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    let spec = lease.spec.as_ref()?;
    spec.holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}
