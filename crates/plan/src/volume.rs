//! Volumes of pods: where they can be, and how many a node can attach (section 6 of scheduling.md).
//!
//! A pod names claims; claims name volumes or the class that volumes are made of. What that comes to is
//! resolved against one snapshot, since each of the three may change at any time.

use alloc::{format, string::String, sync::Arc, vec::Vec};

use rustc_hash::FxHashMap;

use crate::{
    pod::Pod,
    requirement::Requirements,
    vocabulary::{KeyId, Vocabulary},
};

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeClaim {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// The volume that it is bound to.
    pub volume: Option<Arc<str>>,
    /// The class to make a volume of; an empty name is none.
    pub class: Option<Arc<str>>,
    /// Being deleted.
    pub deleting: bool,
    /// Its volume no longer exists.
    pub lost: bool,
    /// The annotation that says that binding is complete.
    pub bind_completed: bool,
}

/// A PersistentVolume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The name.
    pub name: Arc<str>,
    /// The CSI driver that attaches it.
    pub driver: Option<Arc<str>>,
    /// Nodes that can reach it, any of them; empty when all can.
    pub alternatives: Vec<Requirements>,
    /// Being deleted.
    pub deleting: bool,
    /// The provider cannot attach volumes of its driver.
    pub unsupported: bool,
}

/// A StorageClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeClass {
    /// The name.
    pub name: Arc<str>,
    /// The CSI driver of its volumes.
    pub driver: Arc<str>,
    /// Volumes are made at once rather than where the first pod is.
    pub immediate: bool,
    /// Where volumes may be made, any of them; empty when anywhere.
    pub alternatives: Vec<Requirements>,
    /// What of it the provider does not support.
    pub unsupported: Option<Unsupported>,
}

/// Why a class is of no use with a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// It restricts volumes by a label that nodes do not carry.
    TopologyKey,
    /// Nodes cannot attach volumes of its driver.
    Provisioner,
}

/// How many volumes of each driver a node can attach. Drivers that are not listed have no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachLimits {
    /// The node.
    pub node: Arc<str>,
    /// Bounds by driver.
    pub limits: Vec<(Arc<str>, usize)>,
}

/// All there is to know about volumes.
#[derive(Clone, Debug, Default)]
pub struct Volumes {
    claims: FxHashMap<Arc<str>, FxHashMap<Arc<str>, Arc<VolumeClaim>>>,
    by_name: FxHashMap<Arc<str>, Arc<Volume>>,
    classes: FxHashMap<Arc<str>, Arc<VolumeClass>>,
    limits: FxHashMap<Arc<str>, Arc<AttachLimits>>,
}

/// What [`Volumes`] are made from.
#[derive(Clone, Debug, Default)]
pub struct VolumeParts {
    /// All PersistentVolumeClaims.
    pub claims: Vec<Arc<VolumeClaim>>,
    /// All PersistentVolumes.
    pub volumes: Vec<Arc<Volume>>,
    /// All StorageClasses.
    pub classes: Vec<Arc<VolumeClass>>,
    /// All CSINodes.
    pub limits: Vec<Arc<AttachLimits>>,
}

/// What the volumes of a pod ask of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VolumeWish {
    /// One of them must hold; empty when any node will do.
    pub alternatives: Vec<Requirements>,
    /// Labels on which no combination of the volumes agrees.
    pub conflict: Option<KeyId>,
}

const UNSUPPORTED_PROVISIONER: &str = "failed to validate pvc, provisioner is not supported";

/// A claim that a node must attach: the driver and the claim's name.
pub type Attachment = (Arc<str>, Arc<str>);

impl Volumes {
    /// Sorts everything under its name.
    pub fn new(parts: VolumeParts) -> Self {
        let VolumeParts {
            claims: all,
            volumes,
            classes,
            limits,
        } = parts;
        let mut claims: FxHashMap<Arc<str>, FxHashMap<_, _>> = FxHashMap::default();
        for claim in all {
            claims
                .entry(claim.namespace.clone())
                .or_default()
                .insert(claim.name.clone(), claim);
        }
        let named = |volume: Arc<Volume>| (volume.name.clone(), volume);
        Self {
            claims,
            by_name: volumes.into_iter().map(named).collect(),
            classes: classes
                .into_iter()
                .map(|class| (class.name.clone(), class))
                .collect(),
            limits: limits
                .into_iter()
                .map(|limits| (limits.node.clone(), limits))
                .collect(),
        }
    }

    fn claim(&self, pod: &Pod, name: &str) -> Option<&VolumeClaim> {
        let claims = self.claims.get(&pod.namespace)?;
        claims.get(name).map(|claim| &**claim)
    }

    fn class(&self, claim: &VolumeClaim) -> Option<&VolumeClass> {
        let name = claim.class.as_ref()?;
        self.classes.get(name).map(|class| &**class)
    }

