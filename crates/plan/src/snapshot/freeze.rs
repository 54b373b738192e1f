//! Parts into a snapshot.
//!
//! A cluster of thousands of nodes changes a little at a time, and rounds come every few seconds. So a
//! snapshot is made from an earlier one: what both have in common is taken over, and only the places of
//! nodes that have changed, or whose pods have, are worked out. The invariant is that the earlier one
//! does not show: whichever it is, the result is that of [`Snapshot::freeze`], which starts from none.

use alloc::{sync::Arc, vec::Vec};
use core::mem;

use fixedbitset::FixedBitSet;
use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    catalog::Catalog,
    node::Node,
    vocabulary::{Id, IdVec, NodeId, PodId},
};

use super::{Parts, Place, Roster, Snapshot, roster::Carried};

impl Snapshot {
    /// Sorts, numbers and joins the parts.
    pub fn freeze(now: Timestamp, parts: Parts) -> Self {
        Self::nothing(now).renewed(now, parts)
    }

    /// The same as freezing the parts, but cheaper the more they have in common with an earlier snapshot
    /// that was lowered with the same vocabulary.
    #[must_use]
    pub fn renewed(self, now: Timestamp, mut parts: Parts) -> Self {
        parts.pools.sort_by(|a, b| a.pool.name.cmp(&b.pool.name));
        parts
            .daemons
            .sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        parts
            .budgets
            .sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        parts.namespaces.sort_by(|a, b| a.name.cmp(&b.name));
        if !parts.default_spreads.spreads.is_empty() {
            mem::take(&mut parts.default_spreads).apply(parts.pods.namesakes());
        }
        let nodes = parts.nodes.clone();
        let names = Names::of(&nodes);
        let base = if self.is_base_for(&parts) && !names.are_ambiguous {
            self
        } else {
            Self::nothing(now)
        };
        base.with_places(now, parts, &names)
    }

    /// A snapshot of a world without anything in it.
    fn nothing(now: Timestamp) -> Self {
        Self {
            now,
            vocabulary: Arc::default(),
            pools: IdVec::default(),
            catalogs: IdVec::default(),
            nodes: Roster::default(),
            places: Arc::default(),
            pods: Roster::default(),
            bound: Arc::default(),
            daemons: IdVec::default(),
            budgets: Vec::new(),
            volumes: Arc::default(),
            devices: None,
            namespaces: Vec::new(),
            anti_affine: Vec::new(),
            set_aside: Vec::new(),
        }
    }

    /// Whether the places of equal nodes with equal pods are equal, too: they also depend on these.
    fn is_base_for(&self, parts: &Parts) -> bool {
        let same_catalog = |one: &Result<Arc<Catalog>, _>, other: &Result<Arc<Catalog>, _>| {
            let (one, other) = (one.as_ref().ok(), other.as_ref().ok());
            one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
        };
        let mut pools = self
            .pools
            .values()
            .zip(self.catalogs.values())
            .zip(&parts.pools);
        let mut daemons = self.daemons.values().zip(&parts.daemons);
        self.pools.len() == parts.pools.len()
            && pools.all(|((pool, catalog), part)| {
                Arc::ptr_eq(pool, &part.pool) && same_catalog(catalog, &part.catalog)
            })
            && self.daemons.len() == parts.daemons.len()
            && daemons.all(|(one, other)| Arc::ptr_eq(one, other))
            && self.devices.is_some() == parts.devices.is_some()
    }

    fn with_places(self, now: Timestamp, parts: Parts, names: &Names<'_>) -> Self {
        let nodes = Carried::between(&self.nodes, &parts.nodes);
        let pods = Carried::between(&self.pods, &parts.pods);
        let mut stale = self.stale_places(&nodes, &pods, names);
        let apart = self.still_apart(&pods);
        let bound = match (&nodes, &pods) {
            (Carried::Everything, Carried::Everything) => Bound {
                nodes: Arc::clone(&self.bound),
                joined: Vec::new(),
            },
            _ => self.bind(&parts, &nodes, &pods, names, &mut stale),
        };
        let places = carry_places(self.places, parts.nodes.ids(), &nodes, &pods);
        let Parts {
            vocabulary,
            pools,
            daemons,
            budgets,
            default_spreads: _,
            volumes,
            devices,
            namespaces,
            set_aside,
            ..
        } = parts;
        let mut snapshot = Self {
            now,
            vocabulary,
            catalogs: pools.iter().map(|part| part.catalog.clone()).collect(),
            pools: pools.into_iter().map(|part| part.pool).collect(),
            nodes: parts.nodes,
            places: Arc::default(),
            pods: parts.pods,
            bound: bound.nodes,
            daemons: daemons.into_iter().collect(),
            budgets,
            volumes,
            devices,
            namespaces,
            anti_affine: Vec::new(),
            set_aside,
        };
        snapshot.places = Arc::new(snapshot.work_out(places, &stale));
        snapshot.anti_affine = snapshot.find_anti_affine(apart, &bound.joined, names);
        snapshot
    }

