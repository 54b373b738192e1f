//! The whole why behind one node: whether it is a candidate, and what each method makes of it.
//!
//! Every method is asked about this node as if nothing came before it, from the same snapshot as a round.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use crate::disrupt::{BlockReason, DisruptOptions, Method, Pass, Verdict};
use crate::price::Cost;
use crate::snapshot::Snapshot;
use crate::vocabulary::NodeId;

/// Everything there is to say about a node's disruption.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeDisruption {
    /// The version of this contract.
    pub api_version: &'static str,
    /// What is explained.
    pub kind: &'static str,
    /// The node.
    pub name: String,
    /// It may be disrupted as far as it is concerned itself.
    pub candidate: bool,
    /// What an hour of it costs, in dollars; zero when nobody knows.
    pub price_per_hour: f64,
    /// Pods that would need another place.
    pub pods: usize,
    /// What moving those costs: one for the node and one for each ordinary pod.
    pub disruption_cost: f64,
    /// What each method makes of it, in the order in which they are asked.
    pub methods: Vec<MethodVerdict>,
    /// What stands in the way, each object by itself.
    pub blocked_by: Vec<Blocker>,
}

/// What a method makes of a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodVerdict {
    /// The method.
    pub method: &'static str,
    /// A word for programs.
    pub verdict: &'static str,
    /// What the node costs an hour, in dollars, where that was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<f64>,
    /// What could replace it, where that was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// The verdict for people, with the numbers behind it.
    pub message: String,
}

/// The cheapest replacement.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Best {
    /// The instance types.
    pub instance_types: Vec<String>,
    /// The most that an hour of it may cost, in dollars.
    pub price_per_hour: f64,
}

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blocker {
    /// Its kind.
    pub kind: &'static str,
    /// Its name, with the namespace if it has one.
    pub name: String,
    /// Why it does.
    pub message: String,
}

/// Asks every method about one node.
pub fn explain_node(
    snapshot: &Snapshot,
    node: NodeId,
    options: &DisruptOptions<'_>,
) -> NodeDisruption {
    let pass = Pass::new(snapshot, *options);
    let blocked = pass.block_reason(node);
    let mut blocked_by: Vec<Blocker> = blocked
        .map(|reason| blockers(snapshot, node, reason))
        .unwrap_or_default();
    let verdicts = pass.verdicts_on(node);
    let is_spent = verdicts
        .iter()
        .any(|(_, verdict)| *verdict == Verdict::BudgetSpent);
    let closed = match Verdict::of_pool(snapshot, node) {
        Some(fault) => Some(fault.message(snapshot)),
        None => is_spent.then(|| "its disruption budget is spent".to_string()),
    };
    if let (Some(pool), Some(message)) = (snapshot.nodes[node].pool.as_deref(), closed) {
        blocked_by.push(Blocker {
            kind: "NodePool",
            name: pool.to_string(),
            message,
        });
    }
    let candidate = pass.candidate(node);
    NodeDisruption {
        api_version: "explain.karpenter.sh/v1",
        kind: "Node",
        name: snapshot.nodes[node].name.to_string(),
        candidate: blocked.is_none(),
        price_per_hour: candidate.map_or(0.0, |own| own.price.dollars()),
        pods: candidate.map_or(0, |own| own.reschedulable.len()),
        disruption_cost: candidate.map_or(0.0, |own| own.cost.as_f64()),
        methods: verdicts
            .iter()
            .map(|(method, verdict)| method_verdict(snapshot, *method, verdict))
            .collect(),
        blocked_by,
    }
}

fn method_verdict(snapshot: &Snapshot, method: Method, verdict: &Verdict) -> MethodVerdict {
    let (current, best) = if let Verdict::NotCheaper { current, best } = verdict {
        (Some(*current), *best)
    } else {
        (None, None)
    };
    let best = best.and_then(|(pool, id, price)| {
        let catalog = snapshot.catalogs[pool].as_ref().ok()?;
        Some(Best {
            instance_types: [catalog.types[id].name.to_string()].into(),
            price_per_hour: price.dollars(),
        })
    });
    MethodVerdict {
        method: method.as_str(),
        verdict: verdict.word(),
        current: current.map(Cost::dollars),
        best,
        message: verdict.message(snapshot),
    }
}

/// The objects behind a reason.
fn blockers(snapshot: &Snapshot, node: NodeId, reason: &BlockReason) -> Vec<Blocker> {
    let message = reason.message(snapshot);
    let blocker = |kind, name: String| Blocker {
        kind,
        name,
        message: message.clone(),
    };
    let budget = |index: &usize| {
        let budget = &snapshot.budgets[*index];
        let name = format!("{}/{}", budget.namespace, budget.name);
        blocker("PodDisruptionBudget", name)
    };
    let pod = reason.pod().map(|pod| {
        let name = snapshot.pods[pod].display_name();
        blocker("Pod", name)
    });
    let mut found: Vec<Blocker> = pod.into_iter().collect();
    match reason {
        BlockReason::MultipleBudgets { budgets, .. } => found.extend(budgets.iter().map(budget)),
        BlockReason::Budget { budget: own, .. } => found.push(budget(own)),
        BlockReason::PoolNotFound(name) => found.push(blocker("NodePool", name.to_string())),
        BlockReason::PodDoNotDisrupt(_) => {}
        BlockReason::AlreadyDisrupted
        | BlockReason::NotManaged
        | BlockReason::NoNode
        | BlockReason::NotInitialized
        | BlockReason::MarkedForDeletion
        | BlockReason::Nominated
        | BlockReason::NodeDoNotDisrupt
        | BlockReason::NoPoolLabel => {
            found.push(blocker("Node", snapshot.nodes[node].name.to_string()));
        }
    }
    found
}

impl NodeDisruption {
    /// The explanation in lines, most important first.
    pub fn lines(&self) -> Vec<String> {
        let standing = if self.candidate {
            "may be disrupted"
        } else {
            "may not be disrupted"
        };
        let mut lines = Vec::new();
        lines.push(format!("node {}: {standing}", self.name));
        if self.candidate {
            lines.push(format!(
                "  costs ${:.5}/h, {} pods to move, a disruption cost of {:.2}",
                self.price_per_hour, self.pods, self.disruption_cost
            ));
        }
        for blocker in &self.blocked_by {
            lines.push(format!(
                "  blocked by {} {}: {}",
                blocker.kind, blocker.name, blocker.message
            ));
        }
        for method in &self.methods {
            lines.push(format!("  {}: {}", method.method, method.message));
        }
        lines
    }
}
