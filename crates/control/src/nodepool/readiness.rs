//! Whether a pool's node class can be launched with.
//!
//! Pure, and without knowledge of any provider's kinds: of a node class only its metadata and its
//! `Ready` condition are read.

use karpenter_api::Condition;

/// What is read of a node class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeClass {
    /// Whether it is being deleted.
    pub(crate) deleting: bool,
    /// Its generation.
    pub(crate) generation: i64,
    /// Its `Ready` condition.
    pub(crate) ready: Option<Condition>,
}

/// What the pool's `NodeClassReady` condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It can be launched with.
    Ready,
    /// It cannot, with reason and message.
    NotReady {
        /// One word for programs.
        reason: String,
        /// A sentence for people.
        message: String,
    },
}

/// Judges the node class a pool names; `None` is one that does not exist.
pub(crate) fn judge(class: Option<&NodeClass>) -> Verdict {
    let not_ready = |reason: &str, message: &str| Verdict::NotReady {
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let Some(class) = class else {
        return not_ready("NodeClassNotFound", "NodeClass not found on cluster");
    };
    if class.deleting {
        return not_ready("NodeClassTerminating", "NodeClass is Terminating");
    }
    match &class.ready {
        Some(ready) if ready.is_true() => Verdict::Ready,
        Some(ready) if ready.is_false() => not_ready(&ready.reason, &ready.message),
        // Upstream says False rather than Unknown here: a class that nobody judged is not usable.
        _ => not_ready("NodeClassReadinessUnknown", "Node Class Readiness Unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn class(status: Option<&str>) -> NodeClass {
        let ready = status.map(|status| {
            serde_json::from_value(json!({
                "type": "Ready", "status": status, "reason": "SubnetsNotFound",
                "message": "no subnet", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }))
            .unwrap()
        });
        NodeClass {
            deleting: false,
            generation: 1,
            ready,
        }
    }

    /// `expected` is the reason and the message, or `Ready`.
    fn check(row: &str, class: Option<&NodeClass>, expected: &str) {
        let found = match judge(class) {
            Verdict::Ready => "Ready".to_owned(),
            Verdict::NotReady { reason, message } => format!("{reason}: {message}"),
        };
        assert_eq!(found, expected, "{row}");
    }

    #[test]
    fn verdicts() {
        let deleting = NodeClass {
            deleting: true,
            ..class(Some("True"))
        };
        let unknown = "NodeClassReadinessUnknown: Node Class Readiness Unknown";
        check(
            "lifecycle/P6",
            None,
            "NodeClassNotFound: NodeClass not found on cluster",
        );
        check(
            "lifecycle/P6",
            Some(&class(Some("False"))),
            "SubnetsNotFound: no subnet",
        );
        check(
            "lifecycle/P6",
            Some(&deleting),
            "NodeClassTerminating: NodeClass is Terminating",
        );
        check("lifecycle/P6", Some(&class(None)), unknown);
        check("unknown", Some(&class(Some("Unknown"))), unknown);
        check("ready", Some(&class(Some("True"))), "Ready");
    }
}
