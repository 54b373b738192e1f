//! The shell: watches feed the mirror, rounds freeze it, the core decides, effects apply.
//!
//! Reading order: [`ctx`] (what every controller is given), [`mirror`] (what is known), [`watch`](self)
//! (how it gets there), [`queue`] (work per object), [`effect`] (what is written), then the
//! controllers. No controller knows whether it talks to a real cluster or to the embedded one, or
//! whether time is real.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
mod capacitybuffer;
pub mod client;
pub mod clock;
pub mod ctx;
pub mod decision;
mod disruption;
pub mod effect;
mod elected;
pub mod events;
pub mod gates;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod mirror;
mod nodeclaim;
mod nodeoverlay;
mod nodepool;
mod provision;
pub mod queue;
mod refresh;
pub mod serve;
mod static_capacity;
pub mod status;
pub mod subject;
mod termination;
mod upkeep;
mod watch;
pub mod workers;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError},
};

use tokio::task::JoinSet;

use ctx::Ctx;

pub use elected::run_elected;

/// Something that runs for ever. A controller is a function `tasks(&Arc<Ctx>) -> Vec<Task>` that
/// subscribes its queues to the mirror at once and returns what is to run.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs everything on the current runtime until `shutdown` completes; nothing runs any more then.
///
/// Tasks start in a fixed order, so that equal runs make equal writes. A task that panics takes the
/// process's controllers down with it: a half-working autoscaler is worse than a restarted one.
pub async fn run(ctx: Arc<Ctx>, shutdown: impl Future<Output = ()>) {
    let controllers = controllers(&ctx);
    let mut tasks = JoinSet::new();
    for task in writer(&ctx)
        .into_iter()
        .chain(controllers)
        .chain(watch::tasks(&ctx))
    {
        tasks.spawn(task);
    }
    until(shutdown, &mut tasks).await;
}

/// The same, but until `elected` completes the cluster is only watched. Then everything is listed anew
/// before any controller starts, because a watch may lag behind what the last leader did.
pub(crate) async fn run_when(
    ctx: Arc<Ctx>,
    elected: impl Future<Output = ()>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let controllers = controllers(&ctx);
    let mut tasks = JoinSet::new();
    for task in watch::tasks(&ctx) {
        tasks.spawn(task);
    }
    tokio::select! {
        biased;
        () = &mut shutdown => return tasks.shutdown().await,
        () = elected => {}
        () = first_panic(&mut tasks) => {}
    }
    tasks.shutdown().await;
    ctx.mirror.expect_lists();
    for task in watch::tasks(&ctx).into_iter().chain(writer(&ctx)) {
        tasks.spawn(task);
    }
    tokio::select! {
        biased;
        () = &mut shutdown => return tasks.shutdown().await,
        () = upkeep::listed(&ctx) => {}
        () = first_panic(&mut tasks) => {}
    }
    for task in controllers {
        tasks.spawn(task);
    }
    until(shutdown, &mut tasks).await;
}

/// What writes the events, unless it was taken before.
fn writer(ctx: &Arc<Ctx>) -> Option<Task> {
    let writer = ctx
        .writer
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()?;
    Some(Box::pin(writer.run(ctx.client.clone())))
}

/// Every controller. They subscribe to the mirror when they are built, hence before the first list.
fn controllers(ctx: &Arc<Ctx>) -> Vec<Task> {
    let (pools, outcomes) = nodepool::tasks(ctx);
    let (buffers, observations) = capacitybuffer::tasks(ctx);
    let controllers = [
        refresh::tasks(ctx, &outcomes),
        pools,
        nodeclaim::tasks(ctx, &outcomes),
        termination::tasks(ctx),
        upkeep::tasks(ctx),
        nodeoverlay::tasks(ctx),
        buffers,
        provision::tasks(ctx, &observations),
        static_capacity::tasks(ctx),
        disruption::tasks(ctx),
    ];
    controllers.into_iter().flatten().collect()
}

/// Runs the tasks until `shutdown` completes or one of them panics.
async fn until(shutdown: impl Future<Output = ()>, tasks: &mut JoinSet<()>) {
    tokio::select! {
        biased;
        () = shutdown => {}
        () = first_panic(tasks) => {}
    }
    // Whoever gives up the lease next must not be writing any more.
    tasks.shutdown().await;
}

/// Ends with the panic of the first task that panics, or when none is left.
async fn first_panic(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(failure) = ended
            && failure.is_panic()
        {
            std::panic::resume_unwind(failure.into_panic());
        }
    }
}
