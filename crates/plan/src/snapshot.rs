//! The frozen world: everything a decision may depend on, at one instant.
//!
//! Built once per round by [`Snapshot::freeze`] from shared values in name order, so that dense ids do
//! not depend on the order of events. Never written afterwards; a what-if is a [`View`] beside it.

use alloc::{sync::Arc, vec::Vec};

use fixedbitset::FixedBitSet;
use jiff::Timestamp;
use rustc_hash::FxHashMap;

use crate::{
    catalog::Catalog,
    daemon::Daemon,
    default_spread::DefaultSpreads,
    device::{DeviceParts, Devices},
    disruption_budget::DisruptionBudget,
    lower::Problem,
    node::Node,
    pod::{Owner, Pod, PodKey},
    pool::Pool,
    requirement::Undefined,
    resources::{ResourceId, Resources},
    taint::tolerates,
    topology::Namespace,
    vocabulary::{DaemonId, Id, IdVec, NodeId, PodId, PoolId, Vocabulary},
    volume::{VolumeParts, Volumes},
};

/// One of something, in the thousandths that resources are counted in.
const ONE: i64 = 1000;

/// A pool with what it may launch.
#[derive(Clone, Debug)]
pub struct PoolPart {
    /// The pool.
    pub pool: Arc<Pool>,
    /// What the provider offers it, or why it offers nothing.
    pub catalog: Result<Arc<Catalog>, Arc<str>>,
}

/// What [`Snapshot::freeze`] takes, in any order.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The vocabulary that everything else was lowered with.
    pub vocabulary: Arc<Vocabulary>,
    /// All NodePools.
    pub pools: Vec<PoolPart>,
    /// All Nodes and NodeClaims, joined.
    pub nodes: Vec<Arc<Node>>,
    /// All pods.
    pub pods: Vec<Arc<Pod>>,
    /// All DaemonSets.
    pub daemons: Vec<Arc<Daemon>>,
    /// All PodDisruptionBudgets.
    pub budgets: Vec<Arc<DisruptionBudget>>,
    /// Spreads for pods that state none.
    pub default_spreads: DefaultSpreads,
    /// Volumes, their claims and classes, and what nodes can attach.
    pub volumes: VolumeParts,
    /// Dynamic resources, unless they are ignored.
    pub devices: Option<DeviceParts>,
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

/// The world at one instant.
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
    pub nodes: IdVec<NodeId, Arc<Node>>,
    /// How each node is used.
    pub places: IdVec<NodeId, Place>,
    /// Pods in order of namespace and name.
    pub pods: IdVec<PodId, Arc<Pod>>,
    /// The node each pod is bound to, if that is known.
    pub bound: IdVec<PodId, Option<NodeId>>,
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
}

impl Snapshot {
    /// Sorts, numbers and joins the parts.
    pub fn freeze(now: Timestamp, parts: Parts) -> Self {
        let Parts {
            vocabulary,
            mut pools,
            mut nodes,
            mut pods,
            mut daemons,
            mut budgets,
            default_spreads,
            volumes,
            devices,
            mut namespaces,
            set_aside,
        } = parts;
        pools.sort_by(|a, b| a.pool.name.cmp(&b.pool.name));
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        default_spreads.apply(pods.iter_mut());
        daemons.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        budgets.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        namespaces.sort_by(|a, b| a.name.cmp(&b.name));
        let mut snapshot = Self {
            now,
            vocabulary,
            catalogs: pools.iter().map(|part| part.catalog.clone()).collect(),
            pools: pools.into_iter().map(|part| part.pool).collect(),
            places: nodes.iter().map(|_| Place::default()).collect(),
            nodes: nodes.into_iter().collect(),
            bound: pods.iter().map(|_| None).collect(),
            pods: pods.into_iter().collect(),
            daemons: daemons.into_iter().collect(),
            budgets,
            volumes: Arc::new(Volumes::new(volumes)),
            devices: devices.map(|parts| Arc::new(Devices::new(parts))),
            namespaces,
            anti_affine: Vec::new(),
            set_aside,
        };
        snapshot.join();
        snapshot
    }

    /// The last round has put so many virtual pods of CapacityBuffers on a node; nodes that are not there
    /// host none.
    pub fn host_buffer_pods(&mut self, node: &str, count: u32) {
        if let Some(id) = self.node_named(node) {
            self.places[id].buffer_pods = count;
        }
    }

