//! The lives of claims and nodes, and of the pods that leave with them.

use jiff::Timestamp;
use karpenter_api::{
    NodeClaim,
    conditions::{self, INSTANCE_TERMINATING},
    labels::{CAPACITY_TYPE, NODEPOOL, ZONE},
    objects::Node,
};
use kube::api::ObjectMeta;
use prometheus::{CounterVec, HistogramVec, Registry};

use super::{
    family::{counter, exponential, histogram},
    page::Page,
    seconds_since,
    summary::Summary,
};
use crate::nodeclaim::draft::Conditioned as _;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;

/// How old nodes become: from a quarter of an hour to thirty days.
const LIFETIMES: [f64; 21] = [
    15.0 * MINUTE,
    30.0 * MINUTE,
    45.0 * MINUTE,
    HOUR,
    2.0 * HOUR,
    4.0 * HOUR,
    6.0 * HOUR,
    8.0 * HOUR,
    10.0 * HOUR,
    12.0 * HOUR,
    16.0 * HOUR,
    20.0 * HOUR,
    DAY,
    2.0 * DAY,
    3.0 * DAY,
    5.0 * DAY,
    10.0 * DAY,
    15.0 * DAY,
    20.0 * DAY,
    25.0 * DAY,
    30.0 * DAY,
];

/// Counters and durations of claims, nodes and evictions.
pub(crate) struct Lifecycle {
    claims_created: CounterVec,
    claims_terminated: CounterVec,
    claims_disrupted: CounterVec,
    pods_disrupted: CounterVec,
    claim_termination: HistogramVec,
    instance_termination: HistogramVec,
    nodes_created: CounterVec,
    nodes_terminated: CounterVec,
    nodes_drained: CounterVec,
    node_lifetime: HistogramVec,
    node_termination: Summary,
    evictions: CounterVec,
    pods_drained: CounterVec,
}

