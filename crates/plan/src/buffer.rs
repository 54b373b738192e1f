//! CapacityBuffers: room kept free, in the form of pods that nobody runs (scheduling 10.1).
//!
//! A buffer that resolves becomes so many *virtual pods*, which are scheduled like any that wait. They
//! open claims and take room in plans, but nothing is bound, nominated or told for them.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use karpenter_api::{
    CapacityBuffer, CapacityBufferSpec,
    capacitybuffer::PROVISIONING_STRATEGY,
    objects::{
        self,
        pod::{PodCondition, PodTemplate},
    },
};

use crate::{lower::Lowering, pod::Pod, resources::Resources};

/// Lower than anybody's priority; it plays no part in the order of scheduling.
const PRIORITY: i32 = i32::MIN;
/// No buffer keeps more units than this, so that a typing error cannot fill the memory.
const MOST_UNITS: i64 = 50_000;

/// What a buffer refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference<'a> {
    /// A PodTemplate, by name.
    PodTemplate(&'a str),
    /// A workload, by kind and name.
    Workload(WorkloadKind, &'a str),
}

/// The workloads that a buffer may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// `Deployment`
    Deployment,
    /// `ReplicaSet`
    ReplicaSet,
    /// `StatefulSet`
    StatefulSet,
}

/// What was found under a reference.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// What a unit of the buffer looks like.
    pub template: &'a PodTemplate,
    /// How many pods the workload has; nothing for a PodTemplate.
    pub replicas: Option<i32>,
    /// The generation of a PodTemplate.
    pub generation: Option<i64>,
}

/// Why a buffer is not ready: reason and message of its condition `ReadyForProvisioning`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It refers to nothing.
    NoReference,
    /// Its PodTemplate does not exist.
    PodTemplateNotFound(Arc<str>),
    /// Its workload does not exist: kind and name.
    WorkloadNotFound(Arc<str>, Arc<str>),
    /// Workloads of this API group and kind cannot be followed.
    Unsupported(Arc<str>, Arc<str>),
}

impl Fault {
    /// The condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoReference | Self::Unsupported(..) => "ResolutionFailed",
            Self::PodTemplateNotFound(_) => "PodTemplateNotFound",
            Self::WorkloadNotFound(..) => "ScalableRefNotFound",
        }
    }

    /// The condition's message.
    pub fn message(&self) -> String {
        match self {
            Self::NoReference => "Neither podTemplateRef nor scalableRef is set".to_string(),
            Self::PodTemplateNotFound(name) => format!("PodTemplate {name:?} not found"),
            Self::WorkloadNotFound(kind, name) => format!("{kind} {name:?} not found"),
            Self::Unsupported(group, kind) => format!(
                "spec.scalableRef: kind {kind:?} of group {group:?} is not supported, use Deployment, ReplicaSet or StatefulSet of group apps"
            ),
        }
    }
}

/// A buffer that was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// How many units are kept free.
    pub replicas: i32,
    /// Name and generation of its PodTemplate, if it has one.
    pub template: Option<(Arc<str>, i64)>,
    /// How room is provisioned; it is only shown.
    pub strategy: Arc<str>,
}

/// What became of a buffer, and what it keeps free.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// How it was resolved.
    pub outcome: Result<Resolved, Fault>,
    /// Its virtual pods.
    pub pods: Vec<Arc<Pod>>,
}

/// What a buffer refers to, if to anything that can be followed.
pub fn reference(buffer: &CapacityBuffer) -> Result<Reference<'_>, Fault> {
    let spec = &buffer.spec;
    if let Some(template) = &spec.pod_template_ref {
        return Ok(Reference::PodTemplate(&template.name));
    }
    let Some(scalable) = &spec.scalable_ref else {
        return Err(Fault::NoReference);
    };
    let group = scalable.api_group.as_deref().unwrap_or_default();
    let kind = match (group, scalable.kind.as_str()) {
        ("" | "apps", "Deployment") => WorkloadKind::Deployment,
        ("" | "apps", "ReplicaSet") => WorkloadKind::ReplicaSet,
        ("" | "apps", "StatefulSet") => WorkloadKind::StatefulSet,
        (group, kind) => return Err(Fault::Unsupported(group.into(), kind.into())),
    };
    Ok(Reference::Workload(kind, &scalable.name))
}

