//! Static NodePools keep the number of nodes that they ask for (scheduling 10.2, lifecycle 13).
//!
//! Two controllers that never ask each other: one creates what is missing, the other deletes what is too
//! many. How many and which is the core's answer ([`karpenter_plan::static_pool`]). Neither looks at pods
//! that wait, and neither minds disruption budgets.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use karpenter_api::{NodeClaim, NodePool, conditions, labels::NODEPOOL};
use karpenter_plan::{
    NodeId, PoolId, Snapshot,
    static_pool::{self, static_claim},
};
use tracing::{info, warn};

use crate::{
    Task,
    ctx::Ctx,
    decision::Decision,
    effect,
    mirror::{Grant, Reservation},
    nodeclaim::draft::Conditioned as _,
    queue::{self, Failure, Next, Policy, Queue},
    upkeep::listed,
};

/// How often a pool is looked at without a reason.
const INTERVAL: Duration = Duration::from_mins(1);
/// The same while its limit of nodes is reached.
const AT_LIMIT: Duration = Duration::from_secs(30);
/// How soon a pool is looked at whose claim went without ever having had a machine: a provider that has
/// nothing left is not asked without a pause.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// Claims that are written at the same time.
const WRITES: usize = 32;
/// Why claims of static pools are created.
const REASON: &str = "provisioned";

/// Both controllers, if the feature gate is on.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    if !ctx.options.gates.static_capacity {
        return Vec::new();
    }
    let (missing, surplus) = (Queue::new(), Queue::new());
    subscribe(ctx, &missing, &surplus);
    let (up, down) = (Arc::clone(ctx), Arc::clone(ctx));
    vec![
        Box::pin(async move {
            listed(&up).await;
            queue::run(
                "static.provisioning",
                Policy::DEFAULT,
                Arc::clone(&up.metrics),
                missing,
                |pool| scale_up(Arc::clone(&up), pool),
            )
            .await;
        }),
        Box::pin(async move {
            listed(&down).await;
            queue::run(
                "static.deprovisioning",
                Policy::DEFAULT,
                Arc::clone(&down.metrics),
                surplus,
                |pool| scale_down(Arc::clone(&down), pool),
            )
            .await;
        }),
    ]
}

fn subscribe(ctx: &Ctx, missing: &Queue<String>, surplus: &Queue<String>) {
    let (up, down) = (missing.clone(), surplus.clone());
    ctx.mirror.subscribe::<NodePool>(move |change| {
        let Some(new) = change
            .new
            .as_ref()
            .filter(|pool| pool.spec.replicas.is_some())
        else {
            return;
        };
        let old = change.old.as_ref();
        let is_changed = old.map(|old| old.metadata.generation) != Some(new.metadata.generation);
        let becomes_ready = is_ready(new) && !old.is_some_and(|old| is_ready(old));
        if is_changed {
            down.add(change.key.name.to_string());
        }
        if is_changed || becomes_ready {
            up.add(change.key.name.to_string());
        }
    });
    let (up, down, mirror) = (
        missing.clone(),
        surplus.clone(),
        Arc::downgrade(&ctx.mirror),
    );
    ctx.mirror.subscribe::<NodeClaim>(move |change| {
        let pool = change
            .last()
            .and_then(|claim| claim.metadata.labels.as_ref()?.get(NODEPOOL));
        let (Some(pool), Some(mirror)) = (pool, mirror.upgrade()) else {
            return;
        };
        let is_static = mirror
            .named::<NodePool>(pool)
            .is_some_and(|pool| pool.spec.replicas.is_some());
        if !is_static {
            return;
        }
        let is_going = |claim: &Arc<NodeClaim>| claim.metadata.deletion_timestamp.is_some();
        match (&change.old, &change.new) {
            (None, Some(_)) => down.add(pool.clone()),
            (Some(old), new) => {
                let begins = new
                    .as_ref()
                    .is_some_and(|new| is_going(new) && !is_going(old));
                if begins || new.is_none() {
                    if had_machine(old) {
                        up.add(pool.clone());
                    } else {
                        up.add_after(pool.clone(), AFTER_FAILURE);
                    }
                }
            }
            (None, None) => {}
        }
    });
}

fn is_ready(pool: &NodePool) -> bool {
    conditions::is_true(pool.conditions(), conditions::READY)
}

