//! Server-side apply: a merge by the schema, and the fields each manager owns.
//!
//! Ownership is recorded per manager in `managedFields`, so that a field that its manager no longer
//! applies goes away. Conflicts are not detected: the last to apply wins.

use serde_json::{Map, Value, json};

use crate::{
    object,
    schema::{ListKind, NodeId, Schema, Type},
};

/// Who applies, under which version, and when.
pub(crate) struct Applier<'a> {
    pub(crate) manager: &'a str,
    pub(crate) api_version: &'a str,
    pub(crate) subresource: Option<&'a str>,
    pub(crate) time: &'a str,
}

/// The object after an apply. Without a schema every list is replaced as a whole.
pub(crate) fn apply(
    schema: Option<&Schema>,
    live: &Value,
    applied: &Value,
    applier: &Applier<'_>,
) -> Value {
    let root = schema.map(Schema::root);
    let mut wanted = applied.clone();
    if let Some(fields) = wanted.as_object_mut() {
        for name in ["apiVersion", "kind"] {
            fields.remove(name);
        }
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            for name in [
                "name",
                "namespace",
                "managedFields",
                "resourceVersion",
                "uid",
                "creationTimestamp",
            ] {
                metadata.remove(name);
            }
            if metadata.is_empty() {
                fields.remove("metadata");
            }
        }
    }
    let owned = fields_of(schema, root, &wanted);
    let mut entries: Vec<Value> = object::at(live, &["metadata", "managedFields"])
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mine = entries.iter().position(|entry| {
        entry.get("manager").and_then(Value::as_str) == Some(applier.manager)
            && entry.get("operation").and_then(Value::as_str) == Some("Apply")
            && entry.get("subresource").and_then(Value::as_str) == applier.subresource
    });
    let before = mine.map(|index| entries.remove(index));
    let mut result = live.clone();
    if let Some(old) = before.as_ref().and_then(|entry| entry.get("fieldsV1")) {
        let others: Vec<&Value> = entries
            .iter()
            .filter_map(|entry| entry.get("fieldsV1"))
            .collect();
        release(&mut result, old, &owned, &others);
    }
    merge(schema, root, &mut result, &wanted);
    if let Some(version) = object::meta(applied, "resourceVersion") {
        object::meta_mut(&mut result).insert("resourceVersion".to_owned(), json!(version));
    }
    let unchanged = before.as_ref().and_then(|entry| entry.get("fieldsV1")) == Some(&owned);
    let entry = if let Some(before) = before.filter(|_| unchanged) {
        before
    } else {
        let mut entry = json!({
            "manager": applier.manager, "operation": "Apply", "apiVersion": applier.api_version,
            "time": applier.time, "fieldsType": "FieldsV1", "fieldsV1": owned,
        });
        if let Some(subresource) = applier.subresource {
            entry["subresource"] = json!(subresource);
        }
        entry
    };
    entries.insert(mine.unwrap_or(entries.len()).min(entries.len()), entry);
    object::meta_mut(&mut result).insert("managedFields".to_owned(), Value::Array(entries));
    result
}

fn is_atomic(schema: Option<&Schema>, id: Option<NodeId>) -> bool {
    match (schema, id) {
        (Some(schema), Some(id)) => {
            let node = schema.node(id);
            node.atomic || (node.kind == Type::Any && node.properties.is_empty() && !node.embedded)
        }
        _ => false,
    }
}

fn list_kind(schema: Option<&Schema>, id: Option<NodeId>) -> &ListKind {
    match (schema, id) {
        (Some(schema), Some(id)) => &schema.node(id).list,
        _ => &ListKind::Atomic,
    }
}

fn field(schema: Option<&Schema>, id: Option<NodeId>, name: &str) -> Option<NodeId> {
    schema?.field(id?, name)
}

fn item(schema: Option<&Schema>, id: Option<NodeId>) -> Option<NodeId> {
    schema?.node(id?).items
}

/// The keys of a list item, as `managedFields` writes them.
fn item_key(item: &Value, keys: &[String]) -> String {
    let map: Map<String, Value> = keys
        .iter()
        .filter_map(|key| {
            // The default that takes part in keys of built-in lists.
            let default = (key == "protocol").then(|| json!("TCP"));
            Some((key.clone(), item.get(key).cloned().or(default)?))
        })
        .collect();
    format!("k:{}", Value::Object(map))
}

/// The set of fields in a value, in the form of `fieldsV1`.
fn fields_of(schema: Option<&Schema>, id: Option<NodeId>, value: &Value) -> Value {
    match value {
        Value::Object(fields) if !is_atomic(schema, id) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| {
                    (
                        format!("f:{name}"),
                        fields_of(schema, field(schema, id, name), value),
                    )
                })
                .collect(),
        ),
        Value::Array(items) => match list_kind(schema, id) {
            ListKind::Atomic => json!({}),
            ListKind::Set => Value::Object(
                items
                    .iter()
                    .map(|item| (format!("v:{item}"), json!({})))
                    .collect(),
            ),
            ListKind::Map(keys) => Value::Object(
                items
                    .iter()
                    .map(|one| {
                        let mut below = fields_of(schema, item(schema, id), one);
                        below["."] = json!({});
                        (item_key(one, keys), below)
                    })
                    .collect(),
            ),
        },
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            json!({})
        }
    }
}

