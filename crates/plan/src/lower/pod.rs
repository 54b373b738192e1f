//! Pods: effective requests, constraint shapes, and what forbids placing or moving them.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use karpenter_api::{
    GoDuration,
    objects::{
        self,
        pod::{Container, ContainerStatus, PodCondition},
        selector::NodeSelectorTerm,
    },
};

use super::{Lowering, created, deletion, name_of, requirement::Entry, topology::PodLabels};
use crate::{
    default_spread::ControllerKind,
    pod::{DoNotDisrupt, HostPort, Ignored, Owner, Phase, Pod, Shape},
    requirement::{Operator, Requirement, Requirements},
    resources::{ResourceId, Resources},
    taint::{Taint, Toleration, TolerationOperator},
    vocabulary::KeyId,
};

/// One pod in the thousandths that resources are counted in.
const ONE: i64 = 1000;
/// What Kubernetes assumes when a pod does not say.
const DEFAULT_GRACE_SECONDS: i64 = 30;

impl Lowering {
    /// A pod. Never fails: what cannot be honoured is part of its shape.
    pub fn pod(&mut self, pod: &objects::Pod) -> Pod {
        let meta = &pod.metadata;
        let (spec, status) = (&pod.spec, &pod.status);
        let tolerations = self.tolerations(&spec.tolerations);
        let condition = |type_: &str| status.conditions.iter().find(|found| found.type_ == type_);
        let disrupted = Taint {
            key: self.string("karpenter.sh/disrupted"),
            value: self.string(""),
            effect: self.string("NoSchedule"),
        };
        let priority_class = spec.priority_class_name.as_deref().unwrap_or_default();
        let annotation = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key));
        let tolerates_disrupted = tolerations.iter().any(|own| own.tolerates(&disrupted));
        let shape = self.shape_of(spec, meta.labels.as_ref(), tolerations);
        let (shape_id, shape) = self.shape(shape);
        let namespace = self.string(meta.namespace.as_deref().unwrap_or("default"));
        let labels = self.labels(meta.labels.as_ref());
        Pod {
            subject_id: self.subject(&namespace, &labels),
            namespace,
            name: name_of(meta).into(),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            labels,
            created: created(meta),
            started: status.start_time.as_ref().map(|time| time.0),
            deletion: deletion(meta),
            grace_seconds: spec
                .termination_grace_period_seconds
                .unwrap_or(DEFAULT_GRACE_SECONDS),
            node: spec
                .node_name
                .as_deref()
                .filter(|name| !name.is_empty())
                .map(|name| self.string(name)),
            phase: phase(status.phase.as_deref()),
            owner: owner(meta),
            unschedulable: condition("PodScheduled")
                .is_some_and(|found| found.reason.as_deref() == Some("Unschedulable")),
            nominated: status
                .nominated_node_name
                .as_deref()
                .is_some_and(|name| !name.is_empty()),
            ready: condition("Ready").map(|found| found.status == "True"),
            do_not_disrupt: do_not_disrupt(annotation("karpenter.sh/do-not-disrupt")),
            tolerates_disrupted,
            deletion_cost: annotation("controller.kubernetes.io/pod-deletion-cost")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            priority: spec.priority.unwrap_or(0),
            critical: matches!(
                priority_class,
                "system-cluster-critical" | "system-node-critical"
            ),
            requests: self.effective_requests(spec, Some(status)),
            controller: self.controller(meta),
            buffer: None,
            volumes: self.volumes(name_of(meta), spec),
            device_claims: device_claims(spec, status),
            shape_id,
            shape,
        }
    }

    /// The constraints of a pod specification.
    pub(super) fn shape_of(
        &mut self,
        spec: &objects::PodSpec,
        labels: PodLabels<'_>,
        tolerations: Vec<Toleration>,
    ) -> Shape {
        let node_affinity = spec
            .affinity
            .as_ref()
            .and_then(|all| all.node_affinity.as_ref());
        let terms: &[NodeSelectorTerm] = node_affinity
            .and_then(|affinity| affinity.required.as_ref())
            .map_or(&[], |required| &required.node_selector_terms);
        let mut preferences: Vec<_> =
            node_affinity.map_or(Vec::new(), |affinity| affinity.preferred.iter().collect());
        // The heaviest first; equal weights keep their order.
        preferences.sort_by_key(|preference| core::cmp::Reverse(preference.weight));

        let mut faults = self.selector_faults(spec, terms);
        let topology = self.topology(spec, labels, &mut faults);
        let mut contradiction = None;
        let mut selector = Requirements::new();
        for (key, value) in spec.node_selector.iter().flatten() {
            let requirement = Requirement::any_of(self.key(key), [self.value(value)]);
            // Two spellings of one key.
            if !self.joins(&selector, &requirement) {
                contradiction.get_or_insert(requirement.key());
            }
            selector.add(requirement, &self.vocabulary);
        }
        let mut alternatives = Vec::new();
        for term in terms {
            // A term without expressions selects no node at all.
            if term.match_expressions.is_empty() {
                continue;
            }
            match self.narrowed(&selector, term) {
                Ok(requirements) => alternatives.push(requirements),
                Err(Fault::Meaningless(text)) => faults.push(text),
                Err(Fault::Contradiction(key)) => contradiction = contradiction.or(Some(key)),
            }
        }
        if terms.is_empty() {
            alternatives.push(selector);
        } else if alternatives.is_empty() {
            if faults.is_empty() && contradiction.is_none() {
                faults.push(
                    "required node affinity has no term with expressions, so it selects no node"
                        .into(),
                );
            }
            alternatives.push(selector);
        } else {
            contradiction = None;
        }
        let mut preferred: Vec<Requirements> = Vec::new();
        let mut preference_steps = Vec::new();
        let last = alternatives.len() - 1;
        for (rank, preference) in preferences.iter().enumerate() {
            // Upstream drops alternatives before preferences, so only the heaviest preference meets them all.
            let from = if rank == 0 { 0 } else { last };
            for alternative in &alternatives[from..] {
                // What has no meaning is never validated in preferences and can never be met, and what
                // contradicts the alternative cannot be met either.
                let met = self.narrowed(alternative, &preference.preference).ok();
                preference_steps.push(met.map(|requirements| {
                    preferred.push(requirements);
                    u16::try_from(preferred.len() - 1).unwrap_or(u16::MAX)
                }));
            }
        }
        let first = preferred.first().unwrap_or(&alternatives[0]);
        let opted_out = first
            .get(KeyId::NODEPOOL)
            .is_some_and(|requirement| requirement.operator() == Operator::DoesNotExist);
        let ignored = if opted_out {
            Some(Ignored {
                message: "configured to not run on a Karpenter provisioned node (requirement=karpenter.sh/nodepool DoesNotExist)".into(),
                event: false,
            })
        } else if faults.is_empty() {
            None
        } else {
            Some(Ignored {
                message: faults.join("; ").into(),
                event: true,
            })
        };
        Shape {
            alternatives,
            preferred,
            preference_steps,
            topology,
            tolerations,
            ports: self.ports(&spec.containers),
            contradiction,
            claims_devices: claims_devices(spec),
            ignored,
        }
    }

    fn selector_faults(&self, spec: &objects::PodSpec, terms: &[NodeSelectorTerm]) -> Vec<String> {
        let mut faults = Vec::new();
        for (key, value) in spec.node_selector.iter().flatten() {
            let values = core::slice::from_ref(value);
            faults.extend(self.entry_fault(Entry {
                key,
                operator: "In",
                values,
                min_values: None,
            }));
        }
        for term in terms {
            if !term.match_fields.is_empty() {
                faults.push("node selector term with matchFields is not supported".to_string());
            }
            faults.extend(
                term.match_expressions
                    .iter()
                    .filter_map(|entry| self.entry_fault(entry.into())),
            );
        }
        faults
    }

    /// True when some node can satisfy both. The algebra itself forgets contradictions: it keeps them as
    /// "no such label", which a node without the label would satisfy.
    fn joins(&self, base: &Requirements, requirement: &Requirement) -> bool {
        base.get(requirement.key())
            .is_none_or(|own| own.agrees(requirement, &self.vocabulary))
    }

    fn narrowed(
        &mut self,
        base: &Requirements,
        term: &NodeSelectorTerm,
    ) -> Result<Requirements, Fault> {
        let mut requirements = base.clone();
        for entry in &term.match_expressions {
            let requirement = self.requirement(entry.into()).map_err(Fault::Meaningless)?;
            if !self.joins(&requirements, &requirement) {
                return Err(Fault::Contradiction(requirement.key()));
            }
            requirements.add(requirement, &self.vocabulary);
        }
        Ok(requirements)
    }

    pub(super) fn tolerations(
        &mut self,
        tolerations: &[objects::pod::Toleration],
    ) -> Vec<Toleration> {
        let mut lowered: Vec<Toleration> = tolerations
            .iter()
            .map(|toleration| Toleration {
                key: self.string(toleration.key.as_deref().unwrap_or_default()),
                operator: match toleration.operator.as_deref() {
                    None | Some("" | "Equal") => TolerationOperator::Equal,
                    Some("Exists") => TolerationOperator::Exists,
                    Some("Lt") => TolerationOperator::LessThan,
                    Some("Gt") => TolerationOperator::GreaterThan,
                    Some(_) => TolerationOperator::Unknown,
                },
                value: self.string(toleration.value.as_deref().unwrap_or_default()),
                effect: self.string(toleration.effect.as_deref().unwrap_or_default()),
            })
            .collect();
        lowered.sort();
        lowered.dedup();
        lowered
    }

    fn controller(&mut self, meta: &ObjectMeta) -> Option<(ControllerKind, Arc<str>)> {
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
        let kind = match (&*owner.api_version, &*owner.kind) {
            ("v1", "ReplicationController") => ControllerKind::ReplicationController,
            ("apps/v1", "ReplicaSet") => ControllerKind::ReplicaSet,
            ("apps/v1", "StatefulSet") => ControllerKind::StatefulSet,
            _ => return None,
        };
        Some((kind, self.string(&owner.name)))
    }

    /// Names of the claims that are the pod's volumes.
    fn volumes(&mut self, pod: &str, spec: &objects::PodSpec) -> Box<[Arc<str>]> {
        let names = spec.volumes.iter().filter_map(|volume| {
            let ephemeral = volume.ephemeral.is_some();
            match &volume.persistent_volume_claim {
                Some(claim) => Some(self.string(&claim.claim_name)),
                None => ephemeral.then(|| format!("{pod}-{}", volume.name).into()),
            }
        });
        names.collect()
    }

    /// Upstream reads the ports of containers only; init containers open theirs before.
    fn ports(&mut self, containers: &[Container]) -> Vec<HostPort> {
        let mut ports: Vec<HostPort> = containers
            .iter()
            .flat_map(|container| &container.ports)
            .filter_map(|port| {
                let number = u16::try_from(port.host_port?)
                    .ok()
                    .filter(|number| *number != 0)?;
                let ip = port
                    .host_ip
                    .as_deref()
                    .filter(|ip| !ip.is_empty())
                    .unwrap_or("0.0.0.0");
                Some(HostPort {
                    ip: self.string(ip),
                    port: number,
                    protocol: self.string(port.protocol.as_deref().unwrap_or("TCP")),
                })
            })
            .collect();
        ports.sort();
        ports.dedup();
        ports
    }

    /// Requests as the Kubernetes scheduler counts them, with `pods: 1`.
    pub(super) fn effective_requests(
        &mut self,
        spec: &objects::PodSpec,
        status: Option<&objects::PodStatus>,
    ) -> Resources {
        let infeasible = status.is_some_and(|status| resize_is_infeasible(&status.conditions));
        let statuses = |all: fn(&objects::PodStatus) -> &[ContainerStatus]| {
            status.map_or(&[] as &[ContainerStatus], all)
        };
        let mut total = Resources::new();
        for container in &spec.containers {
            let own = statuses(|status| &status.container_statuses);
            total.add(&self.container_requests(container, own, infeasible));
        }
        // Sidecars started so far; every later init container runs beside them.
        let mut sidecars = Resources::new();
        let mut peak = Resources::new();
        for container in &spec.init_containers {
            let own = statuses(|status| &status.init_container_statuses);
            let mut requests = self.container_requests(container, own, infeasible);
            if container.restart_policy.as_deref() == Some("Always") {
                total.add(&requests);
                sidecars.add(&requests);
                peak.maximum(&sidecars);
            } else {
                requests.add(&sidecars);
                peak.maximum(&requests);
            }
        }
        total.maximum(&peak);
        let of_pod = spec
            .resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref());
        for (id, amount) in self.requests(of_pod).iter() {
            let counts_for_pod = matches!(id, ResourceId::CPU | ResourceId::MEMORY)
                || self.vocabulary.resource_name(id).starts_with("hugepages-");
            if counts_for_pod {
                total.set(id, amount);
            }
        }
        total.add(&self.requests(spec.overhead.as_ref()));
        total.set(ResourceId::PODS, ONE);
        total
    }

    fn container_requests(
        &mut self,
        container: &Container,
        statuses: &[ContainerStatus],
        infeasible: bool,
    ) -> Resources {
        let requests = container
            .resources
            .as_ref()
            .and_then(|all| all.requests.as_ref());
        let wanted = self.requests(requests);
        let Some(status) = statuses.iter().find(|status| status.name == container.name) else {
            return wanted;
        };
        let running = status
            .resources
            .as_ref()
            .and_then(|all| all.requests.as_ref());
        let mut held = self.requests(running);
        held.maximum(&self.requests(status.allocated_resources.as_ref()));
        // A resize that can never happen does not count, unless nothing else is known.
        if !infeasible || held.is_empty() {
            held.maximum(&wanted);
        }
        held
    }
}

