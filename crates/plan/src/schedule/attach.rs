//! How many volumes nodes have attached and can attach (sections 2.4 and 6.4 of scheduling.md).

use alloc::{sync::Arc, vec::Vec};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::{pod::Pod, snapshot::Snapshot, vocabulary::NodeId, volume::Attachment};

/// Claims in use on one node, by driver. Pods that share a claim count it once.
type InUse = FxHashMap<Arc<str>, FxHashSet<(Arc<str>, Arc<str>)>>;

/// Attached volumes of nodes that somebody asked about.
#[derive(Debug)]
pub(super) struct Attached<'a> {
    snapshot: &'a Snapshot,
    nodes: FxHashMap<NodeId, InUse>,
}

impl<'a> Attached<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            nodes: FxHashMap::default(),
        }
    }

    /// The node can attach what the pod needs besides what it has.
    pub(super) fn accept(&mut self, node: NodeId, pod: &Pod, needed: &[Attachment]) -> bool {
        if needed.is_empty() {
            return true;
        }
        let snapshot = self.snapshot;
        let Some(limits) = snapshot.volumes.limits(&snapshot.nodes[node].name) else {
            return true;
        };
        let in_use = self.in_use(node);
        limits.limits.iter().all(|(driver, limit)| {
            let used = in_use.get(driver);
            let mut new: Vec<&Arc<str>> = needed
                .iter()
                .filter(|(own, _)| own == driver)
                .map(|(_, claim)| claim)
                .filter(|claim| {
                    let key = (pod.namespace.clone(), (*claim).clone());
                    used.is_none_or(|used| !used.contains(&key))
                })
                .collect();
            new.sort_unstable();
            new.dedup();
            new.is_empty() || used.map_or(0, FxHashSet::len) + new.len() <= *limit
        })
    }

    /// The pod's volumes are attached from now on.
    pub(super) fn attach(&mut self, node: NodeId, pod: &Pod, needed: Vec<Attachment>) {
        if needed.is_empty() {
            return;
        }
        let in_use = self.in_use(node);
        for (driver, claim) in needed {
            let claims = in_use.entry(driver).or_default();
            claims.insert((pod.namespace.clone(), claim));
        }
    }

    fn in_use(&mut self, node: NodeId) -> &mut InUse {
        let snapshot = self.snapshot;
        self.nodes.entry(node).or_insert_with(|| {
            let place = &snapshot.places[node];
            let mut in_use = InUse::default();
            for &pod in place.pods.iter().chain(&place.prebound) {
                let pod = &*snapshot.pods[pod];
                for (driver, claim) in snapshot.volumes.attachments(pod) {
                    let claims = in_use.entry(driver).or_default();
                    claims.insert((pod.namespace.clone(), claim));
                }
            }
            in_use
        })
    }
}
