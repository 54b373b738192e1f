//! Which kinds there are: the built-in table, and what a custom definition adds.
//!
//! A kind says how its objects are named, scoped and subdivided. What its fields mean is for
//! `schema`, `defaults` and `checks`.

use std::sync::Arc;

use serde_json::Value;

use crate::schema::Schema;

/// One version under which a kind is served.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) name: String,
    /// The structural schema of a custom kind; built-in kinds have theirs in `schema::builtin`.
    pub(crate) schema: Option<Arc<Schema>>,
    /// `additionalPrinterColumns` as declared.
    pub(crate) columns: Vec<Value>,
    /// Whether `/status` is a subresource of its own.
    pub(crate) status: bool,
    /// Paths of the scale subresource.
    pub(crate) scale: Option<ScalePaths>,
}

/// Where `/scale` reads and writes, as lists of field names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScalePaths {
    pub(crate) replicas: Vec<String>,
    pub(crate) status_replicas: Vec<String>,
    pub(crate) selector: Option<Vec<String>>,
}

/// A field that a field selector may name.
#[derive(Debug)]
pub(crate) struct SelectableField {
    pub(crate) label: String,
    pub(crate) path: Vec<String>,
}

/// One kind of object and everything about it that does not depend on a single object.
#[derive(Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "`kind` and `list_kind` are the API's own words"
)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) list_kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) builtin: bool,
    /// Whether `metadata.generation` counts changes of the specification.
    pub(crate) generation: bool,
    /// Served versions, the stored one first.
    pub(crate) versions: Vec<Version>,
    pub(crate) fields: Vec<SelectableField>,
}

impl Kind {
    /// `plural` or `plural.group`, as messages name it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `v1` or `group/v1` for one of the served versions.
    pub(crate) fn api_version(&self, version: usize) -> String {
        let name = &self.versions[version].name;
        if self.group.is_empty() {
            name.clone()
        } else {
            format!("{}/{name}", self.group)
        }
    }

    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.builtin && self.group == group && self.kind == kind
    }

    pub(crate) fn is_pod(&self) -> bool {
        self.is("", "Pod")
    }
}

const STATUS: u8 = 1;
const SCALE: u8 = 2;
const GENERATION: u8 = 4;
const CLUSTER: u8 = 8;
const ALL: u8 = 16;

/// group, version, kind, plural, short names, flags.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    u8,
);

const BUILTIN: &[Row] = &[
    (
        "",
        "v1",
        "Namespace",
        "namespaces",
        &["ns"],
        STATUS | CLUSTER,
    ),
    ("", "v1", "Pod", "pods", &["po"], STATUS | GENERATION | ALL),
    ("", "v1", "Node", "nodes", &["no"], STATUS | CLUSTER),
    ("", "v1", "Service", "services", &["svc"], STATUS | ALL),
    ("", "v1", "ConfigMap", "configmaps", &["cm"], 0),
    ("", "v1", "Secret", "secrets", &[], 0),
    ("", "v1", "ServiceAccount", "serviceaccounts", &["sa"], 0),
    ("", "v1", "Event", "events", &["ev"], 0),
    (
        "",
        "v1",
        "PersistentVolume",
        "persistentvolumes",
        &["pv"],
        STATUS | CLUSTER,
    ),
    (
        "",
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        &["pvc"],
        STATUS,
    ),
    ("", "v1", "PodTemplate", "podtemplates", &[], 0),
    (
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        &["rc"],
        STATUS | SCALE | GENERATION | ALL,
    ),
    ("", "v1", "Endpoints", "endpoints", &["ep"], 0),
    ("", "v1", "LimitRange", "limitranges", &["limits"], 0),
    (
        "",
        "v1",
        "ResourceQuota",
        "resourcequotas",
        &["quota"],
        STATUS,
    ),
    (
        "apps",
        "v1",
        "Deployment",
        "deployments",
        &["deploy"],
        STATUS | SCALE | GENERATION | ALL,
    ),
    (
        "apps",
        "v1",
        "ReplicaSet",
        "replicasets",
        &["rs"],
        STATUS | SCALE | GENERATION | ALL,
    ),
    (
        "apps",
        "v1",
        "StatefulSet",
        "statefulsets",
        &["sts"],
        STATUS | SCALE | GENERATION | ALL,
    ),
    (
        "apps",
        "v1",
        "DaemonSet",
        "daemonsets",
        &["ds"],
        STATUS | GENERATION | ALL,
    ),
    (
        "apps",
        "v1",
        "ControllerRevision",
        "controllerrevisions",
        &[],
        0,
    ),
    ("batch", "v1", "Job", "jobs", &[], STATUS | GENERATION | ALL),
    (
        "batch",
        "v1",
        "CronJob",
        "cronjobs",
        &["cj"],
        STATUS | GENERATION | ALL,
    ),
    (
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        &["hpa"],
        STATUS | ALL,
    ),
    (
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        &["pdb"],
        STATUS | GENERATION,
    ),
    ("coordination.k8s.io", "v1", "Lease", "leases", &[], 0),
    (
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
        &["pc"],
        GENERATION | CLUSTER,
    ),
    (
        "storage.k8s.io",
        "v1",
        "StorageClass",
        "storageclasses",
        &["sc"],
        CLUSTER,
    ),
    ("storage.k8s.io", "v1", "CSINode", "csinodes", &[], CLUSTER),
    (
        "storage.k8s.io",
        "v1",
        "CSIDriver",
        "csidrivers",
        &[],
        CLUSTER,
    ),
    (
        "storage.k8s.io",
        "v1",
        "VolumeAttachment",
        "volumeattachments",
        &[],
        STATUS | CLUSTER,
    ),
    (
        "node.k8s.io",
        "v1",
        "RuntimeClass",
        "runtimeclasses",
        &[],
        CLUSTER,
    ),
    (
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "endpointslices",
        &[],
        GENERATION,
    ),
    (
        "resource.k8s.io",
        "v1",
        "DeviceClass",
        "deviceclasses",
        &[],
        GENERATION | CLUSTER,
    ),
    (
        "resource.k8s.io",
        "v1",
        "ResourceClaim",
        "resourceclaims",
        &[],
        STATUS,
    ),
    (
        "resource.k8s.io",
        "v1",
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
        &[],
        0,
    ),
    (
        "resource.k8s.io",
        "v1",
        "ResourceSlice",
        "resourceslices",
        &[],
        GENERATION | CLUSTER,
    ),
    (
        "networking.k8s.io",
        "v1",
        "Ingress",
        "ingresses",
        &["ing"],
        STATUS | GENERATION,
    ),
    (
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        &["netpol"],
        GENERATION,
    ),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles", &[], 0),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "RoleBinding",
        "rolebindings",
        &[],
        0,
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRole",
        "clusterroles",
        &[],
        CLUSTER,
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        &[],
        CLUSTER,
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        &["crd", "crds"],
        STATUS | GENERATION | CLUSTER,
    ),
];

