//! PodDisruptionBudgets.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::meta::{Condition, IntOrPercent, Meta, absent};
use super::selector::Selector;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BudgetWire {
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "absent")]
    spec: Spec,
    #[serde(deserialize_with = "absent")]
    status: BudgetStatus,
}
super::kind!(
    BudgetWire,
    "policy",
    "v1",
    "PodDisruptionBudget",
    "poddisruptionbudgets",
    NamespaceResourceScope
);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    selector: Option<Selector>,
    min_available: Option<IntOrPercent>,
    max_unavailable: Option<IntOrPercent>,
}

/// What the budget's controller last said, and the evictions that the server took since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BudgetStatus {
    pub(crate) observed_generation: Option<i64>,
    #[serde(deserialize_with = "absent")]
    pub(crate) current_healthy: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) desired_healthy: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) disruptions_allowed: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) expected_pods: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) disrupted_pods: BTreeMap<String, Timestamp>,
    #[serde(deserialize_with = "absent")]
    pub(crate) conditions: Vec<Condition>,
}

/// A budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) meta: Meta,
    pub(crate) selector: Option<Selector>,
    pub(crate) min_available: Option<IntOrPercent>,
    pub(crate) max_unavailable: Option<IntOrPercent>,
    pub(crate) status: BudgetStatus,
}

impl From<BudgetWire> for Budget {
    fn from(wire: BudgetWire) -> Self {
        Self {
            meta: wire.metadata.into(),
            selector: wire.spec.selector,
            min_available: wire.spec.min_available,
            max_unavailable: wire.spec.max_unavailable,
            status: wire.status,
        }
    }
}
