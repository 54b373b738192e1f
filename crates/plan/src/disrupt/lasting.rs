//! Whether a gain lasts, so that machines do not churn.
//!
//! Every consolidation lowers one potential: dollars an hour, with a small price on what was disturbed for
//! it. A move is made only if it earns back within [`SETTLING`] what it costs: the disturbance, and the
//! replacement's price while both machines run. What a node has replaced is written on its claim in an
//! annotation, so that a restart forgets nothing: within [`SETTLING`] of its creation a replacement is not
//! replaced again, and within [`MEMORY`] it does not become a type again that it, or what it came from, has
//! replaced. That a replacement could not be had is a condition of the node that was to go, and within
//! [`PAUSE`] no other is asked for.

use alloc::{collections::BTreeMap, format, string::String, sync::Arc, vec::Vec};

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{NodeClaim, labels::annotations::REPLACED_TYPES};

use super::{candidate::Candidate, cost::DisruptionCost, verdict::Verdict};
use crate::{
    catalog::Catalog,
    node::ClaimFacts,
    price::{Cost, Price},
    schedule::NewClaim,
    snapshot::Snapshot,
    vocabulary::ValueId,
};

/// How long a replacement stays what it is.
pub const SETTLING: SignedDuration = SignedDuration::from_hours(1);
/// How long the types that a node came from are ruled out for its replacement.
pub const MEMORY: SignedDuration = SignedDuration::from_hours(24);
/// How long nothing is asked for in a node's place after a replacement could not be had.
pub const PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// While a replacement starts both machines are paid: for this part of the time in which it has to earn
/// that back.
const OVERLAP: i128 = 12;
/// What one ordinary pod's disturbance is worth: a hundredth of a cent.
const DISTURBANCE: Price = Price(1_000_000_000);

/// Instance types that a claim has replaced, each with the time of the replacement.
pub type Replaced = BTreeMap<Arc<str>, Timestamp>;

/// Reads the annotation; what cannot be read is left out.
pub fn parse(text: &str) -> Replaced {
    let entry = |entry: &str| {
        let (name, time) = entry.split_once('=')?;
        Some((Arc::from(name), time.parse().ok()?))
    };
    text.split(',').filter_map(entry).collect()
}

fn render(replaced: &Replaced) -> String {
    let entries: Vec<String> = replaced
        .iter()
        .map(|(name, time)| format!("{name}={time}"))
        .collect();
    entries.join(",")
}

/// Until when the node stays what it is, if it may not be replaced now.
pub(super) fn settles(snapshot: &Snapshot, candidate: &Candidate) -> Option<Timestamp> {
    let claim = snapshot.nodes[candidate.node].claim.as_ref()?;
    settled_at(claim).filter(|until| snapshot.now < *until)
}

/// When a claim may be replaced, if it may not be at all times.
pub(super) fn settled_at(claim: &ClaimFacts) -> Option<Timestamp> {
    let replaced = (!claim.replaced.is_empty()).then_some((claim.created, SETTLING));
    let failed = claim.replacement_failed.map(|failed| (failed, PAUSE));
    [replaced, failed]
        .into_iter()
        .flatten()
        .filter_map(|(since, span)| since.checked_add(span).ok())
        .max()
}

/// When the next of the types that a claim came from is forgotten.
pub(super) fn forgotten_at(claim: &ClaimFacts, now: Timestamp) -> Option<Timestamp> {
    let ends = claim
        .replaced
        .values()
        .filter_map(|time| time.checked_add(MEMORY).ok());
    ends.filter(|end| *end > now).min()
}

/// Types that the candidates came from not long ago.
fn memory(snapshot: &Snapshot, candidates: &[&Candidate]) -> Replaced {
    let claims = candidates
        .iter()
        .filter_map(|candidate| snapshot.nodes[candidate.node].claim.as_ref());
    claims
        .flat_map(|claim| &claim.replaced)
        .filter(|(_, time)| snapshot.now.duration_since(**time) < MEMORY)
        .map(|(name, time)| (name.clone(), *time))
        .collect()
}

/// Takes types off the claim that the candidates came from.
pub(super) fn never_back(
    snapshot: &Snapshot,
    catalog: &Catalog,
    claim: &mut NewClaim,
    candidates: &[&Candidate],
) -> Result<(), Verdict> {
    let memory = memory(snapshot, candidates);
    if memory.is_empty() {
        return Ok(());
    }
    let is_new = |name: &Arc<str>| !memory.contains_key(name);
    claim
        .instance_types
        .retain(|id| is_new(&catalog.types[*id].name));
    if claim.instance_types.is_empty() {
        return Err(Verdict::WouldGoBack);
    }
    Ok(())
}

/// Writes on a replacement what it replaces.
pub(super) fn remember(snapshot: &Snapshot, object: &mut NodeClaim, candidates: &[&Candidate]) {
    let mut replaced = memory(snapshot, candidates);
    let own = candidates
        .iter()
        .filter_map(|candidate| candidate.instance_type.clone());
    replaced.extend(own.map(|name| (name, snapshot.now)));
    let annotations = object.metadata.annotations.get_or_insert_default();
    annotations.insert(REPLACED_TYPES.into(), render(&replaced));
}

/// A move earns back what it costs. A node whose price nobody knows costs something all the same, and may
/// go; the prices of reserved nodes only rank them, so disturbance is not weighed against those.
pub(super) fn is_worth_it(
    candidates: &[&Candidate],
    savings: Cost,
    replacement: Option<Price>,
) -> Result<(), Verdict> {
    let current: Cost = candidates.iter().map(|candidate| candidate.price).sum();
    if current == Cost::ZERO {
        return Ok(());
    }
    let disturbed: DisruptionCost = candidates
        .iter()
        .filter(|candidate| candidate.capacity_type != Some(ValueId::RESERVED))
        .map(|candidate| candidate.cost)
        .sum();
    let disturbance = Cost(
        i128::from(disturbed.0) * i128::from(DISTURBANCE.0) / i128::from(DisruptionCost::ONE.0),
    );
    let overlap = replacement.map_or(Cost::ZERO, |price| Cost(i128::from(price.0) / OVERLAP));
    let price = disturbance + overlap;
    if savings > price {
        Ok(())
    } else {
        Err(Verdict::NotWorthIt { savings, price })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_survives_as_text() {
        let time: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let replaced: Replaced = [("m5.large", time), ("c5.large", time)]
            .map(|(name, time)| (Arc::from(name), time))
            .into();
        let text = "c5.large=2026-01-01T00:00:00Z,m5.large=2026-01-01T00:00:00Z";
        assert_eq!(render(&replaced), text);
        assert_eq!(parse(text), replaced);
        assert_eq!(parse("nonsense,m5.large=later,="), Replaced::new());
    }
}
