//! Nodes and namespaces.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::amount::Amounts;
use super::meta::{Condition, Meta, absent};

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TaintEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

/// A taint of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Taint {
    pub(crate) key: String,
    #[serde(deserialize_with = "absent")]
    pub(crate) value: String,
    pub(crate) effect: String,
}

impl Taint {
    /// The effect, if it is one we know.
    pub(crate) fn effect(&self) -> Option<TaintEffect> {
        match self.effect.as_str() {
            "NoSchedule" => Some(TaintEffect::NoSchedule),
            "PreferNoSchedule" => Some(TaintEffect::PreferNoSchedule),
            "NoExecute" => Some(TaintEffect::NoExecute),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeWire {
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "absent")]
    spec: Spec,
    #[serde(deserialize_with = "absent")]
    status: Status,
}
super::kind!(NodeWire, "", "v1", "Node", "nodes", ClusterResourceScope);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(deserialize_with = "absent")]
    unschedulable: bool,
    #[serde(deserialize_with = "absent")]
    taints: Vec<Taint>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(deserialize_with = "absent")]
    capacity: Amounts,
    allocatable: Option<Amounts>,
    #[serde(deserialize_with = "absent")]
    conditions: Vec<Condition>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) meta: Meta,
    pub(crate) unschedulable: bool,
    pub(crate) taints: Vec<Taint>,
    pub(crate) allocatable: Amounts,
    pub(crate) conditions: Vec<Condition>,
}

impl From<NodeWire> for Node {
    fn from(wire: NodeWire) -> Self {
        Self {
            meta: wire.metadata.into(),
            unschedulable: wire.spec.unschedulable,
            taints: wire.spec.taints,
            allocatable: wire.status.allocatable.unwrap_or(wire.status.capacity),
            conditions: wire.status.conditions,
        }
    }
}

impl Node {
    pub(crate) fn name(&self) -> &str {
        &self.meta.key.name
    }

    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        &self.meta.labels
    }

    pub(crate) fn ready(&self) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.kind == "Ready" && condition.holds())
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NamespaceWire {
    pub(crate) metadata: ObjectMeta,
}
super::kind!(
    NamespaceWire,
    "",
    "v1",
    "Namespace",
    "namespaces",
    ClusterResourceScope
);

/// A namespace, read for its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) meta: Meta,
}

impl From<NamespaceWire> for Namespace {
    fn from(wire: NamespaceWire) -> Self {
        Self {
            meta: wire.metadata.into(),
        }
    }
}
