//! Placing on what is there: nodes, launched claims, and claims that wait for their launch.

use alloc::vec::Vec;

use fixedbitset::FixedBitSet;
use rustc_hash::FxHashMap;

use super::{
    ask::Ask,
    attach::Attached,
    class::Class,
    set::{Sets, WishId},
    topology::Topology,
};
use crate::{
    node::Node,
    pod::Pod,
    requirement::Undefined,
    resources::Resources,
    snapshot::{Snapshot, View},
    taint::tolerates,
    vocabulary::{IdVec, NodeId, PodId},
};

/// A place and what is left of it in this round.
#[derive(Debug)]
struct Bin {
    node: NodeId,
    remaining: Resources,
    /// Pods with host ports that this round put here.
    with_ports: Vec<PodId>,
}

/// Places in the order they are asked.
#[derive(Debug)]
pub(super) struct Existing<'a> {
    snapshot: &'a Snapshot,
    bins: Vec<Bin>,
    /// Places that take no pod that runs elsewhere.
    closed: FixedBitSet,
    /// Per wish the places whose taints and labels allow it, which nothing changes within a round.
    allowed: FxHashMap<WishId, FixedBitSet>,
    volumes: Attached<'a>,
}

impl<'a> Existing<'a> {
    pub(super) fn new(view: &View<'a>) -> Self {
        let snapshot = view.base;
        let mut nodes: Vec<NodeId> = snapshot
            .nodes
            .iter()
            .filter(|(id, node)| !node.marked && !view.gone.contains(*id))
            .map(|(id, _)| id)
            .collect();
        // Ids are in name order; the sort is stable.
        nodes.sort_by_key(|&id| {
            let node = &snapshot.nodes[id];
            (node.is_unlaunched(), !node.initialized)
        });
        let closed = nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| view.closed.contains(**node))
            .map(|(at, _)| at)
            .collect();
        let bins = nodes
            .into_iter()
            .map(|node| Bin {
                node,
                remaining: snapshot.places[node].remaining.clone(),
                with_ports: Vec::new(),
            })
            .collect();
        Self {
            snapshot,
            bins,
            closed,
            allowed: FxHashMap::default(),
            volumes: Attached::new(snapshot),
        }
    }

    /// The number of each place, in the order they are asked.
    pub(super) fn numbers(&self) -> IdVec<NodeId, Option<usize>> {
        let mut numbers: IdVec<NodeId, Option<usize>> =
            self.snapshot.nodes.ids().map(|_| None).collect();
        for (at, bin) in self.bins.iter().enumerate() {
            numbers[bin.node] = Some(at);
        }
        numbers
    }

    /// Puts the pod on the first place that accepts it.
    pub(super) fn place(
        &mut self,
        ask: &Ask<'_>,
        class: &mut Class,
        sets: &Sets<'a>,
        topology: &Topology<'a>,
    ) -> Option<NodeId> {
        let pod = ask.pod;
        let mut places = match class.places.take() {
            Some(places) => places,
            None => self.allowed(ask, sets),
        };
        let forbidden = topology.forbidden(ask.profile);
        let attachments = self.snapshot.volumes.attachments(pod);
        let mut from = 0;
        let mut accepted = None;
        while let Some(at) = next(&places, forbidden, from) {
            from = at + 1;
            let bin = &self.bins[at];
            if !topology.admits_node(ask.profile, &self.snapshot.nodes[bin.node]) {
                continue;
            }
            if !self.volumes.accept(bin.node, pod, &attachments) {
                continue;
            }
            if pod.requests.fits(&bin.remaining) && !self.ports_conflict(at, pod) {
                let devices = ask.devices.as_ref();
                if devices.is_some_and(|own| !own.borrow_mut().node_accepts(pod, bin.node)) {
                    continue;
                }
                let bin = &mut self.bins[at];
                bin.remaining.subtract_present(&pod.requests);
                if !pod.shape.ports.is_empty() {
                    bin.with_ports.push(ask.id);
                }
                self.volumes.attach(bin.node, pod, attachments);
                accepted = Some(bin.node);
                break;
            }
            places.set(at, false);
        }
        class.places = Some(places);
        accepted
    }

    /// Places whose taints and labels allow the wish, and where the volumes can be.
    fn allowed(&mut self, ask: &Ask<'_>, sets: &Sets<'a>) -> FixedBitSet {
        let Self {
            snapshot,
            bins,
            allowed,
            closed,
            ..
        } = self;
        let labelled = |node: &Node, wish: WishId| {
            node.requirements.compatible(
                &sets.wish_of(wish).requirements,
                Undefined::Refused,
                &snapshot.vocabulary,
            )
        };
        let places = allowed.entry(ask.wish).or_insert_with(|| {
            let tolerations = &sets.wish_of(ask.wish).tolerations;
            let mut places = FixedBitSet::with_capacity(bins.len());
            for (at, bin) in bins.iter().enumerate() {
                let node = &snapshot.nodes[bin.node];
                let allows = tolerates(tolerations, &node.taints) && labelled(node, ask.wish);
                places.set(at, allows);
            }
            places
        });
        let mut places = places.clone();
        if ask.moved {
            places.difference_with(closed);
        }
        if !ask.volumes.are_anywhere() {
            for (at, bin) in bins.iter().enumerate() {
                let node = &snapshot.nodes[bin.node];
                let mut alternatives = ask.volumes.alternatives().flatten();
                if !alternatives.any(|wish| labelled(node, wish)) {
                    places.set(at, false);
                }
            }
        }
        places
    }

    fn ports_conflict(&self, at: usize, pod: &Pod) -> bool {
        if pod.shape.ports.is_empty() {
            return false;
        }
        let bin = &self.bins[at];
        let place = &self.snapshot.places[bin.node];
        let here = place
            .pods
            .iter()
            .chain(&place.prebound)
            .chain(&bin.with_ports);
        here.map(|&other| &self.snapshot.pods[other]).any(|other| {
            // A pod never conflicts with itself.
            (&other.namespace, &other.name) != (&pod.namespace, &pod.name)
                && pod
                    .shape
                    .ports
                    .iter()
                    .any(|own| other.shape.ports.iter().any(|taken| own.conflicts(taken)))
        })
    }
}

/// The first place from here on that is not forbidden.
fn next(places: &FixedBitSet, forbidden: Option<&FixedBitSet>, from: usize) -> Option<usize> {
    const BITS: usize = usize::BITS as usize;
    let words = places.as_slice();
    let mut mask = usize::MAX.checked_shl(u32::try_from(from % BITS).ok()?)?;
    for (at, &word) in words.iter().enumerate().skip(from / BITS) {
        let banned = forbidden.and_then(|own| own.as_slice().get(at).copied());
        let left = word & !banned.unwrap_or(0) & mask;
        if left != 0 {
            return Some(at * BITS + left.trailing_zeros() as usize);
        }
        mask = usize::MAX;
    }
    None
}
