//! `x-kubernetes-validations`: CEL rules of custom kinds.

use std::collections::BTreeMap;

use kube::core::cel::{CompiledSchema, ErrorKind, compile_schema, validate_compiled};
use serde_json::Value;

use super::{NodeId, Schema, Type};
use crate::error::FieldError;

/// The compiled rules of one schema.
#[derive(Debug)]
pub(super) struct Rules {
    compiled: CompiledSchema,
    /// What a rule says when it fails, by its text.
    messages: BTreeMap<String, String>,
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
        let mut messages = BTreeMap::new();
        collect_messages(schema, &mut messages);
        Some(Rules {
            compiled: compile_schema(schema),
            messages,
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
                let mut errors: Vec<FieldError> = errors
                    .iter()
                    .map(|error| self.worded(schema, value, error))
                    .collect();
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

fn collect_messages(schema: &Value, messages: &mut BTreeMap<String, String>) {
    match schema {
        Value::Object(fields) => {
            let rules = fields
                .get("x-kubernetes-validations")
                .and_then(Value::as_array);
            for rule in rules.into_iter().flatten() {
                if let (Some(text), Some(message)) =
                    (rule["rule"].as_str(), rule["message"].as_str())
                {
                    messages.insert(text.to_owned(), message.to_owned());
                }
            }
            for field in fields.values() {
                collect_messages(field, messages);
            }
        }
        Value::Array(list) => list.iter().for_each(|one| collect_messages(one, messages)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Rules {
    fn worded(
        &self,
        schema: &Schema,
        value: &Value,
        error: &kube::core::cel::ValidationError,
    ) -> FieldError {
        let field = error.field_path.clone();
        let message = if error.kind == ErrorKind::ValidationFailure {
            match value_at(value, &field) {
                // Only scalars are shown.
                Some(found) if !found.is_object() && !found.is_array() => {
                    return Self::reasoned(
                        error,
                        FieldError::invalid(&*field, found, &error.message),
                    );
                }
                _ => format!("Invalid value: {}", error.message),
            }
        } else {
            let kind = type_at(schema, &field);
            let shown = if kind == Type::Any {
                "object"
            } else {
                kind.name()
            };
            format!("Invalid value: \"{shown}\": {}", self.failure(error))
        };
        let invalid = FieldError {
            field,
            message,
            reason: "FieldValueInvalid",
        };
        Self::reasoned(error, invalid)
    }

    /// Why a rule could not be judged, in the server's words where they are known.
    fn failure(&self, error: &kube::core::cel::ValidationError) -> String {
        let rule = self
            .messages
            .get(&error.rule)
            .map_or(&error.rule, |message| message);
        if error.message.contains("Error executing function 'int'") {
            return format!("type conversion error from 'string' to 'int' evaluating rule: {rule}");
        }
        format!("{} evaluating rule: {rule}", error.message)
    }

    fn reasoned(error: &kube::core::cel::ValidationError, otherwise: FieldError) -> FieldError {
        match error.reason.as_deref() {
            Some("FieldValueForbidden") => FieldError::forbidden(otherwise.field, &error.message),
            Some("FieldValueRequired") => FieldError::required(otherwise.field, &error.message),
            _ => otherwise,
        }
    }
}

/// The value at a path such as `spec.budgets[0]`.
fn value_at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split(['.', '['])
        .filter(|segment| !segment.is_empty())
        .try_fold(value, |found, segment| match segment.strip_suffix(']') {
            Some(index) => found.get(index.parse::<usize>().ok()?),
            None => found.get(segment),
        })
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
