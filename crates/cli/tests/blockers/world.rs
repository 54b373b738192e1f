//! The worlds of the blockers, read from YAML in which only what matters is written.

use serde_json::{Value, json};

/// Six instance types: amd64 in zones a and b, spot in a only, `arm` in zone c.
pub(crate) const TYPES: &str = include_str!("types.json");

const FAMILIES: [&str; 5] = [
    include_str!("resources.yaml"),
    include_str!("requirements.yaml"),
    include_str!("pools.yaml"),
    include_str!("neighbors.yaml"),
    include_str!("volumes.yaml"),
];

/// A pod `p` without a place.
pub(crate) struct Blocker {
    pub(crate) name: String,
    /// How the true cause begins.
    pub(crate) cause: String,
    /// Everything in the cluster, the pod last.
    pub(crate) objects: Vec<Value>,
    /// Whether upstream tells about it at all.
    pub(crate) has_event: bool,
}

pub(crate) fn blockers() -> Vec<Blocker> {
    let families = FAMILIES.iter().map(|text| {
        let family: Vec<Value> = serde_saphyr::from_str(text).unwrap();
        family
    });
    families.flatten().map(|entry| blocker(&entry)).collect()
}

fn blocker(entry: &Value) -> Blocker {
    let text = |field: &str| entry[field].as_str().unwrap().to_owned();
    let mut objects = vec![json!({
        "apiVersion": "karpenter.kwok.sh/v1alpha1", "kind": "KWOKNodeClass",
        "metadata": {"name": "default"},
    })];
    if entry["without"] != "pool" {
        let mut pool = pool("default");
        merge(&mut pool["spec"], &entry["pool"]);
        if let Some(status) = entry["ready"].as_str() {
            pool["status"]["conditions"] = json!([{
                "type": "Ready", "status": status, "reason": "Ready", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]);
        }
        objects.push(pool);
    }
    let more = entry["more"].as_array().into_iter().flatten();
    objects.extend(more.map(written_out));
    objects.push(pod_in_question(entry));
    Blocker {
        name: text("name"),
        cause: text("cause"),
        objects,
        has_event: entry["event"] != false,
    }
}

fn pod_in_question(entry: &Value) -> Value {
    let mut pod = pod("p", &Value::Null);
    merge(&mut pod, &entry["pod"]);
    let spec = &mut pod["spec"];
    if entry["selector"].is_object() {
        spec["nodeSelector"] = entry["selector"].clone();
    }
    if entry["requests"].is_object() {
        spec["containers"][0]["resources"]["requests"] = entry["requests"].clone();
    }
    if entry["limits"].is_object() {
        spec["containers"][0]["resources"]["limits"] = entry["limits"].clone();
    }
    if entry["affinity"].is_array() {
        spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": [{"matchExpressions": entry["affinity"]}]});
    }
    for field in ["claim", "second"] {
        if let Some(claim) = entry[field].as_str() {
            let volume = json!({"name": field, "persistentVolumeClaim": {"claimName": claim}});
            match spec["volumes"].as_array_mut() {
                Some(volumes) => volumes.push(volume),
                None => spec["volumes"] = json!([volume]),
            }
        }
    }
    pod
}

fn pool(name: &str) -> Value {
    json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": name},
        "spec": {"template": {"spec": {
            "nodeClassRef": {
                "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
            },
            "requirements": [],
        }}},
    })
}

fn pod(name: &str, app: &Value) -> Value {
    let labels = app.as_str().map_or(json!({}), |app| json!({"app": app}));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"containers": [{
            "name": "main", "image": "i", "resources": {"requests": {"cpu": "100m"}},
        }]},
    })
}

fn term(app: &Value) -> Value {
    json!([{
        "topologyKey": "topology.kubernetes.io/zone",
        "labelSelector": {"matchLabels": {"app": app}},
    }])
}

/// What a line of `more` stands for; what has a version is an object already.
fn written_out(line: &Value) -> Value {
    if line["apiVersion"].is_string() {
        return line.clone();
    }
    let name = line["name"].as_str().unwrap_or("more");
    match line["kind"].as_str().unwrap() {
        "NodePool" => {
            let mut pool = pool(name);
            if line["requirements"].is_array() {
                pool["spec"]["template"]["spec"]["requirements"] = line["requirements"].clone();
            }
            if line["labels"].is_object() {
                pool["spec"]["template"]["metadata"] = json!({"labels": line["labels"]});
            }
            pool
        }
        "Node" => node(name, &line["zone"]),
        "Pod" => {
            let mut pod = pod(name, &line["app"]);
            pod["spec"]["nodeName"] = line["node"].clone();
            if line["apart"].is_string() {
                pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
                    term(&line["apart"]);
            }
            pod["status"] = json!({
                "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            });
            pod
        }
        "Pending" => {
            let mut pod = pod(name, &line["app"]);
            pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("2");
            pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
                term(&line["near"]);
            pod
        }
        "DaemonSet" => daemon(line),
        other => volume(other, name, line),
    }
}

/// A node with room for one processor, which no pool owns.
fn node(name: &str, zone: &Value) -> Value {
    let amounts = json!({"cpu": "1", "memory": "4Gi", "pods": "10"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone,
            "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
        }},
        "spec": {"providerID": format!("test://{name}")},
        "status": {
            "capacity": amounts, "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn daemon(line: &Value) -> Value {
    let port = &line["port"];
    let ports = if port.is_null() {
        json!([])
    } else {
        json!([{"containerPort": port, "hostPort": port}])
    };
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [{
                    "name": "main", "image": "i", "ports": ports,
                    "resources": {"requests": {"cpu": line["cpu"]}},
                }]},
            },
        },
    })
}

fn volume(kind: &str, name: &str, line: &Value) -> Value {
    let zones = json!({"matchLabelExpressions": [
        {"key": "topology.kubernetes.io/zone", "values": [line["zone"]]},
    ]});
    match kind {
        "StorageClass" => {
            let mut class = json!({
                "apiVersion": "storage.k8s.io/v1", "kind": kind, "metadata": {"name": name},
                "provisioner": "disks.example", "volumeBindingMode": line["mode"],
            });
            if line["zone"].is_string() {
                class["allowedTopologies"] = json!([zones]);
            }
            class
        }
        "PersistentVolume" => json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "csi": {"driver": "disks.example", "volumeHandle": name},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{
                    "key": "topology.kubernetes.io/zone", "operator": "In", "values": [line["zone"]],
                }]}]}},
            },
        }),
        "PersistentVolumeClaim" => {
            let mut claim = json!({
                "apiVersion": "v1", "kind": kind,
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                    "storageClassName": line["class"].as_str().unwrap_or_default(),
                },
            });
            if line["volume"].is_string() {
                claim["spec"]["volumeName"] = line["volume"].clone();
                claim["metadata"]["annotations"] =
                    json!({"pv.kubernetes.io/bind-completed": "yes"});
                claim["status"] = json!({"phase": "Bound"});
            }
            claim
        }
        other => panic!("{other} of {name} is not known here"),
    }
}

/// Merges like a merge patch, without removals.
fn merge(target: &mut Value, changes: &Value) {
    match changes {
        Value::Object(changes) => {
            for (key, value) in changes {
                merge(&mut target[key], value);
            }
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            target.clone_from(changes);
        }
    }
}
