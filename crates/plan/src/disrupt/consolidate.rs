//! Whether removing some nodes pays: what would replace them, and what that costs (section 8 of
//! disruption.md).
//!
//! One decision for one set of candidates. Which sets are asked about is the business of
//! `multi` and `single`.

use alloc::vec::Vec;

use fixedbitset::FixedBitSet;
use karpenter_api::labels::ZONE;

use super::{
    balanced::Weighing,
    candidate::Candidate,
    lasting::{is_worth_it, never_back, settles},
    verdict::Verdict,
    whatif::{Outcome, WhatIfs},
};
use crate::{
    catalog::Catalog,
    pool::ConsolidationPolicy,
    price::{Cost, Price},
    requirement::{Requirement, Requirements},
    schedule::{NewClaim, unmet_among},
    snapshot::Snapshot,
    vocabulary::{KeyId, NodeId, OfferingId, PodId, TypeId, ValueId},
};

/// So many cheaper types a spot node must have before another spot node replaces it: with fewer, the
/// next one would soon be replaced as well.
pub const SPOT_TYPES: usize = 15;

/// Capacity types in the order in which a launch tries them.
const TRIED: [ValueId; 3] = [ValueId::RESERVED, ValueId::SPOT, ValueId::ON_DEMAND];

/// What is to be done with a set of candidates.
#[derive(Clone, Debug)]
pub struct Gain {
    /// The claims to come first; without any the nodes just go.
    pub replacements: Vec<NewClaim>,
    /// Pods that would move to nodes that stay.
    pub bindings: Vec<(PodId, NodeId)>,
    /// What an hour costs less afterwards.
    pub savings: Cost,
    /// What the pools make of it, once they were asked.
    pub weighings: Vec<Weighing>,
}

/// Why neither method for nodes with pods looks at a candidate, beside what all of consolidation asks for.
pub(super) fn objection(snapshot: &Snapshot, candidate: &Candidate) -> Option<Verdict> {
    let pool = &snapshot.pools[candidate.pool];
    if candidate.instance_type.is_none() {
        Some(Verdict::UnknownType)
    } else if candidate.capacity_type.is_none() {
        Some(Verdict::NoCapacityType)
    } else if snapshot.nodes[candidate.node].labels.get(ZONE).is_none() {
        Some(Verdict::NoZone)
    } else if pool.consolidate_after.is_none() {
        Some(Verdict::ConsolidationDisabled)
    } else if candidate.is_empty() {
        Some(Verdict::Empty)
    } else if pool.policy == ConsolidationPolicy::WhenEmpty {
        Some(Verdict::OnlyWhenEmpty)
    } else {
        None
    }
}

/// Asks whether removing the candidates pays. `spot_to_spot` allows spot nodes to be replaced by others.
pub fn decide(
    what_ifs: &WhatIfs<'_>,
    candidates: &[&Candidate],
    spot_to_spot: bool,
) -> Result<Gain, Verdict> {
    let snapshot = what_ifs.snapshot();
    let current: Cost = candidates.iter().map(|candidate| candidate.price).sum();
    let Outcome {
        mut claims,
        bindings,
        stuck,
    } = what_ifs.without(candidates);
    if !stuck.is_empty() {
        return Err(Verdict::Stuck(stuck));
    }
    let Some(claim) = claims.pop() else {
        is_worth_it(candidates, current, None)?;
        return Ok(Gain {
            replacements: Vec::new(),
            bindings,
            savings: current,
            weighings: Vec::new(),
        });
    };
    if !claims.is_empty() {
        return Err(Verdict::NeedsNodes(claims.len() + 1));
    }
    let settling = candidates.iter().filter_map(|own| settles(snapshot, own));
    if let Some(until) = settling.max() {
        return Err(Verdict::Settling(until));
    }
    let claim = cheaper(snapshot, claim, candidates, current, spot_to_spot)?;
    let savings = current - Cost::from(claim.price);
    is_worth_it(candidates, savings, Some(claim.price))?;
    Ok(Gain {
        replacements: [claim].into(),
        bindings,
        savings,
        weighings: Vec::new(),
    })
}

/// The claim with those types only that cost less than the candidates do, however they are bought.
fn cheaper(
    snapshot: &Snapshot,
    mut claim: NewClaim,
    candidates: &[&Candidate],
    current: Cost,
    spot_to_spot: bool,
) -> Result<NewClaim, Verdict> {
    let Ok(catalog) = &snapshot.catalogs[claim.pool] else {
        return Err(Verdict::NeedsNodes(1));
    };
    let all_spot = candidates
        .iter()
        .all(|candidate| candidate.capacity_type == Some(ValueId::SPOT));
    let hops = all_spot && admits(snapshot, &claim.requirements, ValueId::SPOT);
    if hops {
        if !spot_to_spot {
            return Err(Verdict::SpotToSpotDisabled);
        }
        narrow(&mut claim.requirements, ValueId::SPOT);
    }
    let bids = Bids::new(snapshot, catalog, &claim.requirements);
    let none = Verdict::NotCheaper {
        current,
        best: bids
            .best(&claim.instance_types)
            .map(|(id, price)| (claim.pool, id, price)),
    };
    never_back(snapshot, catalog, &mut claim, candidates)?;
    bids.keep_below(&mut claim, current, none)?;
    if hops {
        if let [_] = candidates {
            if claim.instance_types.len() < SPOT_TYPES {
                return Err(Verdict::TooFewCheaper(claim.instance_types.len()));
            }
            let needed = needed_types(catalog, &claim);
            claim.instance_types.truncate(SPOT_TYPES.max(needed));
        }
    } else if admits(snapshot, &claim.requirements, ValueId::SPOT)
        && admits(snapshot, &claim.requirements, ValueId::ON_DEMAND)
    {
        // A launch that found no spot capacity must not end with something dearer. Where none of the types
        // is sold as spot it could not end at all.
        let mut narrowed = claim.requirements.clone();
        narrow(&mut narrowed, ValueId::SPOT);
        let bids = Bids::new(snapshot, catalog, &narrowed);
        if bids.best(&claim.instance_types).is_some() {
            claim.requirements = narrowed;
        }
    }
    Bids::new(snapshot, catalog, &claim.requirements).price(&mut claim);
    Ok(claim)
}

