//! A node or a claim that will become one, lowered: the union of a Node and its NodeClaim.
//!
//! Three kinds share the type: a node without a claim (somebody else's), a claim with or without a node,
//! and an *unlaunched* claim, which has no machine yet but is a place all the same.

use alloc::{sync::Arc, vec::Vec};

use jiff::{SignedDuration, Timestamp};

use crate::{
    disrupt::lasting::Replaced, labels::Labels, pod::PodKey, requirement::Requirements,
    resources::Resources, taint::Taint,
};

/// What only a Node object says.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// The Node's name.
    pub name: Arc<str>,
    /// The Node's uid.
    pub uid: Arc<str>,
    /// When it was created.
    pub created: Timestamp,
    /// When its deletion was asked for.
    pub deletion: Option<Timestamp>,
    /// The Ready condition, if there is one.
    pub ready: Option<bool>,
    /// It carries the disrupted taint.
    pub disrupted_taint: bool,
}

/// A condition that is True, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// When it became True.
    pub since: Timestamp,
    /// Its reason.
    pub reason: Arc<str>,
}

/// What only a NodeClaim object says.
#[derive(Clone, Debug)]
pub struct ClaimFacts {
    /// The NodeClaim's name.
    pub name: Arc<str>,
    /// The NodeClaim's uid.
    pub uid: Arc<str>,
    /// When it was created.
    pub created: Timestamp,
    /// When its deletion was asked for.
    pub deletion: Option<Timestamp>,
    /// There is a machine: the provider id is known.
    pub launched: bool,
    /// Condition `Initialized`, where `lastTransitionTime` matters.
    pub initialized: Option<Condition>,
    /// Condition `Consolidatable`.
    pub consolidatable: Option<Condition>,
    /// Condition `Drifted`.
    pub drifted: Option<Condition>,
    /// Condition `DisruptionReason`: a disruption command has it, or had it before a restart.
    pub disruption_reason: Option<Condition>,
    /// Since when condition `DisruptionReason` is False: a replacement could not be had.
    pub replacement_failed: Option<Timestamp>,
    /// Instance types that it has replaced in consolidation, with the time.
    pub replaced: Replaced,
    /// Condition `InstanceTerminating` is True.
    pub instance_terminating: bool,
    /// `status.lastPodEventTime`.
    pub last_pod_event: Option<Timestamp>,
    /// `spec.expireAfter`; `None` is never.
    pub expire_after: Option<SignedDuration>,
    /// `spec.terminationGracePeriod`.
    pub termination_grace_period: Option<SignedDuration>,
    /// `spec.requirements`, for an unlaunched claim and for drift.
    pub requirements: Requirements,
}

impl ClaimFacts {
    /// Since when nothing has happened to its pods; `None` before it was ready for any.
    pub fn quiet_since(&self) -> Option<Timestamp> {
        let initialized = self.initialized.as_ref().map(|condition| condition.since);
        initialized.map(|initialized| self.last_pod_event.unwrap_or(initialized))
    }
}

/// A place for pods that exists or was asked for.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name that orders and names it: the Node's, or the NodeClaim's until the Node is registered.
    pub name: Arc<str>,
    /// The Node, if there is one.
    pub node: Option<NodeFacts>,
    /// The NodeClaim; without one the node is not ours.
    pub claim: Option<ClaimFacts>,
    /// The provider id, which joins the two.
    pub provider_id: Option<Arc<str>>,
    /// The label `karpenter.sh/nodepool`.
    pub pool: Option<Arc<str>>,
    /// Effective labels: the Node's once it is registered, the claim's before. For an unlaunched claim
    /// also its single-valued requirements.
    pub labels: Labels,
    /// Effective annotations under `karpenter.sh`.
    pub annotations: Labels,
    /// The labels, with the host name, as requirements.
    pub requirements: Requirements,
    /// Effective taints: what a pod must tolerate to be planned here.
    pub taints: Vec<Taint>,
    /// Registered with the cluster; always so when it is not ours.
    pub registered: bool,
    /// Ready for its first pods; always so when it is not ours.
    pub initialized: bool,
    /// On its way out: marked by us, deleted, or terminated by the provider.
    pub marked: bool,
    /// Pods are expected here until this time.
    pub nominated_until: Option<Timestamp>,
    /// What the machine has. Empty for an unlaunched claim; see [`Place`](crate::snapshot::Place).
    pub capacity: Resources,
    /// What pods may use of it. Empty for an unlaunched claim.
    pub allocatable: Resources,
    /// Pods that the claim was made for and that are not bound yet.
    pub prebound: Vec<PodKey>,
}

impl Node {
    /// A NodeClaim stands behind it.
    pub fn is_managed(&self) -> bool {
        self.claim.is_some()
    }

    /// It was asked for, but there is no machine yet.
    pub fn is_unlaunched(&self) -> bool {
        self.node.is_none() && self.claim.as_ref().is_some_and(|claim| !claim.launched)
    }

    /// Pods are expected here now.
    pub fn is_nominated(&self, now: Timestamp) -> bool {
        self.nominated_until.is_some_and(|until| now < until)
    }
}
