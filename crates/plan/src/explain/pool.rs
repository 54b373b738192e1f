//! What a NodePool makes of a pod: each constraint by itself, and what would help.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::catalog::Catalog;
use crate::check::{Deal, Kind, Kinds, Terms, known_labels};
use crate::lower::to_resource_list;
use crate::pod::{HostPort, Pod};
use crate::pool::Pool;
use crate::price::Price;
use crate::requirement::{Requirement, Requirements};
use crate::resources::{ResourceId, Resources};
use crate::schedule::Plan;
use crate::snapshot::Snapshot;
use crate::taint::Taint;
use crate::vocabulary::{PodId, PoolId, TypeId};

use super::cause;
use super::constraint::{Blockers, Constraint};
use super::{ConstraintVerdict, Nearest, PoolExplanation};

/// An amount as people write it.
pub(super) fn amount(snapshot: &Snapshot, id: ResourceId, amount: i64) -> String {
    let list = to_resource_list(&[(id, amount)].into_iter().collect(), &snapshot.vocabulary);
    list.into_values()
        .next()
        .map_or_else(|| "0".into(), |quantity| quantity.to_string())
}

/// A pool after the round, as one pod meets it.
pub(super) struct PoolView<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) id: PoolId,
    pub(super) pool: &'a Pool,
    /// What it may launch; absent with the reason why it gets no new nodes.
    pub(super) stock: Result<Stock<'a>, String>,
    /// What its limits leave beside its nodes and the other claims of the plan.
    pub(super) remaining: Resources,
    /// Where all volumes of the pod can be, any of these; empty when anywhere.
    pub(super) places: Vec<Vec<Requirement>>,
}

pub(super) struct Stock<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) kinds: &'a [Kind],
    /// Types that the pool's own requirements leave.
    pub(super) usable: Vec<TypeId>,
}

pub(super) fn views<'a>(
    snapshot: &'a Snapshot,
    kinds: &'a Kinds<'_>,
    plan: &Plan,
    pod: PodId,
) -> Vec<PoolView<'a>> {
    let views = snapshot.pools.iter().map(|(id, pool)| PoolView {
        snapshot,
        id,
        pool,
        stock: stock(snapshot, kinds, id),
        remaining: remaining(snapshot, plan, pod, id),
        places: places(snapshot, pod),
    });
    views.collect()
}

/// Where all volumes of a pod can be, any of these; empty when anywhere.
pub(super) fn places(snapshot: &Snapshot, pod: PodId) -> Vec<Vec<Requirement>> {
    let wish = snapshot
        .volumes
        .wish(&snapshot.pods[pod], &snapshot.vocabulary);
    let of = |place: &Requirements| place.iter().cloned().collect();
    wish.alternatives.iter().map(of).collect()
}

fn stock<'a>(
    snapshot: &'a Snapshot,
    kinds: &'a Kinds<'_>,
    id: PoolId,
) -> Result<Stock<'a>, String> {
    let pool = &*snapshot.pools[id];
    let refused = match () {
        () if !pool.supported => Some("nodepool is of another provider's node class"),
        () if pool.is_static() => Some("nodepool is static"),
        () if pool.deleting => Some("nodepool is being deleted"),
        () if !pool.ready => Some("nodepool is not ready"),
        () => None,
    };
    if let Some(refused) = refused {
        return Err(refused.into());
    }
    let catalog = snapshot.catalogs[id]
        .as_ref()
        .map_err(ToString::to_string)?;
    let kinds = kinds.of(id);
    let template = Terms::of(&pool.requirements, &snapshot.vocabulary);
    let is_usable =
        |kind: &Kind| template.intersect(&kind.labels) && kind.deals(&template).next().is_some();
    let usable: Vec<TypeId> = catalog
        .types
        .ids()
        .filter(|id| is_usable(&kinds[id.0 as usize]))
        .collect();
    if usable.is_empty() {
        return Err("nodepool requirements filtered out all available instance types".into());
    }
    Ok(Stock {
        catalog,
        kinds,
        usable,
    })
}

