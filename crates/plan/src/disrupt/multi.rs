//! Multi-node consolidation: the longest prefix of the candidates that pays, as far as halving finds it
//! (section 7.5 of disruption.md).

use alloc::vec::Vec;

use super::{
    Proposal, Round, Search, Verdicts,
    candidate::Candidate,
    consolidate::{Gain, decide, without_own_types},
    empty,
    lasting::{is_worth_it, settles},
    verdict::Verdict,
};
use crate::{budget::DisruptionReason, price::Cost};

/// The last candidate that a prefix may end with, counted from zero.
const LAST: usize = 100;

/// Looks for nodes that can go together, leaving one in their place at the most.
pub(super) fn search<'c>(round: &Round<'_>, eligible: &[&'c Candidate]) -> Search<'c> {
    let reason = DisruptionReason::Underutilized;
    // One node that stays what it is for now would keep all others from being merged.
    let mut verdicts = Verdicts::new();
    let mut free = Vec::with_capacity(eligible.len());
    for &candidate in eligible {
        match settles(round.snapshot, candidate) {
            None => free.push(candidate),
            Some(until) => verdicts.push((candidate.node, Verdict::Settling(until))),
        }
    }
    let selection = empty::select(free, &round.allowances, reason);
    let (taken, constrained) = (selection.taken, selection.constrained);
    let mut found = None;
    let mut lost: Vec<Option<Verdict>> = taken.iter().map(|_| None).collect();
    let (mut low, mut high) = (1, taken.len().saturating_sub(1).min(LAST));
    while taken.len() > 1 && low <= high {
        let middle = usize::midpoint(low, high);
        let prefix = &taken[..=middle];
        match look(round, prefix) {
            Ok(gain) => {
                found = Some((middle, gain));
                low = middle + 1;
            }
            Err(verdict) => {
                lost[middle] = Some(verdict);
                high = middle - 1;
            }
        }
    }
    let spent = |candidate: &&Candidate| (candidate.node, round.spent(candidate.pool));
    verdicts.extend(constrained.iter().map(spent));
    let chosen = found.as_ref().map_or(0, |(middle, _)| middle + 1);
    for (at, candidate) in taken.iter().enumerate() {
        let verdict = if at < chosen {
            Verdict::Chosen
        } else if taken.len() < 2 {
            Verdict::Alone
        } else {
            why_left_out(&lost, at)
        };
        verdicts.push((candidate.node, verdict));
    }
    let proposal = found.map(|(middle, gain)| Proposal {
        candidates: taken[..=middle].to_vec(),
        gain,
    });
    (proposal, verdicts)
}

/// Why a candidate is in no group that goes; `lost` says why groups that end at a place do not pay.
fn why_left_out(lost: &[Option<Verdict>], at: usize) -> Verdict {
    let (shorter, longer) = lost.split_at(at);
    if let Some(why) = longer.iter().flatten().next() {
        Verdict::PrefixLost(why.clone().into())
    } else if let Some(why) = shorter.iter().flatten().next_back() {
        Verdict::PrefixTooLong(why.clone().into())
    } else {
        Verdict::GroupFull(LAST + 1)
    }
}

fn look(round: &Round<'_>, prefix: &[&Candidate]) -> Result<Gain, Verdict> {
    let mut gain = decide(&round.what_ifs, prefix, round.options.spot_to_spot)?;
    if let Some(claim) = gain.replacements.pop() {
        let current: Cost = prefix.iter().map(|candidate| candidate.price).sum();
        let claim = without_own_types(round.snapshot, claim, prefix)?;
        gain.savings = current - Cost::from(claim.price);
        is_worth_it(prefix, gain.savings, Some(claim.price))?;
        gain.replacements.push(claim);
    }
    round.approve(prefix, &mut gain)?;
    Ok(gain)
}
