//! From JSON schema to nodes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Additional, Limits, ListKind, Node, NodeId, Schema, Type, builtin};

/// The work in progress.
pub(super) struct Compiler<'a> {
    nodes: Vec<Node>,
    /// `$defs`, for built-in kinds.
    definitions: Option<&'a serde_json::Map<String, Value>>,
    /// Definitions that have a node already.
    known: BTreeMap<String, NodeId>,
}

/// The schema of a custom kind. `metadata` is never declared in full: it is the built-in one.
pub(super) fn custom(schema: &Value) -> Schema {
    let mut compiler = Compiler {
        nodes: Vec::new(),
        definitions: None,
        known: BTreeMap::new(),
    };
    let root = compiler.node(schema, None);
    compiler.nodes[root.0].embedded = true;
    Schema {
        nodes: compiler.nodes,
        root,
        rules: None,
    }
}

/// The schema of a built-in kind from its root schema with `$defs`.
pub(super) fn builtin(root: &Value) -> Schema {
    let definitions = root.get("$defs").and_then(Value::as_object);
    let mut compiler = Compiler {
        nodes: Vec::new(),
        definitions,
        known: BTreeMap::new(),
    };
    let root = compiler.node(root, None);
    Schema {
        nodes: compiler.nodes,
        root,
        rules: None,
    }
}

impl Compiler<'_> {
    fn node(&mut self, schema: &Value, definition: Option<&str>) -> NodeId {
        if let Some(name) = referenced(schema) {
            if let Some(id) = self.known.get(name) {
                return *id;
            }
            if let Some(target) = self.definitions.and_then(|all| all.get(name)) {
                return self.node(target, Some(name));
            }
        }
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node::default());
        if let Some(name) = definition {
            self.known.insert(name.to_owned(), id);
        }
        let node = self.build(schema, definition.map(builtin::short_name));
        self.nodes[id.0] = node;
        id
    }

    fn build(&mut self, schema: &Value, definition: Option<&str>) -> Node {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
        let mut node = Node {
            kind: type_of(schema, definition),
            nullable: flag("nullable"),
            embedded: flag("x-kubernetes-embedded-resource"),
            atomic: schema.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
            format: schema.get("format").and_then(Value::as_str).map(Box::from),
            default: schema.get("default").map(|value| Box::new(value.clone())),
            list: list_kind(schema),
            ..Node::default()
        };
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                let id = self.node(property, None);
                if let Some(list) = definition.and_then(|of| builtin::list_kind(of, name)) {
                    self.nodes[id.0].list = list;
                }
                node.properties.insert(name.as_str().into(), id);
            }
        }
        node.additional = match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Any,
            Some(additional @ Value::Object(_)) => Additional::Of(self.node(additional, None)),
            _ if flag("x-kubernetes-preserve-unknown-fields") => Additional::Any,
            _ if definition.is_some() && node.properties.is_empty() => Additional::Any,
            // A bare `type: object` of a custom kind prunes everything below it; one of a built-in
            // kind is raw data.
            _ if self.definitions.is_some() && node.properties.is_empty() => Additional::Any,
            _ => Additional::None,
        };
        if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
            node.items = Some(self.node(items, None));
        }
        node.required = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(Box::from)
            .collect();
        node.limits = self.limits(schema).map(Box::new);
        node
    }

    fn limits(&mut self, schema: &Value) -> Option<Limits> {
        const NAMES: &[&str] = &[
            "enum",
            "pattern",
            "maxLength",
            "minLength",
            "maxItems",
            "minItems",
            "uniqueItems",
            "maxProperties",
            "minProperties",
            "maximum",
            "minimum",
            "multipleOf",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ];
        if !NAMES.iter().any(|name| schema.get(name).is_some()) {
            return None;
        }
        let count = |name: &str| schema.get(name).and_then(Value::as_u64);
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
        let bound = |name: &str, exclusive: &str| {
            schema
                .get(name)
                .and_then(Value::as_f64)
                .map(|bound| (bound, flag(exclusive)))
        };
        // With `x-kubernetes-int-or-string` an `anyOf` of the two types is a formality.
        let formality = flag("x-kubernetes-int-or-string");
        let mut several = |name: &str| -> Vec<NodeId> {
            let list = schema
                .get(name)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            list.iter().map(|one| self.node(one, None)).collect()
        };
        let all_of = several("allOf");
        let any_of = if formality {
            Vec::new()
        } else {
            several("anyOf")
        };
        let one_of = several("oneOf");
        let not = schema.get("not").map(|not| self.node(not, None));
        Some(Limits {
            enumeration: schema
                .get("enum")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
            pattern: schema
                .get("pattern")
                .and_then(Value::as_str)
                .and_then(|pattern| {
                    regex::Regex::new(pattern)
                        .ok()
                        .map(|regex| (pattern.to_owned(), regex))
                }),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            max_items: count("maxItems"),
            min_items: count("minItems"),
            unique_items: flag("uniqueItems"),
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            maximum: bound("maximum", "exclusiveMaximum"),
            minimum: bound("minimum", "exclusiveMinimum"),
            multiple_of: schema.get("multipleOf").and_then(Value::as_f64),
            all_of,
            any_of,
            one_of,
            not,
        })
    }
}

/// The definition that a schema refers to, directly or through a lone `allOf`.
fn referenced(schema: &Value) -> Option<&str> {
    let direct = schema.get("$ref").and_then(Value::as_str);
    let reference = direct.or_else(|| {
        let list = schema.get("allOf")?.as_array()?;
        if list.len() == 1 {
            list[0].get("$ref")?.as_str()
        } else {
            None
        }
    })?;
    reference.rsplit('/').next()
}

fn type_of(schema: &Value, definition: Option<&str>) -> Type {
    match definition {
        Some("Quantity") => return Type::Quantity,
        // Raw JSON, whatever the generated types call it.
        Some(
            "JSON"
            | "JSONSchemaPropsOrArray"
            | "JSONSchemaPropsOrBool"
            | "JSONSchemaPropsOrStringArray"
            | "RawExtension"
            | "FieldsV1",
        ) => return Type::Any,
        _ => {}
    }
    // Its schema says object, its values are anything: the defaults and enumerations of definitions.
    if definition == Some("JSON") {
        return Type::Any;
    }
    if schema
        .get("x-kubernetes-int-or-string")
        .and_then(Value::as_bool)
        == Some(true)
    {
        return Type::IntOrString;
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => Type::Object,
        Some("array") => Type::Array,
        Some("string") => Type::String,
        Some("integer") => Type::Integer,
        Some("number") => Type::Number,
        Some("boolean") => Type::Boolean,
        _ => Type::Any,
    }
}

fn list_kind(schema: &Value) -> ListKind {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListKind::Set,
        Some("map") => ListKind::Map(
            schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        ),
        _ => ListKind::Atomic,
    }
}
