//! What a command holds, and how it is written.
//!
//! Holds everything by name, because ids belong to one snapshot and a command outlives many. What is to be
//! done next is the business of [`step`](super::step), whether a held command may still be carried out that of
//! [`validity`](super::validity).

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};
use karpenter_api::NodeClaim;

use crate::node::{ClaimFacts, Node};
use crate::price::{Cost, Price};
use crate::schedule::{NewClaim, node_claim};
use crate::snapshot::Snapshot;
use crate::static_pool::static_claim;
use crate::vocabulary::{NodeId, PoolId};

use super::balanced::Weighing;
use super::method::{Decision, Method};
use super::step::Failure;

/// How long a consolidation is held before it is carried out, so that a pod that is about to need
/// the nodes can still say so.
pub const HOLD: SignedDuration = SignedDuration::from_secs(15);

/// A node that a command removes, by the names that survive a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The Node.
    pub node: Arc<str>,
    /// Its NodeClaim.
    pub claim: Arc<str>,
    /// The claim's uid: a successor with the same name is somebody else.
    pub uid: Arc<str>,
    /// The machine.
    pub provider_id: Option<Arc<str>>,
    /// The pool.
    pub pool: Arc<str>,
}

/// A claim that must be ready before the nodes may go.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement {
    /// What to create, complete.
    pub object: Box<NodeClaim>,
    /// The pool.
    pub pool: Arc<str>,
    /// Names of the instance types that will do, cheapest first; none for a static pool's.
    pub instance_types: Vec<Arc<str>>,
    /// The cheapest way to buy the first of them.
    pub cheapest: Option<Bid>,
    /// Minimum numbers of values were lowered for it.
    pub min_values_relaxed: bool,
    /// The NodeClaim's name, once it was created.
    pub created: Option<Arc<str>>,
    /// It was seen initialised. What becomes of it later no longer matters.
    pub is_initialized: bool,
}

/// A way to buy an instance type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bid {
    /// The zone, where there is one.
    pub zone: Option<Arc<str>>,
    /// `spot`, `on-demand` or `reserved`.
    pub capacity_type: Option<Arc<str>>,
    /// The price.
    pub price: Price,
}

/// Nodes to be disrupted, and how far that has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The method that found it.
    pub method: Method,
    /// What becomes of the nodes.
    pub decision: Decision,
    /// The nodes, best first.
    pub nodes: Vec<Target>,
    /// Their replacements.
    pub replacements: Vec<Replacement>,
    /// Names of nodes that stay and that pods would move to, in order.
    pub destinations: Vec<Arc<str>>,
    /// What pools made of it, for consolidations.
    pub weighings: Vec<Weighing>,
    /// How many pods have to move.
    pub pods: usize,
    /// What an hour costs less afterwards.
    pub savings: Cost,
    /// When it was proposed.
    pub proposed: Timestamp,
    /// When it may be carried out, if it is still valid then.
    pub due: Timestamp,
    /// When it was found still valid and put in flight; until then it is held.
    pub started: Option<Timestamp>,
    /// Why it cannot be carried out; set by whoever tried.
    pub failure: Option<Failure>,
}

impl Command {
    /// The node belongs to this command.
    pub fn holds(&self, node: &Node) -> bool {
        self.nodes.iter().any(|target| target.is(node))
    }

    /// It waits for its time to come.
    pub fn is_held(&self) -> bool {
        self.started.is_none()
    }

    /// The command as logs print it, without a reason or an id: `delete: [n1]`.
    pub fn text(&self) -> String {
        let names: Vec<&str> = self.nodes.iter().map(|target| &*target.node).collect();
        self.text_of(&names)
    }

    /// The command as events about one of its nodes print it.
    pub fn text_for(&self, target: &Target) -> String {
        let count = self.nodes.len();
        if count == 1 {
            return self.text();
        }
        let own = self.text_of(&[&target.node]);
        format!("{own} (part of {count}-node consolidation)")
    }

