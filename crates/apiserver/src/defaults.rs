//! Defaults of built-in kinds, and what admission adds to new objects.
//!
//! Only what controllers or people notice. Values are the API server's.

use serde_json::{Map, Value, json};

use crate::{
    error::{ApiError, Result},
    kinds::Kind,
    object::{self, child_mut},
    pod_defaults,
    store::State,
};

/// Set a field that is absent.
pub(crate) fn or_set(fields: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if !fields.contains_key(name) {
        fields.insert(name.to_owned(), value.into());
    }
}

/// Fill in what the object leaves open; `old` is absent for a new object.
pub(crate) fn apply(
    state: &mut State,
    kind: &Kind,
    value: &mut Value,
    old: Option<&Value>,
) -> Result<()> {
    if !kind.builtin || old.is_some_and(|old| same_but_metadata_and_status(old, value)) {
        return Ok(());
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            if old.is_none() {
                pod_defaults::admit(state, value)?;
            }
            pod_defaults::spec(child_mut(value, "spec"));
            if old.is_none() {
                let class = pod_defaults::quality_of_service(&value["spec"]);
                let status = child_mut(value, "status");
                or_set(status, "phase", "Pending");
                or_set(status, "qosClass", class);
            }
        }
        ("", "Namespace") => {
            let name = object::meta(value, "name").unwrap_or_default().to_owned();
            let labels = object::meta_mut(value)
                .entry("labels")
                .or_insert_with(|| json!({}));
            if let Some(labels) = labels.as_object_mut() {
                labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
            }
            or_set(
                child_mut(value, "spec"),
                "finalizers",
                json!(["kubernetes"]),
            );
            or_set(child_mut(value, "status"), "phase", "Active");
        }
        ("", "Node") => {
            // A kubelet that names only its capacity can allocate all of it.
            if let Some(capacity) = object::at(value, &["status", "capacity"]).cloned() {
                or_set(child_mut(value, "status"), "allocatable", capacity);
            }
        }
        ("", "Service") => service(state, value),
        ("", "Secret") => secret(value),
        ("", "PersistentVolume") => {
            let spec = child_mut(value, "spec");
            or_set(spec, "persistentVolumeReclaimPolicy", "Retain");
            or_set(spec, "volumeMode", "Filesystem");
            or_set(child_mut(value, "status"), "phase", "Pending");
        }
        ("", "PersistentVolumeClaim") => {
            or_set(child_mut(value, "spec"), "volumeMode", "Filesystem");
            or_set(child_mut(value, "status"), "phase", "Pending");
        }
        ("storage.k8s.io", "StorageClass") => {
            if let Some(fields) = value.as_object_mut() {
                or_set(fields, "reclaimPolicy", "Delete");
                or_set(fields, "volumeBindingMode", "Immediate");
            }
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            if let Some(fields) = value.as_object_mut() {
                or_set(fields, "preemptionPolicy", "PreemptLowerPriority");
            }
        }
        (
            "apps" | "batch" | "",
            "Job"
            | "CronJob"
            | "Deployment"
            | "ReplicaSet"
            | "StatefulSet"
            | "DaemonSet"
            | "ReplicationController"
            | "PodTemplate",
        ) => workload(kind, value, old),
        _ => {}
    }
    Ok(())
}

fn same_but_metadata_and_status(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return false;
    };
    let counted = |name: &&String| !matches!(name.as_str(), "metadata" | "status");
    old.keys()
        .chain(new.keys())
        .filter(counted)
        .all(|name| old.get(name) == new.get(name))
}

