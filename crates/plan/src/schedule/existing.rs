//! Placing on what is there: nodes, launched claims, and claims that wait for their launch.

use alloc::{rc::Rc, vec::Vec};

use rustc_hash::FxHashMap;

use super::{
    class::Class,
    set::{Sets, WishId},
};
use crate::{
    pod::Pod,
    requirement::Undefined,
    resources::Resources,
    snapshot::{Snapshot, View},
    taint::tolerates,
    vocabulary::{NodeId, PodId},
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
    /// Per wish the places whose taints and labels allow it, which nothing changes within a round.
    allowed: FxHashMap<WishId, Rc<[u32]>>,
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
            allowed: FxHashMap::default(),
        }
    }

    /// Puts the pod on the first place that accepts it.
    pub(super) fn place(
        &mut self,
        class: &mut Class,
        sets: &mut Sets<'a>,
        wish: WishId,
        id: PodId,
        pod: &Pod,
    ) -> Option<NodeId> {
        let allowed = self.allowed(sets, wish);
        while let Some(&at) = allowed.get(class.cursor) {
            let at = at as usize;
            if pod.requests.fits(&self.bins[at].remaining) && !self.ports_conflict(at, pod) {
                let bin = &mut self.bins[at];
                bin.remaining.subtract_present(&pod.requests);
                if !pod.shape.ports.is_empty() {
                    bin.with_ports.push(id);
                }
                return Some(bin.node);
            }
            class.cursor += 1;
        }
        None
    }

    fn allowed(&mut self, sets: &Sets<'a>, wish: WishId) -> Rc<[u32]> {
        if let Some(known) = self.allowed.get(&wish) {
            return known.clone();
        }
        let wanted = sets.wish_of(wish);
        let allows = |bin: &Bin| {
            let node = &self.snapshot.nodes[bin.node];
            tolerates(&wanted.tolerations, &node.taints)
                && node.requirements.compatible(
                    &wanted.requirements,
                    Undefined::Refused,
                    &self.snapshot.vocabulary,
                )
        };
        let list: Rc<[u32]> = (0u32..)
            .zip(&self.bins)
            .filter(|(_, bin)| allows(bin))
            .map(|(at, _)| at)
            .collect();
        self.allowed.insert(wish, list.clone());
        list
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
