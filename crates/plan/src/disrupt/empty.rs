//! Emptiness: nodes that nothing needs go, without a simulation and without a replacement.

use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::budget::DisruptionReason;
use crate::snapshot::Snapshot;
use crate::vocabulary::{IdVec, PoolId};

use super::DisruptOptions;
use super::allowance::Allowance;
use super::candidate::Candidate;
use super::verdict::Verdict;

/// Why Emptiness leaves a candidate alone; nothing when it would take it.
pub fn objection(
    snapshot: &Snapshot,
    candidate: &Candidate,
    options: &DisruptOptions<'_>,
) -> Option<Verdict> {
    let pool = &snapshot.pools[candidate.pool];
    if pool.is_static() {
        Some(Verdict::StaticPool)
    } else if pool.consolidate_after.is_none() {
        Some(Verdict::ConsolidationDisabled)
    } else if snapshot.places[candidate.node].buffer_pods > 0 {
        Some(Verdict::HasBufferPods)
    } else if !candidate.is_empty() {
        Some(Verdict::NotEmpty)
    } else {
        unquiet(snapshot, candidate, options)
    }
}

/// The node has not been quiet for as long as its pool wants, and nobody waives that.
pub(super) fn unquiet(
    snapshot: &Snapshot,
    candidate: &Candidate,
    options: &DisruptOptions<'_>,
) -> Option<Verdict> {
    let claim = snapshot.nodes[candidate.node].claim.as_ref();
    let is_quiet = claim.is_some_and(|claim| claim.consolidatable.is_some());
    (!is_quiet && !options.ignore_consolidate_after).then_some(Verdict::NotConsolidatable)
}

/// Takes candidates, best savings first, while their pools' budgets last. What is taken is
/// spent from `allowances`.
pub fn select<'a>(
    candidates: impl IntoIterator<Item = &'a Candidate>,
    allowances: &IdVec<PoolId, Allowance>,
    reason: DisruptionReason,
) -> Selection<'a> {
    let mut ordered: Vec<&Candidate> = candidates.into_iter().collect();
    ordered.sort_by_key(|candidate| (Reverse(candidate.savings_ratio()), candidate.node));
    let mut remaining: IdVec<PoolId, u32> = allowances
        .values()
        .map(|allowance| allowance.remaining(reason))
        .collect();
    let mut selection = Selection::default();
    for candidate in ordered {
        match &mut remaining[candidate.pool] {
            0 => selection.constrained.push(candidate),
            left => {
                *left -= 1;
                selection.taken.push(candidate);
            }
        }
    }
    selection
}

/// What [`select`] made of the candidates.
#[derive(Debug, Default)]
pub struct Selection<'a> {
    /// Nodes to be deleted, best savings first.
    pub taken: Vec<&'a Candidate>,
    /// Nodes that their pool's budget does not allow.
    pub constrained: Vec<&'a Candidate>,
}
