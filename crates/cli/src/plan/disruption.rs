//! The part of the answer that `--disrupt` asks for: what the disruption methods would do now, and
//! why the other nodes stay.

use std::{collections::BTreeMap, fmt::Write as _};

use karpenter_plan::{
    Cost, Snapshot,
    disrupt::{Command, DisruptOptions, DisruptReport, Method, Replacement, Verdict, disrupt},
};
use serde::Serialize;

use super::{Cheapest, rounded, without_types};

/// What the methods answer.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Disruptions {
    #[serde(rename = "disruptions")]
    commands: Vec<Disruption>,
    blocked: Vec<Blocked>,
    stays: Vec<Stay>,
}

/// A command: the nodes that would go.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Disruption {
    reason: &'static str,
    decision: &'static str,
    nodes: Vec<String>,
    replacements: Vec<Launch>,
    pods: usize,
    savings_per_hour: f64,
}

/// A node that would come first.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Launch {
    node_pool: String,
    instance_types: Vec<String>,
    cheapest: Option<Cheapest>,
    requirements: Vec<karpenter_api::Requirement>,
}

/// A node that is no candidate.
#[derive(Serialize)]
pub(super) struct Blocked {
    node: String,
    reason: String,
}

/// A candidate that no method takes, with what the last that was asked makes of it.
#[derive(Serialize)]
pub(super) struct Stay {
    node: String,
    method: &'static str,
    verdict: &'static str,
    message: String,
}

/// Asks the methods.
pub(super) fn ask(snapshot: &Snapshot, options: &DisruptOptions<'_>) -> Disruptions {
    let (commands, report) = disrupt(snapshot, options);
    Disruptions {
        commands: commands.iter().map(disruption).collect(),
        blocked: report
            .blocked
            .iter()
            .map(|(node, reason)| Blocked {
                node: snapshot.nodes[*node].name.to_string(),
                reason: reason.message(snapshot),
            })
            .collect(),
        stays: stays(snapshot, &commands, &report),
    }
}

fn disruption(command: &Command) -> Disruption {
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
        replacements: command.replacements.iter().map(launch).collect(),
        pods: command.pods,
        savings_per_hour: rounded(command.savings),
    }
}

fn launch(replacement: &Replacement) -> Launch {
    let texts = |names: &[std::sync::Arc<str>]| names.iter().map(ToString::to_string).collect();
    let first = replacement.instance_types.first();
    Launch {
        node_pool: replacement.pool.to_string(),
        instance_types: texts(&replacement.instance_types),
        cheapest: replacement
            .cheapest
            .as_ref()
            .zip(first)
            .map(|(bid, name)| Cheapest {
                instance_type: name.to_string(),
                zone: bid.zone.as_ref().map(ToString::to_string),
                capacity_type: bid.capacity_type.as_ref().map(ToString::to_string),
                price_per_hour: rounded(Cost::from(bid.price)),
            }),
        requirements: without_types(replacement.object.spec.requirements.clone()),
    }
}

/// What the last method that has something to say about each node says, for nodes that no command has.
fn stays(snapshot: &Snapshot, commands: &[Command], report: &DisruptReport) -> Vec<Stay> {
    let mut last: BTreeMap<_, (Method, Verdict)> = BTreeMap::new();
    for method in &report.methods {
        for (node, verdict) in &method.verdicts {
            let says_less = verdict.is_for_others() && last.contains_key(node);
            if !says_less {
                let verdict = Verdict::of_pool(snapshot, *node).unwrap_or_else(|| verdict.clone());
                last.insert(*node, (method.method, verdict));
            }
        }
    }
    last.into_iter()
        .filter(|(id, _)| {
            let node = &snapshot.nodes[*id];
            !commands.iter().any(|command| command.holds(node))
        })
        .map(|(id, (method, verdict))| Stay {
            node: snapshot.nodes[id].name.to_string(),
            method: method.as_str(),
            verdict: verdict.word(),
            message: verdict.message(snapshot),
        })
        .collect()
}

/// For people.
pub(super) fn lines(answer: &Disruptions) -> String {
    let mut text = String::new();
    for command in &answer.commands {
        let _ = write!(
            text,
            "{} {} ({}, {} pods to move)",
            command.decision,
            command.nodes.join(" "),
            command.reason,
            command.pods,
        );
        for launch in &command.replacements {
            let what = launch
                .cheapest
                .as_ref()
                .map_or("the pool's template", |cheapest| &cheapest.instance_type);
            let _ = write!(text, ", by {what} of {}", launch.node_pool);
        }
        let _ = writeln!(text, ": saves ${:.4}/h", command.savings_per_hour);
    }
    for blocked in &answer.blocked {
        let _ = writeln!(text, "{} stays: {}", blocked.node, blocked.reason);
    }
    for stay in &answer.stays {
        let _ = writeln!(
            text,
            "{} stays: {} ({})",
            stay.node, stay.message, stay.method
        );
    }
    text
}
