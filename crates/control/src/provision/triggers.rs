//! What may need a round of scheduling.

use std::sync::Arc;

use karpenter_api::{
    NodeClaim, NodePool, labels,
    objects::{Node, Pod},
};

use crate::{ctx::Ctx, mirror::is_initialized};

/// Triggers a round at whatever may need one.
pub(super) fn subscribe(ctx: &Arc<Ctx>) {
    let (batcher, mirror) = (ctx.batcher.clone(), Arc::downgrade(&ctx.mirror));
    ctx.mirror.subscribe::<Pod>(move |change| {
        let Some(pod) = change.new.as_ref().filter(|pod| pod.provisionable) else {
            return;
        };
        let is_expected = mirror
            .upgrade()
            .is_some_and(|mirror| mirror.claim_of(&pod.key).is_some());
        if !is_expected {
            batcher.trigger(pod.uid());
        }
    });
    // The scheduler spreads pods otherwise than planned: once the first pods have taken the places
    // that were promised on existing nodes, those left over need another look.
    let (wake, status) = (wake_if_pods_wait(ctx), ctx.status.clone());
    ctx.mirror.subscribe::<Pod>(move |change| {
        let (Some(old), Some(new)) = (&change.old, &change.new) else {
            return;
        };
        let arrives = old.node().is_none() && new.node().is_some();
        if arrives && status.has_promised() {
            wake("bound", new.uid());
        }
    });
    let batcher = ctx.batcher.clone();
    ctx.mirror.subscribe::<Node>(move |change| {
        let is_going = |node: &Arc<Node>| {
            node.spec
                .taints
                .iter()
                .any(|taint| taint.matches(&labels::taints::disrupted()))
        };
        let was_going = change.old.as_ref().is_some_and(is_going);
        if let Some(node) = change
            .new
            .as_ref()
            .filter(|node| !was_going && is_going(node))
        {
            batcher.trigger(node.metadata.uid.as_deref().unwrap_or_default());
        }
    });
    // A claim that goes leaves its pods without a place; a pool that comes may offer one.
    let wake = wake_if_pods_wait(ctx);
    ctx.mirror.subscribe::<NodeClaim>(move |change| {
        let is_going = |claim: &Arc<NodeClaim>| claim.metadata.deletion_timestamp.is_some();
        // One that never had a machine goes because there was none to be had: its pods wait for the
        // next look, so that a provider that has nothing left is not asked every second.
        let had_machine = |claim: &Arc<NodeClaim>| {
            let status = claim.status.as_ref();
            status.is_some_and(|status| status.provider_id.is_some())
        };
        let goes = change.new.as_ref().is_none_or(is_going)
            && change
                .old
                .as_ref()
                .is_some_and(|old| !is_going(old) && had_machine(old));
        if goes {
            wake("nodeclaim", &change.key.name);
        }
    });
    // From when a claim is ready for pods, nothing is held for those that it was made for: whoever
    // finds the place taken by another must not wait for the next look.
    let wake = wake_if_pods_wait(ctx);
    ctx.mirror.subscribe::<NodeClaim>(move |change| {
        let is_ready = |claim: &Arc<NodeClaim>| is_initialized(claim);
        let becomes_ready = change.new.as_ref().is_some_and(is_ready)
            && change.old.as_ref().is_some_and(|old| !is_ready(old));
        if becomes_ready {
            wake("initialized", &change.key.name);
        }
    });
    let wake = wake_if_pods_wait(ctx);
    ctx.mirror.subscribe::<NodePool>(move |change| {
        let essence = |pool: &Arc<NodePool>| (pool.metadata.generation, is_ready(pool));
        let is_news = change.old.as_ref().map(essence) != change.new.as_ref().map(essence);
        if is_news {
            wake("nodepool", &change.key.name);
        }
    });
}

/// Triggers a round for what happened to something, if a pod waits that it could help.
fn wake_if_pods_wait(ctx: &Ctx) -> impl Fn(&str, &str) + Send + Sync + 'static {
    let (batcher, mirror) = (ctx.batcher.clone(), Arc::downgrade(&ctx.mirror));
    move |what, name| {
        let waits = mirror
            .upgrade()
            .is_some_and(|mirror| mirror.has_waiting_pods());
        if waits {
            batcher.trigger(&format!("{what}/{name}"));
        }
    }
}

fn is_ready(pool: &NodePool) -> bool {
    let conditions = pool
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    karpenter_api::conditions::is_true(conditions.unwrap_or_default(), "Ready")
}