fn had_machine(claim: &NodeClaim) -> bool {
    let status = claim.status.as_ref();
    status.is_some_and(|status| status.provider_id.is_some())
}

/// The pool is there and keeps a number of nodes.
fn is_static(ctx: &Ctx, pool: &str) -> bool {
    let pool = ctx.mirror.named::<NodePool>(pool);
    pool.is_some_and(|pool| pool.spec.replicas.is_some())
}

/// Creates the claims that a pool lacks.
async fn scale_up(ctx: Arc<Ctx>, pool: String) -> Result<Next, Failure> {
    if !is_static(&ctx, &pool) {
        return Ok(Next::Wait);
    }
    let seed = ctx.options.seed.wrapping_add(ctx.mirror.generation());
    match ctx.mirror.reserve_lacking(&pool, ctx.clock.now()) {
        Grant::Nothing => Ok(Next::After(INTERVAL)),
        Grant::LimitReached => {
            info!(nodepool = pool, "nodepool node limit reached");
            Ok(Next::After(AT_LIMIT))
        }
        Grant::Claims(snapshot, id, reservations) => {
            let creations: Vec<_> = (seed..)
                .zip(reservations)
                .map(|(seed, reservation)| create(&ctx, &snapshot, id, seed, reservation))
                .collect();
            let results: Vec<_> = stream::iter(creations)
                .buffer_unordered(WRITES)
                .collect()
                .await;
            results.into_iter().collect::<Result<(), _>>()?;
            Ok(Next::After(INTERVAL))
        }
    }
}

/// Creates one claim. The reservation ends with the attempt.
async fn create(
    ctx: &Ctx,
    snapshot: &Snapshot,
    id: PoolId,
    seed: u64,
    reservation: Reservation,
) -> Result<(), effect::Error> {
    let pool = &snapshot.pools[id].name;
    let created = effect::create(ctx, &static_claim(snapshot, id, seed)).await;
    drop(reservation);
    let created = created.inspect_err(|error| {
        warn!(nodepool = &**pool, %error, "creating node claim failed");
    })?;
    ctx.metrics.lifecycle.claim_created(REASON, pool, false);
    let name = created.metadata.name.clone().unwrap_or_default();
    info!(node_claim = name, nodepool = &**pool, "created nodeclaim");
    ctx.decisions.tell(Decision::Created {
        claim: name,
        pool: pool.to_string(),
        instance_type: String::new(),
        others: 0,
        price: String::new(),
        reason: REASON.to_owned(),
    });
    Ok(())
}

/// Deletes the claims that are too many for a pool.
async fn scale_down(ctx: Arc<Ctx>, pool: String) -> Result<Next, Failure> {
    if !is_static(&ctx, &pool) {
        return Ok(Next::Wait);
    }
    let snapshot = ctx.mirror.snapshot(ctx.clock.now());
    let victims = snapshot
        .pool_named(&pool)
        .map(|id| static_pool::victims(&snapshot, id))
        .unwrap_or_default();
    let deletions: Vec<_> = victims
        .into_iter()
        .map(|victim| delete(&ctx, &snapshot, &pool, victim))
        .collect();
    let results: Vec<_> = stream::iter(deletions)
        .buffer_unordered(WRITES)
        .collect()
        .await;
    results.into_iter().collect::<Result<(), _>>()?;
    Ok(Next::After(INTERVAL))
}

/// Deletes the claim of a victim, if it is still the object that was chosen.
async fn delete(
    ctx: &Ctx,
    snapshot: &Snapshot,
    pool: &str,
    victim: NodeId,
) -> Result<(), effect::Error> {
    let node = &snapshot.nodes[victim];
    let Some(facts) = &node.claim else {
        return Ok(());
    };
    let claim = ctx
        .mirror
        .named::<NodeClaim>(&facts.name)
        .filter(|claim| claim.metadata.uid.as_deref() == Some(&*facts.uid));
    let Some(claim) = claim else { return Ok(()) };
    match effect::delete(ctx, &*claim).await {
        Ok(()) => {}
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error),
    }
    info!(
        node_claim = &*facts.name,
        nodepool = pool,
        "deleted nodeclaim of a static nodepool with more than its replicas"
    );
    ctx.decisions.tell(Decision::Disrupted {
        node: node.name.to_string(),
        reason: format!("static NodePool {pool} has more nodes than replicas"),
    });
    Ok(())
}
