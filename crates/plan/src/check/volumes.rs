//! Pods are where their volumes can be, and no node attaches more than it can.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::existing::host_name;
use super::terms::Terms;
use super::violation::Violation;
use crate::schedule::Plan;
use crate::snapshot::{Snapshot, View};
use crate::vocabulary::{NodeId, PodId};

pub(super) fn violations(view: &View<'_>, plan: &Plan) -> Vec<Violation> {
    let snapshot = view.base;
    let mut violations = Vec::new();
    for &(pod, node) in &plan.bindings {
        let node = &snapshot.nodes[node];
        let suits = |wanted: &Terms| wanted.are_met_by(&node.labels, host_name(node));
        if !is_suited(snapshot, pod, suits) {
            violations.push(Violation::VolumeElsewhere(pod));
        }
    }
    for claim in &plan.claims {
        let own = Terms::of(&claim.requirements, &snapshot.vocabulary);
        for &pod in &claim.pods {
            if !is_suited(snapshot, pod, |wanted| own.first_beyond(wanted).is_none()) {
                violations.push(Violation::VolumeElsewhere(pod));
            }
        }
    }
    let arrivals: BTreeSet<NodeId> = plan.bindings.iter().map(|(_, node)| *node).collect();
    for node in arrivals {
        violations.extend(attach_violation(snapshot, plan, node));
    }
    violations
}

fn is_suited(snapshot: &Snapshot, pod: PodId, suits: impl Fn(&Terms) -> bool) -> bool {
    let vocabulary = &snapshot.vocabulary;
    let wish = snapshot.volumes.wish(&snapshot.pods[pod], vocabulary);
    let mut alternatives = wish.alternatives.iter();
    wish.conflict.is_none()
        && (wish.alternatives.is_empty()
            || alternatives.any(|wanted| suits(&Terms::of(wanted, vocabulary))))
}

/// Claims by namespace and name.
type Claims = BTreeSet<(Arc<str>, Arc<str>)>;

fn attach_violation(snapshot: &Snapshot, plan: &Plan, node: NodeId) -> Option<Violation> {
    let limits = snapshot.volumes.limits(&snapshot.nodes[node].name)?;
    let place = &snapshot.places[node];
    let arrivals = plan.bindings.iter().filter(|(_, own)| *own == node);
    let new: BTreeSet<PodId> = arrivals.map(|(pod, _)| *pod).collect();
    let mut drivers: BTreeMap<Arc<str>, Claims> = BTreeMap::new();
    let mut added: BTreeSet<Arc<str>> = BTreeSet::new();
    let present = place.pods.iter().chain(&place.prebound).copied();
    for id in present.chain(new.iter().copied()) {
        let pod = &*snapshot.pods[id];
        for (driver, claim) in snapshot.volumes.attachments(pod) {
            let is_first = drivers
                .entry(driver.clone())
                .or_default()
                .insert((pod.namespace.clone(), claim));
            if is_first && new.contains(&id) {
                added.insert(driver);
            }
        }
    }
    let exceeded = limits.limits.iter().any(|(driver, limit)| {
        let used = drivers.get(driver).map_or(0, Claims::len);
        added.contains(driver) && used > *limit
    });
    exceeded.then_some(Violation::NodeVolumes(node))
}
