//! Spreads for pods that state none, and what their selectors are deduced from.

use std::{borrow::Cow, sync::Arc};

use karpenter_api::objects::{
    LabelSelector, ReplicaSet, ReplicationController, Service, StatefulSet,
};
use karpenter_plan::{
    Lowering,
    default_spread::{ControllerKind, ControllerSelector, DefaultSpreads, ServiceSelector},
};
use kube::api::ObjectMeta;

use super::shelf::Shelf;
use crate::mirror::{objects::Objects, state::State};

/// Services and controllers; there are none where nobody reads them.
#[derive(Default)]
pub(super) struct SpreadSources {
    services: Shelf<Arc<Service>, ServiceSelector>,
    replication_controllers: Controllers<ReplicationController>,
    replica_sets: Controllers<ReplicaSet>,
    stateful_sets: Controllers<StatefulSet>,
}

type Controllers<Object> = Shelf<Arc<Object>, ControllerSelector>;

impl SpreadSources {
    pub(super) fn update(&mut self, state: &mut State) -> DefaultSpreads {
        if state.default_constraints.is_empty() {
            return DefaultSpreads::default();
        }
        let lowering = &mut state.lowering;
        let services = self
            .services
            .lower_all(&state.services, |service| lowering.service(service));
        let of_controllers = [
            lower_controllers(
                &mut self.replication_controllers,
                &state.replication_controllers,
                lowering,
            ),
            lower_controllers(&mut self.replica_sets, &state.replica_sets, lowering),
            lower_controllers(&mut self.stateful_sets, &state.stateful_sets, lowering),
        ];
        DefaultSpreads {
            spreads: lowering.default_spreads(&state.default_constraints),
            services: services.to_vec(),
            controllers: of_controllers.iter().flat_map(|all| all.to_vec()).collect(),
        }
    }
}

/// A controller that says which pods are its own.
trait Controller {
    const KIND: ControllerKind;
    fn metadata(&self) -> &ObjectMeta;
    fn selector(&self) -> Option<Cow<'_, LabelSelector>>;
}

impl Controller for ReplicationController {
    const KIND: ControllerKind = ControllerKind::ReplicationController;
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
        // It has nothing but labels, from before there were selectors.
        Some(Cow::Owned(LabelSelector {
            match_labels: self.spec.selector.clone(),
            ..LabelSelector::default()
        }))
    }
}

macro_rules! controller {
    ($kind:ident) => {
        impl Controller for $kind {
            const KIND: ControllerKind = ControllerKind::$kind;
            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
                self.spec.selector.as_ref().map(Cow::Borrowed)
            }
        }
    };
}

controller!(ReplicaSet);
controller!(StatefulSet);

fn lower_controllers<Object: Controller>(
    shelf: &mut Controllers<Object>,
    objects: &Objects<Arc<Object>>,
    lowering: &mut Lowering,
) -> Arc<[Arc<ControllerSelector>]> {
    shelf.lower_all(objects, |own| {
        lowering.controller_selector(Object::KIND, own.metadata(), own.selector().as_deref())
    })
}
