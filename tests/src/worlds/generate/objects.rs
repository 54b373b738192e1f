//! Pools, nodes, DaemonSets and volumes of a world.

use serde_json::{Value, json};

use super::{HOST, ZONE, ZONES};
use crate::worlds::random::Random;

pub(super) fn pool(random: &mut Random, index: usize) -> Value {
    let mut requirements = vec![
        json!({"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}),
        json!({"key": "karpenter.kwok.sh/instance-cpu", "operator": "Lt", "values": ["17"]}),
    ];
    if random.chance(30) {
        let zones: Vec<&str> = ZONES.into_iter().filter(|_| random.chance(60)).collect();
        if !zones.is_empty() {
            requirements.push(json!({"key": ZONE, "operator": "In", "values": zones}));
        }
    }
    let mut spec = json!({
        "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
        "requirements": requirements,
    });
    if random.chance(25) {
        spec["taints"] = json!([{"key": "special", "value": "yes", "effect": "NoSchedule"}]);
    }
    let mut template = json!({"spec": spec});
    if random.chance(40) {
        template["metadata"] =
            json!({"labels": {"example.com/team": random.pick(&["red", "blue"])}});
    }
    json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
        "metadata": {"name": format!("pool-{index}"), "uid": format!("pool-{index}"), "generation": 1},
        "spec": {"weight": 1 + random.below(3), "template": template, "disruption": {}},
        "status": {"conditions": [{
            "type": "Ready", "status": "True", "reason": "Ready", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    })
}

pub(super) fn node(random: &mut Random, seed: u64, index: usize) -> Value {
    let name = format!("old-{seed}-{index}");
    let amounts = json!({"cpu": random.pick(&["2", "4", "8"]), "memory": "32Gi", "pods": "20"});
    let mut labels = json!({
        HOST: name, ZONE: random.pick(&ZONES),
        "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
    });
    if random.chance(30) {
        labels["example.com/team"] = json!(random.pick(&["red", "blue"]));
    }
    let taints = if random.chance(20) {
        json!([{"key": "special", "value": "yes", "effect": "NoSchedule"}])
    } else {
        json!([])
    };
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": name, "labels": labels},
        "spec": {"providerID": format!("test://{name}"), "taints": taints},
        "status": {
            "capacity": amounts, "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// A DaemonSet: some run everywhere, some in one zone, some not on tainted nodes.
pub(super) fn daemon(random: &mut Random, namespace: &str, index: usize) -> Value {
    let name = format!("daemon-{index}");
    let labels = json!({"daemon": name});
    let mut spec = json!({"containers": [{
        "name": "main", "image": "example.org/main",
        "resources": {"requests": {
            "cpu": random.pick(&["50m", "200m", "700m"]),
            "memory": random.pick(&["32Mi", "500Mi"]),
        }},
    }]});
    if random.chance(50) {
        spec["tolerations"] = json!([{"key": "special", "operator": "Exists"}]);
    }
    if random.chance(25) {
        spec["nodeSelector"] = json!({ZONE: random.pick(&ZONES)});
    }
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": namespace, "uid": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}

/// The pod of a DaemonSet on a node, if it wants one there: read as its controller would.
pub(in crate::worlds) fn daemon_pod(daemon: &Value, node: &Value) -> Option<Value> {
    let template = &daemon["spec"]["template"];
    let is_tolerated = template["spec"]["tolerations"].is_array()
        || node["spec"]["taints"] == json!([])
        || node["spec"]["taints"].is_null();
    let wanted = template["spec"]["nodeSelector"].as_object();
    let is_wanted = wanted
        .into_iter()
        .flatten()
        .all(|(key, value)| node["metadata"]["labels"][key] == *value);
    if !is_tolerated || !is_wanted {
        return None;
    }
    let node = node["metadata"]["name"].as_str()?;
    let name = format!("{}-{node}", daemon["metadata"]["name"].as_str()?);
    let mut spec = template["spec"].clone();
    spec["nodeName"] = json!(node);
    Some(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": daemon["metadata"]["namespace"], "uid": name,
            "labels": template["metadata"]["labels"], "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [owner(daemon)],
        },
        "spec": spec,
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }))
}

/// How an object names its controller.
pub(super) fn owner(of: &Value) -> Value {
    json!({
        "apiVersion": of["apiVersion"], "kind": of["kind"], "name": of["metadata"]["name"],
        "uid": of["metadata"]["uid"], "controller": true,
    })
}

/// A claim and its volume, which is in some zone.
pub(super) fn volume(random: &mut Random, namespace: &str, name: &str) -> [Value; 2] {
    let volume = format!("{namespace}-{name}");
    [
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "csi": {"driver": "disks.example", "volumeHandle": volume},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{
                    "key": ZONE, "operator": "In", "values": [random.pick(&ZONES)],
                }]}]}},
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name, "namespace": namespace,
                "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
            },
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": volume,
                "resources": {"requests": {"storage": "1Gi"}},
            },
            "status": {"phase": "Bound"},
        }),
    ]
}
