//! What is refused beyond the types of fields, for built-in kinds: the faults that people make most.

use serde_json::{Value, json};

use crate::{
    error::FieldError,
    kinds::Kind,
    metadata::{kind_name_fault, label_faults, metadata_faults},
    object::{self, at},
    pod_checks,
};

/// Faults of an object about to be created.
pub(crate) fn new_object(kind: &Kind, value: &Value) -> Vec<FieldError> {
    let name = object::meta(value, "name").unwrap_or_default();
    let mut errors = Vec::new();
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        errors.extend(kind_name_fault(kind, name));
    }
    errors.extend(metadata_faults(kind.builtin, value));
    if kind.builtin {
        errors.extend(builtin_faults(kind, value));
    }
    errors
}

/// Faults of a change.
pub(crate) fn changed_object(kind: &Kind, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = metadata_faults(kind.builtin, new);
    if object::is_deleting(old) {
        errors.extend(added_finalizers(old, new));
    }
    if kind.builtin && old.get("spec") != new.get("spec") {
        errors.extend(builtin_faults(kind, new));
        errors.extend(immutable_faults(kind, old, new));
    }
    errors
}

fn added_finalizers(old: &Value, new: &Value) -> Option<FieldError> {
    let list = |value: &Value| -> Vec<Value> {
        at(value, &["metadata", "finalizers"])
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let before = list(old);
    let added: Vec<Value> = list(new)
        .into_iter()
        .filter(|one| !before.contains(one))
        .collect();
    (!added.is_empty()).then(|| {
        FieldError::forbidden(
            "metadata.finalizers",
            &format!(
                "no new finalizers can be added if the object is being deleted, found new \
                 finalizers {}",
                Value::Array(added)
            ),
        )
    })
}

fn builtin_faults(kind: &Kind, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = value.get("spec").unwrap_or(&Value::Null);
    match kind.kind.as_str() {
        "Pod" => pod_checks::spec(spec, "spec", &mut errors),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "ReplicationController" => {
            workload_faults(kind, spec, &mut errors);
        }
        "Job" => {
            template_faults(spec, "spec", &["Never", "OnFailure"], &mut errors);
            for field in ["parallelism", "completions", "backoffLimit"] {
                pod_checks::not_negative(spec, "spec", field, &mut errors);
            }
        }
        "CronJob" => {
            if object::text(spec, &["schedule"]).is_none_or(str::is_empty) {
                errors.push(FieldError::required("spec.schedule", ""));
            }
            let job = at(spec, &["jobTemplate", "spec"]).unwrap_or(&Value::Null);
            template_faults(
                job,
                "spec.jobTemplate.spec",
                &["Never", "OnFailure"],
                &mut errors,
            );
        }
        "PodDisruptionBudget"
            if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() =>
        {
            errors.push(FieldError::invalid(
                "spec",
                spec,
                "minAvailable and maxUnavailable cannot be both set",
            ));
        }
        "PriorityClass" => {
            let name = object::meta(value, "name").unwrap_or_default();
            let level = value.get("value").and_then(Value::as_i64).unwrap_or(0);
            if level > 1_000_000_000 && !name.starts_with("system-") {
                errors.push(FieldError::forbidden(
                    "value",
                    "maximum allowed value of a user defined priority is 1000000000",
                ));
            }
        }
        "CustomResourceDefinition" => definition_faults(value, spec, &mut errors),
        _ => {}
    }
    errors
}

fn workload_faults(kind: &Kind, spec: &Value, errors: &mut Vec<FieldError>) {
    pod_checks::not_negative(spec, "spec", "replicas", errors);
    let labels = at(spec, &["template", "metadata", "labels"])
        .cloned()
        .unwrap_or(json!({}));
    if kind.kind == "ReplicationController" {
        template_faults(spec, "spec", &["Always"], errors);
        return;
    }
    let selector = spec.get("selector").filter(|selector| !selector.is_null());
    match selector {
        None => errors.push(FieldError::required("spec.selector", "")),
        Some(selector) => {
            let sorted: Vec<(Box<str>, Box<str>)> = labels
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, value)| {
                    (
                        key.as_str().into(),
                        value.as_str().unwrap_or_default().into(),
                    )
                })
                .collect();
            let parsed = crate::select::LabelSelector::from_object(selector);
            if parsed.is_empty() {
                errors.push(FieldError::invalid(
                    "spec.selector",
                    selector,
                    "empty selector is invalid for deployment",
                ));
            } else if !parsed.matches(&sorted) {
                errors.push(FieldError::invalid(
                    "spec.template.metadata.labels",
                    &labels,
                    "`selector` does not match template `labels`",
                ));
            }
        }
    }
    template_faults(spec, "spec", &["Always"], errors);
}

