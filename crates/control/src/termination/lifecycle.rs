//! The controller that performs the steps of a node that goes, one at a time.
//!
//! [`super::node`] decides; this file evicts, asks the provider, writes, and tells.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{
    conditions::{self, DRAINED},
    labels::TERMINATION_FINALIZER,
    nodeclaim::NodeClaim,
    objects::{Node, Pod},
};
use karpenter_cloud::{NodeClassKind, Termination};
use kube::{Api, api::ListParams};
use tracing::info;

use super::{
    drain::{self, DrainPod, Pass, PodKey},
    evictor::Evictor,
    hindered::hindered,
    node::{self, Facts, Step},
};
use crate::{
    Task,
    ctx::Ctx,
    effect,
    events::Event,
    nodeclaim::{draft::Conditioned as _, write},
    queue::{self, Failure, Next, Policy, Queue},
    upkeep::{Pace, listed, touched},
};

/// How soon a node whose pods are waited for is looked at again. Pods that go wake it earlier; this
/// is for what only time brings, such as a pod that gets stuck or a machine that is lost meanwhile.
const DRAIN_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// The controller, subscribed to nodes, their claims and their pods.
pub(crate) fn tasks(ctx: &Arc<Ctx>, evictor: Evictor) -> Vec<Task> {
    let queue: Queue<String> = Queue::new();
    {
        let queue = queue.clone();
        ctx.mirror.subscribe::<Node>(move |change| {
            let leaving = |node: &Arc<Node>| node.metadata.deletion_timestamp.is_some();
            if change.new.as_ref().is_some_and(leaving) && touched(change) {
                queue.add(change.key.name.to_string());
            }
        });
    }
    {
        let (queue, mirror) = (queue.clone(), Arc::downgrade(&ctx.mirror));
        ctx.mirror.subscribe::<NodeClaim>(move |change| {
            let (Some(mirror), Some(claim)) = (mirror.upgrade(), change.last()) else {
                return;
            };
            // A claim that goes, or has gone: only then its node may be on its way out.
            if change.new.is_some() && claim.metadata.deletion_timestamp.is_none() {
                return;
            }
            let id = claim
                .status
                .as_ref()
                .and_then(|status| status.provider_id.as_deref());
            for node in mirror.nodes_with_provider_id(id.unwrap_or_default()) {
                queue.add(node.metadata.name.clone().unwrap_or_default());
            }
        });
    }
    {
        let (queue, mirror) = (queue.clone(), Arc::downgrade(&ctx.mirror));
        ctx.mirror.subscribe::<Pod>(move |change| {
            let node = change.last().and_then(|pod| pod.node());
            let (Some(mirror), Some(name)) = (mirror.upgrade(), node) else {
                return;
            };
            let node = mirror.named::<Node>(name);
            if node.is_some_and(|node| node.metadata.deletion_timestamp.is_some()) {
                queue.add(name.to_owned());
            }
        });
    }
    let (ctx, pace) = (Arc::clone(ctx), Arc::new(Pace::default()));
    vec![Box::pin(async move {
        listed(&ctx).await;
        queue::run(
            "node.termination",
            Policy::TERMINATION,
            Arc::clone(&ctx.metrics),
            queue,
            |name| {
                let (ctx, evictor, pace) = (Arc::clone(&ctx), evictor.clone(), Arc::clone(&pace));
                async move { reconcile(&ctx, &evictor, &pace, &name).await }
            },
        )
        .await;
    })]
}