/// Why a conjunction of entries is of no use.
enum Fault {
    /// An entry has no meaning.
    Meaningless(String),
    /// Entries for this key exclude each other.
    Contradiction(KeyId),
}

/// Claims by name. One that is made from a template has its name in the status, once it is made; if none
/// is needed, the status says so with an entry without a name (section 9.2).
fn device_claims(spec: &objects::PodSpec, status: &objects::PodStatus) -> Box<[Arc<str>]> {
    let made = |name: &str| {
        let mut statuses = status.resource_claim_statuses.iter();
        statuses
            .find(|made| made.name == name)?
            .resource_claim_name
            .as_deref()
    };
    spec.resource_claims
        .iter()
        .filter_map(|claim| {
            claim
                .resource_claim_name
                .as_deref()
                .or_else(|| made(&claim.name))
        })
        .map(Arc::from)
        .collect()
}

fn resize_is_infeasible(conditions: &[PodCondition]) -> bool {
    conditions.iter().any(|condition| {
        condition.type_ == "PodResizePending" && condition.reason.as_deref() == Some("Infeasible")
    })
}

fn phase(text: Option<&str>) -> Phase {
    match text {
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some("Unknown") => Phase::Unknown,
        _ => Phase::Pending,
    }
}

fn owner(meta: &ObjectMeta) -> Owner {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    let is = |version: &str, kind: &str| {
        owners
            .iter()
            .any(|owner| owner.api_version == version && owner.kind == kind)
    };
    if is("apps/v1", "DaemonSet") {
        Owner::DaemonSet
    } else if is("v1", "Node") {
        Owner::Node
    } else if is("apps/v1", "StatefulSet") {
        Owner::StatefulSet
    } else if owners.is_empty() {
        Owner::None
    } else {
        Owner::Other
    }
}

fn do_not_disrupt(annotation: Option<&String>) -> DoNotDisrupt {
    let Some(text) = annotation else {
        return DoNotDisrupt::No;
    };
    if text == "true" {
        return DoNotDisrupt::Always;
    }
    match text.parse::<GoDuration>() {
        Ok(span) if span.nanos() > 0 => DoNotDisrupt::For(SignedDuration::from_nanos(span.nanos())),
        Ok(_) => DoNotDisrupt::Invalid(format!("duration {text:?} is not positive").into()),
        Err(error) => DoNotDisrupt::Invalid(error.to_string().into()),
    }
}

fn claims_devices(spec: &objects::PodSpec) -> bool {
    let mut containers = spec.containers.iter().chain(&spec.init_containers);
    !spec.resource_claims.is_empty()
        || containers.any(|container| {
            let resources = container.resources.as_ref();
            resources.is_some_and(|resources| !resources.claims.is_empty())
        })
}
