//! What the claims of NodePools cost: the last known price of each kind of machine, times their number.
//!
//! A price is looked up when the first claim of its kind appears, and again with each answer of the
//! provider. A kind that is no longer offered keeps the price that it had; the last claim takes the entry
//! with it. No decision reads this (scheduling 10.4).

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use karpenter_api::{
    NodeClaim,
    labels::{CAPACITY_TYPE, INSTANCE_TYPE, NODEPOOL, ZONE},
};
use karpenter_plan::{CatalogFeed, Cost, Price, catalog::Offering};
use prometheus::{CounterVec, Registry};
use tracing::warn;

use super::family::counter;

/// A kind of machine: what is bought, where, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    instance_type: String,
    zone: String,
    capacity_type: String,
}

/// The claims of a kind in one pool.
#[derive(Clone, Debug, Default)]
struct Claims {
    count: u64,
    /// `None` until the provider has answered for the pool.
    price: Option<Price>,
}

/// What the claims of each pool cost.
pub(crate) struct Costs {
    errors: CounterVec,
    pools: Mutex<BTreeMap<String, BTreeMap<Kind, Claims>>>,
}

impl Costs {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            errors: counter(
                registry,
                "karpenter_nodepools_cost_tracker_errors_total",
                "Kinds of machines of a NodePool whose price was not known when the first appeared.",
                &["nodepool"],
            ),
            pools: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Kind, Claims>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claim appeared, changed or went. `feed` is what the provider offers a pool, if it has answered.
    pub(super) fn changed(
        &self,
        old: Option<&NodeClaim>,
        new: Option<&NodeClaim>,
        feed: impl Fn(&str) -> Option<CatalogFeed>,
    ) {
        let (before, after) = (old.and_then(place), new.and_then(place));
        if before == after {
            return;
        }
        if let Some((pool, kind)) = before {
            self.leaves(&pool, kind);
        }
        if let Some((pool, kind)) = after {
            let feed = feed(&pool);
            self.enters(&pool, kind, feed.as_ref());
        }
    }

    fn enters(&self, pool: &str, kind: Kind, feed: Option<&CatalogFeed>) {
        let mut pools = self.lock();
        let kinds = pools.entry(pool.to_owned()).or_default();
        match kinds.entry(kind) {
            Entry::Occupied(mut known) => known.get_mut().count += 1,
            Entry::Vacant(entry) => {
                let price = feed.map(|feed| self.first_price(pool, entry.key(), feed));
                entry.insert(Claims { count: 1, price });
            }
        }
    }

    fn leaves(&self, pool: &str, kind: Kind) {
        let mut pools = self.lock();
        let Some(kinds) = pools.get_mut(pool) else {
            return;
        };
        if let Entry::Occupied(mut known) = kinds.entry(kind) {
            known.get_mut().count -= 1;
            if known.get().count == 0 {
                known.remove();
            }
        }
        if kinds.is_empty() {
            pools.remove(pool);
        }
    }

    /// The provider has answered for a pool: prices that are offered are taken over.
    pub(crate) fn refreshed(&self, pool: &str, feed: &CatalogFeed) {
        for (kind, claims) in self.lock().get_mut(pool).into_iter().flatten() {
            claims.price = match (offered(feed, kind), claims.price) {
                (Some(price), _) => Some(price),
                (None, Some(known)) => Some(known),
                (None, None) => Some(self.first_price(pool, kind, feed)),
            };
        }
    }

    /// What a pool's claims cost an hour.
    pub(super) fn of(&self, pool: &str) -> Cost {
        let pools = self.lock();
        let kinds = pools.get(pool).into_iter().flat_map(BTreeMap::values);
        kinds
            .map(|claims| {
                let price = claims.price.unwrap_or(Price::ZERO);
                Cost(i128::from(price.0) * i128::from(claims.count))
            })
            .sum()
    }

    /// The price of a kind that was not met before; zero, told and counted, if it is not offered.
    fn first_price(&self, pool: &str, kind: &Kind, feed: &CatalogFeed) -> Price {
        offered(feed, kind).unwrap_or_else(|| {
            self.errors.with_label_values(&[pool]).inc();
            warn!(
                nodepool = pool,
                instance_type = kind.instance_type,
                zone = kind.zone,
                capacity_type = kind.capacity_type,
                "no price is known, so the cost of the nodepool leaves it out"
            );
            Price::ZERO
        })
    }
}

/// The pool and the kind of a claim; `None` while a label is missing.
fn place(claim: &NodeClaim) -> Option<(String, Kind)> {
    let labels = claim.metadata.labels.as_ref()?;
    let of = |key| labels.get(key).filter(|value| !value.is_empty()).cloned();
    Some((
        of(NODEPOOL)?,
        Kind {
            instance_type: of(INSTANCE_TYPE)?,
            zone: of(ZONE)?,
            capacity_type: of(CAPACITY_TYPE)?,
        },
    ))
}

/// The price of a kind that a provider offers, whether it is to be had at the moment or not.
fn offered(feed: &CatalogFeed, kind: &Kind) -> Option<Price> {
    let is = |offering: &Offering, key: &str, value: &str| {
        let mut requirements = offering.requirements.iter();
        requirements.any(|requirement| {
            requirement.key == key && requirement.values.iter().flatten().any(|own| own == value)
        })
    };
    let mut types = feed.types.iter();
    let instance_type = types.find(|each| each.name == kind.instance_type)?;
    let mut offerings = instance_type.offerings.iter();
    let offering = offerings.find(|offering| {
        is(offering, ZONE, &kind.zone) && is(offering, CAPACITY_TYPE, &kind.capacity_type)
    })?;
    Some(offering.price)
}

