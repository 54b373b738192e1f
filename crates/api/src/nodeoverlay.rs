//! NodeOverlay: corrections to what a provider says of its instance types.
#![allow(
    unreachable_pub,
    reason = "the schema derive copies each struct into a function"
)]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::common::{Condition, Requirement};
use crate::crds::{rules, schemas};
use crate::quantity::ResourceList;

/// Which instance types are corrected, and how.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "karpenter.sh",
    version = "v1alpha1",
    kind = "NodeOverlay",
    plural = "nodeoverlays",
    singular = "nodeoverlay",
    shortname = "overlays",
    status = "NodeOverlayStatus",
    category = "karpenter",
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
    derive = "PartialEq",
    derive = "Default",
    doc = "NodeOverlay corrects the price or adds to the capacity of the instance types that it selects."
)]
#[x_kube(validation = rules::price_or_adjustment())]
pub struct NodeOverlaySpec {
    /// Constraints on the labels of the instance types and offerings that are corrected; an empty list
    /// selects all.
    #[schemars(length(max = 100))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = rules::sets_have_values(),
        validation = rules::comparisons_have_one_integer()
    )]
    pub requirements: Vec<NodeOverlayRequirement>,
    /// A signed amount or percentage that is added to the price, such as +0.05, -1 or -20%.
    #[schemars(regex(pattern = schemas::PRICE_ADJUSTMENT))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_adjustment: Option<String>,
    /// The price in dollars per hour that takes the place of the provider's.
    #[schemars(regex(pattern = schemas::PRICE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// Resources that the machines have besides those the provider knows of.
    #[x_kube(validation = rules::no_core_capacity())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<ResourceList>,
    /// Preference among overlays that correct the same: higher wins.
    #[schemars(range(min = 1, max = 10000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
}

/// A constraint on one label of an instance type or offering.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeOverlayRequirement {
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
    /// The values that the operator works on.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
}

impl From<&NodeOverlayRequirement> for Requirement {
    fn from(own: &NodeOverlayRequirement) -> Self {
        Self {
            key: own.key.clone(),
            operator: own.operator.clone(),
            values: own.values.clone(),
            min_values: None,
        }
    }
}

/// What is known about an overlay.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeOverlayStatus {
    /// The overlay's conditions: Ready, ValidationSucceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}
