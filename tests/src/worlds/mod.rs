//! Random worlds, planned by us and judged by a pod scheduler: each placement must be one that the
//! scheduler accepts.
//!
//! `generate` makes a world of a seed. `place` plans it and makes the nodes
//! that the plan asks for, each of a type and an offering that the plan leaves open, at random.
//! `judge` gives nodes and pods to a cluster where a pod scheduler runs and our controller
//! does not, and sees who is bound. A pod is held to the node that the plan names by a resource of
//! which only that node has some: a selector would change over which nodes the pod spreads.
//!
//! The scheduler is kube-scheduler on a real control plane, or the one of `karpenter-sim`, which shares
//! no code with our planner.

mod generate;
mod judge;
mod place;
mod random;

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::Client;

/// The pod scheduler that judges.
pub struct Scheduler {
    /// The cluster where it runs.
    pub client: Client,
    /// How long it may take for a world.
    pub patience: Duration,
    /// It spreads pods by [`default_spreads`] itself; otherwise pods come with them written down.
    pub has_default_spreads: bool,
}

/// How pods of ReplicaSets spread in these worlds when they do not say so themselves: a list as in the
/// configuration of kube-scheduler.
pub fn default_spreads() -> serde_json::Value {
    generate::default_spreads()
}

/// What the worlds do not have, since it is known how the kube-scheduler has it otherwise, as a page says it.
pub const LEFT_OUT: &str = "\
Left out of the worlds, since Karpenter v1.14 plans such pods where the kube-scheduler refuses them, and so do we
(`tests/src/worlds/generate/rules.rs`). A refused pod waits until the next round, which knows where everybody is.

- A spread with `nodeAffinityPolicy: Ignore` of a pod that may use some nodes only: Karpenter measures it over the
  domains that the pod may use.
- A pod that is affine to its own kind and may use some nodes only: Karpenter lets it begin where it may go although
  others of its kind are where it may not.
- A spread that counts pods of others on a NodeClaim whose zone is open, or that may or may not become one of the nodes
  that count: Karpenter counts them nowhere (measured: scenarios 139 and 205 of the conformance set), so that others
  are planned beside them. Counting them everywhere would keep pods waiting that mostly have a place.

One more is left out since it is a fault of kube-scheduler v1.36: a `namespaceSelector` with `NotIn` or `DoesNotExist`
in an affinity term. The scheduler empties the selector of a copy of the term once it has looked up the namespaces, and
then holds the selector that stayed against no labels, so that the term selects pods of all namespaces.";

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
pub async fn world(scheduler: &Scheduler, seed: u64, outcome: &mut Outcome) -> Result<()> {
    let world = generate::world(seed);
    let placed = place::place(&scheduler.client, &world, seed)?;
    let refused = judge::judge(scheduler, &world, &placed).await?;
    let with_rules = |pod: &&place::Placement| generate::has_rules(&pod.pod);
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
