//! Why a pod has no place: codes while solving, upstream's texts on demand.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use super::{Options, devices::DeviceRefusal, ladder::Step, template, topology::TopologyRefusal};
use crate::{
    catalog::Catalog,
    lower::to_resource_list,
    pod::Pod,
    requirement::{Requirements, Undefined},
    resources::{ResourceId, Resources},
    snapshot::Snapshot,
    taint::untolerated,
    vocabulary::{KeyId, NodeId, PodId, PoolId},
};

/// Why a pending pod was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// A claim or node already waits for it.
    Expected(NodeId),
    /// It sits on a node that is going away and may not be moved.
    NotMovable,
}

/// Why one pool's template refuses a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateRefusal {
    /// Some taint is not tolerated.
    Taints,
    /// The requirements contradict each other.
    Requirements,
    /// The pod's volumes are where nodes of the pool cannot be.
    Volumes,
    /// A rule between pods that no domain satisfies.
    Topology(Box<TopologyRefusal>),
    /// No instance type is left; which of the three tests were ever met alone and in pairs.
    InstanceTypes(FilterVerdict),
    /// Too few values; the failing keys are rendered on demand.
    MinValues,
    /// The `nodes` limit is used up.
    NodeLimit,
    /// Every type would exceed a limit.
    Limits,
    /// A reservation would serve the pod, but other claims of the round hold all of it.
    Reserved,
    /// There are no devices for the pod.
    Devices(DeviceRefusal),
    /// What the devices ask of the node contradicts what else is required.
    DeviceRequirements(Box<Requirements>),
    /// The types that have the devices are not those that suit the pod otherwise.
    DeviceTypes,
}

/// Which tests some instance type met, alone and in pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterVerdict {
    /// Some type met the requirements.
    pub requirements: bool,
    /// Some type was large enough in a compatible offering.
    pub fits: bool,
    /// Some type had a compatible offering.
    pub offering: bool,
    /// Some type met the requirements and was large enough.
    pub requirements_and_fits: bool,
    /// Some type met the requirements and had an offering.
    pub requirements_and_offering: bool,
    /// Some type was large enough and had an offering.
    pub fits_and_offering: bool,
}

impl FilterVerdict {
    /// The first text that is true, in upstream's order.
    pub fn message(self) -> &'static str {
        let Self {
            requirements,
            fits,
            offering,
            ..
        } = self;
        match (requirements, fits, offering) {
            (false, false, false) => {
                "no instance type met the scheduling requirements or had enough resources or had a required offering"
            }
            (false, false, true) => {
                "no instance type met the scheduling requirements or had enough resources"
            }
            (false, true, false) => {
                "no instance type met the scheduling requirements or had a required offering"
            }
            (true, false, false) => {
                "no instance type had enough resources or had a required offering"
            }
            (false, true, true) => "no instance type met all requirements",
            (true, false, true) => "no instance type has enough resources",
            (true, true, false) => "no instance type has the required offering",
            (true, true, true) if self.requirements_and_fits => {
                "no instance type which met the scheduling requirements and had enough resources, had a required offering"
            }
            (true, true, true) if self.fits_and_offering => {
                "no instance type which had enough resources and the required offering met the scheduling requirements"
            }
            (true, true, true) if self.requirements_and_offering => {
                "no instance type which met the scheduling requirements and the required offering had the required resources"
            }
            (true, true, true) => "no instance type met the requirements/resources/offering tuple",
        }
    }
}

/// Why a pod has no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no pool that may get claims.
    NoPools,
    /// The pod claims devices, which are not looked at (section 9.1 of scheduling.md).
    DevicesIgnored,
    /// A ResourceClaim of the pod does not exist (section 9.2 of scheduling.md).
    DeviceClaimMissing(Arc<str>),
    /// What the pod asks of this label excludes itself.
    Contradiction(KeyId),
    /// No place suits all volumes of the pod: they disagree on this label.
    Volumes(KeyId),
    /// Pools exist, but none offers any instance type.
    NoTypes,
    /// Each template's reason, in the order they were tried.
    Templates(Vec<(PoolId, TemplateRefusal)>),
    /// The cheapest 600 types of this pool do not span a minimum number of values.
    Truncated(PoolId),
}

