//! The whole why behind one pod, or one node, on demand.
//!
//! While scheduling, a refusal is a code and the first reason is enough. Here every constraint is
//! judged by itself, whatever the others say, and each change that would help alone is looked for.
//! The verdict is the scheduler's own, from a round over the same snapshot; the reasons are read as
//! the judge reads them, slowly and plainly. `pool` explains new nodes with the verdicts of
//! `constraint` and the advice of `change`, `place` existing ones; `text` puts it all into
//! lines. `cause` says in one sentence what is to blame, `alternative` what else was possible.
//! `disruption` is about nodes: what each method makes of one.
//!
//! The types here are a contract: other programs read their JSON.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use crate::check::{Kinds, Terms, host_name};
use crate::pod::{Owner, Pod};
use crate::requirement::Requirements;
use crate::schedule::{Options, Plan, Report, SkipReason, Step, schedule};
use crate::snapshot::Snapshot;
use crate::vocabulary::PodId;

mod alternative;
mod cause;
mod change;
mod constraint;
mod disruption;
mod neighbor;
mod place;
mod pool;
mod text;

pub use self::cause::causes;
pub use self::disruption::{Best, Blocker, MethodVerdict, NodeDisruption, explain_node};
use self::pool::PoolView;

/// Everything there is to say about a pod's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodExplanation {
    /// The version of this contract.
    pub api_version: &'static str,
    /// What is explained.
    pub kind: &'static str,
    /// `namespace/name`.
    pub name: String,
    /// What becomes of the pod.
    pub verdict: Verdict,
    /// The node it goes to or sits on, or the claim that would be made for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The true cause in one sentence, when it has no place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Why, as its event or the report of the round says it; absent when it has a place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What each NodePool makes of it, in the order in which they are asked.
    pub node_pools: Vec<PoolExplanation>,
    /// What each node makes of it, in name order.
    pub existing_nodes: Vec<NodeExplanation>,
    /// Changes any one of which would give it a place.
    pub would_help: Vec<Change>,
    /// Other places that would have done, when it has one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<String>,
    /// Preferences that were dropped to place it.
    pub relaxed: Vec<String>,
}

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It goes to a node, or a claim, that exists.
    ExistingNode,
    /// A node will be made.
    NewNode,
    /// It has no place.
    Unschedulable,
    /// It is not scheduled, because of how it is written.
    Ignored,
    /// It needs no place from us now.
    Skipped,
}

/// What a NodePool makes of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolExplanation {
    /// The NodePool.
    pub node_pool: String,
    /// Each constraint's own verdict; empty when the pool gets no new nodes anyway.
    pub constraints: Vec<ConstraintVerdict>,
    /// The verdict in one line.
    pub message: String,
}

/// How many of a pool's instance types satisfy one constraint, whatever the other constraints say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConstraintVerdict {
    /// What is constrained, such as `resources.memory`.
    pub constraint: String,
    /// What is asked of it.
    pub asked: String,
    /// Instance types that satisfy it.
    pub passing: usize,
    /// Instance types that the pool could launch at all.
    pub of: usize,
    /// The type that comes closest, when none passes and distance means something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Nearest>,
}

/// The instance type that comes closest to a constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Nearest {
    /// The instance type.
    pub instance_type: String,
    /// What it has, DaemonSets taken off.
    pub has: String,
}

/// What a node makes of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeExplanation {
    /// The node, or the claim that will become one.
    pub node: String,
    /// Every reason against it, or `fits`.
    pub message: String,
}

/// A change that would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What to change.
    pub change: String,
    /// What would come of it.
    pub result: String,
}

/// Explains a pod in a round with the default options.
pub fn explain_pod(snapshot: &Snapshot, pod: PodId) -> PodExplanation {
    explain_pod_with(snapshot, pod, &Options::default())
}

/// Explains a pod in a round with these options.
pub fn explain_pod_with(snapshot: &Snapshot, id: PodId, options: &Options) -> PodExplanation {
    let pod = &*snapshot.pods[id];
    let (plan, report) = schedule(snapshot, options);
    let (verdict, target, message) = verdict(snapshot, id, options, &plan, &report);
    let kinds = Kinds::new(snapshot);
    let mut pools = pool::views(snapshot, &kinds, &plan, id);
    pools.sort_by_key(PoolView::rank);
    let is_looking = matches!(verdict, Verdict::Unschedulable);
    let mut would_help = Vec::new();
    if is_looking && !(pod.shape.claims_devices && snapshot.devices.is_none()) && !report.no_pools {
        would_help.extend(place::changes(snapshot, &plan, id));
        let views = pools
            .iter()
            .filter(|view| neighbor::refusal(&report, id, view.id).is_none());
        would_help.extend(views.flat_map(|view| view.changes(pod)));
        would_help.extend(neighbor::changes(snapshot, id, options));
        let mut seen: Vec<Change> = Vec::new();
        would_help.retain(|change| {
            let is_new = !seen.iter().any(|other| other.change == change.change);
            seen.push(change.clone());
            is_new
        });
    }
    let relaxed = report
        .step(id)
        .map_or(Vec::new(), |step| dropped(snapshot, &plan, id, step));
    let refusal = report.unplaced.iter().find(|(refused, _)| *refused == id);
    let explain = |view: &PoolView<'_>| {
        let mut explanation = view.explanation(pod);
        if let Some((_, refusal)) = refusal
            && view.takes(pod)
        {
            explanation.message = cause::beside_constraints(view, id, refusal, options);
        }
        if let Some(refusal) = neighbor::refusal(&report, id, view.id) {
            neighbor::add(&mut explanation, refusal, snapshot, id, view.id, options);
        }
        explanation
    };
    let cause = refusal.map(|(_, refusal)| cause::cause(&pools, id, refusal, options));
    let cause = cause.or_else(|| {
        let ignored = report.ignored.iter().find(|(ignored, _)| *ignored == id);
        ignored.map(|(_, ignored)| ignored.message.to_string())
    });
    let node_pools: Vec<PoolExplanation> = pools.iter().map(explain).collect();
    let existing_nodes = place::explanations(snapshot, &plan, id);
    let alternatives = match verdict {
        Verdict::NewNode | Verdict::ExistingNode => {
            alternative::alternatives(snapshot, &plan, id, &pools, &existing_nodes)
        }
        Verdict::Unschedulable | Verdict::Ignored | Verdict::Skipped => Vec::new(),
    };
    PodExplanation {
        api_version: "explain.karpenter.sh/v1",
        kind: "Pod",
        name: pod.display_name(),
        verdict,
        target,
        cause,
        message,
        node_pools,
        existing_nodes,
        would_help,
        alternatives,
        relaxed,
    }
}