/// Nodes are not merged into one of a type that one of them has already, nor into a dearer one: removing
/// the others would do as well (the same-type filter of section 7.5).
pub fn without_own_types(
    snapshot: &Snapshot,
    mut claim: NewClaim,
    candidates: &[&Candidate],
) -> Result<NewClaim, Verdict> {
    let Ok(catalog) = &snapshot.catalogs[claim.pool] else {
        return Err(Verdict::NeedsNodes(1));
    };
    let own_price = |candidate: &&Candidate| {
        let name = candidate.instance_type.as_ref()?;
        let listed = catalog.type_named(name)?;
        if !claim.instance_types.contains(&listed) {
            return None;
        }
        let labels = &snapshot.nodes[candidate.node].requirements;
        let offerings = catalog.types[listed].offering_ids();
        offerings
            .map(|id| &catalog.offerings[id])
            .filter(|offering| labels.intersects(&offering.requirements, &snapshot.vocabulary))
            .map(|offering| offering.price)
            .min()
    };
    let Some(bound) = candidates.iter().filter_map(own_price).min() else {
        return Ok(claim);
    };
    let bids = Bids::new(snapshot, catalog, &claim.requirements);
    bids.keep_below(&mut claim, bound.into(), Verdict::SameType)?;
    bids.price(&mut claim);
    Ok(claim)
}

/// The requirements leave this capacity type open.
pub(super) fn admits(
    snapshot: &Snapshot,
    requirements: &Requirements,
    capacity_type: ValueId,
) -> bool {
    requirements
        .get(KeyId::CAPACITY_TYPE)
        .is_none_or(|own| own.has(capacity_type, &snapshot.vocabulary))
}

fn narrow(requirements: &mut Requirements, capacity_type: ValueId) {
    let min_values = requirements
        .get(KeyId::CAPACITY_TYPE)
        .and_then(Requirement::min_values);
    let narrowed = Requirement::any_of(KeyId::CAPACITY_TYPE, [capacity_type]);
    requirements.replace(narrowed.with_min_values(min_values));
}

/// What a launch with some requirements may cost.
struct Bids<'c> {
    catalog: &'c Catalog,
    /// Offerings that would do.
    offered: FixedBitSet,
}

impl<'c> Bids<'c> {
    fn new(snapshot: &Snapshot, catalog: &'c Catalog, requirements: &Requirements) -> Self {
        Self {
            catalog,
            offered: catalog.offered(requirements, &snapshot.vocabulary),
        }
    }

    fn of(&self, id: TypeId) -> impl Iterator<Item = OfferingId> + '_ {
        let offerings = self.catalog.types[id].offering_ids();
        offerings.filter(|offering| self.offered.contains(offering.0 as usize))
    }

    /// The most that a launch of the type may cost: it tries one capacity type first, and there it may get
    /// any of the offerings.
    fn worst(&self, id: TypeId) -> Option<Price> {
        let mut worst = [None; 3];
        for offering in self.of(id) {
            let offering = &self.catalog.offerings[offering];
            let own = offering.capacity_type;
            if let Some(rank) = TRIED.iter().position(|tried| Some(*tried) == own) {
                worst[rank] = worst[rank].max(Some(offering.price));
            }
        }
        worst.into_iter().flatten().next()
    }

    /// The type that costs least at its worst, and that price: what a candidate must be dearer than.
    fn best(&self, types: &[TypeId]) -> Option<(TypeId, Price)> {
        let priced = types.iter().filter_map(|&id| Some((id, self.worst(id)?)));
        priced.min_by_key(|(_, price)| *price)
    }

    /// Keeps types that cost less than this at their worst. What is left must still span the minimum
    /// numbers of values, whatever the policy about those (section 8.3).
    fn keep_below(&self, claim: &mut NewClaim, bound: Cost, none: Verdict) -> Result<(), Verdict> {
        let is_below = |worst: Price| Cost::from(worst) < bound;
        claim
            .instance_types
            .retain(|id| self.worst(*id).is_some_and(is_below));
        let unmet = unmet_among(self.catalog, &claim.instance_types, &claim.requirements);
        // Users are told of the values that are missing, also when no type is left.
        if !unmet.is_empty() {
            return Err(Verdict::MinValues(claim.pool, unmet));
        }
        if claim.instance_types.is_empty() {
            return Err(none);
        }
        Ok(())
    }

    /// The price of the first type that can be bought, which is what savings are counted by.
    fn price(&self, claim: &mut NewClaim) {
        let mut types = claim.instance_types.iter();
        let price = |id: &OfferingId| self.catalog.offerings[*id].price;
        claim.cheapest = types.find_map(|id| self.of(*id).min_by_key(price));
        claim.price = claim.cheapest.map_or(Price::MAX, |id| price(&id));
    }
}

/// How many of the types, cheapest first, reach every minimum number of values.
fn needed_types(catalog: &Catalog, claim: &NewClaim) -> usize {
    (0..claim.instance_types.len())
        .find(|&count| {
            let first = &claim.instance_types[..count];
            unmet_among(catalog, first, &claim.requirements).is_empty()
        })
        .unwrap_or(claim.instance_types.len())
}
