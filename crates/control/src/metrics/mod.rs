//! What is counted and measured, under upstream's names: dashboards and alerts read these.
//!
//! One [`Metrics`] belongs to one [`Ctx`](crate::ctx::Ctx): there is nothing global, so that many
//! worlds run in one process. Two kinds of numbers: what happened is counted where it happens, in the
//! families of a registry; what *is* (nodes, pods, pools, conditions) is read from the mirror when
//! somebody asks, so that nothing has to be kept in step and deleted objects vanish by themselves.
//!
//! Nothing here decides anything, and no controller reads a metric.

mod cloud;
mod conditions;
mod cost;
mod disruption;
mod family;
mod lifecycle;
mod nodes;
mod page;
mod pods;
mod pools;
mod process;
mod requests;
mod runtime;
mod scheduler;
mod summary;
mod zone;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use karpenter_api::{
    NodeClaim, NodePool,
    conditions::{self as api, is_true},
    objects::{Node, Pod},
};
use karpenter_cloud::{Cloud, NodeClassKind};
use karpenter_plan::{
    PodId, Snapshot,
    schedule::{Plan, Report},
};
use prometheus::{Registry, TextEncoder};

use crate::{
    clock::Clock,
    mirror::{Change, Key, Mirror, Mirrored},
    nodeclaim::draft::Conditioned as _,
};
use conditions::Conditions;
use page::{Labels, Page};
use pods::Healthy;
use zone::effective_zone;

pub(crate) use disruption::lower;
pub use requests::Counted;
pub(crate) use runtime::{Controller, Ending};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All numbers of one autoscaler.
pub struct Metrics {
    registry: Registry,
    clock: Clock,
    shows_cluster_state: AtomicBool,
    mirror: RwLock<Weak<Mirror>>,
    /// What can only be named once the provider is known.
    objects: OnceLock<Objects>,
    /// Since when something has been missing or set aside.
    unsynced: Mutex<Option<Timestamp>>,
    /// What controllers do, whatever they do it to.
    runtime: runtime::Runtime,
    cloud: cloud::CloudCalls,
    requests: requests::Requests,
    pods: pods::Pods,
    /// What pools cost.
    pub(crate) costs: cost::Costs,
    /// The lives of claims and nodes.
    pub(crate) lifecycle: lifecycle::Lifecycle,
    /// Voluntary disruption.
    pub(crate) disruption: disruption::Disruption,
    /// Scheduling rounds.
    pub(crate) scheduler: scheduler::Scheduler,
}

/// Series whose labels depend on the provider.
struct Objects {
    conditions: conditions::Conditions,
    node_labels: nodes::NodeLabels,
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new(clock: Clock) -> Self {
        let registry = Registry::new();
        build_info(&registry);
        Self {
            runtime: runtime::Runtime::new(&registry),
            cloud: cloud::CloudCalls::new(&registry),
            requests: requests::Requests::new(&registry),
            pods: pods::Pods::new(&registry),
            costs: cost::Costs::new(&registry),
            lifecycle: lifecycle::Lifecycle::new(&registry),
            disruption: disruption::Disruption::new(&registry),
            scheduler: scheduler::Scheduler::new(&registry),
            registry,
            clock,
            shows_cluster_state: AtomicBool::new(true),
            mirror: RwLock::new(Weak::new()),
            objects: OnceLock::new(),
            unsynced: Mutex::new(Some(clock.now())),
        }
    }

    /// Leaves out what grows with the cluster: the series of nodes, pods and pools, and of the
    /// conditions of claims, pools and nodes (`--disable-cluster-state-observability`).
    pub fn disable_cluster_state(&self) {
        self.shows_cluster_state.store(false, Ordering::Relaxed);
    }

    fn shows_cluster_state(&self) -> bool {
        self.shows_cluster_state.load(Ordering::Relaxed)
    }

    /// Whether this process leads, under the name of the lease.
    pub fn set_leading(&self, lease: &str, leads: bool) {
        self.runtime.set_leading(lease, leads);
    }

    /// The clock that all instants come from.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// The series of a controller with a queue.
    pub(crate) fn queue(&self, name: &'static str, workers: usize) -> Arc<Controller> {
        self.runtime.controller(name, workers, true)
    }

    /// The series of a controller that runs on its own, one run after the other.
    pub(crate) fn single(&self, name: &'static str) -> Arc<Controller> {
        self.runtime.controller(name, 1, false)
    }

