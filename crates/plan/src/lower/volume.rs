//! Volumes, their claims and classes, and what nodes can attach.

use alloc::{string::String, sync::Arc, vec::Vec};

use karpenter_api::objects;

use super::{Lowering, deletion, name_of};
use crate::{
    requirement::{Requirement, Requirements},
    vocabulary::KeyId,
    volume::{AttachLimits, Unsupported, Volume, VolumeClaim, VolumeClass},
};

/// The annotation of a claim whose binding is complete.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// Provisioners of the old in-tree kind and the CSI drivers that serve their volumes today.
const MIGRATED: [(&str, &str); 7] = [
    ("kubernetes.io/aws-ebs", EBS),
    ("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    ("kubernetes.io/azure-file", "file.csi.azure.com"),
    ("kubernetes.io/cinder", "cinder.csi.openstack.org"),
    ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io"),
    ("kubernetes.io/portworx-volume", "pxd.portworx.com"),
    ("kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com"),
];

const EBS: &str = "ebs.csi.aws.com";

impl Lowering {
    /// A PersistentVolumeClaim.
    pub fn volume_claim(&mut self, claim: &objects::PersistentVolumeClaim) -> VolumeClaim {
        let meta = &claim.metadata;
        let annotations = meta.annotations.as_ref();
        let volume = claim.spec.volume_name.as_deref();
        VolumeClaim {
            namespace: self.string(meta.namespace.as_deref().unwrap_or("default")),
            name: name_of(meta).into(),
            volume: volume.filter(|name| !name.is_empty()).map(Arc::from),
            class: claim
                .spec
                .storage_class_name
                .as_deref()
                .map(|name| self.string(name)),
            deleting: deletion(meta).is_some(),
            lost: claim.status.phase.as_deref() == Some("Lost"),
            bind_completed: annotations.is_some_and(|all| all.contains_key(BIND_COMPLETED)),
        }
    }

    /// A PersistentVolume. A disk of one node is not held to that node: the node may be gone, and
    /// another disk of its kind will do (section 6.3).
    pub fn volume(&mut self, volume: &objects::PersistentVolume) -> Volume {
        let spec = &volume.spec;
        let is_of_a_host = spec.local.is_some() || spec.host_path.is_some();
        let required = spec
            .node_affinity
            .as_ref()
            .and_then(|affinity| affinity.required.as_ref());
        let terms = required.map_or(&[][..], |required| &required.node_selector_terms);
        let mut alternatives = Vec::new();
        for term in terms {
            if term.match_expressions.is_empty() {
                continue;
            }
            let mut requirements = Requirements::new();
            for entry in &term.match_expressions {
                // The API server admits nothing else.
                let Ok(requirement) = self.requirement(entry.into()) else {
                    continue;
                };
                if !(is_of_a_host && requirement.key() == KeyId::HOSTNAME) {
                    requirements.add(requirement, &self.vocabulary);
                }
            }
            alternatives.push(requirements);
        }
        let ebs = spec.aws_elastic_block_store.as_ref().map(|_| EBS);
        let driver = spec.csi.as_ref().map(|csi| csi.driver.as_str()).or(ebs);
        Volume {
            unsupported: driver.is_some_and(|name| self.is_unsupported(name)),
            name: name_of(&volume.metadata).into(),
            driver: driver.map(|name| self.string(name)),
            alternatives,
            deleting: deletion(&volume.metadata).is_some(),
        }
    }

    /// A StorageClass.
    pub fn volume_class(&mut self, class: &objects::StorageClass) -> VolumeClass {
        let mut alternatives = Vec::new();
        for term in class.allowed_topologies.iter().flatten() {
            if term.match_label_expressions.is_empty() {
                continue;
            }
            let mut requirements = Requirements::new();
            for entry in &term.match_label_expressions {
                let values: Vec<_> = entry.values.iter().map(|value| self.value(value)).collect();
                let requirement = Requirement::any_of(self.key(&entry.key), values);
                requirements.add(requirement, &self.vocabulary);
            }
            alternatives.push(requirements);
        }
        let provisioner = class.provisioner.as_str();
        let migrated = MIGRATED.iter().find(|(old, _)| *old == provisioner);
        let driver = migrated.map_or(provisioner, |(_, driver)| driver);
        let topologies = class.allowed_topologies.iter().flatten();
        let mut keys = topologies.flat_map(|term| &term.match_label_expressions);
        let is_odd = |key: &String| self.unsupported_topology_keys.contains(key);
        let unsupported = if keys.any(|entry| is_odd(&entry.key)) {
            Some(Unsupported::TopologyKey)
        } else {
            self.is_unsupported(driver)
                .then_some(Unsupported::Provisioner)
        };
        VolumeClass {
            unsupported,
            name: name_of(&class.metadata).into(),
            driver: self.string(driver),
            immediate: class.volume_binding_mode.as_deref() == Some("Immediate"),
            alternatives,
        }
    }

    fn is_unsupported(&self, driver: &str) -> bool {
        self.unsupported_provisioners
            .iter()
            .any(|own| own == driver)
    }

    /// A CSINode.
    pub fn attach_limits(&mut self, node: &objects::CSINode) -> AttachLimits {
        let drivers = node.spec.drivers.iter();
        let limits = drivers.filter_map(|driver| {
            let count = driver.allocatable.as_ref()?.count?;
            Some((
                self.string(&driver.name),
                usize::try_from(count).unwrap_or(0),
            ))
        });
        AttachLimits {
            limits: limits.collect(),
            node: name_of(&node.metadata).into(),
        }
    }
}
