//! The frozen world: everything a decision may depend on, at one instant.
//!
//! Built once per round by [`Snapshot::freeze`] or [`Snapshot::renewed`] from shared values in name order,
//! so that dense ids do not depend on the order of events. Never written afterwards; a what-if is a
//! [`View`] beside it.

mod freeze;
mod place;
mod roster;

use alloc::{sync::Arc, vec::Vec};

use fixedbitset::FixedBitSet;
use jiff::Timestamp;
use karpenter_api::labels::{CAPACITY_TYPE, INSTANCE_TYPE, ZONE};

use crate::{
    catalog::{Catalog, CatalogOffering},
    daemon::Daemon,
    default_spread::DefaultSpreads,
    device::Devices,
    disruption_budget::DisruptionBudget,
    lower::Problem,
    node::Node,
    pod::{Phase, Pod, PodKey},
    pool::Pool,
    resources::Resources,
    topology::Namespace,
    vocabulary::{DaemonId, Id, IdVec, NodeId, PodId, PoolId, Vocabulary},
    volume::Volumes,
};

pub use roster::{Listed, Roster};

/// A pool with what it may launch.
#[derive(Clone, Debug)]
pub struct PoolPart {
    /// The pool.
    pub pool: Arc<Pool>,
    /// What the provider offers it, or why it offers nothing.
    pub catalog: Result<Arc<Catalog>, Arc<str>>,
}

/// What [`Snapshot::freeze`] takes, in any order; but rosters have theirs.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The vocabulary that everything else was lowered with.
    pub vocabulary: Arc<Vocabulary>,
    /// All NodePools.
    pub pools: Vec<PoolPart>,
    /// All Nodes and NodeClaims, joined.
    pub nodes: Roster<NodeId, Node>,
    /// All pods.
    pub pods: Roster<PodId, Pod>,
    /// All DaemonSets.
    pub daemons: Vec<Arc<Daemon>>,
    /// All PodDisruptionBudgets.
    pub budgets: Vec<Arc<DisruptionBudget>>,
    /// Spreads for pods that state none.
    pub default_spreads: DefaultSpreads,
    /// Volumes, their claims and classes, and what nodes can attach.
    pub volumes: Arc<Volumes>,
    /// Dynamic resources, unless they are ignored.
    pub devices: Option<Arc<Devices>>,
    /// All namespaces, for rules that select them by their labels.
    pub namespaces: Vec<Arc<Namespace>>,
    /// What could not be lowered.
    pub set_aside: Vec<Problem>,
}

/// How a node is used.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The pool it belongs to, if that exists.
    pub pool: Option<PoolId>,
    /// What the machine has, with `nodes: 1`. For an unlaunched claim the most any of its types has.
    pub capacity: Resources,
    /// What pods may use. For an unlaunched claim the least that each of its types gives.
    pub allocatable: Resources,
    /// What its pods request, bound or expected.
    pub used: Resources,
    /// What DaemonSet pods among them request.
    pub used_by_daemons: Resources,
    /// What is left for more pods, once every DaemonSet that belongs here has its pod.
    pub remaining: Resources,
    /// Pods bound to it that have not ended, in id order.
    pub pods: Vec<PodId>,
    /// Pods it was made for that are not bound yet, in id order.
    pub prebound: Vec<PodId>,
    /// Virtual pods of CapacityBuffers that the last round has put here.
    pub buffer_pods: u32,
}

/// The world at one instant. A copy shares whatever is large.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The instant.
    pub now: Timestamp,
    /// Names behind the ids.
    pub vocabulary: Arc<Vocabulary>,
    /// Pools in name order.
    pub pools: IdVec<PoolId, Arc<Pool>>,
    /// What each pool may launch, or why it may launch nothing.
    pub catalogs: IdVec<PoolId, Result<Arc<Catalog>, Arc<str>>>,
    /// Nodes in name order.
    pub nodes: Roster<NodeId, Node>,
    /// How each node is used.
    pub places: Arc<IdVec<NodeId, Place>>,
    /// Pods in order of namespace and name.
    pub pods: Roster<PodId, Pod>,
    /// The node each pod is bound to, if that is known.
    pub bound: Arc<IdVec<PodId, Option<NodeId>>>,
    /// DaemonSets in order of namespace and name.
    pub daemons: IdVec<DaemonId, Arc<Daemon>>,
    /// PodDisruptionBudgets in order of namespace and name.
    pub budgets: Vec<Arc<DisruptionBudget>>,
    /// Volumes, their claims and classes, and what nodes can attach.
    pub volumes: Arc<Volumes>,
    /// Dynamic resources; nothing when they are ignored, and pods that claim some are refused.
    pub devices: Option<Arc<Devices>>,
    /// Namespaces in name order.
    pub namespaces: Vec<Arc<Namespace>>,
    /// Pods that have not ended and must not be near certain others, with the node each is bound to or
    /// expected on.
    pub anti_affine: Vec<(PodId, NodeId)>,
    /// What could not be lowered.
    pub set_aside: Vec<Problem>,
}

