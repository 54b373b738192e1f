//! Nodes with their NodeClaims.

use serde_json::{Value, json};

use super::{LONG_AGO, condition, types::Machine};

/// A Node with its NodeClaim.
#[derive(Clone, Debug)]
pub(crate) struct TestNode {
    pub(crate) name: String,
    pub(crate) marked: bool,
    pub(super) nominated_until: Option<String>,
    has_node: bool,
    has_claim: bool,
    is_launched: bool,
    expire_after: String,
    is_initialized: bool,
    is_deleting: bool,
    is_tainted: bool,
    uid: String,
    labels: Value,
    annotations: Value,
    taints: Vec<Value>,
    conditions: Vec<(String, &'static str, String)>,
    grace: Option<String>,
    created: String,
    ready: String,
    last_pod_event: Option<String>,
}

/// A ready, quiet node of type `small` in pool `default`, with room for everything the type has.
pub(crate) fn node(name: &str) -> TestNode {
    let conditions = ["Launched", "Registered", "Initialized", "Consolidatable"];
    TestNode {
        name: name.into(),
        marked: false,
        nominated_until: None,
        has_node: true,
        has_claim: true,
        is_launched: true,
        expire_after: "720h".into(),
        is_initialized: true,
        is_deleting: false,
        is_tainted: false,
        uid: format!("uid-{name}"),
        labels: json!({
            "karpenter.sh/nodepool": "default",
            "karpenter.sh/registered": "true",
            "karpenter.sh/capacity-type": "on-demand",
            "topology.kubernetes.io/zone": "a",
            "node.kubernetes.io/instance-type": "small",
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/os": "linux",
            "kubernetes.io/hostname": name,
        }),
        annotations: json!({}),
        taints: Vec::new(),
        conditions: conditions
            .map(|kind| (kind.to_string(), "True", LONG_AGO.to_string()))
            .to_vec(),
        grace: None,
        created: LONG_AGO.into(),
        ready: "True".into(),
        last_pod_event: None,
    }
}

impl TestNode {
    pub(crate) fn pool(self, pool: &str) -> Self {
        self.label("karpenter.sh/nodepool", pool)
    }

    pub(crate) fn no_pool(self) -> Self {
        self.unlabeled("karpenter.sh/nodepool")
    }

    pub(crate) fn unlabeled(mut self, key: &str) -> Self {
        self.labels.as_object_mut().unwrap().remove(key);
        self
    }

    pub(crate) fn zone(self, zone: &str) -> Self {
        self.label("topology.kubernetes.io/zone", zone)
    }

    pub(crate) fn capacity_type(self, capacity_type: &str) -> Self {
        self.label("karpenter.sh/capacity-type", capacity_type)
    }

    pub(crate) fn spot(self) -> Self {
        self.capacity_type("spot")
    }

    pub(crate) fn created(mut self, instant: &str) -> Self {
        self.created = instant.into();
        self
    }

    /// The claim's termination grace period.
    pub(crate) fn grace(mut self, duration: &str) -> Self {
        self.grace = Some(duration.into());
        self
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels[key] = json!(value);
        self
    }

    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations[key] = json!(value);
        self
    }

    pub(crate) fn taint(mut self, key: &str, value: &str, effect: &str) -> Self {
        self.taints
            .push(json!({"key": key, "value": value, "effect": effect}));
        self
    }

    pub(crate) fn instance_type(self, name: &str) -> Self {
        self.label("node.kubernetes.io/instance-type", name)
    }

    pub(crate) fn unmanaged(mut self) -> Self {
        self.has_claim = false;
        self
    }

    pub(crate) fn claim_only(mut self) -> Self {
        self.has_node = false;
        self.without("Registered").without("Initialized")
    }

    /// A claim that has no machine yet.
    pub(crate) fn unlaunched(mut self) -> Self {
        self.is_launched = false;
        self.claim_only().without("Launched")
    }

    pub(crate) fn expire_after(mut self, duration: &str) -> Self {
        self.expire_after = duration.into();
        self
    }

    pub(crate) fn uninitialized(mut self) -> Self {
        self.is_initialized = false;
        self.without("Initialized")
    }

    pub(crate) fn initialized(mut self) -> Self {
        self.is_initialized = true;
        self.with("Initialized")
    }

