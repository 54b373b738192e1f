//! The disruption round: snapshot, disrupt, hold, revalidate, and one step at a time.
//!
//! Nobody sleeps here: a command that was proposed is held in a list, and each look at it asks the
//! core for the one step to do next. A snapshot that has not changed is not looked at again before
//! the instant at which time alone could change the answer, so a settled cluster costs nothing. A
//! restart loses the list; the taints it left are found and taken back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use karpenter_api::{
    NodeClaim, NodePool, conditions, labels,
    objects::{Node, Pod},
};
use karpenter_plan::{
    NodeId, Snapshot,
    budget::Budgets,
    disrupt::{
        self, Command, DisruptOptions, DisruptReport, Failure, Leftover, Method, Step, Target,
        candidate::Audience, leftovers, still_valid,
    },
};
use kube::{Api, api::ListParams};
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, debug, info, info_span, warn};

use crate::{
    Task,
    ctx::Ctx,
    decision::Decision,
    effect,
    events::{Event, Severity},
    metrics::{Ending, lower},
};

/// How often nodes are looked at.
const INTERVAL: Duration = Duration::from_secs(10);
/// How soon a command that waits for something is looked at again.
const WAIT: Duration = Duration::from_secs(1);
/// Steps of one command in a row; a command that is not through by then waits for its next look.
const STEPS_AT_ONCE: usize = 8;
/// How often an unfinished start is looked at.
const READINESS: Duration = Duration::from_millis(10);
const POOL_WINDOW: Duration = Duration::from_mins(1);
const UNCONSOLIDATABLE_WINDOW: Duration = Duration::from_mins(15);

pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    let rounds = rounds(Arc::clone(ctx));
    vec![Box::pin(
        rounds.instrument(info_span!("round", controller = "disruption")),
    )]
}

/// What is remembered between looks.
#[derive(Default)]
struct Memory {
    /// Commands that are held or in flight.
    commands: Vec<Command>,
    /// Budgets that cannot be evaluated, by pool.
    budget_faults: BTreeMap<String, String>,
    /// The picture last looked at in full, and until when its answer holds.
    answered: Option<(u64, Option<Timestamp>)>,
}

async fn rounds(ctx: Arc<Ctx>) {
    let controller = ctx.metrics.single("disruption");
    let mut memory = Memory::default();
    // The first look comes at once: it takes back what a process before this one has left.
    let mut next_round = Instant::now();
    loop {
        let next_step = next_look(&ctx, &memory.commands);
        sleep_until(next_step.map_or(next_round, |step| step.min(next_round))).await;
        if !ctx.mirror.is_ready() {
            next_round = Instant::now() + READINESS;
            continue;
        }
        let finished = progress(&ctx, &mut memory).await;
        if finished || Instant::now() >= next_round {
            let proposed = controller
                .run(round(&ctx, &mut memory), |_| Ending::RequeueAfter)
                .await;
            next_round = Instant::now() + if proposed { Duration::ZERO } else { INTERVAL };
        }
        ctx.status.set_commands(memory.commands.len());
    }
}

/// When a command has to be looked at again: when it is due, or soon.
fn next_look(ctx: &Ctx, commands: &[Command]) -> Option<Instant> {
    commands
        .iter()
        .map(|command| {
            let wait = if command.is_held() {
                ctx.clock.until(command.due)
            } else {
                WAIT
            };
            Instant::now() + wait
        })
        .min()
}

