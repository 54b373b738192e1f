//! New claims really take what they are made for, whatever the provider makes of them.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::OnceCell;

use crate::catalog::{Catalog, CatalogOffering, CatalogType};
use crate::pod::HostPort;
use crate::price::Price;
use crate::resources::Resources;
use crate::schedule::{NewClaim, Plan, Report};
use crate::snapshot::{Snapshot, View};
use crate::vocabulary::{IdVec, PodId, PoolId, TypeId};

use super::daemons::{self, Overhead};
use super::existing::tolerates;
use super::terms::Terms;
use super::violation::Violation;

/// Upstream sends no more types than this with a claim.
const MOST_TYPES: usize = 600;

pub(super) fn violations(
    view: &View<'_>,
    plan: &Plan,
    report: &Report,
    kinds: &Kinds<'_>,
) -> Vec<Violation> {
    let snapshot = view.base;
    let mut violations = Vec::new();
    for (index, claim) in plan.claims.iter().enumerate() {
        let pool = &snapshot.pools[claim.pool];
        let catalog = match &snapshot.catalogs[claim.pool] {
            Ok(catalog) if pool.is_dynamic() => catalog,
            Ok(_) | Err(_) => {
                violations.push(Violation::ClaimPool(index, claim.pool));
                continue;
            }
        };
        let kinds = kinds.of(claim.pool);
        let judge = Judge {
            snapshot,
            report,
            index,
            claim,
            catalog,
            kinds,
        };
        violations.extend(judge.violations());
    }
    violations
}

/// What the judge knows of a pool's labels before any pod comes: its requirements, and two labels
/// that every node gets in the end.
pub(crate) fn known_labels(snapshot: &Snapshot, pool: PoolId) -> Terms {
    let mut known = Terms::of(&snapshot.pools[pool].requirements, &snapshot.vocabulary);
    known.know(karpenter_api::labels::REGISTERED, "true");
    known.know(karpenter_api::labels::INITIALIZED, "true");
    known
}

/// The instance types of each pool as the judge reads them, read once when first asked for.
pub(crate) struct Kinds<'a> {
    snapshot: &'a Snapshot,
    by_pool: IdVec<PoolId, OnceCell<Vec<Kind>>>,
}

impl<'a> Kinds<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            by_pool: snapshot.pools.ids().map(|_| OnceCell::new()).collect(),
        }
    }

    /// The types of a pool, in the order of their ids.
    pub(crate) fn of(&self, pool: PoolId) -> &[Kind] {
        self.by_pool[pool].get_or_init(|| self.read(pool))
    }

    fn read(&self, pool: PoolId) -> Vec<Kind> {
        let snapshot = self.snapshot;
        let Ok(catalog) = &snapshot.catalogs[pool] else {
            return Vec::new();
        };
        let known = known_labels(snapshot, pool);
        let read_offering = |offering: &CatalogOffering| Deal {
            labels: Terms::of(&offering.requirements, &snapshot.vocabulary),
            is_available: offering.available,
            allocatable: offering.allocatable.clone(),
            price: offering.price,
        };
        let read_type = |kind: &CatalogType| {
            let labels = Terms::of(&kind.requirements, &snapshot.vocabulary);
            let overhead = daemons::on_new(snapshot, &snapshot.pools[pool], &known, &labels);
            let offerings = kind
                .offering_ids()
                .map(|id| read_offering(&catalog.offerings[id]));
            Kind {
                labels,
                overhead,
                offerings: offerings.collect(),
            }
        };
        catalog.types.values().map(read_type).collect()
    }
}

/// An instance type as the judge reads it.
pub(crate) struct Kind {
    pub(crate) labels: Terms,
    pub(crate) overhead: Overhead,
    pub(crate) offerings: Vec<Deal>,
}

/// An offering as the judge reads it.
pub(crate) struct Deal {
    pub(crate) labels: Terms,
    pub(crate) is_available: bool,
    pub(crate) allocatable: Resources,
    pub(crate) price: Price,
}

impl Kind {
    /// Ways to buy it that fit the requirements.
    pub(crate) fn deals<'a>(&'a self, wanted: &'a Terms) -> impl Iterator<Item = &'a Deal> {
        self.offerings
            .iter()
            .filter(|deal| deal.is_available && wanted.may_satisfy(&deal.labels))
    }

