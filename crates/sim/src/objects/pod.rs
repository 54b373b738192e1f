//! Pods: the part of the specification that decides where they may run, and the part of the status that says how
//! far they have come.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::amount::Amounts;
use super::meta::{Condition, Meta, absent};
use super::node::{Taint, TaintEffect};
use super::selector::Selector;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodWire {
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "absent")]
    spec: PodSpec,
    #[serde(deserialize_with = "absent")]
    status: Status,
}
super::kind!(PodWire, "", "v1", "Pod", "pods", NamespaceResourceScope);

/// What pods of one template share.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    /// Taken out when the pod is lowered, since it differs between the pods of a set.
    node_name: Option<String>,
    pub(crate) scheduler_name: Option<String>,
    #[serde(deserialize_with = "absent")]
    pub(crate) scheduling_gates: Vec<Gate>,
    #[serde(deserialize_with = "absent")]
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) affinity: Option<Affinity>,
    #[serde(deserialize_with = "absent")]
    pub(crate) tolerations: Vec<Toleration>,
    #[serde(deserialize_with = "absent")]
    pub(crate) topology_spread_constraints: Vec<SpreadConstraint>,
    #[serde(deserialize_with = "absent")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "absent")]
    pub(crate) init_containers: Vec<Container>,
    #[serde(deserialize_with = "absent")]
    pub(crate) overhead: Amounts,
    #[serde(deserialize_with = "absent")]
    pub(crate) resources: Resources,
    #[serde(deserialize_with = "absent")]
    pub(crate) host_network: bool,
    #[serde(deserialize_with = "absent")]
    pub(crate) priority: i64,
    pub(crate) restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub(crate) struct Gate {
    pub(crate) name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    #[serde(deserialize_with = "absent")]
    pub(crate) requests: Amounts,
    #[serde(deserialize_with = "absent")]
    pub(crate) limits: Amounts,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    pub(crate) name: String,
    #[serde(deserialize_with = "absent")]
    pub(crate) image: String,
    #[serde(deserialize_with = "absent")]
    pub(crate) resources: Resources,
    #[serde(deserialize_with = "absent")]
    pub(crate) ports: Vec<Port>,
    /// `Always` on an init container makes it a sidecar.
    pub(crate) restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Port {
    #[serde(rename = "containerPort")]
    pub(crate) inside: i64,
    #[serde(rename = "hostPort", deserialize_with = "absent")]
    pub(crate) on_host: i64,
    #[serde(rename = "hostIP")]
    pub(crate) host_ip: Option<String>,
    pub(crate) protocol: Option<String>,
}

/// Tolerates taints of a key, a value and an effect; what is left out matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Toleration {
    #[serde(deserialize_with = "absent")]
    pub(crate) key: String,
    pub(crate) operator: Option<String>,
    #[serde(deserialize_with = "absent")]
    pub(crate) value: String,
    #[serde(deserialize_with = "absent")]
    pub(crate) effect: String,
    #[serde(rename = "tolerationSeconds")]
    pub(crate) seconds: Option<i64>,
}

