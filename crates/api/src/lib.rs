//! Karpenter's API types, labels, quantities, hashes and CRDs.
//!
//! Reading order: `nodepool` and `nodeclaim` are the two kinds everything else is about, `common` what they
//! share, `quantity` and `duration` the two value types with a syntax of their own, `labels` the vocabulary,
//! `conditions` how status is reported. `objects` holds the built-in Kubernetes kinds as narrow read models.
//!
//! This crate knows no clock, no client and no decision: it says what objects look like, what they may
//! contain and how they are hashed. Fields with a closed set of values stay strings here, so that an object
//! written by a newer release still decodes; they are judged where they are read.
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![allow(
    clippy::duplicated_attributes,
    reason = "printer columns have like types and priorities"
)]

pub mod capacitybuffer;
#[cfg(test)]
mod cases;
pub mod common;
pub mod conditions;
pub mod crds;
pub mod duration;
pub mod hash;
pub mod kwoknodeclass;
pub mod labels;
pub mod nodeclaim;
pub mod nodeoverlay;
pub mod nodepool;
pub mod objects;
pub mod quantity;
pub mod scheduler_config;
mod structural_hash;
pub mod validation;

pub use capacitybuffer::{
    CapacityBuffer, CapacityBufferSpec, CapacityBufferStatus, PodTemplateReference,
    ScalableReference,
};
pub use common::{Condition, NodeClassReference, Requirement, Taint};
pub use duration::{GoDuration, NillableDuration};
pub use hash::{NODEPOOL_HASH_VERSION, nodepool_hash};
pub use kwoknodeclass::{KWOKNodeClass, KWOKNodeClassSpec, KWOKNodeClassStatus};
pub use nodeclaim::{NodeClaim, NodeClaimSpec, NodeClaimStatus, Resources};
pub use nodeoverlay::{NodeOverlay, NodeOverlayRequirement, NodeOverlaySpec, NodeOverlayStatus};
pub use nodepool::{
    Budget, ConsolidationPolicy, Disruption, NodeClaimTemplate, NodeClaimTemplateSpec, NodePool,
    NodePoolSpec, NodePoolStatus, ObjectMetaTemplate, UnknownConsolidationPolicy,
};
pub use quantity::{Quantity, ResourceList};

/// The API group of NodePool, NodeClaim and NodeOverlay.
pub const GROUP: &str = "karpenter.sh";
/// The version of NodePool and NodeClaim.
pub const VERSION: &str = "v1";
/// The API group of KWOKNodeClass.
pub const KWOK_GROUP: &str = "karpenter.kwok.sh";
/// The version of KWOKNodeClass.
pub const KWOK_VERSION: &str = "v1alpha1";
/// The API group of EC2NodeClass.
pub const AWS_GROUP: &str = "karpenter.k8s.aws";
