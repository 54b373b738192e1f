//! Tables for `kubectl get`: the columns people know, and those that definitions declare.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    age, cells, convert,
    jsonpath::JsonPath,
    kinds::Kind,
    object,
    shape::{Include, TableOptions, metadata_only},
    store::{Route, Stored},
};

/// How a cell of a built-in kind is made.
pub(crate) type Cell = fn(&Value, Timestamp) -> Value;

/// A column: name, type, priority (0 is always shown) and its cells.
pub(crate) type Column = (&'static str, &'static str, u8, Cell);

/// A column ready to print.
struct Printed {
    definition: Value,
    source: Source,
}

enum Source {
    Builtin(Cell),
    Path {
        path: Option<JsonPath>,
        kind: String,
    },
}

/// Objects as the rows of a table.
pub(crate) fn render(
    route: &Route,
    items: &[&Stored],
    metadata: Value,
    options: &TableOptions,
) -> Bytes {
    let columns = columns(route);
    let rows: Vec<Value> = items
        .iter()
        .map(|stored| {
            let value = stored.value();
            let cells: Vec<Value> = columns
                .iter()
                .map(|column| cell(&column.source, &value, options.now))
                .collect();
            let mut row = json!({"cells": cells});
            match options.include {
                Include::None => {}
                Include::Metadata => row["object"] = metadata_only(&value),
                Include::Object => row["object"] = convert::shown(route, value),
            }
            row
        })
        .collect();
    let definitions: Vec<Value> = columns
        .into_iter()
        .map(|column| column.definition)
        .collect();
    let mut table = json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "columnDefinitions": definitions, "rows": rows,
    });
    table["metadata"] = metadata;
    Bytes::from(table.to_string())
}

fn columns(route: &Route) -> Vec<Printed> {
    let kind = &route.shown;
    let mut columns = vec![Printed {
        definition: json!({
            "name": "Name", "type": "string", "format": "name", "priority": 0,
            "description": "Name of the object, unique within its namespace.",
        }),
        source: Source::Builtin(cells::name),
    }];
    if kind.builtin {
        let table = cells::columns(kind);
        columns.extend(
            table
                .iter()
                .map(|(name, type_name, priority, cell)| Printed {
                    definition: json!({
                        "name": name, "type": type_name, "format": "", "priority": priority,
                        "description": "",
                    }),
                    source: Source::Builtin(*cell),
                }),
        );
        return columns;
    }
    columns.extend(declared(kind, route.version));
    columns
}

fn declared(kind: &Kind, version: usize) -> Vec<Printed> {
    let age = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
    let own = &kind.versions[version].columns;
    let columns = if own.is_empty() {
        std::slice::from_ref(&age)
    } else {
        own.as_slice()
    };
    columns
        .iter()
        .map(|column| {
            let text = |name: &str| column.get(name).and_then(Value::as_str).unwrap_or_default();
            Printed {
                definition: json!({
                    "name": text("name"), "type": text("type"), "format": text("format"),
                    "description": text("description"),
                    "priority": column.get("priority").and_then(Value::as_i64).unwrap_or(0),
                }),
                source: Source::Path {
                    path: JsonPath::parse(text("jsonPath")),
                    kind: text("type").to_owned(),
                },
            }
        })
        .collect()
}

fn cell(source: &Source, value: &Value, now: Timestamp) -> Value {
    let (path, kind) = match source {
        Source::Builtin(cell) => return cell(value, now),
        Source::Path { path, kind } => (path, kind),
    };
    let Some(found) = path
        .as_ref()
        .and_then(|path| path.find(value).first().copied())
    else {
        return Value::Null;
    };
    match kind.as_str() {
        "date" => json!(age::since(found.as_str(), now)),
        "integer" | "number" | "boolean" => found.clone(),
        _ => json!(object::scalar(found).unwrap_or_else(|| found.to_string())),
    }
}
