//! Pools: what their status says, and which template their claims were made from.
//!
//! Table of contents: [`status`] puts a pool's status together out of [`readiness`], [`health`] and
//! [`counter`]; [`hash`] keeps the stamps. These are pure. [`outcomes`] brings what became of claims
//! to the pool; the controller is in this file.

mod counter;
mod hash;
mod health;
pub(crate) mod outcomes;
mod readiness;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use karpenter_api::{
    conditions::{self, INITIALIZED},
    labels::{self, Provider, WellKnown},
    nodeclaim::NodeClaim,
    nodepool::NodePool,
    objects::Node,
    validation,
};

use self::{
    counter::{Machine, Totals},
    hash::Step,
    outcomes::Outcomes,
};
use crate::{
    Task,
    ctx::Ctx,
    effect,
    mirror::NodeClass,
    nodeclaim::{draft::Conditioned as _, write},
    queue::{self, Failure, Next, Policy, Queue},
    upkeep::{listed, touched},
};

/// How long changes of claims and nodes are gathered before a pool is counted again. Upstream counts
/// every 5 s; a burst of launches must not become a burst of status writes.
const GATHERING: Duration = Duration::from_secs(1);

/// Reason of the event and of the condition of a pool that can launch nothing.
pub(crate) const NO_COMPATIBLE_INSTANCE_TYPES: &str = "NoCompatibleInstanceTypes";

/// What the event and the condition of such a pool say.
pub(crate) fn no_types_message(by_min_values: bool) -> String {
    let why = if by_min_values {
        " due to minValues incompatibility"
    } else {
        ""
    };
    format!("NodePool requirements filtered out all compatible available instance types{why}")
}

/// The controller, subscribed to pools, their node classes, and what they have; and the book that
/// others write the outcomes of launches into.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> (Vec<Task>, Arc<Outcomes>) {
    let queue: Queue<String> = Queue::new();
    let outcomes = Arc::new(Outcomes::new(queue.clone()));
    subscribe(ctx, &queue, &outcomes);
    let (ctx, book) = (Arc::clone(ctx), Arc::clone(&outcomes));
    let task: Task = Box::pin(async move {
        listed(&ctx).await;
        queue::run(
            "nodepool.counter",
            Policy::DEFAULT,
            Arc::clone(&ctx.metrics),
            queue,
            |name| {
                let (ctx, book) = (Arc::clone(&ctx), Arc::clone(&book));
                async move { reconcile(&ctx, &book, &name).await }
            },
        )
        .await;
    });
    (vec![task], outcomes)
}

fn subscribe(ctx: &Arc<Ctx>, queue: &Queue<String>, outcomes: &Arc<Outcomes>) {
    let (pools, book) = (queue.clone(), Arc::clone(outcomes));
    ctx.mirror
        .subscribe::<NodePool>(move |change| match (&change.new, &change.old) {
            (Some(_), _) => pools.add(change.key.name.to_string()),
            (None, Some(gone)) => book.forget(gone.metadata.uid.as_deref().unwrap_or_default()),
            (None, None) => {}
        });
    let (pools, mirror) = (queue.clone(), Arc::downgrade(&ctx.mirror));
    ctx.mirror.subscribe::<NodeClass>(move |change| {
        let Some(mirror) = mirror.upgrade() else {
            return;
        };
        for pool in mirror.all::<NodePool>() {
            let class = &pool.spec.template.spec.node_class_ref;
            if NodeClass::key_of(&class.group, &class.kind, &class.name) == change.key {
                pools.add(pool.metadata.name.clone().unwrap_or_default());
            }
        }
    });
    let pools = queue.clone();
    ctx.mirror.subscribe::<NodeClaim>(move |change| {
        if let Some(pool) = change
            .last()
            .and_then(|claim| pool_of(claim.metadata.labels.as_ref()))
        {
            pools.add_after(pool.clone(), GATHERING);
        }
    });
    let pools = queue.clone();
    ctx.mirror.subscribe::<Node>(move |change| {
        let pool = change
            .last()
            .and_then(|node| pool_of(node.metadata.labels.as_ref()));
        if let (Some(pool), true) = (pool, touched(change)) {
            pools.add_after(pool.clone(), GATHERING);
        }
    });
}

