//! The scheduling round: batch, snapshot, schedule, create claims, report.
//!
//! A round decides nothing itself; the plan says what is created, the report says why the rest is
//! not. A pod that was refused stays watched: it is looked at again when anything has changed, at
//! most every ten seconds, as upstream's requeue does; while nothing changes, nothing is computed.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use karpenter_api::{
    NodeClaim, NodePool, labels,
    objects::{Node, Pod},
};
use karpenter_plan::{
    NewClaim, NodeId, PodId, PoolId, Price, ResourceId, Snapshot,
    disrupt::Replacement,
    node_claim,
    schedule::{self, Plan, Report},
};
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, error, info, info_span, warn};

use crate::{
    Task,
    capacitybuffer::Observations,
    ctx::Ctx,
    decision::Decision,
    effect,
    events::{Event, Severity},
    metrics::Ending,
    mirror::{Key, is_initialized},
    nodepool::{NO_COMPATIBLE_INSTANCE_TYPES, no_types_message},
    status::Refused,
};

/// Waiting pods are looked at again after this long if anything changed.
const RETRY: Duration = Duration::from_secs(10);
/// How often an unfinished start is looked at.
const READINESS: Duration = Duration::from_millis(10);
/// Claims that are created at the same time.
const CREATIONS: usize = 32;
const UNSCHEDULABLE_WINDOW: Duration = Duration::from_mins(5);
/// One node in the thousandths that resources are counted in.
const ONE_NODE: i64 = 1000;
/// No state of the mirror has this number: asks it in any case.
const NO_GENERATION: u64 = u64::MAX;
/// The name of this controller in logs and metrics.
const CONTROLLER: &str = "provisioner";
const NO_TYPES_WINDOW: Duration = Duration::from_mins(1);

pub(crate) fn tasks(ctx: &Arc<Ctx>, buffers: &Arc<Observations>) -> Vec<Task> {
    subscribe(ctx);
    let rounds = rounds(Arc::clone(ctx), Arc::clone(buffers));
    vec![Box::pin(
        rounds.instrument(info_span!("round", controller = "provisioner")),
    )]
}

/// What may need a round.
fn subscribe(ctx: &Arc<Ctx>) {
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
    let is_created = create_claims(ctx, &snapshot, generation, &answer.plan).await;
    let is_lasting = nominate(ctx, &snapshot, &answer.plan, now);
    ctx.status.promises(!is_lasting);
    report(ctx, &snapshot, &answer);
    buffers.decided(ctx, &snapshot, &answer.plan, &answer.report);
    Outcome {
        generation,
        is_provisional: !is_created || !is_lasting,
    }
}

/// Creates the plan's claims. True if each of them was created.
async fn create_claims(
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
pub(crate) async fn create_claim(
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

/// Keeps places that exist for the pods that were put there, and tells about it. True if each of them
/// is a claim that is still to become a node: there pods are expected until it has, as they are on
/// the claims of this round; an ordinary node is kept for a while only.
fn nominate(ctx: &Ctx, snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> bool {
    let until = now
        .checked_add(ctx.options.nomination_window())
        .unwrap_or(now);
    let mut is_lasting = true;
    // Nobody will come for a virtual pod.
    let is_real = |pod: PodId| snapshot.pods[pod].buffer.is_none();
    for (pod, id) in plan.bindings.iter().filter(|(pod, _)| is_real(*pod)) {
        let node = &snapshot.nodes[*id];
        let claim = node.claim.as_ref().filter(|_| !node.initialized);
        if let Some(claim) = claim {
            let pod = &snapshot.pods[*pod];
            ctx.mirror.expect(
                &claim.name,
                [Key::new(pod.namespace.clone(), pod.name.clone())],
            );
        } else {
            is_lasting = false;
            if let Some(provider_id) = &node.provider_id {
                ctx.mirror.nominate(provider_id, until);
            }
        }
        place(ctx, snapshot, *pod, &target(snapshot, *id).into());
    }
    is_lasting
}

/// `nodeclaim/<name>, node/<name>`, or whichever exists.
fn target(snapshot: &Snapshot, node: NodeId) -> String {
    let node = &snapshot.nodes[node];
    let claim = node
        .claim
        .as_ref()
        .map(|claim| format!("nodeclaim/{}", claim.name));
    let object = node
        .node
        .as_ref()
        .map(|object| format!("node/{}", object.name));
    [claim, object]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

fn place(ctx: &Ctx, snapshot: &Snapshot, pod: PodId, target: &Arc<str>) {
    let event = Event::about(
        reference(snapshot, pod),
        Severity::Normal,
        "Nominated",
        format!("Pod should schedule on: {target}"),
    );
    ctx.events.publish(event.limited());
    let pod = &snapshot.pods[pod];
    if ctx
        .status
        .places(Key::new(pod.namespace.clone(), pod.name.clone()), target)
    {
        ctx.decisions.tell(Decision::Placed {
            pod: pod.display_name(),
            target: target.to_string(),
        });
    }
}

pub(crate) fn reference(snapshot: &Snapshot, pod: PodId) -> ObjectReference {
    let pod = &snapshot.pods[pod];
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace.to_string()),
        name: Some(pod.name.to_string()),
        uid: Some(pod.uid.to_string()),
        ..ObjectReference::default()
    }
}

/// Tells why the rest has no place.
fn report(ctx: &Ctx, snapshot: &Snapshot, answer: &Answer) {
    let Report {
        ignored,
        pools_without_types,
        no_pools,
        ..
    } = &answer.report;
    let mut refused = BTreeMap::new();
    let mut refuse = |pod: PodId, reason: String, cause: &str, event: bool| {
        if event {
            let mut message = format!("Failed to schedule pod, {reason}");
            if !reason.contains(cause) {
                let _ = write!(message, ". Cause: {cause}");
            }
            let event = Event::about(
                reference(snapshot, pod),
                Severity::Warning,
                "FailedScheduling",
                message,
            );
            ctx.events.publish(event.window(UNSCHEDULABLE_WINDOW));
        }
        let pod = &snapshot.pods[pod];
        let key = Key::new(pod.namespace.clone(), pod.name.clone());
        refused.insert(
            key,
            Refused {
                uid: pod.uid.clone(),
                reason: reason.into(),
            },
        );
    };
    for (pod, why) in ignored {
        refuse(
            *pod,
            format!("ignoring pod, {}", why.message),
            "",
            why.event,
        );
    }
    for Refusal { pod, reason, cause } in &answer.refusals {
        // Without a pool there is nothing to say about each pod; the log says it once.
        refuse(*pod, reason.clone(), cause, !no_pools);
    }
    if *no_pools {
        info!("no dynamic nodepools found");
    }
    for (pool, by_min_values) in pools_without_types {
        no_types(ctx, &snapshot.pools[*pool].name, *by_min_values);
    }
    ctx.status.retain_placed(|pod| ctx.mirror.is_waiting(pod));
    for (pod, reason) in ctx.status.round_ends(refused) {
        error!(pod = %pod, error = &*reason, "could not schedule pod");
        ctx.decisions.tell(Decision::Refused {
            pod: pod.to_string(),
            reason: reason.to_string(),
        });
    }
}

fn no_types(ctx: &Ctx, pool: &str, by_min_values: bool) {
    let Some(pool) = ctx.mirror.named::<NodePool>(pool) else {
        return;
    };
    let message = no_types_message(by_min_values);
    let event = Event::warning(&*pool, NO_COMPATIBLE_INSTANCE_TYPES, message);
    ctx.events.publish(event.window(NO_TYPES_WINDOW));
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
