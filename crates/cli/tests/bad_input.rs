//! Bad input to the commands: what is malformed is named with its object and field, and the rest is placed.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// A pod that would have a place, changed at a JSON pointer.
fn bad(pointer: &str, value: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad", "namespace": "default"},
        "spec": {"containers": [{
            "name": "main", "image": "i", "resources": {"requests": {"cpu": "3"}},
        }]},
    });
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = pod.pointer_mut(parent).unwrap();
    parent[last] = value;
    pod
}

/// The example and a bad pod: what the command says of it, on either stream.
#[track_caller]
fn check(bad: &Value, expected: &[&str]) {
    let mut items = vec![bad.clone()];
    let example = include_str!("../../../examples/inflate.yaml");
    for document in example.split("\n---\n") {
        items.push(serde_saphyr::from_str(document).unwrap());
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let mut child = Command::new(env!("CARGO_BIN_EXE_karpenter"))
        .args(["plan", "-f", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(list.to_string().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = format!(
        "{complaints}{}{}",
        answer["unschedulable"], answer["ignored"]
    );
    for expected in expected {
        assert!(told.contains(expected), "no {expected:?} in {told}");
    }
    let unplaced = answer["summary"]["unschedulable"].as_u64().unwrap();
    assert!(unplaced <= 1, "{told}");
    let placed = answer["summary"]["scheduled"].as_u64().unwrap();
    assert_eq!(placed, PLACED, "{told}");
}

/// The replicas of the example's Deployment.
const PLACED: u64 = 5;

#[test]
fn amounts() {
    let cpu = "/spec/containers/0/resources/requests/cpu";
    check(
        &bad(cpu, json!("lots")),
        &["spec.containers[0].resources.requests", "lots"],
    );
    check(
        &bad(cpu, json!("-1")),
        &["spec.containers[0].resources.requests[cpu]", "-1"],
    );
    check(
        &bad(cpu, json!("9223372036854775807")),
        &["default/bad", "resources"],
    );
    check(&bad(cpu, json!("1e40")), &["bad", "cpu"]);
}

#[test]
fn selectors() {
    let spread = |selector: Value| {
        let rule = json!([{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector,
        }]);
        bad("/spec/topologySpreadConstraints", rule)
    };
    let near = json!({"matchExpressions": [{"key": "app", "operator": "Near", "values": ["a"]}]});
    let rule = "topology spread over topology.kubernetes.io/zone";
    check(
        &spread(near),
        &["default/bad", rule, "unknown operator Near"],
    );
    let bare = json!({"matchExpressions": [{"key": "app", "operator": "In"}]});
    check(
        &spread(bare),
        &["default/bad", rule, "In of label app needs values"],
    );
}

#[test]
fn rules() {
    let rule = json!([{
        "maxSkew": 0, "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {},
    }]);
    check(
        &bad("/spec/topologySpreadConstraints", rule),
        &["spec.topologySpreadConstraints[0].maxSkew"],
    );
    let rule = json!([{
        "maxSkew": 1, "topologyKey": "example.com/rack",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {},
    }]);
    check(
        &bad("/spec/topologySpreadConstraints", rule),
        &["default/bad", "example.com/rack"],
    );
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [
            {"key": "topology.kubernetes.io/zone", "operator": "Near", "values": ["a"]},
        ]}],
    }}});
    check(
        &bad("/spec/affinity", affinity),
        &["nodeSelectorTerms[0].matchExpressions[0].operator", "Near"],
    );
    let mut torn = bad(
        "/spec/nodeSelector",
        json!({"topology.kubernetes.io/zone": "test-zone-a"}),
    );
    torn["spec"]["affinity"] = json!({"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["test-zone-b"]},
        ]}]},
    }});
    check(
        &torn,
        &[
            "default/bad",
            "label topology.kubernetes.io/zone excludes itself",
        ],
    );
}

#[test]
fn volumes() {
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "missing"}}]);
    check(
        &bad("/spec/volumes", volumes),
        &["default/bad", "PersistentVolumeClaim=missing"],
    );
}
