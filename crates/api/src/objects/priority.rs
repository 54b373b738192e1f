//! PriorityClasses: names for pod priorities.

use k8s_openapi::api::scheduling::v1 as scheduling;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

/// A name for a pod priority.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = scheduling::PriorityClass)]
#[serde(rename_all = "camelCase", default)]
pub struct PriorityClass {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// The priority.
    pub value: i32,
    /// Whether pods that name no class have this one.
    pub global_default: Option<bool>,
    /// Never or PreemptLowerPriority.
    pub preemption_policy: Option<String>,
}

manifest!(PriorityClass inherits scheduling::PriorityClass {
    "value": value,
    "globalDefault": global_default,
    "preemptionPolicy": preemption_policy,
});
always_written!(i32);
