//! Static NodePools: how many claims are made or go, and which.
//!
//! A pool with `spec.replicas` keeps that many nodes, whatever pods want. Two questions are answered, each
//! from one snapshot: [`Standing::claims_to_create`], and [`victims`]. What was granted and is not in the
//! snapshot yet is the caller's to remember and to pass as `reserved`, so that two askers never share one
//! place below the limit. Nothing here knows of budgets: they do not hold for static pools.

use alloc::vec::Vec;

use karpenter_api::NodeClaim;

use crate::{
    disrupt::DisruptionCost,
    node::ClaimFacts,
    pod::Owner,
    resources::ResourceId,
    schedule::claim::{mixed, of_template},
    snapshot::Snapshot,
    vocabulary::{NodeId, PoolId},
};

/// Thousandths in one node.
const ONE: i64 = 1000;

/// What a static pool has, and what it may have; numbers of claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// `spec.replicas`.
    pub replicas: i64,
    /// `spec.limits.nodes`, rounded down.
    pub limit: Option<i64>,
    /// Claims that stay, those that cannot be read among them.
    pub active: i64,
    /// Claims that a disruption command has, which has not doomed them yet.
    pub pending_disruption: i64,
    /// Claims on their way out.
    pub deleting: i64,
}

/// Where a claim of a static pool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    PendingDisruption,
    Deleting,
}

/// What a static pool lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Nothing.
    None,
    /// Something, but there may be no more nodes.
    LimitReached,
    /// So many claims are to be created.
    Claims(i64),
}

impl Standing {
    /// The standing of a pool; `None` for a pool that is not static, not ours, or being deleted.
    pub fn of(snapshot: &Snapshot, id: PoolId) -> Option<Self> {
        let pool = &snapshot.pools[id];
        let replicas = pool.replicas.filter(|_| pool.supported && !pool.deleting)?;
        let mut standing = Self {
            replicas,
            limit: pool
                .limits
                .find(ResourceId::NODES)
                .map(|limit| limit.div_euclid(ONE)),
            ..Self::default()
        };
        for node in snapshot.nodes.ids() {
            match state(snapshot, id, node) {
                None => {}
                Some(State::Active) => standing.active += 1,
                Some(State::PendingDisruption) => standing.pending_disruption += 1,
                Some(State::Deleting) => standing.deleting += 1,
            }
        }
        // A claim that cannot be read is there all the same: replacing it would launch a node too many.
        let unreadable = snapshot.set_aside.iter().filter(|problem| {
            problem.kind == "NodeClaim" && problem.pool.as_deref() == Some(&*pool.name)
        });
        standing.active += i64::try_from(unreadable.count()).unwrap_or(i64::MAX);
        Some(standing)
    }

    /// How many of `wanted` claims may be created below the limit, when `reserved` were granted before
    /// and are not counted yet (lifecycle 13, disruption 7.3).
    pub fn granted(&self, reserved: i64, wanted: i64) -> i64 {
        let Some(limit) = self.limit else {
            return wanted.max(0);
        };
        let taken = self.active + self.pending_disruption + self.deleting + reserved;
        wanted.min(limit.saturating_sub(taken)).max(0)
    }

    /// How many claims are to be created, when `reserved` were granted before and are not counted yet
    /// (scheduling 10.2). What a disruption command has taken is replaced by that command.
    pub fn claims_to_create(&self, reserved: i64) -> Lack {
        let wanted = self.replicas - self.active - self.pending_disruption - reserved;
        match (wanted, self.granted(reserved, wanted)) {
            (..=0, _) => Lack::None,
            (_, 0) => Lack::LimitReached,
            (_, granted) => Lack::Claims(granted),
        }
    }

    /// How many claims are too many. What a disruption command has taken does not count: it goes anyway.
    pub fn excess(&self) -> i64 {
        (self.active - self.replicas).max(0)
    }
}

/// Where a claim of the pool stands; `None` for anything else.
fn state(snapshot: &Snapshot, pool: PoolId, id: NodeId) -> Option<State> {
    let node = &snapshot.nodes[id];
    let claim = node
        .claim
        .as_ref()
        .filter(|_| snapshot.places[id].pool == Some(pool))?;
    Some(if node.marked {
        State::Deleting
    } else if claim.disruption_reason.is_some() {
        State::PendingDisruption
    } else {
        State::Active
    })
}

/// Who goes first: first by what is lost, then by how much its owners would mind, then by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    occupancy: Occupancy,
    /// Some pod must not be disrupted.
    protected: bool,
    /// Of evicting the pods, as far as the node would have lived on.
    cost: DisruptionCost,
    id: NodeId,
}

/// What a node is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Occupancy {
    /// There is no machine yet.
    Unlaunched,
    /// No pods but those that come with every node, and of these none that must stay.
    Empty,
    /// Anything else.
    Busy,
}

/// The claims of a static pool that are too many, those to go first at the front. Budgets do not hold for
/// them (scheduling 10.2, lifecycle 13).
pub fn victims(snapshot: &Snapshot, pool: PoolId) -> Vec<NodeId> {
    let Some(standing) = Standing::of(snapshot, pool) else {
        return Vec::new();
    };
    let mut ranks: Vec<Rank> = snapshot
        .nodes
        .iter()
        .filter(|(id, _)| state(snapshot, pool, *id) == Some(State::Active))
        .filter_map(|(id, node)| Some(rank(snapshot, id, node.claim.as_ref()?)))
        .collect();
    ranks.sort_unstable();
    ranks.truncate(usize::try_from(standing.excess()).unwrap_or(usize::MAX));
    ranks.into_iter().map(|rank| rank.id).collect()
}

fn rank(snapshot: &Snapshot, id: NodeId, claim: &ClaimFacts) -> Rank {
    let pods = || {
        let bound = snapshot.places[id].pods.iter();
        bound.map(|pod| &*snapshot.pods[*pod])
    };
    let protected = pods().any(|pod| pod.is_active() && pod.is_protected(snapshot.now));
    let only_daemons = pods().all(|pod| pod.owner == Owner::DaemonSet);
    let occupancy = if claim.launched {
        if only_daemons && !protected {
            Occupancy::Empty
        } else {
            Occupancy::Busy
        }
    } else {
        Occupancy::Unlaunched
    };
    let cost: DisruptionCost = pods().map(DisruptionCost::of_eviction).sum();
    Rank {
        occupancy,
        protected,
        cost: cost.for_remaining_life(
            snapshot.now.duration_since(claim.created),
            claim.expire_after,
        ),
        id,
    }
}

/// A claim of a static pool: the template as it is, without a list of instance types, requests or minimum
/// numbers of values that were lowered (scheduling 4.14). Equal seeds choose equal values of custom labels.
pub fn static_claim(snapshot: &Snapshot, pool: PoolId, seed: u64) -> NodeClaim {
    let requirements = &snapshot.pools[pool].requirements;
    of_template(snapshot, pool, requirements, mixed(seed))
}