async fn reconcile(ctx: &Ctx, evictor: &Evictor, pace: &Pace, name: &str) -> Result<Next, Failure> {
    let Some(node) = ctx.mirror.named::<Node>(name) else {
        return Ok(Next::Wait);
    };
    if node.metadata.deletion_timestamp.is_none() || !is_managed(ctx, &node) {
        return Ok(Next::Wait);
    }
    let now = ctx.clock.now();
    let provider_id = node.spec.provider_id.clone().unwrap_or_default();
    let claims = ctx.mirror.claims_with_provider_id(&provider_id);
    let claim = if let [claim] = claims.as_slice() {
        Some(&**claim)
    } else {
        None
    };
    let pods: Vec<DrainPod> = ctx
        .mirror
        .pods_on(name)
        .iter()
        .map(|entry| DrainPod::of_entry(entry))
        .collect();
    let pass = drain::pass(&pods, now);
    let mut facts = Facts {
        claim,
        instance: None,
        pods: &pass,
    };
    let mut step = node::next_step(&node, &facts, now);
    if step == Step::AskInstance {
        let instance = ctx.cloud.get(&provider_id).await.map_err(Failure::new)?;
        facts.instance = Some(instance.is_some());
        step = node::next_step(&node, &facts, now);
    }
    let done = match (step, claim) {
        (Step::Wait | Step::AskInstance, _) => return Ok(Next::Wait),
        (Step::Pause(until), _) => return Ok(Next::At(until)),
        (Step::Drain { turn, waiting }, _) => {
            let new = turn.iter().filter(|key| evictor.add(key, name)).count();
            // What was not asked to leave before has not failed to.
            if new == 0 {
                tell_waiting(ctx, &node, waiting, &turn);
            }
            return Ok(Next::At(next_look(&pods, now)));
        }
        (Step::Terminate, Some(claim)) => return terminate(ctx, pace, &node, claim).await,
        (Step::DeleteClaim, Some(claim)) => effect::delete_by_uid(ctx, claim).await,
        (Step::Report(wanted), Some(claim)) => report(ctx, &node, claim, &wanted).await,
        (Step::Terminate | Step::DeleteClaim | Step::Report(_), None) => return Ok(Next::Wait),
        (Step::Taint, _) => match write::changes(ctx, &*node, &node::tainted(&node)).await {
            Ok(Some(_)) => {
                info!(node = name, "tainted node");
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        },
        (Step::Release, _) => release(ctx, &node).await,
    };
    done.map_or_else(write::again, |()| Ok(Next::After(Duration::ZERO)))
}

/// Ends the node's machine, and lets the node go once there is none.
async fn terminate(
    ctx: &Ctx,
    pace: &Pace,
    node: &Node,
    claim: &NodeClaim,
) -> Result<Next, Failure> {
    let uid = claim.metadata.uid.as_deref().unwrap_or_default();
    if let Some(until) = pace.until(uid, ctx.clock.now()) {
        return Ok(Next::At(until));
    }
    // A machine does not come back, and the mirror may lag behind: the pods are asked for live.
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let api: Api<Pod> = Api::all(ctx.client.clone());
    let on_node = ListParams::default().fields(&format!("spec.nodeName={name}"));
    let pods = api.list(&on_node).await.map_err(Failure::new)?;
    let pods: Vec<DrainPod> = pods.items.iter().map(DrainPod::lower).collect();
    let Pass { waiting, .. } = drain::pass(&pods, ctx.clock.now());
    if waiting > 0 {
        return Ok(Next::After(Duration::from_secs(1)));
    }
    match ctx.cloud.terminate(claim).await.map_err(Failure::new)? {
        Termination::Accepted => {
            let now = ctx.clock.now();
            let again = pace.asked(uid, now);
            match write::status(ctx, claim, &node::terminating(claim, now)).await {
                Ok(_) => Ok(Next::At(again)),
                Err(error) => write::again(error),
            }
        }
        Termination::Gone => {
            // Told even so: it takes the claim out of budgets and of what the pool has.
            let wanted = node::terminating(claim, ctx.clock.now());
            match write::status(ctx, claim, &wanted).await {
                Err(error) if error.is_conflict() => return write::again(error),
                Err(error) if !error.is_not_found() => return Err(error.into()),
                Ok(_) | Err(_) => {}
            }
            release(ctx, node)
                .await
                .map_or_else(write::again, |()| Ok(Next::Wait))
        }
    }
}

/// Stores the claim's status, and counts the node once its pods have left.
async fn report(
    ctx: &Ctx,
    node: &Node,
    claim: &NodeClaim,
    wanted: &NodeClaim,
) -> Result<(), effect::Error> {
    let is_drained = |claim: &NodeClaim| conditions::is_true(claim.conditions(), DRAINED);
    if write::status(ctx, claim, wanted).await?.is_some()
        && is_drained(wanted)
        && !is_drained(claim)
    {
        ctx.metrics.lifecycle.node_drained(node);
    }
    Ok(())
}

async fn release(ctx: &Ctx, node: &Node) -> Result<(), effect::Error> {
    if write::release(ctx, node, TERMINATION_FINALIZER)
        .await?
        .is_some()
    {
        info!(node = node.metadata.name, "deleted node");
        let now = ctx.clock.now();
        ctx.metrics.lifecycle.node_terminated(node, now);
    }
    Ok(())
}

fn tell_waiting(ctx: &Ctx, node: &Node, waiting: usize, turn: &[PodKey]) {
    let never = hindered(ctx, node, turn);
    let text = format!("Failed to drain node, {waiting} pods are waiting to be evicted{never}");
    let name = node.metadata.name.clone().unwrap_or_default();
    ctx.events
        .publish(Event::warning(node, "FailedDraining", text).same([name]));
}

/// When something may have changed that no watch tells of.
fn next_look(pods: &[DrainPod], now: Timestamp) -> Timestamp {
    let latest = now.checked_add(DRAIN_PAUSE).unwrap_or(now);
    let stuck = pods
        .iter()
        .filter_map(DrainPod::stuck_from)
        .filter(|from| *from >= now);
    // A second later, since a pod is stuck only *after* that instant.
    let looks = stuck.filter_map(|from| from.checked_add(SignedDuration::from_secs(1)).ok());
    looks.fold(latest, Ord::min)
}

/// Whether the node is one of ours: it carries the label of a kind of node class that we serve.
fn is_managed(ctx: &Ctx, node: &Node) -> bool {
    let kinds: BTreeSet<String> = ctx
        .cloud
        .node_class_kinds()
        .iter()
        .map(NodeClassKind::label_key)
        .collect();
    node.metadata
        .labels
        .iter()
        .flatten()
        .any(|(key, _)| kinds.contains(key))
}