impl Toleration {
    pub(crate) fn tolerates(&self, taint: &Taint) -> bool {
        (self.effect.is_empty() || self.effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && match self.operator.as_deref() {
                None | Some("" | "Equal") => self.value == taint.value && !self.key.is_empty(),
                Some("Exists") => true,
                Some("Lt") => {
                    numbers(&taint.value, &self.value).is_some_and(|(has, bound)| has < bound)
                }
                Some("Gt") => {
                    numbers(&taint.value, &self.value).is_some_and(|(has, bound)| has > bound)
                }
                Some(_) => false,
            }
    }
}

/// Two values as integers, where both are.
fn numbers(left: &str, right: &str) -> Option<(i64, i64)> {
    Some((left.parse().ok()?, right.parse().ok()?))
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SpreadConstraint {
    pub(crate) max_skew: i64,
    pub(crate) topology_key: String,
    pub(crate) when_unsatisfiable: Option<String>,
    pub(crate) label_selector: Option<Selector>,
    pub(crate) min_domains: Option<i64>,
    pub(crate) node_affinity_policy: Option<String>,
    pub(crate) node_taints_policy: Option<String>,
    #[serde(deserialize_with = "absent")]
    pub(crate) match_label_keys: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Affinity {
    #[serde(rename = "nodeAffinity", deserialize_with = "absent")]
    pub(crate) nodes: NodeAffinity,
    #[serde(rename = "podAffinity", deserialize_with = "absent")]
    pub(crate) near: PodAffinity,
    #[serde(rename = "podAntiAffinity", deserialize_with = "absent")]
    pub(crate) apart: PodAffinity,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub(crate) struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub(crate) required: Option<NodeSelector>,
    #[serde(
        rename = "preferredDuringSchedulingIgnoredDuringExecution",
        deserialize_with = "absent"
    )]
    pub(crate) preferred: Vec<PreferredNodeTerm>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeSelector {
    #[serde(deserialize_with = "absent")]
    pub(crate) node_selector_terms: Vec<NodeSelectorTerm>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub(crate) struct PreferredNodeTerm {
    pub(crate) weight: i64,
    pub(crate) preference: NodeSelectorTerm,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeSelectorTerm {
    #[serde(deserialize_with = "absent")]
    pub(crate) match_expressions: Vec<Expression>,
    #[serde(deserialize_with = "absent")]
    pub(crate) match_fields: Vec<Expression>,
}

/// A key, an operator and values, over labels of nodes or pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub(crate) struct Expression {
    pub(crate) key: String,
    pub(crate) operator: String,
    #[serde(deserialize_with = "absent")]
    pub(crate) values: Vec<String>,
}

impl Expression {
    /// Whether a label with this value (or its absence) satisfies the expression.
    pub(crate) fn matches(&self, value: Option<&str>) -> bool {
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.iter().any(|one| one == value)),
            "NotIn" => value.is_none_or(|value| self.values.iter().all(|one| one != value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "Gt" => self.bound(value).is_some_and(|(has, bound)| has > bound),
            "Lt" => self.bound(value).is_some_and(|(has, bound)| has < bound),
            _ => false,
        }
    }

    fn bound(&self, value: Option<&str>) -> Option<(i64, i64)> {
        numbers(value?, self.values.first()?)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub(crate) struct PodAffinity {
    #[serde(
        rename = "requiredDuringSchedulingIgnoredDuringExecution",
        deserialize_with = "absent"
    )]
    pub(crate) required: Vec<PodTerm>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodTerm {
    pub(crate) topology_key: String,
    pub(crate) label_selector: Option<Selector>,
    #[serde(deserialize_with = "absent")]
    pub(crate) namespaces: Vec<String>,
    pub(crate) namespace_selector: Option<Selector>,
    #[serde(deserialize_with = "absent")]
    pub(crate) match_label_keys: Vec<String>,
    #[serde(deserialize_with = "absent")]
    pub(crate) mismatch_label_keys: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(deserialize_with = "absent")]
    phase: String,
    #[serde(deserialize_with = "absent")]
    conditions: Vec<Condition>,
    start_time: Option<Timestamp>,
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) meta: Meta,
    pub(crate) spec: Arc<PodSpec>,
    /// The node that it is bound to.
    pub(crate) node: Option<String>,
    pub(crate) phase: Phase,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) started: Option<Timestamp>,
}

impl From<PodWire> for Pod {
    fn from(mut wire: PodWire) -> Self {
        Self {
            meta: wire.metadata.into(),
            node: wire.spec.node_name.take().filter(|name| !name.is_empty()),
            spec: Arc::new(wire.spec),
            phase: match wire.status.phase.as_str() {
                "" | "Pending" => Phase::Pending,
                "Running" => Phase::Running,
                "Succeeded" => Phase::Succeeded,
                "Failed" => Phase::Failed,
                _ => Phase::Unknown,
            },
            conditions: wire.status.conditions,
            started: wire.status.start_time,
        }
    }
}

impl Pod {
    pub(crate) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.kind == kind)
    }

    /// Since when the pod is ready.
    pub(crate) fn ready_since(&self) -> Option<Timestamp> {
        self.condition("Ready")
            .filter(|condition| condition.holds())
            .map(|condition| {
                condition
                    .last_transition_time
                    .unwrap_or(Timestamp::UNIX_EPOCH)
            })
    }

    /// Finished for good: it uses nothing and counts nowhere.
    pub(crate) fn terminal(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Counts towards the replicas of its owner.
    pub(crate) fn active(&self) -> bool {
        !self.terminal() && self.meta.deleting.is_none()
    }
}

