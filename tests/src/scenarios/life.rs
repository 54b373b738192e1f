//! The life of a cluster in fair weather.

use std::time::Duration;

use anyhow::{Result, ensure};
use karpenter_sim::State;
use kube::ResourceExt;

use super::{
    PATIENCE,
    manifests::{budget, deployment, pool},
    whole::{list, whole},
};
use crate::cluster::Cluster;

const SMALL: &str = "{cpu: 900m, memory: 1Gi}";

/// Pods of one deployment on a few nodes.
pub(super) fn settled(cluster: &mut impl Cluster, pods: u32) -> Result<State> {
    cluster.apply(&pool("red"))?;
    cluster.apply(&deployment("web", pods, SMALL, ""))?;
    cluster.until("all pods run", PATIENCE, |state| all_run(state, pods))
}

pub(super) fn all_run(state: &State, pods: u32) -> bool {
    state.pods.len() == pods as usize && state.running() == pods as usize
}

fn has_node(state: &State, name: &str) -> bool {
    state.nodes.iter().any(|node| node.name == name)
}

/// From nothing to two hundred pods in three deployments and back, as the only autoscaler.
pub(super) fn grow_and_shrink<C: Cluster>(cluster: &mut C) -> Result<String> {
    let apps = |replicas: [u32; 3]| {
        let arm = "nodeSelector: {kubernetes.io/arch: arm64}";
        deployment("web", replicas[0], SMALL, "")
            + &deployment("cache", replicas[1], "{cpu: 500m, memory: 3Gi}", "")
            + &deployment("batch", replicas[2], "{cpu: 300m}", arm)
    };
    cluster.apply(&pool("red"))?;
    cluster.apply(&apps([0, 0, 0]))?;
    cluster.apply(&apps([100, 60, 40]))?;
    cluster.until("two hundred pods run", PATIENCE, |state| {
        all_run(state, 200)
    })?;
    let grown = whole(cluster, 200)?;
    let claims = list(cluster, "nodeclaim")?.len();
    cluster.pass(Duration::from_secs(12))?;
    let later = list(cluster, "nodeclaim")?.len();
    ensure!(
        later == claims,
        "{claims} claims became {later} with nothing to do"
    );
    cluster.apply(&apps([0, 0, 0]))?;
    cluster.until("no node is left", PATIENCE, |state| {
        state.pods.is_empty() && state.nodes.is_empty() && state.claims.is_empty()
    })?;
    whole(cluster, 0)?;
    Ok(grown)
}

/// A node that people delete is drained, and its claim goes with it.
pub(super) fn node_deleted<C: Cluster>(cluster: &mut C) -> Result<String> {
    let state = settled(cluster, 12)?;
    let node = state.nodes[0].name.clone();
    let machine = claim_of(&state, &node);
    cluster.delete("node", &node)?;
    cluster.until("node and claim are gone, pods run", PATIENCE, |state| {
        !has_node(state, &node)
            && claim_names(state).all(|name| name != machine)
            && all_run(state, 12)
    })?;
    whole(cluster, 12)
}

/// A claim that people delete takes its node along.
pub(super) fn claim_deleted<C: Cluster>(cluster: &mut C) -> Result<String> {
    let state = settled(cluster, 12)?;
    let claim = state.claims[0].name_any();
    let node = state.claims[0]
        .status
        .as_ref()
        .and_then(|status| status.node_name.clone())
        .unwrap_or_default();
    cluster.delete("nodeclaim", &claim)?;
    cluster.until("claim and node are gone, pods run", PATIENCE, |state| {
        !has_node(state, &node)
            && claim_names(state).all(|name| name != claim)
            && all_run(state, 12)
    })?;
    whole(cluster, 12)
}

fn claim_names(state: &State) -> impl Iterator<Item = String> {
    state.claims.iter().map(ResourceExt::name_any)
}

fn claim_of(state: &State, node: &str) -> String {
    let of_node = |claim: &&karpenter_api::NodeClaim| {
        let status = claim.status.as_ref();
        status.and_then(|status| status.node_name.as_deref()) == Some(node)
    };
    state
        .claims
        .iter()
        .find(of_node)
        .map(ResourceExt::name_any)
        .unwrap_or_default()
}

