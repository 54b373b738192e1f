//! The vocabulary: every label, annotation, taint and finalizer that Karpenter reads or writes, and which
//! labels people may use.
//!
//! Constants sit flat in the module of their owner: Kubernetes' and Karpenter's labels here, the providers'
//! in `aws` and `kwok`, annotations and taints in modules of their own. `rules` says what is well known,
//! what is restricted and what is an alias.

pub mod annotations;
pub mod aws;
pub mod kwok;
mod rules;
pub mod taints;

pub use rules::{
    CORE, Provider, Restriction, WellKnown, is_well_known, known_values, normalize, restricted,
};

/// The pool that owns a node.
pub const NODEPOOL: &str = "karpenter.sh/nodepool";
/// How capacity is bought: on-demand, spot or reserved.
pub const CAPACITY_TYPE: &str = "karpenter.sh/capacity-type";
/// `"true"` on a node once it has registered.
pub const REGISTERED: &str = "karpenter.sh/registered";
/// `"true"` on a node once it is initialised.
pub const INITIALIZED: &str = "karpenter.sh/initialized";
/// On a node at boot: the claim's taints are not copied at registration.
pub const DO_NOT_SYNC_TAINTS: &str = "karpenter.sh/do-not-sync-taints";

/// A node's zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// A node's region.
pub const REGION: &str = "topology.kubernetes.io/region";
/// A node's instance type.
pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
/// A node's processor architecture: amd64 or arm64.
pub const ARCH: &str = "kubernetes.io/arch";
/// A node's operating system: linux or windows.
pub const OS: &str = "kubernetes.io/os";
/// A Windows node's build.
pub const WINDOWS_BUILD: &str = "node.kubernetes.io/windows-build";
/// A node's host name.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// Takes a node out of the cloud's load balancers; set when its disruption or termination begins.
pub const EXCLUDE_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// The value that Karpenter gives to [`EXCLUDE_BALANCERS`].
pub const EXCLUDE_BALANCERS_VALUE: &str = "karpenter";

/// A value of [`CAPACITY_TYPE`].
pub const ON_DEMAND: &str = "on-demand";
/// A value of [`CAPACITY_TYPE`].
pub const SPOT: &str = "spot";
/// A value of [`CAPACITY_TYPE`].
pub const RESERVED: &str = "reserved";
/// All values of [`CAPACITY_TYPE`].
pub const CAPACITY_TYPES: [&str; 3] = [ON_DEMAND, SPOT, RESERVED];

/// A value of [`ARCH`].
pub const AMD64: &str = "amd64";
/// A value of [`ARCH`].
pub const ARM64: &str = "arm64";
/// A value of [`OS`].
pub const LINUX: &str = "linux";
/// A value of [`OS`].
pub const WINDOWS: &str = "windows";

/// The finalizer on NodeClaims and on their nodes.
pub const TERMINATION_FINALIZER: &str = "karpenter.sh/termination";

/// The pseudo-resource that counts nodes in a pool's limits and status.
pub const NODES_RESOURCE: &str = "nodes";

/// The domain that Karpenter keeps for itself.
pub const DOMAIN: &str = "karpenter.sh";

/// The label that names a node's NodeClass: the group, and the kind in lower case.
pub fn node_class_label(group: &str, kind: &str) -> String {
    format!("{group}/{}", kind.to_ascii_lowercase())
}