/// What was dropped before the pod had its place: the wishes above the first that the place meets.
fn dropped(snapshot: &Snapshot, plan: &Plan, id: PodId, step: Step) -> Vec<String> {
    let (shape, vocabulary) = (&snapshot.pods[id].shape, &*snapshot.vocabulary);
    let node = plan
        .bindings
        .iter()
        .find(|(bound, _)| *bound == id)
        .map(|(_, node)| *node);
    let claim = plan.claims.iter().find(|claim| claim.pods.contains(&id));
    let is_met = |preferred: &Requirements| {
        let preferred = Terms::of(preferred, vocabulary);
        let on_node = node.map(|node| {
            let node = &snapshot.nodes[node];
            preferred.are_met_by(&node.labels, host_name(node))
        });
        let on_claim = claim.map(|claim| {
            Terms::of(&claim.requirements, vocabulary)
                .first_beyond(&preferred)
                .is_none()
        });
        on_node.or(on_claim).unwrap_or(false)
    };
    let unmet = shape
        .preferred
        .iter()
        .take_while(|preferred| !is_met(preferred));
    let unmet = unmet.map(|preferred| format!("preferred {}", preferred.render(vocabulary)));
    let hopeless = shape.preference_steps.contains(&None);
    let hopeless =
        hopeless.then(|| "preferred node affinity that what is required excludes".to_string());
    let between_pods = step.dropped(shape, vocabulary);
    between_pods
        .into_iter()
        .chain(hopeless)
        .chain(unmet)
        .collect()
}

type Outcome = (Verdict, Option<String>, Option<String>);

fn verdict(
    snapshot: &Snapshot,
    id: PodId,
    options: &Options,
    plan: &Plan,
    report: &Report,
) -> Outcome {
    let pod = &*snapshot.pods[id];
    if let Some((_, node)) = plan.bindings.iter().find(|(bound, _)| *bound == id) {
        return (
            Verdict::ExistingNode,
            Some(snapshot.nodes[*node].name.to_string()),
            None,
        );
    }
    if let Some(index) = plan
        .claims
        .iter()
        .position(|claim| claim.pods.contains(&id))
    {
        return (
            Verdict::NewNode,
            Some(claim_name(snapshot, plan, index)),
            None,
        );
    }
    if let Some((_, refusal)) = report.unplaced.iter().find(|(refused, _)| *refused == id) {
        let message = refusal.message_with(snapshot, id, options);
        return (Verdict::Unschedulable, None, Some(message));
    }
    if let Some((_, ignored)) = report.ignored.iter().find(|(ignored, _)| *ignored == id) {
        return (
            Verdict::Ignored,
            None,
            Some(format!("ignoring pod, {}", ignored.message)),
        );
    }
    if let Some((_, reason)) = report.skipped.iter().find(|(skipped, _)| *skipped == id) {
        return match reason {
            SkipReason::Expected(node) => {
                let target = snapshot.nodes[*node].name.to_string();
                (
                    Verdict::ExistingNode,
                    Some(target),
                    Some("a node was made for it".into()),
                )
            }
            SkipReason::NotMovable => {
                let message = "its node goes away, and it may not be moved in time".into();
                (
                    Verdict::Skipped,
                    pod.node.as_ref().map(ToString::to_string),
                    Some(message),
                )
            }
        };
    }
    let target = pod.node.as_ref().map(ToString::to_string);
    (Verdict::Skipped, target, Some(rest_reason(pod).into()))
}

/// Why a pod is none of the round's business.
fn rest_reason(pod: &Pod) -> &'static str {
    match pod.owner {
        _ if pod.is_terminal() => "it has ended",
        _ if pod.node.is_some() => "it has a node",
        Owner::DaemonSet => "it belongs to a DaemonSet and comes with its node",
        Owner::Node => "it belongs to its node",
        Owner::None | Owner::StatefulSet | Owner::Other if pod.nominated => {
            "the kube-scheduler is making room for it"
        }
        Owner::None | Owner::StatefulSet | Owner::Other => {
            "the kube-scheduler has not found it unschedulable"
        }
    }
}

/// The name that a claim goes by before it is created: its pool's, and its number among the pool's.
pub fn claim_name(snapshot: &Snapshot, plan: &Plan, index: usize) -> String {
    let pool = plan.claims[index].pool;
    let number = plan.claims[..=index]
        .iter()
        .filter(|claim| claim.pool == pool)
        .count();
    format!("{}-{number}", snapshot.pools[pool].name)
}
