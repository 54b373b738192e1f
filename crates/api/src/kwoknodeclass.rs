//! KWOKNodeClass: settings of nodes that exist as objects only.
//!
//! The root is written by hand because `spec` may be absent, which a derived custom resource cannot say.
//! [`KWOKNodeClassDefinition`] is derived and serves the CRD alone.
#![allow(
    unreachable_pub,
    reason = "the schema derive copies each struct into a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, KubeSchema, Resource};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::common::Condition;
use crate::duration::GoDuration;

/// How nodes of this class behave.
#[derive(
    CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq,
)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "karpenter.kwok.sh",
    version = "v1alpha1",
    kind = "KWOKNodeClass",
    root = "KWOKNodeClassDefinition",
    plural = "kwoknodeclasses",
    singular = "kwoknodeclass",
    shortname = "kwoknc",
    shortname = "kwokncs",
    status = "KWOKNodeClassStatus",
    category = "karpenter",
    doc = "KWOKNodeClass holds the settings of nodes that exist as objects only."
)]
pub struct KWOKNodeClassSpec {
    /// How long after the launch the Node object appears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_registration_delay: Option<GoDuration>,
}

/// What is known about a KWOKNodeClass.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KWOKNodeClassStatus {
    /// The conditions; the CRD's default says Ready, and nothing else ever sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}

/// The settings of nodes that exist as objects only; `spec` may be absent.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = KWOKNodeClassDefinition)]
pub struct KWOKNodeClass {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// How nodes of this class behave.
    #[serde(default)]
    pub spec: Option<KWOKNodeClassSpec>,
    /// What is known about it.
    #[serde(default)]
    pub status: Option<KWOKNodeClassStatus>,
}

impl Serialize for KWOKNodeClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut root = serializer.serialize_struct("KWOKNodeClass", 5)?;
        root.serialize_field("apiVersion", &Self::api_version(&()))?;
        root.serialize_field("kind", &Self::kind(&()))?;
        root.serialize_field("metadata", &self.metadata)?;
        if let Some(spec) = &self.spec {
            root.serialize_field("spec", spec)?;
        }
        if let Some(status) = &self.status {
            root.serialize_field("status", status)?;
        }
        root.end()
    }
}
