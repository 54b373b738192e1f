//! Rules between pods hold once everybody is where the plan puts them.
//!
//! The order of placements is not known here, so a spread is judged by what must hold at the end: a
//! domain may be ahead only by pods that state no such rule themselves and came later, or that were on a
//! claim before it was known in which domain that would be.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::existing::host_name;
use super::terms::Terms;
use super::violation::Violation;
use crate::pod::Pod;
use crate::schedule::Plan;
use crate::snapshot::{Snapshot, View};
use crate::topology::{AffinityTerm, Spread};
use crate::vocabulary::{KeyId, NodeId, PodId};

#[derive(Clone, Copy)]
enum Place {
    Node(NodeId),
    Claim(usize),
}

/// A pod and where it is in the end.
struct Stand<'a> {
    id: PodId,
    pod: &'a Pod,
    place: Place,
    is_new: bool,
}

struct Judge<'a> {
    snapshot: &'a Snapshot,
    view: &'a View<'a>,
    plan: &'a Plan,
    stands: Vec<Stand<'a>>,
}

pub(super) fn violations(view: &View<'_>, plan: &Plan) -> Vec<Violation> {
    let snapshot = view.base;
    if !snapshot.pods.values().any(|pod| pod.shape.has_rules()) {
        return Vec::new();
    }
    let judge = Judge {
        snapshot,
        view,
        plan,
        stands: stands(snapshot, plan),
    };
    let mut violations = Vec::new();
    for stand in &judge.stands {
        let topology = &stand.pod.shape.topology;
        for term in &topology.anti_affinity {
            violations.extend(judge.too_near(stand, term));
        }
        if stand.is_new {
            let far = topology.affinity.iter();
            let far = far.filter(|term| !judge.is_near(stand, term));
            violations.extend(far.map(|term| Violation::NotNear(stand.id, term.key)));
            // Who moves although its volumes cannot be found moves without spreads.
            let is_lost = snapshot.volumes.fault(stand.pod).is_some();
            let hard = topology.spreads.iter();
            let hard = hard.filter(|spread| spread.is_hard && !is_lost);
            let ahead = hard.filter(|spread| !judge.is_spread(stand, spread));
            violations.extend(ahead.map(|spread| Violation::TooFarAhead(stand.id, spread.key)));
        }
    }
    violations
}

fn stands<'a>(snapshot: &'a Snapshot, plan: &'a Plan) -> Vec<Stand<'a>> {
    let mut places: BTreeMap<PodId, (Place, bool)> = BTreeMap::new();
    for (node, place) in snapshot.places.iter() {
        for &pod in place.pods.iter().chain(&place.prebound) {
            places.insert(pod, (Place::Node(node), false));
        }
    }
    for &(pod, node) in &plan.bindings {
        places.insert(pod, (Place::Node(node), true));
    }
    for (index, claim) in plan.claims.iter().enumerate() {
        for &pod in &claim.pods {
            places.insert(pod, (Place::Claim(index), true));
        }
    }
    places
        .into_iter()
        .map(|(id, (place, is_new))| Stand {
            id,
            pod: &snapshot.pods[id],
            place,
            is_new,
        })
        .collect()
}