/// Looks at every node. True if a command was proposed.
async fn round(ctx: &Arc<Ctx>, memory: &mut Memory) -> bool {
    let now = ctx.clock.now();
    let generation = ctx.mirror.generation();
    if memory
        .answered
        .is_some_and(|(known, until)| known == generation && until.is_none_or(|until| now < until))
    {
        return false;
    }
    let snapshot = ctx.mirror.snapshot(now);
    undo_leftovers(ctx, &snapshot, &memory.commands).await;
    let (world, commands) = (Arc::clone(&snapshot), memory.commands.clone());
    let begun = Instant::now();
    let (proposal, report) = ctx
        .options
        .computing
        .run(move || {
            let options = DisruptOptions {
                commands: &commands,
                ..DisruptOptions::default()
            };
            disrupt::disrupt(&world, &options)
        })
        .await;
    ctx.metrics
        .disruption
        .looked(&snapshot, &report, begun.elapsed());
    tell_budgets(&snapshot, memory);
    tell(ctx, &snapshot, &report);
    let Some(command) = proposal else {
        memory.answered = Some((generation, report.valid_until));
        return false;
    };
    debug!(
        nodes = command.nodes.len(),
        method = command.method.as_str(),
        "holding a command"
    );
    memory.commands.push(command);
    memory.answered = None;
    true
}

/// Goes on with every command as far as it will go. True if one has ended, which may make room for
/// another.
async fn progress(ctx: &Arc<Ctx>, memory: &mut Memory) -> bool {
    let mut finished = false;
    let mut index = 0;
    while index < memory.commands.len() {
        match advance(ctx, &mut memory.commands, index).await {
            Advance::Waits => index += 1,
            Advance::Ended => {
                memory.commands.remove(index);
                finished = true;
            }
        }
    }
    if finished {
        memory.answered = None;
    }
    finished
}

/// What became of a command.
enum Advance {
    /// It is looked at again later.
    Waits,
    /// It is done, undone or given up.
    Ended,
}

/// Performs steps until one has to wait.
async fn advance(ctx: &Arc<Ctx>, commands: &mut [Command], index: usize) -> Advance {
    for _ in 0..STEPS_AT_ONCE {
        let snapshot = ctx.mirror.snapshot(ctx.clock.now());
        let queued = commands
            .iter()
            .filter(|command| !command.is_held())
            .map(|each| each.nodes.len())
            .sum();
        let others = commands.to_vec();
        let command = &mut commands[index];
        command.observe(&snapshot);
        match command.next_step(&snapshot, queued) {
            Step::Hold { .. } | Step::Wait(_) => return Advance::Waits,
            Step::Done => return Advance::Ended,
            Step::Revalidate => {
                let options = DisruptOptions {
                    commands: &others,
                    ..DisruptOptions::default()
                };
                let validity = still_valid(command, &snapshot, &options);
                ctx.metrics
                    .disruption
                    .validated(command.method, validity.failed);
                match validity.command {
                    Ok(valid) => {
                        *command = valid;
                        begin(ctx, &snapshot, command);
                    }
                    Err(invalid) => {
                        debug!(cause = invalid.message(), "command is no longer valid");
                        return Advance::Ended;
                    }
                }
            }
            Step::Taint(targets) => {
                if !taint(ctx, command, &targets).await {
                    return Advance::Waits;
                }
            }
            Step::Create(_) => {
                // No method of this release proposes replacements.
                command.failure = Some(Failure::Start("replacements are not supported".into()));
            }
            Step::Mark(targets) => {
                for target in targets {
                    ctx.mirror.mark(&target.uid);
                }
            }
            Step::Delete(targets) => {
                if !delete(ctx, command, &targets).await {
                    return Advance::Waits;
                }
            }
            Step::Undo { nodes, failure } => {
                ctx.metrics.disruption.failed(command);
                warn!(%failure, "failed terminating nodes while executing a disruption command");
                for target in &nodes {
                    ctx.mirror.unmark(&target.uid);
                    untaint(ctx, target, true, true).await;
                }
                return Advance::Ended;
            }
        }
    }
    Advance::Waits
}