async fn reconcile(ctx: &Ctx, book: &Outcomes, name: &str) -> Result<Next, Failure> {
    let Some(pool) = ctx.mirror.named::<NodePool>(name) else {
        return Ok(Next::Wait);
    };
    let class = &pool.spec.template.spec.node_class_ref;
    if !ctx.cloud.manages(&class.group, &class.kind) {
        return Ok(Next::Wait);
    }
    let claims: Vec<Arc<NodeClaim>> = ctx
        .mirror
        .all::<NodeClaim>()
        .into_iter()
        .filter(|claim| pool_of(claim.metadata.labels.as_ref()).is_some_and(|pool| pool == name))
        .collect();
    match hash::next_step(&pool, &claims) {
        Step::Keep => {}
        Step::StampClaims(stale) => {
            for (read, wanted) in stale {
                if let Err(error) = write::changes(ctx, &*read, &wanted).await {
                    return write::again(error);
                }
            }
            return Ok(Next::After(Duration::ZERO));
        }
        Step::StampPool(wanted) => {
            return match write::changes(ctx, &*pool, &wanted).await {
                Ok(_) => Ok(Next::After(Duration::ZERO)),
                Err(error) => write::again(error),
            };
        }
    }
    match report(ctx, book, &pool, &claims).await {
        Ok(true) => Ok(Next::After(Duration::ZERO)),
        Ok(false) => Ok(Next::Wait),
        Err(error) => write::again(error),
    }
}

/// Writes the pool's status. True if there is more to be taken in.
async fn report(
    ctx: &Ctx,
    book: &Outcomes,
    pool: &NodePool,
    claims: &[Arc<NodeClaim>],
) -> Result<bool, effect::Error> {
    let uid = pool.metadata.uid.as_deref().unwrap_or_default();
    let facts = status::Facts {
        faults: validation::nodepool(pool, &label_rules(ctx)),
        class: ctx
            .mirror
            .node_class_of(pool)
            .map(|class| readiness::NodeClass {
                deleting: class.metadata.deletion_timestamp.is_some(),
                generation: class.metadata.generation.unwrap_or_default(),
                ready: class.condition(conditions::READY).cloned(),
            }),
        record: book.of(uid),
        totals: count(ctx, pool, claims),
    };
    let wanted = status::consider(pool, &facts, ctx.clock.now());
    write::status(ctx, pool, &wanted.pool).await?;
    let more = wanted.taken || wanted.history.is_some();
    if let Some(history) = wanted.history {
        book.set(uid, history);
    }
    if wanted.taken {
        book.take_in(uid);
    }
    Ok(more && !book.of(uid).waiting.is_empty())
}

/// Which labels a template may use with the provider in charge.
fn label_rules(ctx: &Ctx) -> WellKnown {
    let own = ctx.cloud.well_known();
    let provider = [Provider::Aws, Provider::Kwok]
        .into_iter()
        .find(|provider| {
            own.restricted_domains
                .iter()
                .any(|domain| domain == provider.domain())
        })
        .unwrap_or(Provider::Kwok);
    WellKnown::of(provider).with(own.labels.iter().cloned())
}

/// What the pool has: launched claims with their nodes, and nodes under its label without a claim.
fn count(ctx: &Ctx, pool: &NodePool, claims: &[Arc<NodeClaim>]) -> Totals {
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    let launched: Vec<(&NodeClaim, &str, Option<Arc<Node>>)> = claims
        .iter()
        .filter_map(|claim| {
            let status = claim.status.as_ref()?;
            let id = status.provider_id.as_deref().filter(|id| !id.is_empty())?;
            let node = ctx.mirror.nodes_with_provider_id(id).into_iter().next();
            Some((&**claim, id, node))
        })
        .collect();
    let known: BTreeSet<&str> = launched.iter().map(|(_, id, _)| *id).collect();
    let mut machines: Vec<Machine<'_>> = Vec::new();
    for (claim, _, node) in &launched {
        let uid = claim.metadata.uid.as_deref().unwrap_or_default();
        let node_leaving = node
            .as_ref()
            .is_some_and(|node| node.metadata.deletion_timestamp.is_some());
        machines.push(Machine {
            claim: Some(claim),
            node: node.as_deref(),
            leaving: claim.metadata.deletion_timestamp.is_some()
                || node_leaving
                || ctx.mirror.is_marked(uid),
            initialized: conditions::is_true(claim.conditions(), INITIALIZED),
        });
    }
    let nodes: Vec<Arc<Node>> = ctx.mirror.all::<Node>();
    for node in &nodes {
        let id = node.spec.provider_id.as_deref().unwrap_or_default();
        let ours = pool_of(node.metadata.labels.as_ref()).is_some_and(|pool| pool == name);
        if ours && !known.contains(id) {
            machines.push(Machine {
                claim: None,
                node: Some(node),
                leaving: node.metadata.deletion_timestamp.is_some(),
                initialized: true,
            });
        }
    }
    counter::totals(machines)
}

fn pool_of(labels: Option<&BTreeMap<String, String>>) -> Option<&String> {
    labels?.get(labels::NODEPOOL)
}
