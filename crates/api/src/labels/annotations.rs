//! Annotations.

/// Keeps a pod, a node or a claim from voluntary disruption: `"true"`, on pods also a duration.
pub const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// The static hash of a pool's template.
pub const NODEPOOL_HASH: &str = "karpenter.sh/nodepool-hash";
/// The version of the scheme behind [`NODEPOOL_HASH`].
pub const NODEPOOL_HASH_VERSION: &str = "karpenter.sh/nodepool-hash-version";
/// RFC 3339 instant at which a terminating claim's node goes by force.
pub const TERMINATION_TIMESTAMP: &str = "karpenter.sh/nodeclaim-termination-timestamp";
/// Whether minValues had to be relaxed for a claim: `"true"` or `"false"`.
pub const MIN_VALUES_RELAXED: &str = "karpenter.sh/nodeclaim-min-values-relaxed";
/// Instance types that a claim and those before it have replaced in consolidation, each with the time:
/// `m5.large=2026-01-01T00:00:00Z,…`. Ours: it keeps machines from going back and forth.
pub const REPLACED_TYPES: &str = "karpenter.sh/nodeclaim-replaced-types";
/// Drivers of dynamic resources that must publish their pools before a node counts as initialised.
pub const REQUESTED_DRA_DRIVERS: &str = "karpenter.sh/requested-dra-drivers";
/// `"true"` when an overlay changed the price of a type that was considered for the claim.
pub const PRICE_OVERLAY_APPLIED: &str = "karpenter.sh/price-overlay-applied";
/// `"true"` when an overlay changed the capacity of a type that was considered for the claim.
pub const CAPACITY_OVERLAY_APPLIED: &str = "karpenter.sh/capacity-overlay-applied";
/// A provider's settings as old releases wrote them; ignored.
pub const COMPATIBILITY_PROVIDER: &str = "compatibility.karpenter.sh/provider";
/// Marks the virtual pods of a capacity buffer, which never reach the API.
pub const BUFFER_FAKE_POD: &str = "karpenter.sh/capacity-buffer-fake-pod";
/// The buffer of a virtual pod.
pub const BUFFER_NAME: &str = "karpenter.sh/capacity-buffer-name";
/// The namespace of a virtual pod's buffer.
pub const BUFFER_NAMESPACE: &str = "karpenter.sh/capacity-buffer-namespace";