#[cfg(test)]
mod tests {
    use karpenter_api::Requirement;
    use karpenter_plan::InstanceType;
    use serde_json::json;

    use super::*;

    fn claim(pool: &str, instance_type: &str, zone: Option<&str>) -> NodeClaim {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {"name": "a", "labels": {
                NODEPOOL: pool, INSTANCE_TYPE: instance_type, CAPACITY_TYPE: "spot",
                ZONE: zone.unwrap_or_default(),
            }},
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
            },
        }))
        .unwrap()
    }

    /// A provider that offers types on spot in zone `a`, at these prices.
    fn feed(prices: &[(&str, f64)]) -> CatalogFeed {
        let requirement = |key: &str, value: &str| Requirement {
            key: key.to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![value.to_owned()]),
            min_values: None,
        };
        let types: Vec<InstanceType> = prices
            .iter()
            .map(|(name, price)| InstanceType {
                name: (*name).to_owned(),
                offerings: vec![Offering {
                    requirements: vec![requirement(ZONE, "a"), requirement(CAPACITY_TYPE, "spot")],
                    price: Price::from_dollars(*price),
                    available: false,
                    ..Offering::default()
                }],
                ..InstanceType::default()
            })
            .collect();
        CatalogFeed {
            generation: 1,
            types: types.into(),
        }
    }

    struct Case {
        costs: Costs,
        feed: Option<CatalogFeed>,
    }

    impl Case {
        fn new(feed: Option<CatalogFeed>) -> Self {
            let costs = Costs::new(&Registry::new());
            Self { costs, feed }
        }

        fn comes(&self, claim: &NodeClaim) {
            self.costs.changed(None, Some(claim), |_| self.feed.clone());
        }

        fn goes(&self, claim: &NodeClaim) {
            self.costs.changed(Some(claim), None, |_| self.feed.clone());
        }

        #[track_caller]
        fn check(&self, pool: &str, dollars: f64, errors: f64) {
            let cost = Cost::from(Price::from_dollars(dollars));
            assert_eq!(self.costs.of(pool), cost);
            let counted = self.costs.errors.with_label_values(&[pool]).get();
            assert!((counted - errors).abs() < 0.5, "{counted} errors");
        }
    }

    #[test]
    fn claims_cost_what_their_kind_costs() {
        let case = Case::new(Some(feed(&[("small", 0.1), ("large", 0.4)])));
        let (small, large) = (
            claim("p", "small", Some("a")),
            claim("p", "large", Some("a")),
        );
        case.check("p", 0.0, 0.0);
        case.comes(&small);
        case.comes(&small);
        case.comes(&large);
        case.comes(&claim("q", "small", Some("a")));
        case.check("p", 0.6, 0.0);
        case.check("q", 0.1, 0.0);
        case.goes(&small);
        case.goes(&large);
        case.check("p", 0.1, 0.0);
        // Without all labels nothing is known yet; with them the claim counts once.
        let unlaunched = claim("p", "large", None);
        case.comes(&unlaunched);
        case.check("p", 0.1, 0.0);
        let launched = |old| {
            case.costs
                .changed(Some(old), Some(&large), |_| case.feed.clone());
        };
        launched(&unlaunched);
        launched(&large);
        case.check("p", 0.5, 0.0);
        case.goes(&large);
        case.goes(&small);
        case.check("p", 0.0, 0.0);
        assert!(!case.costs.lock().contains_key("p"));
    }

    #[test]
    fn prices_follow_the_provider_and_outlive_their_offer() {
        let case = Case::new(Some(feed(&[("small", 0.1)])));
        let small = claim("p", "small", Some("a"));
        case.comes(&small);
        case.costs.refreshed("p", &feed(&[("small", 0.2)]));
        case.check("p", 0.2, 0.0);
        case.costs.refreshed("q", &feed(&[("small", 0.9)]));
        case.costs.refreshed("p", &feed(&[]));
        case.check("p", 0.2, 0.0);
        // The entry goes with its last claim: the next of the kind starts anew.
        case.goes(&small);
        case.comes(&small);
        case.check("p", 0.1, 0.0);
    }

    #[test]
    fn an_unknown_price_is_told_once() {
        let case = Case::new(Some(feed(&[("small", 0.1)])));
        let (strange, far) = (
            claim("p", "strange", Some("a")),
            claim("p", "small", Some("b")),
        );
        case.comes(&strange);
        case.comes(&strange);
        case.check("p", 0.0, 1.0);
        case.comes(&far);
        case.check("p", 0.0, 2.0);
        case.costs.refreshed("p", &feed(&[]));
        case.check("p", 0.0, 2.0);
        case.costs.refreshed("p", &feed(&[("strange", 0.3)]));
        case.check("p", 0.6, 2.0);
    }

    #[test]
    fn nobody_complains_before_the_provider_has_answered() {
        let case = Case::new(None);
        case.comes(&claim("p", "small", Some("a")));
        case.comes(&claim("p", "strange", Some("a")));
        case.check("p", 0.0, 0.0);
        case.costs.refreshed("p", &feed(&[("small", 0.1)]));
        case.check("p", 0.1, 1.0);
    }
}
