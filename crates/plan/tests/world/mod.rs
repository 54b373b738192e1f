//! A small cluster in objects that a user could apply, lowered and frozen on demand.
//!
//! Every builder starts with the dullest valid object, so that a test mentions only what it is about.

use std::sync::Arc;

use jiff::Timestamp;
use karpenter_api::{NodeClaim, NodePool, objects};
use karpenter_plan::{
    Catalog, CatalogFeed, InstanceType, Lowering, NodeInput, Offering, Overhead, Parts, PoolPart,
    Price, Snapshot, WellKnown,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Noon on a Wednesday.
pub(crate) const NOW: &str = "2024-05-01T12:00:00Z";
/// Long enough ago.
const LONG_AGO: &str = "2024-05-01T00:00:00Z";

/// Everything in the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    pub(crate) pools: Vec<TestPool>,
    pub(crate) nodes: Vec<TestNode>,
    pub(crate) pods: Vec<TestPod>,
    pub(crate) daemons: Vec<Value>,
    pub(crate) budgets: Vec<Value>,
    pub(crate) types: Vec<InstanceType>,
}

impl Objects {
    /// Pools and two instance types, `small` at 0.1 and `large` at 0.4 dollars an hour.
    pub(crate) fn new(pools: Vec<TestPool>) -> Self {
        let types = vec![
            instance_type("small", 4, 16, 0.1),
            instance_type("large", 16, 64, 0.4),
        ];
        Self {
            pools,
            types,
            ..Self::default()
        }
    }

    /// Lowers and freezes everything.
    pub(crate) fn snapshot(&self, now: &str) -> Snapshot {
        let mut lowering = Lowering::new(&WellKnown {
            node_classes: vec![("karpenter.kwok.sh".into(), "KWOKNodeClass".into())],
            ..WellKnown::default()
        });
        let mut parts = Parts::default();
        let feed = CatalogFeed {
            generation: 1,
            types: self.types.clone().into(),
        };
        for pool in &self.pools {
            let object: NodePool = read(&pool.json());
            let catalog: Result<Arc<Catalog>, Arc<str>> = if pool.has_types {
                Ok(lowering.catalog(&feed))
            } else {
                Err("no types".into())
            };
            let pool = Arc::new(lowering.pool(&object).unwrap());
            parts.pools.push(PoolPart { pool, catalog });
        }
        let mut nodes = Vec::new();
        for node in &self.nodes {
            let object: Option<objects::Node> = node.node_json().as_ref().map(read);
            let claim: Option<NodeClaim> = node.claim_json().as_ref().map(read);
            let lowered = lowering.node(&NodeInput {
                node: object.as_ref(),
                claim: claim.as_ref(),
                marked: node.marked,
                nominated_until: node
                    .nominated_until
                    .as_deref()
                    .map(|at| at.parse().unwrap()),
                prebound: Vec::new(),
            });
            nodes.push(Arc::new(lowered.unwrap()));
        }
        parts.nodes = nodes.into_iter().collect();
        let pods = self.pods.iter().map(|pod| read(&pod.0));
        parts.pods = pods
            .map(|pod: objects::Pod| Arc::new(lowering.pod(&pod)))
            .collect();
        for daemon in &self.daemons {
            let object: objects::DaemonSet = read(daemon);
            parts
                .daemons
                .push(Arc::new(lowering.daemon(&object, None).unwrap()));
        }
        for budget in &self.budgets {
            let object: objects::PodDisruptionBudget = read(budget);
            parts
                .budgets
                .push(Arc::new(lowering.budget(&object).unwrap()));
        }
        parts.vocabulary = lowering.vocabulary().clone();
        Snapshot::freeze(now.parse::<Timestamp>().unwrap(), parts)
    }
}

fn read<T: DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"))
}

/// An instance type in zones `a` and `b`, spot at half the price.
pub(crate) fn instance_type(name: &str, cpu: u32, memory_gib: u32, price: f64) -> InstanceType {
    let requirement = |key: &str, values: &[&str]| karpenter_api::Requirement {
        key: key.into(),
        operator: "In".into(),
        values: Some(values.iter().map(ToString::to_string).collect()),
        min_values: None,
    };
    let offering = |zone: &str, capacity_type: &str, price: f64| Offering {
        requirements: vec![
            requirement("topology.kubernetes.io/zone", &[zone]),
            requirement("karpenter.sh/capacity-type", &[capacity_type]),
        ],
        price: Price::from_dollars(price),
        available: true,
        ..Offering::default()
    };
    let amounts = |pairs: &[(&str, String)]| {
        pairs
            .iter()
            .map(|(name, amount)| (name.to_string(), amount.parse().unwrap()))
            .collect()
    };
    let overhead = Overhead {
        kube_reserved: amounts(&[("cpu", "100m".into()), ("memory", "100Mi".into())]),
        ..Overhead::default()
    };
    InstanceType {
        name: name.into(),
        requirements: vec![
            requirement("node.kubernetes.io/instance-type", &[name]),
            requirement("kubernetes.io/arch", &["amd64"]),
            requirement("kubernetes.io/os", &["linux"]),
            requirement("topology.kubernetes.io/zone", &["a", "b"]),
            requirement("karpenter.sh/capacity-type", &["on-demand", "spot"]),
        ],
        capacity: amounts(&[
            ("cpu", cpu.to_string()),
            ("memory", format!("{memory_gib}Gi")),
            ("pods", "20".into()),
        ]),
        overhead,
        offerings: vec![
            offering("a", "on-demand", price),
            offering("b", "on-demand", price),
            offering("a", "spot", price / 2.0),
        ],
        ..InstanceType::default()
    }
}

