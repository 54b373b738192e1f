//! Defaults of custom kinds.

use serde_json::Value;

use super::{Additional, NodeId, Schema};

/// Fill in defaults, outermost first, so that a defaulted object gets the defaults of its fields.
pub(super) fn apply(schema: &Schema, value: &mut Value) {
    walk(schema, schema.root(), value);
}

fn walk(schema: &Schema, id: NodeId, value: &mut Value) {
    let node = schema.node(id);
    match value {
        Value::Object(fields) => {
            for (name, field) in &node.properties {
                let declared = schema.node(*field);
                // A null that may not be one is as good as absent.
                if fields.get(&**name).is_some_and(Value::is_null) && !declared.nullable {
                    fields.remove(&**name);
                }
                if let Some(default) = &declared.default
                    && !fields.contains_key(&**name)
                {
                    fields.insert((**name).to_owned(), (**default).clone());
                }
            }
            if let Additional::Of(of) = node.additional
                && !schema.node(of).nullable
                && schema.node(of).default.is_none()
            {
                fields.retain(|name, field| {
                    !field.is_null() || node.properties.contains_key(name.as_str())
                });
            }
            for (name, field) in fields.iter_mut() {
                if let Some(id) = schema.field(id, name) {
                    walk(schema, id, field);
                }
            }
            if let Additional::Of(id) = node.additional
                && !schema.node(id).nullable
                && schema.node(id).default.is_some()
            {
                for (name, field) in fields.iter_mut() {
                    if field.is_null() && !node.properties.contains_key(name.as_str()) {
                        *field = schema
                            .node(id)
                            .default
                            .as_deref()
                            .cloned()
                            .unwrap_or_default();
                    }
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = node.items {
                for item in list {
                    walk(schema, items, item);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
