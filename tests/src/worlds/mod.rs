//! Random worlds, planned by us and judged by a pod scheduler: each placement must be one that the
//! scheduler accepts.
//!
//! `random` makes a world of a seed. `place` plans it and makes the nodes
//! that the plan asks for, each of a type and an offering that the plan leaves open, at random.
//! `judge` gives nodes and pods to a cluster where a pod scheduler runs and our controller
//! does not, and sees who is bound. A pod is held to the node that the plan names by a resource of
//! which only that node has some: a selector would change over which nodes the pod spreads.
//!
//! The scheduler is kube-scheduler on a real control plane, or the one of `karpenter-sim`, which shares
//! no code with our planner.

mod judge;
mod place;
mod random;

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::Client;

/// What came of some worlds.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Worlds that were judged.
    pub worlds: usize,
    /// Pods that had a place.
    pub placed: usize,
    /// Pods that had a place beside a rule between pods.
    pub ruled: usize,
    /// Pods that had none.
    pub unplaced: usize,
    /// Nodes that the plans asked for.
    pub new_nodes: usize,
    /// Placements that the scheduler did not accept, with its words.
    pub refused: Vec<String>,
}

/// Plans the world of a seed and has it judged; adds what came of it.
///
/// # Errors
/// When the cluster does not answer, or the plan fails our own check.
pub async fn world(
    client: &Client,
    seed: u64,
    patience: Duration,
    outcome: &mut Outcome,
) -> Result<()> {
    let world = random::world(seed);
    let placed = place::place(client, &world, seed)?;
    let refused = judge::judge(client, &world, &placed, patience).await?;
    let with_rules = |pod: &&place::Placement| random::has_rules(&pod.pod);
    ensure!(
        placed.unplaced + placed.placements.len() == world.pending.len(),
        "seed {seed}: pods are neither placed nor refused"
    );
    outcome.worlds += 1;
    outcome.placed += placed.placements.len();
    outcome.ruled += placed.placements.iter().filter(with_rules).count();
    outcome.unplaced += placed.unplaced;
    outcome.new_nodes += placed.new_nodes.len();
    let told = refused
        .into_iter()
        .map(|text| format!("seed {seed}: {text}"));
    outcome.refused.extend(told);
    Ok(())
}