    /// The command as the log prints it, under a name of its own.
    pub fn text_named(&self, id: &str) -> String {
        let names: Vec<&str> = self.nodes.iter().map(|target| &*target.node).collect();
        format!(
            "{}/{id}: {}: nodepools=[{}]: {} (savings: ${:.2})",
            self.method.reason(),
            self.decision.as_str(),
            self.pools().join(","),
            self.change_of(&names),
            self.savings.dollars()
        )
    }

    /// The pools that it takes nodes of, in name order.
    pub fn pools(&self) -> Vec<&str> {
        let mut pools: Vec<&str> = self.nodes.iter().map(|target| &*target.pool).collect();
        pools.sort_unstable();
        pools.dedup();
        pools
    }

    fn text_of(&self, names: &[&str]) -> String {
        format!("{}: {}", self.decision.as_str(), self.change_of(names))
    }

    fn change_of(&self, names: &[&str]) -> String {
        let names = names.join(", ");
        match (self.decision, self.replacements.len()) {
            (Decision::Delete, _) => format!("[{names}]"),
            (Decision::Replace, 1) => format!("[{names}] -> [1 replacement]"),
            (Decision::Replace, count) => format!("[{names}] -> [{count} replacements]"),
        }
    }
}

impl Replacement {
    /// What a round has planned.
    pub fn planned(snapshot: &Snapshot, claim: &NewClaim) -> Self {
        let text = |value| snapshot.vocabulary.value_text(value).clone();
        let catalog = snapshot.catalogs[claim.pool].as_ref().ok();
        let names = catalog.into_iter().flat_map(|catalog| {
            let name = |id| catalog.types[id].name.clone();
            claim.instance_types.iter().copied().map(name)
        });
        let cheapest = catalog.zip(claim.cheapest).map(|(catalog, id)| {
            let offering = &catalog.offerings[id];
            Bid {
                zone: offering.zone.map(text),
                capacity_type: offering.capacity_type.map(text),
                price: offering.price,
            }
        });
        Self {
            object: Box::new(node_claim(snapshot, claim)),
            pool: snapshot.pools[claim.pool].name.clone(),
            instance_types: names.collect(),
            cheapest,
            min_values_relaxed: claim.min_values_relaxed,
            created: None,
            is_initialized: false,
        }
    }

    /// One more claim of a static pool's template.
    pub fn of_template(snapshot: &Snapshot, pool: PoolId, seed: u64) -> Self {
        Self {
            object: Box::new(static_claim(snapshot, pool, seed)),
            pool: snapshot.pools[pool].name.clone(),
            instance_types: Vec::new(),
            cheapest: None,
            min_values_relaxed: false,
            created: None,
            is_initialized: false,
        }
    }
}

impl Target {
    /// Names the node behind a candidate.
    pub fn of(snapshot: &Snapshot, id: NodeId) -> Option<Self> {
        let node = &snapshot.nodes[id];
        let claim = node.claim.as_ref()?;
        Some(Self {
            node: node.node.as_ref()?.name.clone(),
            claim: claim.name.clone(),
            uid: claim.uid.clone(),
            provider_id: node.provider_id.clone(),
            pool: node.pool.clone()?,
        })
    }

    /// True when the node is the one meant.
    pub fn is(&self, node: &Node) -> bool {
        node.claim
            .as_ref()
            .is_some_and(|claim| claim.uid == self.uid && claim.name == self.claim)
    }

    /// The node, while both its objects exist.
    pub fn id(&self, snapshot: &Snapshot) -> Option<NodeId> {
        snapshot
            .node_named(&self.node)
            .filter(|&id| self.is(&snapshot.nodes[id]))
    }

    /// The node, also when its Node object is gone and only the claim is left.
    pub(super) fn find<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Node> {
        let id = self.id(snapshot);
        id.map(|id| &*snapshot.nodes[id])
            .or_else(|| claim_named(snapshot, &self.claim).filter(|node| self.is(node)))
    }
}

pub(super) fn claim_named<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a Node> {
    let is_named = |claim: &ClaimFacts| *claim.name == *name;
    snapshot
        .nodes
        .values()
        .find(|node| node.claim.as_ref().is_some_and(is_named))
        .map(|node| &**node)
}
