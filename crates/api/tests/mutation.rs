//! Nothing panics: objects with anything anywhere decode or are refused, and what decodes can be hashed,
//! validated and written again.
#![allow(clippy::unwrap_used)]

use karpenter_api::labels::WellKnown;
use karpenter_api::objects::{Node, Pod};
use karpenter_api::{KWOKNodeClass, NodeClaim, NodePool, nodepool_hash, validation};
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "../src/cases.rs"]
mod cases;

fn examples() -> [Value; 5] {
    let template = json!({
        "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
        "requirements": [
            {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"], "minValues": 1},
        ],
        "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}],
        "expireAfter": "720h",
        "terminationGracePeriod": "48h",
    });
    [
        json!({
            "metadata": {"name": "default", "labels": {"a": "b"}},
            "spec": {
                "template": {"metadata": {"labels": {"team": "a"}}, "spec": template},
                "disruption": {
                    "consolidateAfter": "30s",
                    "budgets": [{"nodes": "10%", "schedule": "@daily", "duration": "1h"}],
                },
                "limits": {"cpu": "100", "memory": "1.5Ti"},
                "weight": 10,
            },
        }),
        json!({
            "metadata": {"name": "default-1"},
            "spec": template,
            "status": {"capacity": {"cpu": "4"}, "conditions": [{
                "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                "lastTransitionTime": "2024-01-01T01:01:01Z",
            }]},
        }),
        json!({"metadata": {"name": "default"}, "spec": {"nodeRegistrationDelay": "1m"}}),
        json!({
            "metadata": {"name": "web"},
            "spec": {
                "containers": [{"name": "web", "resources": {"requests": {"cpu": "500m"}}}],
                "tolerations": [{"key": "a", "operator": "Exists"}],
            },
            "status": {"phase": "Pending"},
        }),
        json!({
            "metadata": {"name": "n"},
            "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "3920m", "memory": "1Gi"}},
        }),
    ]
}

/// Does everything that this crate can do to an object.
fn exercise(object: &[u8]) {
    if let Ok(pool) = serde_json::from_slice::<NodePool>(object) {
        let _ = nodepool_hash(&pool);
        let _ = validation::nodepool(&pool, &WellKnown::aws());
        let _ = serde_json::to_string(&pool).unwrap();
    }
    if let Ok(claim) = serde_json::from_slice::<NodeClaim>(object) {
        let _ = serde_json::to_string(&claim).unwrap();
    }
    if let Ok(class) = serde_json::from_slice::<KWOKNodeClass>(object) {
        let _ = serde_json::to_string(&class).unwrap();
    }
    if let Ok(pod) = serde_json::from_slice::<Pod>(object) {
        let _ = serde_json::to_string(&pod).unwrap();
    }
    if let Ok(node) = serde_json::from_slice::<Node>(object) {
        let _ = serde_json::to_string(&node).unwrap();
    }
}

/// The number of places in a value where something else could be.
fn places(value: &Value) -> usize {
    1 + match value {
        Value::Object(fields) => fields.values().map(places).sum(),
        Value::Array(items) => items.iter().map(places).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Puts a value at the numbered place.
fn put(target: &mut Value, place: &mut usize, replacement: &Value) {
    if *place == 0 {
        *target = replacement.clone();
        *place = usize::MAX;
        return;
    }
    *place = place.saturating_sub(1);
    let children: Vec<&mut Value> = match target {
        Value::Object(fields) => fields.values_mut().collect(),
        Value::Array(items) => items.iter_mut().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
    };
    for child in children {
        if *place == usize::MAX {
            return;
        }
        put(child, place, replacement);
    }
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "[+-]?[0-9]{1,40}\\.?[0-9]{0,40}([KMGTPE]i?|[numk]|[eE]-?[0-9]{1,9})?"
            .prop_map(Value::from),
        "([0-9]{1,25}(ns|us|ms|s|m|h)){1,3}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, {}, "a"])),
    ]
}

proptest! {
    #![proptest_config(cases::cases(2000))]

    #[test]
    fn anything_anywhere(
        which in 0usize..5,
        place in any::<prop::sample::Index>(),
        replacement in anything(),
    ) {
        let mut object = examples()[which].clone();
        let mut place = place.index(places(&object));
        put(&mut object, &mut place, &replacement);
        prop_assert_eq!(place, usize::MAX, "something was put somewhere");
        exercise(object.to_string().as_bytes());
    }

    #[test]
    fn broken_bytes(
        which in 0usize..5,
        place in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..4),
        removed in 0usize..8,
    ) {
        let mut object = examples()[which].to_string().into_bytes();
        let start = place.index(object.len());
        let end = (start + removed).min(object.len());
        object.splice(start..end, bytes);
        exercise(&object);
    }
}

#[test]
fn the_examples_decode() {
    let [pool, claim, class, pod, node] = examples();
    serde_json::from_value::<NodePool>(pool).unwrap();
    serde_json::from_value::<NodeClaim>(claim).unwrap();
    serde_json::from_value::<KWOKNodeClass>(class).unwrap();
    serde_json::from_value::<Pod>(pod).unwrap();
    serde_json::from_value::<Node>(node).unwrap();
}
