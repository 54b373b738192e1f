//! Columns of built-in kinds.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    age, cells_pod,
    kinds::Kind,
    object::{self, at},
    subresource::selector_text,
    table::Column,
};

const NONE: &str = "<none>";

pub(crate) fn name(value: &Value, _: Timestamp) -> Value {
    json!(object::meta(value, "name").unwrap_or_default())
}

pub(crate) fn age_of(value: &Value, now: Timestamp) -> Value {
    json!(age::since(object::meta(value, "creationTimestamp"), now))
}

/// A scalar at a dotted path, or `<none>`.
fn shown(value: &Value, path: &str) -> Value {
    let parts: Vec<&str> = path.split('.').collect();
    let found = at(value, &parts)
        .and_then(object::scalar)
        .filter(|text| !text.is_empty());
    json!(found.unwrap_or_else(|| NONE.to_owned()))
}

fn number(value: &Value, path: &str) -> i64 {
    let parts: Vec<&str> = path.split('.').collect();
    at(value, &parts).and_then(Value::as_i64).unwrap_or(0)
}

macro_rules! text {
    ($path:literal) => {
        |value, _| shown(value, $path)
    };
}

macro_rules! count {
    ($path:literal) => {
        |value, _| json!(number(value, $path))
    };
}

const AGE: Column = ("Age", "string", 0, age_of);

/// The columns after the name.
pub(crate) fn columns(kind: &Kind) -> &'static [Column] {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => cells_pod::POD,
        ("", "Node") => cells_pod::NODE,
        ("", "Namespace") => &[("Status", "string", 0, text!("status.phase")), AGE],
        ("", "Service") => SERVICE,
        ("", "ConfigMap") => &[
            ("Data", "string", 0, |v, _| {
                json!(entries(v, &["data", "binaryData"]))
            }),
            AGE,
        ],
        ("", "Secret") => &[
            ("Type", "string", 0, text!("type")),
            ("Data", "string", 0, |v, _| json!(entries(v, &["data"]))),
            AGE,
        ],
        ("" | "events.k8s.io", "Event") => EVENT,
        ("", "PersistentVolume") => VOLUME,
        ("", "PersistentVolumeClaim") => CLAIM,
        ("apps", "Deployment") => DEPLOYMENT,
        ("apps", "ReplicaSet") | ("", "ReplicationController") => REPLICA_SET,
        ("apps", "StatefulSet") => &[
            ("Ready", "string", 0, ready_of_desired),
            AGE,
            ("Containers", "string", 1, |v, _| containers(v, "name")),
            ("Images", "string", 1, |v, _| containers(v, "image")),
        ],
        ("apps", "DaemonSet") => DAEMON_SET,
        ("batch", "Job") => JOB,
        ("batch", "CronJob") => &[
            ("Schedule", "string", 0, text!("spec.schedule")),
            ("Timezone", "string", 0, text!("spec.timeZone")),
            ("Suspend", "boolean", 0, text!("spec.suspend")),
            ("Active", "integer", 0, |v, _| {
                json!(
                    at(v, &["status", "active"])
                        .and_then(Value::as_array)
                        .map_or(0, Vec::len)
                )
            }),
            ("Last Schedule", "string", 0, |v, now| {
                match object::text(v, &["status", "lastScheduleTime"]) {
                    Some(time) => json!(age::since(Some(time), now)),
                    None => json!(NONE),
                }
            }),
            AGE,
        ],
        ("policy", "PodDisruptionBudget") => &[
            ("Min Available", "string", 0, |v, _| {
                or_not_available(v, "minAvailable")
            }),
            ("Max Unavailable", "string", 0, |v, _| {
                or_not_available(v, "maxUnavailable")
            }),
            (
                "Allowed Disruptions",
                "integer",
                0,
                count!("status.disruptionsAllowed"),
            ),
            AGE,
        ],
        ("coordination.k8s.io", "Lease") => {
            &[("Holder", "string", 0, text!("spec.holderIdentity")), AGE]
        }
        ("scheduling.k8s.io", "PriorityClass") => &[
            ("Value", "integer", 0, count!("value")),
            ("Global-Default", "boolean", 0, |v, _| {
                json!(v.get("globalDefault") == Some(&json!(true)))
            }),
            AGE,
            ("PreemptionPolicy", "string", 0, text!("preemptionPolicy")),
        ],
        ("storage.k8s.io", "StorageClass") => &[
            ("Provisioner", "string", 0, text!("provisioner")),
            ("ReclaimPolicy", "string", 0, text!("reclaimPolicy")),
            ("VolumeBindingMode", "string", 0, text!("volumeBindingMode")),
            ("AllowVolumeExpansion", "string", 0, |v, _| {
                json!(v.get("allowVolumeExpansion") == Some(&json!(true)))
            }),
            AGE,
        ],
        ("storage.k8s.io", "CSINode") => &[
            ("Drivers", "integer", 0, |v, _| {
                json!(
                    at(v, &["spec", "drivers"])
                        .and_then(Value::as_array)
                        .map_or(0, Vec::len)
                )
            }),
            AGE,
        ],
        ("storage.k8s.io", "VolumeAttachment") => &[
            ("Attacher", "string", 0, text!("spec.attacher")),
            ("PV", "string", 0, text!("spec.source.persistentVolumeName")),
            ("Node", "string", 0, text!("spec.nodeName")),
            ("Attached", "boolean", 0, text!("status.attached")),
            AGE,
        ],
        ("node.k8s.io", "RuntimeClass") => &[("Handler", "string", 0, text!("handler")), AGE],
        ("discovery.k8s.io", "EndpointSlice") => {
            &[("AddressType", "string", 0, text!("addressType")), AGE]
        }
        ("resource.k8s.io", "ResourceSlice") => &[
            ("Node", "string", 0, text!("spec.nodeName")),
            ("Driver", "string", 0, text!("spec.driver")),
            ("Pool", "string", 0, text!("spec.pool.name")),
            AGE,
        ],
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            &[("Created At", "date", 0, |v, _| {
                json!(object::meta(v, "creationTimestamp"))
            })]
        }
        _ => &[AGE],
    }
}

