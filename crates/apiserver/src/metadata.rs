//! Names, labels and whatever else every object's metadata must satisfy, custom kinds included.

use serde_json::{Value, json};

use crate::{error::FieldError, kinds::Kind};

const LABEL_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and \
                          must start and end with an alphanumeric character (e.g. 'MyName',  or \
                          'my.name',  or '123-abc', regex used for validation is \
                          '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
                           characters, '-', '_' or '.', and must start and end with an \
                           alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
                           regex used for validation is \
                           '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                         characters, '-' or '.', and must start and end with an alphanumeric \
                         character (e.g. 'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
                     or '-', and must start and end with an alphanumeric character (e.g. \
                     'my-name',  or '123-abc', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/// What no decoder could read: the parts that every object shares must have their types.
pub(crate) fn decode_fault(value: &Value) -> Option<FieldError> {
    let wrong = |path: &str, value: &Value, wanted: &str| {
        Some(FieldError::invalid(
            path,
            value,
            &format!("must be {wanted}"),
        ))
    };
    let Some(fields) = value.as_object() else {
        return wrong("", value, "an object");
    };
    let fits = |value: Option<&Value>, test: fn(&Value) -> bool| {
        value.is_none_or(|value| value.is_null() || test(value))
    };
    for name in ["apiVersion", "kind"] {
        if !fits(fields.get(name), Value::is_string) {
            return wrong(name, &fields[name], "a string");
        }
    }
    let metadata = fields.get("metadata")?;
    if !fits(Some(metadata), Value::is_object) {
        return wrong("metadata", metadata, "an object");
    }
    /// A field, what it must satisfy, and how that is said.
    type Test = (&'static str, fn(&Value) -> bool, &'static str);
    let all_texts: fn(&Value) -> bool = |value| {
        value
            .as_object()
            .is_some_and(|map| map.values().all(|v| v.is_string() || v.is_null()))
    };
    let tests: [Test; 9] = [
        ("name", Value::is_string, "a string"),
        ("generateName", Value::is_string, "a string"),
        ("namespace", Value::is_string, "a string"),
        ("uid", Value::is_string, "a string"),
        ("resourceVersion", Value::is_string, "a string"),
        ("labels", all_texts, "a map of strings"),
        ("annotations", all_texts, "a map of strings"),
        (
            "finalizers",
            |value| {
                value
                    .as_array()
                    .is_some_and(|list| list.iter().all(Value::is_string))
            },
            "a list of strings",
        ),
        (
            "ownerReferences",
            |value| {
                value
                    .as_array()
                    .is_some_and(|list| list.iter().all(Value::is_object))
            },
            "a list of objects",
        ),
    ];
    tests.into_iter().find_map(|(name, test, wanted)| {
        let found = metadata.get(name);
        if fits(found, test) {
            None
        } else {
            wrong(&format!("metadata.{name}"), found?, wanted)
        }
    })
}

/// What is wrong with a name as most kinds want it.
pub(crate) fn name_fault(name: &str) -> Option<FieldError> {
    if name.len() > 253 {
        let what = "must be no more than 253 characters";
        return Some(FieldError::invalid("metadata.name", &json!(name), what));
    }
    let fine = name.split('.').all(is_dns_label);
    (!fine).then(|| FieldError::invalid("metadata.name", &json!(name), SUBDOMAIN))
}

/// As `name_fault`, by the rules of the kind.
pub(crate) fn kind_name_fault(kind: &Kind, name: &str) -> Option<FieldError> {
    let path_segment = kind.builtin && kind.group == "rbac.authorization.k8s.io";
    if path_segment {
        let bad = name.contains(['/', '%']) || matches!(name, "." | "..");
        return bad.then(|| {
            FieldError::invalid("metadata.name", &json!(name), "may not contain '/' or '%'")
        });
    }
    if kind.is("", "Namespace") || kind.is("", "Service") {
        if name.len() > 63 {
            let what = "must be no more than 63 bytes";
            return Some(FieldError::invalid("metadata.name", &json!(name), what));
        }
        return (!is_dns_label(name))
            .then(|| FieldError::invalid("metadata.name", &json!(name), LABEL));
    }
    name_fault(name)
}

fn is_dns_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|byte| edge(byte) || *byte == b'-')
}