impl Lifecycle {
    pub(super) fn new(registry: &Registry) -> Self {
        let count = |name, help, labels: &[&str]| counter(registry, name, help, labels);
        Self {
            claims_created: count(
                "karpenter_nodeclaims_created_total",
                "NodeClaims created, by why and for which NodePool.",
                &["reason", "nodepool", "min_values_relaxed"],
            ),
            claims_terminated: count(
                "karpenter_nodeclaims_terminated_total",
                "NodeClaims that have gone.",
                &["nodepool", "capacity_type", "zone"],
            ),
            claims_disrupted: count(
                "karpenter_nodeclaims_disrupted_total",
                "NodeClaims deleted by us, by why.",
                &["reason", "nodepool", "capacity_type"],
            ),
            pods_disrupted: count(
                "karpenter_pods_disruption_initiated_total",
                "Pods that need another place because their NodeClaim was deleted by us, by why.",
                &["reason", "nodepool", "capacity_type"],
            ),
            claim_termination: histogram(
                registry,
                "karpenter_nodeclaims_termination_duration_seconds",
                "Time from the deletion of a NodeClaim until it has gone.",
                &["nodepool"],
                &exponential(1.0, 2.0, 12),
            ),
            instance_termination: histogram(
                registry,
                "karpenter_nodeclaims_instance_termination_duration_seconds",
                "Time from the order to end an instance until it has ended.",
                &["nodepool"],
                &exponential(1.0, 2.0, 11),
            ),
            nodes_created: count(
                "karpenter_nodes_created_total",
                "Nodes that have registered.",
                &["nodepool", "zone"],
            ),
            nodes_terminated: count(
                "karpenter_nodes_terminated_total",
                "Nodes that have gone.",
                &["nodepool", "zone"],
            ),
            nodes_drained: count(
                "karpenter_nodes_drained_total",
                "Nodes whose pods have left.",
                &["nodepool"],
            ),
            node_lifetime: histogram(
                registry,
                "karpenter_nodes_lifetime_duration_seconds",
                "Age of nodes when they have gone.",
                &["nodepool"],
                &LIFETIMES,
            ),
            node_termination: Summary::new(
                "karpenter_nodes_termination_duration_seconds",
                "Time from the deletion of a node until it has gone.",
                Some("nodepool"),
            ),
            evictions: count(
                "karpenter_pods_eviction_requests_total",
                "Requests to evict a pod, by the code of the answer.",
                &["code"],
            ),
            pods_drained: count(
                "karpenter_pods_drained_total",
                "Pods evicted or deleted while their node was drained, by why it was.",
                &["reason"],
            ),
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        self.node_termination.write(page);
    }

    /// A claim was created; `reason` is `provisioned`, or a disruption reason in snake case.
    pub(crate) fn claim_created(&self, reason: &str, pool: &str, min_values_relaxed: bool) {
        let relaxed = if min_values_relaxed { "true" } else { "false" };
        self.claims_created
            .with_label_values(&[reason, pool, relaxed])
            .inc();
    }

    /// A claim was deleted by us, and so many pods on it need another place.
    pub(super) fn claim_disrupted(&self, claim: &NodeClaim, reason: &str, pods: usize) {
        let labels = [
            reason,
            label(&claim.metadata, NODEPOOL),
            label(&claim.metadata, CAPACITY_TYPE),
        ];
        self.claims_disrupted.with_label_values(&labels).inc();
        self.pods_disrupted
            .with_label_values(&labels)
            .inc_by(pods as f64);
    }

    /// A claim's finalizer is off.
    pub(crate) fn claim_terminated(&self, claim: &NodeClaim, now: Timestamp) {
        let pool = label(&claim.metadata, NODEPOOL);
        if let Some(deletion) = &claim.metadata.deletion_timestamp {
            self.claim_termination
                .with_label_values(&[pool])
                .observe(seconds_since(deletion.0, now));
        }
        let (capacity_type, zone) = (
            label(&claim.metadata, CAPACITY_TYPE),
            label(&claim.metadata, ZONE),
        );
        self.claims_terminated
            .with_label_values(&[pool, capacity_type, zone])
            .inc();
    }

    /// The provider says that a claim's instance has ended.
    pub(crate) fn instance_terminated(&self, claim: &NodeClaim, now: Timestamp) {
        let ordered = conditions::get(claim.conditions(), INSTANCE_TERMINATING)
            .map_or(now, |condition| condition.last_transition_time.0);
        self.instance_termination
            .with_label_values(&[label(&claim.metadata, NODEPOOL)])
            .observe(seconds_since(ordered, now));
    }

    /// A claim's node has registered.
    pub(crate) fn node_registered(&self, claim: &NodeClaim) {
        self.nodes_created
            .with_label_values(&[
                label(&claim.metadata, NODEPOOL),
                label(&claim.metadata, ZONE),
            ])
            .inc();
    }

    /// The pods of a node that goes have left.
    pub(crate) fn node_drained(&self, node: &Node) {
        self.nodes_drained
            .with_label_values(&[label(&node.metadata, NODEPOOL)])
            .inc();
    }

    /// A node's finalizer is off.
    pub(crate) fn node_terminated(&self, node: &Node, now: Timestamp) {
        let pool = label(&node.metadata, NODEPOOL);
        if let Some(deletion) = &node.metadata.deletion_timestamp {
            self.node_termination
                .observe(pool, seconds_since(deletion.0, now));
        }
        if let Some(created) = &node.metadata.creation_timestamp {
            self.node_lifetime
                .with_label_values(&[pool])
                .observe(seconds_since(created.0, now));
        }
        self.nodes_terminated
            .with_label_values(&[pool, label(&node.metadata, ZONE)])
            .inc();
    }

    /// The server answered an eviction.
    pub(crate) fn eviction_answered(&self, code: u16) {
        self.evictions.with_label_values(&[&code.to_string()]).inc();
    }

    /// A pod was told to leave a node that is drained for this reason.
    pub(crate) fn pod_drained(&self, reason: &str) {
        self.pods_drained.with_label_values(&[reason]).inc();
    }
}

/// A label's value; empty if it is not there.
pub(super) fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> &'a str {
    metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(key))
        .map(String::as_str)
        .unwrap_or_default()
}
