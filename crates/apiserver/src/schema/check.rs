//! Values against a schema, in the API server's words.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Additional, Limits, ListKind, Node, NodeId, Schema, Type, format, join};
use crate::error::FieldError;

/// Everything the schema has against the value.
pub(super) fn check(schema: &Schema, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(schema, schema.root(), value, "", &mut errors);
    lists(schema, schema.root(), value, "", &mut errors);
    errors
}

/// What a value is, as messages call it.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn has_type(kind: Type, value: &Value) -> bool {
    match (kind, value) {
        (Type::Any, _)
        | (Type::Object, Value::Object(_))
        | (Type::Array, Value::Array(_))
        | (Type::String | Type::IntOrString | Type::Quantity, Value::String(_))
        | (Type::Boolean, Value::Bool(_))
        | (Type::Number | Type::Quantity, Value::Number(_)) => true,
        (Type::Integer | Type::IntOrString, Value::Number(number)) => {
            // 1.0 is an integer in JSON schema.
            number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => false,
    }
}

fn walk(schema: &Schema, id: NodeId, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let node = schema.node(id);
    if value.is_null() && node.nullable {
        return;
    }
    if !has_type(node.kind, value) {
        let found = type_name(value);
        let (wanted, found) = match &node.format {
            // The server compares formats before types where it has both.
            Some(format) if found == "number" => (&**format, "float64"),
            _ => (node.kind.name(), found),
        };
        let what = format!("{path} in body must be of type {wanted}: \"{found}\"");
        errors.push(FieldError::type_invalid(path, found, &what));
        if found == "float64" {
            let kind = node.kind.name();
            let what =
                format!("Checked value must be of type {kind} with format {wanted} in {path}");
            errors.push(FieldError::invalid("", &json!(""), &what));
        }
        if let Some(limits) = &node.limits {
            check_enumeration(limits, value, path, errors);
        }
        return;
    }
    match value {
        Value::Object(fields) => {
            for name in &node.required {
                if !fields.contains_key(&**name) {
                    errors.push(FieldError::required(join(path, name), ""));
                }
            }
            for (name, field) in fields {
                match (node.properties.get(name.as_str()), node.additional) {
                    (Some(id), _) => walk(schema, *id, field, &join(path, name), errors),
                    (None, Additional::Of(id)) => {
                        walk(schema, id, field, &join(path, name), errors);
                    }
                    (None, Additional::None | Additional::Any) => {}
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = node.items {
                for (index, item) in list.iter().enumerate() {
                    walk(schema, items, item, &format!("{path}[{index}]"), errors);
                }
            }
        }
        Value::String(text) => {
            if let Some(wanted) = &node.format
                && !format::conforms(wanted, text)
            {
                let what = format!("{path} in body must be of type {wanted}: {text:?}");
                errors.push(FieldError::type_invalid(path, text, &what));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    if let Some(limits) = &node.limits {
        check_limits(schema, limits, value, path, errors);
    }
    if let (Type::Integer, Some(number)) = (node.kind, value.as_i64())
        && node.format.as_deref() == Some("int32")
        && i32::try_from(number).is_err()
    {
        let what = format!("{path} in body must be of type int32: \"{number}\"");
        errors.push(FieldError::type_invalid(path, &number.to_string(), &what));
    }
}

fn check_enumeration(limits: &Limits, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !limits.enumeration.is_empty() && !limits.enumeration.contains(value) {
        let supported: Vec<String> = limits
            .enumeration
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect();
        errors.push(FieldError::unsupported(path, value, &supported));
    }
}

fn check_limits(
    schema: &Schema,
    limits: &Limits,
    value: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    check_enumeration(limits, value, path, errors);
    let mut invalid = |what: String| errors.push(FieldError::invalid(path, value, &what));
    match value {
        Value::String(text) => {
            let length = text.chars().count() as u64;
            // The first of these faults is the only one that is told.
            if let Some(most) = limits.max_length.filter(|most| length > *most) {
                errors.push(FieldError::too_long(path, most));
            } else if let Some(least) = limits.min_length.filter(|least| length < *least) {
                invalid(format!(
                    "{path} in body should be at least {least} chars long"
                ));
            } else if let Some((pattern, regex)) = &limits.pattern
                && !regex.is_match(text)
            {
                invalid(format!("{path} in body should match '{pattern}'"));
            }
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(0.0);
            if let Some((bound, exclusive)) = limits.maximum
                && (number > bound || (exclusive && number >= bound))
            {
                let or_equal = if exclusive { "" } else { " or equal to" };
                invalid(format!(
                    "{path} in body should be less than{or_equal} {bound}"
                ));
            }
            if let Some((bound, exclusive)) = limits.minimum
                && (number < bound || (exclusive && number <= bound))
            {
                let or_equal = if exclusive { "" } else { " or equal to" };
                invalid(format!(
                    "{path} in body should be greater than{or_equal} {bound}"
                ));
            }
            if let Some(step) = limits.multiple_of
                && step > 0.0
                && (number / step).fract() != 0.0
            {
                invalid(format!("{path} in body should be a multiple of {step}"));
            }
        }
        Value::Array(list) => {
            let count = list.len() as u64;
            if let Some(least) = limits.min_items.filter(|least| count < *least) {
                let what = format!("{path} in body should have at least {least} items");
                errors.push(FieldError::invalid(path, &json!(count), &what));
            }
            if let Some(most) = limits.max_items.filter(|most| count > *most) {
                errors.push(FieldError::too_many(path, list.len(), most));
            }
            if limits.unique_items
                && list
                    .iter()
                    .enumerate()
                    .any(|(index, item)| list[..index].contains(item))
            {
                let what = format!("{path} in body shouldn't contain duplicates");
                errors.push(FieldError::invalid(path, &json!(null), &what));
            }
        }
        Value::Object(fields) => {
            let count = fields.len() as u64;
            if let Some(least) = limits.min_properties.filter(|least| count < *least) {
                invalid(format!(
                    "{path} in body should have at least {least} properties"
                ));
            }
            if let Some(most) = limits.max_properties.filter(|most| count > *most) {
                errors.push(FieldError::too_many(path, fields.len(), most));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    check_junctors(schema, limits, value, path, errors);
}

fn check_junctors(
    schema: &Schema,
    limits: &Limits,
    value: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let passes = |id: &NodeId| {
        let mut found = Vec::new();
        walk(schema, *id, value, path, &mut found);
        found.is_empty()
    };
    for id in &limits.all_of {
        walk(schema, *id, value, path, errors);
    }
    let mut invalid = |what: &str| {
        let what = format!("{path} in body must validate {what}");
        errors.push(FieldError::invalid(path, &json!(""), &what));
    };
    if !limits.any_of.is_empty() && !limits.any_of.iter().any(passes) {
        invalid("at least one schema (anyOf)");
    }
    if !limits.one_of.is_empty() && limits.one_of.iter().filter(|id| passes(id)).count() != 1 {
        invalid("one and only one schema (oneOf)");
    }
    if limits.not.as_ref().is_some_and(passes) {
        let what = format!("{path} in body must not validate the schema (not)");
        errors.push(FieldError::invalid(path, &json!(""), &what));
    }
}

/// Sets and maps may not repeat.
fn lists(schema: &Schema, id: NodeId, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let node: &Node = schema.node(id);
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Some(id) = schema.field(id, name) {
                    lists(schema, id, field, &join(path, name), errors);
                }
            }
        }
        Value::Array(list) => {
            let mut seen = BTreeSet::new();
            for (index, item) in list.iter().enumerate() {
                let key = match &node.list {
                    ListKind::Atomic => None,
                    ListKind::Set => Some(item.clone()),
                    ListKind::Map(keys) => Some(Value::Object(
                        keys.iter()
                            .filter_map(|key| Some((key.clone(), item.get(key)?.clone())))
                            .collect(),
                    )),
                };
                if let Some(key) = key
                    && !seen.insert(key.to_string())
                {
                    errors.push(FieldError::duplicate(format!("{path}[{index}]"), &key));
                }
                if let Some(items) = node.items {
                    lists(schema, items, item, &format!("{path}[{index}]"), errors);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
