//! Pods: what scheduling, draining and disruption read of them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::{Deserialize, Serialize};

use super::selector::{LabelSelector, NodeSelector, NodeSelectorTerm};
use crate::quantity::ResourceList;

/// A pod.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = core::Pod)]
#[serde(default)]
pub struct Pod {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// What shall run where.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: PodSpec,
    /// What runs.
    #[serde(deserialize_with = "super::null_is_default")]
    pub status: PodStatus,
}

manifest!(Pod inherits core::Pod { "spec": spec, "status": status });
always_written!(PodSpec, PodStatus);

/// What shall run, and the constraints on where.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node that the pod is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Labels that the node must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Attraction to nodes, and to and from other pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Box<Affinity>>,
    /// Taints that the pod bears with.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub tolerations: Vec<Toleration>,
    /// How the pod and its like spread over domains.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The containers.
    #[serde(deserialize_with = "super::null_is_default")]
    pub containers: Vec<Container>,
    /// Containers that run before the others, or beside them if they restart always.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub init_containers: Vec<Container>,
    /// What the pod needs beside its containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<ResourceList>,
    /// Requests and limits of the pod as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// The priority as a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// The priority by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Whether the pod may evict others: Never or PreemptLowerPriority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preemption_policy: Option<String>,
    /// How long the pod may take to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
    /// What must be removed before the pod may be scheduled.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub scheduling_gates: Vec<Named>,
    /// Volumes; those that are neither claims nor ephemeral carry their name only.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub volumes: Vec<Volume>,
    /// Claims of dynamic resources.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub resource_claims: Vec<PodResourceClaim>,
    /// The scheduler in charge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<String>,
    /// How the pod is run, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// Whether the pod shares the node's network, which makes every container port a host port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// When containers are started again: Always, OnFailure or Never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
}

/// Something that is known by its name.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Named {
    /// The name.
    pub name: String,
}

/// A container.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// What it needs and may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// The ports it opens.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub ports: Vec<ContainerPort>,
    /// `Always` on an init container makes it a sidecar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
}

/// Requests and limits.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceRequirements {
    /// What is set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceList>,
    /// What is the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceList>,
    /// The claims of the pod that the container uses.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub claims: Vec<Named>,
}

/// A port that a container opens.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// The port inside the container.
    pub container_port: i32,
    /// The port on the node, if it takes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<i32>,
    /// The address on the node; unset means all.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// TCP, UDP or SCTP; unset means TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// A taint that a pod bears with.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// The taint's key; unset with Exists means every key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Exists, Equal, Lt or Gt; unset means Equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The taint's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The taint's effect; unset means every effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// How long a NoExecute taint is borne with; unset means for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// A bound on how unevenly like pods spread over domains.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySpreadConstraint {
    /// The most that one domain may be ahead of the least filled one.
    pub max_skew: i32,
    /// The label whose values are the domains.
    pub topology_key: String,
    /// DoNotSchedule or ScheduleAnyway.
    pub when_unsatisfiable: String,
    /// Which pods count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// How many domains there must be before the minimum counts as more than zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_domains: Option<i32>,
    /// Whether nodes outside the pod's node affinity count: Honor or Ignore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity_policy: Option<String>,
    /// Whether nodes with taints the pod does not tolerate count: Honor or Ignore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_taints_policy: Option<String>,
    /// Labels of the pod itself that join the selector.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub match_label_keys: Vec<String>,
}

/// Attraction to nodes, and to and from other pods.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    /// Attraction to nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<NodeAffinity>,
    /// Attraction to other pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_affinity: Option<PodAffinity>,
    /// Repulsion from other pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_anti_affinity: Option<PodAffinity>,
}

/// Attraction to nodes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAffinity {
    /// What must hold.
    #[serde(
        rename = "requiredDuringSchedulingIgnoredDuringExecution",
        skip_serializing_if = "Option::is_none"
    )]
    pub required: Option<NodeSelector>,
    /// What should hold, by weight.
    #[serde(
        rename = "preferredDuringSchedulingIgnoredDuringExecution",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub preferred: Vec<PreferredSchedulingTerm>,
}

/// A preference among nodes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct PreferredSchedulingTerm {
    /// How much it counts, 1 to 100.
    pub weight: i32,
    /// The preferred nodes.
    pub preference: NodeSelectorTerm,
}

/// Attraction to other pods, or repulsion from them.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinity {
    /// What must hold.
    #[serde(
        rename = "requiredDuringSchedulingIgnoredDuringExecution",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub required: Vec<PodAffinityTerm>,
    /// What should hold, by weight.
    #[serde(
        rename = "preferredDuringSchedulingIgnoredDuringExecution",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub preferred: Vec<WeightedPodAffinityTerm>,
}

/// A preference among domains.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightedPodAffinityTerm {
    /// How much it counts, 1 to 100.
    pub weight: i32,
    /// The preferred domains.
    pub pod_affinity_term: PodAffinityTerm,
}

/// The domains where pods of some kind are.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinityTerm {
    /// The label whose values are the domains.
    pub topology_key: String,
    /// Which pods count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// The namespaces whose pods count; with no selector either, the pod's own.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub namespaces: Vec<String>,
    /// Namespaces by their labels; an empty selector means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Labels of the pod itself that must be equal.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub match_label_keys: Vec<String>,
    /// Labels of the pod itself that must differ.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub mismatch_label_keys: Vec<String>,
}

/// A volume, by what decides about zones and attachments.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Its name in the pod.
    pub name: String,
    /// The claim it is, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimSource>,
    /// The claim that is made for it, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<EphemeralSource>,
}

/// A volume that is a claim.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSource {
    /// The claim's name in the pod's namespace.
    pub claim_name: String,
}

/// A volume whose claim is made with the pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct EphemeralSource {
    /// The claim's template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_claim_template: Option<ClaimTemplate>,
}

/// The template of a claim that is made with its pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimTemplate {
    /// The claim's specification.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: super::volume::PersistentVolumeClaimSpec,
}

/// A claim of dynamic resources.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodResourceClaim {
    /// Its name in the pod.
    pub name: String,
    /// The claim, if it exists on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_claim_name: Option<String>,
    /// The template, if a claim is made with the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_claim_template_name: Option<String>,
}

/// What runs, and how it came to be where it is.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Pending, Running, Succeeded, Failed or Unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// PodScheduled, Ready and others.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub conditions: Vec<PodCondition>,
    /// The node that the scheduler makes room on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nominated_node_name: Option<String>,
    /// When the node took the pod in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// What containers really have, which differs from the specification while a resize is under way.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub container_statuses: Vec<ContainerStatus>,
    /// The same for init containers.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// The claims that were made with the pod.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub resource_claim_statuses: Vec<PodResourceClaimStatus>,
}

/// A claim of dynamic resources that was made with its pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodResourceClaimStatus {
    /// Its name in the pod.
    pub name: String,
    /// The claim; absent if none was needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_claim_name: Option<String>,
}

/// One aspect of a pod's state.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// The aspect.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// Why, as one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the status last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}

/// What a container really has.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// The container's name.
    pub name: String,
    /// What the node set aside for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated_resources: Option<ResourceList>,
    /// What it runs with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

/// The pods that a workload makes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct PodTemplate {
    /// Labels and annotations of each pod.
    #[serde(deserialize_with = "super::null_is_default")]
    pub metadata: TemplateMeta,
    /// The specification of each pod.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: PodSpec,
}

/// The metadata that a template gives to its pods.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct TemplateMeta {
    /// Labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}
