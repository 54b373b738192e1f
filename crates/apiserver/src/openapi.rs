//! OpenAPI documents: as much as kubectl needs to validate on the server, to compute patches and to
//! explain fields.

use std::collections::BTreeSet;

use ::http::StatusCode;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    discovery::group_version,
    error::{ApiError, Result},
    object,
    route::Answer,
    schema,
    store::{Key, Route, State},
};

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A version 2 document that says nothing, in the one encoding in which kubectl asks for it: swagger,
/// info, paths. It asks only for kinds that the version 3 documents lack, so there is nothing to say.
const EMPTY_V2: &[u8] = b"\x0a\x032.0\x12\x13\x0a\x0aKubernetes\x12\x05empty\x42\x00";

/// Answer below `/openapi`.
pub(crate) fn answer(state: &State, rest: &[&str], accept: &str) -> Result<Answer> {
    let value = match rest {
        ["v2"] => {
            if accept.contains("+protobuf") {
                return Ok(Answer::Typed(PROTOBUF, Bytes::from_static(EMPTY_V2)));
            }
            json!({
                "swagger": "2.0", "info": info(), "paths": {},
                "definitions": {},
            })
        }
        ["v3"] => index(state),
        ["v3", "api", version] => document(state, "", version)?,
        ["v3", "apis", group, version] => document(state, group, version)?,
        _ => return Err(ApiError::no_such_path()),
    };
    Ok(Answer::Bytes(
        StatusCode::OK,
        Bytes::from(value.to_string()),
        Vec::new(),
    ))
}

fn info() -> Value {
    json!({"title": "Kubernetes, in memory", "version": "unversioned"})
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

fn index(state: &State) -> Value {
    let mut paths = Map::new();
    for ((group, version, _), route) in &state.routes {
        let path = path_of(group, version);
        // Clients cache a document for ever under its hash.
        let hash = if route.shown.builtin {
            0
        } else {
            definition_revision(state, group)
        };
        paths.insert(
            path.clone(),
            json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash:016X}")}),
        );
    }
    json!({"paths": paths})
}

/// The revision of the group's definition that changed last.
fn definition_revision(state: &State, group: &str) -> u64 {
    let id = state.builtin("apiextensions.k8s.io", "CustomResourceDefinition");
    let suffix = format!(".{group}");
    state
        .collection(id)
        .list(&crate::select::Filter::default(), None)
        .filter(|stored| stored.meta.key.name.ends_with(&suffix))
        .map(|stored| stored.meta.revision)
        .max()
        .unwrap_or(0)
}

fn document(state: &State, group: &str, version: &str) -> Result<Value> {
    let routes: Vec<&Route> = state
        .routes
        .iter()
        .filter(|((of, at, _), _)| of == group && at == version)
        .map(|(_, route)| route)
        .collect();
    if routes.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let (definitions, roots) = schema::definitions();
    let mut paths = Map::new();
    let mut schemas = Map::new();
    let mut wanted = Vec::new();
    for route in routes {
        let kind = &route.shown;
        let gvk = json!([{"group": group, "version": version, "kind": kind.kind}]);
        let root = roots.get(&(kind.group.clone(), kind.kind.clone()));
        let name = root
            .cloned()
            .unwrap_or_else(|| custom_name(group, version, &kind.kind));
        if root.is_some() {
            wanted.push(name.clone());
            if let Some(definition) = definitions.get(&name) {
                let mut definition = definition.clone();
                definition["x-kubernetes-group-version-kind"] = gvk.clone();
                schemas.insert(name.clone(), definition);
            }
        } else {
            let mut custom = custom_schema(state, route, version);
            custom["x-kubernetes-group-version-kind"] = gvk.clone();
            schemas.insert(name.clone(), custom);
            wanted.push(METADATA.to_owned());
        }
        for (path, item) in path_items(route, group, version, &name, &gvk) {
            paths.insert(path, item);
        }
    }
    add_reachable(&definitions, wanted, &mut schemas);
    Ok(json!({
        "openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": schemas},
    }))
}

