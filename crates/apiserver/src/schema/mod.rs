//! Structural schemas: what an object may look like, and what it becomes before it is judged.
//!
//! One compiled form serves custom kinds (from their definitions) and built-in kinds (from the types of
//! k8s-openapi, see [`builtin`]); patches and server-side apply ask it how lists merge. The order is the
//! API server's: unknown fields ([`prune`]), defaults ([`default`]), values ([`check`]), rules ([`rules`]).

mod builtin;
mod check;
mod compile;
mod default;
pub(crate) mod format;
mod offline;
mod prune;
mod rules;
mod scale;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

pub(crate) use self::builtin::definitions;
pub use self::offline::{DefaultedObject, validate_offline};
use crate::{
    error::{ApiError, FieldError, Result},
    kinds::Kind,
    write::Part,
};

/// What happens to fields that no schema knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// The write is refused.
    Strict,
    /// They are dropped with a warning.
    #[default]
    Warn,
    /// They are dropped.
    Ignore,
}

impl Strictness {
    /// From the query parameter `fieldValidation`.
    pub(crate) fn parse(text: Option<&str>) -> Strictness {
        match text {
            Some("Strict") => Strictness::Strict,
            Some("Ignore") => Strictness::Ignore,
            _ => Strictness::Warn,
        }
    }
}

/// An index into a schema's nodes, so that schemas may be recursive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(usize);

/// The type of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Type {
    /// No type is declared: anything goes.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
    /// A resource quantity of a built-in kind: a string, or a number that becomes one.
    Quantity,
}

impl Type {
    /// The name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Type::Any => "",
            Type::Object => "object",
            Type::Array => "array",
            Type::String | Type::Quantity => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Boolean => "boolean",
            Type::IntOrString => "integer,string",
        }
    }
}

/// How a list merges and what it may not repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListKind {
    #[default]
    Atomic,
    Set,
    /// Keyed by these fields; the first alone is the key of strategic merge patches.
    Map(Vec<String>),
}

/// Values of fields that an object may have beyond those it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Additional {
    #[default]
    None,
    /// Anything: `x-kubernetes-preserve-unknown-fields`.
    Any,
    Of(NodeId),
}

/// Limits that few nodes have, kept apart so that the many stay small.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) enumeration: Vec<Value>,
    pub(crate) pattern: Option<(String, regex::Regex)>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) unique_items: bool,
    pub(crate) max_properties: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) maximum: Option<(f64, bool)>,
    pub(crate) minimum: Option<(f64, bool)>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) all_of: Vec<NodeId>,
    pub(crate) any_of: Vec<NodeId>,
    pub(crate) one_of: Vec<NodeId>,
    pub(crate) not: Option<NodeId>,
}

/// One place in a schema.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) kind: Type,
    pub(crate) nullable: bool,
    pub(crate) embedded: bool,
    pub(crate) properties: BTreeMap<Box<str>, NodeId>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<NodeId>,
    pub(crate) required: Vec<Box<str>>,
    pub(crate) list: ListKind,
    /// An object that is replaced as a whole.
    pub(crate) atomic: bool,
    pub(crate) format: Option<Box<str>>,
    pub(crate) default: Option<Box<Value>>,
    pub(crate) limits: Option<Box<Limits>>,
}

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Schema {
    nodes: Vec<Node>,
    root: NodeId,
    rules: Option<rules::Rules>,
}

impl Schema {
    /// From the `openAPIV3Schema` of a definition.
    fn compile(schema: &Value) -> Schema {
        let mut compiled = compile::custom(schema);
        compiled.rules = rules::Rules::compile(schema);
        compiled
    }

    /// As `compile`, but the same schema is compiled once per process: tests and simulations make many
    /// servers with the same definitions.
    pub(crate) fn compiled(schema: &Value) -> Arc<Schema> {
        static COMPILED: Mutex<BTreeMap<String, Arc<Schema>>> = Mutex::new(BTreeMap::new());
        const MOST: usize = 64;
        let text = schema.to_string();
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = compiled.get(&text) {
            return found.clone();
        }
        if compiled.len() >= MOST {
            compiled.clear();
        }
        let made = Arc::new(Schema::compile(schema));
        compiled.insert(text, made.clone());
        made
    }

