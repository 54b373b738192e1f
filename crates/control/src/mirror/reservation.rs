//! Places below the limit of a static pool: granted under the mirror's lock, so that two controllers that
//! ask at the same time never get the same place.

use std::sync::Arc;

use jiff::Timestamp;
use karpenter_plan::{
    PoolId, Snapshot,
    static_pool::{Lack, Standing},
};

use super::Mirror;

/// What a static pool is granted.
pub(crate) enum Grant {
    /// It lacks nothing, or is no static pool of ours.
    Nothing,
    /// There may be no more nodes.
    LimitReached,
    /// One claim for each reservation, rendered from this snapshot.
    Claims(Arc<Snapshot>, PoolId, Vec<Reservation>),
}

/// One granted place; dropping it gives it back. Whoever creates the claim drops it when the claim is
/// known, or when the attempt has failed.
pub(crate) struct Reservation {
    mirror: Arc<Mirror>,
    pool: String,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.mirror.write().intent.release(&self.pool);
    }
}

impl Mirror {
    /// Grants a static pool one claim in the place of another that is to go, if its limit of nodes allows.
    pub(crate) fn reserve_one(self: &Arc<Self>, pool: &str, now: Timestamp) -> Option<Reservation> {
        let mut state = self.write();
        let snapshot = state.snapshot(now);
        let standing = Standing::of(&snapshot, snapshot.pool_named(pool)?)?;
        if standing.granted(state.intent.reserved(pool), 1) == 0 {
            return None;
        }
        state.intent.reserve(pool, 1);
        Some(Reservation {
            mirror: Arc::clone(self),
            pool: pool.to_owned(),
        })
    }

    /// Grants a static pool the claims that it lacks, as far as its limit of nodes allows. A pool that is
    /// not ready gets nothing (scheduling 10.2).
    pub(crate) fn reserve_lacking(self: &Arc<Self>, pool: &str, now: Timestamp) -> Grant {
        let mut state = self.write();
        let snapshot = state.snapshot(now);
        let Some((id, standing)) = snapshot
            .pool_named(pool)
            .filter(|id| snapshot.pools[*id].ready)
            .and_then(|id| Some((id, Standing::of(&snapshot, id)?)))
        else {
            return Grant::Nothing;
        };
        match standing.claims_to_create(state.intent.reserved(pool)) {
            Lack::None => Grant::Nothing,
            Lack::LimitReached => Grant::LimitReached,
            Lack::Claims(claims) => {
                state.intent.reserve(pool, claims);
                let reservation = |_| Reservation {
                    mirror: Arc::clone(self),
                    pool: pool.to_owned(),
                };
                Grant::Claims(snapshot, id, (0..claims).map(reservation).collect())
            }
        }
    }
}
