//! A pod as the binder sees it. Pods of one template have one shape: it is prepared once, and what holds a shape
//! back holds back every pod of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::requests::{HostPort, host_ports, pod_requests};
use crate::objects::{Amounts, Expression, Pod, PodSpec, PodTerm, Selector, SpreadConstraint};

/// What selectors of other pods see of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A set of pods: those of some namespaces that a selector matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Term {
    namespaces: BTreeSet<String>,
    namespace_selector: Option<Selector>,
    /// Without a selector no pod is meant.
    selector: Option<Selector>,
}

impl Term {
    /// Whether a pod belongs to the set; namespaces are looked up for the labels that a selector wants to see.
    pub(crate) fn matches(&self, pod: &Identity, namespaces: &NamespaceLabels) -> bool {
        let here = self.namespaces.contains(&pod.namespace)
            || self.namespace_selector.as_ref().is_some_and(|selector| {
                namespaces.get(&pod.namespace).map_or_else(
                    || selector.matches(&BTreeMap::new()),
                    |labels| selector.matches(labels),
                )
            });
        here && self
            .selector
            .as_ref()
            .is_some_and(|selector| selector.matches(&pod.labels))
    }
}

/// Labels of namespaces by name.
pub(crate) type NamespaceLabels = BTreeMap<String, BTreeMap<String, String>>;

/// A set of pods seen through the label that groups nodes into domains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopologyTerm {
    pub(crate) term: Term,
    pub(crate) topology_key: String,
}

/// A spread constraint that must hold.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    pub(crate) over: TopologyTerm,
    pub(crate) max_skew: i64,
    pub(crate) min_domains: i64,
    pub(crate) honor_affinity: bool,
    pub(crate) honor_taints: bool,
}

/// A prepared pod.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Tells shapes apart without comparing them.
    pub(crate) id: u64,
    pub(crate) identity: Arc<Identity>,
    pub(crate) spec: Arc<PodSpec>,
    pub(crate) requests: Amounts,
    pub(crate) ports: Vec<HostPort>,
    pub(crate) spreads: Vec<Spread>,
    pub(crate) attracted: Vec<TopologyTerm>,
    pub(crate) repelled: Vec<Arc<TopologyTerm>>,
    /// The only node that the pod may run on, where its affinity names one: daemon pods.
    pub(crate) pinned: Option<String>,
}

impl Shape {
    pub(crate) fn of(pod: &Pod, id: u64) -> Self {
        let identity = Identity {
            namespace: pod.meta.key.namespace.clone(),
            labels: pod.meta.labels.clone(),
        };
        let spec = &pod.spec;
        let affinity = spec.affinity.as_ref();
        let resolve = |term: &PodTerm| resolve(term, &identity);
        Self {
            id,
            requests: pod_requests(spec),
            ports: host_ports(spec),
            spreads: spec
                .topology_spread_constraints
                .iter()
                .filter(|constraint| {
                    constraint.when_unsatisfiable.as_deref() != Some("ScheduleAnyway")
                })
                .map(|constraint| spread(constraint, &identity))
                .collect(),
            attracted: affinity
                .map(|affinity| affinity.near.required.iter().map(resolve).collect())
                .unwrap_or_default(),
            repelled: affinity
                .map(|affinity| {
                    affinity
                        .apart
                        .required
                        .iter()
                        .map(|term| Arc::new(resolve(term)))
                        .collect()
                })
                .unwrap_or_default(),
            pinned: pinned(spec),
            identity: Arc::new(identity),
            spec: Arc::clone(spec),
        }
    }

    /// Whether where other pods are decides where this one may go.
    pub(crate) fn looks_at_pods(&self) -> bool {
        !(self.spreads.is_empty() && self.attracted.is_empty() && self.repelled.is_empty())
    }
}

fn spread(constraint: &SpreadConstraint, identity: &Identity) -> Spread {
    Spread {
        over: TopologyTerm {
            term: Term {
                namespaces: [identity.namespace.clone()].into(),
                namespace_selector: None,
                selector: with_keys(
                    constraint.label_selector.as_ref(),
                    &constraint.match_label_keys,
                    &[],
                    &identity.labels,
                ),
            },
            topology_key: constraint.topology_key.clone(),
        },
        max_skew: constraint.max_skew.max(1),
        min_domains: constraint.min_domains.unwrap_or(1),
        honor_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
        honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
    }
}

/// A term says which pods it means in relation to the pod that carries it.
fn resolve(term: &PodTerm, identity: &Identity) -> TopologyTerm {
    let own = term.namespaces.is_empty() && term.namespace_selector.is_none();
    TopologyTerm {
        term: Term {
            namespaces: if own {
                [identity.namespace.clone()].into()
            } else {
                term.namespaces.iter().cloned().collect()
            },
            namespace_selector: term.namespace_selector.clone(),
            selector: with_keys(
                term.label_selector.as_ref(),
                &term.match_label_keys,
                &term.mismatch_label_keys,
                &identity.labels,
            ),
        },
        topology_key: term.topology_key.clone(),
    }
}

/// The selector narrowed to pods that share, or do not share, the carrier's values of some labels.
fn with_keys(
    selector: Option<&Selector>,
    same: &[String],
    different: &[String],
    labels: &BTreeMap<String, String>,
) -> Option<Selector> {
    let mut selector = selector?.clone();
    for (keys, operator) in [(same, "In"), (different, "NotIn")] {
        for key in keys {
            let Some(value) = labels.get(key) else {
                continue;
            };
            selector.match_expressions.push(Expression {
                key: key.clone(),
                operator: operator.to_owned(),
                values: vec![value.clone()],
            });
        }
    }
    Some(selector)
}

/// The node that a required affinity names in each of its terms.
fn pinned(spec: &PodSpec) -> Option<String> {
    let required = spec.affinity.as_ref()?.nodes.required.as_ref()?;
    let [term] = required.node_selector_terms.as_slice() else {
        return None;
    };
    term.match_fields
        .iter()
        .find_map(|field| match field.values.as_slice() {
            [name] if field.key == "metadata.name" && field.operator == "In" => Some(name.clone()),
            _ => None,
        })
}
