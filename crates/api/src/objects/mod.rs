//! Built-in Kubernetes kinds as narrow read models: only the fields that somebody here reads.
//!
//! A typed Pod of two containers is 31 KB of heap, a read model about 5 KB. They decode from what the API
//! server sends and ignore the rest, so they must never be written back whole: writes are patches. Each one
//! serialises with its `apiVersion` and `kind`, which makes it a manifest for tests and for creation.

use serde_json::Value;

/// Serialises a read model as a manifest: `apiVersion`, `kind`, `metadata` and the named fields.
macro_rules! manifest {
    ($model:ident inherits $origin:ty { $($name:literal: $field:ident),* $(,)? }) => {
        impl serde::Serialize for $model {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut root = serializer.serialize_map(None)?;
                root.serialize_entry("apiVersion", <$origin as k8s_openapi::Resource>::API_VERSION)?;
                root.serialize_entry("kind", <$origin as k8s_openapi::Resource>::KIND)?;
                root.serialize_entry("metadata", &self.metadata)?;
                $(
                    if !$crate::objects::Absent::is_absent(&self.$field) {
                        root.serialize_entry($name, &self.$field)?;
                    }
                )*
                root.end()
            }
        }
    };
}

/// Whether a field of a manifest is left out.
trait Absent {
    fn is_absent(&self) -> bool;
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// Marks structures that are always written, even when empty.
macro_rules! always_written {
    ($($kind:ty),* $(,)?) => {
        $(impl $crate::objects::Absent for $kind {
            fn is_absent(&self) -> bool {
                false
            }
        })*
    };
}

pub mod budget;
pub mod device;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod priority;
pub mod runtimeclass;
pub mod selector;
pub mod volume;
pub mod workload;

pub use budget::{PodDisruptionBudget, PodDisruptionBudgetCondition, PodDisruptionBudgetStatus};
pub use device::{DeviceClass, ResourceClaim, ResourceSlice};
pub use namespace::Namespace;
pub use node::Node;
pub use pod::{Pod, PodSpec, PodStatus, PodTemplate};
pub use priority::PriorityClass;
pub use runtimeclass::RuntimeClass;
pub use selector::LabelSelector;
pub use volume::{
    CSINode, PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttachment,
};
pub use workload::{
    DaemonSet, Deployment, Job, ReplicaSet, ReplicationController, Service, StatefulSet,
};

/// The object without its null fields: to Kubernetes a null is a field that is not there. What comes from the
/// API server has none left; what comes from a file may.
pub fn without_nulls(object: Value) -> Value {
    match object {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => object,
    }
}

/// Reads `null` as the default, which is what Kubernetes means by it.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de> + Default,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}