fn remaining(snapshot: &Snapshot, plan: &Plan, pod: PodId, id: PoolId) -> Resources {
    let mut left = snapshot.pools[id].limits.clone();
    for (node, place) in snapshot.places.iter() {
        if place.pool == Some(id) && !snapshot.nodes[node].marked {
            left.subtract_present(&place.capacity);
        }
    }
    let Ok(catalog) = &snapshot.catalogs[id] else {
        return left;
    };
    let others = plan
        .claims
        .iter()
        .filter(|claim| claim.pool == id && !claim.pods.contains(&pod));
    for claim in others {
        let mut largest = Resources::new();
        for &kind in &claim.instance_types {
            largest.maximum(&catalog.types[kind].capacity);
        }
        left.subtract_present(&largest);
    }
    left
}

impl PoolView<'_> {
    /// Heavier pools are asked first, among equals the later name.
    pub(super) fn rank(&self) -> (Reverse<i32>, Reverse<PoolId>) {
        (Reverse(self.pool.weight), Reverse(self.id))
    }

    /// Some type meets every constraint.
    pub(super) fn takes(&self, pod: &Pod) -> bool {
        let fits = |stock: &Stock<'_>| !self.fitting(stock, pod, &|_| true).is_empty();
        !(pod.shape.claims_devices && self.snapshot.devices.is_none())
            && self.stock.as_ref().is_ok_and(fits)
    }

    pub(super) fn explanation(&self, pod: &Pod) -> PoolExplanation {
        let node_pool = self.pool.name.to_string();
        let stock = match &self.stock {
            Ok(stock) => stock,
            Err(message) => {
                let message = message.clone();
                return PoolExplanation {
                    node_pool,
                    constraints: Vec::new(),
                    message,
                };
            }
        };
        let blockers = self.blockers(stock, pod);
        let mut constraints = self.constraints(pod);
        // What is to blame comes first.
        constraints.sort_by_key(|constraint| match &blockers {
            Blockers::None => false,
            Blockers::Alone(found) | Blockers::Together(found) => !found.contains(constraint),
        });
        let constraints: Vec<ConstraintVerdict> = constraints
            .into_iter()
            .map(|constraint| self.verdict(stock, constraint))
            .collect();
        let message = self.message(stock, pod, &blockers);
        PoolExplanation {
            node_pool,
            constraints,
            message,
        }
    }

    /// What no type satisfies, or how many types satisfy everything.
    fn message(&self, stock: &Stock<'_>, pod: &Pod, blockers: &Blockers<'_>) -> String {
        if pod.shape.claims_devices && self.snapshot.devices.is_none() {
            return "resource claims are not looked at".into();
        }
        match blockers {
            Blockers::None => {
                let fitting = self.fitting(stock, pod, &|_| true);
                let cheapest = fitting.first().map_or(String::new(), |&(id, price)| {
                    format!(", cheapest {} at {price}", stock.catalog.types[id].name)
                });
                format!("fits {} instance types{cheapest}", fitting.len())
            }
            Blockers::Alone(found) => {
                let reasons: Vec<String> = found
                    .iter()
                    .map(|&one| cause::reason(&self.verdict(stock, one)))
                    .collect();
                reasons.join("; ")
            }
            Blockers::Together(found) => self.together(stock, found),
        }
    }

    /// Types that satisfy the constraints that are kept, with their prices, cheapest first.
    pub(super) fn fitting(
        &self,
        stock: &Stock<'_>,
        pod: &Pod,
        keeps: &dyn Fn(Constraint<'_>) -> bool,
    ) -> Vec<(TypeId, Price)> {
        let vocabulary = &*self.snapshot.vocabulary;
        let refuses = |taint: &Taint| !is_tolerated(pod, taint) && keeps(Constraint::Taint(taint));
        if self.pool.taints.iter().any(refuses) {
            return Vec::new();
        }
        let requests: Resources = pod
            .requests
            .iter()
            .filter(|&(id, amount)| keeps(Constraint::Resource(id, amount)))
            .collect();
        let ports: Vec<&HostPort> = pod
            .shape
            .ports
            .iter()
            .filter(|port| keeps(Constraint::Port(port)))
            .collect();
        let limits: Vec<(ResourceId, i64)> = self
            .remaining
            .iter()
            .filter(|&(id, left)| keeps(Constraint::Limit(id, left)))
            .collect();
        let anywhere = [Vec::new()];
        let places = match &self.places[..] {
            places if !places.is_empty() && keeps(Constraint::Volumes) => places,
            _ => &anywhere[..],
        };
        let mut fitting: Vec<(TypeId, Price)> = Vec::new();
        let ways = pod
            .shape
            .alternatives
            .iter()
            .flat_map(|own| places.iter().map(move |place| (own, place)));
        for (alternative, place) in ways {
            let wanted: Vec<Requirement> = alternative
                .iter()
                .filter(|requirement| keeps(Constraint::Requirement(requirement)))
                .chain(place)
                .cloned()
                .collect();
            if !self.may_ask_for(&wanted) {
                continue;
            }
            let both = narrowed(&self.pool.requirements, &wanted, vocabulary);
            for &id in &stock.usable {
                let kind = stock.kind(id);
                let capacity = &stock.catalog.types[id].capacity;
                let is_within = limits.iter().all(|&(resource, left)| {
                    let is_spent = resource == ResourceId::NODES && left <= 0;
                    !is_spent && capacity.get(resource) <= left
                });
                let passes = is_within
                    && both.intersect(&kind.labels)
                    && kind.leaves_ports(&ports)
                    && kind.fits(&both, &requests);
                let is_known = || fitting.iter().any(|(found, _)| *found == id);
                if passes && !is_known() {
                    let price = kind.deals(&both).map(|deal| deal.price).min();
                    fitting.push((id, price.unwrap_or(Price::MAX)));
                }
            }
        }
        fitting.sort_by_key(|&(id, price)| (price, id));
        fitting
    }

    /// The pool's template does not contradict the requirements, and defines what they need.
    pub(super) fn may_ask_for(&self, wanted: &[Requirement]) -> bool {
        let vocabulary = &*self.snapshot.vocabulary;
        let wanted = narrowed(&Requirements::new(), wanted, vocabulary);
        known_labels(self.snapshot, self.id).may_satisfy(&wanted)
    }
}

