//! What must go well on any cluster.
//!
//! A scenario changes a cluster as people would, waits for what must come of it, and compares the
//! end with the API's own lists. Those in [`shared`] know nothing of where they run.

mod faults;
mod life;
mod manifests;
mod real;
mod whole;

use std::time::Duration;

use anyhow::Result;

use crate::cluster::{Cluster, Real};

pub use whole::resource;

/// The longest that anything takes; most takes seconds.
const PATIENCE: Duration = Duration::from_mins(4);

/// A scenario: returns what was found in the end.
pub type Scenario<C> = (&'static str, fn(&mut C) -> Result<String>);

/// Those that run anywhere.
pub fn shared<C: Cluster>() -> Vec<Scenario<C>> {
    vec![
        ("grow_and_shrink", life::grow_and_shrink),
        ("node_deleted", life::node_deleted),
        ("claim_deleted", life::claim_deleted),
        ("node_drained_by_people", life::node_drained_by_people),
        ("pool_edited", life::pool_edited),
        ("consolidated", life::consolidated),
        ("pool_deleted", life::pool_deleted),
        ("budget_blocks_then_yields", life::budget_blocks_then_yields),
        ("controller_killed", faults::controller_killed),
    ]
}

/// Those that need processes to kill.
pub fn real() -> Vec<Scenario<Real>> {
    vec![
        ("api_server_killed", real::api_server_killed),
        ("past_compacted", real::past_compacted),
        ("leader_killed", real::leader_killed),
    ]
}

/// Runs a scenario on a cluster where nothing is, and leaves it so.
pub fn run<C: Cluster>(cluster: &mut C, scenario: &Scenario<C>) -> Result<String> {
    cluster.start_controller()?;
    cluster.apply(&manifests::class("0s"))?;
    let found = scenario.1(cluster)?;
    whole::cleared(cluster)?;
    cluster.delete("kwoknodeclass", "default")?;
    Ok(found)
}
