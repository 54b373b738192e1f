//! Which pod changes count as an event on a node, and when one is written down.
//!
//! Pure. The time of the last event is what `consolidateAfter` counts from: a node on which pods
//! come and go is left alone. DaemonSet pods do not count, since they come with the node.

use jiff::{SignedDuration, Timestamp};
use karpenter_api::objects::Pod;

use crate::termination::drain::{is_terminal, owned_by};

/// Events closer together than this are one event: a node that fills up with a hundred pods writes
/// its claim once, not a hundred times.
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_secs(10);

/// What pod events turn on, of one pod at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// The node that the pod is bound to.
    pub(crate) node: String,
    terminating: bool,
    terminal: bool,
    daemon: bool,
}

impl Trace {
    /// Reads a pod; a pod without a node leaves no trace.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let node = pod.spec.node_name.clone().filter(|node| !node.is_empty())?;
        Some(Self {
            node,
            terminating: pod.metadata.deletion_timestamp.is_some(),
            terminal: is_terminal(pod),
            daemon: owned_by(pod, "DaemonSet"),
        })
    }
}

/// The node on which a change of a pod is an event: the pod was bound, began to terminate, ran to its
/// end, or vanished. `None` on either side is a pod that is not there, or not bound.
pub(crate) fn event_node(before: Option<&Trace>, after: Option<&Trace>) -> Option<String> {
    let counted = match (before, after) {
        (None, Some(after)) => after,
        (Some(before), None) => before,
        (Some(before), Some(after))
            if (!before.terminating && after.terminating)
                || (!before.terminal && after.terminal) =>
        {
            after
        }
        _ => return None,
    };
    (!counted.daemon).then(|| counted.node.clone())
}

/// Whether an event now is written down, given the last one that was.
pub(crate) fn is_recorded(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A pod in short: `-` for none, `u` unbound, `b` bound, `t` terminating, `f` finished.
    fn trace(state: &str, owner: &str) -> Option<Trace> {
        let (deletion, phase, node) = match state {
            "-" => return None,
            "u" => (Value::Null, "Pending", Value::Null),
            "b" => (Value::Null, "Running", json!("node")),
            "t" => (json!("2026-01-01T00:00:00Z"), "Running", json!("node")),
            "f" => (Value::Null, "Succeeded", json!("node")),
            other => panic!("no such state: {other}"),
        };
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "deletionTimestamp": deletion, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": owner, "name": "x", "uid": "1"},
            ]},
            "spec": {"nodeName": node},
            "status": {"phase": phase},
        }))
        .unwrap();
        Trace::of(&pod)
    }

    fn check(before: &str, after: &str, owner: &str, counts: bool) {
        let (old, new) = (trace(before, owner), trace(after, owner));
        let found = event_node(old.as_ref(), new.as_ref());
        assert_eq!(found.is_some(), counts, "{owner}: {before} to {after}");
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
            check(before, after, "ReplicaSet", counts);
            check(before, after, "DaemonSet", false);
        }
    }

    #[test]
    fn events_within_ten_seconds_are_one() {
        let now: Timestamp = "2026-01-01T00:00:15Z".parse().unwrap();
        for (row, last, recorded) in [
            ("lifecycle/X11", None, true),
            ("lifecycle/X12", Some("2026-01-01T00:00:10Z"), false),
            ("lifecycle/X12", Some("2026-01-01T00:00:00Z"), true),
        ] {
            let last = last.map(|last| last.parse().unwrap());
            assert_eq!(is_recorded(last, now), recorded, "{row}");
        }
    }
}
