//! Label selectors, and the node selectors of affinity and volumes, as they are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Selects objects by their labels; an empty selector selects everything.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that must be there with exactly this value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Further conditions, all of which must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_expressions: Option<Vec<SelectorRequirement>>,
}

impl LabelSelector {
    /// Whether the labels satisfy the selector. An operator nobody knows selects nothing.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let get = |key: &str| labels.and_then(|labels| labels.get(key));
        let labels_match = self
            .match_labels
            .iter()
            .flatten()
            .all(|(key, value)| get(key).is_some_and(|found| found == value));
        labels_match
            && self.match_expressions.iter().flatten().all(|expression| {
                let listed = |value: &String| expression.values.contains(value);
                match (expression.operator.as_str(), get(&expression.key)) {
                    ("In", Some(value)) => listed(value),
                    ("NotIn", Some(value)) => !listed(value),
                    ("NotIn" | "DoesNotExist", None) | ("Exists", Some(_)) => true,
                    _ => false,
                }
            })
    }
}

/// One condition on one label: of a label selector (In, NotIn, Exists, DoesNotExist) or of a node selector
/// (also Gt, Lt, Gte, Lte).
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectorRequirement {
    /// The label.
    pub key: String,
    /// The operator.
    pub operator: String,
    /// The operands.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub values: Vec<String>,
}

/// Selects nodes: any one of the terms suffices.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    /// The alternatives.
    #[serde(deserialize_with = "super::null_is_default")]
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// Selects nodes: all conditions must hold; a term without any selects nothing.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    /// Conditions on labels.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub match_expressions: Vec<SelectorRequirement>,
    /// Conditions on fields, which means `metadata.name`.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub match_fields: Vec<SelectorRequirement>,
}