/// A set of nodes of one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMask(FixedBitSet);

impl NodeMask {
    /// No nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// True when the node is in the set.
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.contains(node.index())
    }

    /// Puts a node into the set.
    pub fn insert(&mut self, node: NodeId) {
        self.0.grow(node.index() + 1);
        self.0.insert(node.index());
    }

    /// No node is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_clear()
    }

    /// Nodes in id order.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.ones().map(NodeId::from_index)
    }
}

impl FromIterator<NodeId> for NodeMask {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        let mut mask = Self::new();
        nodes.into_iter().for_each(|node| mask.insert(node));
        mask
    }
}

/// What-if: some nodes are gone and some pods need another place.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The world as it is.
    pub base: &'a Snapshot,
    /// Nodes that no longer count as places.
    pub gone: NodeMask,
    /// Pods to be placed besides the pending ones; those of the nodes that are gone, as a rule.
    pub displaced: &'a [PodId],
    /// Nodes that take no displaced pod that runs already (section 6 of disruption.md): they have not been
    /// quiet for long enough to be disturbed.
    pub closed: NodeMask,
}

impl View<'_> {
    /// The pods that may not go to closed nodes.
    pub(crate) fn moved(&self) -> FixedBitSet {
        let runs = |pod: &&PodId| self.base.pods[**pod].phase != Phase::Pending;
        let moved = self.displaced.iter().filter(runs);
        if self.closed.is_empty() {
            return FixedBitSet::new();
        }
        moved.map(|pod| pod.0 as usize).collect()
    }
}

impl Snapshot {
    /// The last round has put so many virtual pods of CapacityBuffers on a node; nodes that are not there
    /// host none.
    pub fn host_buffer_pods(&mut self, node: &str, count: u32) {
        if let Some(id) = self.node_named(node) {
            Arc::make_mut(&mut self.places)[id].buffer_pods = count;
        }
    }

    /// The pool of that name.
    pub fn pool_named(&self, name: &str) -> Option<PoolId> {
        find(&self.pools, |pool| (*pool.name).cmp(name))
    }

    /// What a node of the pool was bought as: the first offering of its type, zone and capacity type. Whether that
    /// could be bought today does not matter, the node is bought.
    pub fn offering_of(&self, node: &Node, pool: PoolId) -> Option<&CatalogOffering> {
        let catalog = self.catalogs[pool].as_ref().ok()?;
        let instance_type = catalog.type_named(node.labels.get(INSTANCE_TYPE)?)?;
        let zone = self.vocabulary.value(node.labels.get(ZONE)?)?;
        let capacity_type = self.vocabulary.value(node.labels.get(CAPACITY_TYPE)?)?;
        let offering = catalog.offering(instance_type, zone, capacity_type)?;
        Some(&catalog.offerings[offering])
    }

    /// The node of that name (a NodeClaim's name until its Node is registered).
    pub fn node_named(&self, name: &str) -> Option<NodeId> {
        find(&self.nodes, |node| (*node.name).cmp(name))
    }

    /// The pod of that name.
    pub fn pod_named(&self, namespace: &str, name: &str) -> Option<PodId> {
        find(&self.pods, |pod| {
            (&*pod.namespace, &*pod.name).cmp(&(namespace, name))
        })
    }

    /// The pod with that key.
    pub fn pod_with_key(&self, key: &PodKey) -> Option<PodId> {
        self.pod_named(&key.namespace, &key.name)
    }
}

fn find<I: Id, T>(items: &IdVec<I, T>, compare: impl Fn(&T) -> core::cmp::Ordering) -> Option<I> {
    items
        .as_slice()
        .binary_search_by(compare)
        .ok()
        .map(I::from_index)
}
