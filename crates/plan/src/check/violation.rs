//! What can be wrong with a plan.

use alloc::sync::Arc;
use core::fmt;

use crate::device::DeviceName;
use crate::resources::ResourceId;
use crate::vocabulary::{KeyId, NodeId, PodId, PoolId, TypeId, ValueId};

/// One promise that a plan breaks. Claims are named by their index in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An id that names nothing in the snapshot.
    Dangling(&'static str),
    /// A pod that waits is neither placed nor spoken of.
    PodForgotten(PodId),
    /// A pod is placed or spoken of more than once.
    PodTwice(PodId),
    /// A pod is placed or refused that did not wait for a place.
    PodNotWaiting(PodId),
    /// A pod is placed that must not be: ignored, or with a constraint that nobody can keep yet.
    PodRefused(PodId),
    /// A pod is said to be expected or immovable and is not.
    SkipUnfounded(PodId),
    /// Something is placed although no pool may get claims, or the report is wrong about that.
    NoPools,

    /// A pod goes to a node that is on its way out.
    NodeGoing(PodId, NodeId),
    /// A pod does not tolerate a node's taint.
    NodeTaint(PodId, NodeId),
    /// A node's labels do not satisfy a pod.
    NodeLabels(PodId, NodeId),
    /// A pod's host port is taken on a node.
    NodePorts(PodId, NodeId),
    /// A node has less than is asked of it.
    NodeCapacity(NodeId, ResourceId),

    /// A pod is where its volumes cannot be.
    VolumeElsewhere(PodId),
    /// A node attaches more volumes than it can.
    NodeVolumes(NodeId),
    /// A pod is where its claims of devices are not satisfied.
    DevicesUnmet(PodId),
    /// Devices that do not exist, cannot be used there, or are not what the ResourceClaim of that name asks
    /// for.
    DevicesWrong(Arc<str>),
    /// More of a device is given away than there is.
    DeviceTwice(DeviceName),
    /// More is drawn from the counter of that name than there is.
    CounterOverdrawn(Arc<str>),
    /// Two pods share a domain that the first does not want to share.
    TooNear(PodId, PodId, KeyId),
    /// A pod is in a domain without any pod that it must be near.
    NotNear(PodId, KeyId),
    /// A pod's domain has more pods than the least filled one and the skew allow.
    TooFarAhead(PodId, KeyId),

    /// A claim for a pool that may not get one.
    ClaimPool(usize, PoolId),
    /// A claim for no pod.
    ClaimWithoutPods(usize),
    /// A claim with no instance type, more than 600, or one named twice.
    ClaimTypes(usize),
    /// A pod does not tolerate a taint of the claim.
    ClaimTaint(usize, PodId),
    /// The claim's requirements leave values that a pod excludes.
    ClaimLabels(usize, PodId),
    /// A pod needs a label that nodes of the pool never carry.
    ClaimLabelUndefined(usize, PodId, Arc<str>),
    /// The claim's requirements leave values that its pool excludes.
    ClaimBeyondPool(usize, Arc<str>),
    /// Two pods of the claim want the same host port.
    ClaimPorts(usize, PodId),
    /// The claim's requests are not the sum of what it is for.
    ClaimRequests(usize, ResourceId),
    /// Instance types are not in order of price.
    ClaimOrder(usize),
    /// The cheapest offering or its price is not that of the first type.
    ClaimCheapest(usize),
    /// The types span fewer values than were asked for.
    ClaimMinValues(usize, Arc<str>),

    /// A type whose labels contradict the claim's requirements.
    TypeLabels(usize, TypeId),
    /// A type that cannot be bought in any way the claim allows.
    TypeOffering(usize, TypeId),
    /// A type that is too small for the pods and the DaemonSets that come with it.
    TypeCapacity(usize, TypeId),
    /// A type on which a DaemonSet takes a host port that a pod wants.
    TypePorts(usize, TypeId),

    /// A reservation is promised to more claims than it has machines.
    Reservation(usize, ValueId),
    /// A type that would carry a pool over a limit.
    Limit(usize, ResourceId),
    /// A pool of higher weight would have taken the pod that the claim was opened for.
    Weight(usize, PoolId),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dangling(what) => write!(f, "an id of a {what} names nothing"),
            Self::PodForgotten(pod) => write!(f, "{pod:?} waits and is not spoken of"),
            Self::PodTwice(pod) => write!(f, "{pod:?} is spoken of twice"),
            Self::PodNotWaiting(pod) => write!(f, "{pod:?} does not wait for a place"),
            Self::PodRefused(pod) => write!(f, "{pod:?} must not be placed"),
            Self::SkipUnfounded(pod) => write!(f, "{pod:?} is skipped without cause"),
            Self::NoPools => write!(f, "no pool may get claims, so nothing may be placed"),
            Self::NodeGoing(pod, node) => write!(f, "{pod:?} is put on {node:?}, which goes away"),
            Self::NodeTaint(pod, node) => write!(f, "{pod:?} does not tolerate {node:?}"),
            Self::NodeLabels(pod, node) => write!(f, "{pod:?} excludes the labels of {node:?}"),
            Self::NodePorts(pod, node) => write!(f, "a host port of {pod:?} is taken on {node:?}"),
            Self::NodeCapacity(node, resource) => write!(f, "{node:?} has too little {resource:?}"),
            Self::VolumeElsewhere(pod) => write!(f, "{pod:?} is where its volumes cannot be"),
            Self::NodeVolumes(node) => write!(f, "{node:?} attaches more volumes than it can"),
            Self::DevicesUnmet(pod) => write!(f, "{pod:?} is where it does not get its devices"),
            Self::DevicesWrong(claim) => write!(f, "resourceclaim {claim} gets the wrong devices"),
            Self::DeviceTwice(device) => write!(f, "more of {device} is given away than there is"),
            Self::CounterOverdrawn(counter) => {
                write!(f, "more is drawn from {counter} than it has")
            }
            Self::TooNear(pod, other, key) => {
                write!(
                    f,
                    "{other:?} shares a domain of {key:?} with {pod:?}, which forbids it"
                )
            }
            Self::NotNear(pod, key) => {
                write!(
                    f,
                    "{pod:?} is near none of the pods it must be near, by {key:?}"
                )
            }
            Self::TooFarAhead(pod, key) => {
                write!(
                    f,
                    "the domain of {pod:?} by {key:?} is too far ahead of others"
                )
            }
            Self::ClaimPool(claim, pool) => write!(f, "claim {claim}: {pool:?} may not get one"),
            Self::ClaimWithoutPods(claim) => write!(f, "claim {claim} is for no pod"),
            Self::ClaimTypes(claim) => {
                write!(
                    f,
                    "claim {claim} has no instance type, too many, or one twice"
                )
            }
            Self::ClaimTaint(claim, pod) => {
                write!(f, "claim {claim}: {pod:?} does not tolerate it")
            }
            Self::ClaimLabels(claim, pod) => {
                write!(f, "claim {claim} leaves values that {pod:?} excludes")
            }
            Self::ClaimLabelUndefined(claim, pod, key) => {
                write!(
                    f,
                    "claim {claim}: {pod:?} needs label {key}, which the pool never sets"
                )
            }
            Self::ClaimBeyondPool(claim, key) => {
                write!(
                    f,
                    "claim {claim} leaves values of {key} that its pool excludes"
                )
            }
            Self::ClaimPorts(claim, pod) => {
                write!(f, "claim {claim}: a host port of {pod:?} is taken")
            }
            Self::ClaimRequests(claim, resource) => {
                write!(f, "claim {claim}: requests of {resource:?} do not add up")
            }
            Self::ClaimOrder(claim) => write!(f, "claim {claim}: types are not in order of price"),
            Self::ClaimCheapest(claim) => write!(f, "claim {claim}: the cheapest offering is not"),
            Self::ClaimMinValues(claim, key) => {
                write!(f, "claim {claim}: the types span too few values of {key}")
            }
            Self::TypeLabels(claim, kind) => {
                write!(f, "claim {claim} excludes the labels of {kind:?}")
            }
            Self::TypeOffering(claim, kind) => {
                write!(f, "claim {claim} leaves no available offering of {kind:?}")
            }
            Self::TypeCapacity(claim, kind) => write!(f, "claim {claim}: {kind:?} is too small"),
            Self::TypePorts(claim, kind) => {
                write!(
                    f,
                    "claim {claim}: a DaemonSet on {kind:?} takes a pod's host port"
                )
            }
            Self::Reservation(claim, id) => {
                write!(f, "claim {claim}: nothing is left of reservation {id:?}")
            }
            Self::Limit(claim, resource) => {
                write!(
                    f,
                    "claim {claim} carries its pool over its limit of {resource:?}"
                )
            }
            Self::Weight(claim, pool) => {
                write!(
                    f,
                    "claim {claim} was opened although {pool:?} ranks higher and would do"
                )
            }
        }
    }
}
