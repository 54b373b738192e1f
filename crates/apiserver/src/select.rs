//! Label and field selectors: parsing, and the question whether an object is meant.

use serde_json::Value;

use crate::{
    error::{ApiError, Result},
    kinds::Kind,
    store::Meta,
};

/// What one label must satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

/// A conjunction of requirements on labels; empty means everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<(String, Condition)>);

impl LabelSelector {
    /// The query form: `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
    pub(crate) fn parse(text: &str) -> Result<LabelSelector> {
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if !part.is_empty() {
                requirements.push(parse_requirement(part).ok_or_else(|| {
                    ApiError::bad_request(format!("unable to parse requirement: {part}"))
                })?);
            }
        }
        Ok(LabelSelector(requirements))
    }

    /// The object form: `matchLabels` and `matchExpressions`.
    pub(crate) fn from_object(selector: &Value) -> LabelSelector {
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in labels {
                let wanted = value.as_str().unwrap_or_default().to_owned();
                requirements.push((key.clone(), Condition::In(vec![wanted])));
            }
        }
        for expression in selector
            .get("matchExpressions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let key = expression
                .get("key")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let values: Vec<String> = expression
                .get("values")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            let condition = match expression.get("operator").and_then(Value::as_str) {
                Some("NotIn") => Condition::NotIn(values),
                Some("Exists") => Condition::Exists,
                Some("DoesNotExist") => Condition::Absent,
                _ => Condition::In(values),
            };
            requirements.push((key, condition));
        }
        LabelSelector(requirements)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, labels: &[(Box<str>, Box<str>)]) -> bool {
        self.0.iter().all(|(key, condition)| {
            let found = labels
                .binary_search_by(|(label, _)| (**label).cmp(key.as_str()))
                .ok()
                .map(|at| &*labels[at].1);
            match condition {
                Condition::In(values) => found.is_some_and(|v| values.iter().any(|w| w == v)),
                Condition::NotIn(values) => found.is_none_or(|v| values.iter().all(|w| w != v)),
                Condition::Exists => found.is_some(),
                Condition::Absent => found.is_none(),
                Condition::Greater(bound) => number(found).is_some_and(|v| v > *bound),
                Condition::Less(bound) => number(found).is_some_and(|v| v < *bound),
            }
        })
    }
}

fn number(text: Option<&str>) -> Option<i64> {
    text?.parse().ok()
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_requirement(part: &str) -> Option<(String, Condition)> {
    let key = |text: &str| {
        let text = text.trim();
        let fine = !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
        fine.then(|| text.to_owned())
    };
    if let Some(rest) = part.strip_prefix('!') {
        return Some((key(rest)?, Condition::Absent));
    }
    if let Some((left, right)) = part.split_once("!=") {
        return Some((key(left)?, Condition::NotIn(vec![right.trim().to_owned()])));
    }
    if let Some((left, right)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some((key(left)?, Condition::In(vec![right.trim().to_owned()])));
    }
    if let Some((left, right)) = part.split_once('>') {
        return Some((key(left)?, Condition::Greater(right.trim().parse().ok()?)));
    }
    if let Some((left, right)) = part.split_once('<') {
        return Some((key(left)?, Condition::Less(right.trim().parse().ok()?)));
    }
    if let Some((left, list)) = part.split_once('(') {
        let values: Vec<String> = list
            .strip_suffix(')')?
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let (name, operator) = left.trim().rsplit_once(char::is_whitespace)?;
        return match operator {
            "in" => Some((key(name)?, Condition::In(values))),
            "notin" => Some((key(name)?, Condition::NotIn(values))),
            _ => None,
        };
    }
    Some((key(part)?, Condition::Exists))
}

/// The fields a selector compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
    /// An index into `Kind::fields`.
    Declared(u8),
}

/// A conjunction of equalities over selectable fields; empty means everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<(Field, bool, String)>);

impl FieldSelector {
    pub(crate) fn parse(text: &str, kind: &Kind) -> Result<FieldSelector> {
        let mut terms = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (label, equal, value) = if let Some((label, value)) = part.split_once("!=") {
                (label, false, value)
            } else if let Some((label, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (label, true, value)
            } else {
                return Err(ApiError::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            let field = match label.trim() {
                "metadata.name" => Field::Name,
                "metadata.namespace" => Field::Namespace,
                other => kind
                    .fields
                    .iter()
                    .position(|field| field.label == other)
                    .and_then(|index| u8::try_from(index).ok())
                    .map(Field::Declared)
                    .ok_or_else(|| {
                        ApiError::bad_request(format!("field label not supported: {other}"))
                    })?,
            };
            terms.push((field, equal, value.trim().to_owned()));
        }
        Ok(FieldSelector(terms))
    }

    /// Only the object of this name.
    pub(crate) fn named(name: &str) -> FieldSelector {
        FieldSelector(vec![(Field::Name, true, name.to_owned())])
    }

    pub(crate) fn and(mut self, other: FieldSelector) -> FieldSelector {
        self.0.extend(other.0);
        self
    }

    /// The node that every matching pod must be on, so that a list can use the index.
    pub(crate) fn wanted(&self, index: u8) -> Option<&str> {
        self.0
            .iter()
            .find(|(field, equal, _)| *equal && *field == Field::Declared(index))
            .map(|(_, _, value)| value.as_str())
    }

    /// The name that every matching object must have.
    pub(crate) fn wanted_name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|(field, equal, _)| *equal && *field == Field::Name)
            .map(|(_, _, value)| value.as_str())
    }

    pub(crate) fn matches(&self, meta: &Meta) -> bool {
        self.0.iter().all(|(field, equal, wanted)| {
            let found = match field {
                Field::Name => &*meta.key.name,
                Field::Namespace => &*meta.key.namespace,
                Field::Declared(index) => meta.field(*index),
            };
            (found == wanted) == *equal
        })
    }
}

/// Both selectors and a namespace: which objects a list or watch is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Absent means every namespace.
    pub(crate) namespace: Option<String>,
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Filter {
    pub(crate) fn matches(&self, meta: &Meta) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|namespace| namespace == &*meta.key.namespace)
            && self.labels.matches(&meta.labels)
            && self.fields.matches(meta)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors() {
        let labels: Vec<(Box<str>, Box<str>)> = [("app", "web"), ("n", "5"), ("tier", "front")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        let check = |text: &str, expected: bool| {
            assert_eq!(
                LabelSelector::parse(text).unwrap().matches(&labels),
                expected,
                "{text}"
            );
        };
        check("", true);
        check("app=web", true);
        check("app==web,tier=front", true);
        check("app=api", false);
        check("app!=web", false);
        check("other!=web", true);
        check("app in (api, web),tier", true);
        check("app notin (api,web)", false);
        check("missing notin (a)", true);
        check("!missing", true);
        check("!app", false);
        check("n>4", true);
        check("n<5", false);
        assert!(LabelSelector::parse("a b c").is_err());
        let object = json!({"matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]});
        assert!(LabelSelector::from_object(&object).matches(&labels));
        assert!(LabelSelector::from_object(&json!({})).is_empty());
    }
}
