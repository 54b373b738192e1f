//! What is told about a round: where pods are expected, and why the rest has no place.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use karpenter_api::NodePool;
use karpenter_plan::{
    NodeId, PodId, Snapshot,
    schedule::{Plan, Report},
};
use tracing::{error, info};

use super::{Answer, Refusal};
use crate::{
    ctx::Ctx,
    decision::Decision,
    events::{Event, Severity},
    mirror::Key,
    nodepool::{NO_COMPATIBLE_INSTANCE_TYPES, no_types_message},
    status::Refused,
};

const UNSCHEDULABLE_WINDOW: Duration = Duration::from_mins(5);
const NO_TYPES_WINDOW: Duration = Duration::from_mins(1);

/// Keeps places that exist for the pods that were put there, and tells about it. True if each of them
/// is a claim that is still to become a node: there pods are expected until it has, as they are on
/// the claims of this round; an ordinary node is kept for a while only.
pub(super) fn nominate(ctx: &Ctx, snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> bool {
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

pub(super) fn place(ctx: &Ctx, snapshot: &Snapshot, pod: PodId, target: &Arc<str>) {
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
pub(super) fn report(ctx: &Ctx, snapshot: &Snapshot, answer: &Answer) {
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