const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// `com.example.v1.Widget`.
fn custom_name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

fn custom_schema(state: &State, route: &Route, version: &str) -> Value {
    let id = state.builtin("apiextensions.k8s.io", "CustomResourceDefinition");
    let declared = state
        .get(id, &Key::new("", &route.shown.qualified()))
        .map(crate::store::Stored::value)
        .and_then(|definition| {
            let versions = object::at(&definition, &["spec", "versions"])?
                .as_array()?
                .clone();
            versions
                .into_iter()
                .find(|one| one.get("name") == Some(&json!(version)))
        })
        .and_then(|version| object::at(&version, &["schema", "openAPIV3Schema"]).cloned());
    let mut schema = declared.unwrap_or_else(|| json!({"type": "object"}));
    let properties = object::child_mut(&mut schema, "properties");
    for (name, otherwise) in [
        ("apiVersion", json!({"type": "string"})),
        ("kind", json!({"type": "string"})),
    ] {
        properties.entry(name).or_insert(otherwise);
    }
    properties.insert(
        "metadata".to_owned(),
        json!({"allOf": [{"$ref": format!("#/components/schemas/{METADATA}")}]}),
    );
    schema
}

/// The item path with the one operation that clients look into: PATCH and its parameters.
fn path_items(
    route: &Route,
    group: &str,
    version: &str,
    name: &str,
    gvk: &Value,
) -> Vec<(String, Value)> {
    let kind = &route.shown;
    let base = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{}", group_version(group, version))
    };
    let scope = if kind.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("{base}{scope}/{}", kind.plural);
    let parameter = |name: &str, what: &str| {
        json!({"name": name, "in": "query", "description": what,
            "schema": {"type": "string", "uniqueItems": true}})
    };
    let parameters = json!([
        parameter("dryRun", "All: nothing is stored"),
        parameter("fieldManager", "who changes the object"),
        parameter(
            "fieldValidation",
            "what unknown fields lead to: Ignore, Warn or Strict"
        ),
    ]);
    let reference = json!({"$ref": format!("#/components/schemas/{name}")});
    let ok = json!({"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}});
    let mut content = json!({
        "application/json-patch+json": {"schema": {"type": "array"}},
        "application/merge-patch+json": {"schema": {"type": "object"}},
        "application/apply-patch+yaml": {"schema": {"type": "object"}},
    });
    if kind.builtin {
        content["application/strategic-merge-patch+json"] = json!({"schema": {"type": "object"}});
    }
    let operation = |action: &str, body: Option<&Value>| {
        let mut operation = json!({
            "parameters": parameters, "responses": ok,
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk[0],
        });
        if let Some(content) = body {
            operation["requestBody"] = json!({"required": true, "content": content});
        }
        operation
    };
    let whole = json!({"application/json": {"schema": reference}});
    vec![
        (
            collection.clone(),
            json!({"get": operation("list", None), "post": operation("post", Some(&whole))}),
        ),
        (
            format!("{collection}/{{name}}"),
            json!({
                "get": operation("get", None), "put": operation("put", Some(&whole)),
                "patch": operation("patch", Some(&content)), "delete": operation("delete", None),
            }),
        ),
    ]
}

/// Add every definition that the wanted ones refer to.
fn add_reachable(
    definitions: &Map<String, Value>,
    wanted: Vec<String>,
    schemas: &mut Map<String, Value>,
) {
    let mut queue = wanted;
    let mut seen = BTreeSet::new();
    while let Some(name) = queue.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        if let Some(definition) = definitions.get(&name) {
            collect_references(definition, &mut queue);
            schemas.entry(name).or_insert_with(|| definition.clone());
        }
    }
}

fn collect_references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(name) = fields
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| reference.strip_prefix("#/components/schemas/"))
            {
                found.push(name.to_owned());
            }
            fields
                .values()
                .for_each(|value| collect_references(value, found));
        }
        Value::Array(list) => list
            .iter()
            .for_each(|value| collect_references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