impl Stock<'_> {
    pub(super) fn kind(&self, id: TypeId) -> &Kind {
        &self.kinds[id.0 as usize]
    }

    pub(super) fn nearest(&self, id: TypeId, has: String) -> Nearest {
        Nearest {
            instance_type: self.catalog.types[id].name.to_string(),
            has,
        }
    }
}

/// The most that any of the deals leaves of a resource beside DaemonSets.
pub(super) fn room<'a>(
    kind: &Kind,
    deals: impl Iterator<Item = &'a Deal>,
    resource: ResourceId,
) -> i64 {
    let most = deals
        .map(|deal| deal.allocatable.get(resource))
        .max()
        .unwrap_or(0);
    most - kind.overhead.requests.get(resource)
}

pub(super) fn is_tolerated(pod: &Pod, taint: &Taint) -> bool {
    pod.shape
        .tolerations
        .iter()
        .any(|toleration| toleration.tolerates(taint))
}

/// Requirements with more of them.
pub(super) fn narrowed(
    requirements: &Requirements,
    more: &[Requirement],
    vocabulary: &crate::Vocabulary,
) -> Terms {
    let mut both = requirements.clone();
    for requirement in more {
        both.add(requirement.clone(), vocabulary);
    }
    Terms::of(&both, vocabulary)
}