    pub(crate) fn with(self, kind: &str) -> Self {
        self.since(kind, LONG_AGO)
    }

    /// The condition is True since then.
    pub(crate) fn since(self, kind: &str, instant: &str) -> Self {
        let mut changed = self.without(kind);
        let condition = (kind.into(), "True", instant.into());
        changed.conditions.push(condition);
        changed
    }

    pub(crate) fn with_false(self, kind: &str) -> Self {
        let mut changed = self.without(kind);
        let long_ago = LONG_AGO.into();
        changed.conditions.push((kind.into(), "False", long_ago));
        changed
    }

    pub(crate) fn without(mut self, kind: &str) -> Self {
        self.conditions.retain(|(found, ..)| found != kind);
        self
    }

    pub(crate) fn ready(mut self, status: &str) -> Self {
        self.ready = status.into();
        self
    }

    pub(crate) fn marked(mut self) -> Self {
        self.marked = true;
        self
    }

    pub(crate) fn deleting(mut self) -> Self {
        self.is_deleting = true;
        self
    }

    pub(crate) fn tainted(mut self) -> Self {
        self.is_tainted = true;
        self.with("DisruptionReason")
    }

    pub(crate) fn uid(mut self, uid: &str) -> Self {
        self.uid = uid.into();
        self
    }

    pub(crate) fn nominated_until(mut self, instant: &str) -> Self {
        self.nominated_until = Some(instant.into());
        self
    }

    pub(crate) fn last_pod_event(mut self, instant: &str) -> Self {
        self.last_pod_event = Some(instant.into());
        self
    }

    pub(super) fn type_name(&self) -> String {
        let label = &self.labels["node.kubernetes.io/instance-type"];
        label.as_str().unwrap_or_default().into()
    }

    pub(super) fn node_json(&self, machine: &Machine) -> Option<Value> {
        if !self.has_node {
            return None;
        }
        let mut labels = self.labels.clone();
        if self.is_initialized {
            labels["karpenter.sh/initialized"] = json!("true");
        }
        let mut taints = self.taints.clone();
        if self.is_tainted {
            taints.push(json!({"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}));
        }
        let Machine {
            capacity,
            allocatable,
        } = machine;
        let mut conditions = Vec::new();
        if !self.ready.is_empty() {
            conditions.push(json!({"type": "Ready", "status": self.ready}));
        }
        Some(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "uid": format!("node-{}", self.uid),
                "labels": labels,
                "annotations": self.annotations,
                "creationTimestamp": self.created,
            },
            "spec": {"providerID": format!("fake://{}", self.name), "taints": taints},
            "status": {"capacity": capacity, "allocatable": allocatable, "conditions": conditions},
        }))
    }

    pub(super) fn claim_json(&self, machine: &Machine) -> Option<Value> {
        if !self.has_claim {
            return None;
        }
        let Machine {
            capacity,
            allocatable,
        } = machine;
        let conditions: Vec<Value> = self
            .conditions
            .iter()
            .map(|(kind, status, since)| condition(kind, status, since))
            .collect();
        let mut claim = json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodeClaim",
            "metadata": {
                "name": format!("{}-claim", self.name),
                "uid": self.uid,
                "labels": self.labels,
                "annotations": self.annotations,
                "creationTimestamp": self.created,
            },
            "spec": {
                "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
                "requirements": [],
                "expireAfter": self.expire_after,
            },
            "status": {
                "providerID": format!("fake://{}", self.name),
                "capacity": capacity,
                "allocatable": allocatable,
                "conditions": conditions,
            },
        });
        if !self.is_launched {
            claim["status"] = json!({"conditions": conditions});
        }
        if let Some(duration) = &self.grace {
            claim["spec"]["terminationGracePeriod"] = json!(duration);
        }
        if self.has_node {
            claim["status"]["nodeName"] = json!(self.name);
        }
        if self.is_deleting {
            claim["metadata"]["deletionTimestamp"] = json!(LONG_AGO);
            claim["metadata"]["finalizers"] = json!(["karpenter.sh/termination"]);
        }
        if let Some(instant) = &self.last_pod_event {
            claim["status"]["lastPodEventTime"] = json!(instant);
        }
        Some(claim)
    }
}
