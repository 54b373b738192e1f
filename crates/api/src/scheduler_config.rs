//! `SCHEDULER_CONFIG`: constraints for pods that state none (section 5.10 of scheduling.md).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::objects::pod::TopologySpreadConstraint;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Document {
    pod_topology_spread: PodTopologySpread,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PodTopologySpread {
    default_constraints: Vec<Constraint>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Constraint {
    max_skew: i32,
    topology_key: String,
    when_unsatisfiable: String,
    min_domains: Option<i32>,
    node_affinity_policy: Option<String>,
    node_taints_policy: Option<String>,
    label_selector: Option<Value>,
    match_label_keys: Option<Value>,
}

impl Constraint {
    fn fault(&self) -> Option<&'static str> {
        let is_known = ["DoNotSchedule", "ScheduleAnyway"].contains(&&*self.when_unsatisfiable);
        let name = self.topology_key.rsplit('/').next().unwrap_or_default();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.max_skew <= 0 {
            Some("maxSkew must be greater than zero")
        } else if name.is_empty() || !name.chars().all(is_name) {
            Some("topologyKey must be a qualified name")
        } else if !is_known {
            Some("whenUnsatisfiable must be DoNotSchedule or ScheduleAnyway")
        } else if self.label_selector.is_some() {
            Some("labelSelector must be absent, it is deduced for each pod")
        } else if self.match_label_keys.is_some() {
            Some("matchLabelKeys must be absent")
        } else {
            None
        }
    }
}

/// The default constraints that a document states, without selectors.
///
/// # Errors
/// A text that names the constraint, when the document has another form or a constraint is of no use.
pub fn default_constraints(document: &Value) -> Result<Vec<TopologySpreadConstraint>, String> {
    if document.is_null() {
        return Ok(Vec::new());
    }
    let document = Document::deserialize(document)
        .map_err(|fault| format!("decoding scheduler config, {fault}"))?;
    let mut pairs = BTreeSet::new();
    let mut constraints = Vec::new();
    let all = document.pod_topology_spread.default_constraints;
    for (index, constraint) in all.into_iter().enumerate() {
        let pair = (
            constraint.topology_key.clone(),
            constraint.when_unsatisfiable.clone(),
        );
        let fault = constraint.fault().or_else(|| {
            let is_new = pairs.insert(pair);
            (!is_new).then_some("topologyKey and whenUnsatisfiable are those of another constraint")
        });
        if let Some(fault) = fault {
            return Err(format!(
                "validating scheduler config, podTopologySpread.defaultConstraints[{index}]: {fault}"
            ));
        }
        constraints.push(TopologySpreadConstraint {
            max_skew: constraint.max_skew,
            topology_key: constraint.topology_key,
            when_unsatisfiable: constraint.when_unsatisfiable,
            min_domains: constraint.min_domains,
            node_affinity_policy: constraint.node_affinity_policy,
            node_taints_policy: constraint.node_taints_policy,
            ..TopologySpreadConstraint::default()
        });
    }
    Ok(constraints)
}
