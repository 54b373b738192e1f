//! The scheduling round: batch, snapshot, schedule, create claims, report.
//!
//! A round decides nothing itself; the plan says what is created, the report says why the rest is
//! not. A pod that was refused stays watched: it is looked at again when anything has changed, at
//! most every ten seconds, as upstream's requeue does; while nothing changes, nothing is computed.

use std::{sync::Arc, time::Duration};

use karpenter_plan::{
    PodId,
    schedule::{self, Plan, Report},
};
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, info_span};

pub(crate) use self::{
    create::{create_replacement, shown},
    tell::reference,
};
use crate::{Task, capacitybuffer::Observations, ctx::Ctx, metrics::Ending};

mod create;
mod tell;
mod triggers;

/// Waiting pods are looked at again after this long if anything changed.
const RETRY: Duration = Duration::from_secs(10);
/// How often an unfinished start is looked at.
const READINESS: Duration = Duration::from_millis(10);
/// The name of this controller in logs and metrics.
const CONTROLLER: &str = "provisioner";

pub(crate) fn tasks(ctx: &Arc<Ctx>, buffers: &Arc<Observations>) -> Vec<Task> {
    triggers::subscribe(ctx);
    let rounds = rounds(Arc::clone(ctx), Arc::clone(buffers));
    vec![Box::pin(
        rounds.instrument(info_span!("round", controller = CONTROLLER)),
    )]
}

/// Rounds for ever.
async fn rounds(ctx: Arc<Ctx>, buffers: Arc<Observations>) {
    let controller = ctx.metrics.single(CONTROLLER);
    let open_window = || {
        Box::pin(
            ctx.batcher
                .wait(ctx.options.batch_idle, ctx.options.batch_max),
        )
    };
    // The window outlives a look at the clock: dropping it would lose the triggers it has counted.
    let mut window = open_window();
    let mut last_generation = None;
    loop {
        let retry = Instant::now() + RETRY;
        tokio::select! {
            biased;
            () = &mut window => window = open_window(),
            () = sleep_until(retry) => {
                let is_old_news = last_generation == Some(ctx.mirror.generation());
                let waits = || ctx.mirror.has_waiting_pods() || ctx.mirror.has_leaving_nodes();
                if ctx.batcher.is_open() || is_old_news || !waits() {
                    continue;
                }
            }
        }
        while !ctx.mirror.is_ready() {
            tokio::time::sleep(READINESS).await;
        }
        ctx.status.round_begins();
        let outcome = controller
            .run(round(&ctx, &buffers), |_| Ending::Success)
            .await;
        // What was only promised (a place on an existing node, a claim that could not be created)
        // is looked at again even if nothing else changes.
        last_generation = (!outcome.is_provisional).then_some(outcome.generation);
    }
}

/// What a round leaves for the next one.
struct Outcome {
    /// The state of the mirror that the round has looked at.
    generation: u64,
    /// Something may be different next time although nothing changes.
    is_provisional: bool,
}

/// The answer of the core, with everything that has to be rendered from the snapshot.
struct Answer {
    plan: Plan,
    report: Report,
    refusals: Vec<Refusal>,
}

/// Why a pod has no place.
struct Refusal {
    pod: PodId,
    /// Upstream's sentence.
    reason: String,
    /// What is to blame, where the sentence does not say it already.
    cause: String,
}

async fn round(ctx: &Arc<Ctx>, buffers: &Observations) -> Outcome {
    let now = ctx.clock.now();
    let generation = ctx.mirror.generation();
    let snapshot = ctx.mirror.snapshot(now);
    let options = ctx.options.scheduling(ctx.status.rounds());
    let world = Arc::clone(&snapshot);
    let running = ctx.metrics.scheduler.round(
        CONTROLLER,
        format!("{:08x}", ctx.status.rounds() + 1),
        ctx.mirror.waiting_pods(),
    );
    let answer = ctx
        .options
        .computing
        .run(move || {
            let (plan, report) = schedule::schedule(&world, &options);
            debug_assert_eq!(karpenter_plan::check(&world, &plan, &report), Ok(()));
            let causes = karpenter_plan::explain::causes(&world, &plan, &report, &options);
            let refusals = report
                .unplaced
                .iter()
                .zip(causes)
                // Those wait for the next round, without a word.
                .filter(|((_, refusal), _)| !refusal.is_deferral())
                .map(|((pod, refusal), (_, cause))| Refusal {
                    pod: *pod,
                    reason: refusal.message_with(&world, *pod, &options),
                    cause,
                })
                .collect();
            Answer {
                plan,
                report,
                refusals,
            }
        })
        .await;
    drop(running);
    ctx.metrics
        .decided(&snapshot, &answer.plan, &answer.report, now);
    let is_created = create::create_claims(ctx, &snapshot, generation, &answer.plan).await;
    let is_lasting = tell::nominate(ctx, &snapshot, &answer.plan, now);
    ctx.status.promises(!is_lasting);
    tell::report(ctx, &snapshot, &answer);
    buffers.decided(ctx, &snapshot, &answer.plan, &answer.report);
    Outcome {
        generation,
        is_provisional: !is_created || !is_lasting,
    }
}
