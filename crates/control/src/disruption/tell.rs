//! Tells users what was found, proposed and given up (section 16 of disruption.md).

use std::{collections::BTreeMap, time::Duration};

use karpenter_api::{NodeClaim, NodePool, objects::Node};
use karpenter_plan::{
    NodeId, Snapshot,
    budget::Budgets,
    disrupt::{
        Command, Decision, DisruptReport, Invalid, Method, Verdict, candidate::Audience,
        verdict::capitalized,
    },
};
use tracing::warn;

use super::Memory;
use crate::{
    ctx::Ctx,
    events::{Event, Severity},
};

const POOL_WINDOW: Duration = Duration::from_mins(1);
const UNCONSOLIDATABLE_WINDOW: Duration = Duration::from_mins(15);
const BLOCKED: &str = "DisruptionBlocked";

/// Says once which pools have a budget that cannot be evaluated, and therefore allow nothing.
pub(super) fn budgets(snapshot: &Snapshot, memory: &mut Memory) {
    let mut faults = BTreeMap::new();
    for pool in snapshot.pools.values() {
        if let Some(fault) = Budgets::of(&pool.budgets).first_error() {
            faults.insert(pool.name.to_string(), fault.to_string());
        }
    }
    for (pool, fault) in &faults {
        if memory.budget_faults.get(pool) != Some(fault) {
            warn!(
                nodepool = pool,
                error = fault,
                "detected disruption budget errors"
            );
        }
    }
    memory.budget_faults = faults;
}

/// Tells why nodes stay.
pub(super) fn report(ctx: &Ctx, snapshot: &Snapshot, report: &DisruptReport) {
    for (id, reason) in &report.blocked {
        let message = capitalized(&reason.message(snapshot));
        let (to_node, to_claim) = match reason.audience() {
            Audience::Nobody => continue,
            Audience::NodeClaim => (false, true),
            Audience::Both => (true, true),
        };
        publish(
            ctx,
            snapshot,
            *id,
            to_node,
            to_claim,
            |event| event,
            BLOCKED,
            &message,
        );
    }
    for method in &report.methods {
        for (id, verdict) in &method.verdicts {
            let Some(message) = event_text(method.method, verdict, snapshot, *id) else {
                continue;
            };
            if method.method.is_consolidation() {
                let window = |event: Event| event.window(UNCONSOLIDATABLE_WINDOW);
                publish(
                    ctx,
                    snapshot,
                    *id,
                    true,
                    true,
                    window,
                    "Unconsolidatable",
                    &message,
                );
            } else {
                let all = |event| event;
                publish(ctx, snapshot, *id, true, true, all, BLOCKED, &message);
            }
        }
        if method.eligible == 0 {
            continue;
        }
        let reason = method.method.reason();
        for (id, allowance) in report.allowances.iter() {
            if !allowance.is_blocked(reason) {
                continue;
            }
            let Some(pool) = ctx.mirror.named::<NodePool>(&snapshot.pools[id].name) else {
                continue;
            };
            let message = format!(
                "No allowed disruptions for disruption reason {reason} due to blocking budget"
            );
            let uid = pool.metadata.uid.clone().unwrap_or_default();
            let event = Event::normal(&*pool, BLOCKED, message);
            ctx.events
                .publish(event.same([uid, reason.to_string()]).window(POOL_WINDOW));
        }
    }
}

/// Tells the same about a node and its claim.
#[expect(
    clippy::too_many_arguments,
    reason = "one event twice, with its particulars"
)]
fn publish(
    ctx: &Ctx,
    snapshot: &Snapshot,
    id: NodeId,
    to_node: bool,
    to_claim: bool,
    particulars: impl Fn(Event) -> Event,
    reason: &str,
    message: &str,
) {
    let node = &snapshot.nodes[id];
    let object = node.node.as_ref().filter(|_| to_node);
    if let Some(node) = object.and_then(|facts| ctx.mirror.named::<Node>(&facts.name)) {
        ctx.events.publish(particulars(Event::new(
            Severity::Normal,
            &*node,
            reason,
            message,
        )));
    }
    let claim = node.claim.as_ref().filter(|_| to_claim);
    if let Some(claim) = claim.and_then(|facts| ctx.mirror.named::<NodeClaim>(&facts.name)) {
        ctx.events.publish(particulars(Event::new(
            Severity::Normal,
            &*claim,
            reason,
            message,
        )));
    }
}

/// What a method's verdict on a node is worth telling. Multi-node consolidation speaks of several nodes at
/// once, of which none is to blame; of drift only pods without another place are news.
fn event_text(
    method: Method,
    verdict: &Verdict,
    snapshot: &Snapshot,
    node: NodeId,
) -> Option<String> {
    let is_news = match method {
        Method::Emptiness | Method::MultiNode | Method::SingleNode => true,
        Method::StaticDrift | Method::Drift => matches!(verdict, Verdict::Stuck(_)),
    };
    verdict.event(snapshot, node).filter(|_| is_news)
}

/// A command was proposed. Pure deletions are not announced, as upstream does not.
pub(super) fn proposed(ctx: &Ctx, command: &Command) {
    if command.decision == Decision::Replace && command.method.is_consolidation() {
        each(ctx, command, "ConsolidationCandidate", |text, savings| {
            let message = format!("Consolidation candidate: {text} (savings: ${savings:.2})");
            (message, text)
        });
    }
}

/// A held command was given up.
pub(super) fn rejected(ctx: &Ctx, command: &Command, invalid: Invalid) {
    if command.method == Method::Emptiness {
        return;
    }
    let reason = invalid.category();
    each(ctx, command, "ConsolidationRejected", |text, savings| {
        let message =
            format!("Consolidation rejected: {text}, reason: {reason} (savings: ${savings:.2})");
        (message, text + reason)
    });
}

/// An event about each node of a command and its claim; `text` gets the command's own and the savings, and
/// says the message and what makes it the same as another.
fn each(
    ctx: &Ctx,
    command: &Command,
    reason: &str,
    text: impl Fn(String, f64) -> (String, String),
) {
    for target in &command.nodes {
        let (message, same) = text(command.text_for(target), command.savings.dollars());
        let node = ctx.mirror.named::<Node>(&target.node);
        let claim = ctx.mirror.named::<NodeClaim>(&target.claim);
        let events = [
            node.map(|node| Event::normal(&*node, reason, message.clone())),
            claim.map(|claim| Event::normal(&*claim, reason, message.clone())),
        ];
        for event in events.into_iter().flatten() {
            let uid = event.about.uid.clone().unwrap_or_default();
            ctx.events.publish(event.same([uid, same.clone()]));
        }
    }
}

/// These replacements are not ready yet.
pub(super) fn waiting(ctx: &Ctx, command: &Command, replacements: &[usize]) {
    let reason = command.method.reason();
    for &at in replacements {
        let name = command.replacements[at].created.as_deref();
        let Some(claim) = name.and_then(|name| ctx.mirror.named::<NodeClaim>(name)) else {
            continue;
        };
        let uid = claim.metadata.uid.clone().unwrap_or_default();
        let launching = format!("Launching NodeClaim: {reason}");
        let launching = Event::normal(&*claim, "DisruptionLaunching", launching);
        ctx.events
            .publish(launching.same([uid.clone(), reason.to_string()]));
        let waiting = "Waiting on readiness to continue disruption".to_owned();
        let waiting = Event::normal(&*claim, "DisruptionWaitingReadiness", waiting);
        ctx.events.publish(waiting.same([uid]));
    }
}
