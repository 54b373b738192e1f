//! What a disruption round found, beside its command: reasons for every node, and how long the
//! answer holds.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;

use crate::budget::Budgets;
use crate::node::Node;
use crate::pod::{DoNotDisrupt, Pod};
use crate::snapshot::Snapshot;
use crate::vocabulary::{IdVec, NodeId, PoolId};

use super::allowance::Allowance;
use super::candidate::BlockReason;
use super::method::Method;

/// What a method made of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is part of the proposed command.
    Chosen,
    /// Its pool keeps a fixed number of nodes.
    StaticPool,
    /// Its pool is never consolidated.
    ConsolidationDisabled,
    /// Something on it needs a place.
    NotEmpty,
    /// Room on it is kept free for a CapacityBuffer.
    HasBufferPods,
    /// It has not been quiet for long enough.
    NotConsolidatable,
    /// Its pool's budget for the method's reason is spent.
    BudgetSpent,
    /// Another command waits to be carried out; one at a time.
    CommandHeld,
}

impl Verdict {
    /// The text of the event `Unconsolidatable`, for verdicts that upstream tells about.
    pub fn event(self, snapshot: &Snapshot, node: NodeId) -> Option<String> {
        let pool = snapshot.nodes[node].pool.as_deref().unwrap_or_default();
        match self {
            Self::ConsolidationDisabled => {
                Some(format!("NodePool \"{pool}\" has consolidation disabled"))
            }
            Self::HasBufferPods => {
                let name = &snapshot.nodes[node].name;
                Some(format!("Node \"{name}\" has buffer pods"))
            }
            Self::Chosen
            | Self::StaticPool
            | Self::NotEmpty
            | Self::NotConsolidatable
            | Self::BudgetSpent
            | Self::CommandHeld => None,
        }
    }

    /// The verdict for people.
    pub fn message(self) -> &'static str {
        match self {
            Self::Chosen => "would be disrupted now",
            Self::StaticPool => "its nodepool is static",
            Self::ConsolidationDisabled => "its nodepool has consolidation disabled",
            Self::NotEmpty => "node is not empty",
            Self::HasBufferPods => "room on it is kept free for a CapacityBuffer",
            Self::NotConsolidatable => "consolidateAfter has not passed since its last pod event",
            Self::BudgetSpent => "its nodepool's disruption budget is spent",
            Self::CommandHeld => "another command is waiting to be carried out",
        }
    }
}

/// One method's look at the candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodReport {
    /// The method.
    pub method: Method,
    /// How many candidates passed its predicate.
    pub eligible: usize,
    /// A budget kept it from taking more.
    pub constrained: bool,
    /// Its verdict on each candidate, in name order.
    pub verdicts: Vec<(NodeId, Verdict)>,
}

/// Why the rest is not disrupted.
#[derive(Clone, Debug, Default)]
pub struct DisruptReport {
    /// Nodes that are no candidates, in name order.
    pub blocked: Vec<(NodeId, BlockReason)>,
    /// Methods that were asked, in order.
    pub methods: Vec<MethodReport>,
    /// Each pool's allowance.
    pub allowances: IdVec<PoolId, Allowance>,
    /// The first instant at which time alone may change the answer; never when there is none.
    pub valid_until: Option<Timestamp>,
}

/// The first instant after the snapshot's at which its answer may differ though nothing happened.
pub fn valid_until(snapshot: &Snapshot) -> Option<Timestamp> {
    let pools = snapshot
        .pools
        .values()
        .filter_map(|pool| Budgets::of(&pool.budgets).next_change(snapshot.now));
    let nodes = snapshot
        .nodes
        .values()
        .flat_map(|node| node_changes(snapshot, node).into_iter().flatten());
    let pods = snapshot
        .places
        .values()
        .flat_map(|place| &place.pods)
        .filter_map(|&pod| protection_end(&snapshot.pods[pod]));
    pools
        .chain(nodes)
        .chain(pods)
        .filter(|instant| *instant > snapshot.now)
        .min()
}

/// When the node stops waiting for a pod, and when it will have been quiet for long enough.
fn node_changes(snapshot: &Snapshot, node: &Node) -> [Option<Timestamp>; 2] {
    let quiet_end = || {
        let pool = snapshot.pool_named(node.pool.as_ref()?)?;
        let claim = node.claim.as_ref()?;
        let initialized = claim.initialized.as_ref().map(|condition| condition.since);
        let quiet_since = claim.last_pod_event.or(initialized)?;
        quiet_since
            .checked_add(snapshot.pools[pool].consolidate_after?)
            .ok()
    };
    [node.nominated_until, quiet_end()]
}

/// When the pod's protection lapses, if it ever does.
fn protection_end(pod: &Pod) -> Option<Timestamp> {
    match pod.do_not_disrupt {
        DoNotDisrupt::For(span) => pod.started?.checked_add(span).ok(),
        DoNotDisrupt::No | DoNotDisrupt::Always => None,
    }
}
