//! The shell: watches feed the mirror, rounds freeze it, the core decides, effects apply.
//!
//! Reading order: [`ctx`] (what every controller is given), [`mirror`] (what is known), [`watch`](self)
//! (how it gets there), [`queue`] (work per object), [`effect`] (what is written), then the
//! controllers. No controller knows whether it talks to a real cluster or to the embedded one, or
//! whether time is real.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
pub mod client;
pub mod clock;
pub mod ctx;
pub mod decision;
mod disruption;
pub mod effect;
pub mod events;
pub mod gates;
pub mod metrics;
pub mod mirror;
mod nodeclaim;
mod nodepool;
mod provision;
pub mod queue;
mod refresh;
pub mod status;
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

/// Something that runs for ever. A controller is a function `tasks(&Arc<Ctx>) -> Vec<Task>` that
/// subscribes its queues to the mirror at once and returns what is to run.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs everything on the current runtime until `shutdown` completes.
///
/// Tasks start in a fixed order, so that equal runs make equal writes. A task that panics takes the
/// process's controllers down with it: a half-working autoscaler is worse than a restarted one.
pub async fn run(ctx: Arc<Ctx>, shutdown: impl Future<Output = ()>) {
    let mut tasks = JoinSet::new();
    let writer = ctx
        .writer
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(writer) = writer {
        tasks.spawn(writer.run(ctx.client.clone()));
    }
    // Controllers subscribe to the mirror when they are built, hence before the first list.
    let (pools, outcomes) = nodepool::tasks(&ctx);
    let controllers = [
        refresh::tasks(&ctx, &outcomes),
        pools,
        nodeclaim::tasks(&ctx, &outcomes),
        termination::tasks(&ctx),
        upkeep::tasks(&ctx),
        provision::tasks(&ctx),
        disruption::tasks(&ctx),
    ];
    for task in controllers.into_iter().flatten().chain(watch::tasks(&ctx)) {
        tasks.spawn(task);
    }
    tokio::select! {
        biased;
        () = shutdown => {}
        () = first_panic(&mut tasks) => {}
    }
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