    /// Why the pod cannot be scheduled because of a volume, if it cannot (section 6.2).
    pub fn fault(&self, pod: &Pod) -> Option<String> {
        let mut claims = pod.volumes.iter();
        claims.find_map(|name| self.claim_fault(pod, name).err())
    }

    fn claim_fault(&self, pod: &Pod, name: &str) -> Result<(), String> {
        let of_claim = |text: &str| Err(format!("{text} (PersistentVolumeClaim={name})"));
        let Some(claim) = self.claim(pod, name) else {
            return of_claim(&format!(
                "getting persistent volume claim, persistentvolumeclaims \"{name}\" not found"
            ));
        };
        if claim.deleting {
            return of_claim("persistentvolumeclaim is being deleted");
        }
        if claim.lost {
            return of_claim("persistentvolumeclaim bound to non-existent persistentvolume");
        }
        let key = format!("{}/{name}", pod.namespace);
        if let Some(volume_name) = &claim.volume {
            let of_volume = |text: &str| {
                Err(format!(
                    "{text} (PersistentVolume={volume_name}, PersistentVolumeClaim={name})"
                ))
            };
            let Some(volume) = self.by_name.get(volume_name) else {
                return of_volume(&format!(
                    "failed to validate pvc, persistentvolumes \"{volume_name}\" not found"
                ));
            };
            if volume.deleting {
                return of_volume("persistentvolume is being deleted");
            }
            if !claim.bind_completed {
                return Err(format!(
                    "pvc is considered unbound because it does not contain annotation (PersistentVolume={volume_name}, PersistentVolumeClaim={name}, annotation=pv.kubernetes.io/bind-completed)"
                ));
            }
            if volume.unsupported {
                return of_volume(UNSUPPORTED_PROVISIONER);
            }
            return Ok(());
        }
        let Some(class_name) = claim.class.as_ref().filter(|name| !name.is_empty()) else {
            return of_claim("unbound pvc must define a storage class");
        };
        let of_class = |text: &str| {
            Err(format!(
                "failed to validate pvc, {text} (PersistentVolumeClaim={key}, StorageClass={class_name})"
            ))
        };
        let Some(class) = self.class(claim) else {
            return of_class(&format!(
                "failed to get storage class, storageclasses.storage.k8s.io \"{class_name}\" not found"
            ));
        };
        if class.immediate {
            return of_class("pvc with immediate volume binding mode must be bound");
        }
        match class.unsupported {
            None => Ok(()),
            Some(Unsupported::TopologyKey) => {
                of_class("storage class uses unsupported topology key")
            }
            Some(Unsupported::Provisioner) => of_class("provisioner is not supported"),
        }
    }

    /// Where the pod's volumes can be (section 6.3). What cannot be resolved asks for nothing.
    pub fn wish(&self, pod: &Pod, vocabulary: &Vocabulary) -> VolumeWish {
        let mut combined: Vec<Requirements> = Vec::new();
        for name in &*pod.volumes {
            let Some(claim) = self.claim(pod, name) else {
                continue;
            };
            let alternatives = match &claim.volume {
                Some(name) => self.by_name.get(name).map(|volume| &volume.alternatives),
                None => self.class(claim).map(|class| &class.alternatives),
            };
            let alternatives = alternatives.map_or(&[][..], |all| all);
            if alternatives.is_empty() {
                continue;
            }
            if combined.is_empty() {
                combined = alternatives.to_vec();
                continue;
            }
            let mut both = Vec::new();
            for own in &combined {
                for other in alternatives {
                    if own.intersects(other, vocabulary) {
                        let mut joined = own.clone();
                        joined.add_all(other, vocabulary);
                        both.push(joined);
                    }
                }
            }
            if both.is_empty() {
                return VolumeWish {
                    conflict: disagreement(&combined, alternatives, vocabulary),
                    alternatives: combined,
                };
            }
            combined = both;
        }
        VolumeWish {
            alternatives: combined,
            conflict: None,
        }
    }

    /// What a node must attach for the pod (section 6.4).
    pub fn attachments(&self, pod: &Pod) -> Vec<Attachment> {
        let of_claim = |name: &Arc<str>| {
            let claim = self.claim(pod, name)?;
            let driver = match &claim.volume {
                Some(volume) => self.by_name.get(volume)?.driver.clone()?,
                None => self.class(claim)?.driver.clone(),
            };
            Some((driver, claim.name.clone()))
        };
        pod.volumes.iter().filter_map(of_claim).collect()
    }

    /// The bounds of a node, if it has any.
    pub fn limits(&self, node: &str) -> Option<&AttachLimits> {
        self.limits.get(node).map(|limits| &**limits)
    }
}

/// The first label on which no two alternatives agree.
fn disagreement(
    own: &[Requirements],
    others: &[Requirements],
    vocabulary: &Vocabulary,
) -> Option<KeyId> {
    let (own, other) = (own.first()?, others.first()?);
    own.iter()
        .find(|requirement| {
            other
                .get(requirement.key())
                .is_some_and(|found| !found.agrees(requirement, vocabulary))
        })
        .map(crate::Requirement::key)
}