impl Refusal {
    /// Another pod in another place may lift the refusal within the round.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Templates(refusals) => refusals.iter().any(|(_, refusal)| refusal.may_pass()),
            Self::NoPools
            | Self::DevicesIgnored
            | Self::DeviceClaimMissing(_)
            | Self::Contradiction(_)
            | Self::Volumes(_)
            | Self::NoTypes
            | Self::Truncated(_) => false,
        }
    }

    /// The pod waits for the next round, which may serve it from reserved capacity (scheduling 4.11) or
    /// know the claim that it names (9.2; the kube-scheduler says so of the pod itself): no event tells of
    /// it, and it gives up no preference.
    pub fn is_deferral(&self) -> bool {
        match self {
            Self::Templates(refusals) => refusals.iter().any(|(_, refusal)| refusal.is_deferral()),
            Self::DeviceClaimMissing(_) => true,
            Self::NoPools
            | Self::DevicesIgnored
            | Self::Contradiction(_)
            | Self::Volumes(_)
            | Self::NoTypes
            | Self::Truncated(_) => false,
        }
    }

    /// The text that users see, without the prefix `Failed to schedule pod, `.
    pub fn message(&self, snapshot: &Snapshot, pod: PodId) -> String {
        self.message_with(snapshot, pod, &Options::default())
    }

    /// The same for a round that was run with other options than the default.
    pub fn message_with(&self, snapshot: &Snapshot, pod: PodId, options: &Options) -> String {
        let pod = &*snapshot.pods[pod];
        match self {
            Self::NoPools => "no dynamic nodepools found".to_string(),
            Self::DevicesIgnored => {
                "pod has Dynamic Resource Allocation requirements that are not yet supported by Karpenter".to_string()
            }
            Self::DeviceClaimMissing(name) => {
                format!("resourceclaim \"{}/{name}\" not found", pod.namespace)
            }
            Self::Contradiction(key) => format!(
                "incompatible requirements, what the pod asks of label {} excludes itself",
                snapshot.vocabulary.key_name(*key)
            ),
            Self::Volumes(key) => format!(
                "incompatible volume requirements, the pod's volumes agree on no value of label {}",
                snapshot.vocabulary.key_name(*key)
            ),
            Self::NoTypes => {
                "nodepool requirements filtered out all available instance types".to_string()
            }
            Self::Templates(refusals) => {
                let texts: Vec<String> = refusals
                    .iter()
                    .map(|(pool, refusal)| refusal.message(snapshot, pod, *pool, options))
                    .collect();
                texts.join("; ")
            }
            Self::Truncated(pool) => {
                let requirements = &snapshot.pools[*pool].requirements;
                format!(
                    "pod didn’t schedule because NodePool couldn’t meet minValues requirements, minValues requirement is not met for label(s), requirements={}",
                    requirements.render(&snapshot.vocabulary)
                )
            }
        }
    }
}

