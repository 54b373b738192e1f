//! CapacityBuffers with what they refer to.

use std::sync::Arc;

use karpenter_api::{
    CapacityBuffer,
    objects::{
        Deployment, ReplicaSet, StatefulSet, pod,
        workload::{self, WorkloadSpec},
    },
};
use karpenter_plan::{
    Lowering,
    buffer::{self, Buffer, Reference, Unit, WorkloadKind},
};

use super::{
    Key,
    state::{State, is_aside},
};

/// What was found under a buffer's reference.
#[derive(Clone)]
pub(super) enum Found {
    Nothing,
    PodTemplate(Arc<workload::PodTemplate>),
    Deployment(Arc<Deployment>),
    ReplicaSet(Arc<ReplicaSet>),
    StatefulSet(Arc<StatefulSet>),
}

/// A buffer and what it refers to.
pub(super) type BufferSource = (Arc<CapacityBuffer>, Found);

impl Found {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nothing, Self::Nothing) => true,
            (Self::PodTemplate(a), Self::PodTemplate(b)) => Arc::ptr_eq(a, b),
            (Self::Deployment(a), Self::Deployment(b)) => Arc::ptr_eq(a, b),
            (Self::ReplicaSet(a), Self::ReplicaSet(b)) => Arc::ptr_eq(a, b),
            (Self::StatefulSet(a), Self::StatefulSet(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    fn unit(&self) -> Option<Unit<'_>> {
        fn of(spec: &WorkloadSpec) -> (&pod::PodTemplate, Option<i32>) {
            // A workload that does not say has one pod.
            (&spec.template, Some(spec.replicas.unwrap_or(1)))
        }
        let (template, replicas) = match self {
            Self::Nothing => return None,
            Self::PodTemplate(own) => (&own.template, None),
            Self::Deployment(own) => of(&own.spec),
            Self::ReplicaSet(own) => of(&own.spec),
            Self::StatefulSet(own) => of(&own.spec),
        };
        let generation = match self {
            Self::PodTemplate(own) => own.metadata.generation,
            Self::Nothing | Self::Deployment(_) | Self::ReplicaSet(_) | Self::StatefulSet(_) => {
                None
            }
        };
        Some(Unit {
            template,
            replicas,
            generation,
        })
    }
}

/// Whether both are made from the same objects. What a buffer's status says does not matter.
pub(super) fn is_same(left: &BufferSource, right: &BufferSource) -> bool {
    left.0.spec == right.0.spec
        && left.0.metadata.uid == right.0.metadata.uid
        && left.1.is(&right.1)
}

pub(super) fn lower(lowering: &mut Lowering, (buffer, found): &BufferSource) -> Buffer {
    lowering.buffer(buffer, found.unit())
}

impl State {
    /// True if somebody reads ReplicaSets and StatefulSets.
    pub(super) fn reads_workloads(&self) -> bool {
        !self.default_constraints.is_empty() || self.gates.capacity_buffer
    }

    /// The buffers that can be read, each with what it refers to; none while their gate is closed.
    pub(super) fn buffer_sources(&self) -> Vec<(Key, BufferSource)> {
        if !self.gates.capacity_buffer {
            return Vec::new();
        }
        self.buffers
            .iter()
            .filter(|(key, buffer)| {
                buffer.metadata.deletion_timestamp.is_none()
                    && !is_aside(&self.aside, "CapacityBuffer", key)
            })
            .map(|(key, buffer)| {
                let found = self.referred_to(&key.namespace, buffer);
                (key.clone(), (Arc::clone(buffer), found))
            })
            .collect()
    }

    fn referred_to(&self, namespace: &str, buffer: &CapacityBuffer) -> Found {
        let key = |name: &str| Key::new(namespace, name);
        let found = match buffer::reference(buffer) {
            Err(_) => None,
            Ok(Reference::PodTemplate(name)) => {
                let found = self.pod_templates.get(&key(name));
                found.cloned().map(Found::PodTemplate)
            }
            Ok(Reference::Workload(WorkloadKind::Deployment, name)) => self
                .deployments
                .get(&key(name))
                .cloned()
                .map(Found::Deployment),
            Ok(Reference::Workload(WorkloadKind::ReplicaSet, name)) => self
                .replica_sets
                .get(&key(name))
                .cloned()
                .map(Found::ReplicaSet),
            Ok(Reference::Workload(WorkloadKind::StatefulSet, name)) => self
                .stateful_sets
                .get(&key(name))
                .cloned()
                .map(Found::StatefulSet),
        };
        found.unwrap_or(Found::Nothing)
    }
}
