//! Verdicts and defaults as the API server gives them.

use serde_json::{Value, json};

use super::validate_offline;

fn definition(spec: &Value) -> Value {
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {
                    "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                    "metadata": {"type": "object"}, "spec": spec}}}}],
        },
    })
}

fn widget(spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})
}

/// The errors, one per line.
#[track_caller]
fn refuse(schema: Value, spec: Value, expected: &[&str]) {
    let found: Vec<String> = match validate_offline(&definition(&schema), &widget(&spec)) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, expected, "{schema} {spec}");
}

#[track_caller]
fn accept(schema: Value, spec: Value, stored: Value, unknown: &[&str]) {
    let object = validate_offline(&definition(&schema), &widget(&spec)).unwrap();
    assert_eq!(object.value["spec"], stored);
    assert_eq!(object.unknown_fields, unknown);
}

fn one(field: Value) -> Value {
    json!({"type": "object", "properties": {"x": field}})
}

#[test]
fn values() {
    let check = |field: Value, value: Value, expected: &str| {
        refuse(one(field), json!({"x": value}), &[expected]);
    };
    check(
        json!({"type": "integer"}),
        json!("5"),
        "spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\"",
    );
    check(
        json!({"type": "string", "pattern": "^a+$"}),
        json!("b"),
        "spec.x: Invalid value: \"b\": spec.x in body should match '^a+$'",
    );
    check(
        json!({"type": "string", "enum": ["a", "b"]}),
        json!("c"),
        "spec.x: Unsupported value: \"c\": supported values: \"a\", \"b\"",
    );
    check(
        json!({"type": "string", "minLength": 2}),
        json!("c"),
        "spec.x: Invalid value: \"c\": spec.x in body should be at least 2 chars long",
    );
    check(
        json!({"type": "string", "maxLength": 2}),
        json!("ccc"),
        "spec.x: Too long: may not be more than 2 bytes",
    );
    check(
        json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
        json!(["a", "b"]),
        "spec.x: Too many: 2: must have at most 1 items",
    );
    check(
        json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
        json!([]),
        "spec.x: Invalid value: 0: spec.x in body should have at least 1 items",
    );
    check(
        json!({"type": "integer", "minimum": 1}),
        json!(0),
        "spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1",
    );
    check(
        json!({"type": "integer", "maximum": 100}),
        json!(101),
        "spec.x: Invalid value: 101: spec.x in body should be less than or equal to 100",
    );
    check(
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
        json!(["a", "a"]),
        "spec.x[1]: Duplicate value: \"a\"",
    );
    check(
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
            "items": {"type": "object", "properties": {"n": {"type": "string"}, "v": {"type": "integer"}}}}),
        json!([{"n": "a", "v": 1}, {"n": "a", "v": 2}]),
        "spec.x[1]: Duplicate value: {\"n\":\"a\"}",
    );
    check(
        json!({"type": "string", "format": "date-time"}),
        json!("soon"),
        "spec.x: Invalid value: \"soon\": spec.x in body must be of type date-time: \"soon\"",
    );
    check(
        json!({"type": "array", "items": {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}}}),
        json!([{}]),
        "spec.x[0].key: Required value",
    );
    check(
        json!({"anyOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}),
        json!({}),
        "spec.x: Invalid value: \"\": spec.x in body must validate at least one schema (anyOf)",
    );
    let int_or_string = json!({"anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": "^[0-9]+%?$", "x-kubernetes-int-or-string": true});
    accept(
        one(int_or_string.clone()),
        json!({"x": 5}),
        json!({"x": 5}),
        &[],
    );
    accept(
        one(int_or_string.clone()),
        json!({"x": "5%"}),
        json!({"x": "5%"}),
        &[],
    );
    check(
        int_or_string,
        json!("x"),
        "spec.x: Invalid value: \"x\": spec.x in body should match '^[0-9]+%?$'",
    );
}

#[test]
fn pruning_and_defaults() {
    accept(
        one(json!({"type": "string"})),
        json!({"y": 1, "x": "a"}),
        json!({"x": "a"}),
        &["spec.y"],
    );
    accept(
        one(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
        json!({"x": {"y": 1}}),
        json!({"x": {"y": 1}}),
        &[],
    );
    accept(
        one(json!({"type": "string", "default": "d"})),
        json!({}),
        json!({"x": "d"}),
        &[],
    );
    accept(
        one(json!({"type": "string", "default": "d"})),
        json!({"x": null}),
        json!({"x": "d"}),
        &[],
    );
    accept(
        one(json!({"type": "string"})),
        json!({"x": null}),
        json!({}),
        &[],
    );
    accept(
        one(json!({"type": "string", "nullable": true, "default": "d"})),
        json!({"x": null}),
        json!({"x": null}),
        &[],
    );
    accept(
        one(
            json!({"type": "object", "default": {}, "properties": {"z": {"type": "integer", "default": 3}}}),
        ),
        json!({}),
        json!({"x": {"z": 3}}),
        &[],
    );
    accept(
        one(json!({"type": "object", "additionalProperties": {"type": "string"}})),
        json!({"x": {"any": "thing"}}),
        json!({"x": {"any": "thing"}}),
        &[],
    );
}

#[test]
fn rules() {
    let ruled = |rule: Value| {
        json!({"type": "object", "x-kubernetes-validations": [rule],
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "maximum": 10}}})
    };
    let plain = ruled(json!({"rule": "self.a <= self.b", "message": "a must not pass b"}));
    accept(
        plain.clone(),
        json!({"a": 1, "b": 2}),
        json!({"a": 1, "b": 2}),
        &[],
    );
    refuse(
        plain.clone(),
        json!({"a": 3, "b": 2}),
        &["spec: Invalid value: a must not pass b"],
    );
    refuse(
        plain,
        json!({"a": "3", "b": 2}),
        &[
            "spec.a: Invalid value: \"string\": spec.a in body must be of type integer: \"string\"",
            "Invalid value: null: some validation rules were not checked because the object was \
             invalid; correct the existing errors to complete validation",
        ],
    );
    refuse(
        ruled(
            json!({"rule": "self.a <= self.b", "message": "no", "reason": "FieldValueForbidden", "fieldPath": ".a"}),
        ),
        json!({"a": 3, "b": 2}),
        &["spec.a: Forbidden: no"],
    );
    refuse(
        json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "string",
            "x-kubernetes-validations": [{"rule": "self != 'bad'", "message": "is bad"}]}}}}),
        json!({"list": ["fine", "bad"]}),
        &["spec.list[1]: Invalid value: \"bad\": is bad"],
    );
}

#[test]
fn names_and_labels() {
    let schema = definition(&one(json!({"type": "string"})));
    let check = |metadata: Value, expected: &str| {
        let object = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {}});
        let errors = validate_offline(&schema, &object).unwrap_err();
        assert!(errors[0].to_string().starts_with(expected), "{errors:?}");
    };
    check(json!({}), "metadata.name: Required value");
    check(
        json!({"name": "Upper"}),
        "metadata.name: Invalid value: \"Upper\": a lowercase RFC 1123",
    );
    check(
        json!({"name": "w", "labels": {"a b": "c"}}),
        "metadata.labels: Invalid value: \"a b\": name part must consist of",
    );
    check(
        json!({"name": "w", "finalizers": ["a b"]}),
        "metadata.finalizers: Invalid value: \"a b\": name part must consist of",
    );
}
