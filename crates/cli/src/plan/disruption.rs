//! The part of the answer that `--disrupt` asks for: what the disruption methods would do now, and
//! why the other nodes stay.

use karpenter_plan::{
    Snapshot,
    disrupt::{DisruptOptions, disrupt},
};
use serde::Serialize;

use super::rounded;

/// A command: the nodes that would go.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Disruption {
    pub(super) reason: &'static str,
    pub(super) decision: &'static str,
    pub(super) nodes: Vec<String>,
    /// No method of this build replaces nodes.
    replacements: [(); 0],
    pub(super) pods: usize,
    pub(super) savings_per_hour: f64,
}

/// A node that is no candidate.
#[derive(Serialize)]
pub(super) struct Blocked {
    pub(super) node: String,
    pub(super) reason: String,
}

/// Asks the methods.
pub(super) fn disruptions(
    snapshot: &Snapshot,
    ignore_consolidate_after: bool,
) -> (Vec<Disruption>, Vec<Blocked>) {
    let options = DisruptOptions {
        commands: &[],
        ignore_consolidate_after,
    };
    let (command, report) = disrupt(snapshot, &options);
    let disruptions = command.into_iter().map(|command| {
        let mut nodes: Vec<String> = command
            .nodes
            .iter()
            .map(|target| target.node.to_string())
            .collect();
        nodes.sort();
        Disruption {
            reason: command.method.reason().as_str(),
            decision: command.decision.as_str(),
            nodes,
            replacements: [],
            pods: command.pods,
            savings_per_hour: rounded(command.savings),
        }
    });
    let blocked = report.blocked.iter().map(|(node, reason)| Blocked {
        node: snapshot.nodes[*node].name.to_string(),
        reason: reason.message(snapshot),
    });
    (disruptions.collect(), blocked.collect())
}
