//! The judge's own reading of DaemonSets: which of their pods come with a node.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::daemon::Daemon;
use crate::node::Node;
use crate::pod::HostPort;
use crate::pool::Pool;
use crate::resources::Resources;
use crate::snapshot::Snapshot;

use super::existing::host_name;
use super::terms::Terms;

/// What DaemonSets bring along.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overhead {
    pub(crate) requests: Resources,
    pub(crate) ports: Vec<HostPort>,
}

impl Overhead {
    fn of<'a>(daemons: impl Iterator<Item = &'a Arc<Daemon>>) -> Self {
        let mut overhead = Self::default();
        for daemon in daemons {
            overhead.requests.add(&daemon.requests);
            overhead.ports.extend(daemon.shape.ports.iter().cloned());
        }
        overhead
    }
}

/// What comes with a new node of a pool, given what is known of its labels from the template
/// (`known`) and from its instance type.
pub(super) fn on_new(snapshot: &Snapshot, pool: &Pool, known: &Terms, kind: &Terms) -> Overhead {
    Overhead::of(snapshot.daemons.values().filter(|daemon| {
        let shape = &daemon.shape;
        let is_tolerant = pool
            .taints
            .iter()
            .filter(|taint| &*taint.effect != "PreferNoSchedule")
            .all(|taint| shape.tolerations.iter().any(|own| own.tolerates(taint)));
        let mut alternatives = shape
            .alternatives
            .iter()
            .map(|terms| Terms::of(terms, &snapshot.vocabulary));
        !(shape.claims_devices && snapshot.devices.is_none())
            && is_tolerant
            && alternatives.any(|wanted| known.may_satisfy(&wanted) && kind.intersect(&wanted))
    }))
}

/// What may still come to a node that exists, what is there already taken off.
pub(crate) fn on_existing(snapshot: &Snapshot, node: &Node, present: &Resources) -> Resources {
    let mut expected = Overhead::of(snapshot.daemons.values().filter(|daemon| {
        let shape = &daemon.shape;
        let is_tolerant = node
            .taints
            .iter()
            .all(|taint| shape.tolerations.iter().any(|own| own.tolerates(taint)));
        // Only the first term is looked at, as upstream does.
        let wanted = shape
            .alternatives
            .first()
            .map(|terms| Terms::of(terms, &snapshot.vocabulary));
        !(shape.claims_devices && snapshot.devices.is_none())
            && is_tolerant
            && wanted.is_none_or(|wanted| wanted.are_met_by(&node.labels, host_name(node)))
    }))
    .requests;
    expected.subtract(present);
    expected.clamp_at_zero();
    expected
}
