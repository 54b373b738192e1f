//! The statuses that kubelets write.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::objects::{Node, Pod, condition, stamp};

/// The version that nodes claim to run.
const VERSION: &str = "v1.37.0";

/// Hands out addresses in order, so that two runs give the same ones.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    pods: u32,
    nodes: u32,
}

impl Addresses {
    fn pod(&mut self) -> String {
        self.pods = self.pods.wrapping_add(1);
        address(10, self.pods)
    }

    fn node(&mut self) -> String {
        self.nodes = self.nodes.wrapping_add(1);
        address(172, self.nodes)
    }
}

fn address(first: u8, number: u32) -> String {
    let [_, second, third, fourth] = number.to_be_bytes();
    format!("{first}.{second}.{third}.{fourth}")
}

/// A node that has joined. Conditions that others wrote stay.
pub(super) fn ready_node(node: &Node, addresses: &mut Addresses, now: Timestamp) -> Value {
    let own = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
    let mut conditions: Vec<Value> = node
        .conditions
        .iter()
        .filter(|other| !own.contains(&other.kind.as_str()))
        .map(|other| {
            json!({
                "type": other.kind,
                "status": other.status,
                "reason": other.reason,
                "message": other.message,
                "lastTransitionTime": other.last_transition_time.map(stamp),
            })
        })
        .collect();
    conditions.push(condition(
        "MemoryPressure",
        false,
        "KubeletHasSufficientMemory",
        "",
        now,
    ));
    conditions.push(condition(
        "DiskPressure",
        false,
        "KubeletHasNoDiskPressure",
        "",
        now,
    ));
    conditions.push(condition(
        "PIDPressure",
        false,
        "KubeletHasSufficientPID",
        "",
        now,
    ));
    conditions.push(condition(
        "Ready",
        true,
        "KubeletReady",
        "the simulated kubelet is ready",
        now,
    ));
    let label = |key: &str, other: &str| {
        node.meta
            .labels
            .get(key)
            .cloned()
            .unwrap_or_else(|| other.to_owned())
    };
    json!({ "status": {
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": addresses.node()},
            {"type": "Hostname", "address": node.name()},
        ],
        "nodeInfo": {
            "architecture": label("kubernetes.io/arch", "amd64"),
            "operatingSystem": label("kubernetes.io/os", "linux"),
            "bootID": "",
            "containerRuntimeVersion": "simulated",
            "kernelVersion": "simulated",
            "kubeProxyVersion": VERSION,
            "kubeletVersion": VERSION,
            "machineID": "",
            "osImage": "simulated",
            "systemUUID": "",
        },
    }})
}

/// The conditions of a pod that is bound, with its containers ready or not.
fn pod_conditions(pod: &Pod, ready: bool, reason: &str, now: Timestamp) -> Vec<Value> {
    let since = |kind: &str, status: bool| {
        pod.condition(kind)
            .filter(|known| known.holds() == status)
            .and_then(|known| known.last_transition_time)
            .unwrap_or(now)
    };
    let ready_reason = if ready { "" } else { reason };
    vec![
        condition(
            "PodReadyToStartContainers",
            ready,
            "",
            "",
            since("PodReadyToStartContainers", ready),
        ),
        condition("Initialized", true, "", "", since("Initialized", true)),
        condition("Ready", ready, ready_reason, "", since("Ready", ready)),
        condition(
            "ContainersReady",
            ready,
            ready_reason,
            "",
            since("ContainersReady", ready),
        ),
        condition("PodScheduled", true, "", "", since("PodScheduled", true)),
    ]
}

fn container_statuses(pod: &Pod, ready: bool, state: &Value) -> Vec<Value> {
    pod.spec
        .containers
        .iter()
        .map(|container| {
            json!({
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": ready,
                "started": ready,
                "restartCount": 0,
                "state": state,
            })
        })
        .collect()
}

/// A pod whose containers run.
pub(super) fn running(pod: &Pod, addresses: &mut Addresses, now: Timestamp) -> Value {
    let address = addresses.pod();
    json!({ "status": {
        "phase": "Running",
        "conditions": pod_conditions(pod, true, "", now),
        "startTime": stamp(now),
        "podIP": address,
        "podIPs": [{"ip": address}],
        "containerStatuses": container_statuses(pod, true, &json!({"running": {"startedAt": stamp(now)}})),
    }})
}

/// A pod whose containers have ended.
pub(super) fn ended(pod: &Pod, exit_code: i64, now: Timestamp) -> Value {
    let (phase, reason) = if exit_code == 0 {
        ("Succeeded", "Completed")
    } else {
        ("Failed", "Error")
    };
    let not_ready = if exit_code == 0 {
        "PodCompleted"
    } else {
        "PodFailed"
    };
    let state = json!({"terminated": {
        "exitCode": exit_code,
        "reason": reason,
        "startedAt": pod.started.map(stamp),
        "finishedAt": stamp(now),
    }});
    json!({ "status": {
        "phase": phase,
        "conditions": pod_conditions(pod, false, not_ready, now),
        "containerStatuses": container_statuses(pod, false, &state),
    }})
}
