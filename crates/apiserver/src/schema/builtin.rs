//! Schemas of built-in kinds, from the types of k8s-openapi, and how their lists merge.
//!
//! The types know fields and their types; what they do not know, list keys, is the table below.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::{
    api::{
        apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch,
        coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery,
        node::v1 as node, policy::v1 as policy, resource::v1 as resource,
        scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{ListKind, Schema, compile};
use crate::kinds::Kind;

/// One generator function per kind: group, kind, and what adds its schema to a generator.
type Entry = (
    &'static str,
    &'static str,
    fn(&mut SchemaGenerator) -> schemars::Schema,
);

macro_rules! entries {
    ($(($group:literal, $module:ident, [$($kind:ident),* $(,)?])),* $(,)?) => {
        &[$($((
            $group,
            stringify!($kind),
            |generator: &mut SchemaGenerator| generator.subschema_for::<$module::$kind>(),
        )),*),*]
    };
}

const ENTRIES: &[Entry] = entries![
    (
        "",
        core,
        [
            Namespace,
            Pod,
            Node,
            Service,
            ConfigMap,
            Secret,
            ServiceAccount,
            Event,
            PersistentVolume,
            PersistentVolumeClaim,
            PodTemplate,
            ReplicationController,
            Endpoints,
            LimitRange,
            ResourceQuota,
        ]
    ),
    (
        "apps",
        apps,
        [
            Deployment,
            ReplicaSet,
            StatefulSet,
            DaemonSet,
            ControllerRevision
        ]
    ),
    ("batch", batch, [Job, CronJob]),
    ("autoscaling", autoscaling, [HorizontalPodAutoscaler]),
    ("policy", policy, [PodDisruptionBudget]),
    ("coordination.k8s.io", coordination, [Lease]),
    ("scheduling.k8s.io", scheduling, [PriorityClass]),
    (
        "storage.k8s.io",
        storage,
        [StorageClass, CSINode, CSIDriver, VolumeAttachment]
    ),
    ("node.k8s.io", node, [RuntimeClass]),
    ("discovery.k8s.io", discovery, [EndpointSlice]),
    (
        "resource.k8s.io",
        resource,
        [
            DeviceClass,
            ResourceClaim,
            ResourceClaimTemplate,
            ResourceSlice,
        ]
    ),
    (
        "apiextensions.k8s.io",
        apiextensions,
        [CustomResourceDefinition]
    ),
];

/// Definition, field, keys. The first key is the one of strategic merge patches; no key means a set.
const LISTS: &[(&str, &str, &[&str])] = &[
    ("DaemonSetStatus", "conditions", &["type"]),
    ("DeploymentStatus", "conditions", &["type"]),
    ("ReplicaSetStatus", "conditions", &["type"]),
    ("StatefulSetStatus", "conditions", &["type"]),
    ("HorizontalPodAutoscalerStatus", "conditions", &["type"]),
    ("JobStatus", "conditions", &["type"]),
    ("Container", "env", &["name"]),
    ("Container", "ports", &["containerPort", "protocol"]),
    ("Container", "volumeDevices", &["devicePath"]),
    ("Container", "volumeMounts", &["mountPath"]),
    ("EphemeralContainer", "env", &["name"]),
    (
        "EphemeralContainer",
        "ports",
        &["containerPort", "protocol"],
    ),
    ("EphemeralContainer", "volumeDevices", &["devicePath"]),
    ("EphemeralContainer", "volumeMounts", &["mountPath"]),
    ("NamespaceStatus", "conditions", &["type"]),
    ("NodeSpec", "podCIDRs", &[]),
    ("NodeStatus", "addresses", &["type"]),
    ("NodeStatus", "conditions", &["type"]),
    ("PersistentVolumeClaimStatus", "conditions", &["type"]),
    ("PodSpec", "containers", &["name"]),
    ("PodSpec", "ephemeralContainers", &["name"]),
    ("PodSpec", "hostAliases", &["ip"]),
    ("PodSpec", "imagePullSecrets", &["name"]),
    ("PodSpec", "initContainers", &["name"]),
    ("PodSpec", "resourceClaims", &["name"]),
    ("PodSpec", "schedulingGates", &["name"]),
    (
        "PodSpec",
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("PodSpec", "volumes", &["name"]),
    ("PodStatus", "conditions", &["type"]),
    ("PodStatus", "hostIPs", &["ip"]),
    ("PodStatus", "podIPs", &["ip"]),
    ("PodStatus", "resourceClaimStatuses", &["name"]),
    ("ReplicationControllerStatus", "conditions", &["type"]),
    ("ResourceRequirements", "claims", &["name"]),
    ("ServiceAccount", "secrets", &["name"]),
    ("ServiceSpec", "ports", &["port", "protocol"]),
    ("ServiceStatus", "conditions", &["type"]),
    ("PodDisruptionBudgetStatus", "conditions", &["type"]),
    ("AllocatedDeviceStatus", "conditions", &["type"]),
    ("ResourceClaimStatus", "reservedFor", &["uid"]),
    ("CSINodeSpec", "drivers", &["name"]),
    ("CustomResourceDefinitionStatus", "conditions", &["type"]),
    ("ObjectMeta", "ownerReferences", &["uid"]),
    ("ObjectMeta", "finalizers", &[]),
];

/// How a list field of a definition merges, if not as a whole.
pub(super) fn list_kind(definition: &str, field: &str) -> Option<ListKind> {
    let (_, _, keys) = LISTS
        .iter()
        .find(|(of, name, _)| *of == definition && *name == field)?;
    Some(if keys.is_empty() {
        ListKind::Set
    } else {
        ListKind::Map(keys.iter().map(|key| (*key).to_owned()).collect())
    })
}

/// `PodSpec` of `io.k8s.api.core.v1.PodSpec`.
pub(super) fn short_name(definition: &str) -> &str {
    definition.rsplit('.').next().unwrap_or(definition)
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

/// Compiled once per process and kind, since they never differ.
static COMPILED: Mutex<BTreeMap<(&str, &str), Arc<Schema>>> = Mutex::new(BTreeMap::new());

/// The schema of a built-in kind; kinds that nobody here looks into have none.
pub(super) fn schema(kind: &Kind) -> Option<Arc<Schema>> {
    let (group, name, add) = ENTRIES
        .iter()
        .find(|(group, name, _)| *group == kind.group && *name == kind.kind)?;
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(schema) = compiled.get(&(*group, *name)) {
        return Some(schema.clone());
    }
    let mut generator = generator();
    let root = add(&mut generator);
    let definitions = generator.take_definitions(true);
    let mut root = root.to_value();
    root["$defs"] = Value::Object(definitions);
    let schema = Arc::new(compile::builtin(&root));
    compiled.insert((group, name), schema.clone());
    Some(schema)
}

/// All definitions in OpenAPI form, with merge keys, for clients that compute patches; and for each kind
/// the name of its definition.
pub(crate) fn definitions() -> (Map<String, Value>, BTreeMap<(String, String), String>) {
    let mut generator = generator();
    let mut roots = BTreeMap::new();
    for (group, kind, add) in ENTRIES {
        let root = add(&mut generator).to_value();
        let name = root
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|r| r.rsplit('/').next());
        if let Some(name) = name {
            roots.insert(((*group).to_owned(), (*kind).to_owned()), name.to_owned());
        }
    }
    let mut definitions = generator.take_definitions(true);
    for (name, definition) in &mut definitions {
        rewrite_references(definition);
        annotate(short_name(name), definition);
    }
    (definitions, roots)
}

fn annotate(short: &str, definition: &mut Value) {
    for (_, field, keys) in LISTS.iter().filter(|(of, _, _)| *of == short) {
        let Some(property) = definition.pointer_mut(&format!("/properties/{field}")) else {
            continue;
        };
        property["x-kubernetes-patch-strategy"] = json!(if *field == "volumes" {
            "merge,retainKeys"
        } else {
            "merge"
        });
        if let Some(first) = keys.first() {
            property["x-kubernetes-patch-merge-key"] = json!(first);
            property["x-kubernetes-list-type"] = json!("map");
            property["x-kubernetes-list-map-keys"] = json!(keys);
        } else {
            property["x-kubernetes-list-type"] = json!("set");
        }
    }
    if short == "DeploymentSpec"
        && let Some(property) = definition.pointer_mut("/properties/strategy")
    {
        property["x-kubernetes-patch-strategy"] = json!("retainKeys");
    }
}

/// `#/$defs/x` becomes `#/components/schemas/x`; beside other keywords a reference goes into `allOf`, as
/// OpenAPI 3.0 has it.
fn rewrite_references(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let target = fields
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| reference.strip_prefix("#/$defs/"))
                .map(|name| format!("#/components/schemas/{name}"));
            if let Some(target) = target {
                fields.remove("$ref");
                if fields.is_empty() {
                    fields.insert("$ref".to_owned(), json!(target));
                } else {
                    fields.insert("allOf".to_owned(), json!([{"$ref": target}]));
                }
            }
            fields.values_mut().for_each(rewrite_references);
        }
        Value::Array(list) => list.iter_mut().for_each(rewrite_references),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
