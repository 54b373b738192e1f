//! Every pod that waits is spoken for exactly once, and nobody else is.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::disruption_budget::DisruptionBudget;
use crate::pod::Pod;
use crate::schedule::{Plan, Report, SkipReason};
use crate::snapshot::{Snapshot, View};
use crate::vocabulary::PodId;

use super::violation::Violation;

/// Ids that name nothing.
pub(super) fn dangling(view: &View<'_>, plan: &Plan, report: &Report) -> Vec<Violation> {
    let snapshot = view.base;
    let mut violations = Vec::new();
    let mut require = |is_known: bool, what| {
        if !is_known {
            violations.push(Violation::Dangling(what));
        }
    };
    for pod in spoken_for(plan, report) {
        require(snapshot.pods.get(pod).is_some(), "pod");
    }
    for &(_, node) in &plan.bindings {
        require(snapshot.nodes.get(node).is_some(), "node");
    }
    for claim in &plan.claims {
        let catalog = snapshot.catalogs.get(claim.pool);
        require(catalog.is_some(), "pool");
        let Some(Ok(catalog)) = catalog else { continue };
        for &kind in &claim.instance_types {
            require(catalog.types.get(kind).is_some(), "instance type");
        }
        if let Some(offering) = claim.cheapest {
            require(catalog.offerings.get(offering).is_some(), "offering");
        }
    }
    violations
}

/// All pods that plan and report speak of, once for each time.
fn spoken_for<'a>(plan: &'a Plan, report: &'a Report) -> impl Iterator<Item = PodId> + 'a {
    placed(plan)
        .chain(report.unplaced.iter().map(|(pod, _)| *pod))
        .chain(report.ignored.iter().map(|(pod, _)| *pod))
        .chain(report.skipped.iter().map(|(pod, _)| *pod))
}

fn placed(plan: &Plan) -> impl Iterator<Item = PodId> + '_ {
    let bound = plan.bindings.iter().map(|(pod, _)| *pod);
    bound.chain(plan.claims.iter().flat_map(|claim| &claim.pods).copied())
}

/// How a pod stands before the plan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It waits for a place.
    Waits,
    /// It sits on a node that goes away and would need another place, but must not be moved.
    Stuck,
    /// It needs nothing.
    Content,
}

pub(super) fn violations(view: &View<'_>, plan: &Plan, report: &Report) -> Vec<Violation> {
    let snapshot = view.base;
    let mut mentions: BTreeMap<PodId, u32> = BTreeMap::new();
    for pod in spoken_for(plan, report) {
        *mentions.entry(pod).or_default() += 1;
    }
    let mut violations = Vec::new();
    for (id, pod) in snapshot.pods.iter() {
        match (standing(view, id), mentions.get(&id)) {
            (Standing::Waits | Standing::Stuck, None) => {
                violations.push(Violation::PodForgotten(id));
            }
            (_, Some(2..)) => violations.push(Violation::PodTwice(id)),
            (Standing::Waits | Standing::Stuck | Standing::Content, _) => {}
        }
        if mentions.contains_key(&id) && is_placed_wrongly(snapshot, plan, id, pod) {
            violations.push(Violation::PodRefused(id));
        }
    }
    let unplaced = report.unplaced.iter().map(|(pod, _)| *pod);
    let judged = placed(plan).chain(unplaced);
    violations.extend(
        judged
            .filter(|&pod| standing(view, pod) != Standing::Waits)
            .map(Violation::PodNotWaiting),
    );
    violations.extend(report.skipped.iter().filter_map(|&(pod, reason)| {
        let is_founded = match reason {
            SkipReason::Expected(node) => snapshot
                .places
                .get(node)
                .is_some_and(|place| place.prebound.contains(&pod)),
            SkipReason::NotMovable => standing(view, pod) != Standing::Waits,
        };
        (!is_founded).then_some(Violation::SkipUnfounded(pod))
    }));
    let has_pools = snapshot.pools.values().any(|pool| pool.is_dynamic());
    let is_placed_nowhere = !has_pools && placed(plan).next().is_some();
    if is_placed_nowhere || (report.no_pools && has_pools) {
        violations.push(Violation::NoPools);
    }
    violations
}

fn is_placed_wrongly(snapshot: &Snapshot, plan: &Plan, id: PodId, pod: &Pod) -> bool {
    let must_not = (pod.shape.claims_devices && snapshot.devices.is_none())
        || pod.shape.ignored.is_some()
        || (pod.is_provisionable() && snapshot.volumes.fault(pod).is_some());
    must_not && placed(plan).any(|placed| placed == id)
}

fn standing(view: &View<'_>, id: PodId) -> Standing {
    let snapshot = view.base;
    let pod = &*snapshot.pods[id];
    if pod.is_provisionable() || view.displaced.contains(&id) {
        return Standing::Waits;
    }
    let is_leaving = snapshot.bound[id]
        .is_some_and(|node| snapshot.nodes[node].marked && !view.gone.contains(node));
    if !is_leaving || pod.is_terminal() || !pod.is_reschedulable() {
        return Standing::Content;
    }
    if pod.is_disruptable(snapshot.now) && !is_fully_blocked(snapshot, pod) {
        Standing::Waits
    } else {
        Standing::Stuck
    }
}

/// Budgets by their specification never let the pod go.
fn is_fully_blocked(snapshot: &Snapshot, pod: &Pod) -> bool {
    if !pod.is_evictable(snapshot.now) {
        return false;
    }
    let budgets: Vec<&DisruptionBudget> = snapshot
        .budgets
        .iter()
        .map(|budget| &**budget)
        .filter(|b| b.protects(pod))
        .collect();
    match budgets.as_slice() {
        [] => false,
        [budget] => {
            let is_free = budget.always_allow_unhealthy && pod.ready == Some(false);
            budget.is_fully_blocking() && !is_free
        }
        _ => true,
    }
}