fn template_faults(holder: &Value, path: &str, restarts: &[&str], errors: &mut Vec<FieldError>) {
    let template = holder.get("template").unwrap_or(&Value::Null);
    if let Some(metadata) = template.get("metadata") {
        errors.extend(label_faults(metadata, &format!("{path}.template.metadata")));
    }
    let spec = template.get("spec").unwrap_or(&Value::Null);
    pod_checks::spec(spec, &format!("{path}.template.spec"), errors);
    let policy = spec.get("restartPolicy").unwrap_or(&Value::Null);
    if !policy
        .as_str()
        .is_some_and(|policy| restarts.contains(&policy))
        && !policy.is_null()
    {
        let supported: Vec<String> = restarts.iter().map(|one| (*one).to_owned()).collect();
        let field = format!("{path}.template.spec.restartPolicy");
        errors.push(FieldError::unsupported(field, policy, &supported));
    }
}

fn definition_faults(value: &Value, spec: &Value, errors: &mut Vec<FieldError>) {
    let text = |path: &[&str]| object::text(spec, path).unwrap_or_default();
    for (path, field) in [
        (&["group"][..], "spec.group"),
        (&["names", "plural"], "spec.names.plural"),
        (&["names", "kind"], "spec.names.kind"),
        (&["scope"], "spec.scope"),
    ] {
        if text(path).is_empty() {
            errors.push(FieldError::required(field, ""));
        }
    }
    let name = object::meta(value, "name").unwrap_or_default();
    if name != format!("{}.{}", text(&["names", "plural"]), text(&["group"])) {
        errors.push(FieldError::invalid(
            "metadata.name",
            &json!(name),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    let scope = text(&["scope"]);
    if !scope.is_empty() && !matches!(scope, "Cluster" | "Namespaced") {
        let supported = ["Cluster".to_owned(), "Namespaced".to_owned()];
        errors.push(FieldError::unsupported(
            "spec.scope",
            &json!(scope),
            &supported,
        ));
    }
    let versions = spec
        .get("versions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let flagged = |name: &str| {
        versions
            .iter()
            .filter(|v| v.get(name).and_then(Value::as_bool) == Some(true))
            .count()
    };
    if flagged("storage") != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            &Value::Array(Vec::new()),
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        if let Some(schema) = at(version, &["schema", "openAPIV3Schema"]) {
            let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
            pattern_faults(schema, &path, errors);
        }
        if at(version, &["schema", "openAPIV3Schema"]).is_none() {
            errors.push(FieldError::required(
                format!("spec.versions[{index}].schema.openAPIV3Schema"),
                "schemas are required",
            ));
        }
    }
}

/// Patterns that are no regular expressions. A field that is called `pattern` holds a schema, no text.
fn pattern_faults(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                let below = format!("{path}.{name}");
                match value.as_str().filter(|_| name == "pattern") {
                    Some(pattern) if regex::Regex::new(pattern).is_err() => {
                        let what = "must be a valid regular expression";
                        errors.push(FieldError::invalid(below, value, what));
                    }
                    _ => pattern_faults(value, &below, errors),
                }
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                pattern_faults(value, &format!("{path}[{index}]"), errors);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn immutable_faults(kind: &Kind, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let fields: &[&str] = match kind.kind.as_str() {
        "Pod" => {
            errors.extend(pod_checks::change(&old["spec"], &new["spec"]));
            &[]
        }
        "Deployment" | "ReplicaSet" | "DaemonSet" => &["selector"],
        "StatefulSet" => &["selector", "serviceName", "podManagementPolicy"],
        "Job" => &["selector", "template", "completionMode"],
        _ => &[],
    };
    for field in fields {
        let (before, after) = (at(old, &["spec", field]), at(new, &["spec", field]));
        if before != after {
            let shown = after.cloned().unwrap_or_default();
            errors.push(FieldError::invalid(
                format!("spec.{field}"),
                &shown,
                "field is immutable",
            ));
        }
    }
    errors
}
