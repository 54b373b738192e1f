//! What the benches build their worlds of.

use karpenter_api::{NodePool, Requirement, objects};
use karpenter_plan::{Lowering, WellKnown};
use serde_json::{Value, json};

/// The label of the zone.
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

/// A requirement that one of the values is present.
pub(crate) fn entry(key: &str, values: &[&str]) -> Requirement {
    Requirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
        min_values: None,
    }
}

/// A NodePool `default` that is ready, with the requirements given as JSON.
pub(crate) fn pool(requirements: &Value) -> NodePool {
    serde_json::from_value(json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
        "metadata": {"name": "default", "uid": "default"},
        "spec": {"template": {"spec": {
            "nodeClassRef": {"group": "g", "kind": "K", "name": "default"},
            "requirements": requirements,
        }}},
        "status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]},
    }))
    .unwrap()
}

/// A pod of that spec that waits for a place.
pub(crate) fn pending(name: &str, labels: &Value, spec: &Value) -> objects::Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": labels},
        "spec": spec,
        "status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"},
        ]},
    }))
    .unwrap()
}

/// A vocabulary that knows the node class of [`pool`] and further labels.
pub(crate) fn lowering(labels: &[&str]) -> Lowering {
    Lowering::new(&WellKnown {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        node_classes: vec![("g".to_owned(), "K".to_owned())],
        ..WellKnown::default()
    })
}
