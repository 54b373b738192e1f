//! The values that cross the seam: what a launch gives, what an instance is, what may be repaired.
//!
//! They hold facts in Kubernetes vocabulary and nothing of any provider's own types.

use std::{borrow::Cow, collections::BTreeMap, fmt, time::Duration};

use karpenter_api::ResourceList;

/// One kind of node class that a provider reads. Pools and claims that refer to another group or
/// kind belong to somebody else and are left alone altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeClassKind {
    /// API group, such as `karpenter.kwok.sh`.
    pub group: &'static str,
    /// Kind, such as `KWOKNodeClass`.
    pub kind: &'static str,
    /// Resource name in paths, such as `kwoknodeclasses`.
    pub plural: &'static str,
    /// Served version, such as `v1alpha1`.
    pub version: &'static str,
}

impl NodeClassKind {
    /// The `apiVersion` of objects of this kind.
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// The label under which claims and nodes carry the node class's name:
    /// `<group>/<kind in lower case>`.
    pub fn label_key(&self) -> String {
        format!("{}/{}", self.group, self.kind.to_lowercase())
    }
}

/// What a successful launch says about the machine to come.
///
/// Merging it into the claim is the caller's work: of `labels` the claim's own win, of `annotations`
/// these win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launched {
    /// The provider's name of the instance, `spec.providerID` of its node to be.
    pub provider_id: String,
    /// The image it boots from; empty where the provider has none.
    pub image_id: String,
    /// Labels that the choice of type and offering decided.
    pub labels: BTreeMap<String, String>,
    /// Annotations the provider wants to find again on the claim.
    pub annotations: BTreeMap<String, String>,
    /// What the node will report as its capacity.
    pub capacity: ResourceList,
    /// What the node will report as allocatable.
    pub allocatable: ResourceList,
}

/// What became of a request to terminate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Termination {
    /// The request was taken, the instance still exists: ask again later.
    Accepted,
    /// There is no such instance (any more): whoever waited may go on.
    Gone,
}

/// An instance as the provider sees it, whether or not a claim knows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// The provider's name of the instance.
    pub provider_id: String,
    /// The image it booted from; empty where the provider has none.
    pub image_id: String,
    /// Labels that can be derived from the instance.
    pub labels: BTreeMap<String, String>,
    /// Annotations that can be derived from the instance.
    pub annotations: BTreeMap<String, String>,
    /// Capacity, as far as the provider can tell.
    pub capacity: ResourceList,
    /// Allocatable, as far as the provider can tell.
    pub allocatable: ResourceList,
    /// True while the instance is on its way out. Such an instance does not keep a claim alive.
    pub terminating: bool,
}

/// The provider's reason to call a claim drifted: reason and message of its `Drifted` condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriftReason(pub Cow<'static, str>);

impl fmt::Display for DriftReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A node condition that the provider repairs by replacing the node once it has lasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairPolicy {
    /// Type of the node condition, such as `Ready`.
    pub condition: &'static str,
    /// The status that calls for repair: `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// How long it must have lasted.
    pub toleration: Duration,
}