impl PodSpec {
    /// The first taint of the given effects that nothing tolerates.
    pub(crate) fn untolerated<'a>(
        &self,
        taints: &'a [Taint],
        effects: &[TaintEffect],
    ) -> Option<&'a Taint> {
        taints.iter().find(|taint| {
            taint
                .effect()
                .is_some_and(|effect| effects.contains(&effect))
                && !self
                    .tolerations
                    .iter()
                    .any(|toleration| toleration.tolerates(taint))
        })
    }

    /// Whether labels and name of a node satisfy the node selector and the required node affinity.
    pub(crate) fn wants_node(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.node_selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .affinity
                .as_ref()
                .and_then(|affinity| affinity.nodes.required.as_ref())
                .is_none_or(|required| {
                    required
                        .node_selector_terms
                        .iter()
                        .any(|term| term.matches(name, labels))
                })
    }
}

impl NodeSelectorTerm {
    /// A term without any expression matches nothing.
    pub(crate) fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        !(self.match_expressions.is_empty() && self.match_fields.is_empty())
            && self.match_expressions.iter().all(|expression| {
                expression.matches(labels.get(&expression.key).map(String::as_str))
            })
            && self.match_fields.iter().all(|expression| {
                expression.key == "metadata.name" && expression.matches(Some(name))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_follow_key_value_and_effect() {
        let taint = |text: &str| -> Taint { serde_json::from_str(text).unwrap() };
        let plain = r#"{"key": "team", "value": "red", "effect": "NoSchedule"}"#;
        let rows = [
            (r#"{"key": "team", "value": "red"}"#, plain, true),
            (
                r#"{"key": "team", "operator": "Equal", "value": "red", "effect": "NoSchedule"}"#,
                plain,
                true,
            ),
            (r#"{"key": "team", "value": "blue"}"#, plain, false),
            (r#"{"key": "team", "operator": "Exists"}"#, plain, true),
            (r#"{"operator": "Exists"}"#, plain, true),
            (
                r#"{"operator": "Exists", "effect": "NoExecute"}"#,
                plain,
                false,
            ),
            (r#"{"key": "other", "operator": "Exists"}"#, plain, false),
            (
                r#"{"key": "n", "operator": "Gt", "value": "3"}"#,
                r#"{"key": "n", "value": "5", "effect": "NoSchedule"}"#,
                true,
            ),
            (
                r#"{"key": "n", "operator": "Lt", "value": "3"}"#,
                r#"{"key": "n", "value": "5", "effect": "NoSchedule"}"#,
                false,
            ),
        ];
        for (toleration, tainted, expected) in rows {
            let toleration: Toleration = serde_json::from_str(toleration).unwrap();
            assert_eq!(
                toleration.tolerates(&taint(tainted)),
                expected,
                "{toleration:?} {tainted}"
            );
        }
    }

    #[test]
    fn required_node_affinity_is_any_term_of_all_expressions() {
        let labels: BTreeMap<String, String> = [("zone", "a"), ("cpu", "4")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let rows = [
            (r#"{"nodeSelector": {"zone": "a"}}"#, true),
            (r#"{"nodeSelector": {"zone": "b"}}"#, false),
            (
                r#"{"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}"#,
                false,
            ),
            (
                r#"{"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}}}"#,
                false,
            ),
            (
                r#"{"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]},
                {"matchExpressions": [{"key": "cpu", "operator": "Gt", "values": ["3"]}]}]}}}}"#,
                true,
            ),
            (
                r#"{"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]}}}}"#,
                true,
            ),
            (
                r#"{"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]}}}}"#,
                false,
            ),
        ];
        for (text, expected) in rows {
            let spec: PodSpec = serde_json::from_str(text).unwrap();
            assert_eq!(spec.wants_node("n1", &labels), expected, "{text}");
        }
    }
}
