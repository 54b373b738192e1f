//! Patterns of the CRDs, and the schemas that need more than an attribute.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A label key, or what else Kubernetes calls a qualified name.
pub(crate) const QUALIFIED_NAME: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(\/))?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$";
/// A label value, which may be empty.
pub(crate) const LABEL_VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
/// The type of a condition.
pub(crate) const CONDITION_TYPE: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";
/// The reason of a condition.
pub(crate) const CONDITION_REASON: &str = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";
/// A price.
pub(crate) const PRICE: &str = r"^\d+(\.\d+)?$";
/// A signed amount, or a percentage that does not take away more than everything.
pub(crate) const PRICE_ADJUSTMENT: &str =
    r"^(([+-]{1}(\d*\.?\d+))|(\+{1}\d*\.?\d+%)|(^(-\d{1,2}(\.\d+)?%)$)|(-100%))$";
/// How many nodes a budget allows.
pub(crate) const BUDGET_NODES: &str = "^((100|[0-9]{1,2})%|[0-9]+)$";
/// When a budget is active.
pub(crate) const BUDGET_SCHEDULE: &str =
    r"^(@(annually|yearly|monthly|weekly|daily|midnight|hourly))|((.+)\s(.+)\s(.+)\s(.+)\s(.+))$";
/// For how long a budget is active: hours and minutes, with the seconds that Go prints.
pub(crate) const BUDGET_DURATION: &str = r"^((([0-9]+(h|m))|([0-9]+h[0-9]+m))(0s)?)$";

/// Labels: a map that is replaced as a whole and whose values are label values.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 100,
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
        "x-kubernetes-map-type": "atomic",
    })
}

/// The reasons of a budget.
pub(crate) fn budget_reasons(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 50,
        "items": {"type": "string", "enum": ["Underutilized", "Empty", "Drifted"]},
        "x-kubernetes-list-type": "set",
    })
}

/// An integer without the format that its type in Rust would give it.
pub(crate) fn min_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": 50})
}

/// The duration of a budget, which has a pattern of its own.
pub(crate) fn budget_duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": BUDGET_DURATION})
}