fn merge(schema: Option<&Schema>, id: Option<NodeId>, target: &mut Value, wanted: &Value) {
    match wanted {
        Value::Object(fields) if !is_atomic(schema, id) => {
            if !target.is_object() {
                *target = json!({});
            }
            let Some(map) = target.as_object_mut() else {
                return;
            };
            for (name, value) in fields {
                let slot = map.entry(name.as_str()).or_insert(Value::Null);
                merge(schema, field(schema, id, name), slot, value);
            }
        }
        Value::Array(items) => match (list_kind(schema, id), target.as_array_mut()) {
            (ListKind::Set, Some(list)) => {
                for item in items {
                    if !list.contains(item) {
                        list.push(item.clone());
                    }
                }
            }
            (ListKind::Map(keys), Some(list)) => {
                for one in items {
                    let key = item_key(one, keys);
                    match list
                        .iter_mut()
                        .find(|existing| item_key(existing, keys) == key)
                    {
                        Some(existing) => merge(schema, item(schema, id), existing, one),
                        None => list.push(one.clone()),
                    }
                }
            }
            (ListKind::Atomic | ListKind::Set | ListKind::Map(_), _) => *target = wanted.clone(),
        },
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            target.clone_from(wanted);
        }
    }
}

/// Remove what was owned before, is no longer, and belongs to nobody else.
fn release(target: &mut Value, before: &Value, now: &Value, others: &[&Value]) {
    let Some(entries) = before.as_object() else {
        return;
    };
    for (entry, below) in entries {
        if entry == "." {
            continue;
        }
        let kept = now.get(entry);
        let shared: Vec<&Value> = others.iter().filter_map(|other| other.get(entry)).collect();
        let leaf = below.as_object().is_none_or(Map::is_empty);
        let whole_item = below.get(".").is_some();
        if kept.is_none() && shared.is_empty() && (leaf || whole_item) {
            remove(target, entry);
        } else if let Some(child) = child(target, entry) {
            release(child, below, kept.unwrap_or(&Value::Null), &shared);
            let emptied =
                kept.is_none() && shared.is_empty() && child.as_object().is_some_and(Map::is_empty);
            if emptied {
                remove(target, entry);
            }
        }
    }
}

fn item_matches(item: &Value, keys: &Value) -> bool {
    keys.as_object().is_some_and(|keys| {
        keys.iter().all(|(name, wanted)| {
            item.get(name)
                .map_or(name == "protocol" && wanted == "TCP", |found| {
                    found == wanted
                })
        })
    })
}

fn child<'a>(target: &'a mut Value, entry: &str) -> Option<&'a mut Value> {
    if let Some(name) = entry.strip_prefix("f:") {
        return target.get_mut(name);
    }
    let keys: Value = serde_json::from_str(entry.strip_prefix("k:")?).ok()?;
    target
        .as_array_mut()?
        .iter_mut()
        .find(|item| item_matches(item, &keys))
}

fn remove(target: &mut Value, entry: &str) {
    if let Some(name) = entry.strip_prefix("f:") {
        if let Some(fields) = target.as_object_mut() {
            fields.remove(name);
        }
    } else if let Some(list) = target.as_array_mut() {
        if let Some(value) = entry.strip_prefix("v:") {
            let gone: Option<Value> = serde_json::from_str(value).ok();
            list.retain(|item| Some(item) != gone.as_ref());
        } else if let Some(keys) = entry
            .strip_prefix("k:")
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
        {
            list.retain(|item| !item_matches(item, &keys));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kinds, schema};

    #[test]
    fn managers_own_what_they_apply() {
        let kinds = kinds::builtin();
        let pod = kinds.iter().find(|kind| kind.is_pod()).unwrap();
        let schema = schema::of(pod).unwrap();
        let run = |live: &Value, manager: &str, applied: Value| {
            let applier = Applier {
                manager,
                api_version: "v1",
                subresource: None,
                time: "2026-01-01T00:00:00Z",
            };
            apply(Some(&schema), live, &applied, &applier)
        };
        let spec = |value: &Value| value["spec"].clone();
        let first = run(
            &json!({}),
            "one",
            json!({"spec": {"nodeName": "n", "containers": [{"name": "a", "image": "1"}, {"name": "b"}]}}),
        );
        let second = run(
            &first,
            "two",
            json!({"spec": {"containers": [{"name": "b", "image": "2"}], "priority": 1}}),
        );
        assert_eq!(
            spec(&second),
            json!({"nodeName": "n", "priority": 1,
                "containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]})
        );
        // The first lets go of everything but `a`; `b` is still the second's.
        let third = run(
            &second,
            "one",
            json!({"spec": {"containers": [{"name": "a"}]}}),
        );
        assert_eq!(
            spec(&third),
            json!({"priority": 1, "containers": [{"name": "a"}, {"name": "b", "image": "2"}]})
        );
        // The same again changes nothing, not even the time.
        assert_eq!(
            run(
                &third,
                "one",
                json!({"spec": {"containers": [{"name": "a"}]}})
            ),
            third
        );
    }
}
