//! Tells users what was found, proposed and given up (section 16 of disruption.md).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use karpenter_api::{NodeClaim, NodePool, labels::annotations::DO_NOT_DISRUPT};
use karpenter_plan::{
    NodeId, Snapshot,
    budget::DisruptionReason,
    disrupt::{
        Command, Decision, DisruptReport, Invalid, Method, Verdict,
        candidate::Audience,
        protection::{Protection, protections},
        verdict::capitalized,
    },
};
use tracing::warn;

use super::{Memory, pair::Pair};
use crate::{
    ctx::Ctx,
    events::{Event, Severity, WINDOW},
    provision::reference,
};

const POOL_WINDOW: Duration = Duration::from_mins(1);
const UNCONSOLIDATABLE_WINDOW: Duration = Duration::from_mins(15);
const BLOCKED: &str = "DisruptionBlocked";

/// Says once which pools have rules of disruption that this version cannot read, and therefore allow nothing.
pub(super) fn faults(snapshot: &Snapshot, memory: &mut Memory) {
    let faulty = snapshot
        .pools
        .values()
        .filter(|pool| !pool.disruption_faults.is_empty());
    let faults: BTreeMap<Arc<str>, String> = faulty
        .map(|pool| (Arc::clone(&pool.name), pool.disruption_faults.join("; ")))
        .collect();
    for (pool, fault) in &faults {
        if memory.faults.get(pool) != Some(fault) {
            warn!(
                nodepool = &**pool,
                error = fault,
                "detected disruption budget errors"
            );
        }
    }
    memory.faults = faults;
}

/// Tells why nodes stay.
pub(super) fn report(ctx: &Ctx, snapshot: &Snapshot, report: &DisruptReport) {
    for (id, reason) in &report.blocked {
        let message = capitalized(&reason.message(snapshot));
        Pair::of_node(ctx, snapshot, *id, reason.audience()).tell(ctx, |about| {
            Event::about(about, Severity::Normal, BLOCKED, message.clone())
        });
    }
    for method in &report.methods {
        let (word, window) = if method.method.is_consolidation() {
            ("Unconsolidatable", UNCONSOLIDATABLE_WINDOW)
        } else {
            (BLOCKED, WINDOW)
        };
        for (id, verdict) in &method.verdicts {
            let Some(message) = event_text(method.method, verdict, snapshot, *id) else {
                continue;
            };
            Pair::of_node(ctx, snapshot, *id, Audience::Both).tell(ctx, |about| {
                Event::about(about, Severity::Normal, word, message.clone()).window(window)
            });
        }
        if method.eligible > 0 {
            closed_budgets(ctx, snapshot, report, method.method.reason());
        }
    }
}

/// Tells pools whose budgets let no node go for this reason.
fn closed_budgets(
    ctx: &Ctx,
    snapshot: &Snapshot,
    report: &DisruptReport,
    reason: DisruptionReason,
) {
    for (id, allowance) in report.allowances.iter() {
        if !allowance.is_blocked(reason) {
            continue;
        }
        let Some(pool) = ctx.mirror.named::<NodePool>(&snapshot.pools[id].name) else {
            continue;
        };
        let message =
            format!("No allowed disruptions for disruption reason {reason} due to blocking budget");
        let event = Event::normal(&*pool, BLOCKED, message);
        ctx.events
            .publish(event.and(reason.as_str()).window(POOL_WINDOW));
    }
}

/// Tells pods what their annotations come to. That one holds no longer is told once: `elapsed` are those who
/// know.
pub(super) fn pods(
    ctx: &Ctx,
    snapshot: &Snapshot,
    report: &DisruptReport,
    elapsed: &mut BTreeSet<Arc<str>>,
) {
    let mut over = BTreeSet::new();
    for (id, protection) in protections(snapshot, report) {
        let event = |severity, word, message: String| {
            Event::about(reference(snapshot, id), severity, word, message)
        };
        let event = match protection {
            Protection::Invalid(fault) => {
                let message =
                    format!("Invalid {DO_NOT_DISRUPT} annotation: {fault}, ignoring annotation");
                let word = "InvalidDoNotDisruptAnnotation";
                event(Severity::Warning, word, message.clone()).and(message)
            }
            Protection::Until(end) => {
                // It was prolonged, perhaps after it had ended once.
                elapsed.remove(&snapshot.pods[id].uid);
                let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let message = format!("The {DO_NOT_DISRUPT} grace period will elapse at {end}");
                event(Severity::Normal, "DoNotDisruptUntil", message).and(end)
            }
            Protection::Elapsed => {
                let uid = &snapshot.pods[id].uid;
                over.insert(Arc::clone(uid));
                if elapsed.contains(uid) {
                    continue;
                }
                let message = format!(
                    "The {DO_NOT_DISRUPT} grace period has elapsed, pod is now disruptable"
                );
                event(Severity::Normal, "DoNotDisruptGracePeriodElapsed", message)
            }
        };
        ctx.events.publish(event);
    }
    // Pods of nodes that are not looked at for a while still know.
    let here = snapshot.pods.values().map(|pod| &pod.uid);
    let known: BTreeSet<Arc<str>> = here.filter(|uid| elapsed.contains(*uid)).cloned().collect();
    over.extend(known);
    *elapsed = over;
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
        Pair::of_target(ctx, target).tell(ctx, |about| {
            Event::about(about, Severity::Normal, reason, message.clone()).and(same.clone())
        });
    }
}

/// A node goes, and its claim with it.
pub(super) fn terminating(ctx: &Ctx, pair: &Pair, reason: DisruptionReason) {
    pair.tell(ctx, |about| {
        let kind = about.kind.clone().unwrap_or_default();
        let message = format!("Disrupting {kind}: {reason}");
        Event::about(about, Severity::Normal, "DisruptionTerminating", message).and(reason.as_str())
    });
}

/// These replacements are not ready yet.
pub(super) fn waiting(ctx: &Ctx, command: &Command, replacements: &[usize]) {
    let reason = command.method.reason();
    for &at in replacements {
        let name = command.replacements[at].created.as_deref();
        let Some(claim) = name.and_then(|name| ctx.mirror.named::<NodeClaim>(name)) else {
            continue;
        };
        let launching = format!("Launching NodeClaim: {reason}");
        let launching = Event::normal(&*claim, "DisruptionLaunching", launching);
        ctx.events.publish(launching.and(reason.as_str()));
        let waiting = "Waiting on readiness to continue disruption".to_owned();
        ctx.events.publish(Event::normal(
            &*claim,
            "DisruptionWaitingReadiness",
            waiting,
        ));
    }
}
