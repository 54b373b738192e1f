//! The kinds that the offline commands read, and where a server keeps them.

/// A kind that is read.
pub(super) struct Kind {
    pub(super) api_version: &'static str,
    pub(super) name: &'static str,
    plural: &'static str,
    namespaced: bool,
}

const fn kind(
    api_version: &'static str,
    name: &'static str,
    plural: &'static str,
    namespaced: bool,
) -> Kind {
    Kind {
        api_version,
        name,
        plural,
        namespaced,
    }
}

/// In the order in which they are admitted: what others refer to comes first.
pub(super) const KINDS: &[Kind] = &[
    kind("v1", "Namespace", "namespaces", false),
    kind("storage.k8s.io/v1", "StorageClass", "storageclasses", false),
    kind("v1", "PersistentVolume", "persistentvolumes", false),
    kind(
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        true,
    ),
    kind("storage.k8s.io/v1", "CSINode", "csinodes", false),
    kind("resource.k8s.io/v1", "DeviceClass", "deviceclasses", false),
    kind(
        "resource.k8s.io/v1",
        "ResourceSlice",
        "resourceslices",
        false,
    ),
    kind(
        "resource.k8s.io/v1",
        "ResourceClaim",
        "resourceclaims",
        true,
    ),
    kind(
        "resource.k8s.io/v1",
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
        true,
    ),
    kind(
        "scheduling.k8s.io/v1",
        "PriorityClass",
        "priorityclasses",
        false,
    ),
    kind("node.k8s.io/v1", "RuntimeClass", "runtimeclasses", false),
    kind(
        "karpenter.kwok.sh/v1alpha1",
        "KWOKNodeClass",
        "kwoknodeclasses",
        false,
    ),
    kind("karpenter.sh/v1", "NodePool", "nodepools", false),
    kind("karpenter.sh/v1", "NodeClaim", "nodeclaims", false),
    kind(
        "karpenter.sh/v1alpha1",
        "NodeOverlay",
        "nodeoverlays",
        false,
    ),
    kind("v1", "PodTemplate", "podtemplates", true),
    kind(
        "autoscaling.x-k8s.io/v1beta1",
        "CapacityBuffer",
        "capacitybuffers",
        true,
    ),
    kind("v1", "Node", "nodes", false),
    kind("apps/v1", "DaemonSet", "daemonsets", true),
    kind(
        "policy/v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        true,
    ),
    kind("v1", "Service", "services", true),
    kind(
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        true,
    ),
    kind("v1", "Pod", "pods", true),
    kind("apps/v1", "ReplicaSet", "replicasets", true),
    kind("apps/v1", "Deployment", "deployments", true),
    kind("apps/v1", "StatefulSet", "statefulsets", true),
    kind("batch/v1", "Job", "jobs", true),
];

impl Kind {
    /// Its place in [`KINDS`], if it is read at all.
    pub(super) fn position(api_version: &str, kind: &str) -> Option<usize> {
        KINDS
            .iter()
            .position(|known| known.api_version == api_version && known.name == kind)
    }

    /// Where objects of the kind are created.
    pub(super) fn path(&self, namespace: &str) -> String {
        let root = if self.api_version.contains('/') {
            "/apis"
        } else {
            "/api"
        };
        let Self {
            api_version,
            plural,
            ..
        } = self;
        if self.namespaced {
            format!("{root}/{api_version}/namespaces/{namespace}/{plural}")
        } else {
            format!("{root}/{api_version}/{plural}")
        }
    }

    /// Whether others refer to objects of this kind while they are admitted.
    pub(super) fn is_referred_to(&self) -> bool {
        matches!(self.name, "Namespace" | "PriorityClass" | "RuntimeClass")
    }

    pub(super) fn is_namespaced(&self) -> bool {
        self.namespaced
    }
}
