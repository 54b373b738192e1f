//! The controllers of a process that shares its cluster with others like it.

use std::{future::Future, sync::Arc};

use crate::{
    ctx::Ctx,
    lease::{Candidate, Lost},
    run, run_when,
};

/// Waits for the lease, runs the controllers while it is ours, and gives it up when they have stopped.
///
/// With `warm_up` the cluster is watched before the lease is won; the lists are taken anew then, so
/// that no decision rests on a watch that lags behind. What is still running when the lease is lost
/// has been stopped when this returns.
///
/// # Errors
/// When the lease is lost. Somebody else may lead by then: the process must end.
pub async fn run_elected(
    ctx: Arc<Ctx>,
    mut candidate: Candidate,
    warm_up: bool,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Lost> {
    let name = candidate.terms().name.clone();
    let metrics = Arc::clone(&ctx.metrics);
    metrics.set_leading(&name, false);
    let mut shutdown = std::pin::pin!(shutdown);
    if !warm_up {
        tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            () = candidate.acquire() => metrics.set_leading(&name, true),
        }
        let outcome = tokio::select! {
            biased;
            lost = candidate.hold() => Err(lost),
            () = run(ctx, shutdown) => Ok(()),
        };
        metrics.set_leading(&name, false);
        outcome?;
        candidate.release().await;
        return Ok(());
    }
    let (won, leading) = tokio::sync::oneshot::channel::<()>();
    let lead = async {
        candidate.acquire().await;
        metrics.set_leading(&name, true);
        let _ = won.send(());
        candidate.hold().await
    };
    let elected = async {
        let _ = leading.await;
    };
    let outcome = tokio::select! {
        biased;
        lost = lead => Err(lost),
        () = run_when(ctx, elected, shutdown) => Ok(()),
    };
    metrics.set_leading(&name, false);
    outcome?;
    candidate.release().await;
    Ok(())
}