impl TemplateRefusal {
    /// Another pod in another place may lift the refusal within the round.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Topology(_)
            | Self::Devices(_)
            | Self::DeviceRequirements(_)
            | Self::DeviceTypes
            | Self::Reserved => true,
            Self::Taints
            | Self::Requirements
            | Self::Volumes
            | Self::InstanceTypes(_)
            | Self::MinValues
            | Self::NodeLimit
            | Self::Limits => false,
        }
    }

    /// A later round may serve the pod from a reservation.
    pub(super) fn is_deferral(&self) -> bool {
        matches!(self, Self::Reserved)
    }

    /// The text that users see.
    pub(crate) fn message(
        &self,
        snapshot: &Snapshot,
        pod: &Pod,
        pool_id: PoolId,
        options: &Options,
    ) -> String {
        let vocabulary = &*snapshot.vocabulary;
        let pool = &snapshot.pools[pool_id];
        let step = Step::ladder(&pod.shape, options.ignore_preferences, false);
        let wanted = step.last().map_or(&pod.shape.alternatives[0], |step| {
            step.requirements(&pod.shape)
        });
        match self {
            Self::Taints => {
                let taints: Vec<String> = untolerated(&pod.shape.tolerations, &pool.taints)
                    .into_iter()
                    .map(|taint| {
                        let value = if taint.value.is_empty() {
                            String::new()
                        } else {
                            format!("={}", taint.value)
                        };
                        format!(
                            "did not tolerate taint (taint={}{value}:{})",
                            taint.key, taint.effect
                        )
                    })
                    .collect();
                taints.join("; ")
            }
            Self::Requirements => {
                let found = pool.requirements.incompatibilities(
                    wanted,
                    Undefined::AllowedIfWellKnown,
                    vocabulary,
                );
                format!("incompatible requirements, {}", found.join("; "))
            }
            Self::Topology(refusal) => refusal.message(vocabulary),
            Self::Volumes => {
                let mut own = pool.requirements.clone();
                own.add_all(wanted, vocabulary);
                let alternatives = snapshot.volumes.wish(pod, vocabulary).alternatives;
                let found = alternatives.last().map(|volumes| {
                    own.incompatibilities(volumes, Undefined::AllowedIfWellKnown, vocabulary)
                });
                let found = found.unwrap_or_default();
                format!("incompatible volume requirements, {}", found.join("; "))
            }
            Self::Devices(refusal) => {
                format!("allocating dynamic resources, {}", refusal.message())
            }
            Self::DeviceRequirements(devices) => {
                let mut own = pool.requirements.clone();
                own.add_all(wanted, vocabulary);
                let undefined = Undefined::AllowedIfWellKnown;
                let found = own.incompatibilities(devices, undefined, vocabulary);
                format!("incompatible dynamic resource requirements, {}", found.join("; "))
            }
            Self::DeviceTypes => {
                "no instance type satisfies both scheduling and dynamic resource requirements".to_string()
            }
            Self::NodeLimit => {
                format!("node limits have been exhausted for nodepool (NodePool={})", pool.name)
            }
            Self::Limits => format!(
                "all available instance types exceed limits for nodepool (NodePool={})",
                pool.name
            ),
            Self::Reserved => "one or more instance types with compatible reserved offerings are available, but could not be reserved".to_string(),
            Self::InstanceTypes(_) | Self::MinValues => {
                let mut requirements = pool.requirements.clone();
                requirements.add_all(wanted, vocabulary);
                let Ok(catalog) = &snapshot.catalogs[pool_id] else {
                    return Refusal::NoTypes.message_with(snapshot, PodId(0), options);
                };
                let resources = resources_text(snapshot, pod, pool_id, catalog);
                let (text, typo) = if let Self::InstanceTypes(verdict) = self {
                    (verdict.message().to_string(), cpu_typo(*verdict, pod))
                } else {
                    let keys = unmet_keys(snapshot, catalog, &requirements);
                    let text = "minValues requirement is not met for label(s)";
                    (format!("{text} (label(s)=[{keys}])"), "")
                };
                format!(
                    "{text}, requirements={}, resources={resources}{typo}",
                    requirements.render(vocabulary)
                )
            }
        }
    }
}

fn unmet_keys(snapshot: &Snapshot, catalog: &Catalog, requirements: &Requirements) -> String {
    let vocabulary = &*snapshot.vocabulary;
    let mut slots = catalog.slots_meeting(requirements, vocabulary);
    slots.intersect_with(&catalog.slots_offered(requirements, vocabulary));
    let mut keys: Vec<&str> = template::unmet_min_values(catalog, &slots, requirements)
        .into_iter()
        .map(|(key, _)| &**vocabulary.key_name(key))
        .collect();
    keys.sort_unstable();
    keys.join(" ")
}

/// So many thousandths of a core that somebody must have left out the `m`.
const A_MILLION_CORES: i64 = 1_000_000_000;

fn cpu_typo(verdict: FilterVerdict, pod: &Pod) -> &'static str {
    let too_small = verdict.requirements && verdict.offering && !verdict.fits;
    if too_small && pod.requests.get(ResourceId::CPU) >= A_MILLION_CORES {
        " (CPU request >= 1 Million, m vs M typo?)"
    } else {
        ""
    }
}

/// What the pod and its daemons request, as JSON; the least and the most when types differ in daemons.
fn resources_text(snapshot: &Snapshot, pod: &Pod, pool: PoolId, catalog: &Catalog) -> String {
    let groups = template::daemon_groups(snapshot, &snapshot.pools[pool], catalog);
    let mut totals: Vec<Resources> = groups
        .into_iter()
        .map(|group| {
            let mut total = pod.requests.clone();
            total.add(&group.requests);
            total
        })
        .collect();
    let last = totals.pop().unwrap_or_else(|| pod.requests.clone());
    if totals.iter().all(|total| *total == last) {
        return json(snapshot, &last);
    }
    let (mut least, mut most) = (last.clone(), last);
    for total in &totals {
        least.minimum(total);
        most.maximum(total);
    }
    format!(
        "min={}, max={}",
        json(snapshot, &least),
        json(snapshot, &most)
    )
}

fn json(snapshot: &Snapshot, resources: &Resources) -> String {
    let entries: Vec<String> = to_resource_list(resources, &snapshot.vocabulary)
        .into_iter()
        .map(|(name, quantity)| format!("\"{name}\":\"{quantity}\""))
        .collect();
    format!("{{{}}}", entries.join(","))
}
