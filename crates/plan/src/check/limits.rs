//! Pools keep within their limits, and a pool of higher weight comes first.

use alloc::vec::Vec;

use crate::pod::HostPort;
use crate::resources::{ResourceId, Resources};
use crate::schedule::{NewClaim, Plan};
use crate::snapshot::{Snapshot, View};
use crate::vocabulary::{IdVec, PoolId};

use super::claims::{Kinds, known_labels};
use super::existing::tolerates;
use super::terms::Terms;
use super::violation::Violation;

pub(super) fn violations(view: &View<'_>, plan: &Plan, kinds: &Kinds<'_>) -> Vec<Violation> {
    let mut left = remaining(view);
    let mut violations = Vec::new();
    for (index, claim) in plan.claims.iter().enumerate() {
        violations.extend(limit_violations(
            view.base,
            index,
            claim,
            &mut left[claim.pool],
        ));
        violations.extend(weight_violation(view.base, index, claim, kinds));
    }
    violations
}

/// What each pool's limits leave beside the nodes that stay.
fn remaining(view: &View<'_>) -> IdVec<PoolId, Resources> {
    let snapshot = view.base;
    let mut left: IdVec<PoolId, Resources> = snapshot
        .pools
        .values()
        .map(|pool| pool.limits.clone())
        .collect();
    for (id, place) in snapshot.places.iter() {
        let stays = !snapshot.nodes[id].marked && !view.gone.contains(id);
        if let Some(pool) = place.pool.filter(|_| stays) {
            left[pool].subtract_present(&place.capacity);
        }
    }
    left
}

/// No type may exceed what is left; the largest is taken off for the next claim. A limit of nodes does not
/// shrink within a round: no type has nodes. The scheduler takes
/// off the largest of the types it had when it opened the claim, which is at least as much.
fn limit_violations(
    snapshot: &Snapshot,
    index: usize,
    claim: &NewClaim,
    left: &mut Resources,
) -> Vec<Violation> {
    let Ok(catalog) = &snapshot.catalogs[claim.pool] else {
        return Vec::new();
    };
    let mut largest = Resources::new();
    let mut violations = Vec::new();
    for &kind in &claim.instance_types {
        largest.maximum(&catalog.types[kind].capacity);
    }
    for (resource, amount) in left.iter() {
        let is_spent = resource == ResourceId::NODES && amount <= 0;
        if is_spent || largest.get(resource) > amount {
            violations.push(Violation::Limit(index, resource));
        }
    }
    left.subtract_present(&largest);
    violations
}

/// The pod that a claim was opened for would have been taken by a pool that is asked before. Judged
/// only where the answer is beyond doubt: pools without limits, minimum numbers of values or
/// reservations, pods without preferences, and the pod's first alternative.
fn weight_violation(
    snapshot: &Snapshot,
    index: usize,
    claim: &NewClaim,
    kinds: &Kinds<'_>,
) -> Option<Violation> {
    let pod = &*snapshot.pods[*claim.pods.first()?];
    // A preference that only a lighter pool meets beats the order of weights.
    if pod.shape.has_preferences() {
        return None;
    }
    // Nor is it said here what other pods leave of a pool.
    let is_alone = |other: &crate::Pod| !other.shape.has_rules();
    if !snapshot.pods.values().all(|other| is_alone(other)) {
        return None;
    }
    let rank = |id: PoolId| (snapshot.pools[id].weight, snapshot.pools[id].name.clone());
    let wanted = Terms::of(pod.shape.alternatives.first()?, &snapshot.vocabulary);
    let ports: Vec<&HostPort> = pod.shape.ports.iter().collect();
    let is_plain = |terms: &Terms| terms.iter().all(|(_, set)| set.min_values.is_none());
    snapshot
        .pools
        .ids()
        .filter(|&id| rank(id) > rank(claim.pool))
        .find_map(|id| {
            let pool = &snapshot.pools[id];
            let Ok(catalog) = &snapshot.catalogs[id] else {
                return None;
            };
            let template = Terms::of(&pool.requirements, &snapshot.vocabulary);
            let is_certain = pool.is_dynamic()
                && pool.limits.is_empty()
                && is_plain(&template)
                && is_plain(&wanted)
                && catalog
                    .offerings
                    .values()
                    .all(|offering| offering.reservation_capacity == 0);
            if !is_certain
                || !tolerates(pod, &pool.taints, false)
                || !known_labels(snapshot, id).may_satisfy(&wanted)
            {
                return None;
            }
            let mut both = pool.requirements.clone();
            both.add_all(pod.shape.alternatives.first()?, &snapshot.vocabulary);
            let both = Terms::of(&both, &snapshot.vocabulary);
            let would_do = kinds.of(id).iter().any(|kind| {
                both.intersect(&kind.labels)
                    && kind.fits(&both, &pod.requests)
                    && kind.leaves_ports(&ports)
            });
            would_do.then_some(Violation::Weight(index, id))
        })
}
