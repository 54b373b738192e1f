//! The cases: read from their file, shorthands written out.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const FILE: &str = include_str!("../../verdicts/cases.yaml");

/// One question to a server.
#[derive(Clone, Debug)]
pub struct Case {
    /// Group and name.
    pub name: String,
    /// How it is asked.
    pub verb: Verb,
    /// The object to create.
    pub object: Value,
    /// What to change in it then: for the verbs that change.
    pub patch: Option<Value>,
}

/// How a case is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// The object is created.
    #[default]
    Create,
    /// The object is created, unknown fields being faults.
    Strict,
    /// The object is created, then changed.
    Update,
    /// The object is created, then its status is changed.
    Status,
}

#[derive(Deserialize)]
struct Group {
    #[serde(rename = "group")]
    name: String,
    base: String,
    #[serde(default)]
    verb: Verb,
    at: String,
    #[serde(default)]
    with: Value,
    cases: BTreeMap<String, Value>,
}

/// All cases, each with an object name of its own unless it is about the name.
pub fn cases() -> Result<Vec<Case>> {
    let groups: Vec<Group> = serde_saphyr::from_str(FILE).context("cases.yaml")?;
    let mut cases = Vec::new();
    for group in groups {
        let path: Vec<&str> = group
            .at
            .split('.')
            .filter(|part| !part.is_empty())
            .collect();
        for (name, value) in &group.cases {
            let mut object = base(&group.base)?;
            object["metadata"]["name"] = json!(format!("case-{}", cases.len()));
            let with = if path.is_empty() { "" } else { path[0] };
            if !group.with.is_null() {
                lay(&mut object, &nested(&[with], group.with.clone()));
            }
            let value = nested(&path, written_out(value)?);
            let patch = match group.verb {
                Verb::Create | Verb::Strict => {
                    lay(&mut object, &value);
                    None
                }
                Verb::Update | Verb::Status => Some(value),
            };
            cases.push(Case {
                name: format!("{}/{name}", group.name),
                verb: group.verb,
                object,
                patch,
            });
        }
    }
    Ok(cases)
}

fn base(name: &str) -> Result<Value> {
    let class = json!({"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"});
    let specification = json!({"nodeClassRef": class, "requirements": []});
    Ok(match name {
        "pool" => json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {},
            "spec": {"template": {"spec": specification}},
        }),
        "claim" => json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {},
            "spec": specification,
        }),
        "class" => json!({
            "apiVersion": "karpenter.kwok.sh/v1alpha1", "kind": "KWOKNodeClass", "metadata": {},
        }),
        other => bail!("cases.yaml: no base {other:?}"),
    })
}

/// A value below a path, whose numbers are places in lists.
fn nested(path: &[&str], value: Value) -> Value {
    path.iter().rev().fold(value, |value, part| {
        if part.parse::<usize>().is_ok() {
            json!([value])
        } else {
            json!({*part: value})
        }
    })
}

/// Lays a value over another one: objects field by field, everything else whole. Null is a value.
fn lay(under: &mut Value, over: &Value) {
    let (Value::Object(fields), true) = (over, under.is_object()) else {
        *under = over.clone();
        return;
    };
    for (name, value) in fields {
        if value == "$absent" {
            under.as_object_mut().map(|object| object.remove(name));
        } else {
            lay(&mut under[name.as_str()], value);
        }
    }
}

/// Writes the shorthands out.
fn written_out(value: &Value) -> Result<Value> {
    Ok(match value {
        Value::Object(fields) => {
            if let Some(length) = fields.get("$long").and_then(Value::as_u64) {
                return Ok(json!("a".repeat(usize::try_from(length)?)));
            }
            if let (Some(times), Some(of)) = (
                fields.get("$times").and_then(Value::as_u64),
                fields.get("$of"),
            ) {
                let text = of.to_string();
                let items: Vec<Value> = (0..times)
                    .map(|index| serde_json::from_str(&text.replace('#', &index.to_string())))
                    .collect::<Result<_, _>>()?;
                return Ok(Value::Array(items));
            }
            let fields: Map<String, Value> = fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), written_out(value)?)))
                .collect::<Result<_>>()?;
            Value::Object(fields)
        }
        Value::Array(items) => items.iter().map(written_out).collect::<Result<_>>()?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_hundreds_and_no_two_are_named_alike() {
        let cases = cases().unwrap();
        let names: BTreeSet<&String> = cases.iter().map(|case| &case.name).collect();
        assert_eq!(names.len(), cases.len());
        assert!(cases.len() >= 200, "{}", cases.len());
    }

    #[test]
    fn shorthands_are_written_out() {
        let value = json!({"a": {"$times": 2, "$of": {"k": "x#"}}, "b": [{"$long": 3}]});
        let expected = json!({"a": [{"k": "x0"}, {"k": "x1"}], "b": ["aaa"]});
        assert_eq!(written_out(&value).unwrap(), expected);
    }

    #[test]
    fn null_is_laid_and_absent_takes_away() {
        let mut object = json!({"a": {"b": 1, "c": 2}});
        lay(
            &mut object,
            &json!({"a": {"b": null, "c": "$absent", "d": {"e": 1}}}),
        );
        assert_eq!(object, json!({"a": {"b": null, "d": {"e": 1}}}));
    }
}
