//! RuntimeClasses: what pods of a runtime need beside their containers.

use std::collections::BTreeMap;

use k8s_openapi::api::node::v1 as node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};

use super::pod::Toleration;
use crate::quantity::ResourceList;

/// A way to run pods.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = node::RuntimeClass)]
#[serde(default)]
pub struct RuntimeClass {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// The runtime's name on the node.
    pub handler: String,
    /// What pods need beside their containers.
    pub overhead: Option<Overhead>,
    /// Where such pods can run.
    pub scheduling: Option<Scheduling>,
}

manifest!(RuntimeClass inherits node::RuntimeClass {
    "handler": handler,
    "overhead": overhead,
    "scheduling": scheduling,
});

/// What pods need beside their containers.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Overhead {
    /// Amounts by resource name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_fixed: Option<ResourceList>,
}

/// Where pods of a runtime can run.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Scheduling {
    /// Labels that the node must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints that the pods bear with.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub tolerations: Vec<Toleration>,
}
