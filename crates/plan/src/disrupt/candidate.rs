//! Who may be disrupted, what that would cost, and why everybody else may not.
//!
//! The checks run in upstream's order and the first that fails is the reason given, so that events
//! and `explain` name the same cause as upstream does. This module refuses to know what a method
//! wants with a candidate.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use karpenter_api::labels::annotations::DO_NOT_DISRUPT;
use karpenter_api::labels::{CAPACITY_TYPE, INSTANCE_TYPE, NODEPOOL};

use crate::disruption_budget::DisruptionBudget;
use crate::node::Node;
use crate::pod::Pod;
use crate::price::Price;
use crate::snapshot::Snapshot;
use crate::vocabulary::{NodeId, PodId, PoolId, ValueId};

use super::command::Command;
use super::cost::{DisruptionCost, SavingsRatio};
use super::never::never;

/// How urgent a method is, which decides whether pods can stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Waits for pods as long as they ask.
    Graceful,
    /// Ignores what blocks pods where the claim sets a termination grace period.
    Eventual,
}

/// A node that may be disrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Its pool.
    pub pool: PoolId,
    /// Its instance type, if the pool still knows it.
    pub instance_type: Option<Arc<str>>,
    /// How it was bought, if its labels say so.
    pub capacity_type: Option<ValueId>,
    /// What it costs an hour; zero when its offering is not known.
    pub price: Price,
    /// Pods that would need another place.
    pub reschedulable: Vec<PodId>,
    /// What moving them costs.
    pub cost: DisruptionCost,
}

impl Candidate {
    /// Nothing on it is worth keeping it for. This is a statement about cost: pods that their owners
    /// would rather see go do not count.
    pub fn is_empty(&self) -> bool {
        self.cost <= DisruptionCost::ONE
    }

    /// What is saved per cost of disruption.
    pub fn savings_ratio(&self) -> SavingsRatio {
        SavingsRatio {
            price: self.price,
            cost: self.cost,
        }
    }
}

/// Why a node may not be disrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockReason {
    /// A command has it already.
    AlreadyDisrupted,
    /// It has no NodeClaim.
    NotManaged,
    /// Its NodeClaim has no Node yet.
    NoNode,
    /// It was never ready for pods.
    NotInitialized,
    /// It is on its way out.
    MarkedForDeletion,
    /// A pending pod is expected on it.
    Nominated,
    /// Its annotation forbids it.
    NodeDoNotDisrupt,
    /// It names no pool.
    NoPoolLabel,
    /// Its pool is gone, is another provider's, or has no instance types.
    PoolNotFound(Arc<str>),
    /// A pod's annotation forbids it.
    PodDoNotDisrupt(PodId),
    /// More than one budget protects a pod, which the eviction API refuses.
    MultipleBudgets {
        /// The pod.
        pod: PodId,
        /// The budgets, as indices into the snapshot's.
        budgets: Vec<usize>,
    },
    /// A budget allows no eviction of a pod at present.
    Budget {
        /// The pod.
        pod: PodId,
        /// The budget, as an index into the snapshot's.
        budget: usize,
    },
}

/// Which objects are told about a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody: it is no news.
    Nobody,
    /// The NodeClaim, since there is no Node.
    NodeClaim,
    /// Node and NodeClaim.
    Both,
}

impl BlockReason {
    /// The pod that blocks, if it is one.
    pub fn pod(&self) -> Option<PodId> {
        match self {
            Self::PodDoNotDisrupt(pod)
            | Self::MultipleBudgets { pod, .. }
            | Self::Budget { pod, .. } => Some(*pod),
            Self::AlreadyDisrupted
            | Self::NotManaged
            | Self::NoNode
            | Self::NotInitialized
            | Self::MarkedForDeletion
            | Self::Nominated
            | Self::NodeDoNotDisrupt
            | Self::NoPoolLabel
            | Self::PoolNotFound(_) => None,
        }
    }

    /// Which objects get the event `DisruptionBlocked`.
    pub fn audience(&self) -> Audience {
        match self {
            Self::AlreadyDisrupted | Self::NotManaged => Audience::Nobody,
            Self::NoNode => Audience::NodeClaim,
            Self::NotInitialized
            | Self::MarkedForDeletion
            | Self::Nominated
            | Self::NodeDoNotDisrupt
            | Self::NoPoolLabel
            | Self::PoolNotFound(_)
            | Self::PodDoNotDisrupt(_)
            | Self::MultipleBudgets { .. }
            | Self::Budget { .. } => Audience::Both,
        }
    }

    /// The text users see; events capitalise it. A pod that can never be evicted is named after upstream's text.
    pub fn message(&self, snapshot: &Snapshot) -> String {
        let text = self.text(snapshot);
        let never = self.pod().and_then(|id| {
            let pod = &*snapshot.pods[id];
            let budgets = snapshot.budgets.iter().map(|budget| &**budget);
            Some(never(pod, budgets, snapshot.now)?.message(pod, None))
        });
        match never {
            Some(never) => format!("{text}; {never}"),
            None => text,
        }
    }

