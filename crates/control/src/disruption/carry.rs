//! A command on its way: one step after the other, as far as it goes without waiting.

use std::{mem, sync::Arc};

use karpenter_plan::{
    Snapshot,
    disrupt::{Command, Failure, Step, still_valid},
};
use tracing::{debug, warn};

use super::{
    effects::{self, Trace},
    start::begin,
    tell,
};
use crate::{ctx::Ctx, metrics::lower, provision};

/// Steps of one command in a row; a command that is not through by then waits for its next look.
const STEPS_AT_ONCE: usize = 8;

/// What became of a command.
pub(super) enum Advance {
    /// It is looked at again later.
    Waits,
    /// It is done, undone or given up.
    Ended,
}

/// Performs steps until one has to wait.
pub(super) async fn advance(ctx: &Arc<Ctx>, commands: &mut Vec<Command>, index: usize) -> Advance {
    for _ in 0..STEPS_AT_ONCE {
        let snapshot = ctx.mirror.snapshot(ctx.clock.now());
        let queued = commands
            .iter()
            .filter(|command| !command.is_held())
            .map(|each| each.nodes.len())
            .sum();
        let command = &mut commands[index];
        command.observe(&snapshot);
        match command.next_step(&snapshot, queued) {
            Step::Hold { .. } => return Advance::Waits,
            Step::Wait(replacements) => {
                tell::waiting(ctx, command, &replacements);
                return Advance::Waits;
            }
            Step::Done => return Advance::Ended,
            Step::Revalidate => {
                if !confirm(ctx, &snapshot, commands, index).await {
                    return Advance::Ended;
                }
            }
            Step::Taint(targets) => {
                if !effects::taint(ctx, command, &targets).await {
                    return Advance::Waits;
                }
            }
            Step::Create(replacements) => create(ctx, &snapshot, command, &replacements).await,
            Step::Mark(targets) => {
                for target in targets {
                    ctx.mirror.mark(&target.uid);
                }
                nominate(ctx, &snapshot, command);
            }
            Step::Delete(targets) => {
                if !effects::delete(ctx, command, &targets).await {
                    return Advance::Waits;
                }
            }
            Step::Undo { nodes, failure } => {
                ctx.metrics.disruption.failed(command);
                warn!(%failure, "failed terminating nodes while executing a disruption command");
                let trace = match failure {
                    Failure::Start(_) => Trace::Clear,
                    Failure::ReplacementDeleted(_) | Failure::TimedOut => Trace::NoReplacement,
                };
                for target in &nodes {
                    ctx.mirror.unmark(&target.uid);
                    effects::untaint(ctx, target, true, trace).await;
                }
                return Advance::Ended;
            }
        }
    }
    Advance::Waits
}

/// The time of a held command has come. True if it is still right, and in flight from now on.
async fn confirm(
    ctx: &Arc<Ctx>,
    snapshot: &Arc<Snapshot>,
    commands: &mut Vec<Command>,
    index: usize,
) -> bool {
    // Whoever computes has them meanwhile, and gives them back.
    let (world, all) = (Arc::clone(snapshot), mem::take(commands));
    let (options, seed) = (ctx.options.clone(), ctx.status.rounds());
    let (validity, all) = ctx
        .options
        .computing
        .run(move || {
            let validity = still_valid(&all[index], &world, &options.disruption(&all, seed));
            (validity, all)
        })
        .await;
    *commands = all;
    let command = &mut commands[index];
    ctx.metrics
        .disruption
        .validated(command.method, validity.failed);
    match validity.command {
        Ok(valid) => {
            *command = valid;
            begin(ctx, snapshot, command);
            true
        }
        Err(invalid) => {
            debug!(cause = invalid.message(), "command is no longer valid");
            tell::rejected(ctx, command, invalid);
            false
        }
    }
}

/// Creates the replacements that are not there yet, all or nothing: with the first that cannot be created
/// the command is given up. What was created stays; it is empty before long.
async fn create(ctx: &Arc<Ctx>, snapshot: &Snapshot, command: &mut Command, missing: &[usize]) {
    let reason = lower(command.method.reason());
    for &at in missing {
        let replacement = &command.replacements[at];
        match provision::create_replacement(ctx, snapshot, replacement, &reason).await {
            Ok(name) => command.replacements[at].created = Some(name.into()),
            Err(cause) => {
                command.failure = Some(Failure::Start(cause));
                return;
            }
        }
    }
}

/// Keeps the nodes that pods are to move to.
fn nominate(ctx: &Ctx, snapshot: &Snapshot, command: &Command) {
    let window = ctx.options.nomination_window();
    let until = snapshot.now.checked_add(window).unwrap_or(snapshot.now);
    for name in &command.destinations {
        let node = snapshot.node_named(name).map(|id| &snapshot.nodes[id]);
        if let Some(provider_id) = node.and_then(|node| node.provider_id.as_deref()) {
            ctx.mirror.nominate(provider_id, until);
        }
    }
}
