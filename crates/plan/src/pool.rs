//! A NodePool lowered: the template of its claims, its limits, and its rules of disruption.

use alloc::{sync::Arc, vec::Vec};

use jiff::SignedDuration;
use karpenter_api::{Budget, GoDuration, NillableDuration};

use crate::{labels::Labels, requirement::Requirements, resources::Resources, taint::Taint};

/// Names the node class a claim is launched with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeClassReference {
    /// API group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// Which nodes consolidation looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsolidationPolicy {
    /// Empty ones.
    WhenEmpty,
    /// Empty ones and those whose pods fit elsewhere or cheaper.
    #[default]
    WhenEmptyOrUnderutilized,
    /// As the former, weighing savings against disruption.
    Balanced,
}

/// A NodePool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The name.
    pub name: Arc<str>,
    /// The uid, for owner references.
    pub uid: Arc<str>,
    /// Labels of new claims: the template's, the pool's and the node class's.
    pub labels: Labels,
    /// Annotations of new claims: the template's and the hash.
    pub annotations: Labels,
    /// Requirements of new claims: the template's narrowed by the labels.
    pub requirements: Requirements,
    /// Taints of new claims, which pods must tolerate.
    pub taints: Vec<Taint>,
    /// Taints that something removes before pods arrive.
    pub startup_taints: Vec<Taint>,
    /// The node class.
    pub node_class: NodeClassReference,
    /// The provider at hand serves that class.
    pub supported: bool,
    /// Higher goes first.
    pub weight: i32,
    /// Upper bounds on the pool's total capacity; only names present are limited.
    pub limits: Resources,
    /// Quiet time before consolidation; `None` is never.
    pub consolidate_after: Option<SignedDuration>,
    /// Which nodes consolidation looks at.
    pub policy: ConsolidationPolicy,
    /// Disruption budgets as written.
    pub budgets: Vec<Budget>,
    /// The drift hash of the template.
    pub hash: Arc<str>,
    /// Condition `Ready` is True.
    pub ready: bool,
    /// Condition `NodeRegistrationHealthy` is True.
    pub registration_healthy: bool,
    /// `spec.replicas`: the pool is static.
    pub replicas: Option<i64>,
    /// Being deleted.
    pub deleting: bool,
    /// `spec.template.spec.expireAfter` as written.
    pub expire_after: Option<NillableDuration>,
    /// `spec.template.spec.terminationGracePeriod`.
    pub termination_grace_period: Option<GoDuration>,
}

impl Pool {
    /// Keeps a fixed number of nodes.
    pub fn is_static(&self) -> bool {
        self.replicas.is_some()
    }

    /// May get new claims for pods.
    pub fn is_dynamic(&self) -> bool {
        self.supported && !self.is_static() && self.ready && !self.deleting
    }
}