    /// A service that sends requests to the API server, with each of them counted.
    pub fn counted<S>(&self, service: S) -> Counted<S> {
        self.requests.around(service)
    }

    /// The provider, with its answers measured.
    pub(crate) fn measured(self: &Arc<Self>, cloud: Arc<dyn Cloud>) -> Arc<dyn Cloud> {
        Arc::new(cloud::Measured::new(cloud, Arc::clone(self)))
    }

    /// Reads nodes, pods, pools and claims from this mirror from now on, and follows their changes.
    pub(crate) fn observe(self: &Arc<Self>, mirror: &Arc<Mirror>, cloud: &dyn Cloud) {
        *self.mirror.write().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(mirror);
        self.objects.get_or_init(|| {
            let kinds = cloud.node_class_kinds().iter();
            let class_labels: Vec<String> = kinds.map(NodeClassKind::label_key).collect();
            Objects {
                conditions: conditions::Conditions::new(&self.registry, &class_labels),
                node_labels: nodes::NodeLabels::new(&cloud.well_known().labels),
            }
        });
        let own = Arc::downgrade(self);
        mirror.subscribe::<Pod>(move |change| {
            if let Some(own) = own.upgrade() {
                let (now, shown) = (own.clock.now(), own.shows_cluster_state());
                own.pods
                    .changed(&change.key, change.new.as_deref(), now, shown);
            }
        });
        let (own, prices) = (Arc::downgrade(self), Arc::downgrade(mirror));
        mirror.subscribe::<NodeClaim>(move |change| {
            if let (Some(own), Some(mirror)) = (own.upgrade(), prices.upgrade()) {
                own.costs
                    .changed(change.old.as_deref(), change.new.as_deref(), |pool| {
                        mirror.feed(pool)
                    });
            }
        });
        self.follow::<NodeClaim>(mirror, Conditions::claim_changed);
        self.follow::<NodePool>(mirror, Conditions::pool_changed);
        self.follow::<Node>(mirror, Conditions::node_changed);
    }

    /// Counts the changes of a kind's conditions.
    fn follow<K: Mirrored>(
        self: &Arc<Self>,
        mirror: &Mirror,
        changed: fn(&Conditions, &Change<K::Kept>, Timestamp),
    ) {
        let own = Arc::downgrade(self);
        mirror.subscribe::<K>(move |change| {
            let own = own.upgrade().filter(|own| own.shows_cluster_state());
            if let Some(own) = own
                && let Some(objects) = own.objects.get()
            {
                changed(&objects.conditions, change, own.clock.now());
            }
        });
    }

    fn mirror(&self) -> Option<Arc<Mirror>> {
        self.mirror
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade()
    }

    /// A claim was deleted by us, for a reason in snake case.
    pub(crate) fn claim_disrupted(&self, claim: &NodeClaim, reason: &str) {
        let node = claim
            .status
            .as_ref()
            .and_then(|status| status.node_name.as_deref());
        let pods = self
            .mirror()
            .zip(node)
            .map(|(mirror, node)| mirror.pods_on(node))
            .unwrap_or_default();
        let moving = pods.iter().filter(|pod| pod.lowered.is_reschedulable());
        self.lifecycle
            .claim_disrupted(claim, reason, moving.count());
    }

    /// A scheduling round has come to this.
    pub(crate) fn decided(
        &self,
        snapshot: &Snapshot,
        plan: &Plan,
        report: &Report,
        now: Timestamp,
    ) {
        let Some(mirror) = self.mirror() else { return };
        let healthy = |pool: Option<&str>| {
            let pool = pool.and_then(|pool| mirror.named::<NodePool>(pool));
            Healthy(
                pool.is_some_and(|pool| is_true(pool.conditions(), api::NODE_REGISTRATION_HEALTHY)),
            )
        };
        let tell = |pod: PodId, place: Option<Healthy>| {
            let pod = &snapshot.pods[pod];
            let key = Key::new(&*pod.namespace, &*pod.name);
            self.pods.decided(&key, place, now);
        };
        for claim in &plan.claims {
            let place = healthy(Some(&snapshot.pools[claim.pool].name));
            claim.pods.iter().for_each(|pod| tell(*pod, Some(place)));
        }
        for (pod, node) in &plan.bindings {
            tell(*pod, Some(healthy(snapshot.nodes[*node].pool.as_deref())));
        }
        for (pod, _) in &report.unplaced {
            tell(*pod, None);
        }
        let placed = plan.claims.iter().flat_map(|claim| &claim.pods);
        let bound = plan.bindings.iter().map(|(pod, _)| pod);
        let unplaced = report.unplaced.iter().map(|(pod, _)| pod);
        let mut zones = BTreeMap::new();
        for pod in placed.chain(bound).chain(unplaced) {
            if let Some(zone) = effective_zone(snapshot, *pod) {
                *zones.entry(zone).or_insert(0) += 1;
            }
        }
        self.scheduler.left(
            "provisioner",
            report.ignored.len(),
            report.unplaced.len(),
            &zones,
        );
    }

