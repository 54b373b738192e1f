//! Drift: nodes that are no longer what their pools ask for (sections 7.3 and 7.4 of disruption.md).
//!
//! Money does not matter here: a drifted node goes once its pods have another place, whatever that costs.

use alloc::vec::Vec;

use super::{
    Proposal, Round, Search, Verdicts, candidate::Candidate, consolidate::Gain, first::first,
    verdict::Verdict, whatif::WhatIfs,
};
use crate::{
    budget::DisruptionReason, price::Cost, snapshot::Snapshot, static_pool::Standing,
    vocabulary::PoolId,
};

/// Why Drift leaves a candidate alone; nothing when it would take it.
pub(super) fn objection(
    snapshot: &Snapshot,
    candidate: &Candidate,
    of_static: bool,
) -> Option<Verdict> {
    if snapshot.pools[candidate.pool].is_static() != of_static {
        return Some(if of_static {
            Verdict::DynamicPool
        } else {
            Verdict::StaticPool
        });
    }
    let claim = snapshot.nodes[candidate.node].claim.as_ref();
    let has_drifted = claim.is_some_and(|claim| claim.drifted.is_some());
    (!has_drifted).then_some(Verdict::NotDrifted)
}

/// The drifted node that goes next: those without pods first, then the oldest drift.
pub(super) fn search<'c>(
    round: &Round<'_>,
    what_ifs: &WhatIfs<'_>,
    eligible: &[&'c Candidate],
) -> Search<'c> {
    let mut order = eligible.to_vec();
    order.sort_by_key(|own| {
        let has_pods = !own.reschedulable.is_empty();
        (has_pods, round.drifted_since(own), own.node)
    });
    let (found, verdicts) = first(&order, |candidate| look(round, what_ifs, candidate));
    let proposal = found.map(|(candidate, gain)| Proposal {
        candidates: [candidate].into(),
        gain,
    });
    (proposal, verdicts)
}

/// Where the pods of one node would go.
pub(super) fn look(
    round: &Round<'_>,
    what_ifs: &WhatIfs<'_>,
    candidate: &Candidate,
) -> Result<Gain, Verdict> {
    let allowance = &round.allowances[candidate.pool];
    if allowance.remaining(DisruptionReason::Drifted) == 0 {
        return Err(round.spent(candidate.pool));
    }
    let outcome = what_ifs.without(&[candidate]);
    if !outcome.stuck.is_empty() {
        return Err(Verdict::Stuck(outcome.stuck));
    }
    let after: Cost = outcome.claims.iter().map(|claim| claim.price).sum();
    Ok(Gain {
        replacements: outcome.claims,
        bindings: outcome.bindings,
        savings: Cost::from(candidate.price) - after,
        weighings: Vec::new(),
    })
}

/// The drifted nodes of static pools that may be replaced now, one for one.
pub(super) fn search_static<'c>(
    round: &Round<'_>,
    eligible: &[&'c Candidate],
) -> (Vec<&'c Candidate>, Verdicts) {
    let mut chosen = Vec::new();
    let mut verdicts = Vec::with_capacity(eligible.len());
    let mut pools: Vec<PoolId> = eligible.iter().map(|candidate| candidate.pool).collect();
    pools.sort_unstable();
    pools.dedup();
    for pool in pools {
        let own: Vec<&Candidate> = eligible
            .iter()
            .copied()
            .filter(|candidate| candidate.pool == pool)
            .collect();
        let (granted, why) = granted(round, pool, own.len());
        for (at, candidate) in own.into_iter().enumerate() {
            if at < granted {
                chosen.push(candidate);
                verdicts.push((candidate.node, Verdict::Chosen));
            } else {
                verdicts.push((candidate.node, why.clone()));
            }
        }
    }
    (chosen, verdicts)
}

/// How many nodes of a static pool may be replaced now, and why not more.
fn granted(round: &Round<'_>, pool: PoolId, wanted: usize) -> (usize, Verdict) {
    let allowance = &round.allowances[pool];
    let budget = allowance.remaining(DisruptionReason::Drifted) as usize;
    if budget == 0 {
        return (0, round.spent(pool));
    }
    let Some(standing) = Standing::of(round.snapshot, pool) else {
        return (0, Verdict::DynamicPool);
    };
    if standing.active + standing.pending_disruption > standing.replicas {
        return (0, Verdict::ScalingDown);
    }
    let wanted = i64::try_from(wanted.min(budget)).unwrap_or(i64::MAX);
    let granted = standing.granted(promised(round, pool), wanted);
    let why = if granted < wanted {
        Verdict::NodeLimit
    } else {
        Verdict::BudgetSpent
    };
    (usize::try_from(granted).unwrap_or(0), why)
}

/// Replacements for nodes of the pool that commands are about to create: no snapshot has them yet, and they
/// take places below the limit all the same.
fn promised(round: &Round<'_>, pool: PoolId) -> i64 {
    let name = &round.snapshot.pools[pool].name;
    let commands = round.options.commands.iter();
    let to_come = commands
        .flat_map(|command| &command.replacements)
        .filter(|own| own.created.is_none() && own.pool == *name);
    i64::try_from(to_come.count()).unwrap_or(i64::MAX)
}
