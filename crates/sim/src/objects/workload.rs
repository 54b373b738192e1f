//! Deployments, replica sets, daemon sets and jobs. Their pod templates stay raw JSON: what is not understood here
//! must reach the pods unchanged.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::meta::{Condition, IntOrPercent, Meta, absent};
use super::selector::Selector;

/// A kind whose wire form is metadata, a specification and a status, all of which are kept.
macro_rules! workload {
    ($(#[$doc:meta])* $name:ident, $wire:ident, $spec:ident, $status:ident, $group:literal, $plural:literal) => {
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default)]
        pub(crate) struct $wire {
            pub(crate) metadata: ObjectMeta,
            #[serde(deserialize_with = "absent")]
            spec: $spec,
            #[serde(deserialize_with = "absent")]
            status: $status,
        }
        super::kind!($wire, $group, "v1", stringify!($name), $plural, NamespaceResourceScope);

        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct $name {
            pub(crate) meta: Meta,
            pub(crate) spec: $spec,
            pub(crate) status: $status,
        }

        impl From<$wire> for $name {
            fn from(wire: $wire) -> Self {
                Self { meta: wire.metadata.into(), spec: wire.spec, status: wire.status }
            }
        }
    };
}

workload!(
    /// A deployment.
    Deployment, DeploymentWire, DeploymentSpec, DeploymentStatus, "apps", "deployments"
);
workload!(
    /// A replica set.
    ReplicaSet, ReplicaSetWire, ReplicaSetSpec, ReplicaSetStatus, "apps", "replicasets"
);
workload!(
    /// A daemon set.
    DaemonSet, DaemonSetWire, DaemonSetSpec, DaemonSetStatus, "apps", "daemonsets"
);
workload!(
    /// A job.
    Job, JobWire, JobSpec, JobStatus, "batch", "jobs"
);

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeploymentSpec {
    pub(crate) replicas: Option<i64>,
    #[serde(deserialize_with = "absent")]
    pub(crate) selector: Selector,
    #[serde(deserialize_with = "absent")]
    pub(crate) template: Arc<Value>,
    #[serde(deserialize_with = "absent")]
    pub(crate) strategy: Strategy,
    #[serde(deserialize_with = "absent")]
    pub(crate) paused: bool,
    #[serde(deserialize_with = "absent")]
    pub(crate) min_ready_seconds: i64,
    pub(crate) revision_history_limit: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Strategy {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(deserialize_with = "absent")]
    pub(crate) rolling_update: RollingUpdate,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RollingUpdate {
    pub(crate) max_surge: Option<IntOrPercent>,
    pub(crate) max_unavailable: Option<IntOrPercent>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeploymentStatus {
    #[serde(deserialize_with = "absent")]
    pub(crate) observed_generation: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) replicas: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) updated_replicas: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) ready_replicas: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) available_replicas: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) unavailable_replicas: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicaSetSpec {
    pub(crate) replicas: Option<i64>,
    #[serde(deserialize_with = "absent")]
    pub(crate) selector: Selector,
    #[serde(deserialize_with = "absent")]
    pub(crate) template: Arc<Value>,
    #[serde(deserialize_with = "absent")]
    pub(crate) min_ready_seconds: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicaSetStatus {
    #[serde(deserialize_with = "absent")]
    pub(crate) observed_generation: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) replicas: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) fully_labeled_replicas: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) ready_replicas: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) available_replicas: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DaemonSetSpec {
    #[serde(deserialize_with = "absent")]
    pub(crate) selector: Selector,
    #[serde(deserialize_with = "absent")]
    pub(crate) template: Arc<Value>,
    #[serde(deserialize_with = "absent")]
    pub(crate) update_strategy: Strategy,
    #[serde(deserialize_with = "absent")]
    pub(crate) min_ready_seconds: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DaemonSetStatus {
    #[serde(deserialize_with = "absent")]
    pub(crate) observed_generation: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) current_number_scheduled: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) desired_number_scheduled: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) number_misscheduled: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) number_ready: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) number_available: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) number_unavailable: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) updated_number_scheduled: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JobSpec {
    pub(crate) parallelism: Option<i64>,
    pub(crate) completions: Option<i64>,
    pub(crate) backoff_limit: Option<i64>,
    #[serde(rename = "ttlSecondsAfterFinished")]
    pub(crate) ttl_seconds: Option<i64>,
    #[serde(deserialize_with = "absent")]
    pub(crate) suspend: bool,
    pub(crate) completion_mode: Option<String>,
    #[serde(deserialize_with = "absent")]
    pub(crate) template: Arc<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JobStatus {
    #[serde(deserialize_with = "absent")]
    pub(crate) active: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) ready: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) succeeded: i64,
    #[serde(deserialize_with = "absent")]
    pub(crate) failed: i64,
    pub(crate) start_time: Option<Timestamp>,
    pub(crate) completion_time: Option<Timestamp>,
    #[serde(deserialize_with = "absent")]
    pub(crate) conditions: Vec<Condition>,
}