/// A command goes in flight.
fn begin(ctx: &Ctx, snapshot: &Snapshot, command: &Command) {
    let names: Vec<&str> = command.nodes.iter().map(|target| &*target.node).collect();
    info!(
        reason = %command.method.reason(),
        decision = command.decision.as_str(),
        disrupted_nodes = names.join(", "),
        pod_count = command.pods,
        "disrupting node(s)"
    );
    ctx.metrics.disruption.begun(command);
    for target in &command.nodes {
        let quiet = target
            .id(snapshot)
            .and_then(|id| snapshot.nodes[id].claim.as_ref()?.consolidatable.clone());
        let reason = match quiet {
            Some(quiet) if command.method == Method::Emptiness => {
                format!("{}, quiet since {}", command.method.reason(), quiet.since)
            }
            _ => command.method.reason().to_string(),
        };
        ctx.decisions.tell(Decision::Disrupted {
            node: target.node.to_string(),
            reason,
        });
    }
}

/// Taints the nodes and says why on their claims. A pure deletion goes on without the nodes that
/// could not be tainted; with replacements it is all or nothing. False if somebody else wrote first.
async fn taint(ctx: &Arc<Ctx>, command: &mut Command, targets: &[Target]) -> bool {
    let reason = command.method.reason().as_str();
    let mut failed = Vec::new();
    let mut cause = String::new();
    for target in targets {
        match taint_one(ctx, target, reason).await {
            Ok(()) => {}
            Err(error) if error.is_conflict() => return false,
            Err(error) => {
                cause = error.to_string();
                failed.push(target.clone());
            }
        }
    }
    if failed.is_empty() {
        return true;
    }
    if command.replacements.is_empty() && failed.len() < command.nodes.len() {
        command.nodes.retain(|target| !failed.contains(target));
    } else {
        command.failure = Some(Failure::Start(cause));
    }
    true
}

async fn taint_one(ctx: &Ctx, target: &Target, reason: &str) -> Result<(), effect::Error> {
    if let Some(node) = ctx.mirror.named::<Node>(&target.node) {
        effect::taint(ctx, &node, &labels::taints::disrupted()).await?;
    }
    let Some(claim) = claim_of(ctx, target) else {
        return Ok(());
    };
    let mut updated = conditions_of(&claim);
    let generation = claim.metadata.generation.unwrap_or_default();
    let now = ctx.clock.now();
    let is_new = conditions::set_true(
        &mut updated,
        conditions::DISRUPTION_REASON,
        reason,
        reason,
        now,
        generation,
    );
    if !is_new {
        return Ok(());
    }
    match effect::patch_status(ctx, &*claim, json!({ "conditions": updated })).await {
        // Gone is as good as told.
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(|_| ()),
    }
}

/// Takes back taint and condition. A conflict is left to the next look.
async fn untaint(ctx: &Ctx, target: &Target, taint: bool, condition: bool) {
    if taint
        && let Some(node) = ctx.mirror.named::<Node>(&target.node)
        && node.metadata.deletion_timestamp.is_none()
        && let Err(error) = effect::untaint(ctx, &node, &labels::taints::disrupted()).await
    {
        debug!(node = &*target.node, %error, "taint stays for now");
    }
    let Some(claim) = claim_of(ctx, target).filter(|_| condition) else {
        return;
    };
    let mut updated = conditions_of(&claim);
    if conditions::clear(&mut updated, conditions::DISRUPTION_REASON)
        && let Err(error) =
            effect::patch_status(ctx, &*claim, json!({ "conditions": updated })).await
    {
        debug!(node_claim = &*target.claim, %error, "condition stays for now");
    }
}

/// The claim that a command means, if that very object is still there.
fn claim_of(ctx: &Ctx, target: &Target) -> Option<Arc<NodeClaim>> {
    ctx.mirror
        .named::<NodeClaim>(&target.claim)
        .filter(|claim| claim.metadata.uid.as_deref() == Some(&*target.uid))
}

fn conditions_of(claim: &NodeClaim) -> Vec<karpenter_api::Condition> {
    claim
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default()
}

