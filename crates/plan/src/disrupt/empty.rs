//! Emptiness: nodes that nothing needs go, without a simulation and without a replacement.

use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::budget::DisruptionReason;
use crate::snapshot::Snapshot;
use crate::vocabulary::{IdVec, PoolId};

use super::allowance::Allowance;
use super::candidate::Candidate;
use super::verdict::Verdict;

/// Why Emptiness leaves a candidate alone, beside what all of consolidation asks for.
pub(super) fn objection(snapshot: &Snapshot, candidate: &Candidate) -> Option<Verdict> {
    let pool = &snapshot.pools[candidate.pool];
    if pool.consolidate_after.is_none() {
        Some(Verdict::ConsolidationDisabled)
    } else if snapshot.places[candidate.node].buffer_pods > 0 {
        Some(Verdict::HasBufferPods)
    } else if !candidate.is_empty() {
        Some(Verdict::NotEmpty)
    } else {
        None
    }
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
