//! PodDisruptionBudgets: which evictions the API server will refuse.

use k8s_openapi::api::policy::v1 as policy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;
use serde::{Deserialize, Serialize};

use super::selector::LabelSelector;

/// A bound on how many pods of a kind may be evicted.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = policy::PodDisruptionBudget)]
#[serde(default)]
pub struct PodDisruptionBudget {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// The bound.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: PodDisruptionBudgetSpec,
    /// What it means just now.
    #[serde(deserialize_with = "super::null_is_default")]
    pub status: PodDisruptionBudgetStatus,
}

manifest!(PodDisruptionBudget inherits policy::PodDisruptionBudget { "spec": spec, "status": status });
always_written!(PodDisruptionBudgetSpec, PodDisruptionBudgetStatus);

/// The bound.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudgetSpec {
    /// Which pods count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// How many must stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrString>,
    /// How many may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// Whether pods that are not ready may go regardless: AlwaysAllow or IfHealthyBudget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy_pod_eviction_policy: Option<String>,
}

/// What the bound means just now.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudgetStatus {
    /// How many evictions would be allowed.
    pub disruptions_allowed: i32,
    /// How many pods are healthy.
    pub current_healthy: i32,
    /// How many must be healthy.
    pub desired_healthy: i32,
    /// How many pods count.
    pub expected_pods: i32,
    /// The generation that this was computed for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Among them `DisruptionAllowed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<PodDisruptionBudgetCondition>>,
}

/// One aspect of a budget's state.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudgetCondition {
    /// The aspect.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// When the status last changed from one value to another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// Why, as one word for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation that this was computed for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
