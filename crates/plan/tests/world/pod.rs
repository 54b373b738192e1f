//! Pods and the budgets that protect them.

use serde_json::{Value, json};

use super::{LONG_AGO, NOW};

/// A pod.
#[derive(Clone, Debug)]
pub(crate) struct TestPod(pub Value);

/// A pending, unschedulable pod of a ReplicaSet that asks for little.
pub(crate) fn pod(name: &str) -> TestPod {
    TestPod(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": format!("uid-{name}"),
            "creationTimestamp": LONG_AGO,
            "labels": {},
            "annotations": {},
            "ownerReferences": [owner("ReplicaSet")],
        },
        "spec": {"containers": [{
            "name": "main",
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        }]},
        "status": {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
        },
    }))
}

fn owner(kind: &str) -> Value {
    let version = if kind == "Node" { "v1" } else { "apps/v1" };
    json!({"apiVersion": version, "kind": kind, "name": "owner", "uid": "owner", "controller": true})
}

impl TestPod {
    /// Runs on this node.
    pub(crate) fn on(mut self, node: &str) -> Self {
        self.0["spec"]["nodeName"] = json!(node);
        self.0["status"] = json!({"phase": "Running", "conditions": []});
        self
    }

    pub(crate) fn request(mut self, resource: &str, amount: &str) -> Self {
        self.0["spec"]["containers"][0]["resources"]["requests"][resource] = json!(amount);
        self
    }

    pub(crate) fn owner(mut self, kind: &str) -> Self {
        self.0["metadata"]["ownerReferences"] = json!([owner(kind)]);
        self
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = json!(value);
        self
    }

    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["annotations"][key] = json!(value);
        self
    }

    pub(crate) fn deletion_cost(self, cost: &str) -> Self {
        self.annotation("controller.kubernetes.io/pod-deletion-cost", cost)
    }

    pub(crate) fn spec(mut self, field: &str, value: Value) -> Self {
        self.0["spec"][field] = value;
        self
    }

    pub(crate) fn selector(mut self, key: &str, value: &str) -> Self {
        self.0["spec"]["nodeSelector"][key] = json!(value);
        self
    }

    pub(crate) fn host_port(mut self, port: u16) -> Self {
        self.0["spec"]["containers"][0]["ports"] =
            json!([{"containerPort": port, "hostPort": port, "protocol": "TCP"}]);
        self
    }

    pub(crate) fn tolerating(mut self, key: &str) -> Self {
        self.0["spec"]["tolerations"] = json!([{"key": key, "operator": "Exists"}]);
        self
    }

    pub(crate) fn tolerating_disruption(self) -> Self {
        self.tolerating("karpenter.sh/disrupted")
    }

    pub(crate) fn terminating(mut self) -> Self {
        self.0["metadata"]["deletionTimestamp"] = json!(NOW);
        self.0["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        self
    }

    pub(crate) fn phase(mut self, phase: &str) -> Self {
        self.0["status"]["phase"] = json!(phase);
        self
    }

    pub(crate) fn started(mut self, instant: &str) -> Self {
        self.0["status"]["startTime"] = json!(instant);
        self
    }

    pub(crate) fn ready(mut self, status: &str) -> Self {
        self.0["status"]["conditions"] = json!([{"type": "Ready", "status": status}]);
        self
    }
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug)]
pub(crate) struct TestBudget(Value);

/// A budget in namespace `default` that selects nothing yet.
pub(crate) fn budget(name: &str) -> TestBudget {
    TestBudget(json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"maxUnavailable": 1},
        "status": {"disruptionsAllowed": 1, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1},
    }))
}

impl TestBudget {
    pub(crate) fn allowing(mut self, disruptions: i32) -> Self {
        self.0["status"]["disruptionsAllowed"] = json!(disruptions);
        self
    }

    /// The specification's `maxUnavailable`.
    pub(crate) fn unavailable(mut self, most: Value) -> Self {
        self.0["spec"]["maxUnavailable"] = most;
        self
    }

    /// The specification's `minAvailable`, and what it comes to.
    pub(crate) fn available(mut self, least: &Value, desired: i32, expected: i32) -> Self {
        self.0["spec"] = json!({"minAvailable": least, "selector": self.0["spec"]["selector"]});
        self.0["status"]["desiredHealthy"] = json!(desired);
        self.0["status"]["expectedPods"] = json!(expected);
        self
    }

    /// Its condition `DisruptionAllowed` is False.
    pub(crate) fn closed_since(mut self, instant: &str) -> Self {
        self.0["status"]["conditions"] = json!([{
            "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
            "lastTransitionTime": instant,
        }]);
        self
    }

    pub(crate) fn created(mut self, instant: &str) -> Self {
        self.0["metadata"]["creationTimestamp"] = json!(instant);
        self
    }

    pub(crate) fn selecting(mut self, key: &str, value: &str) -> Self {
        self.0["spec"]["selector"] = json!({"matchLabels": {key: value}});
        self
    }

    pub(crate) fn always_allow(mut self) -> Self {
        self.0["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
        self
    }

    pub(crate) fn namespace(mut self, namespace: &str) -> Self {
        self.0["metadata"]["namespace"] = json!(namespace);
        self
    }

    pub(crate) fn json(self) -> Value {
        self.0
    }
}