const SERVICE: &[Column] = &[
    ("Type", "string", 0, text!("spec.type")),
    ("Cluster-IP", "string", 0, text!("spec.clusterIP")),
    ("External-IP", "string", 0, text!("spec.externalIPs")),
    ("Port(s)", "string", 0, |value, _| {
        let ports = at(value, &["spec", "ports"]).and_then(Value::as_array);
        let texts: Vec<String> = ports
            .into_iter()
            .flatten()
            .map(|port| {
                format!(
                    "{}/{}",
                    number(port, "port"),
                    object::text(port, &["protocol"]).unwrap_or("TCP")
                )
            })
            .collect();
        json!(if texts.is_empty() {
            NONE.to_owned()
        } else {
            texts.join(",")
        })
    }),
    AGE,
    ("Selector", "string", 1, |value, _| {
        selector(at(value, &["spec", "selector"]))
    }),
];

const EVENT: &[Column] = &[
    ("Last Seen", "string", 0, |value, now| {
        let seen = ["lastTimestamp", "eventTime", "firstTimestamp"]
            .iter()
            .find_map(|field| value.get(*field)?.as_str())
            .or(object::meta(value, "creationTimestamp"));
        json!(age::since(seen, now))
    }),
    ("Type", "string", 0, text!("type")),
    ("Reason", "string", 0, text!("reason")),
    ("Object", "string", 0, |value, _| {
        let text = |field| object::text(value, &["involvedObject", field]).unwrap_or_default();
        json!(format!("{}/{}", text("kind").to_lowercase(), text("name")))
    }),
    ("Subobject", "string", 1, text!("involvedObject.fieldPath")),
    ("Source", "string", 1, |value, _| {
        let component = object::text(value, &["source", "component"]).filter(|c| !c.is_empty());
        json!(
            component
                .or(object::text(value, &["reportingComponent"]))
                .unwrap_or_default()
        )
    }),
    ("Message", "string", 0, |value, _| {
        json!(object::text(value, &["message"]).unwrap_or_default().trim())
    }),
    ("First Seen", "string", 1, |value, now| {
        json!(age::since(object::text(value, &["firstTimestamp"]), now))
    }),
    ("Count", "string", 1, |value, _| {
        json!(number(value, "count").max(1).to_string())
    }),
];

const VOLUME: &[Column] = &[
    ("Capacity", "string", 0, text!("spec.capacity.storage")),
    ("Access Modes", "string", 0, |value, _| {
        modes(at(value, &["spec", "accessModes"]))
    }),
    (
        "Reclaim Policy",
        "string",
        0,
        text!("spec.persistentVolumeReclaimPolicy"),
    ),
    ("Status", "string", 0, text!("status.phase")),
    ("Claim", "string", 0, |value, _| {
        let text = |field| object::text(value, &["spec", "claimRef", field]);
        json!(text("name").map_or(String::new(), |name| {
            format!("{}/{name}", text("namespace").unwrap_or_default())
        }))
    }),
    ("StorageClass", "string", 0, text!("spec.storageClassName")),
    AGE,
];

const CLAIM: &[Column] = &[
    ("Status", "string", 0, text!("status.phase")),
    ("Volume", "string", 0, text!("spec.volumeName")),
    ("Capacity", "string", 0, text!("status.capacity.storage")),
    ("Access Modes", "string", 0, |value, _| {
        modes(at(value, &["status", "accessModes"]))
    }),
    ("StorageClass", "string", 0, text!("spec.storageClassName")),
    AGE,
];

