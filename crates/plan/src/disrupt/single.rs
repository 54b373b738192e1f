//! Single-node consolidation: the first candidate whose removal alone pays (section 7.6 of disruption.md).

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::{
    Proposal, Round, Search, balanced,
    candidate::Candidate,
    consolidate::{Gain, decide},
    first::first,
    verdict::Verdict,
};
use crate::budget::DisruptionReason;

/// Pools take turns, each with its best candidate first.
pub(super) fn order<'c>(eligible: &[&'c Candidate]) -> Vec<&'c Candidate> {
    let mut sorted: Vec<&Candidate> = eligible.to_vec();
    sorted.sort_by_key(|own| (own.pool, Reverse(own.savings_ratio()), own.node));
    let mut turns: Vec<(usize, &Candidate)> = Vec::with_capacity(sorted.len());
    for candidate in sorted {
        let turn = match turns.last() {
            Some((turn, before)) if before.pool == candidate.pool => turn + 1,
            _ => 0,
        };
        turns.push((turn, candidate));
    }
    turns.sort_by_key(|(turn, own)| (*turn, own.pool));
    turns.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Looks for a candidate whose removal alone pays.
pub(super) fn search<'c>(round: &Round<'_>, eligible: &[&'c Candidate]) -> Search<'c> {
    let (found, verdicts) = first(&order(eligible), |candidate| look(round, candidate));
    let proposal = found.map(|(candidate, gain)| Proposal {
        candidates: [candidate].into(),
        gain,
    });
    (proposal, verdicts)
}

pub(super) fn look(round: &Round<'_>, candidate: &Candidate) -> Result<Gain, Verdict> {
    let allowance = &round.allowances[candidate.pool];
    if allowance.remaining(DisruptionReason::Underutilized) == 0 {
        return Err(round.spent(candidate.pool));
    }
    if !balanced::may_pay(round.snapshot, &round.totals, candidate) {
        return Err(Verdict::NeverBalanced);
    }
    let mut gain = decide(&round.what_ifs, &[candidate], round.options.spot_to_spot)?;
    round.approve(&[candidate], &mut gain)?;
    Ok(gain)
}