impl Lowering {
    /// A buffer with what was found for its reference.
    pub fn buffer(&mut self, buffer: &CapacityBuffer, found: Option<Unit<'_>>) -> Buffer {
        let meta = &buffer.metadata;
        let text = |text: &Option<String>| Arc::from(text.as_deref().unwrap_or_default());
        let mut lowered = Buffer {
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            outcome: Err(Fault::NoReference),
            pods: Vec::new(),
        };
        let reference = match reference(buffer) {
            Ok(reference) => reference,
            Err(fault) => {
                lowered.outcome = Err(fault);
                return lowered;
            }
        };
        let Some(unit) = found else {
            lowered.outcome = Err(match reference {
                Reference::PodTemplate(name) => Fault::PodTemplateNotFound(name.into()),
                Reference::Workload(kind, name) => {
                    Fault::WorkloadNotFound(format!("{kind:?}").into(), name.into())
                }
            });
            return lowered;
        };
        let first = self.virtual_pod(buffer, unit.template, 1);
        let limits = self.capacity(buffer.spec.limits.as_ref());
        let replicas = replicas(&buffer.spec, unit.replicas, &first.requests, &limits);
        lowered.pods = (1..=replicas)
            .map(|number| Arc::new(self.virtual_pod(buffer, unit.template, number)))
            .collect();
        lowered.outcome = Ok(Resolved {
            replicas,
            template: match reference {
                Reference::PodTemplate(name) => {
                    Some((name.into(), unit.generation.unwrap_or_default()))
                }
                Reference::Workload(..) => None,
            },
            strategy: buffer
                .spec
                .provisioning_strategy
                .as_deref()
                .unwrap_or(PROVISIONING_STRATEGY)
                .into(),
        });
        lowered
    }

    /// One unit of a buffer, waiting for a place.
    fn virtual_pod(&mut self, buffer: &CapacityBuffer, template: &PodTemplate, number: i32) -> Pod {
        let mut pod = objects::Pod::default();
        let name = buffer.metadata.name.as_deref().unwrap_or_default();
        pod.metadata.name = Some(format!("capacity-buffer-{name}-{number}"));
        pod.metadata
            .namespace
            .clone_from(&buffer.metadata.namespace);
        let uid = buffer.metadata.uid.as_deref().unwrap_or_default();
        pod.metadata.uid = Some(format!("{uid}-{number}"));
        pod.metadata.labels.clone_from(&template.metadata.labels);
        pod.spec = template.spec.clone();
        pod.spec.priority = Some(PRIORITY);
        pod.spec.node_name = None;
        pod.spec.volumes.retain(|volume| {
            volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none()
        });
        pod.status.conditions = [PodCondition {
            type_: "PodScheduled".to_string(),
            status: "False".to_string(),
            reason: Some("Unschedulable".to_string()),
            ..PodCondition::default()
        }]
        .into();
        Pod {
            buffer: Some(name.into()),
            ..self.pod(&pod)
        }
    }
}

/// How many units a buffer keeps free.
fn replicas(
    spec: &CapacityBufferSpec,
    workload: Option<i32>,
    unit: &Resources,
    limits: &Resources,
) -> i32 {
    // A share of nothing is nothing; of anything else at least one.
    let share = match (spec.percentage, workload) {
        (Some(percentage), Some(pods)) if pods > 0 => {
            let share = (i64::from(pods) * i64::from(percentage) + 99) / 100;
            Some(share.min(MOST_UNITS))
        }
        _ => None,
    };
    let wanted = spec.replicas.map(i64::from).into_iter().chain(share).max();
    let most = limits
        .iter()
        .map(|(resource, limit)| (limit, unit.get(resource)))
        .filter(|(_, request)| *request > 0)
        .map(|(limit, request)| limit.max(0) / request)
        .min();
    let units = match (wanted, most) {
        (Some(wanted), Some(most)) => wanted.min(most),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => 0,
    };
    i32::try_from(units.clamp(0, MOST_UNITS)).unwrap_or(0)
}