/// A NodePool.
#[derive(Clone, Debug)]
pub(crate) struct TestPool {
    pub(crate) name: String,
    pub(crate) spec: Value,
    pub(crate) has_types: bool,
}

/// A pool without any restriction, every node of which may go once it is quiet.
pub(crate) fn pool(name: &str) -> TestPool {
    let spec = json!({
        "template": {"spec": {
            "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
            "requirements": [],
            "expireAfter": "720h",
        }},
        "disruption": {
            "consolidateAfter": "0s",
            "consolidationPolicy": "WhenEmptyOrUnderutilized",
            "budgets": [{"nodes": "100%"}],
        },
    });
    TestPool {
        name: name.into(),
        spec,
        has_types: true,
    }
}

impl TestPool {
    pub(crate) fn disruption(mut self, field: &str, value: Value) -> Self {
        self.spec["disruption"][field] = value;
        self
    }

    pub(crate) fn template(mut self, field: &str, value: Value) -> Self {
        self.spec["template"]["spec"][field] = value;
        self
    }

    pub(crate) fn template_label(mut self, key: &str, value: &str) -> Self {
        self.spec["template"]["metadata"]["labels"][key] = json!(value);
        self
    }

    pub(crate) fn field(mut self, field: &str, value: Value) -> Self {
        self.spec[field] = value;
        self
    }

    pub(crate) fn replicas(mut self, replicas: i64) -> Self {
        self.spec["replicas"] = json!(replicas);
        self
    }

    pub(crate) fn without_types(mut self) -> Self {
        self.has_types = false;
        self
    }

    fn json(&self) -> Value {
        json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": self.name, "uid": format!("uid-{}", self.name), "generation": 1},
            "spec": self.spec,
            "status": {"conditions": [condition("Ready", "True")]},
        })
    }
}

fn condition(kind: &str, status: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": kind, "message": "",
        "lastTransitionTime": LONG_AGO,
    })
}

/// A Node with its NodeClaim.
#[derive(Clone, Debug)]
pub(crate) struct TestNode {
    pub(crate) name: String,
    pub(crate) marked: bool,
    nominated_until: Option<String>,
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
    conditions: Vec<(String, String)>,
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
            .map(|kind| (kind.to_string(), "True".to_string()))
            .to_vec(),
        ready: "True".into(),
        last_pod_event: None,
    }
}

impl TestNode {
    pub(crate) fn pool(self, pool: &str) -> Self {
        self.label("karpenter.sh/nodepool", pool)
    }

    pub(crate) fn no_pool(mut self) -> Self {
        self.labels
            .as_object_mut()
            .unwrap()
            .remove("karpenter.sh/nodepool");
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
        let mut changed = self.without(kind);
        changed.conditions.push((kind.into(), "True".into()));
        changed
    }

    pub(crate) fn with_false(self, kind: &str) -> Self {
        let mut changed = self.without(kind);
        changed.conditions.push((kind.into(), "False".into()));
        changed
    }

    pub(crate) fn without(mut self, kind: &str) -> Self {
        self.conditions.retain(|(found, _)| found != kind);
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

    fn resources() -> (Value, Value) {
        (
            json!({"cpu": "4", "memory": "16Gi", "pods": "20"}),
            json!({"cpu": "3900m", "memory": "16284Mi", "pods": "20"}),
        )
    }

    fn node_json(&self) -> Option<Value> {
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
        let (capacity, allocatable) = Self::resources();
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
                "creationTimestamp": LONG_AGO,
            },
            "spec": {"providerID": format!("fake://{}", self.name), "taints": taints},
            "status": {"capacity": capacity, "allocatable": allocatable, "conditions": conditions},
        }))
    }

    fn claim_json(&self) -> Option<Value> {
        if !self.has_claim {
            return None;
        }
        let (capacity, allocatable) = Self::resources();
        let conditions: Vec<Value> = self
            .conditions
            .iter()
            .map(|(kind, status)| condition(kind, status))
            .collect();
        let mut claim = json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodeClaim",
            "metadata": {
                "name": format!("{}-claim", self.name),
                "uid": self.uid,
                "labels": self.labels,
                "annotations": self.annotations,
                "creationTimestamp": LONG_AGO,
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
