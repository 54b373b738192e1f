//! NodePool: what nodes may be made, how they are disrupted and how many there may be.
#![allow(
    unreachable_pub,
    reason = "the schema derive copies each struct into a function"
)]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::common::{Condition, NodeClassReference, Requirement, Taint};
use crate::crds::{rules, schemas};
use crate::duration::{GoDuration, NillableDuration};
use crate::labels;
use crate::quantity::{Quantity, ResourceList};

/// What nodes a pool may make, when they are disrupted and how far the pool may grow.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "karpenter.sh",
    version = "v1",
    kind = "NodePool",
    plural = "nodepools",
    singular = "nodepool",
    status = "NodePoolStatus",
    category = "karpenter",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.nodes"
    ),
    printcolumn(
        name = "NodeClass",
        type_ = "string",
        json_path = ".spec.template.spec.nodeClassRef.name"
    ),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Weight",
        type_ = "integer",
        json_path = ".spec.weight",
        priority = 1
    ),
    printcolumn(
        name = "CPU",
        type_ = "string",
        json_path = ".status.resources.cpu",
        priority = 1
    ),
    printcolumn(
        name = "Memory",
        type_ = "string",
        json_path = ".status.resources.memory",
        priority = 1
    ),
    derive = "PartialEq",
    derive = "Default",
    doc = "NodePool is a policy for making nodes: what they may look like, how they are disrupted and how many there may be."
)]
#[x_kube(
    validation = rules::no_mode_transition(),
    validation = rules::static_limits(),
    validation = rules::static_weight()
)]
pub struct NodePoolSpec {
    /// The blueprint of the NodeClaims that this pool makes.
    pub template: NodeClaimTemplate,
    /// When and how fast nodes of this pool may be removed or replaced.
    #[schemars(extend("default" = {"consolidateAfter": "0s"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,
    /// Ceilings on the pool's total resources, by resource name; `nodes` limits the number of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, Quantity>>,
    /// Preference among pools that could all serve a pod: higher goes first.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// Makes the pool static: it keeps exactly this many nodes, whatever the pods.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
}

/// What was last observed about a pool.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodePoolStatus {
    /// The sum of the resources of the pool's nodes, with their number under `nodes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceList>,
    /// How many nodes the pool has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i64>,
    /// The generation of the NodeClass that registration health was last reset for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_class_observed_generation: Option<i64>,
    /// The pool's conditions: Ready, ValidationSucceeded, NodeClassReady, NodeRegistrationHealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}

/// The blueprint of the NodeClaims that a pool makes.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeClaimTemplate {
    /// Labels and annotations for each NodeClaim and its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ObjectMetaTemplate>,
    /// The specification for each NodeClaim.
    pub spec: NodeClaimTemplateSpec,
}

/// The part of object metadata that a pool may give to its NodeClaims.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMetaTemplate {
    /// Labels for each NodeClaim and its node.
    #[schemars(schema_with = "schemas::labels")]
    #[x_kube(
        validation = rules::labels_in_own_domain(),
        validation = rules::labels_in_aws_domain(),
        validation = rules::labels_without(labels::NODEPOOL),
        validation = rules::labels_without(labels::HOSTNAME)
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations for each NodeClaim and its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What a pool asks of each of its NodeClaims.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeClaimTemplateSpec {
    /// The NodeClass to launch with.
    #[x_kube(
        validation = rules::node_class_group_is_immutable(),
        validation = rules::node_class_kind_is_immutable()
    )]
    pub node_class_ref: NodeClassReference,
    /// Constraints on the nodes' labels; an empty list allows every instance type.
    #[schemars(length(max = 100))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = rules::in_has_values(),
        validation = rules::comparisons_have_one_integer(),
        validation = rules::min_values_fit(),
        validation = rules::no_nodepool_requirement()
    )]
    pub requirements: Vec<Requirement>,
    /// Taints that the nodes keep for life; pods must tolerate them to be placed there.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taints: Option<Vec<Taint>>,
    /// Taints that the nodes start with and that something else removes; pods need not tolerate them.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_taints: Option<Vec<Taint>>,
    /// How long a node may live, counted from its NodeClaim's creation; Never for no end.
    #[schemars(extend("default" = "720h"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_after: Option<NillableDuration>,
    /// The longest that draining may take once a NodeClaim is being deleted; unset waits for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_grace_period: Option<GoDuration>,
}

/// When and how fast nodes of a pool may be removed or replaced.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// How long a node must have been quiet before it may be consolidated; Never switches consolidation off.
    #[schemars(extend("default" = "0s"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consolidate_after: Option<NillableDuration>,
    /// Which nodes may be consolidated: WhenEmpty, WhenEmptyOrUnderutilized or Balanced.
    #[schemars(extend(
        "default" = "WhenEmptyOrUnderutilized",
        "enum" = ["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"]
    ))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consolidation_policy: Option<String>,
    /// How many nodes may be disrupted at the same time; the strictest active budget counts.
    #[schemars(length(max = 50), extend("default" = [{"nodes": "10%"}]))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = rules::budget_schedule_with_duration()
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budgets: Option<Vec<Budget>>,
}

/// A bound on how many nodes of a pool may be disrupted at the same time.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// The reasons that the budget applies to; unset applies to all.
    #[schemars(schema_with = "schemas::budget_reasons")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<String>>,
    /// The bound, as a number or a percentage of the pool's nodes.
    #[schemars(regex(pattern = schemas::BUDGET_NODES), extend("default" = "10%"))]
    pub nodes: String,
    /// When the budget becomes active: a cron expression in UTC or a macro such as @daily.
    #[schemars(regex(pattern = schemas::BUDGET_SCHEDULE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    // A text, since a pool whose budget cannot be read is still a pool.
    /// How long the budget stays active from each hit of its schedule.
    #[schemars(schema_with = "schemas::budget_duration")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
}

/// The values of `consolidationPolicy`, once read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ConsolidationPolicy {
    /// Only nodes without pods that would have to move.
    WhenEmpty,
    /// Also nodes whose pods fit elsewhere or on something cheaper.
    #[default]
    WhenEmptyOrUnderutilized,
    /// As the former, but only where savings are in proportion to the disruption.
    Balanced,
}

impl ConsolidationPolicy {
    /// The value's text in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WhenEmpty => "WhenEmpty",
            Self::WhenEmptyOrUnderutilized => "WhenEmptyOrUnderutilized",
            Self::Balanced => "Balanced",
        }
    }
}

impl std::str::FromStr for ConsolidationPolicy {
    type Err = UnknownConsolidationPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [
            Self::WhenEmpty,
            Self::WhenEmptyOrUnderutilized,
            Self::Balanced,
        ]
        .into_iter()
        .find(|policy| policy.as_str() == text)
        .ok_or_else(|| UnknownConsolidationPolicy(text.to_owned()))
    }
}

/// A consolidation policy that this release does not know.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("{0:?} is unknown to this version, use WhenEmpty, WhenEmptyOrUnderutilized or Balanced")]
pub struct UnknownConsolidationPolicy(pub String);