    /// The least it costs within the requirements.
    fn price(&self, wanted: &Terms) -> Option<Price> {
        self.deals(wanted).map(|deal| deal.price).min()
    }

    /// Some deal has room for the requests beside its DaemonSets.
    pub(crate) fn fits(&self, wanted: &Terms, requests: &Resources) -> bool {
        let mut total = requests.clone();
        total.add(&self.overhead.requests);
        self.deals(wanted).any(|deal| {
            let has_enough = |(id, amount)| amount <= deal.allocatable.get(id);
            !deal.allocatable.has_negative() && total.iter().all(has_enough)
        })
    }

    /// No DaemonSet that comes with it takes one of these ports.
    pub(crate) fn leaves_ports(&self, ports: &[&HostPort]) -> bool {
        !ports.iter().any(|port| {
            self.overhead
                .ports
                .iter()
                .any(|taken| port.conflicts(taken))
        })
    }
}

/// One claim before the judge.
struct Judge<'a> {
    snapshot: &'a Snapshot,
    report: &'a Report,
    index: usize,
    claim: &'a NewClaim,
    catalog: &'a Arc<Catalog>,
    kinds: &'a [Kind],
}

impl Judge<'_> {
    fn violations(&self) -> Vec<Violation> {
        let wanted = Terms::of(&self.claim.requirements, &self.snapshot.vocabulary);
        let mut violations = Vec::new();
        if self.claim.pods.is_empty() {
            violations.push(Violation::ClaimWithoutPods(self.index));
        }
        violations.extend(self.pool_violation(&wanted));
        // A pod that excludes values of a label nobody defined makes the claim define it, and the node
        // gets some other value: later pods may then ask for the label.
        let mut known = known_labels(self.snapshot, self.claim.pool);
        for &pod in &self.claim.pods {
            let shape = &self.snapshot.pods[pod].shape;
            for terms in &shape.preferred {
                known.define(&Terms::of(terms, &self.snapshot.vocabulary), &wanted);
            }
            violations.extend(self.pod_violations(pod, &wanted, &known));
            for terms in &shape.alternatives {
                known.define(&Terms::of(terms, &self.snapshot.vocabulary), &wanted);
            }
        }
        violations.extend(self.port_violations());
        violations.extend(self.type_violations(&wanted));
        violations.extend(self.request_violations());
        violations.extend(self.price_violations(&wanted));
        violations.extend(self.min_values_violations(&wanted));
        violations
    }

    fn kind(&self, kind: TypeId) -> &Kind {
        &self.kinds[kind.0 as usize]
    }

    fn pool_violation(&self, wanted: &Terms) -> Option<Violation> {
        let pool = &self.snapshot.pools[self.claim.pool];
        let template = Terms::of(&pool.requirements, &self.snapshot.vocabulary);
        let key = wanted.first_beyond(&template)?;
        Some(Violation::ClaimBeyondPool(self.index, key.clone()))
    }

    fn pod_violations(&self, id: PodId, wanted: &Terms, known: &Terms) -> Vec<Violation> {
        let (pod, pool) = (
            &*self.snapshot.pods[id],
            &self.snapshot.pools[self.claim.pool],
        );
        let mut violations = Vec::new();
        if !tolerates(pod, &pool.taints, self.report.step(id).is_some()) {
            violations.push(Violation::ClaimTaint(self.index, id));
        }
        let alternatives: Vec<Terms> = pod
            .shape
            .alternatives
            .iter()
            .map(|terms| Terms::of(terms, &self.snapshot.vocabulary))
            .filter(|terms| wanted.first_beyond(terms).is_none())
            .collect();
        if alternatives.is_empty() {
            violations.push(Violation::ClaimLabels(self.index, id));
        }
        let missing: Vec<_> = alternatives
            .iter()
            .map(|terms| known.undefined(terms))
            .collect();
        if !missing.is_empty() && missing.iter().all(Option::is_some) {
            let key = missing
                .into_iter()
                .flatten()
                .next()
                .cloned()
                .unwrap_or_default();
            violations.push(Violation::ClaimLabelUndefined(self.index, id, key));
        }
        violations
    }

    fn port_violations(&self) -> Vec<Violation> {
        let mut taken: Vec<&HostPort> = Vec::new();
        let mut violations = Vec::new();
        for &pod in &self.claim.pods {
            let ports = &self.snapshot.pods[pod].shape.ports;
            if ports
                .iter()
                .any(|port| taken.iter().any(|other| port.conflicts(other)))
            {
                violations.push(Violation::ClaimPorts(self.index, pod));
            }
            taken.extend(ports);
        }
        violations
    }

    fn pod_requests(&self) -> Resources {
        let mut total = Resources::new();
        for &pod in &self.claim.pods {
            total.add(&self.snapshot.pods[pod].requests);
        }
        total
    }

    fn type_violations(&self, wanted: &Terms) -> Vec<Violation> {
        let types = &self.claim.instance_types;
        let distinct: BTreeSet<TypeId> = types.iter().copied().collect();
        let mut violations = Vec::new();
        if types.is_empty() || types.len() > MOST_TYPES || distinct.len() < types.len() {
            violations.push(Violation::ClaimTypes(self.index));
        }
        let requests = self.pod_requests();
        let pods = self.claim.pods.iter().map(|&pod| &self.snapshot.pods[pod]);
        let ports: Vec<&HostPort> = pods.flat_map(|pod| &pod.shape.ports).collect();
        for id in distinct {
            let kind = self.kind(id);
            if !wanted.intersect(&kind.labels) {
                violations.push(Violation::TypeLabels(self.index, id));
            }
            if kind.deals(wanted).next().is_none() {
                violations.push(Violation::TypeOffering(self.index, id));
            } else if !kind.fits(wanted, &requests) {
                violations.push(Violation::TypeCapacity(self.index, id));
            }
            if !kind.leaves_ports(&ports) {
                violations.push(Violation::TypePorts(self.index, id));
            }
        }
        violations
    }

    /// Requests are those of the pods and the least that DaemonSets ask for on any of the types; a
    /// resource that no DaemonSet of some type asks for counts as nothing.
    fn request_violations(&self) -> Vec<Violation> {
        let overheads = self
            .claim
            .instance_types
            .iter()
            .map(|&kind| &self.kind(kind).overhead);
        let least =
            overheads
                .map(|overhead| overhead.requests.clone())
                .reduce(|mut least, other| {
                    least.minimum(&other);
                    least
                });
        let mut expected = self.pod_requests();
        expected.add(&least.unwrap_or_default());
        let mut named = expected.clone();
        named.add(&self.claim.requests);
        named
            .iter()
            .map(|(resource, _)| resource)
            .filter(|&resource| expected.get(resource) != self.claim.requests.get(resource))
            .map(|resource| Violation::ClaimRequests(self.index, resource))
            .collect()
    }

    fn price_violations(&self, wanted: &Terms) -> Vec<Violation> {
        let prices: Vec<Option<Price>> = self
            .claim
            .instance_types
            .iter()
            .map(|&kind| self.kind(kind).price(wanted))
            .collect();
        let mut violations = Vec::new();
        // What cannot be bought at all is somebody else's complaint.
        let known: Vec<Price> = prices.iter().flatten().copied().collect();
        if !known.is_sorted() {
            violations.push(Violation::ClaimOrder(self.index));
        }
        let Some(&first) = self.claim.instance_types.first() else {
            return violations;
        };
        let is_right = self.claim.cheapest.is_some_and(|id| {
            let offering = &self.catalog.offerings[id];
            let labels = Terms::of(&offering.requirements, &self.snapshot.vocabulary);
            offering.instance_type == first
                && offering.available
                && wanted.may_satisfy(&labels)
                && Some(offering.price) == prices[0]
                && offering.price == self.claim.price
        });
        if !is_right {
            violations.push(Violation::ClaimCheapest(self.index));
        }
        violations
    }

    /// Values count as the types list them, also those that the claim excludes: upstream counts so.
    fn min_values_violations(&self, wanted: &Terms) -> Vec<Violation> {
        let mut violations = Vec::new();
        // With the policy `BestEffort` a list that was cut may span less (scheduling 4.10).
        let may_span_less = self.claim.instance_types.len() == MOST_TYPES;
        for (key, set) in wanted.iter() {
            let Some(least) = set.min_values.filter(|_| !may_span_less) else {
                continue;
            };
            let values: BTreeSet<&Arc<str>> = self
                .claim
                .instance_types
                .iter()
                .filter_map(|&kind| self.kind(kind).labels.get(key)?.listed())
                .flatten()
                .collect();
            if values.len() < least as usize {
                violations.push(Violation::ClaimMinValues(self.index, key.clone()));
            }
        }
        violations
    }
}
