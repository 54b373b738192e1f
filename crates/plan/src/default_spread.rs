//! Spreads for pods that state none, as the operator configured them (section 5.10 of scheduling.md).
//!
//! The selector of each is deduced from the Services that select the pod and from its controller.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use rustc_hash::FxHashMap;

use crate::{
    labels::Labels,
    pod::{Pod, Shape},
    requirement::Operator,
    selector::{Selector, SelectorTerm},
    topology::Spread,
    vocabulary::ShapeId,
};

/// Controllers whose selectors are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ControllerKind {
    /// `v1 ReplicationController`
    ReplicationController,
    /// `apps/v1 ReplicaSet`
    ReplicaSet,
    /// `apps/v1 StatefulSet`
    StatefulSet,
}

/// What a Service selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSelector {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// Labels of its pods; no pods without a selector.
    pub labels: Option<Labels>,
}

/// What a controller selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerSelector {
    /// The kind.
    pub kind: ControllerKind,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// Which pods are its own.
    pub selector: Selector,
}

/// Spreads without selectors, and what selectors are deduced from.
#[derive(Clone, Debug, Default)]
pub struct DefaultSpreads {
    /// The spreads.
    pub spreads: Vec<Spread>,
    /// All Services.
    pub services: Vec<Arc<ServiceSelector>>,
    /// Controllers of the three kinds.
    pub controllers: Vec<Arc<ControllerSelector>>,
}

type Name = (Arc<str>, Arc<str>);

impl DefaultSpreads {
    /// Gives each pod without spreads those of its own that can be deduced. The ids of the new shapes
    /// count down from the largest, where no lowering gets.
    pub(crate) fn apply<'p>(mut self, pods: impl Iterator<Item = &'p mut Arc<Pod>>) {
        if self.spreads.is_empty() {
            return;
        }
        self.services
            .sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let mut services: FxHashMap<Arc<str>, Vec<Arc<ServiceSelector>>> = FxHashMap::default();
        for service in self.services {
            services
                .entry(service.namespace.clone())
                .or_default()
                .push(service);
        }
        let controllers: FxHashMap<(ControllerKind, Name), Arc<ControllerSelector>> = self
            .controllers
            .into_iter()
            .map(|own| ((own.kind, (own.namespace.clone(), own.name.clone())), own))
            .collect();
        let mut shapes: FxHashMap<(ShapeId, Selector), (ShapeId, Arc<Shape>)> =
            FxHashMap::default();
        for pod in pods {
            let is_ours = pod.node.is_none() || pod.is_reschedulable();
            if !is_ours || !pod.shape.topology.spreads.is_empty() {
                continue;
            }
            let of_namespace = services.get(&pod.namespace);
            let services = of_namespace.map_or(&[][..], |services| services);
            let controller = pod.controller.as_ref().and_then(|(kind, name)| {
                controllers.get(&(*kind, (pod.namespace.clone(), name.clone())))
            });
            let selector = deduced(pod, services, controller.map(|own| &**own));
            if selector.terms.as_ref().is_none_or(Vec::is_empty) {
                continue;
            }
            let next = shapes.len();
            let (shape_id, shape) = shapes
                .entry((pod.shape_id, selector.clone()))
                .or_insert_with(|| {
                    let mut shape = (*pod.shape).clone();
                    shape.topology.spreads = self
                        .spreads
                        .iter()
                        .map(|spread| Spread {
                            selector: selector.clone(),
                            ..spread.clone()
                        })
                        .collect();
                    let id = u32::MAX - u32::try_from(next).unwrap_or(0);
                    (ShapeId(id), Arc::new(shape))
                })
                .clone();
            *pod = Arc::new(Pod {
                shape_id,
                shape,
                ..(**pod).clone()
            });
        }
    }
}

fn deduced(
    pod: &Pod,
    services: &[Arc<ServiceSelector>],
    controller: Option<&ControllerSelector>,
) -> Selector {
    let mut equal: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    for labels in services
        .iter()
        .filter_map(|service| service.labels.as_ref())
    {
        if labels.iter().all(|(key, value)| pod.labels.is(key, value)) {
            equal.extend(
                labels
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone())),
            );
        }
    }
    let of_controller = controller.and_then(|own| own.selector.terms.clone());
    let of_controller = of_controller.unwrap_or_default();
    // A ReplicationController's labels take the place of equal keys, the others' come besides.
    if controller.is_some_and(|own| own.kind == ControllerKind::ReplicationController) {
        equal.retain(|key, _| !of_controller.iter().any(|term| term.key == *key));
    }
    let terms = equal
        .into_iter()
        .map(|(key, value)| SelectorTerm {
            key,
            operator: Operator::In,
            values: [value].into(),
        })
        .chain(of_controller)
        .collect();
    Selector { terms: Some(terms) }.sorted()
}
