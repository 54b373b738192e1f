//! What the provider is asked, how long its answers take, and which of them are failures.
//!
//! [`Measured`] stands around the provider of every context. The label `controller` is the one whose
//! task asks.

use std::sync::Arc;

use async_trait::async_trait;
use karpenter_api::{NodeClaim, NodePool};
use karpenter_cloud::{
    Cloud, DriftReason, Error, Instance, LaunchError, Launched, NodeClassKind, RegistrationHook,
    RepairPolicy, Termination,
};
use karpenter_plan::{CatalogFeed, WellKnown};
use prometheus::{CounterVec, DEFAULT_BUCKETS, HistogramVec, Registry};
use tokio::time::Instant;

use super::{
    Metrics,
    family::{counter, histogram},
    runtime::current_controller,
};

const NOT_FOUND: &str = "NodeClaimNotFoundError";
const NOT_READY: &str = "NodeClassNotReadyError";
const INSUFFICIENT: &str = "InsufficientCapacityError";

/// The families of the provider's seam.
pub(super) struct CloudCalls {
    duration: HistogramVec,
    errors: CounterVec,
}

impl CloudCalls {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            duration: histogram(
                registry,
                "karpenter_cloudprovider_duration_seconds",
                "Time that the provider takes to answer.",
                &["controller", "method", "provider"],
                DEFAULT_BUCKETS,
            ),
            errors: counter(
                registry,
                "karpenter_cloudprovider_errors_total",
                "Failures that the provider answered with.",
                &["controller", "method", "provider", "error"],
            ),
        }
    }
}

/// A provider whose answers are measured.
pub(crate) struct Measured {
    inner: Arc<dyn Cloud>,
    metrics: Arc<Metrics>,
}

impl Measured {
    pub(crate) fn new(inner: Arc<dyn Cloud>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    fn note<T>(
        &self,
        method: &str,
        since: Instant,
        answer: &T,
        failure: impl FnOnce(&T) -> Option<&'static str>,
    ) {
        let calls = &self.metrics.cloud;
        let (controller, provider) = (current_controller(), self.inner.name());
        calls
            .duration
            .with_label_values(&[controller, method, provider])
            .observe(since.elapsed().as_secs_f64());
        if let Some(error) = failure(answer) {
            calls
                .errors
                .with_label_values(&[controller, method, provider, error])
                .inc();
        }
    }
}

/// A failure's name, if it has one of its own.
fn named<T>(answer: &Result<T, Error>) -> Option<&'static str> {
    match answer {
        Ok(_) => None,
        Err(Error::InstanceNotFound { .. }) => Some(NOT_FOUND),
        Err(Error::NodeClassNotReady { .. }) => Some(NOT_READY),
        Err(_) => Some(""),
    }
}

#[async_trait]
impl Cloud for Measured {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn node_class_kinds(&self) -> &[NodeClassKind] {
        self.inner.node_class_kinds()
    }

    fn well_known(&self) -> &WellKnown {
        self.inner.well_known()
    }

    async fn catalog(&self, pool: &NodePool) -> Result<CatalogFeed, Error> {
        let since = Instant::now();
        let answer = self.inner.catalog(pool).await;
        self.note("GetInstanceTypes", since, &answer, named);
        answer
    }

    async fn launch(&self, claim: &NodeClaim) -> Result<Launched, LaunchError> {
        let since = Instant::now();
        let answer = self.inner.launch(claim).await;
        self.note("Create", since, &answer, |answer| match answer {
            Ok(_) => None,
            Err(LaunchError::InsufficientCapacity(_)) => Some(INSUFFICIENT),
            Err(LaunchError::NodeClassNotReady(_)) => Some(NOT_READY),
            Err(_) => Some(""),
        });
        answer
    }

    async fn terminate(&self, claim: &NodeClaim) -> Result<Termination, Error> {
        let since = Instant::now();
        let answer = self.inner.terminate(claim).await;
        // That an instance is gone is an answer here and an error upstream, where alerts look for it.
        self.note("Delete", since, &answer, |answer| match answer {
            Ok(Termination::Gone) => Some(NOT_FOUND),
            other => named(other),
        });
        answer
    }

    async fn get(&self, provider_id: &str) -> Result<Option<Instance>, Error> {
        let since = Instant::now();
        let answer = self.inner.get(provider_id).await;
        self.note("Get", since, &answer, |answer| match answer {
            Ok(None) => Some(NOT_FOUND),
            other => named(other),
        });
        answer
    }

    async fn list(&self) -> Result<Vec<Instance>, Error> {
        let since = Instant::now();
        let answer = self.inner.list().await;
        self.note("List", since, &answer, named);
        answer
    }

    async fn drifted(&self, claim: &NodeClaim) -> Result<Option<DriftReason>, Error> {
        let since = Instant::now();
        let answer = self.inner.drifted(claim).await;
        self.note("IsDrifted", since, &answer, named);
        answer
    }

    fn repair_policies(&self) -> &[RepairPolicy] {
        self.inner.repair_policies()
    }

    fn registration_hooks(&self) -> &[Arc<dyn RegistrationHook>] {
        self.inner.registration_hooks()
    }

    fn manages(&self, group: &str, kind: &str) -> bool {
        self.inner.manages(group, kind)
    }
}