/// Whether a label value (or the name part of a key, which may not be empty) is well formed.
fn is_label_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    word.len() <= 63
        && bytes.first().is_none_or(u8::is_ascii_alphanumeric)
        && bytes.last().is_none_or(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// What is wrong with a qualified name such as a label key.
fn key_fault(key: &str) -> Option<&'static str> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if name.is_empty() {
        return Some("name part must be non-empty");
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes");
    }
    if !is_label_word(name) {
        return Some(LABEL_NAME);
    }
    let bad =
        prefix.is_some_and(|p| p.is_empty() || p.len() > 253 || !p.split('.').all(is_dns_label));
    bad.then_some("prefix part must be a lowercase RFC 1123 subdomain")
}

/// Faults in labels and annotations under a metadata path.
pub(crate) fn label_faults(metadata: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (field, is_label) in [("labels", true), ("annotations", false)] {
        let below = format!("{path}.{field}");
        match metadata.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                for (key, value) in map {
                    if let Some(what) = key_fault(key) {
                        errors.push(FieldError::invalid(&below, &json!(key), what));
                    }
                    match value.as_str() {
                        None => errors.push(FieldError::type_invalid(
                            format!("{below}.{key}"),
                            "object",
                            "must be a string",
                        )),
                        Some(text) if is_label && !is_label_word(text) => {
                            let what = if text.len() > 63 {
                                "must be no more than 63 bytes"
                            } else {
                                LABEL_VALUE
                            };
                            errors.push(FieldError::invalid(&below, value, what));
                        }
                        Some(_) => {}
                    }
                }
            }
            Some(other) => errors.push(FieldError::invalid(below, other, "must be an object")),
        }
    }
    errors
}

/// Custom kinds take any well-formed finalizer, built-in ones want it known or qualified.
fn finalizer_fault(builtin: bool, finalizer: &Value) -> Option<&'static str> {
    const UNKNOWN: &str = "name is neither a standard finalizer name nor is it fully qualified";
    let Some(name) = finalizer.as_str() else {
        return Some(UNKNOWN);
    };
    let known =
        name.contains('/') || matches!(name, "orphan" | "foregroundDeletion" | "kubernetes");
    key_fault(name).or_else(|| (builtin && !known).then_some(UNKNOWN))
}

/// Faults in the metadata of any object.
pub(crate) fn metadata_faults(builtin: bool, value: &Value) -> Vec<FieldError> {
    let Some(metadata) = value.get("metadata") else {
        return Vec::new();
    };
    let mut errors = label_faults(metadata, "metadata");
    match metadata.get("finalizers") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            for finalizer in list {
                if let Some(what) = finalizer_fault(builtin, finalizer) {
                    errors.push(FieldError::invalid("metadata.finalizers", finalizer, what));
                }
            }
        }
        Some(other) => {
            errors.push(FieldError::invalid(
                "metadata.finalizers",
                other,
                "must be a list",
            ));
        }
    }
    match metadata.get("ownerReferences") {
        None | Some(Value::Null) => {}
        Some(Value::Array(owners)) => {
            for (index, owner) in owners.iter().enumerate() {
                for field in ["apiVersion", "kind", "name", "uid"] {
                    if owner
                        .get(field)
                        .and_then(Value::as_str)
                        .is_none_or(str::is_empty)
                    {
                        let path = format!("metadata.ownerReferences[{index}].{field}");
                        errors.push(FieldError::required(path, "must not be empty"));
                    }
                }
            }
        }
        Some(other) => {
            errors.push(FieldError::invalid(
                "metadata.ownerReferences",
                other,
                "must be a list",
            ));
        }
    }
    errors
}
