//! Labels, annotations and tags of the AWS provider.

/// The domain that the provider keeps for itself.
pub const DOMAIN: &str = "karpenter.k8s.aws";

/// The zone's identifier, which means the same zone in every account.
pub const ZONE_ID: &str = "topology.k8s.aws/zone-id";
/// The label and the tag that name a node's EC2NodeClass.
pub const NODE_CLASS: &str = "karpenter.k8s.aws/ec2nodeclass";
/// `default` or `dedicated`.
pub const INSTANCE_TENANCY: &str = "karpenter.k8s.aws/instance-tenancy";
/// `default` or `capacity-block`.
pub const CAPACITY_RESERVATION_TYPE: &str = "karpenter.k8s.aws/capacity-reservation-type";
/// The capacity reservation that a node runs in.
pub const CAPACITY_RESERVATION_ID: &str = "karpenter.k8s.aws/capacity-reservation-id";
/// Whether the reservation may be taken back.
pub const CAPACITY_RESERVATION_INTERRUPTIBLE: &str =
    "karpenter.k8s.aws/capacity-reservation-interruptible";
/// Whether traffic between instances is encrypted.
pub const INSTANCE_ENCRYPTION_IN_TRANSIT_SUPPORTED: &str =
    "karpenter.k8s.aws/instance-encryption-in-transit-supported";
/// Whether enclaves are supported.
pub const NITRO_SANDBOX: &str = "karpenter.k8s.aws/nitro-sandbox";
/// The letters of the type's name before its generation.
pub const INSTANCE_CATEGORY: &str = "karpenter.k8s.aws/instance-category";
/// `nitro`, `xen`, or empty for bare metal.
pub const INSTANCE_HYPERVISOR: &str = "karpenter.k8s.aws/instance-hypervisor";
/// The part of the type's name before the dot.
pub const INSTANCE_FAMILY: &str = "karpenter.k8s.aws/instance-family";
/// The number in the type's name.
pub const INSTANCE_GENERATION: &str = "karpenter.k8s.aws/instance-generation";
/// Total local NVMe storage in GB.
pub const INSTANCE_LOCAL_NVME: &str = "karpenter.k8s.aws/instance-local-nvme";
/// The part of the type's name after the dot.
pub const INSTANCE_SIZE: &str = "karpenter.k8s.aws/instance-size";
/// The number of virtual processors.
pub const INSTANCE_CPU: &str = "karpenter.k8s.aws/instance-cpu";
/// `aws`, `intel` or `amd`.
pub const INSTANCE_CPU_MANUFACTURER: &str = "karpenter.k8s.aws/instance-cpu-manufacturer";
/// The sustained clock speed in MHz.
pub const INSTANCE_CPU_SUSTAINED_CLOCK_SPEED_MHZ: &str =
    "karpenter.k8s.aws/instance-cpu-sustained-clock-speed-mhz";
/// Memory in MiB.
pub const INSTANCE_MEMORY: &str = "karpenter.k8s.aws/instance-memory";
/// Maximum EBS bandwidth in Mbps.
pub const INSTANCE_EBS_BANDWIDTH: &str = "karpenter.k8s.aws/instance-ebs-bandwidth";
/// Baseline network bandwidth in Mbps.
pub const INSTANCE_NETWORK_BANDWIDTH: &str = "karpenter.k8s.aws/instance-network-bandwidth";
/// The GPU's name.
pub const INSTANCE_GPU_NAME: &str = "karpenter.k8s.aws/instance-gpu-name";
/// The GPU's manufacturer.
pub const INSTANCE_GPU_MANUFACTURER: &str = "karpenter.k8s.aws/instance-gpu-manufacturer";
/// The number of GPUs.
pub const INSTANCE_GPU_COUNT: &str = "karpenter.k8s.aws/instance-gpu-count";
/// Memory of one GPU in MiB.
pub const INSTANCE_GPU_MEMORY: &str = "karpenter.k8s.aws/instance-gpu-memory";
/// The accelerator's name.
pub const INSTANCE_ACCELERATOR_NAME: &str = "karpenter.k8s.aws/instance-accelerator-name";
/// The accelerator's manufacturer.
pub const INSTANCE_ACCELERATOR_MANUFACTURER: &str =
    "karpenter.k8s.aws/instance-accelerator-manufacturer";
