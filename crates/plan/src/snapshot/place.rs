//! How one node is used: what it has, who is there, and what is left.

use alloc::vec::Vec;

use crate::{
    node::Node,
    pod::Owner,
    requirement::Undefined,
    resources::{ResourceId, Resources},
    taint::tolerates,
    vocabulary::{NodeId, PodId, PoolId},
};

use super::{Place, Snapshot};

/// One of something, in the thousandths that resources are counted in.
const ONE: i64 = 1000;

impl Snapshot {
    /// The place of a node with the pods that are bound to it, in id order.
    pub(super) fn place_of(&self, id: NodeId, bound: &[PodId]) -> Place {
        let node = &self.nodes[id];
        let pool = node.pool.as_deref().and_then(|name| self.pool_named(name));
        let (mut capacity, allocatable) = if node.is_unlaunched() {
            self.promised(node, pool)
        } else {
            (node.capacity.clone(), node.allocatable.clone())
        };
        capacity.set(ResourceId::NODES, ONE);
        let mut place = Place {
            pool,
            capacity,
            remaining: allocatable.clone(),
            allocatable,
            prebound: self.expected_on(node),
            ..Place::default()
        };
        for &id in bound {
            let pod = &self.pods[id];
            if pod.is_terminal() {
                continue;
            }
            place.pods.push(id);
            place.used.add(&pod.requests);
            if pod.owner == Owner::DaemonSet {
                place.used_by_daemons.add(&pod.requests);
            }
        }
        for &pod in &place.prebound {
            place.used.add(&self.pods[pod].requests);
        }
        let mut to_come = self.daemons_expected(node);
        to_come.subtract(&place.used_by_daemons);
        to_come.clamp_at_zero();
        place.remaining.subtract_present(&place.used);
        place.remaining.subtract_present(&to_come);
        place
    }

    /// Pods that a node was made for and that are not bound yet, in id order. The mirror may be late: a pod
    /// that is bound counts where it is.
    fn expected_on(&self, node: &Node) -> Vec<PodId> {
        let known = node.prebound.iter();
        let mut pods: Vec<PodId> = known
            .filter_map(|key| self.pod_with_key(key))
            .filter(|&pod| self.bound[pod].is_none() && !self.pods[pod].is_terminal())
            .collect();
        pods.sort_unstable();
        pods
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