const DEPLOYMENT: &[Column] = &[
    ("Ready", "string", 0, ready_of_desired),
    ("Up-to-date", "integer", 0, count!("status.updatedReplicas")),
    (
        "Available",
        "integer",
        0,
        count!("status.availableReplicas"),
    ),
    AGE,
    ("Containers", "string", 1, |value, _| {
        containers(value, "name")
    }),
    ("Images", "string", 1, |value, _| containers(value, "image")),
    ("Selector", "string", 1, |value, _| {
        selector(at(value, &["spec", "selector"]))
    }),
];

const REPLICA_SET: &[Column] = &[
    ("Desired", "integer", 0, count!("spec.replicas")),
    ("Current", "integer", 0, count!("status.replicas")),
    ("Ready", "integer", 0, count!("status.readyReplicas")),
    AGE,
    ("Containers", "string", 1, |value, _| {
        containers(value, "name")
    }),
    ("Images", "string", 1, |value, _| containers(value, "image")),
    ("Selector", "string", 1, |value, _| {
        selector(at(value, &["spec", "selector"]))
    }),
];

const DAEMON_SET: &[Column] = &[
    (
        "Desired",
        "integer",
        0,
        count!("status.desiredNumberScheduled"),
    ),
    (
        "Current",
        "integer",
        0,
        count!("status.currentNumberScheduled"),
    ),
    ("Ready", "integer", 0, count!("status.numberReady")),
    (
        "Up-to-date",
        "integer",
        0,
        count!("status.updatedNumberScheduled"),
    ),
    ("Available", "integer", 0, count!("status.numberAvailable")),
    ("Node Selector", "string", 0, |value, _| {
        selector(at(value, &["spec", "template", "spec", "nodeSelector"]))
    }),
    AGE,
];

const JOB: &[Column] = &[
    ("Status", "string", 0, |value, _| {
        let conditions = at(value, &["status", "conditions"]).and_then(Value::as_array);
        let holds = |name: &str| {
            conditions.into_iter().flatten().any(|condition| {
                condition.get("type") == Some(&json!(name))
                    && condition.get("status") == Some(&json!("True"))
            })
        };
        let ended = ["Complete", "Failed", "Suspended"]
            .into_iter()
            .find(|name| holds(name));
        json!(ended.unwrap_or("Running"))
    }),
    ("Completions", "string", 0, |value, _| {
        let done = number(value, "status.succeeded");
        json!(
            match at(value, &["spec", "completions"]).and_then(Value::as_i64) {
                Some(wanted) => format!("{done}/{wanted}"),
                None => format!("{done}/1 of {}", number(value, "spec.parallelism")),
            }
        )
    }),
    ("Duration", "string", 0, |value, now| {
        let time = |field| {
            object::text(value, &["status", field]).and_then(|text| text.parse::<Timestamp>().ok())
        };
        json!(time("startTime").map_or(String::new(), |start| {
            age::human(time("completionTime").unwrap_or(now).as_second() - start.as_second())
        }))
    }),
    AGE,
    ("Containers", "string", 1, |value, _| {
        containers(value, "name")
    }),
    ("Images", "string", 1, |value, _| containers(value, "image")),
];

fn ready_of_desired(value: &Value, _: Timestamp) -> Value {
    json!(format!(
        "{}/{}",
        number(value, "status.readyReplicas"),
        number(value, "spec.replicas")
    ))
}

fn entries(value: &Value, fields: &[&str]) -> usize {
    fields
        .iter()
        .filter_map(|field| value.get(*field)?.as_object())
        .map(serde_json::Map::len)
        .sum()
}

fn or_not_available(value: &Value, field: &str) -> Value {
    json!(
        at(value, &["spec", field])
            .and_then(object::scalar)
            .unwrap_or_else(|| "N/A".to_owned())
    )
}

fn containers(value: &Value, field: &str) -> Value {
    let list = at(value, &["spec", "template", "spec", "containers"]).and_then(Value::as_array);
    let texts: Vec<&str> = list
        .into_iter()
        .flatten()
        .filter_map(|container| container.get(field)?.as_str())
        .collect();
    json!(texts.join(","))
}

fn selector(selector: Option<&Value>) -> Value {
    let text = selector.map(selector_text).filter(|text| !text.is_empty());
    json!(text.unwrap_or_else(|| NONE.to_owned()))
}

fn modes(modes: Option<&Value>) -> Value {
    let list = modes.and_then(Value::as_array);
    let texts: Vec<&str> = list
        .into_iter()
        .flatten()
        .map(|mode| match mode.as_str() {
            Some("ReadWriteOnce") => "RWO",
            Some("ReadOnlyMany") => "ROX",
            Some("ReadWriteMany") => "RWX",
            Some("ReadWriteOncePod") => "RWOP",
            _ => "",
        })
        .collect();
    json!(texts.join(","))
}
