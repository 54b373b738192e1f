//! NodePools.

use serde_json::{Value, json};

use super::{LONG_AGO, condition};

/// What the provider offers a pool.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offer {
    All,
    Nothing,
    Broken,
}

/// A NodePool.
#[derive(Clone, Debug)]
pub(crate) struct TestPool {
    pub(crate) name: String,
    pub(crate) spec: Value,
    pub(super) types: Offer,
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
        types: Offer::All,
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

    /// The provider offers it nothing.
    pub(crate) fn without_types(mut self) -> Self {
        self.types = Offer::Nothing;
        self
    }

    /// The provider cannot say what it offers.
    pub(crate) fn broken(mut self) -> Self {
        self.types = Offer::Broken;
        self
    }

    /// A requirement of the template.
    pub(crate) fn requires(mut self, key: &str, values: &[&str]) -> Self {
        let entry = json!({"key": key, "operator": "In", "values": values});
        let all = self.spec["template"]["spec"]["requirements"].as_array_mut();
        all.unwrap().push(entry);
        self
    }

    /// New nodes are bought on demand only.
    pub(crate) fn on_demand(self) -> Self {
        self.requires("karpenter.sh/capacity-type", &["on-demand"])
    }

    /// A claim must leave so many instance types open.
    pub(crate) fn at_least_types(mut self, count: u32) -> Self {
        let key = "node.kubernetes.io/instance-type";
        let entry = json!({"key": key, "operator": "Exists", "minValues": count});
        let all = self.spec["template"]["spec"]["requirements"].as_array_mut();
        all.unwrap().push(entry);
        self
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": self.name, "uid": format!("uid-{}", self.name), "generation": 1},
            "spec": self.spec,
            "status": {"conditions": [condition("Ready", "True", LONG_AGO)]},
        })
    }
}