fn workload(kind: &Kind, value: &mut Value, old: Option<&Value>) {
    let uid = object::meta(value, "uid").unwrap_or_default().to_owned();
    let name = object::meta(value, "name").unwrap_or_default().to_owned();
    if kind.kind == "PodTemplate" {
        template(value);
        return;
    }
    child_mut(value, "spec");
    let spec_value = &mut value["spec"];
    if kind.kind == "CronJob" {
        child_mut(spec_value, "jobTemplate");
        child_mut(&mut spec_value["jobTemplate"], "spec");
        template(&mut spec_value["jobTemplate"]["spec"]);
    } else if spec_value.get("template").is_some() {
        template(spec_value);
    }
    let Some(spec) = spec_value.as_object_mut() else {
        return;
    };
    match kind.kind.as_str() {
        "Deployment" => {
            or_set(spec, "replicas", 1);
            or_set(spec, "revisionHistoryLimit", 10);
            or_set(spec, "progressDeadlineSeconds", 600);
            let strategy = object_in(spec, "strategy");
            or_set(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate" {
                let rolling = object_in(strategy, "rollingUpdate");
                or_set(rolling, "maxUnavailable", "25%");
                or_set(rolling, "maxSurge", "25%");
            }
        }
        "ReplicaSet" | "ReplicationController" => or_set(spec, "replicas", 1),
        "StatefulSet" => {
            or_set(spec, "replicas", 1);
            or_set(spec, "revisionHistoryLimit", 10);
            or_set(spec, "podManagementPolicy", "OrderedReady");
            let strategy = object_in(spec, "updateStrategy");
            or_set(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate" {
                or_set(object_in(strategy, "rollingUpdate"), "partition", 0);
            }
        }
        "DaemonSet" => {
            or_set(spec, "revisionHistoryLimit", 10);
            let strategy = object_in(spec, "updateStrategy");
            or_set(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate" {
                let rolling = object_in(strategy, "rollingUpdate");
                or_set(rolling, "maxUnavailable", 1);
                or_set(rolling, "maxSurge", 0);
            }
        }
        "Job" => {
            if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
                or_set(spec, "completions", 1);
            }
            or_set(spec, "parallelism", 1);
            or_set(spec, "backoffLimit", 6);
            or_set(spec, "completionMode", "NonIndexed");
            or_set(spec, "suspend", false);
            or_set(spec, "podReplacementPolicy", "TerminatingOrFailed");
            if old.is_none() && spec.get("manualSelector") != Some(&json!(true)) {
                job_selector(spec, &name, &uid);
            }
        }
        _ => {
            or_set(spec, "concurrencyPolicy", "Allow");
            or_set(spec, "suspend", false);
            or_set(spec, "successfulJobsHistoryLimit", 3);
            or_set(spec, "failedJobsHistoryLimit", 1);
        }
    }
}

/// A field as a map, made if it is none.
fn object_in<'a>(fields: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let field = fields.entry(name).or_insert_with(|| json!({}));
    if !field.is_object() {
        *field = json!({});
    }
    field
        .as_object_mut()
        .expect("an object because it was just made one")
}

/// Jobs select their pods by their own uid.
fn job_selector(spec: &mut Map<String, Value>, name: &str, uid: &str) {
    let selector = object_in(spec, "selector");
    object_in(selector, "matchLabels")
        .insert("batch.kubernetes.io/controller-uid".to_owned(), json!(uid));
    let template = object_in(spec, "template");
    let labels = object_in(object_in(template, "metadata"), "labels");
    for (label, value) in [
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", name),
        ("controller-uid", uid),
        ("job-name", name),
    ] {
        labels.insert(label.to_owned(), json!(value));
    }
}

/// The defaults of the pod template in `holder.template`.
fn template(holder: &mut Value) {
    let template = child_mut(holder, "template");
    let spec = template.entry("spec").or_insert_with(|| json!({}));
    if let Some(spec) = spec.as_object_mut() {
        pod_defaults::spec(spec);
    }
}

fn service(state: &mut State, value: &mut Value) {
    let suffix = state.next_address();
    let spec = child_mut(value, "spec");
    or_set(spec, "type", "ClusterIP");
    or_set(spec, "sessionAffinity", "None");
    if spec["type"] != "ExternalName" {
        or_set(
            spec,
            "clusterIP",
            format!("10.96.{}.{}", suffix >> 8, suffix & 0xff),
        );
        let address = spec["clusterIP"].clone();
        or_set(spec, "clusterIPs", json!([address]));
        or_set(spec, "internalTrafficPolicy", "Cluster");
        or_set(spec, "ipFamilies", json!(["IPv4"]));
        or_set(spec, "ipFamilyPolicy", "SingleStack");
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        or_set(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            or_set(port, "targetPort", number);
        }
    }
    child_mut(value, "status")
        .entry("loadBalancer")
        .or_insert_with(|| json!({}));
}

fn secret(value: &mut Value) {
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    or_set(fields, "type", "Opaque");
    if let Some(Value::Object(plain)) = fields.remove("stringData") {
        let data = object_in(fields, "data");
        for (name, text) in plain {
            let encoded = base64(text.as_str().unwrap_or_default().as_bytes());
            data.insert(name, json!(encoded));
        }
    }
}

/// Standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place <= chunk.len() {
                let index = (word >> (18 - 6 * place)) & 0x3f;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// A refusal in the words of the priority admission plugin.
pub(crate) fn no_priority_class(kind: &Kind, pod: &str, class: &str) -> ApiError {
    ApiError::forbidden(
        kind,
        pod,
        &format!("no PriorityClass with name {class} was found"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_encoded() {
        let check = |text: &str, expected: &str| assert_eq!(base64(text.as_bytes()), expected);
        check("", "");
        check("a", "YQ==");
        check("ab", "YWI=");
        check("abc", "YWJj");
        check("hello", "aGVsbG8=");
    }
}