/// Fields that selectors may name beside `metadata.name` and `metadata.namespace`.
const FIELDS: &[(&str, &str, &[&str])] = &[
    (
        "",
        "Pod",
        &[
            "spec.nodeName",
            "status.phase",
            "spec.schedulerName",
            "spec.restartPolicy",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    (
        "",
        "Event",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    ("", "Node", &["spec.unschedulable"]),
    ("", "Namespace", &["status.phase"]),
    ("", "Secret", &["type"]),
    ("", "ReplicationController", &["status.replicas"]),
    ("apps", "ReplicaSet", &["status.replicas"]),
    ("batch", "Job", &["status.successful"]),
    (
        "resource.k8s.io",
        "ResourceSlice",
        &["spec.nodeName", "spec.driver"],
    ),
];

/// The built-in kinds, in discovery order.
pub(crate) fn builtin() -> Vec<Kind> {
    BUILTIN.iter().map(|row| from_row(*row)).collect()
}

fn from_row((group, version, kind, plural, short_names, flags): Row) -> Kind {
    let has = |flag: u8| flags & flag != 0;
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let scale = has(SCALE).then(|| ScalePaths {
        replicas: vec!["spec".to_owned(), "replicas".to_owned()],
        status_replicas: vec!["status".to_owned(), "replicas".to_owned()],
        selector: None,
    });
    let fields = FIELDS
        .iter()
        .filter(|(of_group, of_kind, _)| *of_group == group && *of_kind == kind)
        .flat_map(|(_, _, labels)| labels.iter())
        .map(|label| SelectableField {
            label: (*label).to_owned(),
            path: field_path(label).split('.').map(str::to_owned).collect(),
        })
        .collect();
    Kind {
        group: group.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        list_kind: format!("{kind}List"),
        short_names: owned(short_names),
        categories: if has(ALL) {
            owned(&["all"])
        } else {
            Vec::new()
        },
        namespaced: !has(CLUSTER),
        builtin: true,
        generation: has(GENERATION),
        versions: vec![Version {
            name: version.to_owned(),
            schema: None,
            columns: Vec::new(),
            status: has(STATUS),
            scale,
        }],
        fields,
    }
}

/// Three selectors are not named after the field they read.
fn field_path(label: &str) -> &str {
    match label {
        "source" => "source.component",
        "status.successful" => "status.succeeded",
        other => other,
    }
}

/// Events as `events.k8s.io` shows them; they are stored as core events.
pub(crate) fn new_events() -> Kind {
    from_row(("events.k8s.io", "v1", "Event", "events", &["ev"], 0))
}
