//! Strategic merge patches: lists merge by the keys that the schema knows.

use serde_json::{Map, Value};

use crate::schema::{ListKind, NodeId, Schema};

const ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Merge a patch into an object of this schema.
pub(crate) fn merge(schema: &Schema, target: &mut Value, patch: &Value) {
    merge_object(schema, Some(schema.root()), target, patch);
}

fn merge_object(schema: &Schema, id: Option<NodeId>, target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    match changes.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = without_directives(changes);
            return;
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return;
        }
        _ => {}
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else {
        return;
    };
    if let Some(keep) = changes.get("$retainKeys").and_then(Value::as_array) {
        fields.retain(|name, _| keep.iter().any(|kept| kept == name));
    }
    for (name, change) in changes {
        if let Some(list) = name.strip_prefix(DELETE_FROM) {
            if let (Some(target), Some(gone)) = (
                fields.get_mut(list).and_then(Value::as_array_mut),
                change.as_array(),
            ) {
                target.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if name.starts_with('$') {
            continue;
        }
        let field = id.and_then(|id| schema.field(id, name));
        match change {
            Value::Null => {
                fields.remove(name);
            }
            Value::Object(map) => {
                if map.get("$patch").and_then(Value::as_str) == Some("delete") {
                    fields.remove(name);
                } else {
                    let slot = fields.entry(name.as_str()).or_insert(Value::Null);
                    merge_object(schema, field, slot, change);
                }
            }
            Value::Array(items) => {
                let slot = fields
                    .entry(name.as_str())
                    .or_insert_with(|| Value::Array(Vec::new()));
                merge_list(schema, field, slot, items);
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                fields.insert(name.clone(), change.clone());
            }
        }
    }
    for (name, order) in changes {
        if let (Some(list), Some(order)) = (name.strip_prefix(ORDER), order.as_array()) {
            let field = id.and_then(|id| schema.field(id, list));
            if let Some(items) = fields.get_mut(list).and_then(Value::as_array_mut) {
                reorder(items, order, merge_key(schema, field));
            }
        }
    }
}

/// The one key of strategic merge for a list, if it has one.
fn merge_key(schema: &Schema, id: Option<NodeId>) -> Option<&str> {
    match &schema.node(id?).list {
        ListKind::Map(keys) => keys.first().map(String::as_str),
        ListKind::Atomic | ListKind::Set => None,
    }
}

fn merge_list(schema: &Schema, id: Option<NodeId>, target: &mut Value, changes: &[Value]) {
    let kind = id.map_or(&ListKind::Atomic, |id| &schema.node(id).list);
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Some(items) = target.as_array_mut() else {
        return;
    };
    let key = match kind {
        ListKind::Atomic => {
            *items = changes.iter().map(cleaned).collect();
            return;
        }
        ListKind::Set => {
            for change in changes {
                if !items.contains(change) {
                    items.push(change.clone());
                }
            }
            return;
        }
        ListKind::Map(keys) => keys.first().map(String::as_str).unwrap_or_default(),
    };
    let directive = |change: &Value| {
        change
            .get("$patch")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    if changes
        .iter()
        .any(|change| directive(change).as_deref() == Some("replace"))
    {
        *items = changes
            .iter()
            .filter(|change| directive(change).as_deref() != Some("replace"))
            .map(cleaned)
            .collect();
        return;
    }
    let item_schema = id.and_then(|id| schema.node(id).items);
    for change in changes {
        let found = items
            .iter()
            .position(|item| item.get(key) == change.get(key));
        match (directive(change).as_deref(), found) {
            (Some("delete"), Some(index)) => {
                items.remove(index);
            }
            (Some("delete"), None) => {}
            (_, Some(index)) => merge_object(schema, item_schema, &mut items[index], change),
            (_, None) => items.push(cleaned(change)),
        }
    }
}

/// Items named by the order come first and in that order; the others keep theirs.
fn reorder(items: &mut [Value], order: &[Value], key: Option<&str>) {
    let place = |item: &Value| {
        order
            .iter()
            .position(|wanted| match key {
                Some(key) => wanted.get(key) == item.get(key),
                None => wanted == item,
            })
            .unwrap_or(usize::MAX)
    };
    items.sort_by_key(place);
}

/// A value that is new to its place: directives mean nothing there.
fn cleaned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => without_directives(fields),
        Value::Array(items) => Value::Array(items.iter().map(cleaned).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn without_directives(fields: &Map<String, Value>) -> Value {
    let kept = fields
        .iter()
        .filter(|(name, value)| !name.starts_with('$') && !value.is_null());
    Value::Object(
        kept.map(|(name, value)| (name.clone(), cleaned(value)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{kinds, schema};

    #[test]
    fn lists_merge_by_key() {
        let kinds = kinds::builtin();
        let deployment = kinds.iter().find(|kind| kind.kind == "Deployment").unwrap();
        let schema = schema::of(deployment).unwrap();
        let check = |target: Value, patch: Value, expected: Value| {
            let wrap = |spec: &Value| json!({"spec": {"template": {"spec": spec}}});
            let mut value = wrap(&target);
            merge(&schema, &mut value, &wrap(&patch));
            assert_eq!(value, wrap(&expected), "{patch}");
        };
        check(
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b"}]}),
            json!({"containers": [{"name": "a", "image": "2"}, {"name": "c"}]}),
            json!({"containers": [{"name": "a", "image": "2"}, {"name": "b"}, {"name": "c"}]}),
        );
        check(
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"containers": [{"name": "a", "$patch": "delete"}]}),
            json!({"containers": [{"name": "b"}]}),
        );
        check(
            json!({"tolerations": [{"key": "x"}]}),
            json!({"tolerations": [{"key": "y"}]}),
            json!({"tolerations": [{"key": "y"}]}),
        );
        check(
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "containers": [{"name": "b", "image": "2"}]}),
            json!({"containers": [{"name": "b", "image": "2"}, {"name": "a"}]}),
        );
        check(
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]}),
            json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}),
        );
        check(
            json!({"nodeSelector": {"a": "1", "b": "2"}}),
            json!({"nodeSelector": {"a": null, "c": "3"}}),
            json!({"nodeSelector": {"b": "2", "c": "3"}}),
        );
        check(
            json!({"nodeSelector": {"a": "1"}}),
            json!({"nodeSelector": {"$patch": "replace", "c": "3"}}),
            json!({"nodeSelector": {"c": "3"}}),
        );
    }

    #[test]
    fn finalizers_are_a_set() {
        let kinds = kinds::builtin();
        let pod = kinds.iter().find(|kind| kind.is_pod()).unwrap();
        let schema = schema::of(pod).unwrap();
        let mut value = json!({"metadata": {"finalizers": ["a", "b"]}});
        merge(
            &schema,
            &mut value,
            &json!({"metadata": {"finalizers": ["c"],
            "$deleteFromPrimitiveList/finalizers": ["a"]}}),
        );
        assert_eq!(value, json!({"metadata": {"finalizers": ["b", "c"]}}));
    }
}
