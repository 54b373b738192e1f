//! The disruption round: snapshot, disrupt, hold, revalidate, and one step at a time.
//!
//! Nobody sleeps here: a command that was proposed is held in a list, and each look at it asks the
//! core for the one step to do next. A snapshot that has not changed is not looked at again before
//! the instant at which time alone could change the answer, so a settled cluster costs nothing. A
//! restart loses the list; the taints it left are found and taken back.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use karpenter_plan::{
    Snapshot,
    disrupt::{Command, DisruptOptions, DisruptReport, Leftover, Method, Pass, leftovers},
};
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, debug, info, info_span};

use self::{
    carry::{Advance, advance},
    effects::Trace,
    gaps::Runs,
};
use crate::{Task, ctx::Ctx, metrics::Ending};

mod carry;
mod effects;
mod gaps;
mod pair;
mod start;
mod tell;
mod weighing;

/// The name of this controller in logs and metrics.
const CONTROLLER: &str = "disruption";
/// How often nodes are looked at.
const INTERVAL: Duration = Duration::from_secs(10);
/// How soon a command that waits for something is looked at again.
const WAIT: Duration = Duration::from_secs(1);
/// How often an unfinished start is looked at.
const READINESS: Duration = Duration::from_millis(10);

pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    let rounds = rounds(Arc::clone(ctx));
    vec![Box::pin(
        rounds.instrument(info_span!("round", controller = CONTROLLER)),
    )]
}

/// What is remembered between looks.
#[derive(Default)]
struct Memory {
    /// Commands that are held or in flight.
    commands: Vec<Command>,
    /// Rules of disruption that cannot be read, by pool, as they were told.
    faults: BTreeMap<Arc<str>, String>,
    /// The picture last looked at in full, and until when its answer holds.
    answered: Option<(u64, Option<Timestamp>)>,
    /// Pods whose protection is over, as they were told; by uid.
    elapsed: BTreeSet<Arc<str>>,
    /// When the loop and each method ran last.
    runs: Runs,
}

async fn rounds(ctx: Arc<Ctx>) {
    let controller = ctx.metrics.single(CONTROLLER);
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
        let makes_room = progress(&ctx, &mut memory).await;
        if makes_room || Instant::now() >= next_round {
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
    memory.runs.tell(now);
    memory.runs.ran(CONTROLLER, now);
    let generation = ctx.mirror.generation();
    if memory
        .answered
        .is_some_and(|(known, until)| known == generation && until.is_none_or(|until| now < until))
    {
        // What they would say is known.
        for method in Method::ORDER {
            memory.runs.ran(method.as_str(), now);
        }
        return false;
    }
    let snapshot = ctx.mirror.snapshot(now);
    undo_leftovers(ctx, &snapshot, &memory.commands).await;
    // Whoever computes has the commands meanwhile, and gives them back.
    let (world, known) = (Arc::clone(&snapshot), mem::take(&mut memory.commands));
    let (options, seed) = (ctx.options.clone(), ctx.status.rounds());
    let ((commands, report, times), known) = ctx
        .options
        .computing
        .run(move || {
            let answer = ask(&world, options.disruption(&known, seed));
            (answer, known)
        })
        .await;
    memory.commands = known;
    for (method, _) in &times {
        memory.runs.ran(method.as_str(), now);
    }
    ctx.metrics.disruption.looked(&snapshot, &report, &times);
    tell::faults(&snapshot, memory);
    tell::report(ctx, &snapshot, &report);
    tell::pods(ctx, &snapshot, &report, &mut memory.elapsed);
    weighing::tell(ctx, &report, &commands);
    memory.runs.tell(now);
    if commands.is_empty() {
        memory.answered = Some((generation, report.valid_until));
        return false;
    }
    for command in commands {
        debug!(
            nodes = command.nodes.len(),
            method = command.method.as_str(),
            "holding a command"
        );
        tell::proposed(ctx, &command);
        memory.commands.push(command);
    }
    memory.answered = None;
    true
}

/// Asks the methods in order until one has a command, and says how long each took.
fn ask(
    snapshot: &Snapshot,
    options: DisruptOptions<'_>,
) -> (Vec<Command>, DisruptReport, Vec<(Method, Duration)>) {
    let mut pass = Pass::new(snapshot, options);
    let mut times = Vec::new();
    for method in Method::ORDER {
        let begun = Instant::now();
        let is_last = pass.ask(method);
        times.push((method, begun.elapsed()));
        if is_last {
            break;
        }
    }
    let (commands, report) = pass.finish();
    (commands, report, times)
}

/// Goes on with every command as far as it will go. True if one has ended or is held no longer, which may
/// make room for another.
async fn progress(ctx: &Arc<Ctx>, memory: &mut Memory) -> bool {
    let mut makes_room = false;
    let mut index = 0;
    while index < memory.commands.len() {
        let was_held = memory.commands[index].is_held();
        match advance(ctx, &mut memory.commands, index).await {
            Advance::Waits => {
                makes_room |= was_held && !memory.commands[index].is_held();
                index += 1;
            }
            Advance::Ended => {
                memory.commands.remove(index);
                makes_room = true;
            }
        }
    }
    if makes_room {
        memory.answered = None;
    }
    makes_room
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
        let trace = if condition { Trace::Clear } else { Trace::Keep };
        effects::untaint(ctx, &target, taint, trace).await;
    }
}
