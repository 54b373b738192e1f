//! DaemonSets and PodDisruptionBudgets.

use alloc::{format, string::ToString, sync::Arc, vec::Vec};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString};
use karpenter_api::objects::{self, DaemonSet, LabelSelector, PodDisruptionBudget, PodSpec};

use super::{Lowering, Problem, name_of};
use crate::{
    daemon::Daemon,
    default_spread::{ControllerKind, ControllerSelector, ServiceSelector},
    disruption_budget::{Bound, DisruptionBudget},
    requirement::Operator,
    selector::{Selector, SelectorTerm},
    topology::Namespace,
};

impl Lowering {
    /// A DaemonSet with the newest of its pods, which knows better than the template what was admitted.
    pub fn daemon(
        &mut self,
        daemon_set: &DaemonSet,
        newest: Option<&objects::Pod>,
    ) -> Result<Daemon, Problem> {
        let meta = &daemon_set.metadata;
        let template = &daemon_set.spec.template.spec;
        let mut spec = match newest {
            Some(pod) => pod.spec.clone(),
            None => with_limits_as_requests(template),
        };
        pin_to_template(&mut spec, template);
        let tolerations = self.tolerations(&spec.tolerations);
        let shape = self.shape_of(&spec, None, tolerations);
        let (shape_id, shape) = self.shape(shape);
        Ok(Daemon {
            namespace: self.string(meta.namespace.as_deref().unwrap_or("default")),
            name: name_of(meta).into(),
            requests: self.effective_requests(&spec, newest.map(|pod| &pod.status)),
            shape_id,
            shape,
        })
    }

    /// A PodDisruptionBudget.
    pub fn budget(&mut self, budget: &PodDisruptionBudget) -> Result<DisruptionBudget, Problem> {
        let meta = &budget.metadata;
        let problem = |message| Problem {
            kind: "PodDisruptionBudget",
            namespace: meta.namespace.as_deref().map(Arc::from),
            name: name_of(meta).into(),
            pool: None,
            message,
        };
        let spec = &budget.spec;
        Ok(DisruptionBudget {
            namespace: self.string(meta.namespace.as_deref().unwrap_or("default")),
            name: name_of(meta).into(),
            selector: self.selector(spec.selector.as_ref()).map_err(problem)?,
            disruptions_allowed: budget.status.disruptions_allowed,
            max_unavailable: spec
                .max_unavailable
                .as_ref()
                .map(bound)
                .transpose()
                .map_err(problem)?,
            min_available: spec
                .min_available
                .as_ref()
                .map(bound)
                .transpose()
                .map_err(problem)?,
            desired_healthy: budget.status.desired_healthy,
            expected_pods: budget.status.expected_pods,
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            closed_since: closed_since(&budget.status),
            always_allow_unhealthy: spec.unhealthy_pod_eviction_policy.as_deref()
                == Some("AlwaysAllow"),
        })
    }

    /// A namespace.
    pub fn namespace(&mut self, namespace: &objects::Namespace) -> Namespace {
        Namespace {
            name: self.string(name_of(&namespace.metadata)),
            labels: self.labels(namespace.metadata.labels.as_ref()),
        }
    }

    /// A Service, as what it selects.
    pub fn service(&mut self, service: &objects::Service) -> ServiceSelector {
        let meta = &service.metadata;
        ServiceSelector {
            namespace: self.string(meta.namespace.as_deref().unwrap_or("default")),
            name: name_of(meta).into(),
            labels: service
                .spec
                .selector
                .as_ref()
                .map(|selector| self.labels(Some(selector))),
        }
    }

    /// A controller of pods, as what it selects. What cannot be read selects nothing.
    pub fn controller_selector(
        &mut self,
        kind: ControllerKind,
        meta: &ObjectMeta,
        selector: Option<&LabelSelector>,
    ) -> ControllerSelector {
        ControllerSelector {
            kind,
            namespace: self.string(meta.namespace.as_deref().unwrap_or("default")),
            name: name_of(meta).into(),
            selector: self.selector(selector).unwrap_or_default(),
        }
    }

    /// A label selector.
    pub(super) fn selector(
        &mut self,
        selector: Option<&LabelSelector>,
    ) -> Result<Selector, alloc::string::String> {
        let Some(selector) = selector else {
            return Ok(Selector { terms: None });
        };
        let mut terms: Vec<SelectorTerm> = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            let values = [self.string(value)].into();
            terms.push(SelectorTerm {
                key: self.string(key),
                operator: Operator::In,
                values,
            });
        }
        for entry in selector.match_expressions.iter().flatten() {
            let unknown = || {
                format!(
                    "selector has an unknown operator {}, use In, NotIn, Exists or DoesNotExist",
                    entry.operator
                )
            };
            let operator = Operator::parse(&entry.operator).ok_or_else(unknown)?;
            let is_bare = entry.values.is_empty();
            match operator {
                Operator::In | Operator::NotIn if is_bare => {
                    return Err(format!(
                        "selector with {} of label {} needs values",
                        entry.operator, entry.key
                    ));
                }
                Operator::Exists | Operator::DoesNotExist if !is_bare => {
                    return Err(format!(
                        "selector with {} of label {} takes no values",
                        entry.operator, entry.key
                    ));
                }
                Operator::Gt | Operator::Lt | Operator::Gte | Operator::Lte => {
                    return Err(unknown());
                }
                Operator::In | Operator::NotIn | Operator::Exists | Operator::DoesNotExist => {}
            }
            let values = entry
                .values
                .iter()
                .map(|value| self.string(value))
                .collect();
            terms.push(SelectorTerm {
                key: self.string(&entry.key),
                operator,
                values,
            });
        }
        Ok(Selector { terms: Some(terms) })
    }
}

/// Since when a budget allows no disruption.
fn closed_since(status: &objects::PodDisruptionBudgetStatus) -> Option<Timestamp> {
    let mut conditions = status.conditions.iter().flatten();
    let allowed = conditions.find(|condition| condition.type_ == "DisruptionAllowed")?;
    let since = allowed.last_transition_time.as_ref()?;
    (allowed.status == "False").then_some(since.0)
}

fn bound(value: &IntOrString) -> Result<Bound, alloc::string::String> {
    match value {
        IntOrString::Int(count) => Ok(Bound::Count(*count)),
        IntOrString::String(text) => text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok())
            .map(Bound::Percent)
            .ok_or_else(|| format!("{text} is neither a number nor a percentage").to_string()),
    }
}

/// What the API server would have done to the template's pods: a limit without a request is a request.
fn with_limits_as_requests(template: &PodSpec) -> PodSpec {
    let mut spec = template.clone();
    for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
        let Some(resources) = &mut container.resources else {
            continue;
        };
        let Some(limits) = &resources.limits else {
            continue;
        };
        let requests = resources.requests.get_or_insert_default();
        for (name, quantity) in limits {
            requests.entry(name.clone()).or_insert(*quantity);
        }
    }
    spec
}

/// The DaemonSet controller pins each pod to its node by required affinity; what the template asks for
/// takes its place.
fn pin_to_template(spec: &mut PodSpec, template: &PodSpec) {
    let required = |spec: &PodSpec| {
        spec.affinity
            .as_ref()?
            .node_affinity
            .as_ref()?
            .required
            .clone()
    };
    let wanted = required(template);
    if let Some(affinity) = spec
        .affinity
        .as_mut()
        .and_then(|all| all.node_affinity.as_mut())
    {
        affinity.required = wanted;
    } else if wanted.is_some() {
        let affinity = spec.affinity.get_or_insert_default();
        affinity.node_affinity.get_or_insert_default().required = wanted;
    }
}