/// The number of accelerators.
pub const INSTANCE_ACCELERATOR_COUNT: &str = "karpenter.k8s.aws/instance-accelerator-count";
/// Whether the type is a flex type.
pub const INSTANCE_CAPABILITY_FLEX: &str = "karpenter.k8s.aws/instance-capability-flex";
/// The placement group that a node runs in.
pub const PLACEMENT_GROUP_ID: &str = "karpenter.k8s.aws/placement-group-id";
/// The partition within the placement group.
pub const PLACEMENT_GROUP_PARTITION: &str = "karpenter.k8s.aws/placement-group-partition";

/// The values of [`INSTANCE_TENANCY`].
pub const TENANCIES: [&str; 2] = ["default", "dedicated"];

/// Another name of the zone label, read on this provider only.
pub(super) const EBS_ZONE_ALIAS: &str = "topology.ebs.csi.aws.com/zone";

/// Annotation: the static hash of an EC2NodeClass.
pub const NODE_CLASS_HASH: &str = "karpenter.k8s.aws/ec2nodeclass-hash";
/// Annotation: the version of the scheme behind [`NODE_CLASS_HASH`].
pub const NODE_CLASS_HASH_VERSION: &str = "karpenter.k8s.aws/ec2nodeclass-hash-version";
/// Annotation: the instance has got its tags.
pub const TAGGED: &str = "karpenter.k8s.aws/tagged";
/// Annotation: the instance profile that the instance was launched with.
pub const INSTANCE_PROFILE_NAME: &str = "karpenter.k8s.aws/instance-profile-name";
/// Annotation: the cluster's tag was added to an instance of an older release.
pub const CLUSTER_NAME_TAGGED: &str = "compatibility.karpenter.k8s.aws/cluster-name-tagged";
/// The finalizer on EC2NodeClasses.
pub const TERMINATION_FINALIZER: &str = "karpenter.k8s.aws/termination";

/// Tag: the NodeClaim of an instance.
pub const NODE_CLAIM_TAG: &str = "karpenter.sh/nodeclaim";
/// Tag: the cluster's name.
pub const CLUSTER_NAME_TAG: &str = "eks:eks-cluster-name";
/// Prefix of the tag that says which cluster owns an instance.
pub const CLUSTER_TAG_PREFIX: &str = "kubernetes.io/cluster/";

/// Labels in the provider's domain that the CRDs allow in a pool's labels and in requirements.
pub const ALLOWED_IN_CRDS: [&str; 29] = [
    INSTANCE_TENANCY,
    CAPACITY_RESERVATION_TYPE,
    CAPACITY_RESERVATION_ID,
    CAPACITY_RESERVATION_INTERRUPTIBLE,
    NODE_CLASS,
    INSTANCE_ENCRYPTION_IN_TRANSIT_SUPPORTED,
    NITRO_SANDBOX,
    INSTANCE_CATEGORY,
    INSTANCE_HYPERVISOR,
    INSTANCE_FAMILY,
    INSTANCE_GENERATION,
    INSTANCE_LOCAL_NVME,
    INSTANCE_SIZE,
    INSTANCE_CPU,
    INSTANCE_CPU_MANUFACTURER,
    INSTANCE_CPU_SUSTAINED_CLOCK_SPEED_MHZ,
    INSTANCE_MEMORY,
    INSTANCE_EBS_BANDWIDTH,
    INSTANCE_NETWORK_BANDWIDTH,
    INSTANCE_GPU_NAME,
    INSTANCE_GPU_MANUFACTURER,
    INSTANCE_GPU_COUNT,
    INSTANCE_GPU_MEMORY,
    INSTANCE_ACCELERATOR_NAME,
    INSTANCE_ACCELERATOR_MANUFACTURER,
    INSTANCE_ACCELERATOR_COUNT,
    INSTANCE_CAPABILITY_FLEX,
    PLACEMENT_GROUP_ID,
    PLACEMENT_GROUP_PARTITION,
];

/// Whether the label is well known on this provider: what the CRDs allow, but the NodeClass's label, which
/// says what a node was made with and cannot be asked for, and with the zone's identifier.
pub(super) fn is_well_known(key: &str) -> bool {
    key == ZONE_ID || (key != NODE_CLASS && ALLOWED_IN_CRDS.contains(&key))
}
