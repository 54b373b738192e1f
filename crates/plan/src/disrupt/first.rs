//! The first of many candidates that a question has a good answer for.

use alloc::vec::Vec;

use rayon::prelude::*;

use super::{Verdicts, candidate::Candidate, verdict::Verdict};

/// So many candidates are looked at together at first; twice as many each time nothing was found.
const FEWEST: usize = 2;
const MOST: usize = 64;

/// Looks at candidates in order until one is good; all the others get a verdict. Several are looked at at
/// the same time, which changes nothing about who is first.
pub(super) fn first<'c, T: Send>(
    order: &[&'c Candidate],
    look: impl Fn(&Candidate) -> Result<T, Verdict> + Sync,
) -> (Option<(&'c Candidate, T)>, Verdicts) {
    let mut verdicts = Vec::with_capacity(order.len());
    let mut found = None;
    let (mut rest, mut size) = (order, FEWEST);
    while !rest.is_empty() && found.is_none() {
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        let results: Vec<Result<T, Verdict>> =
            chunk.par_iter().map(|candidate| look(candidate)).collect();
        for (candidate, result) in chunk.iter().zip(results) {
            let verdict = match result {
                _ if found.is_some() => Verdict::Behind,
                Err(verdict) => verdict,
                Ok(good) => {
                    found = Some((*candidate, good));
                    Verdict::Chosen
                }
            };
            verdicts.push((candidate.node, verdict));
        }
        (rest, size) = (behind, (size * 2).min(MOST));
    }
    verdicts.extend(
        rest.iter()
            .map(|candidate| (candidate.node, Verdict::Behind)),
    );
    (found, verdicts)
}
