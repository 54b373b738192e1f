//! The CustomResourceDefinitions, made from the types.
//!
//! They accept the superset of what releases of the reference accept, and carry the label rules of every
//! provider, whichever is running: a cluster may be shared by two, and CRDs outlive a choice.

mod patch;
pub(crate) mod rules;
pub(crate) mod schemas;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::json;

use crate::capacitybuffer::CapacityBuffer;
use crate::kwoknodeclass::KWOKNodeClassDefinition;
use crate::nodeclaim::NodeClaim;
use crate::nodeoverlay::NodeOverlay;
use crate::nodepool::NodePool;

/// All CRDs, the provider-neutral ones first.
pub fn all() -> Vec<CustomResourceDefinition> {
    kwok()
}

/// The CRDs that do not belong to a provider.
pub fn core() -> Vec<CustomResourceDefinition> {
    vec![nodepool(), nodeclaim(), nodeoverlay(), capacitybuffer()]
}

/// What the KWOK provider needs: the provider-neutral CRDs and its own.
pub fn kwok() -> Vec<CustomResourceDefinition> {
    let mut all = core();
    all.push(kwoknodeclass());
    all
}

/// The CRD of NodePool.
pub fn nodepool() -> CustomResourceDefinition {
    let mut crd = patch::common(NodePool::crd());
    patch::conditions(&mut crd, false, true);
    patch::status_default(&mut crd, "nodes", json!(0));
    crd
}

/// The CRD of NodeClaim.
pub fn nodeclaim() -> CustomResourceDefinition {
    let mut crd = patch::common(NodeClaim::crd());
    patch::conditions(&mut crd, true, true);
    crd
}

/// The CRD of NodeOverlay.
pub fn nodeoverlay() -> CustomResourceDefinition {
    let mut crd = patch::common(NodeOverlay::crd());
    patch::conditions(&mut crd, false, true);
    crd
}

/// The CRD of CapacityBuffer.
pub fn capacitybuffer() -> CustomResourceDefinition {
    let mut crd = patch::common(CapacityBuffer::crd());
    patch::conditions(&mut crd, false, true);
    crd
}

/// The CRD of KWOKNodeClass.
pub fn kwoknodeclass() -> CustomResourceDefinition {
    let mut crd = patch::common(KWOKNodeClassDefinition::crd());
    patch::conditions(&mut crd, false, false);
    patch::optional_spec(&mut crd);
    patch::ready_by_default(&mut crd);
    crd
}
