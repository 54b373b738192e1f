//! What a command does to nodes and claims: taint and condition, their undoing, and the deletion.

use std::sync::Arc;

use karpenter_api::{
    NodeClaim, conditions, labels,
    objects::{Node, Pod},
};
use karpenter_plan::disrupt::{Command, Failure, Method, Target};
use kube::{Api, api::ListParams};
use serde_json::json;
use tracing::{debug, warn};

use super::{pair::Pair, tell};
use crate::{ctx::Ctx, effect, metrics::lower};

/// Taints the nodes and says why on their claims. A pure deletion goes on without the nodes that
/// could not be tainted; with replacements it is all or nothing. False if somebody else wrote first.
pub(super) async fn taint(ctx: &Arc<Ctx>, command: &mut Command, targets: &[Target]) -> bool {
    let reason = command.method.reason().as_str();
    let mut failed = Vec::new();
    let mut cause = String::new();
    for target in targets {
        match taint_one(ctx, target, reason).await {
            Ok(()) => {}
            Err(error) if error.is_conflict() => return false,
            Err(error) => {
                cause = error.to_string();
                failed.push(target.clone());
            }
        }
    }
    if failed.is_empty() {
        return true;
    }
    if command.replacements.is_empty() && failed.len() < command.nodes.len() {
        command.nodes.retain(|target| !failed.contains(target));
    } else {
        command.failure = Some(Failure::Start(cause));
    }
    true
}

async fn taint_one(ctx: &Ctx, target: &Target, reason: &str) -> Result<(), effect::Error> {
    if let Some(node) = ctx.mirror.named::<Node>(&target.node) {
        effect::taint(ctx, &node, &labels::taints::disrupted()).await?;
    }
    let Some(claim) = claim_of(ctx, target) else {
        return Ok(());
    };
    let mut updated = conditions_of(&claim);
    let generation = claim.metadata.generation.unwrap_or_default();
    let now = ctx.clock.now();
    let is_new = conditions::set_true(
        &mut updated,
        conditions::DISRUPTION_REASON,
        reason,
        reason,
        now,
        generation,
    );
    if !is_new {
        return Ok(());
    }
    match effect::patch_status(ctx, &*claim, json!({ "conditions": updated })).await {
        // Gone is as good as told.
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(|_| ()),
    }
}

/// What becomes of the condition `DisruptionReason` of a node that stays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trace {
    /// It stays as it is.
    Keep,
    /// It goes.
    Clear,
    /// It says that no replacement could be had, which the core remembers for a while.
    NoReplacement,
}

/// Takes back taint and condition. A conflict is left to the next look.
pub(super) async fn untaint(ctx: &Ctx, target: &Target, taint: bool, trace: Trace) {
    if taint
        && let Some(node) = ctx.mirror.named::<Node>(&target.node)
        && node.metadata.deletion_timestamp.is_none()
        && let Err(error) = effect::untaint(ctx, &node, &labels::taints::disrupted()).await
    {
        debug!(node = &*target.node, %error, "taint stays for now");
    }
    let Some(claim) = claim_of(ctx, target) else {
        return;
    };
    let mut updated = conditions_of(&claim);
    let kind = conditions::DISRUPTION_REASON;
    let is_changed = match trace {
        Trace::Keep => false,
        Trace::Clear => conditions::clear(&mut updated, kind),
        Trace::NoReplacement => {
            let generation = claim.metadata.generation.unwrap_or_default();
            let (reason, message) = ("NoReplacement", "No replacement could be had");
            let now = ctx.clock.now();
            conditions::set_false(&mut updated, kind, reason, message, now, generation)
        }
    };
    if is_changed
        && let Err(error) =
            effect::patch_status(ctx, &*claim, json!({ "conditions": updated })).await
    {
        debug!(node_claim = &*target.claim, %error, "condition stays for now");
    }
}

/// The claim that a command means, if that very object is still there.
fn claim_of(ctx: &Ctx, target: &Target) -> Option<Arc<NodeClaim>> {
    ctx.mirror
        .named::<NodeClaim>(&target.claim)
        .filter(|claim| claim.metadata.uid.as_deref() == Some(&*target.uid))
}

fn conditions_of(claim: &NodeClaim) -> Vec<karpenter_api::Condition> {
    claim
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default()
}

/// Deletes the claims. False if one of them has to be looked at again.
pub(super) async fn delete(ctx: &Arc<Ctx>, command: &mut Command, targets: &[Target]) -> bool {
    let mut all = true;
    for target in targets {
        let Some(claim) = claim_of(ctx, target) else {
            continue;
        };
        match is_needed(ctx, command.method, target).await {
            Ok(None) => {}
            Ok(Some(pod)) => {
                let cause = format!("pod {pod} was bound to {} meanwhile", target.node);
                command.failure = Some(Failure::Start(cause));
                return true;
            }
            Err(error) => {
                warn!(node = &*target.node, %error, "the node's pods cannot be listed");
                all = false;
                continue;
            }
        }
        let reason = command.method.reason();
        // Once it is deleted, the mirror may know it no longer.
        let pair = Pair::of_target(ctx, target);
        match effect::delete(ctx, &*claim).await {
            Ok(()) => {
                let label = lower(reason);
                ctx.metrics.claim_disrupted(&claim, &label);
                tell::terminating(ctx, &pair, reason);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                debug!(node_claim = &*target.claim, %error, "deletion is tried again");
                all = false;
            }
        }
    }
    all
}

/// Deleting is irrevocable: the node is tainted by now, so what is bound to it is listed once more
/// from the server. A pod that needs the node after all stops a command that rests on emptiness.
async fn is_needed(
    ctx: &Ctx,
    method: Method,
    target: &Target,
) -> Result<Option<String>, kube::Error> {
    if method != Method::Emptiness {
        return Ok(None);
    }
    let pods: Api<Pod> = Api::all(ctx.client.clone());
    let selector = ListParams::default().fields(&format!("spec.nodeName={}", target.node));
    let known = ctx.mirror.snapshot(ctx.clock.now());
    for pod in pods.list(&selector).await?.items {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        // What the mirror knows was judged by the core; only news stops the deletion.
        let is_known = known.pod_named(&namespace, &name).is_some_and(|id| {
            Some(&*known.pods[id].uid) == pod.metadata.uid.as_deref()
                && known.pods[id].node.as_deref() == Some(&*target.node)
        });
        let is_daemon = pod
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.kind == "DaemonSet" || owner.kind == "Node");
        let is_over = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
            || pod.metadata.deletion_timestamp.is_some();
        if !is_known && !is_daemon && !is_over {
            return Ok(Some(format!("{namespace}/{name}")));
        }
    }
    Ok(None)
}
