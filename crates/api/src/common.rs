//! Shapes that several kinds share: requirements, taints, references and conditions.
#![allow(
    unreachable_pub,
    reason = "the schema derive copies each struct into a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::crds::{rules, schemas};

/// A constraint on one label of a node, with an optional breadth of choice.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The label key that the constraint applies to.
    #[schemars(length(max = 316), regex(pattern = schemas::QUALIFIED_NAME))]
    #[x_kube(
        validation = rules::key_in_own_domain(),
        validation = rules::key_in_aws_domain(),
        validation = rules::key_in_kwok_domain(),
        validation = rules::key_is_not_hostname()
    )]
    pub key: String,
    /// How the key relates to the values: In, NotIn, Exists, DoesNotExist, Gt, Lt, Gte or Lte.
    #[schemars(extend("enum" = crate::validation::OPERATORS))]
    pub operator: String,
    /// The values that the operator works on. In and NotIn take a list, Exists and DoesNotExist none,
    /// the comparisons exactly one integer.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
    /// How many distinct values of this key the instance types offered to a launch must at least span.
    #[schemars(schema_with = "schemas::min_values")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_values: Option<i32>,
}

/// A taint that a node carries.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// The taint's key.
    #[schemars(length(min = 1), regex(pattern = schemas::QUALIFIED_NAME))]
    pub key: String,
    /// The taint's value; leave it out for none.
    #[schemars(regex(pattern = schemas::QUALIFIED_NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What happens to pods that do not tolerate the taint: NoSchedule, PreferNoSchedule or NoExecute.
    #[schemars(extend("enum" = ["NoSchedule", "PreferNoSchedule", "NoExecute"]))]
    pub effect: String,
    /// When the taint was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<Time>,
}

impl Taint {
    /// Whether both are the same taint to Kubernetes: key and effect count, the value does not.
    pub fn matches(&self, other: &Taint) -> bool {
        self.key == other.key && self.effect == other.effect
    }
}

/// Names the NodeClass that nodes are launched with.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeClassReference {
    /// The API group of the NodeClass.
    #[schemars(regex(pattern = "^[^/]*$"))]
    #[x_kube(validation = rules::not_empty("group"))]
    pub group: String,
    /// The kind of the NodeClass.
    #[x_kube(validation = rules::not_empty("kind"))]
    pub kind: String,
    /// The name of the NodeClass.
    #[x_kube(validation = rules::not_empty("name"))]
    pub name: String,
}

/// One aspect of an object's state as a controller last saw it.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The aspect, in CamelCase.
    #[schemars(length(max = 316), regex(pattern = schemas::CONDITION_TYPE))]
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    pub status: String,
    /// Why the status is what it is, as one CamelCase word for programs.
    #[schemars(length(max = 1024), regex(pattern = schemas::CONDITION_REASON))]
    #[serde(default)]
    pub reason: String,
    /// Why the status is what it is, for people.
    #[schemars(length(max = 32768))]
    #[serde(default)]
    pub message: String,
    /// When the status last changed from one value to another.
    pub last_transition_time: Time,
    /// The generation of the object that the condition was computed for.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl Condition {
    /// Whether the status is True.
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }

    /// Whether the status is False.
    pub fn is_false(&self) -> bool {
        self.status == "False"
    }
}
