//! Volumes and dynamic resources: many objects that change seldom, looked up by name.

use std::sync::Arc;

use karpenter_api::objects::{
    CSINode, DeviceClass, PersistentVolume, PersistentVolumeClaim, ResourceClaim, ResourceSlice,
    StorageClass,
};
use karpenter_plan::{
    device::{self, DeviceParts, Devices},
    volume::{AttachLimits, Volume, VolumeClaim, VolumeClass, VolumeParts, Volumes},
};

use super::shelf::Shelf;
use crate::mirror::state::State;

/// Lowered values of one kind, as a shelf gives them.
type Values<T> = Arc<[Arc<T>]>;

/// Volumes, their claims and classes, and what nodes can attach.
#[derive(Default)]
pub(super) struct VolumeSources {
    claims: Shelf<Arc<PersistentVolumeClaim>, VolumeClaim>,
    volumes: Shelf<Arc<PersistentVolume>, Volume>,
    classes: Shelf<Arc<StorageClass>, VolumeClass>,
    limits: Shelf<Arc<CSINode>, AttachLimits>,
    made: Option<(VolumeValues, Arc<Volumes>)>,
}

struct VolumeValues {
    claims: Values<VolumeClaim>,
    volumes: Values<Volume>,
    classes: Values<VolumeClass>,
    limits: Values<AttachLimits>,
}

impl VolumeValues {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.claims, &other.claims)
            && Arc::ptr_eq(&self.volumes, &other.volumes)
            && Arc::ptr_eq(&self.classes, &other.classes)
            && Arc::ptr_eq(&self.limits, &other.limits)
    }
}

impl VolumeSources {
    pub(super) fn update(&mut self, state: &mut State) -> Arc<Volumes> {
        let lowering = &mut state.lowering;
        let values = VolumeValues {
            claims: self
                .claims
                .lower_all(&state.volume_claims, |claim| lowering.volume_claim(claim)),
            volumes: self
                .volumes
                .lower_all(&state.volumes, |volume| lowering.volume(volume)),
            classes: self
                .classes
                .lower_all(&state.storage_classes, |class| lowering.volume_class(class)),
            limits: self
                .limits
                .lower_all(&state.csi_nodes, |node| lowering.attach_limits(node)),
        };
        let volumes = match self.made.take() {
            Some((known, made)) if known.is(&values) => made,
            Some(_) | None => Arc::new(Volumes::new(VolumeParts {
                claims: values.claims.to_vec(),
                volumes: values.volumes.to_vec(),
                classes: values.classes.to_vec(),
                limits: values.limits.to_vec(),
            })),
        };
        self.made = Some((values, Arc::clone(&volumes)));
        volumes
    }
}

/// Dynamic resources.
#[derive(Default)]
pub(super) struct DeviceSources {
    slices: Shelf<Arc<ResourceSlice>, device::Slice>,
    claims: Shelf<Arc<ResourceClaim>, device::Claim>,
    classes: Shelf<Arc<DeviceClass>, device::Class>,
    made: Option<(DeviceValues, Arc<Devices>)>,
}

struct DeviceValues {
    slices: Values<device::Slice>,
    claims: Values<device::Claim>,
    classes: Values<device::Class>,
}

impl DeviceValues {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.slices, &other.slices)
            && Arc::ptr_eq(&self.claims, &other.claims)
            && Arc::ptr_eq(&self.classes, &other.classes)
    }
}

impl DeviceSources {
    /// Nothing unless somebody looks at devices.
    pub(super) fn update(&mut self, state: &mut State) -> Option<Arc<Devices>> {
        if !state.honors_devices {
            return None;
        }
        let lowering = &mut state.lowering;
        let values = DeviceValues {
            slices: self.slices.lower_all(&state.resource_slices, |slice| {
                lowering.resource_slice(slice)
            }),
            claims: self.claims.lower_all(&state.resource_claims, |claim| {
                lowering.resource_claim(claim)
            }),
            classes: self
                .classes
                .lower_all(&state.device_classes, |class| lowering.device_class(class)),
        };
        let devices = match self.made.take() {
            Some((known, made)) if known.is(&values) => made,
            Some(_) | None => Arc::new(Devices::new(DeviceParts {
                slices: values.slices.to_vec(),
                claims: values.claims.to_vec(),
                classes: values.classes.to_vec(),
            })),
        };
        self.made = Some((values, Arc::clone(&devices)));
        Some(devices)
    }
}
