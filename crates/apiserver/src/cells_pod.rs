//! Columns of pods and nodes, the two that people look at most.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    age,
    cells::age_of,
    object::{self, at},
    table::Column,
};

const NONE: &str = "<none>";

pub(crate) const POD: &[Column] = &[
    ("Ready", "string", 0, |pod, _| {
        let ready = statuses(pod, "containerStatuses")
            .filter(|status| status.get("ready") == Some(&json!(true)))
            .count();
        let all = at(pod, &["spec", "containers"])
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        json!(format!("{ready}/{all}"))
    }),
    ("Status", "string", 0, |pod, _| json!(status(pod))),
    ("Restarts", "string", 0, restarts),
    ("Age", "string", 0, age_of),
    ("IP", "string", 1, |pod, _| {
        or_none(object::text(pod, &["status", "podIP"]))
    }),
    ("Node", "string", 1, |pod, _| {
        or_none(object::text(pod, &["spec", "nodeName"]))
    }),
    ("Nominated Node", "string", 1, |pod, _| {
        or_none(object::text(pod, &["status", "nominatedNodeName"]))
    }),
    ("Readiness Gates", "string", 1, |_, _| json!(NONE)),
];

pub(crate) const NODE: &[Column] = &[
    ("Status", "string", 0, |node, _| json!(node_status(node))),
    ("Roles", "string", 0, |node, _| {
        let labels = at(node, &["metadata", "labels"]).and_then(Value::as_object);
        let roles: Vec<&str> = labels
            .into_iter()
            .flatten()
            .filter_map(|(label, _)| label.strip_prefix("node-role.kubernetes.io/"))
            .collect();
        json!(if roles.is_empty() {
            NONE.to_owned()
        } else {
            roles.join(",")
        })
    }),
    ("Age", "string", 0, age_of),
    ("Version", "string", 0, |node, _| {
        json!(object::text(node, &["status", "nodeInfo", "kubeletVersion"]).unwrap_or_default())
    }),
    ("Internal-IP", "string", 1, |node, _| {
        address(node, "InternalIP")
    }),
    ("External-IP", "string", 1, |node, _| {
        address(node, "ExternalIP")
    }),
    ("OS-Image", "string", 1, |node, _| info(node, "osImage")),
    ("Kernel-Version", "string", 1, |node, _| {
        info(node, "kernelVersion")
    }),
    ("Container-Runtime", "string", 1, |node, _| {
        info(node, "containerRuntimeVersion")
    }),
];

fn or_none(text: Option<&str>) -> Value {
    json!(text.filter(|text| !text.is_empty()).unwrap_or(NONE))
}

fn statuses<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    at(pod, &["status", list])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn restarts(pod: &Value, now: Timestamp) -> Value {
    let count: i64 = statuses(pod, "containerStatuses")
        .filter_map(|status| status.get("restartCount")?.as_i64())
        .sum();
    let last = statuses(pod, "containerStatuses")
        .filter_map(|status| object::text(status, &["lastState", "terminated", "finishedAt"]))
        .max();
    json!(match last {
        Some(time) if count > 0 => format!("{count} ({} ago)", age::since(Some(time), now)),
        _ => count.to_string(),
    })
}

/// The one word that says how a pod is.
fn status(pod: &Value) -> String {
    let phase = object::text(pod, &["status", "phase"]).unwrap_or("Unknown");
    let mut word = object::text(pod, &["status", "reason"])
        .unwrap_or(phase)
        .to_owned();
    let gated = statuses(pod, "conditions").any(|condition| {
        condition.get("type") == Some(&json!("PodScheduled"))
            && condition.get("reason") == Some(&json!("SchedulingGated"))
    });
    if gated {
        "SchedulingGated".clone_into(&mut word);
    }
    for status in statuses(pod, "containerStatuses") {
        let state = |kind: &str, field: &str| {
            object::text(status, &["state", kind, field]).filter(|text| !text.is_empty())
        };
        if let Some(reason) = state("waiting", "reason").or_else(|| state("terminated", "reason")) {
            reason.clone_into(&mut word);
        }
    }
    if object::is_deleting(pod) && !matches!(phase, "Succeeded" | "Failed") {
        "Terminating".clone_into(&mut word);
    }
    word
}

fn node_status(node: &Value) -> String {
    let ready = statuses(node, "conditions")
        .find(|condition| condition.get("type") == Some(&json!("Ready")))
        .and_then(|condition| condition.get("status")?.as_str());
    let mut word = match ready {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if at(node, &["spec", "unschedulable"]) == Some(&json!(true)) {
        word.push_str(",SchedulingDisabled");
    }
    word
}

fn address(node: &Value, kind: &str) -> Value {
    let found = statuses(node, "addresses")
        .find(|address| address.get("type") == Some(&json!(kind)))
        .and_then(|address| address.get("address")?.as_str());
    or_none(found)
}

fn info(node: &Value, field: &str) -> Value {
    let text = object::text(node, &["status", "nodeInfo", field]).filter(|text| !text.is_empty());
    json!(text.unwrap_or("<unknown>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_pods_and_nodes() {
        let check = |pod: Value, expected: &str| assert_eq!(status(&pod), expected, "{pod}");
        check(json!({"status": {"phase": "Pending"}}), "Pending");
        check(json!({"status": {"phase": "Running"}}), "Running");
        check(
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}}),
            "Terminating",
        );
        check(
            json!({"status": {"phase": "Running", "containerStatuses": [
                {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}),
            "CrashLoopBackOff",
        );
        check(
            json!({"status": {"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "reason": "SchedulingGated"}]}}),
            "SchedulingGated",
        );
        let cordoned = json!({"spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert_eq!(node_status(&cordoned), "Ready,SchedulingDisabled");
    }
}
