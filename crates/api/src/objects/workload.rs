//! Workloads: whose pods are alike, and which pods every node will carry.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, core::v1 as core};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};

use super::pod;
use super::selector::LabelSelector;

/// What the replicating workloads have in common.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSpec {
    /// How many pods; unset means one, except for daemons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Which pods belong to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// The pods it makes.
    #[serde(deserialize_with = "super::null_is_default")]
    pub template: pod::PodTemplate,
}

/// What is read of a Job.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    /// How many pods run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<i32>,
    /// How many must succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completions: Option<i32>,
    /// Which pods belong to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// The pods it makes.
    #[serde(deserialize_with = "super::null_is_default")]
    pub template: pod::PodTemplate,
}

always_written!(WorkloadSpec, JobSpec, pod::PodTemplate);

macro_rules! workload {
    ($(#[$doc:meta])* $name:ident, $origin:ty, $spec:ty) => {
        $(#[$doc])*
        #[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
        #[resource(inherit = $origin)]
        #[serde(default)]
        pub struct $name {
            /// The object's metadata.
            pub metadata: ObjectMeta,
            /// What it makes.
            #[serde(deserialize_with = "super::null_is_default")]
            pub spec: $spec,
        }

        manifest!($name inherits $origin { "spec": spec });
    };
}

workload!(
    /// One pod on each node that it fits.
    DaemonSet, apps::DaemonSet, WorkloadSpec
);
workload!(
    /// Like pods, renewed by way of ReplicaSets.
    Deployment, apps::Deployment, WorkloadSpec
);
workload!(
    /// Like pods.
    ReplicaSet, apps::ReplicaSet, WorkloadSpec
);
workload!(
    /// Pods with a name and volumes of their own.
    StatefulSet, apps::StatefulSet, WorkloadSpec
);
/// What is read of a ReplicationController.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicationControllerSpec {
    /// Labels of its pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<BTreeMap<String, String>>,
}

/// What is read of a Service.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Labels of its pods; without any it has none of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<BTreeMap<String, String>>,
}

always_written!(ReplicationControllerSpec, ServiceSpec);

workload!(
    /// Like pods, the old way.
    ReplicationController, core::ReplicationController, ReplicationControllerSpec
);
workload!(
    /// Pods under one name.
    Service, core::Service, ServiceSpec
);
/// A pod's blueprint that belongs to no workload; CapacityBuffers refer to it.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = core::PodTemplate)]
#[serde(default)]
pub struct PodTemplate {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// The blueprint.
    #[serde(deserialize_with = "super::null_is_default")]
    pub template: pod::PodTemplate,
}

manifest!(PodTemplate inherits core::PodTemplate { "template": template });

workload!(
    /// Pods that run to completion.
    Job, batch::Job, JobSpec
);