    /// The node each pod is bound to. Pods that were on a node that is still the same stay there unasked;
    /// the places of nodes that others come to are stale.
    fn bind(
        &self,
        parts: &Parts,
        nodes: &Carried<NodeId>,
        pods: &Carried<PodId>,
        names: &Names<'_>,
        stale: &mut FixedBitSet,
    ) -> Bound {
        // Only a node that was not there under its name can be one that a pod has waited for.
        let left = nodes.gone().filter_map(|id| node_name(&self.nodes[id]));
        let left: FxHashSet<&str> = left.collect();
        let is_awaited = nodes
            .added()
            .filter_map(|id| node_name(&parts.nodes[id]))
            .any(|name| !left.contains(name));
        let mut joined = Vec::new();
        let bind = |id: PodId| {
            let mut ask = || {
                let name = parts.pods[id].node.as_deref()?;
                let node = *names.node_of.get(name)?;
                stale.grow_and_insert(node.index());
                Some(node)
            };
            let before = pods.from(id).map(|from| self.bound[from]);
            let node = match before {
                Some(Some(node)) => nodes.to(node).or_else(ask),
                Some(None) if !is_awaited => None,
                Some(None) | None => ask(),
            };
            if node.is_some() && before.flatten().is_none() {
                joined.push(id);
            }
            node
        };
        Bound {
            nodes: Arc::new(parts.pods.ids().map(bind).collect()),
            joined,
        }
    }

    /// Nodes whose places are not those of the base: they are new, have lost pods, or await some.
    fn stale_places(
        &self,
        nodes: &Carried<NodeId>,
        pods: &Carried<PodId>,
        names: &Names<'_>,
    ) -> FixedBitSet {
        let lost = pods.gone().filter_map(|pod| self.bound[pod]);
        let lost = lost.filter_map(|node| nodes.to(node));
        let awaiting = names.awaiting.iter().copied();
        let mut stale = FixedBitSet::new();
        for node in nodes.added().chain(lost).chain(awaiting) {
            stale.grow_and_insert(node.index());
        }
        stale
    }

    /// Pods that were bound and kept others away, and still are the same.
    fn still_apart(&self, pods: &Carried<PodId>) -> Vec<PodId> {
        let known = self.anti_affine.iter().map(|(pod, _)| *pod);
        let bound = known.filter(|&pod| self.bound[pod].is_some());
        bound.filter_map(|pod| pods.to(pod)).collect()
    }

    /// All places: those that are stale anew, the others as they are.
    fn work_out(
        &self,
        mut places: IdVec<NodeId, Place>,
        stale: &FixedBitSet,
    ) -> IdVec<NodeId, Place> {
        if stale.is_clear() {
            return places;
        }
        let mut residents: IdVec<NodeId, Vec<PodId>> =
            self.nodes.ids().map(|_| Vec::new()).collect();
        for (pod, node) in self.bound.iter() {
            if let Some(node) = node.filter(|node| stale.contains(node.index())) {
                residents[node].push(pod);
            }
        }
        for node in stale.ones().map(NodeId::from_index) {
            places[node] = self.place_of(node, &residents[node]);
        }
        places
    }

    /// Pods that have not ended and must not be near certain others: first those that are bound, in id
    /// order, then those that are expected, in the order of their nodes.
    fn find_anti_affine(
        &self,
        mut apart: Vec<PodId>,
        joined: &[PodId],
        names: &Names<'_>,
    ) -> Vec<(PodId, NodeId)> {
        let is_apart = |pod: &PodId| !self.pods[*pod].shape.topology.anti_affinity.is_empty();
        let joined = joined.iter().copied();
        apart.extend(joined.filter(|pod| !self.pods[*pod].is_terminal() && is_apart(pod)));
        apart.sort_unstable();
        let bound = apart.into_iter();
        let bound = bound.filter_map(|pod| Some((pod, self.bound[pod]?)));
        let expected = names.awaiting.iter().flat_map(|&node| {
            let pods = self.places[node].prebound.iter().copied();
            pods.filter(is_apart).map(move |pod| (pod, node))
        });
        bound.chain(expected).collect()
    }
}

/// Which pod is where.
struct Bound {
    /// The node each pod is bound to.
    nodes: Arc<IdVec<PodId, Option<NodeId>>>,
    /// Pods that are bound and were not, or not the same, before.
    joined: Vec<PodId>,
}

/// The name of the Node behind a node, which its pods carry.
fn node_name(node: &Node) -> Option<&str> {
    node.node.as_ref().map(|facts| &*facts.name)
}

/// What is asked of nodes by name.
struct Names<'n> {
    /// Nodes by the name of their Node; the last of namesakes.
    node_of: FxHashMap<&'n str, NodeId>,
    /// Several nodes stand for the same Node.
    are_ambiguous: bool,
    /// Nodes that pods are expected on, in id order.
    awaiting: Vec<NodeId>,
}

impl<'n> Names<'n> {
    fn of(nodes: &'n Roster<NodeId, Node>) -> Self {
        let mut names = Self {
            node_of: FxHashMap::default(),
            are_ambiguous: false,
            awaiting: Vec::new(),
        };
        names.node_of.reserve(nodes.len());
        for (id, node) in nodes.iter() {
            if let Some(name) = node_name(node) {
                names.are_ambiguous |= names.node_of.insert(name, id).is_some();
            }
            if !node.prebound.is_empty() {
                names.awaiting.push(id);
            }
        }
        names
    }
}

/// The places of an earlier snapshot under the ids of the later one.
fn carry_places(
    places: Arc<IdVec<NodeId, Place>>,
    count: impl Iterator<Item = NodeId>,
    nodes: &Carried<NodeId>,
    pods: &Carried<PodId>,
) -> IdVec<NodeId, Place> {
    let mut places = Arc::unwrap_or_clone(places);
    if let Carried::Part(_) = nodes {
        let mut take = |id| nodes.from(id).map(|from| mem::take(&mut places[from]));
        places = count.map(|id| take(id).unwrap_or_default()).collect();
    }
    for place in places.values_mut() {
        place.buffer_pods = 0;
        if pods.is_shifted() {
            // Pods that are gone make the place stale, so nothing is missing where it counts.
            place.pods.retain_mut(|pod| match pods.to(*pod) {
                Some(to) => {
                    *pod = to;
                    true
                }
                None => false,
            });
        }
    }
    places
}