    pub(crate) fn root(&self) -> NodeId {
        self.root
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The schema of a field, if there is one.
    pub(crate) fn field(&self, id: NodeId, name: &str) -> Option<NodeId> {
        let node = self.node(id);
        match (node.properties.get(name), node.additional) {
            (Some(id), _) => Some(*id),
            (None, Additional::Of(id)) => Some(id),
            (None, Additional::None | Additional::Any) => None,
        }
    }
}

/// The schema that judges objects of this kind.
pub(crate) fn of(kind: &Kind) -> Option<Arc<Schema>> {
    if kind.builtin {
        builtin::schema(kind)
    } else {
        kind.versions.first()?.schema.clone()
    }
}

/// Deal with unknown fields and decode what built-in kinds write in several ways; then set defaults.
/// Returns warnings.
pub(crate) fn prepare(
    kind: &Kind,
    value: &mut Value,
    strictness: Strictness,
) -> Result<Vec<String>> {
    let Some(schema) = of(kind) else {
        return Ok(Vec::new());
    };
    if kind.builtin {
        prune::decode(&schema, value).map_err(|fault| {
            ApiError::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: {fault}",
                kind.kind, kind.versions[0].name, kind.kind
            ))
        })?;
    }
    if !kind.builtin {
        whole_numbers(value);
    }
    let unknown = prune::prune(&schema, value);
    let warnings: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect();
    if strictness == Strictness::Strict && !warnings.is_empty() {
        return Err(ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
            kind.kind,
            kind.versions[0].name,
            kind.kind,
            warnings.join(", ")
        )));
    }
    if !kind.builtin {
        default::apply(&schema, value);
    }
    Ok(if strictness == Strictness::Warn {
        warnings
    } else {
        Vec::new()
    })
}

/// Numbers as Go stores them: 2.0 and 1e9 are read as floats and written without a fraction.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            // Beyond these Go writes an exponent.
            const LARGEST: f64 = 9.0e18;
            if let Some(float) = number.as_f64()
                && float.fract() == 0.0
                && float.abs() < LARGEST
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
                let whole = float as i64;
                *value = Value::from(whole);
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Array(list) => list.iter_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fill in what a custom kind's schema has defaults for.
pub(crate) fn set_defaults(kind: &Kind, value: &mut Value) {
    if let Some(schema) = of(kind).filter(|_| !kind.builtin) {
        default::apply(&schema, value);
    }
}

/// Judge an object: `errors` is what `checks` has against it, custom kinds add what their schema has.
pub(crate) fn validate(
    kind: &Kind,
    value: &Value,
    old: Option<&Value>,
    part: Part,
    mut errors: Vec<FieldError>,
) -> Result<()> {
    if !kind.builtin
        && let Some(schema) = of(kind)
    {
        let mut found = faults(&schema, value, old);
        if part == Part::Status {
            // The server judges the status alone and counts paths from there, but for their names.
            for error in &mut found {
                if let Some(below) = error.field.strip_prefix("status.") {
                    let sentence = format!("{} in body", error.field);
                    error.message = error
                        .message
                        .replace(&sentence, &format!("{below} in body"));
                }
            }
        }
        errors.extend(found);
        if let Some(scale) = kind
            .versions
            .first()
            .and_then(|version| version.scale.as_ref())
        {
            errors.extend(scale::faults(scale, value, part));
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let name = crate::object::meta(value, "name").unwrap_or_default();
    Err(ApiError::invalid(kind, name, &errors))
}

/// Everything a custom kind's schema and rules have against an object.
fn faults(schema: &Schema, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = check::check(schema, value);
    if let Some(rules) = &schema.rules {
        let blocking = errors.iter().any(|error| {
            matches!(
                error.reason,
                "FieldValueRequired"
                    | "FieldValueTooLong"
                    | "FieldValueTooMany"
                    | "FieldValueTypeInvalid"
                    | "FieldValueNotSupported"
            )
        });
        if blocking {
            errors.push(FieldError {
                field: String::new(),
                message: "Invalid value: null: some validation rules were not checked because \
                          the object was invalid; correct the existing errors to complete \
                          validation"
                    .to_owned(),
                reason: "FieldValueInvalid",
            });
        } else {
            errors.extend(rules.check(schema, value, old));
        }
    }
    errors
}

/// A path with one more field; names that are no identifiers are keys.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests;
