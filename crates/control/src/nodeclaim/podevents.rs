//! Which pod changes count as an event on a node, and when one is written down.
//!
//! [`event_node`] and [`is_recorded`] are pure. The time of the last event is what `consolidateAfter`
//! counts from: a node on which pods come and go is left alone. DaemonSet pods do not count, since
//! they come with the node.
//!
//! Pods that are there when the process starts are no events: upstream counts them, which puts off
//! consolidation of every node after each restart.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{
    nodeclaim::NodeClaim,
    objects::{Node, Pod},
};
use serde_json::json;

use super::write;
use crate::{
    Task,
    ctx::Ctx,
    effect,
    mirror::PodEntry,
    queue::{self, Failure, Next, Policy, Queue},
    upkeep::listed,
};

/// Events closer together than this are one event: a node that fills up with a hundred pods writes
/// its claim once, not a hundred times.
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_secs(10);

/// What pod events turn on, of one pod at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    uid: String,
    node: Option<String>,
    terminating: bool,
    terminal: bool,
    daemon: bool,
}

impl Trace {
    /// Reads what is kept of a pod.
    fn of(pod: &PodEntry) -> Self {
        Self {
            uid: pod.uid().to_owned(),
            node: pod.node().map(str::to_owned),
            terminating: pod.deleting,
            terminal: pod.terminal,
            daemon: pod.daemon,
        }
    }
}

/// The node on which a change of a pod is an event: the pod was bound, began to terminate, ran to its
/// end, or vanished. `None` on either side is a pod that is not there.
pub(crate) fn event_node(before: Option<&Trace>, after: Option<&Trace>) -> Option<String> {
    let (pod, counts) = match (before, after) {
        (Some(before), Some(after)) if before.uid == after.uid => {
            let bound = before.node.is_none();
            let terminating = !before.terminating && after.terminating;
            let terminal = !before.terminal && after.terminal;
            (after, bound || terminating || terminal)
        }
        (_, Some(after)) => (after, true),
        (Some(before), None) => (before, true),
        (None, None) => return None,
    };
    pod.node.clone().filter(|_| counts && !pod.daemon)
}

/// Whether an event now is written down, given the last one that was.
pub(crate) fn is_recorded(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= WINDOW)
}

/// The controller, subscribed to pods.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    // Nodes with an event that is not written yet, and when it was.
    let pending: Arc<Mutex<BTreeMap<String, Timestamp>>> = Arc::default();
    let queue: Queue<String> = Queue::new();
    {
        let (queue, pending, clock) = (queue.clone(), Arc::clone(&pending), ctx.clock);
        let mirror = Arc::downgrade(&ctx.mirror);
        ctx.mirror.subscribe::<Pod>(move |change| {
            let before = change.old.as_deref().map(Trace::of);
            let after = change.new.as_deref().map(Trace::of);
            let Some(node) = event_node(before.as_ref(), after.as_ref()) else {
                return;
            };
            if mirror.upgrade().is_some_and(|mirror| mirror.is_listed()) {
                let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
                pending.insert(node.clone(), clock.now());
                queue.add(node);
            }
        });
    }
    let ctx = Arc::clone(ctx);
    vec![Box::pin(async move {
        listed(&ctx).await;
        queue::run(
            "nodeclaim.podevents",
            Policy::DEFAULT,
            Arc::clone(&ctx.metrics),
            queue,
            |node| {
                let (ctx, pending) = (Arc::clone(&ctx), Arc::clone(&pending));
                async move { reconcile(&ctx, &pending, &node).await }
            },
        )
        .await;
    })]
}

async fn reconcile(
    ctx: &Ctx,
    pending: &Mutex<BTreeMap<String, Timestamp>>,
    node: &str,
) -> Result<Next, Failure> {
    let read = || {
        pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(node)
            .copied()
    };
    let Some(event) = read() else {
        return Ok(Next::Wait);
    };
    if let Some(claim) = claim_on(ctx, node) {
        let last = claim
            .status
            .as_ref()
            .and_then(|status| status.last_pod_event_time.as_ref());
        if is_recorded(last.map(|last| last.0), event) {
            let second = Timestamp::from_second(event.as_second()).unwrap_or(event);
            let patch = json!({"lastPodEventTime": second});
            match effect::patch_status(ctx, &*claim, patch).await {
                Err(error) if !error.is_not_found() => return write::again(error),
                Ok(_) | Err(_) => {}
            }
        }
    }
    let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
    if pending.get(node) == Some(&event) {
        pending.remove(node);
    }
    Ok(Next::Wait)
}

/// The managed claim that a node belongs to; none if that is not clear.
fn claim_on(ctx: &Ctx, node: &str) -> Option<Arc<NodeClaim>> {
    let node = ctx.mirror.named::<Node>(node)?;
    let claims = ctx
        .mirror
        .claims_with_provider_id(node.spec.provider_id.as_deref()?);
    let [claim] = claims.as_slice() else {
        return None;
    };
    let class = &claim.spec.node_class_ref;
    ctx.cloud
        .manages(&class.group, &class.kind)
        .then(|| Arc::clone(claim))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pod in short: `-` for none, `u` unbound, `b` bound, `t` terminating, `f` finished.
    fn trace(state: &str, daemon: bool) -> Option<Trace> {
        (state != "-").then(|| Trace {
            uid: "1".to_owned(),
            node: (state != "u").then(|| "node".to_owned()),
            terminating: state == "t",
            terminal: state == "f",
            daemon,
        })
    }

    fn check(before: &str, after: &str, daemon: bool, counts: bool) {
        let (old, new) = (trace(before, daemon), trace(after, daemon));
        let found = event_node(old.as_ref(), new.as_ref());
        assert_eq!(
            found.is_some(),
            counts,
            "daemon {daemon}: {before} to {after}"
        );
    }

    #[test]
    fn changes_that_count() {
        for (before, after, counts) in [
            ("-", "u", false),
            ("-", "b", true),
            ("u", "b", true),
            ("b", "b", false),
            ("b", "t", true),
            ("b", "f", true),
            ("t", "t", false),
            ("t", "-", true),
            ("b", "-", true),
            ("u", "-", false),
            ("f", "-", true),
        ] {
            check(before, after, false, counts);
            check(before, after, true, false);
        }
    }

    fn check_window(row: &str, last: Option<&str>, recorded: bool) {
        let now: Timestamp = "2026-01-01T00:00:15Z".parse().unwrap();
        let last = last.map(|last| last.parse().unwrap());
        assert_eq!(is_recorded(last, now), recorded, "{row}");
    }

    #[test]
    fn events_within_ten_seconds_are_one() {
        check_window("lifecycle/X11", None, true);
        check_window("lifecycle/X12", Some("2026-01-01T00:00:10Z"), false);
        check_window("lifecycle/X12", Some("2026-01-01T00:00:00Z"), true);
    }
}
