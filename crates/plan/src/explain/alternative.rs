//! Where else a pod could have gone that has a place.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::schedule::Plan;
use crate::snapshot::Snapshot;
use crate::vocabulary::PodId;

use super::NodeExplanation;
use super::pool::PoolView;

/// Nodes and pools, other than where it goes, that would take the pod. Of pods with rules about other
/// pods, or with volumes, nothing is said: their place changes what is allowed elsewhere.
pub(super) fn alternatives(
    snapshot: &Snapshot,
    plan: &Plan,
    id: PodId,
    pools: &[PoolView<'_>],
    nodes: &[NodeExplanation],
) -> Vec<String> {
    let pod = &*snapshot.pods[id];
    let topology = &pod.shape.topology;
    let has_rules = !topology.spreads.is_empty()
        || !topology.affinity.is_empty()
        || !topology.anti_affinity.is_empty();
    if has_rules || !pod.volumes.is_empty() {
        return Vec::new();
    }
    let bound = plan.bindings.iter().find(|(bound, _)| *bound == id);
    let node = bound.map(|(_, node)| &*snapshot.nodes[*node].name);
    let claim = plan.claims.iter().find(|claim| claim.pods.contains(&id));
    let mut found: Vec<String> = nodes
        .iter()
        .filter(|other| other.message == "fits" && node != Some(&*other.node))
        .map(|other| format!("node {}", other.node))
        .collect();
    for view in pools {
        let Ok(stock) = &view.stock else { continue };
        let mut fitting = view.fitting(stock, pod, &|_| true);
        if let Some(claim) = claim.filter(|claim| claim.pool == view.id) {
            fitting.retain(|(kind, _)| !claim.instance_types.contains(kind));
        }
        if let Some(&(kind, price)) = fitting.first() {
            let name = &stock.catalog.types[kind].name;
            found.push(format!(
                "nodepool {}: {} instance types, cheapest {name} at {price}",
                view.pool.name,
                fitting.len()
            ));
        }
    }
    found
}
