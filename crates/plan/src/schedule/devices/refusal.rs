//! Why devices cannot be allocated.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
};

use crate::device::Claim;

/// Why devices cannot be allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceRefusal {
    /// A claim of this name does not exist.
    Missing(Arc<str>),
    /// Something of a claim is wrong, or cannot be had.
    Claim {
        /// `namespace/name` of the claim.
        claim: Arc<str>,
        /// What it is.
        reason: Arc<str>,
    },
    /// No instance type has the devices, or they are in use.
    NoTypes,
    /// The search was given up.
    Exhausted,
}

impl DeviceRefusal {
    pub(super) fn claim(claim: &Claim, reason: &str) -> Self {
        Self::Claim {
            claim: claim.display_name().into(),
            reason: reason.into(),
        }
    }

    /// The text that users see.
    pub fn message(&self) -> String {
        match self {
            Self::Missing(name) => format!("resourceclaim \"{name}\" not found"),
            Self::Claim { claim, reason } => format!("resourceclaim \"{claim}\", {reason}"),
            Self::NoTypes => "no instance type can satisfy the allocation".to_string(),
            Self::Exhausted => "too many combinations of devices were tried".to_string(),
        }
    }
}
