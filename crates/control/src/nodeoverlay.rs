//! NodeOverlays: whether each is applied, in its status (scheduling 10.3).
//!
//! What overlays come to is worked out where snapshots are made; here it is told. One that is not
//! applied says why in its condition `ValidationSucceeded`.

use std::{sync::Arc, time::Duration};

use karpenter_api::{NodeOverlay, NodePool, conditions::VALIDATION_SUCCEEDED};

use crate::{
    Task,
    ctx::Ctx,
    mirror::Change,
    nodeclaim::{
        draft::{Draft, conditioned},
        write,
    },
    queue::{self, Failure, Next, Policy, Queue},
    upkeep::listed,
};

/// How often overlays are looked at without a reason.
const INTERVAL: Duration = Duration::from_hours(6);
/// Changes of pools and types are gathered for so long.
const GATHERING: Duration = Duration::from_secs(1);

conditioned!(NodeOverlay, &[VALIDATION_SUCCEEDED]);

/// The controller; nothing while the gate is closed.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    if !ctx.options.gates.node_overlay {
        return Vec::new();
    }
    // Each may conflict with any other, so all are looked at together.
    let queue: Queue<()> = Queue::new();
    let overlays = queue.clone();
    ctx.mirror
        .subscribe::<NodeOverlay>(move |change: &Change<Arc<NodeOverlay>>| {
            let generation = |overlay: &Option<Arc<NodeOverlay>>| {
                overlay
                    .as_ref()
                    .and_then(|overlay| overlay.metadata.generation)
            };
            if change.old.is_none() || generation(&change.old) != generation(&change.new) {
                overlays.add(());
            }
        });
    let pools = queue.clone();
    ctx.mirror.subscribe::<NodePool>(move |change| {
        let generation =
            |pool: &Option<Arc<NodePool>>| pool.as_ref().and_then(|pool| pool.metadata.generation);
        if generation(&change.old) != generation(&change.new) {
            pools.add_after((), GATHERING);
        }
    });
    let ctx = Arc::clone(ctx);
    vec![Box::pin(async move {
        listed(&ctx).await;
        queue::run(
            "nodeoverlay.controller",
            Policy::DEFAULT,
            Arc::clone(&ctx.metrics),
            queue,
            |()| {
                let ctx = Arc::clone(&ctx);
                async move { reconcile(&ctx).await }
            },
        )
        .await;
    })]
}

async fn reconcile(ctx: &Ctx) -> Result<Next, Failure> {
    let now = ctx.clock.now();
    let verdicts = ctx.mirror.overlay_verdicts(now);
    for overlay in ctx.mirror.all::<NodeOverlay>() {
        let name = overlay.metadata.name.as_deref().unwrap_or_default();
        let Some(verdict) = verdicts.iter().find(|verdict| &*verdict.name == name) else {
            continue;
        };
        let mut draft = Draft::new(&*overlay, now);
        match &verdict.fault {
            None => draft.set_true(VALIDATION_SUCCEEDED),
            Some(fault) => draft.set_false(VALIDATION_SUCCEEDED, fault.reason(), fault.message()),
        }
        if let Err(error) = write::status(ctx, &*overlay, &draft.finish()).await {
            return write::again(error);
        }
    }
    Ok(Next::After(INTERVAL))
}