/// Deletes the claims. False if one of them has to be looked at again.
async fn delete(ctx: &Arc<Ctx>, command: &mut Command, targets: &[Target]) -> bool {
    let mut all = true;
    for target in targets {
        let Some(claim) = claim_of(ctx, target) else {
            continue;
        };
        match is_needed(ctx, command.method, target).await {
            Ok(None) => {}
            Ok(Some(pod)) => {
                let cause = format!("pod {pod} was bound to {} meanwhile", target.node);
                command.failure = Some(Failure::Start(cause));
                return true;
            }
            Err(error) => {
                warn!(node = &*target.node, %error, "the node's pods cannot be listed");
                all = false;
                continue;
            }
        }
        let reason = command.method.reason();
        match effect::delete(ctx, &*claim).await {
            Ok(()) => {
                let label = lower(reason);
                ctx.metrics.claim_disrupted(&claim, &label);
                let node = ctx.mirror.named::<Node>(&target.node);
                let texts = [
                    node.map(|node| {
                        Event::normal(
                            &*node,
                            "DisruptionTerminating",
                            format!("Disrupting Node: {reason}"),
                        )
                    }),
                    Some(Event::normal(
                        &*claim,
                        "DisruptionTerminating",
                        format!("Disrupting NodeClaim: {reason}"),
                    )),
                ];
                for event in texts.into_iter().flatten() {
                    let uid = event.about.uid.clone().unwrap_or_default();
                    ctx.events.publish(event.same([uid, reason.to_string()]));
                }
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                debug!(node_claim = &*target.claim, %error, "deletion is tried again");
                all = false;
            }
        }
    }
    all
}

/// Deleting is irrevocable: the node is tainted by now, so what is bound to it is listed once more
/// from the server. A pod that needs the node after all stops a command that rests on emptiness.
async fn is_needed(
    ctx: &Ctx,
    method: Method,
    target: &Target,
) -> Result<Option<String>, kube::Error> {
    if method != Method::Emptiness {
        return Ok(None);
    }
    let pods: Api<Pod> = Api::all(ctx.client.clone());
    let selector = ListParams::default().fields(&format!("spec.nodeName={}", target.node));
    let known = ctx.mirror.snapshot(ctx.clock.now());
    for pod in pods.list(&selector).await?.items {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        // What the mirror knows was judged by the core; only news stops the deletion.
        let is_known = known.pod_named(&namespace, &name).is_some_and(|id| {
            Some(&*known.pods[id].uid) == pod.metadata.uid.as_deref()
                && known.pods[id].node.as_deref() == Some(&*target.node)
        });
        let is_daemon = pod
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.kind == "DaemonSet" || owner.kind == "Node");
        let is_over = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
            || pod.metadata.deletion_timestamp.is_some();
        if !is_known && !is_daemon && !is_over {
            return Ok(Some(format!("{namespace}/{name}")));
        }
    }
    Ok(None)
}

/// Taints and conditions that no command of ours stands behind: of a failed start, or of a process
/// before this one.
async fn undo_leftovers(ctx: &Ctx, snapshot: &Snapshot, commands: &[Command]) {
    for Leftover {
        target,
        taint,
        condition,
    } in leftovers(snapshot, commands)
    {
        info!(
            node = &*target.node,
            "removing the traces of a disruption that nobody remembers"
        );
        untaint(ctx, &target, taint, condition).await;
    }
}

/// Says once which pools have a budget that cannot be evaluated, and therefore allow nothing.
fn tell_budgets(snapshot: &Snapshot, memory: &mut Memory) {
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
fn tell(ctx: &Ctx, snapshot: &Snapshot, report: &DisruptReport) {
    for (id, reason) in &report.blocked {
        let message = capitalised(&reason.message(snapshot));
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
            "DisruptionBlocked",
            &message,
        );
    }
    for method in &report.methods {
        for (id, verdict) in &method.verdicts {
            if let Some(message) = verdict.event(snapshot, *id) {
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
            let event = Event::normal(&*pool, "DisruptionBlocked", message);
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

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}
