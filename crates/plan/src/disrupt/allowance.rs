//! How many more nodes of each pool may be disrupted now, for each reason.
//!
//! Counts the nodes that budgets speak of and those that are already on their way out. It does not
//! know which nodes could be candidates. Whatever is uncertain counts against disruption: a node
//! that could not be lowered is in the total *and* consumes the budget.

use alloc::vec::Vec;

use crate::budget::{Budgets, DisruptionReason};
use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::vocabulary::{IdVec, PoolId};

use super::command::Command;

/// One pool's counts, and what its budgets make of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Nodes that budgets take percentages of.
    pub total: u32,
    /// Nodes among them that are not ready or on their way out.
    pub consuming: u32,
    /// What the budgets allow by reason, in the order of [`DisruptionReason::ALL`], before
    /// `consuming` is taken off.
    pub allowed: [u32; 3],
}

impl Allowance {
    /// What the budgets allow for a reason, nodes already on their way out included.
    pub fn allowed(&self, reason: DisruptionReason) -> u32 {
        self.allowed[reason as usize]
    }

    /// How many more nodes may be disrupted for a reason.
    pub fn remaining(&self, reason: DisruptionReason) -> u32 {
        self.allowed(reason).saturating_sub(self.consuming)
    }

    /// The pool has nodes and its budgets alone forbid disrupting any for this reason.
    pub fn is_blocked(&self, reason: DisruptionReason) -> bool {
        self.total != 0 && self.allowed(reason) == 0
    }
}

/// Evaluates every pool's budgets. Nodes of `commands` consume although nothing marks them yet.
pub fn allowances(snapshot: &Snapshot, commands: &[Command]) -> IdVec<PoolId, Allowance> {
    let mut allowances: Vec<Allowance> =
        snapshot.pools.ids().map(|_| Allowance::default()).collect();
    for (id, node) in snapshot.nodes.iter() {
        let Some(pool) = snapshot.places[id].pool.filter(|_| counts(node)) else {
            continue;
        };
        let allowance = &mut allowances[usize::from(pool.0)];
        let is_ready = node
            .node
            .as_ref()
            .is_some_and(|facts| facts.ready == Some(true));
        let is_claimed = commands.iter().any(|command| command.holds(node));
        allowance.total += 1;
        allowance.consuming += u32::from(!is_ready || node.marked || is_claimed);
    }
    for problem in &snapshot.set_aside {
        let is_node = matches!(problem.kind, "Node" | "NodeClaim");
        let pool = problem.pool.as_ref().filter(|_| is_node);
        if let Some(pool) = pool.and_then(|name| snapshot.pool_named(name)) {
            let allowance = &mut allowances[usize::from(pool.0)];
            allowance.total += 1;
            allowance.consuming += 1;
        }
    }
    for (allowance, pool) in allowances.iter_mut().zip(snapshot.pools.values()) {
        // Whoever wrote what cannot be read meant to forbid something.
        if !pool.disruption_faults.is_empty() {
            continue;
        }
        let budgets = Budgets::of(&pool.budgets);
        allowance.allowed = DisruptionReason::ALL
            .map(|reason| budgets.allowed(reason, allowance.total, snapshot.now));
    }
    allowances.into_iter().collect()
}

/// Ours, ready for pods at some time, and not being taken away by the provider.
fn counts(node: &Node) -> bool {
    node.initialized
        && node
            .claim
            .as_ref()
            .is_some_and(|claim| !claim.instance_terminating)
}
