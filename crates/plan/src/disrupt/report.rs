//! What a disruption round found, beside its command: reasons for every node, and how long the
//! answer holds.

use alloc::vec::Vec;

use jiff::Timestamp;

use crate::budget::Budgets;
use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::vocabulary::{IdVec, NodeId, PoolId};

use super::allowance::Allowance;
use super::candidate::BlockReason;
use super::lasting::{forgotten_at, settled_at};
use super::method::Method;
use super::verdict::Verdict;

/// One method's look at the candidates.
#[derive(Clone, Debug, PartialEq)]
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
        .filter_map(|&pod| snapshot.pods[pod].protection_end());
    pools
        .chain(nodes)
        .chain(pods)
        .filter(|instant| *instant > snapshot.now)
        .min()
}

/// When the node stops waiting for a pod, when it will have been quiet for long enough, when it may be
/// replaced again, and when a type is forgotten that it came from.
fn node_changes(snapshot: &Snapshot, node: &Node) -> [Option<Timestamp>; 4] {
    let quiet_end = || {
        let pool = snapshot.pool_named(node.pool.as_ref()?)?;
        let claim = node.claim.as_ref()?;
        claim
            .quiet_since()?
            .checked_add(snapshot.pools[pool].consolidate_after?)
            .ok()
    };
    let claim = node.claim.as_ref();
    let forgotten = claim.and_then(|claim| forgotten_at(claim, snapshot.now));
    let settled = claim.and_then(settled_at);
    [node.nominated_until, quiet_end(), settled, forgotten]
}
