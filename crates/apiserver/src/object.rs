//! Reading and writing the parts of an object that every kind shares.

use serde_json::{Map, Value, json};

/// The value at a path of field names.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// As `at`, over owned names.
pub(crate) fn at_owned<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// The text at a path.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str()
}

/// A field of `metadata` as text; empty text counts as absent.
pub(crate) fn meta<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value
        .get("metadata")?
        .get(field)?
        .as_str()
        .filter(|text| !text.is_empty())
}

/// Whether `metadata` carries a non-empty list under this name.
pub(crate) fn has_finalizers(value: &Value) -> bool {
    at(value, &["metadata", "finalizers"])
        .and_then(Value::as_array)
        .is_some_and(|l| !l.is_empty())
}

pub(crate) fn is_deleting(value: &Value) -> bool {
    meta(value, "deletionTimestamp").is_some()
}

/// `metadata` as a map, made if missing.
pub(crate) fn meta_mut(value: &mut Value) -> &mut Map<String, Value> {
    child_mut(value, "metadata")
}

/// A field as a map, made (or replaced) if it is none.
pub(crate) fn child_mut<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    let child = value
        .as_object_mut()
        .expect("an object because it was just made one")
        .entry(field)
        .or_insert_with(|| json!({}));
    if !child.is_object() {
        *child = json!({});
    }
    child
        .as_object_mut()
        .expect("an object because it was just made one")
}

/// Set a value at a path of owned names, making maps on the way.
pub(crate) fn set_at(value: &mut Value, path: &[String], new: Value) {
    match path {
        [] => *value = new,
        [last] => {
            if !value.is_object() {
                *value = json!({});
            }
            value[last.as_str()] = new;
        }
        [first, rest @ ..] => {
            child_mut(value, first);
            set_at(&mut value[first.as_str()], rest, new);
        }
    }
}

/// The uids of the owners.
pub(crate) fn owner_uids(value: &Value) -> Vec<Box<str>> {
    at(value, &["metadata", "ownerReferences"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|owner| owner.get("uid")?.as_str())
        .map(Box::from)
        .collect()
}

/// A scalar as selectors and columns show it.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// An instant as the API writes it.
pub(crate) fn timestamp(instant: jiff::Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A null in the metadata is the field left out; a null label is an empty one.
pub(crate) fn drop_nulls(value: &mut Value) {
    let metadata = meta_mut(value);
    metadata.retain(|_, field| !field.is_null());
    for name in ["labels", "annotations"] {
        let map = metadata.get_mut(name).and_then(Value::as_object_mut);
        for (_, text) in map.into_iter().flatten() {
            if text.is_null() {
                *text = json!("");
            }
        }
    }
}
