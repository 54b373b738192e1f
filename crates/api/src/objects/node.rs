//! Nodes: what placement, registration and health read of them.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::{Deserialize, Serialize};

use crate::common::Taint;
use crate::quantity::ResourceList;

/// A node.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = core::Node)]
#[serde(default)]
pub struct Node {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// What the node shall be.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: NodeSpec,
    /// What the node says of itself.
    #[serde(deserialize_with = "super::null_is_default")]
    pub status: NodeStatus,
}

manifest!(Node inherits core::Node { "spec": spec, "status": status });
always_written!(NodeSpec, NodeStatus);

/// What the node shall be.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// The provider's identifier of the machine.
    #[serde(rename = "providerID", skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// The node's taints.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub taints: Vec<Taint>,
    /// Whether the node is cordoned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unschedulable: Option<bool>,
}

/// What the node says of itself.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// The machine's resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<ResourceList>,
    /// What of them is there for pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocatable: Option<ResourceList>,
    /// Ready, pressures and what repair policies look at.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub conditions: Vec<NodeCondition>,
}

impl Node {
    /// The condition of that type.
    pub fn condition(&self, type_: &str) -> Option<&NodeCondition> {
        self.status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_)
    }

    /// Whether the node says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.condition("Ready")
            .is_some_and(|condition| condition.status == "True")
    }
}

/// One aspect of a node's state.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeCondition {
    /// The aspect.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// Why, as one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the status last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}
