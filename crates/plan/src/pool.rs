//! A NodePool lowered: the template of its claims, its limits, and its rules of disruption.

use alloc::{format, string::String, sync::Arc, vec::Vec};

use jiff::SignedDuration;
use karpenter_api::{Budget, Disruption, GoDuration, NillableDuration, UnknownConsolidationPolicy};

pub use karpenter_api::ConsolidationPolicy;

use crate::{
    budget::Budgets, labels::Labels, requirement::Requirements, resources::Resources, taint::Taint,
};

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
    /// Settings of disruption that this version cannot read, by field: while there are any, none of the pool's
    /// nodes is disrupted voluntarily.
    pub disruption_faults: Vec<String>,
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

/// The policy of a pool; the default when it states none.
pub fn consolidation_policy(
    rules: Option<&Disruption>,
) -> Result<ConsolidationPolicy, UnknownConsolidationPolicy> {
    match rules.and_then(|rules| rules.consolidation_policy.as_deref()) {
        None | Some("") => Ok(ConsolidationPolicy::default()),
        Some(text) => text.parse(),
    }
}

/// What this version cannot read of a pool's rules of disruption: the field of each, and what to change.
pub fn disruption_faults(rules: Option<&Disruption>) -> Vec<String> {
    let policy = consolidation_policy(rules).err();
    let policy = policy.map(|fault| format!("spec.disruption.consolidationPolicy: {fault}"));
    let budgets = rules.and_then(|rules| rules.budgets.as_deref());
    let budgets = Budgets::of(budgets.unwrap_or_default());
    let budgets = budgets
        .errors()
        .map(|(at, fault)| format!("spec.disruption.budgets[{at}]: {fault}"));
    policy.into_iter().chain(budgets).collect()
}