    /// What upstream says.
    fn text(&self, snapshot: &Snapshot) -> String {
        let pod_name = |pod: PodId| snapshot.pods[pod].display_name();
        let budget_name = |index: usize| {
            let budget = &snapshot.budgets[index];
            format!("{}/{}", budget.namespace, budget.name)
        };
        match self {
            Self::AlreadyDisrupted => "candidate is already being disrupted".into(),
            Self::NotManaged => "node isn't managed by karpenter".into(),
            Self::NoNode => "nodeclaim does not have an associated node".into(),
            Self::NotInitialized => "node isn't initialized".into(),
            Self::MarkedForDeletion => "node is deleting or marked for deletion".into(),
            Self::Nominated => "node is nominated for a pending pod".into(),
            Self::NodeDoNotDisrupt => {
                format!("disruption is blocked through the \"{DO_NOT_DISRUPT}\" annotation")
            }
            Self::NoPoolLabel => {
                format!("node doesn't have required label (label={NODEPOOL})")
            }
            Self::PoolNotFound(name) => format!("NodePool not found (NodePool={name})"),
            Self::PodDoNotDisrupt(pod) => {
                format!(
                    "pod has \"{DO_NOT_DISRUPT}\" annotation (Pod={})",
                    pod_name(*pod)
                )
            }
            Self::MultipleBudgets { budgets, .. } => {
                let names: Vec<String> =
                    budgets.iter().map(|&budget| budget_name(budget)).collect();
                format!(
                    "eviction does not support multiple PDBs (PodDisruptionBudget(s)=[{}])",
                    names.join(" ")
                )
            }
            Self::Budget { budget, .. } => format!(
                "pdb prevents pod evictions (PodDisruptionBudget=[{}])",
                budget_name(*budget)
            ),
        }
    }
}

/// Looks at one node. Nodes of `commands` are taken.
pub fn candidate(
    snapshot: &Snapshot,
    id: NodeId,
    class: Class,
    commands: &[Command],
) -> Result<Candidate, BlockReason> {
    let node = &*snapshot.nodes[id];
    if commands.iter().any(|command| command.holds(node)) {
        return Err(BlockReason::AlreadyDisrupted);
    }
    let claim = node.claim.as_ref().ok_or(BlockReason::NotManaged)?;
    if node.node.is_none() {
        return Err(BlockReason::NoNode);
    }
    if !node.initialized {
        return Err(BlockReason::NotInitialized);
    }
    if node.marked {
        return Err(BlockReason::MarkedForDeletion);
    }
    if node.is_nominated(snapshot.now) {
        return Err(BlockReason::Nominated);
    }
    if node.annotations.is(DO_NOT_DISRUPT, "true") {
        return Err(BlockReason::NodeDoNotDisrupt);
    }
    let pool_name = node.pool.as_ref().ok_or(BlockReason::NoPoolLabel)?;
    let pool = snapshot
        .pool_named(pool_name)
        .filter(|&pool| has_types(snapshot, pool))
        .ok_or_else(|| BlockReason::PoolNotFound(pool_name.clone()))?;
    let pods = &snapshot.places[id].pods;
    let ignores_pods = class == Class::Eventual && claim.termination_grace_period.is_some();
    if !ignores_pods && let Some(reason) = pod_block(snapshot, pods) {
        return Err(reason);
    }
    let bound = || pods.iter().map(|&pod| &*snapshot.pods[pod]);
    Ok(Candidate {
        node: id,
        pool,
        instance_type: instance_type(snapshot, node, pool),
        capacity_type: node
            .labels
            .get(CAPACITY_TYPE)
            .and_then(|value| snapshot.vocabulary.value(value)),
        price: price(snapshot, node, pool),
        reschedulable: pods
            .iter()
            .copied()
            .filter(|&pod| snapshot.pods[pod].is_reschedulable())
            .collect(),
        cost: DisruptionCost::of_moving(bound()),
    })
}

/// The pool is this provider's and may launch something.
fn has_types(snapshot: &Snapshot, pool: PoolId) -> bool {
    snapshot.pools[pool].supported
        && snapshot.catalogs[pool]
            .as_ref()
            .is_ok_and(|catalog| !catalog.types.is_empty())
}

/// The first pod that forbids disrupting its node: annotations of all pods come before budgets.
fn pod_block(snapshot: &Snapshot, pods: &[PodId]) -> Option<BlockReason> {
    let protected = |pod: &PodId| !snapshot.pods[*pod].is_disruptable(snapshot.now);
    if let Some(&pod) = pods.iter().find(|pod| protected(pod)) {
        return Some(BlockReason::PodDoNotDisrupt(pod));
    }
    pods.iter().find_map(|&id| {
        let pod = &*snapshot.pods[id];
        if !pod.is_evictable(snapshot.now) {
            return None;
        }
        match protecting(snapshot, pod).as_slice() {
            [] => None,
            &[budget] => {
                let blocks = blocks_eviction(&snapshot.budgets[budget], pod);
                blocks.then_some(BlockReason::Budget { pod: id, budget })
            }
            several => Some(BlockReason::MultipleBudgets {
                pod: id,
                budgets: several.into(),
            }),
        }
    })
}

/// Budgets that select the pod, as indices into the snapshot's.
fn protecting(snapshot: &Snapshot, pod: &Pod) -> Vec<usize> {
    let budgets = snapshot.budgets.iter().enumerate();
    budgets
        .filter(|(_, budget)| budget.protects(pod))
        .map(|(index, _)| index)
        .collect()
}

fn blocks_eviction(budget: &DisruptionBudget, pod: &Pod) -> bool {
    let is_free = budget.always_allow_unhealthy && pod.ready == Some(false);
    !is_free && budget.disruptions_allowed == 0
}

fn instance_type(snapshot: &Snapshot, node: &Node, pool: PoolId) -> Option<Arc<str>> {
    let catalog = snapshot.catalogs[pool].as_ref().ok()?;
    let name = node.labels.get(INSTANCE_TYPE)?;
    catalog.type_named(name).map(|_| name.clone())
}

/// What the node costs. Unknown is free, so that consolidation never counts on saving an amount that nobody
/// stated.
pub(super) fn price(snapshot: &Snapshot, node: &Node, pool: PoolId) -> Price {
    let offering = snapshot.offering_of(node, pool);
    offering.map_or(Price::ZERO, |offering| offering.price)
}