/// `kubectl drain` beside us: the pods move, and the empty node is taken away.
pub(super) fn node_drained_by_people<C: Cluster>(cluster: &mut C) -> Result<String> {
    let state = settled(cluster, 12)?;
    let node = state.nodes[0].name.clone();
    cluster.drain(&node)?;
    cluster.until("the drained node is gone, pods run", PATIENCE, |state| {
        !has_node(state, &node) && all_run(state, 12)
    })?;
    whole(cluster, 12)
}

/// A changed template is what the next nodes are made from.
pub(super) fn pool_edited<C: Cluster>(cluster: &mut C) -> Result<String> {
    let state = settled(cluster, 12)?;
    let old: Vec<String> = state.nodes.iter().map(|node| node.name.clone()).collect();
    let blue = "nodeSelector: {example.com/team: blue}";
    cluster.apply(&deployment("blue", 8, SMALL, blue))?;
    cluster.pass(Duration::from_secs(4))?;
    let state = cluster.state()?;
    ensure!(
        state.unbound() == 8 && state.claims.len() == old.len(),
        "no template makes such nodes\n{}",
        state.describe()
    );
    cluster.apply(&pool("blue"))?;
    // What was made from the old template has drifted, and is replaced.
    cluster.until("pods run on the new template alone", PATIENCE, |state| {
        let is_new = |node: &karpenter_sim::NodeState| {
            let team = node.labels.get("example.com/team").map(String::as_str);
            team == Some("blue") && !old.contains(&node.name)
        };
        all_run(state, 20) && state.nodes.iter().all(is_new)
    })?;
    whole(cluster, 20)
}

/// Half of the pods go, and the rest is moved together on fewer machines that cost less.
pub(super) fn consolidated<C: Cluster>(cluster: &mut C) -> Result<String> {
    let pool = pool("red").replace("WhenEmpty", "WhenEmptyOrUnderutilized");
    cluster.apply(&pool)?;
    cluster.apply(&deployment("web", 24, SMALL, ""))?;
    let state = cluster.until("all pods run", PATIENCE, |state| all_run(state, 24))?;
    let before = state.nodes.len();
    cluster.apply(&deployment("web", 8, SMALL, ""))?;
    cluster.until("few machines are left", PATIENCE, |state| {
        all_run(state, 8) && state.nodes.len() < before && state.claims.len() == state.nodes.len()
    })?;
    whole(cluster, 8)
}

/// A pool that goes takes its nodes along; pods wait for the next pool.
pub(super) fn pool_deleted<C: Cluster>(cluster: &mut C) -> Result<String> {
    settled(cluster, 12)?;
    cluster.delete("nodepool", "default")?;
    cluster.until("nodes and claims are gone", PATIENCE, |state| {
        state.nodes.is_empty() && state.claims.is_empty() && state.unbound() == 12
    })?;
    ensure!(list(cluster, "nodepool")?.is_empty(), "the pool stays");
    cluster.apply(&pool("green"))?;
    cluster.until("pods run on the next pool", PATIENCE, |state| {
        all_run(state, 12)
    })?;
    whole(cluster, 12)
}

/// A budget holds a node for as long as it says, and no longer.
pub(super) fn budget_blocks_then_yields<C: Cluster>(cluster: &mut C) -> Result<String> {
    cluster.apply(&budget("web", 0))?;
    let state = settled(cluster, 6)?;
    let claim = state.claims[0].name_any();
    let node = state.claims[0]
        .status
        .as_ref()
        .and_then(|status| status.node_name.clone())
        .unwrap_or_default();
    let there = |state: &State| {
        state
            .pods
            .iter()
            .filter(|pod| pod.node.as_deref() == Some(&node) && !pod.deleting)
            .count()
    };
    let before = there(&state);
    ensure!(before > 0, "no pod on {node}");
    cluster.delete("nodeclaim", &claim)?;
    cluster.pass(Duration::from_secs(15))?;
    let state = cluster.state()?;
    ensure!(
        there(&state) == before,
        "the budget allows no eviction\n{}",
        state.describe()
    );
    ensure!(has_node(&state, &node), "{node} went with pods on it");
    cluster.apply(&budget("web", 1))?;
    cluster.until("the node is gone, pods run", PATIENCE, |state| {
        !has_node(state, &node) && all_run(state, 6)
    })?;
    whole(cluster, 6)
}
