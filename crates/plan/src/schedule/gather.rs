//! Which pods a round is about.

use alloc::vec::Vec;

use super::{Report, SkipReason};
use crate::{
    pod::{Ignored, Pod},
    snapshot::{Snapshot, View},
    vocabulary::{IdVec, NodeId, PodId},
};

/// Pods to place, in id order; the others go into the report.
pub(super) fn pods(view: &View<'_>, report: &mut Report) -> Vec<PodId> {
    let snapshot = view.base;
    let expected = expected(view);
    let mut pods = Vec::new();
    for (id, pod) in snapshot.pods.iter() {
        if pod.is_provisionable() {
            if let Some(ignored) = &pod.shape.ignored {
                report.ignored.push((id, ignored.clone()));
            } else if let Some(fault) = snapshot.volumes.fault(pod) {
                let message = fault.into();
                let event = true;
                report.ignored.push((id, Ignored { message, event }));
            } else if let Some(node) = expected[id] {
                report.skipped.push((id, SkipReason::Expected(node)));
            } else {
                pods.push(id);
            }
            continue;
        }
        // Pods of nodes that are going away look for a place in time; their own checks are over.
        let leaving = snapshot.bound[id]
            .filter(|&node| snapshot.nodes[node].marked && !view.gone.contains(node));
        if leaving.is_some() && !pod.is_terminal() && pod.is_reschedulable() {
            if pod.is_disruptable(snapshot.now) && !is_fully_blocked(snapshot, pod) {
                pods.push(id);
            } else {
                report.skipped.push((id, SkipReason::NotMovable));
            }
        }
    }
    pods.extend_from_slice(view.displaced);
    pods.sort_unstable();
    pods.dedup();
    pods
}

/// The place that was made for each pod, where there is one that will stay.
fn expected(view: &View<'_>) -> IdVec<PodId, Option<NodeId>> {
    let snapshot = view.base;
    let mut expected: IdVec<PodId, Option<NodeId>> = snapshot.pods.ids().map(|_| None).collect();
    for (node, place) in snapshot.places.iter() {
        if view.gone.contains(node) || snapshot.nodes[node].marked {
            continue;
        }
        for &pod in &place.prebound {
            expected[pod] = Some(node);
        }
    }
    expected
}

/// True when budgets can never allow the pod to be evicted.
pub fn is_fully_blocked(snapshot: &Snapshot, pod: &Pod) -> bool {
    if !pod.is_evictable(snapshot.now) {
        return false;
    }
    let mut protecting = snapshot
        .budgets
        .iter()
        .filter(|budget| budget.protects(pod));
    match (protecting.next(), protecting.next()) {
        (None, _) => false,
        // The eviction API refuses pods with more than one budget.
        (Some(_), Some(_)) => true,
        (Some(budget), None) => {
            let excused = budget.always_allow_unhealthy && pod.ready == Some(false);
            budget.is_fully_blocking() && !excused
        }
    }
}
