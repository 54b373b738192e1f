//! Creating claims: for pods that wait, and in place of nodes that are to go.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, stream};
use karpenter_api::{NodeClaim, NodePool};
use karpenter_plan::{
    NewClaim, PoolId, Price, ResourceId, Snapshot, disrupt::Replacement, node_claim, schedule::Plan,
};
use tracing::{info, warn};

use super::tell::place;
use crate::{ctx::Ctx, decision::Decision, effect, mirror::Key};

/// Claims that are created at the same time.
const CREATIONS: usize = 32;
/// One node in the thousandths that resources are counted in.
const ONE_NODE: i64 = 1000;
/// No state of the mirror has this number: asks it in any case.
const NO_GENERATION: u64 = u64::MAX;

/// Creates the plan's claims. True if each of them was created.
pub(super) async fn create_claims(
    ctx: &Arc<Ctx>,
    snapshot: &Arc<Snapshot>,
    generation: u64,
    plan: &Plan,
) -> bool {
    let claims = within_node_limits(snapshot, &plan.claims);
    let is_cut = claims.len() < plan.claims.len();
    let creations: Vec<_> = claims
        .into_iter()
        .map(|claim| create_claim(ctx, snapshot, generation, claim, "provisioned"))
        .collect();
    let created: Vec<bool> = stream::iter(creations).buffered(CREATIONS).collect().await;
    !is_cut && created.into_iter().all(|created| created)
}

/// The claims that limits of nodes have room for. A round looks at such a limit as it was at its
/// beginning, as upstream's does; without this it could pass the limit by any number.
fn within_node_limits<'a>(snapshot: &Snapshot, claims: &'a [NewClaim]) -> Vec<&'a NewClaim> {
    let mut room: BTreeMap<PoolId, i64> = snapshot
        .pools
        .iter()
        .filter_map(|(id, pool)| Some((id, pool.limits.find(ResourceId::NODES)?)))
        .collect();
    for (id, place) in snapshot.places.iter() {
        let left = place.pool.and_then(|pool| room.get_mut(&pool));
        if let Some(left) = left.filter(|_| !snapshot.nodes[id].marked) {
            *left -= place.capacity.get(ResourceId::NODES);
        }
    }
    let has_room = |claim: &&NewClaim| {
        let Some(left) = room.get_mut(&claim.pool) else {
            return true;
        };
        *left -= ONE_NODE;
        if *left < 0 {
            let nodepool = &*snapshot.pools[claim.pool].name;
            warn!(
                nodepool,
                "creating node claim, nodes resource usage exceeds limit"
            );
        }
        *left >= 0
    };
    claims.iter().filter(has_room).collect()
}

/// Creates one claim unless its pool has changed its mind, and tells about it.
async fn create_claim(
    ctx: &Arc<Ctx>,
    snapshot: &Snapshot,
    generation: u64,
    claim: &NewClaim,
    reason: &str,
) -> bool {
    let pool = &snapshot.pools[claim.pool].name;
    if let Err(why) = may_create(ctx, pool, generation) {
        warn!(nodepool = &**pool, "creating node claim, {why}");
        return false;
    }
    let object = node_claim(snapshot, claim);
    let created = match effect::create(ctx, &object).await {
        Ok(created) => created,
        Err(error) => {
            warn!(nodepool = &**pool, %error, "creating node claim failed");
            return false;
        }
    };
    let name = tell_created(
        ctx,
        &created,
        &Creation {
            pool,
            reason,
            pods: Some(claim.pods.len()),
            types: &type_names(snapshot, claim),
            price: Some(claim.price),
            min_values_relaxed: claim.min_values_relaxed,
        },
    );
    ctx.mirror.expect(
        &name,
        claim.pods.iter().map(|pod| {
            let pod = &snapshot.pods[*pod];
            Key::new(pod.namespace.clone(), pod.name.clone())
        }),
    );
    let real = claim
        .pods
        .iter()
        .filter(|pod| snapshot.pods[**pod].buffer.is_none());
    let target = format!("nodeclaim/{name}").into();
    for pod in real {
        place(ctx, snapshot, *pod, &target);
    }
    true
}

