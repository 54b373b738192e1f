//! Namespaces: their labels, which affinity terms select by.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

/// A namespace.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = core::Namespace)]
#[serde(default)]
pub struct Namespace {
    /// The object's metadata.
    pub metadata: ObjectMeta,
}

manifest!(Namespace inherits core::Namespace {});
