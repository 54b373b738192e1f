//! The policy Balanced: a move must save its share of the pool's cost for the share of the pool that it
//! disturbs (section 9 of disruption.md).

use alloc::{sync::Arc, vec::Vec};

use super::{
    candidate::{Candidate, price},
    command::Command,
    cost::DisruptionCost,
    method::Method,
    report::MethodReport,
    verdict::Verdict,
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

/// A move as one of the pools sees it that it takes nodes of.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighing {
    /// The pool.
    pub pool: Arc<str>,
    /// Its policy.
    pub policy: ConsolidationPolicy,
    /// How many of its nodes would go.
    pub nodes: usize,
    /// Its part of the savings, in dollars an hour.
    pub savings: f64,
    /// What disturbing those nodes costs.
    pub disruption: f64,
    /// What all of it costs.
    pub totals: Totals,
    /// How good the move is, if the policy asks.
    pub score: Option<Score>,
}

impl Weighing {
    /// The pool has nothing against the move.
    pub fn is_approved(&self) -> bool {
        self.score.is_none_or(Score::is_approved)
    }

    /// The pool's word in metrics and logs.
    pub fn decision(&self) -> &'static str {
        decision(self.is_approved())
    }
}

/// What became of a move, in metrics and logs.
pub fn decision(is_approved: bool) -> &'static str {
    if is_approved { "approved" } else { "rejected" }
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

/// What each pool that a move touches makes of it, in name order. The savings are shared out by what the
/// candidates of each pool cost.
pub fn weigh(
    snapshot: &Snapshot,
    totals: &AllTotals,
    candidates: &[&Candidate],
    savings: Cost,
) -> Vec<Weighing> {
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
    let weighing = |pool: PoolId| {
        let share = if is_mixed && all > 0.0 {
            prices(Some(pool)) / all
        } else {
            1.0
        };
        let own = || candidates.iter().filter(|own| own.pool == pool);
        let disruption: DisruptionCost = own().map(|candidate| candidate.cost).sum();
        let (savings, disruption) = (savings.dollars() * share, disruption.as_f64());
        let totals = totals[pool].unwrap_or_default();
        Weighing {
            pool: snapshot.pools[pool].name.clone(),
            policy: snapshot.pools[pool].policy,
            nodes: own().count(),
            savings,
            disruption,
            totals,
            score: is_balanced(snapshot, pool).then(|| Score::of(savings, disruption, totals)),
        }
    };
    pools.into_iter().map(weighing).collect()
}

/// The score of the first pool that a move is not worth it for.
pub fn objection(weighings: &[Weighing]) -> Option<Score> {
    let mut scores = weighings.iter().filter_map(|weighing| weighing.score);
    scores.find(|score| !score.is_approved())
}

/// The moves that a method of consolidation has decided about, with what became of each: all that were
/// weighed for a single node; of those for several nodes the one that was found or, if no group was worth
/// it, the smallest that was refused, which is the last one that was tried.
pub fn weighed<'a>(
    report: &'a MethodReport,
    found: Option<&'a Command>,
) -> Vec<(bool, &'a [Weighing])> {
    let found = found.map(|command| (true, &*command.weighings));
    let verdicts = report.verdicts.iter().map(|(_, verdict)| verdict);
    match report.method {
        Method::SingleNode => {
            let refused = verdicts.filter_map(Verdict::refused_by);
            refused.map(|own| (false, own)).chain(found).collect()
        }
        Method::MultiNode => {
            let size = |weighings: &&[Weighing]| -> usize {
                weighings.iter().map(|weighing| weighing.nodes).sum()
            };
            let refused = verdicts.filter_map(Verdict::refused_by);
            let last = || refused.min_by_key(size).map(|own| (false, own));
            found.or_else(last).into_iter().collect()
        }
        Method::Emptiness | Method::StaticDrift | Method::Drift => Vec::new(),
    }
}

fn is_balanced(snapshot: &Snapshot, pool: PoolId) -> bool {
    snapshot.pools[pool].policy == ConsolidationPolicy::Balanced
}
