//! `x-kubernetes-validations`: CEL rules of custom kinds.

use kube::core::cel::{CompiledSchema, ErrorKind, compile_schema, validate_compiled};
use serde_json::Value;

use super::{NodeId, Schema, Type};
use crate::error::FieldError;

/// The compiled rules of one schema.
#[derive(Debug)]
pub(super) struct Rules {
    compiled: CompiledSchema,
    /// Whether some rule lies under `status`.
    on_status: bool,
}

impl Rules {
    /// Absent when the schema has no rule at all.
    pub(super) fn compile(schema: &Value) -> Option<Rules> {
        if !mentions_rules(schema) {
            return None;
        }
        let on_status = schema
            .pointer("/properties/status")
            .is_some_and(mentions_rules)
            || schema.get("x-kubernetes-validations").is_some();
        Some(Rules {
            compiled: compile_schema(schema),
            on_status,
        })
    }

    /// What the rules have against the value; transition rules only run on updates.
    pub(super) fn check(
        &self,
        schema: &Schema,
        value: &Value,
        old: Option<&Value>,
    ) -> Vec<FieldError> {
        // Nothing a rule reads has changed: the verdict stands (and ratcheting would spare it).
        if let Some(old) = old
            && old.get("spec") == value.get("spec")
            && (!self.on_status || old.get("status") == value.get("status"))
        {
            return Vec::new();
        }
        match validate_compiled(&self.compiled, value, old) {
            Ok(()) => Vec::new(),
            Err(errors) => {
                let mut errors: Vec<FieldError> =
                    errors.iter().map(|error| worded(schema, error)).collect();
                // The evaluator walks hash maps; the same object must get the same text each time.
                errors.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
                errors
            }
        }
    }
}

fn mentions_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.contains_key("x-kubernetes-validations") || fields.values().any(mentions_rules)
        }
        Value::Array(list) => list.iter().any(mentions_rules),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn worded(schema: &Schema, error: &kube::core::cel::ValidationError) -> FieldError {
    let field = error.field_path.clone();
    let kind = type_at(schema, &field);
    let shown = if kind == Type::Any {
        "object"
    } else {
        kind.name()
    };
    let detail = if error.kind == ErrorKind::ValidationFailure {
        error.message.clone()
    } else {
        format!("rule evaluation error: {}", error.message)
    };
    match error.reason.as_deref() {
        Some("FieldValueForbidden") => FieldError::forbidden(field, &detail),
        Some("FieldValueRequired") => FieldError::required(field, &detail),
        _ => FieldError {
            field,
            message: format!("Invalid value: \"{shown}\": {detail}"),
            reason: "FieldValueInvalid",
        },
    }
}

/// The declared type at a path such as `spec.budgets[0]`: the server shows it in place of the value.
fn type_at(schema: &Schema, path: &str) -> Type {
    let mut id: NodeId = schema.root();
    for segment in path.split('.').filter(|segment| !segment.is_empty()) {
        let (name, indices) = segment
            .split_once('[')
            .map_or((segment, 0), |(name, rest)| {
                (name, 1 + rest.matches('[').count())
            });
        if !name.is_empty() {
            match schema.field(id, name) {
                Some(field) => id = field,
                None => return Type::Any,
            }
        }
        for _ in 0..indices {
            match schema.node(id).items {
                Some(items) => id = items,
                None => return Type::Any,
            }
        }
    }
    schema.node(id).kind
}