impl Judge<'_> {
    /// The values of a label that a place may have: one if that is settled, none if nothing is known.
    fn domains(&self, place: Place, key: KeyId) -> Vec<Arc<str>> {
        let vocabulary = &self.snapshot.vocabulary;
        let name = vocabulary.key_name(key);
        let listed = |terms: &Terms| -> Vec<Arc<str>> {
            let set = terms.get(name).and_then(|set| set.listed());
            set.into_iter().flatten().cloned().collect()
        };
        match place {
            Place::Node(id) if key == KeyId::HOSTNAME => {
                [host_name(&self.snapshot.nodes[id]).into()].into()
            }
            Place::Claim(index) if key == KeyId::HOSTNAME => {
                [format!("claim {index}").into()].into()
            }
            Place::Node(id) => {
                let node = &self.snapshot.nodes[id];
                match (node.labels.get(name), &node.claim) {
                    (Some(value), _) => [value.clone()].into(),
                    (None, Some(claim)) if node.is_unlaunched() => {
                        listed(&Terms::of(&claim.requirements, vocabulary))
                    }
                    (None, _) => Vec::new(),
                }
            }
            Place::Claim(index) => listed(&Terms::of(
                &self.plan.claims[index].requirements,
                vocabulary,
            )),
        }
    }

    fn settled(&self, place: Place, key: KeyId) -> Option<Arc<str>> {
        match self.domains(place, key).as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    fn selects(&self, owner: &Pod, term: &AffinityTerm, other: &Pod) -> bool {
        let namespaces = term
            .namespaces
            .resolve(&owner.namespace, &self.snapshot.namespaces);
        namespaces.is_none_or(|names| names.contains(&other.namespace))
            && term.selector.selects(&other.labels)
    }

    /// Pods of this round that are where somebody does not want them or they do not want to be.
    fn too_near(&self, stand: &Stand<'_>, term: &AffinityTerm) -> Vec<Violation> {
        let Some(domain) = self.settled(stand.place, term.key) else {
            return Vec::new();
        };
        self.stands
            .iter()
            .filter(|other| {
                other.id != stand.id
                    && (other.is_new || stand.is_new)
                    && self.selects(stand.pod, term, other.pod)
                    && self.settled(other.place, term.key).as_ref() == Some(&domain)
            })
            .map(|other| Violation::TooNear(stand.id, other.id, term.key))
            .collect()
    }

    fn is_near(&self, stand: &Stand<'_>, term: &AffinityTerm) -> bool {
        let own = self.domains(stand.place, term.key);
        // Only pods that all terms select count for any of them.
        let all = &stand.pod.shape.topology.affinity;
        let is_wanted = |other: &Pod| all.iter().all(|term| self.selects(stand.pod, term, other));
        let selected = |other: &&Stand<'_>| other.id != stand.id && is_wanted(other.pod);
        let mut selected = self.stands.iter().filter(selected);
        let is_joined = selected.clone().any(|other| {
            let domains = self.domains(other.place, term.key);
            domains.iter().any(|domain| own.contains(domain))
        });
        // The first of its kind may begin where it likes if nobody is anywhere that it could join.
        let begins = is_wanted(stand.pod)
            && !selected.any(|other| {
                let settled = self.settled(other.place, term.key);
                !other.is_new
                    && !other.pod.is_terminating()
                    && settled.is_some_and(|value| self.allows(stand.pod, term.key, &value))
            });
        is_joined || begins
    }

    /// What the pod requires of nodes allows the value.
    fn allows(&self, pod: &Pod, key: KeyId, value: &str) -> bool {
        let vocabulary = &self.snapshot.vocabulary;
        let name = vocabulary.key_name(key);
        pod.shape.alternatives.iter().any(|wanted| {
            let wanted = Terms::of(wanted, vocabulary);
            wanted.get(name).is_none_or(|set| set.has(value))
        })
    }

    fn counts(&self, owner: &Pod, spread: &Spread, place: Place) -> bool {
        let vocabulary = &self.snapshot.vocabulary;
        let taints = match place {
            Place::Node(id) => &self.snapshot.nodes[id].taints,
            Place::Claim(index) => &self.snapshot.pools[self.plan.claims[index].pool].taints,
        };
        let is_tolerated = taints.iter().all(|taint| {
            let mut tolerations = owner.shape.tolerations.iter();
            tolerations.any(|own| own.tolerates(taint))
        });
        let is_wanted = owner.shape.alternatives.iter().any(|wanted| {
            let wanted = Terms::of(wanted, vocabulary);
            match place {
                Place::Node(id) => {
                    let node = &self.snapshot.nodes[id];
                    wanted.are_met_by(&node.labels, host_name(node))
                }
                Place::Claim(index) => {
                    let own = Terms::of(&self.plan.claims[index].requirements, vocabulary);
                    let mut wanted_keys = wanted.iter();
                    wanted_keys.all(|(key, set)| own.get(key).is_some() || set.allows_absence())
                        && own.intersect(&wanted)
                }
            }
        });
        (is_tolerated || !spread.honors_taints) && (is_wanted || !spread.honors_affinity)
    }

    fn is_spread(&self, stand: &Stand<'_>, spread: &Spread) -> bool {
        let owner = stand.pod;
        let Some(domain) = self.settled(stand.place, spread.key) else {
            return false;
        };
        let mut counts: BTreeMap<Arc<str>, i64> = self
            .known(owner, spread)
            .into_iter()
            .map(|value| (value, 0))
            .collect();
        let mut late = 0;
        for other in &self.stands {
            let is_selected = owner.namespace == other.pod.namespace
                && (spread.selector.selects(&other.pod.labels)
                    || (spread.selector.terms.is_none() && !other.is_new));
            if !is_selected
                || (!other.is_new && other.pod.is_terminating())
                || !self.counts(owner, spread, other.place)
            {
                continue;
            }
            let Some(value) = self.settled(other.place, spread.key) else {
                continue;
            };
            let is_owner = other.pod.shape.topology.spreads.contains(spread)
                && other.pod.shape.alternatives == owner.shape.alternatives
                && other.pod.shape.tolerations == owner.shape.tolerations;
            if other.is_new && !is_owner && value == domain {
                late += 1;
            }
            *counts.entry(value).or_default() += 1;
        }
        let ahead = counts.get(&domain).copied().unwrap_or(0) - late;
        let allowed: Vec<i64> = counts
            .iter()
            .filter(|(value, _)| self.allows(owner, spread.key, value))
            .map(|(_, count)| *count)
            .collect();
        let is_short = spread
            .min_domains
            .is_some_and(|wanted| allowed.len() < wanted as usize);
        let least = if spread.key == KeyId::HOSTNAME || is_short {
            0
        } else {
            allowed.into_iter().min().unwrap_or(0)
        };
        ahead - least <= spread.max_skew
    }

    /// Domains that exist because some pool or some node offers them.
    fn known(&self, owner: &Pod, spread: &Spread) -> Vec<Arc<str>> {
        let (snapshot, vocabulary) = (self.snapshot, &self.snapshot.vocabulary);
        let name = vocabulary.key_name(spread.key);
        let mut known: Vec<Arc<str>> = Vec::new();
        for (id, pool) in snapshot.pools.iter() {
            let Ok(catalog) = &snapshot.catalogs[id] else {
                continue;
            };
            let is_tolerated = pool.taints.iter().all(|taint| {
                let mut tolerations = owner.shape.tolerations.iter();
                tolerations.any(|own| own.tolerates(taint))
            });
            if !pool.is_dynamic() || (spread.honors_taints && !is_tolerated) {
                continue;
            }
            let template = Terms::of(&pool.requirements, vocabulary);
            let template = template.get(name);
            known.extend(
                template
                    .and_then(|set| set.listed())
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
            for kind in catalog.types.values() {
                let kind = Terms::of(&kind.requirements, vocabulary);
                let listed = kind.get(name).and_then(|set| set.listed());
                let of_kind = listed.into_iter().flatten();
                known.extend(
                    of_kind
                        .filter(|value| template.is_none_or(|set| set.has(value)))
                        .cloned(),
                );
            }
        }
        for (id, node) in snapshot.nodes.iter() {
            let stays = !node.marked && !self.view.gone.contains(id) && node.node.is_some();
            if stays && self.counts(owner, spread, Place::Node(id)) {
                known.extend(node.labels.get(name).cloned());
            }
        }
        known
    }
}
