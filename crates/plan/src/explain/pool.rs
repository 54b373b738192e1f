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

use super::constraint::Constraint;
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
    });
    views.collect()
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
        largest.set(ResourceId::NODES, 1000);
        left.subtract_present(&largest);
    }
    left
}

impl PoolView<'_> {
    /// Heavier pools are asked first, among equals the later name.
    pub(super) fn rank(&self) -> (Reverse<i32>, Reverse<PoolId>) {
        (Reverse(self.pool.weight), Reverse(self.id))
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
        let constraints: Vec<ConstraintVerdict> = self
            .constraints(pod)
            .into_iter()
            .map(|constraint| self.verdict(stock, constraint))
            .collect();
        let message = self.message(stock, pod, &constraints);
        PoolExplanation {
            node_pool,
            constraints,
            message,
        }
    }

    /// The first thing that no type satisfies, or how many types satisfy everything.
    fn message(&self, stock: &Stock<'_>, pod: &Pod, verdicts: &[ConstraintVerdict]) -> String {
        if pod.shape.claims_devices && self.snapshot.devices.is_none() {
            return "resource claims are not looked at".into();
        }
        let fitting = self.fitting(stock, pod, None);
        if let Some(&(id, price)) = fitting.first() {
            let name = &stock.catalog.types[id].name;
            return format!(
                "fits {} instance types, cheapest {name} at {price}",
                fitting.len()
            );
        }
        let reason = |verdict: &ConstraintVerdict| {
            let ConstraintVerdict {
                constraint, asked, ..
            } = verdict;
            match constraint.split_once(['.', ' ']) {
                Some(("resources", name)) => format!("no instance type has enough {name}"),
                Some(("requirement", key)) => format!("no instance type has {key} {asked}"),
                Some(("taint", taint)) => format!("taint {taint} is not tolerated"),
                Some(("hostPort", port)) => format!("DaemonSets take host port {port} everywhere"),
                Some(("limits", name)) => format!("its limit leaves too little {name}"),
                Some(_) | None => constraint.clone(),
            }
        };
        let failing: Vec<String> = verdicts
            .iter()
            .filter(|verdict| verdict.passing == 0)
            .map(reason)
            .collect();
        if failing.is_empty() {
            "each constraint is met by some instance type, but not all by one".into()
        } else {
            failing.join("; ")
        }
    }

    /// Types that satisfy everything but what is waived, with their prices, cheapest first.
    pub(super) fn fitting(
        &self,
        stock: &Stock<'_>,
        pod: &Pod,
        waived: Option<Constraint<'_>>,
    ) -> Vec<(TypeId, Price)> {
        let vocabulary = &*self.snapshot.vocabulary;
        let waives_taint =
            |taint: &Taint| matches!(waived, Some(Constraint::Taint(waived)) if waived == taint);
        if self
            .pool
            .taints
            .iter()
            .any(|taint| !is_tolerated(pod, taint) && !waives_taint(taint))
        {
            return Vec::new();
        }
        let mut requests = pod.requests.clone();
        if let Some(Constraint::Resource(resource, _)) = waived {
            requests.remove(resource);
        }
        let waives_port =
            |port: &HostPort| matches!(waived, Some(Constraint::Port(waived)) if waived == port);
        let ports: Vec<&HostPort> = pod
            .shape
            .ports
            .iter()
            .filter(|port| !waives_port(port))
            .collect();
        let waives_limit =
            |id: ResourceId| matches!(waived, Some(Constraint::Limit(waived, _)) if waived == id);
        let mut fitting: Vec<(TypeId, Price)> = Vec::new();
        for alternative in &pod.shape.alternatives {
            let wanted: Vec<Requirement> = alternative
                .iter()
                .filter(|requirement| {
                    !matches!(waived, Some(Constraint::Requirement(w)) if w == *requirement)
                })
                .cloned()
                .collect();
            if !self.may_ask_for(&wanted) {
                continue;
            }
            let both = narrowed(&self.pool.requirements, &wanted, vocabulary);
            for &id in &stock.usable {
                let kind = stock.kind(id);
                let capacity = &stock.catalog.types[id].capacity;
                let is_within = self.remaining.iter().all(|(resource, left)| {
                    let is_spent = resource == ResourceId::NODES && left <= 0;
                    waives_limit(resource) || (!is_spent && capacity.get(resource) <= left)
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