    /// Everything, as text in the format that Prometheus reads.
    pub fn render(&self) -> String {
        let mut page = Page::default();
        let encoder = TextEncoder::new();
        for family in self.registry.gather() {
            let text = page.family(family.name());
            // Encoding fails only for families without name or samples, and those are not gathered.
            let _ = encoder.encode_utf8(std::slice::from_ref(&family), text);
        }
        self.runtime.write(&mut page);
        self.lifecycle.write(&mut page);
        self.scheduler.write(&mut page);
        process::write(&mut page);
        let now = self.clock.now();
        let Some(mirror) = self.mirror() else {
            return page.finish();
        };
        self.write_synced(&mut page, &mirror, now);
        if let Some(objects) = self.objects.get().filter(|_| self.shows_cluster_state()) {
            self.pods.write(&mut page, now);
            pods::write_state(&mut page, &mirror);
            pools::write(&mut page, &mirror, &self.costs);
            nodes::write(&mut page, &mirror, &objects.node_labels, now);
            objects.conditions.write(&mut page, &mirror, now);
        }
        page.finish()
    }
}

/// Seconds between two instants; zero if the clocks disagree.
fn seconds_since(since: Timestamp, at: Timestamp) -> f64 {
    at.duration_since(since).as_secs_f64().max(0.0)
}

impl Metrics {
    /// Whether the picture of the cluster is whole.
    fn write_synced(&self, page: &mut Page, mirror: &Mirror, now: Timestamp) {
        let is_synced = mirror.is_listed() && mirror.aside().is_empty();
        let since = {
            let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
            if is_synced {
                *unsynced = None;
            } else {
                unsynced.get_or_insert(now);
            }
            *unsynced
        };
        let none = Labels::default();
        page.gauge(
            "karpenter_cluster_state_node_count",
            "Nodes that are known, and NodeClaims without one.",
            &none,
            mirror.node_count() as f64,
        );
        page.gauge(
            "karpenter_cluster_state_synced",
            "Whether everything was listed and nothing is set aside: 1 if so.",
            &none,
            if is_synced { 1.0 } else { 0.0 },
        );
        page.gauge(
            "karpenter_cluster_state_unsynced_time_seconds",
            "For how long something has been missing or set aside.",
            &none,
            since.map_or(0.0, |since| seconds_since(since, now)),
        );
    }
}

/// Which program this is, as a series that is always 1.
fn build_info(registry: &Registry) {
    let info = family::gauge(
        registry,
        "karpenter_build_info",
        "The program that is running, in labels; always 1.",
        &["version", "goversion", "goarch", "commit"],
    );
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    info.with_label_values(&[
        env!("CARGO_PKG_VERSION"),
        // There is no Go in here; the label stays because dashboards join on it.
        concat!("rust", env!("CARGO_PKG_RUST_VERSION")),
        architecture,
        option_env!("KARPENTER_COMMIT").unwrap_or_default(),
    ])
    .set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_leads_or_not() {
        let metrics = Metrics::new(Clock::Real);
        for (leads, line) in [
            (
                true,
                "leader_election_master_status{name=\"karpenter\"} 1\n",
            ),
            (
                false,
                "leader_election_master_status{name=\"karpenter\"} 0\n",
            ),
        ] {
            metrics.set_leading("karpenter", leads);
            assert!(metrics.render().contains(line));
        }
    }

    #[test]
    fn the_program_names_itself() {
        let text = Metrics::new(Clock::Real).render();
        let line = text
            .lines()
            .find(|line| line.starts_with("karpenter_build_info{commit=\""));
        assert!(line.is_some_and(|line| line.ends_with(" 1")), "{text}");
        assert!(text.contains("# TYPE karpenter_build_info gauge\n"));
    }
}
