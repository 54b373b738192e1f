//! Every well-known label, annotation, taint and finalizer, by the name the code uses for it.

/// Names written by and for Karpenter itself.
pub const NODEPOOL: &str = "karpenter.sh/nodepool";
/// How capacity is bought: `on-demand`, `spot` or `reserved`.
pub const CAPACITY_TYPE: &str = "karpenter.sh/capacity-type";
