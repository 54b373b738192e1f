//! What keeps a registered node from counting as ready for pods.
//!
//! Pure. The checks go in a fixed order and the first that fails is reported. There is no time limit: a
//! node that never passes lives until it expires, is repaired, or is deleted.

use karpenter_api::{Quantity, Taint, labels::taints, nodeclaim::NodeClaim, objects::Node};

/// Why a node is not initialised yet: reason and message of the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// One word for programs.
    pub(crate) reason: &'static str,
    /// A sentence for people.
    pub(crate) message: String,
}

/// The message about a claim that has no node.
pub(crate) const NODE_NOT_FOUND: &str = "Node not registered with cluster";

/// The first thing that keeps the claim's node from being initialised. `node` is absent unless there
/// is exactly one.
pub(crate) fn obstacle(claim: &NodeClaim, node: Option<&Node>) -> Option<Obstacle> {
    let found = |reason, message: String| Some(Obstacle { reason, message });
    let Some(node) = node else {
        return found("NodeNotFound", NODE_NOT_FOUND.to_owned());
    };
    if !node.is_ready() {
        return found("NodeNotReady", "Node status is NotReady".to_owned());
    }
    let startup = claim.spec.startup_taints.iter().flatten();
    for taint in startup {
        if node
            .spec
            .taints
            .iter()
            .any(|present| present.matches(taint))
        {
            let message = format!("StartupTaint \"{}\" still exists", written(taint));
            return found("StartupTaintsExist", message);
        }
    }
    for taint in &node.spec.taints {
        if taints::is_known_ephemeral(&taint.key, &taint.effect) {
            let message = format!("KnownEphemeralTaint \"{}\" still exists", written(taint));
            return found("KnownEphemeralTaintsExist", message);
        }
    }
    // Presence counts, not the amount: a device plugin that has not registered reports nothing.
    let zero = Quantity::from(0);
    let requested = claim
        .spec
        .resources
        .iter()
        .filter_map(|resources| resources.requests.as_ref());
    for (name, amount) in requested.flatten() {
        let reported = node
            .status
            .allocatable
            .as_ref()
            .and_then(|all| all.get(name));
        if *amount != zero && reported.is_none_or(|reported| *reported == zero) {
            let message = format!("Resource \"{name}\" was requested but not registered");
            return found("ResourceNotRegistered", message);
        }
    }
    None
}

/// A taint as `kubectl` writes it.
fn written(taint: &Taint) -> String {
    match taint.value.as_deref() {
        None | Some("") => format!("{}:{}", taint.key, taint.effect),
        Some(value) => format!("{}={value}:{}", taint.key, taint.effect),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A claim that asks for a processor and a GPU and starts with one taint.
    fn claim() -> NodeClaim {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {"name": "a"},
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
                "startupTaints": [{"key": "boot", "value": "x", "effect": "NoExecute"}],
                "resources": {"requests": {"cpu": "1", "example.com/gpu": "1", "none": "0"}},
            },
        }))
        .unwrap()
    }

    fn node(ready: &str, taints: &Value, allocatable: &Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "a"},
            "spec": {"taints": taints},
            "status": {
                "allocatable": allocatable,
                "conditions": [{"type": "Ready", "status": ready}],
            },
        }))
        .unwrap()
    }

    /// `expected` is reason and message, or empty.
    fn check(row: &str, node: Option<&Node>, expected: &str) {
        let found = obstacle(&claim(), node)
            .map(|obstacle| format!("{}: {}", obstacle.reason, obstacle.message));
        assert_eq!(found.unwrap_or_default(), expected, "{row}");
    }

    #[test]
    fn obstacles() {
        let all = json!({"cpu": "4", "example.com/gpu": "2"});
        check(
            "no node",
            None,
            "NodeNotFound: Node not registered with cluster",
        );
        check("lifecycle/I1", Some(&node("True", &json!([]), &all)), "");
        let not_ready = node("False", &json!([]), &all);
        check(
            "lifecycle/I3",
            Some(&not_ready),
            "NodeNotReady: Node status is NotReady",
        );
        for allocatable in [
            json!({"cpu": "4"}),
            json!({"cpu": "4", "example.com/gpu": "0"}),
        ] {
            check(
                "lifecycle/I4",
                Some(&node("True", &json!([]), &allocatable)),
                "ResourceNotRegistered: Resource \"example.com/gpu\" was requested but not \
                 registered",
            );
        }
        let boot = json!([{"key": "boot", "value": "y", "effect": "NoExecute"}]);
        check(
            "lifecycle/I5",
            Some(&node("True", &boot, &all)),
            "StartupTaintsExist: StartupTaint \"boot=x:NoExecute\" still exists",
        );
        for (row, key, effect) in [
            ("lifecycle/I6", "node.kubernetes.io/not-ready", "NoSchedule"),
            ("lifecycle/I6", "node.kubernetes.io/not-ready", "NoExecute"),
            (
                "lifecycle/I6",
                "node.kubernetes.io/unreachable",
                "NoSchedule",
            ),
            (
                "lifecycle/I6",
                "node.cloudprovider.kubernetes.io/uninitialized",
                "NoSchedule",
            ),
            ("lifecycle/I7", "readiness.k8s.io/x", "NoSchedule"),
        ] {
            let taints = json!([{"key": key, "effect": effect}]);
            check(
                row,
                Some(&node("True", &taints, &all)),
                &format!(
                    "KnownEphemeralTaintsExist: KnownEphemeralTaint \"{key}:{effect}\" still exists"
                ),
            );
        }
        let own = json!([{"key": "team", "effect": "NoSchedule"}]);
        check("a taint of its own", Some(&node("True", &own, &all)), "");
    }
}
