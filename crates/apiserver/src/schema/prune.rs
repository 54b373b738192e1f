//! Unknown fields, and the several ways in which built-in kinds may be written.

use serde_json::{Map, Value};

use super::{Additional, NodeId, Schema, Type, format, join};

/// Remove what the schema does not know; the paths of what was removed, in document order.
pub(super) fn prune(schema: &Schema, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(schema, schema.root(), value, "", &mut unknown);
    unknown
}

fn walk(schema: &Schema, id: NodeId, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    let node = schema.node(id);
    match value {
        Value::Object(fields) => {
            let embedded = node.embedded;
            if node.kind == Type::Any && node.properties.is_empty() && !embedded {
                // Without a type nothing is known to be unknown, unless it is a pruned custom root.
                return;
            }
            fields.retain(|name, field| {
                // Every object with a kind of its own has these three.
                if embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                    return true;
                }
                let below = join(path, name);
                match (node.properties.get(name.as_str()), node.additional) {
                    (Some(id), _) => walk(schema, *id, field, &below, unknown),
                    (None, Additional::Of(id)) => walk(schema, id, field, &below, unknown),
                    (None, Additional::Any) => {}
                    (None, Additional::None) => {
                        unknown.push(below);
                        return false;
                    }
                }
                true
            });
        }
        Value::Array(list) => {
            if let Some(items) = node.items {
                for (index, item) in list.iter_mut().enumerate() {
                    walk(schema, items, item, &format!("{path}[{index}]"), unknown);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Read a built-in kind as its Go type would: nulls are absent, quantities may be numbers. The error is
/// Go's sentence.
pub(super) fn decode(schema: &Schema, value: &mut Value) -> Result<(), String> {
    read(schema, schema.root(), value, "")
}

fn read(schema: &Schema, id: NodeId, value: &mut Value, path: &str) -> Result<(), String> {
    let node = schema.node(id);
    let fault = |value: &Value, wanted: &str| {
        Err(format!(
            "json: cannot unmarshal {} into Go struct field {path} of type {wanted}",
            go_word(value)
        ))
    };
    match (node.kind, &mut *value) {
        (Type::Any, _) | (_, Value::Null) => Ok(()),
        (Type::Object, Value::Object(fields)) => read_fields(schema, id, fields, path),
        (Type::Array, Value::Array(list)) => {
            if let Some(items) = node.items {
                for (index, item) in list.iter_mut().enumerate() {
                    zero_for_null(schema.node(items).kind, item);
                    read(schema, items, item, &format!("{path}[{index}]"))?;
                }
            }
            Ok(())
        }
        (Type::String, Value::String(text)) => match node.format.as_deref() {
            Some("date-time") if text.parse::<jiff::Timestamp>().is_err() => Err(format!(
                "parsing time {text:?} in {path}: it must be an RFC 3339 time such as \
                 2026-01-01T00:00:00Z"
            )),
            _ => Ok(()),
        },
        (Type::Integer, Value::Number(number)) => {
            // Go reads 1.0 as a float and refuses it; kubectl never sends it.
            if number.is_i64() || number.is_u64() {
                Ok(())
            } else {
                fault(value, "int64")
            }
        }
        (Type::Number, Value::Number(_)) | (Type::Boolean, Value::Bool(_)) => Ok(()),
        (Type::IntOrString, Value::String(_)) => Ok(()),
        (Type::IntOrString, Value::Number(number)) if number.is_i64() => Ok(()),
        (Type::Quantity, Value::Number(number)) => {
            *value = Value::String(number.to_string());
            Ok(())
        }
        (Type::Quantity, Value::String(text)) => {
            if format::is_quantity(text) {
                Ok(())
            } else {
                Err(format!(
                    "quantities must match the regular expression \
                     '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$' ({path}: {text:?})"
                ))
            }
        }
        (Type::Object, other) => fault(other, "object"),
        (Type::Array, other) => fault(other, "array"),
        (Type::String, other) => fault(other, "string"),
        (Type::Integer, other) => fault(other, "int32"),
        (Type::Number, other) => fault(other, "float64"),
        (Type::Boolean, other) => fault(other, "bool"),
        (Type::IntOrString, other) => fault(other, "intstr.IntOrString"),
        (Type::Quantity, other) => fault(other, "resource.Quantity"),
    }
}

fn read_fields(
    schema: &Schema,
    id: NodeId,
    fields: &mut Map<String, Value>,
    path: &str,
) -> Result<(), String> {
    let named = !schema.node(id).properties.is_empty();
    if named {
        // Nothing is lost: a null in a Go struct is the field left out.
        fields.retain(|_, value| !value.is_null());
    }
    for (name, value) in fields.iter_mut() {
        if let Some(field) = schema.field(id, name) {
            zero_for_null(schema.node(field).kind, value);
            read(schema, field, value, &join(path, name))?;
        }
    }
    Ok(())
}

/// A null in a Go list or map is the zero value.
fn zero_for_null(kind: Type, value: &mut Value) {
    if value.is_null() {
        match kind {
            Type::String => *value = Value::String(String::new()),
            Type::Object => *value = Value::Object(Map::new()),
            Type::Quantity => *value = Value::String("0".to_owned()),
            Type::Any
            | Type::Array
            | Type::Integer
            | Type::Number
            | Type::Boolean
            | Type::IntOrString => {}
        }
    }
}

fn go_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
