//! CapacityBuffer: room that is kept free for pods to come. The API is shared with the cluster
//! autoscaler.
#![allow(
    unreachable_pub,
    reason = "the schema derive copies each struct into a function"
)]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::common::Condition;
use crate::crds::rules;
use crate::quantity::ResourceList;

/// How much room is kept, in units of which pod.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "autoscaling.x-k8s.io",
    version = "v1beta1",
    kind = "CapacityBuffer",
    plural = "capacitybuffers",
    singular = "capacitybuffer",
    shortname = "cb",
    namespaced,
    status = "CapacityBufferStatus",
    category = "autoscaling",
    printcolumn(
        name = "Strategy",
        type_ = "string",
        description = "How the room is provisioned.",
        json_path = ".spec.provisioningStrategy"
    ),
    printcolumn(
        name = "PodTemplate",
        type_ = "string",
        description = "The PodTemplate that a unit looks like.",
        json_path = ".status.podTemplateRef.name"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        description = "How many units are kept free.",
        json_path = ".status.replicas"
    ),
    printcolumn(
        name = "ConditionsType",
        type_ = "string",
        description = "The types of the conditions.",
        json_path = ".status.conditions[*].type"
    ),
    printcolumn(
        name = "ConditionsStatus",
        type_ = "string",
        description = "The statuses of the conditions.",
        json_path = ".status.conditions[*].status"
    ),
    printcolumn(
        name = "ConditionsReason",
        type_ = "string",
        description = "The reasons of the conditions.",
        json_path = ".status.conditions[*].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        description = "When the buffer was created.",
        json_path = ".metadata.creationTimestamp"
    ),
    derive = "PartialEq",
    derive = "Default",
    doc = "CapacityBuffer keeps room free for pods to come."
)]
#[x_kube(
    validation = rules::template_needs_size(),
    validation = rules::one_reference()
)]
pub struct CapacityBufferSpec {
    /// How the room is provisioned; every strategy is served alike.
    #[schemars(extend("default" = PROVISIONING_STRATEGY))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_strategy: Option<String>,
    /// The PodTemplate in the buffer's namespace that a unit looks like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template_ref: Option<PodTemplateReference>,
    /// The workload in the buffer's namespace whose pods a unit looks like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalable_ref: Option<ScalableReference>,
    /// So many units are kept free.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// So many units in a hundred of the workload's replicas are kept free.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentage: Option<i32>,
    /// What all units together may request at the most, by resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceList>,
}

/// The strategy of a buffer that names none.
pub const PROVISIONING_STRATEGY: &str = "buffer.x-k8s.io/active-capacity";

/// Names a PodTemplate.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplateReference {
    /// The name of the PodTemplate.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// Names a workload.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScalableReference {
    /// The API group of the workload; apps if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// The kind of the workload: Deployment, ReplicaSet or StatefulSet.
    #[schemars(length(min = 1))]
    pub kind: String,
    /// The name of the workload.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// What is known about a buffer.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CapacityBufferStatus {
    /// The PodTemplate that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template_ref: Option<PodTemplateReference>,
    /// The generation of the PodTemplate that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template_generation: Option<i64>,
    /// How many units are kept free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// How the room is provisioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_strategy: Option<String>,
    /// The buffer's conditions: ReadyForProvisioning, Provisioning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}