    /// The pool of that name.
    pub fn pool_named(&self, name: &str) -> Option<PoolId> {
        find(&self.pools, |pool| (*pool.name).cmp(name))
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

    fn join(&mut self) {
        self.bind();
        for id in self.nodes.ids() {
            let node = self.nodes[id].clone();
            let pool = node.pool.as_deref().and_then(|name| self.pool_named(name));
            let (capacity, allocatable) = if node.is_unlaunched() {
                self.promised(&node, pool)
            } else {
                (node.capacity.clone(), node.allocatable.clone())
            };
            let expected = self.daemons_expected(&node);
            let prebound: Vec<PodId> = node
                .prebound
                .iter()
                .filter_map(|key| self.pod_with_key(key))
                .collect();
            let place = &mut self.places[id];
            place.pool = pool;
            place.capacity = capacity;
            place.capacity.set(ResourceId::NODES, ONE);
            place.allocatable = allocatable;
            for pod in prebound {
                // The mirror may be late: a pod that is bound counts where it is.
                if self.bound[pod].is_none() && !self.pods[pod].is_terminal() {
                    if !self.pods[pod].shape.topology.anti_affinity.is_empty() {
                        self.anti_affine.push((pod, id));
                    }
                    place.used.add(&self.pods[pod].requests);
                    place.prebound.push(pod);
                }
            }
            place.prebound.sort_unstable();
            let mut to_come = expected;
            to_come.subtract(&place.used_by_daemons);
            to_come.clamp_at_zero();
            place.remaining = place.allocatable.clone();
            place.remaining.subtract_present(&place.used);
            place.remaining.subtract_present(&to_come);
        }
    }

    /// Joins pods to nodes and adds up what they use.
    fn bind(&mut self) {
        let names: FxHashMap<Arc<str>, NodeId> = self
            .nodes
            .iter()
            .filter_map(|(id, node)| Some((node.node.as_ref()?.name.clone(), id)))
            .collect();
        for (id, pod) in self.pods.iter() {
            let Some(&node) = pod.node.as_ref().and_then(|name| names.get(name)) else {
                continue;
            };
            self.bound[id] = Some(node);
            if pod.is_terminal() {
                continue;
            }
            if !pod.shape.topology.anti_affinity.is_empty() {
                self.anti_affine.push((id, node));
            }
            let place = &mut self.places[node];
            place.pods.push(id);
            place.used.add(&pod.requests);
            if pod.owner == Owner::DaemonSet {
                place.used_by_daemons.add(&pod.requests);
            }
        }
    }

    /// What an unlaunched claim is sure to have, whichever of its instance types it becomes: the least
    /// that pods may use, and the most that counts against limits.
    fn promised(&self, node: &Node, pool: Option<PoolId>) -> (Resources, Resources) {
        let none = (Resources::new(), Resources::new());
        let Some(claim) = &node.claim else {
            return none;
        };
        let Some(Ok(catalog)) = pool.map(|pool| &self.catalogs[pool]) else {
            return none;
        };
        let meeting = catalog.slots_meeting(&claim.requirements, &self.vocabulary);
        let mut slots = catalog.slots_offered(&claim.requirements, &self.vocabulary);
        slots.intersect_with(&meeting);
        if slots.is_clear() {
            slots = meeting;
        }
        let mut allocatable: Option<Resources> = None;
        for slot in slots.ones() {
            match &mut allocatable {
                Some(least) => least.minimum(catalog.allocatable(slot)),
                None => allocatable = Some(catalog.allocatable(slot).clone()),
            }
        }
        let mut capacity = Resources::new();
        for instance_type in catalog.types_of(&slots) {
            capacity.maximum(&catalog.types[instance_type].capacity);
        }
        (capacity, allocatable.unwrap_or_default())
    }

    /// Requests of the DaemonSets that will put a pod on the node. As upstream, only the first
    /// alternative of a DaemonSet is looked at.
    fn daemons_expected(&self, node: &Node) -> Resources {
        let mut total = Resources::new();
        for daemon in self.daemons.values() {
            let shape = &daemon.shape;
            let belongs = tolerates(&shape.tolerations, &node.taints)
                && node.requirements.compatible(
                    &shape.alternatives[0],
                    Undefined::Refused,
                    &self.vocabulary,
                );
            if belongs && !shape.never_comes(self.devices.is_none()) {
                total.add(&daemon.requests);
            }
        }
        total
    }
}

fn find<I: Id, T>(items: &IdVec<I, T>, compare: impl Fn(&T) -> core::cmp::Ordering) -> Option<I> {
    items
        .as_slice()
        .binary_search_by(compare)
        .ok()
        .map(I::from_index)
}
