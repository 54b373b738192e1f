//! The JSONPath of printer columns: fields, indices, wildcards and simple filters.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

use crate::object::scalar;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    /// Negative counts from the end.
    Index(i64),
    Every,
    Filter {
        path: Vec<Step>,
        operator: Option<String>,
        literal: String,
    },
}

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<Step>);

impl JsonPath {
    /// `.status.conditions[?(@.type=="Ready")].status`, with or without braces around it.
    pub(crate) fn parse(text: &str) -> Option<JsonPath> {
        let text = text.trim();
        let bare = text
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .unwrap_or(text);
        steps(bare.strip_prefix('$').unwrap_or(bare)).map(JsonPath)
    }

    /// Everything the path leads to.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        find(&self.0, value)
    }
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.peek() {
        match next {
            '.' => {
                rest.next();
                if rest.peek() == Some(&'*') {
                    rest.next();
                    steps.push(Step::Every);
                } else if rest.peek().is_some_and(|next| *next != '[') {
                    steps.push(Step::Field(field(&mut rest)));
                }
            }
            '[' => {
                rest.next();
                steps.push(bracket(&inside(&mut rest)?)?);
            }
            _ => steps.push(Step::Field(field(&mut rest))),
        }
    }
    Some(steps)
}

/// A name up to the next dot or bracket; a backslash keeps the next character.
fn field(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut name = String::new();
    while let Some(next) = rest.peek().copied() {
        match next {
            '.' | '[' => break,
            '\\' => {
                rest.next();
                name.extend(rest.next());
            }
            _ => {
                name.push(next);
                rest.next();
            }
        }
    }
    name
}

/// What stands between a bracket and its partner, quotes respected.
fn inside(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let (mut text, mut depth, mut quote) = (String::new(), 0, None);
    for next in rest.by_ref() {
        match (next, quote) {
            (']', None) if depth == 0 => return Some(text),
            ('[', None) => depth += 1,
            (']', None) => depth -= 1,
            ('"' | '\'', None) => quote = Some(next),
            (other, Some(open)) if other == open => quote = None,
            _ => {}
        }
        text.push(next);
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    let text = text.trim();
    if text == "*" || text == ":" {
        return Some(Step::Every);
    }
    if let Some(condition) = text
        .strip_prefix("?(")
        .and_then(|text| text.strip_suffix(')'))
    {
        return filter(condition);
    }
    if let Some(name) = unquoted(text) {
        return Some(Step::Field(name.to_owned()));
    }
    text.parse().ok().map(Step::Index)
}

fn unquoted(text: &str) -> Option<&str> {
    ['"', '\'']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}

fn filter(condition: &str) -> Option<Step> {
    let condition = condition.trim();
    for operator in ["==", "!=", "<=", ">=", "<", ">"] {
        if let Some((left, right)) = condition.split_once(operator) {
            let right = right.trim();
            return Some(Step::Filter {
                path: steps(left.trim().strip_prefix('@')?)?,
                operator: Some(operator.to_owned()),
                literal: unquoted(right).unwrap_or(right).to_owned(),
            });
        }
    }
    Some(Step::Filter {
        path: steps(condition.strip_prefix('@')?)?,
        operator: None,
        literal: String::new(),
    })
}

fn find<'a>(steps: &[Step], value: &'a Value) -> Vec<&'a Value> {
    let Some((first, rest)) = steps.split_first() else {
        return vec![value];
    };
    let next: Vec<&'a Value> = match (first, value) {
        (Step::Field(name), Value::Object(fields)) => fields.get(name).into_iter().collect(),
        (Step::Index(index), Value::Array(list)) => {
            let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let at = if *index < 0 { length + index } else { *index };
            usize::try_from(at)
                .ok()
                .and_then(|at| list.get(at))
                .into_iter()
                .collect()
        }
        (Step::Every, Value::Array(list)) => list.iter().collect(),
        (Step::Every, Value::Object(fields)) => fields.values().collect(),
        (
            Step::Filter {
                path,
                operator,
                literal,
            },
            Value::Array(list),
        ) => list
            .iter()
            .filter(|item| {
                find(path, item)
                    .first()
                    .is_some_and(|found| compare(found, operator.as_deref(), literal))
            })
            .collect(),
        _ => Vec::new(),
    };
    next.into_iter()
        .flat_map(|value| find(rest, value))
        .collect()
}

fn compare(found: &Value, operator: Option<&str>, literal: &str) -> bool {
    let Some(operator) = operator else {
        return true;
    };
    let Some(text) = scalar(found) else {
        return false;
    };
    let order = match (text.parse::<f64>(), literal.parse::<f64>()) {
        (Ok(left), Ok(right)) => left.partial_cmp(&right),
        _ => Some(text.as_str().cmp(literal)),
    };
    let Some(order) = order else { return false };
    match operator {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<=" => order.is_le(),
        ">=" => order.is_ge(),
        "<" => order.is_lt(),
        _ => order.is_gt(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths() {
        let value = json!({
            "metadata": {"labels": {"karpenter.sh/nodepool": "default"}},
            "spec": {"list": [{"n": 1}, {"n": 2}], "a": {"b": true}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Drifted", "status": "False"}]},
        });
        let check = |path: &str, expected: Value| {
            let found: Vec<Value> = JsonPath::parse(path)
                .unwrap()
                .find(&value)
                .into_iter()
                .cloned()
                .collect();
            assert_eq!(Value::Array(found), expected, "{path}");
        };
        check(".spec.a.b", json!([true]));
        check("{.spec.a.b}", json!([true]));
        check(
            r".metadata.labels.karpenter\.sh/nodepool",
            json!(["default"]),
        );
        check(
            ".metadata.labels['karpenter.sh/nodepool']",
            json!(["default"]),
        );
        check(
            r#".status.conditions[?(@.type=="Ready")].status"#,
            json!(["True"]),
        );
        check(
            ".status.conditions[?(@.type=='Drifted')].status",
            json!(["False"]),
        );
        check(".status.conditions[?(@.type=='None')].status", json!([]));
        check(".spec.list[*].n", json!([1, 2]));
        check(".spec.list[?(@.n>1)].n", json!([2]));
        check(".spec.list[-1].n", json!([2]));
        check(".spec.missing.deep", json!([]));
        assert_eq!(JsonPath::parse(".a[0"), None);
    }
}
