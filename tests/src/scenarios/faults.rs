//! Our controllers are killed, and nothing is launched twice or left behind.

use std::time::Duration;

use anyhow::{Result, ensure};
use karpenter_sim::State;

use super::{
    PATIENCE,
    life::all_run,
    manifests::{class, deployment, pool},
    whole::{list, whole},
};
use crate::cluster::Cluster;

const HALF: &str = "{cpu: 1500m, memory: 1Gi}";

/// Killed with pods waiting, with claims without nodes, with everything settled, in the middle of a
/// drain, and in the middle of a consolidation.
pub(super) fn controller_killed<C: Cluster>(cluster: &mut C) -> Result<String> {
    let kill = |cluster: &mut C| {
        cluster.kill_controller();
        cluster.start_controller()
    };
    // Machines that take a while to boot leave time to be killed in.
    cluster.apply(&class("3s"))?;
    cluster.apply(&pool("red"))?;
    cluster.apply(&deployment("web", 20, HALF, ""))?;
    cluster.until("pods wait", PATIENCE, |state| state.unbound() == 20)?;
    kill(cluster)?;

    cluster.until("claims wait for their nodes", PATIENCE, |state| {
        !state.claims.is_empty() && state.nodes.is_empty()
    })?;
    kill(cluster)?;
    cluster.until("all pods run", PATIENCE, |state| all_run(state, 20))?;
    let grown = whole(cluster, 20)?;

    let claims = list(cluster, "nodeclaim")?.len();
    kill(cluster)?;
    cluster.pass(Duration::from_secs(12))?;
    let later = list(cluster, "nodeclaim")?.len();
    ensure!(
        later == claims,
        "{claims} claims became {later} by a restart"
    );

    let state = cluster.state()?;
    let name = state.nodes[0].name.clone();
    cluster.delete("node", &name)?;
    cluster.until("a drain has begun", PATIENCE, |state| {
        disrupted(state) || state.nodes.iter().all(|node| node.name != name)
    })?;
    kill(cluster)?;
    cluster.until("the node is gone, pods run", PATIENCE, |state| {
        state.nodes.iter().all(|node| node.name != name) && all_run(state, 20)
    })?;
    whole(cluster, 20)?;

    cluster.apply(&deployment("web", 0, HALF, ""))?;
    cluster.until("nodes are being emptied", PATIENCE, |state| {
        disrupted(state) || state.nodes.is_empty()
    })?;
    kill(cluster)?;
    cluster.until("no node is left", PATIENCE, |state| {
        state.pods.is_empty() && state.nodes.is_empty() && state.claims.is_empty()
    })?;
    Ok(grown)
}

fn disrupted(state: &State) -> bool {
    state.nodes.iter().any(|node| {
        node.taints
            .iter()
            .any(|taint| taint.starts_with("karpenter.sh/disrupted"))
    })
}
