//! Places that exist really take what is put there.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::node::Node;
use crate::pod::{HostPort, Pod};
use crate::resources::Resources;
use crate::schedule::{Plan, Report};
use crate::snapshot::{Snapshot, View};
use crate::taint::Taint;
use crate::vocabulary::{NodeId, PodId};

use super::daemons;
use super::terms::Terms;
use super::violation::Violation;

/// The name that the node's host name requirement stands for.
pub(crate) fn host_name(node: &Node) -> &str {
    node.labels
        .get(karpenter_api::labels::HOSTNAME)
        .unwrap_or(&node.name)
}

/// The pod bears with every taint; one whose preferences were dropped also bears with those that
/// only prefer to keep it away.
pub(super) fn tolerates(pod: &Pod, taints: &[Taint], is_relaxed: bool) -> bool {
    taints.iter().all(|taint| {
        (is_relaxed && &*taint.effect == "PreferNoSchedule")
            || pod.shape.tolerations.iter().any(|own| own.tolerates(taint))
    })
}

pub(super) fn violations(view: &View<'_>, plan: &Plan, report: &Report) -> Vec<Violation> {
    let snapshot = view.base;
    let mut arrivals: BTreeMap<NodeId, Vec<PodId>> = BTreeMap::new();
    for &(pod, node) in &plan.bindings {
        arrivals.entry(node).or_default().push(pod);
    }
    let mut violations = Vec::new();
    for (id, pods) in arrivals {
        let node = &*snapshot.nodes[id];
        for &pod in &pods {
            let lowered = &*snapshot.pods[pod];
            if node.marked || view.gone.contains(id) {
                violations.push(Violation::NodeGoing(pod, id));
            }
            if !tolerates(lowered, &node.taints, report.step(pod).is_some()) {
                violations.push(Violation::NodeTaint(pod, id));
            }
            let is_met = lowered.shape.alternatives.iter().any(|wanted| {
                let wanted = Terms::of(wanted, &snapshot.vocabulary);
                wanted.are_met_by(&node.labels, host_name(node))
            });
            if !is_met {
                violations.push(Violation::NodeLabels(pod, id));
            }
        }
        violations.extend(port_violations(snapshot, id, &pods));
        violations.extend(capacity_violations(snapshot, id, &pods));
    }
    violations
}

/// Pods that the node has or waits for.
fn present(snapshot: &Snapshot, id: NodeId) -> impl Iterator<Item = &Pod> {
    let place = &snapshot.places[id];
    place
        .pods
        .iter()
        .chain(&place.prebound)
        .map(|&pod| &*snapshot.pods[pod])
}

fn port_violations(snapshot: &Snapshot, id: NodeId, arrivals: &[PodId]) -> Vec<Violation> {
    let mut taken: Vec<&HostPort> = present(snapshot, id)
        .flat_map(|pod| &pod.shape.ports)
        .collect();
    let mut violations = Vec::new();
    for &pod in arrivals {
        let ports = &snapshot.pods[pod].shape.ports;
        if ports
            .iter()
            .any(|port| taken.iter().any(|other| port.conflicts(other)))
        {
            violations.push(Violation::NodePorts(pod, id));
        }
        taken.extend(ports);
    }
    violations
}

fn capacity_violations(snapshot: &Snapshot, id: NodeId, arrivals: &[PodId]) -> Vec<Violation> {
    let mut used = Resources::new();
    let mut used_by_daemons = Resources::new();
    for pod in present(snapshot, id) {
        used.add(&pod.requests);
        if pod.owner == crate::pod::Owner::DaemonSet {
            used_by_daemons.add(&pod.requests);
        }
    }
    used.add(&daemons::on_existing(
        snapshot,
        &snapshot.nodes[id],
        &used_by_daemons,
    ));
    let mut asked = Resources::new();
    for &pod in arrivals {
        asked.add(&snapshot.pods[pod].requests);
    }
    // A resource counts when the node has it or a newcomer asks for it; what others ask for and the
    // node never had is not the newcomers' fault.
    let allocatable = &snapshot.places[id].allocatable;
    let mut counted: Resources = allocatable.clone();
    counted.add(&asked);
    counted
        .iter()
        .map(|(resource, _)| resource)
        .filter(|&resource| {
            let wanted = asked.get(resource);
            let has_name = allocatable.find(resource).is_some();
            let left = allocatable.get(resource) - if has_name { used.get(resource) } else { 0 };
            left < wanted || left < 0
        })
        .map(|resource| Violation::NodeCapacity(id, resource))
        .collect()
}
