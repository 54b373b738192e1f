//! Labels of the KWOK provider.

/// The domain that the provider keeps for itself.
pub const DOMAIN: &str = "karpenter.kwok.sh";
/// The label that names a node's KWOKNodeClass.
pub const NODE_CLASS: &str = "karpenter.kwok.sh/kwoknodeclass";
/// The number of processors, as a quantity.
pub const INSTANCE_CPU: &str = "karpenter.kwok.sh/instance-cpu";
/// The memory, as a quantity.
pub const INSTANCE_MEMORY: &str = "karpenter.kwok.sh/instance-memory";
/// The family, from the type's name.
pub const INSTANCE_FAMILY: &str = "karpenter.kwok.sh/instance-family";
/// The size, from the type's name.
pub const INSTANCE_SIZE: &str = "karpenter.kwok.sh/instance-size";

/// Label and annotation that make KWOK play the node; its value is [`FAKE`].
pub const NODE: &str = "kwok.x-k8s.io/node";
/// The value of [`NODE`].
pub const FAKE: &str = "fake";
/// The partition of a fake node.
pub const PARTITION: &str = "kwok-partition";
/// The price of a node with six decimals, for `eks-node-viewer`.
pub const NODE_VIEWER_PRICE: &str = "eks-node-viewer/instance-price";

/// Well-known labels of this provider.
pub(super) const WELL_KNOWN: [&str; 4] = [
    INSTANCE_SIZE,
    INSTANCE_FAMILY,
    INSTANCE_CPU,
    INSTANCE_MEMORY,
];
/// Labels in the provider's domain that the CRDs allow in requirements.
pub const ALLOWED_IN_CRDS: [&str; 5] = [
    NODE_CLASS,
    INSTANCE_CPU,
    INSTANCE_MEMORY,
    INSTANCE_FAMILY,
    INSTANCE_SIZE,
];
