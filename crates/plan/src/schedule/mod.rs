//! One scheduling round: pending pods onto what is there, onto what will be, and onto new claims.

use alloc::vec::Vec;

pub use self::{
    claim::{NewClaim, node_claim},
    reason::{Refusal, SkipReason, TemplateRefusal},
};
use crate::{
    pod::Ignored,
    snapshot::{NodeMask, Snapshot, View},
    vocabulary::{NodeId, PodId, PoolId},
};

mod claim;
mod reason;

/// What to do when instance types cannot span the asked-for number of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinValuesPolicy {
    /// Refuse.
    #[default]
    Strict,
    /// Ask for fewer.
    BestEffort,
}

/// How reservations limit a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReservedPolicy {
    /// A pod waits while a compatible reservation might still serve it.
    #[default]
    Strict,
    /// A pod does without: for what-ifs.
    Fallback,
    /// Reservations are offerings like others.
    Ignored,
}

/// How to schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Chooses where any value would do.
    pub seed: u64,
    /// What minimum numbers of values mean.
    pub min_values: MinValuesPolicy,
    /// What reservations mean.
    pub reserved: ReservedPolicy,
    /// Drop preferences from the start.
    pub ignore_preferences: bool,
}

/// What shall be done.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Pods for places that exist, in the order of placement. Nodes that receive one are nominated.
    pub bindings: Vec<(PodId, NodeId)>,
    /// Claims to create, in the order they were opened.
    pub claims: Vec<NewClaim>,
}

/// Why the rest is not done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Pods that have no place, and why.
    pub unplaced: Vec<(PodId, Refusal)>,
    /// Pods that are not ours to schedule or are invalid.
    pub ignored: Vec<(PodId, Ignored)>,
    /// Pods that need nothing now.
    pub skipped: Vec<(PodId, SkipReason)>,
    /// Pods that were placed without some of their preferences.
    pub relaxed: Vec<PodId>,
    /// Pools whose requirements leave no instance type; true when only because of minimum numbers of
    /// values.
    pub pools_without_types: Vec<(PoolId, bool)>,
    /// There is no pool that may get claims.
    pub no_pools: bool,
}

/// Schedules the pods that wait and those on nodes that are going away.
pub fn schedule(snapshot: &Snapshot, options: &Options) -> (Plan, Report) {
    simulate(
        &View {
            base: snapshot,
            gone: NodeMask::new(),
            displaced: &[],
        },
        options,
    )
}

/// The same in a world where some nodes are gone and their pods need a place.
pub fn simulate(view: &View<'_>, options: &Options) -> (Plan, Report) {
    let _ = (view, options);
    (Plan::default(), Report::default())
}