/// Creates the replacement of a node that is to go, unless its pool has changed its mind. The name, or why
/// there is none.
pub(crate) async fn create_replacement(
    ctx: &Arc<Ctx>,
    snapshot: &Snapshot,
    replacement: &Replacement,
    reason: &str,
) -> Result<String, String> {
    let pool = &*replacement.pool;
    let is_static = snapshot
        .pool_named(pool)
        .is_some_and(|id| snapshot.pools[id].is_static());
    let _reservation = if is_static {
        let granted = ctx.mirror.reserve_one(pool, snapshot.now);
        Some(granted.ok_or_else(|| format!("nodes limit of nodepool {pool} is reached"))?)
    } else {
        may_create(ctx, pool, NO_GENERATION)?;
        None
    };
    let created = effect::create(ctx, &*replacement.object).await;
    let created = created.map_err(|error| error.to_string())?;
    let creation = Creation {
        pool,
        reason,
        pods: None,
        types: &replacement.instance_types,
        price: replacement.cheapest.as_ref().map(|bid| bid.price),
        min_values_relaxed: replacement.min_values_relaxed,
    };
    Ok(tell_created(ctx, &created, &creation))
}

/// What there is to tell about a claim that was created.
struct Creation<'a> {
    pool: &'a str,
    reason: &'a str,
    /// How many pods it is for, if that was counted.
    pods: Option<usize>,
    /// What it may become, cheapest first.
    types: &'a [Arc<str>],
    price: Option<Price>,
    min_values_relaxed: bool,
}

/// Counts and tells that a claim was created. Its name.
fn tell_created(ctx: &Ctx, claim: &NodeClaim, creation: &Creation<'_>) -> String {
    let Creation {
        pool,
        reason,
        pods,
        types,
        price,
        min_values_relaxed,
    } = *creation;
    ctx.metrics
        .lifecycle
        .claim_created(reason, pool, min_values_relaxed);
    let name = claim.metadata.name.clone().unwrap_or_default();
    info!(
        node_claim = name,
        nodepool = pool,
        pods,
        instance_types = shown(types),
        "created nodeclaim"
    );
    ctx.decisions.tell(Decision::Created {
        claim: name.clone(),
        pool: pool.to_owned(),
        instance_type: types.first().map_or(String::new(), ToString::to_string),
        others: types.len().saturating_sub(1),
        price: price.map_or(String::new(), |price| price.to_string()),
        reason: reason.to_owned(),
    });
    name
}

/// Asks the pool again right before a claim is created: it may be gone, or its limit used up by what
/// happened since the plan was made.
fn may_create(ctx: &Ctx, pool: &str, generation: u64) -> Result<(), String> {
    let found = ctx.mirror.named::<NodePool>(pool);
    let Some(found) = found.filter(|pool| pool.metadata.deletion_timestamp.is_none()) else {
        return Err(format!("nodepool {pool} is gone"));
    };
    let has_limits = found
        .spec
        .limits
        .as_ref()
        .is_some_and(|all| !all.is_empty());
    if !has_limits || ctx.mirror.generation() == generation {
        return Ok(());
    }
    let snapshot = ctx.mirror.snapshot(ctx.clock.now());
    let Some(id) = snapshot.pool_named(pool) else {
        return Err(format!("nodepool {pool} cannot be read"));
    };
    match exceeded(&snapshot, id) {
        None => Ok(()),
        Some(resource) => Err(format!("{resource} resource usage exceeds limit")),
    }
}

/// A resource of which the pool's launched nodes hold more than its limit.
fn exceeded(snapshot: &Snapshot, pool: PoolId) -> Option<String> {
    let limits = &snapshot.pools[pool].limits;
    if limits.is_empty() {
        return None;
    }
    let mut used = karpenter_plan::Resources::new();
    for (id, node) in snapshot.nodes.iter() {
        let place = &snapshot.places[id];
        if place.pool == Some(pool) && !node.marked && !node.is_unlaunched() {
            used.add(&place.capacity);
        }
    }
    limits
        .iter()
        .find(|(resource, limit)| used.get(*resource) > *limit)
        .map(|(resource, _)| snapshot.vocabulary.resource_name(resource).to_string())
}

fn type_names(snapshot: &Snapshot, claim: &NewClaim) -> Vec<Arc<str>> {
    let Ok(catalog) = &snapshot.catalogs[claim.pool] else {
        return Vec::new();
    };
    claim
        .instance_types
        .iter()
        .map(|id| catalog.types[*id].name.clone())
        .collect()
}

/// The first five, and how many more.
pub(crate) fn shown(names: &[Arc<str>]) -> String {
    let first = names
        .iter()
        .take(5)
        .map(|name| &**name)
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(5) {
        0 => first,
        others => format!("{first} and {others} other(s)"),
    }
}
