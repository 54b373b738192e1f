//! The policy Balanced: a move must save its share of the pool's cost for the share of the pool that it
//! disturbs (section 9 of disruption.md).

use alloc::vec::Vec;

use super::{
    candidate::{Candidate, price},
    cost::DisruptionCost,
};
use crate::{
    pool::ConsolidationPolicy,
    price::Cost,
    snapshot::Snapshot,
    vocabulary::{IdVec, NodeId, PoolId},
};

/// How much more may be disturbed than is saved, both as shares of the pool.
pub const K: f64 = 2.0;

/// What a pool costs, and what disturbing all of it would.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Dollars an hour.
    pub cost: f64,
    /// The sum of what disturbing its nodes costs.
    pub disruption: f64,
}

/// Each pool's totals; `None` for pools without candidates, whose moves are not weighed.
pub type AllTotals = IdVec<PoolId, Option<Totals>>;

/// How good a move is for one pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// What it saves, as a share of what the pool costs.
    pub savings: f64,
    /// What it disturbs, as a share of the pool.
    pub disruption: f64,
    /// The quotient: infinite when nothing is disturbed, zero when nothing is saved.
    pub value: f64,
}

impl Score {
    /// What a score must reach.
    pub const THRESHOLD: f64 = 1.0 / K;

    /// The score of saving `savings` dollars an hour by disturbing so much.
    pub fn of(savings: f64, disruption: f64, totals: Totals) -> Self {
        let (savings, disruption) = if totals.cost > 0.0 && totals.disruption > 0.0 {
            (savings / totals.cost, disruption / totals.disruption)
        } else {
            (0.0, 0.0)
        };
        let value = if savings <= 0.0 {
            0.0
        } else if disruption == 0.0 {
            f64::INFINITY
        } else {
            savings / disruption
        };
        Self {
            savings,
            disruption,
            value,
        }
    }

    /// The move is worth it.
    pub fn is_approved(self) -> bool {
        self.value >= Self::THRESHOLD
    }
}

/// Adds up every pool that has a candidate.
pub fn totals(snapshot: &Snapshot, candidates: &[Candidate]) -> AllTotals {
    let mut costs: IdVec<NodeId, Option<DisruptionCost>> =
        snapshot.nodes.ids().map(|_| None).collect();
    let mut totals: AllTotals = snapshot.pools.ids().map(|_| None).collect();
    for candidate in candidates {
        costs[candidate.node] = Some(candidate.cost);
        totals[candidate.pool] = Some(Totals::default());
    }
    for (id, node) in snapshot.nodes.iter() {
        let place = &snapshot.places[id];
        let Some((pool, totals)) = place
            .pool
            .and_then(|pool| Some((pool, totals[pool].as_mut()?)))
        else {
            continue;
        };
        let pods = || place.pods.iter().map(|pod| &*snapshot.pods[*pod]);
        let disruption = costs[id].unwrap_or_else(|| DisruptionCost::of_node(pods()));
        totals.disruption += disruption.as_f64();
        if node.claim.is_some() {
            totals.cost += price(snapshot, node, pool).dollars();
        }
    }
    totals
}

/// The best that can come of a candidate: that it goes and nothing replaces it. False means that no
/// decision about it can be worth it.
pub fn may_pay(snapshot: &Snapshot, totals: &AllTotals, candidate: &Candidate) -> bool {
    let Some(totals) = totals[candidate.pool].filter(|totals| totals.cost > 0.0) else {
        return true;
    };
    let best = Score::of(candidate.price.dollars(), candidate.cost.as_f64(), totals);
    !is_balanced(snapshot, candidate.pool) || best.is_approved()
}

/// How good a move is for each pool with this policy that it touches, in name order. The savings are
/// shared out by what the candidates of each pool cost.
pub fn scores(
    snapshot: &Snapshot,
    totals: &AllTotals,
    candidates: &[&Candidate],
    savings: Cost,
) -> Vec<(PoolId, Score)> {
    let prices = |pool: Option<PoolId>| -> f64 {
        let own = candidates
            .iter()
            .filter(|candidate| pool.is_none_or(|pool| pool == candidate.pool));
        own.map(|candidate| Cost::from(candidate.price))
            .sum::<Cost>()
            .dollars()
    };
    let all = prices(None);
    let mut pools: Vec<PoolId> = candidates.iter().map(|candidate| candidate.pool).collect();
    pools.sort_unstable();
    pools.dedup();
    let is_mixed = pools.len() > 1;
    pools.retain(|pool| is_balanced(snapshot, *pool));
    let score = |pool: PoolId| {
        let share = if is_mixed && all > 0.0 {
            prices(Some(pool)) / all
        } else {
            1.0
        };
        let disruption: DisruptionCost = candidates
            .iter()
            .filter(|candidate| candidate.pool == pool)
            .map(|candidate| candidate.cost)
            .sum();
        let totals = totals[pool].unwrap_or_default();
        Score::of(savings.dollars() * share, disruption.as_f64(), totals)
    };
    pools.into_iter().map(|pool| (pool, score(pool))).collect()
}

/// The first pool that a move is not worth it for.
pub fn objection(scores: &[(PoolId, Score)]) -> Option<Score> {
    let scores = scores.iter().map(|(_, score)| *score);
    scores.into_iter().find(|score| !score.is_approved())
}

fn is_balanced(snapshot: &Snapshot, pool: PoolId) -> bool {
    snapshot.pools[pool].policy == ConsolidationPolicy::Balanced
}
