//! What the provider offers, asked for outside the rounds and put into the mirror.
//!
//! A pool is asked about when it appears or changes, when its node class does, and every minute,
//! because prices and capacity move without anybody telling. An answer that fails is an answer, too:
//! the pool offers nothing and says why, and other pools go on.

use std::{sync::Arc, time::Duration};

use karpenter_api::{NodeClaim, NodePool, labels::NODEPOOL};
use karpenter_plan::schedule;
use tracing::warn;

use crate::{
    Task,
    ctx::Ctx,
    mirror::{Change, NodeClass},
    nodepool::{no_types_message, outcomes::Outcomes},
    queue::{self, Failure, Next, Policy, Queue},
};

/// How often a pool is asked about without a reason.
const INTERVAL: Duration = Duration::from_mins(1);

pub(crate) fn tasks(ctx: &Arc<Ctx>, outcomes: &Arc<Outcomes>) -> Vec<Task> {
    let queue = Queue::<String>::new();
    let pools = queue.clone();
    ctx.mirror
        .subscribe::<NodePool>(move |change: &Change<Arc<NodePool>>| {
            let generation = |pool: &Option<Arc<NodePool>>| {
                pool.as_ref().and_then(|pool| pool.metadata.generation)
            };
            // Status changes are the counter's daily bread and offer nothing new.
            if change.old.is_none() || generation(&change.old) != generation(&change.new) {
                pools.add(change.key.name.to_string());
            }
        });
    let (classes, mirror) = (queue.clone(), Arc::downgrade(&ctx.mirror));
    ctx.mirror.subscribe::<NodeClass>(move |change| {
        let Some(class) = change.last() else { return };
        let Some(mirror) = mirror.upgrade() else {
            return;
        };
        for pool in mirror.all::<NodePool>() {
            let reference = &pool.spec.template.spec.node_class_ref;
            if *reference.name == *change.key.name
                && reference.kind == class.kind
                && reference.group == class.group
            {
                classes.add(pool.metadata.name.clone().unwrap_or_default());
            }
        }
    });
    // A claim that goes without ever having had a machine: the provider knows better by now what can
    // be had.
    let claims = queue.clone();
    ctx.mirror.subscribe::<NodeClaim>(move |change| {
        let Some(old) = &change.old else { return };
        let had_machine = old
            .status
            .as_ref()
            .is_some_and(|status| status.provider_id.is_some());
        if change.new.is_none() && !had_machine {
            let labels = old.metadata.labels.as_ref();
            if let Some(pool) = labels.and_then(|labels| labels.get(NODEPOOL)) {
                claims.add(pool.clone());
            }
        }
    });
    let (ctx, outcomes) = (Arc::clone(ctx), Arc::clone(outcomes));
    vec![Box::pin(async move {
        queue::run(
            "catalog.refresh",
            Policy::REASONABLE,
            Arc::clone(&ctx.metrics),
            queue,
            |pool| refresh(Arc::clone(&ctx), Arc::clone(&outcomes), pool),
        )
        .await;
    })]
}

async fn refresh(ctx: Arc<Ctx>, outcomes: Arc<Outcomes>, name: String) -> Result<Next, Failure> {
    let Some(pool) = ctx.mirror.named::<NodePool>(&name) else {
        ctx.mirror.remove_catalog(&name);
        return Ok(Next::Wait);
    };
    let reference = &pool.spec.template.spec.node_class_ref;
    if !ctx.cloud.manages(&reference.group, &reference.kind) {
        ctx.mirror.remove_catalog(&name);
        return Ok(Next::Wait);
    }
    match ctx.cloud.catalog(&pool).await {
        Ok(feed) => {
            ctx.metrics.costs.refreshed(&name, &feed);
            ctx.mirror.set_catalog(&name, Ok(feed));
        }
        Err(error) => {
            if ctx.mirror.set_catalog(&name, Err(error.to_string().into())) {
                warn!(nodepool = name, %error, "no instance types");
            }
        }
    }
    if let Some(answer) = can_launch(&ctx, &name) {
        outcomes.offered(&pool, answer.err());
    }
    Ok(Next::After(INTERVAL))
}

/// Whether a pool can launch anything, whatever the pods ask for, and why not. `None` if that is not
/// known: the pool cannot be read, or the provider has no answer, and both say so elsewhere.
fn can_launch(ctx: &Ctx, pool: &str) -> Option<Result<(), String>> {
    let snapshot = ctx.mirror.snapshot(ctx.clock.now());
    let id = snapshot.pool_named(pool)?;
    snapshot.catalogs[id].as_ref().ok()?;
    let left = schedule::leaves_types(&snapshot, id, &ctx.options.scheduling(0));
    Some(left.map_err(no_types_message))
}
