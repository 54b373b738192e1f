//! Volumes: where pods that use them can run, and how many a node can attach.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::storage::v1 as storage;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};

use super::selector::NodeSelector;

/// A claim of storage.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = core::PersistentVolumeClaim)]
#[serde(default)]
pub struct PersistentVolumeClaim {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// What is claimed.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: PersistentVolumeClaimSpec,
    /// What became of it.
    #[serde(deserialize_with = "super::null_is_default")]
    pub status: Phase,
}

manifest!(PersistentVolumeClaim inherits core::PersistentVolumeClaim { "spec": spec, "status": status });

/// What is claimed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaimSpec {
    /// The volume that the claim is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_name: Option<String>,
    /// The class to make a volume of; unset means the default class, an empty name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

/// The phase of a claim or a volume.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Phase {
    /// Pending, Available, Bound, Released, Lost or Failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
}

/// A piece of storage.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = core::PersistentVolume)]
#[serde(default)]
pub struct PersistentVolume {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// Where it is and who serves it.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: PersistentVolumeSpec,
}

manifest!(PersistentVolume inherits core::PersistentVolume { "spec": spec });

/// Where a piece of storage is and who serves it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeSpec {
    /// The nodes that can reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<VolumeNodeAffinity>,
    /// The class it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    /// Its driver, if that is a CSI driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csi: Option<CSIVolume>,
    /// Present if it is a disk of one node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalVolume>,
    /// Present if it is a directory of one node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<LocalVolume>,
    /// Present if it is an EBS volume of the old in-tree kind.
    #[serde(
        rename = "awsElasticBlockStore",
        skip_serializing_if = "Option::is_none"
    )]
    pub aws_elastic_block_store: Option<ElasticBlockStoreVolume>,
}

/// The nodes that can reach a volume.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct VolumeNodeAffinity {
    /// What must hold of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<NodeSelector>,
}

/// A volume served by a CSI driver.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct CSIVolume {
    /// The driver's name.
    pub driver: String,
    /// The driver's name for the volume.
    pub volume_handle: String,
}

/// A path on one node.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct LocalVolume {
    /// The path.
    pub path: String,
}

/// An EBS volume of the old in-tree kind.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct ElasticBlockStoreVolume {
    /// The volume's identifier.
    #[serde(rename = "volumeID")]
    pub volume_id: String,
}

/// How volumes are made.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = storage::StorageClass)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClass {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// Who makes them.
    pub provisioner: String,
    /// Immediate or WaitForFirstConsumer.
    pub volume_binding_mode: Option<String>,
    /// Where they may be made: any one of the terms.
    pub allowed_topologies: Option<Vec<TopologySelectorTerm>>,
}

manifest!(StorageClass inherits storage::StorageClass {
    "provisioner": provisioner,
    "volumeBindingMode": volume_binding_mode,
    "allowedTopologies": allowed_topologies,
});

/// Domains where volumes may be made: all labels must match.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySelectorTerm {
    /// The labels.
    #[serde(deserialize_with = "super::null_is_default")]
    pub match_label_expressions: Vec<TopologySelectorLabelRequirement>,
}

/// The values that a label may have.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct TopologySelectorLabelRequirement {
    /// The label.
    pub key: String,
    /// Its values.
    pub values: Vec<String>,
}

/// The CSI drivers of a node.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = storage::CSINode)]
#[serde(default)]
pub struct CSINode {
    /// The object's metadata; the name is the node's.
    pub metadata: ObjectMeta,
    /// The drivers.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: CSINodeSpec,
}

manifest!(CSINode inherits storage::CSINode { "spec": spec });

/// The CSI drivers of a node.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct CSINodeSpec {
    /// The drivers.
    #[serde(deserialize_with = "super::null_is_default")]
    pub drivers: Vec<CSINodeDriver>,
}

/// A CSI driver on a node.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct CSINodeDriver {
    /// The driver's name.
    pub name: String,
    /// How many volumes it can attach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocatable: Option<VolumeNodeResources>,
    /// The node labels that say where its volumes can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_keys: Option<Vec<String>>,
}

/// How many volumes a driver can attach to a node.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct VolumeNodeResources {
    /// The number; unset means no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i32>,
}

/// A volume that is attached to a node, or shall be.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = storage::VolumeAttachment)]
#[serde(default)]
pub struct VolumeAttachment {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// What to attach where.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: VolumeAttachmentSpec,
}

manifest!(VolumeAttachment inherits storage::VolumeAttachment { "spec": spec });

/// What to attach where.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeAttachmentSpec {
    /// The driver.
    pub attacher: String,
    /// The node.
    pub node_name: String,
    /// The volume.
    pub source: VolumeAttachmentSource,
}

/// The volume to attach.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeAttachmentSource {
    /// Its name, unless it is written inline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_name: Option<String>,
}

always_written!(
    PersistentVolumeClaimSpec,
    Phase,
    PersistentVolumeSpec,
    CSINodeSpec,
    VolumeAttachmentSpec,
    String,
);
