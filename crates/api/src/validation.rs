//! What controllers check beyond admission: requirements and NodePools.
//!
//! The CRDs let through what their language cannot say: values that are no label values, labels of domains
//! that are kept, values nobody knows. All failures are collected, in a fixed order; an empty list means
//! valid.

use crate::common::{Requirement, Taint};
use crate::labels::{self, WellKnown};
use crate::nodepool::NodePool;

/// The operators of a requirement.
pub const OPERATORS: [&str; 8] = [
    "In",
    "NotIn",
    "Exists",
    "DoesNotExist",
    "Gt",
    "Lt",
    "Gte",
    "Lte",
];

/// The longest name part of a label key, and the longest label value.
const MAX_NAME: usize = 63;
/// The longest prefix of a label key.
const MAX_PREFIX: usize = 253;

/// What is wrong with a requirement.
pub fn requirement(requirement: &Requirement, well_known: &WellKnown) -> Vec<String> {
    let mut errors = Vec::new();
    let key = labels::normalize(&requirement.key, well_known.provider());
    let operator = requirement.operator.as_str();
    let values = requirement.values.as_deref().unwrap_or_default();
    let min_values = requirement
        .min_values
        .and_then(|count| usize::try_from(count).ok());
    if !OPERATORS.contains(&operator) {
        errors.push(format!(
            "key {key:?} has the unsupported operator {operator:?}, use one of {}",
            OPERATORS.join(", ")
        ));
    }
    if let Some(restriction) = well_known.restricted(key) {
        errors.push(format!("key {key:?} may not be used: {restriction}"));
    }
    if operator == "In"
        && let Some(known) = labels::known_values(key, well_known.provider())
    {
        let valid = values
            .iter()
            .filter(|value| known.contains(&value.as_str()))
            .count();
        if valid == 0 {
            errors.push(format!(
                "key {key:?} has none of the values it can have ({}): {values:?}",
                known.join(", ")
            ));
        } else if min_values.is_some_and(|least| valid < least) {
            errors.push(format!(
                "key {key:?} has fewer known values than its minValues, it can have {}: {values:?}",
                known.join(", ")
            ));
        }
    }
    errors
        .extend(qualified_name(key).map(|reason| format!("key {key:?} is no label key: {reason}")));
    for value in values {
        if let Some(reason) = label_value(value) {
            errors.push(format!(
                "value {value:?} of key {key:?} is no label value: {reason}"
            ));
        }
    }
    if operator == "In" && values.is_empty() {
        errors.push(format!("key {key:?} with operator In needs a value"));
    }
    if operator == "In" && min_values.is_some_and(|least| values.len() < least) {
        errors.push(format!(
            "key {key:?} with operator In has fewer values than its minValues"
        ));
    }
    if matches!(operator, "Gt" | "Lt" | "Gte" | "Lte") {
        let single = match values {
            [value] => value.parse::<i64>().is_ok_and(|number| number >= 0),
            _ => false,
        };
        if !single {
            errors.push(format!(
                "key {key:?} with operator {operator} needs exactly one value that is a non-negative integer"
            ));
        }
    }
    errors
}

/// What is wrong with a NodePool's template.
pub fn nodepool(pool: &NodePool, well_known: &WellKnown) -> Vec<String> {
    let template = &pool.spec.template;
    let mut errors = Vec::new();
    let template_labels = template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.labels.as_ref());
    for (key, value) in template_labels.into_iter().flatten() {
        label(key, value, well_known, &mut errors);
    }
    let lists = [
        ("taints", &template.spec.taints),
        ("startupTaints", &template.spec.startup_taints),
    ];
    let mut seen: Vec<&Taint> = Vec::new();
    for (field, taints) in lists {
        for item in taints.as_deref().unwrap_or_default() {
            taint(field, item, &mut errors);
            if seen.iter().any(|earlier| earlier.matches(item)) {
                errors.push(format!(
                    "{field} repeat the taint {}:{}, taints and startupTaints may name it once",
                    item.key, item.effect
                ));
            }
            seen.push(item);
        }
    }
    for item in &template.spec.requirements {
        if item.key == labels::NODEPOOL {
            errors.push(format!("requirements may not name {}", labels::NODEPOOL));
        }
        errors.extend(requirement(item, well_known));
    }
    errors
}

fn label(key: &str, value: &str, well_known: &WellKnown, errors: &mut Vec<String>) {
    if key == labels::NODEPOOL {
        errors.push(format!("labels may not name {}", labels::NODEPOOL));
    }
    errors.extend(qualified_name(key).map(|reason| format!("{key:?} is no label key: {reason}")));
    errors.extend(
        label_value(value)
            .map(|reason| format!("value {value:?} of label {key:?} is no label value: {reason}")),
    );
    if let Some(restriction) = well_known.restricted(key) {
        errors.push(format!("label {key:?} may not be used: {restriction}"));
    }
}

fn taint(field: &str, taint: &Taint, errors: &mut Vec<String>) {
    let Taint { key, effect, .. } = taint;
    if key.is_empty() {
        errors.push(format!("{field} have a taint without a key"));
    } else if let Some(reason) = qualified_name(key) {
        errors.push(format!(
            "{field} have the key {key:?}, which is no label key: {reason}"
        ));
    }
    // Upstream holds taint values to the rules of keys, which are stricter than those of values.
    if let Some(value) = taint.value.as_deref().filter(|value| !value.is_empty())
        && let Some(reason) = qualified_name(value)
    {
        errors.push(format!(
            "{field} have the value {value:?}, which is no qualified name: {reason}"
        ));
    }
    if !matches!(
        effect.as_str(),
        "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute"
    ) {
        errors.push(format!(
            "{field} have the effect {effect:?}, use NoSchedule, PreferNoSchedule or NoExecute"
        ));
    }
}

/// Why a text is not a qualified name, which is what label keys are.
pub fn qualified_name(text: &str) -> Option<String> {
    let name = match text.split_once('/') {
        Some((prefix, name)) => {
            if name.contains('/') {
                return Some("it has more than one slash".to_owned());
            }
            if prefix.is_empty() || prefix.len() > MAX_PREFIX {
                return Some(format!("its prefix must have 1 to {MAX_PREFIX} characters"));
            }
            if !prefix.split('.').all(is_domain_label) {
                return Some("its prefix must be a lower-case domain name".to_owned());
            }
            name
        }
        None => text,
    };
    if name.is_empty() || name.len() > MAX_NAME {
        return Some(format!("its name must have 1 to {MAX_NAME} characters"));
    }
    (!has_name_syntax(name)).then(syntax)
}

/// Why a text is not a label value.
pub fn label_value(text: &str) -> Option<String> {
    if text.len() > MAX_NAME {
        return Some(format!("it must have at most {MAX_NAME} characters"));
    }
    (!text.is_empty() && !has_name_syntax(text)).then(syntax)
}

fn syntax() -> String {
    "it must consist of letters, digits, '-', '_' and '.', and begin and end with a letter or digit"
        .to_owned()
}

fn has_name_syntax(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().copied().all(inner)
}

fn is_domain_label(part: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Asserts that each of the errors contains the expected fragment, in order.
    fn assert_errors(errors: &[String], expected: &[&str], case: &str) {
        let matching = errors.len() == expected.len()
            && errors
                .iter()
                .zip(expected)
                .all(|(error, fragment)| error.contains(fragment));
        assert!(matching, "{case}: expected {expected:?}, got {errors:#?}");
    }

    fn check_requirement(text: &str, min_values: Option<i32>, expected: &[&str]) {
        let mut words = text.split_whitespace();
        let item = Requirement {
            key: words.next().unwrap().to_owned(),
            operator: words.next().unwrap().to_owned(),
            values: Some(words.map(ToOwned::to_owned).collect()),
            min_values,
        };
        assert_errors(&requirement(&item, &WellKnown::aws()), expected, text);
    }

    #[test]
    fn requirements() {
        let one_integer = "exactly one value that is a non-negative integer";
        let rows: &[(&str, Option<i32>, &[&str])] = &[
            ("kubernetes.io/arch In amd64", None, &[]),
            ("example.com/team NotIn a b", None, &[]),
            ("example.com/team NotIn", None, &[]),
            ("example.com/team Exists", None, &[]),
            ("example.com/team DoesNotExist", None, &[]),
            ("example.com/team Equals a", None, &["unsupported operator"]),
            ("karpenter.sh/other In a", None, &["may not be used"]),
            ("kubernetes.io/hostname In a", None, &["may not be used"]),
            (
                "karpenter.k8s.aws/ec2nodeclass In a",
                None,
                &["may not be used"],
            ),
            ("karpenter.kwok.sh/other In a", None, &[]),
            ("beta.kubernetes.io/arch In amd64", None, &[]),
            ("karpenter.sh/capacity-type In spot", None, &[]),
            ("karpenter.sh/capacity-type In spot dear", None, &[]),
            (
                "karpenter.sh/capacity-type In dear",
                None,
                &["none of the values it can have"],
            ),
            ("karpenter.sh/capacity-type NotIn dear", None, &[]),
            (
                "karpenter.sh/capacity-type In spot dear",
                Some(2),
                &["fewer known values"],
            ),
            ("karpenter.sh/capacity-type In spot reserved", Some(2), &[]),
            (
                "karpenter.k8s.aws/instance-tenancy In host",
                None,
                &["default, dedicated"],
            ),
            ("a/b/c Exists", None, &["more than one slash"]),
            ("Example.com/team Exists", None, &["lower-case domain name"]),
            ("-team Exists", None, &["begin and end"]),
            ("example.com/team In -a b", None, &["value \"-a\""]),
            ("example.com/team In", None, &["needs a value"]),
            ("example.com/team In a b", Some(2), &[]),
            (
                "example.com/team In a",
                Some(2),
                &["fewer values than its minValues"],
            ),
            ("example.com/team Exists", Some(2), &[]),
            ("example.com/cores Gt 4", None, &[]),
            ("example.com/cores Gte 0", None, &[]),
            ("example.com/cores Gt", None, &[one_integer]),
            ("example.com/cores Lt 4 8", None, &[one_integer]),
            ("example.com/cores Lte four", None, &[one_integer]),
            (
                "example.com/cores Lt -4",
                None,
                &["value \"-4\"", one_integer],
            ),
            (
                "karpenter.sh/other Is -",
                None,
                &["operator", "may not be used", "value \"-\""],
            ),
        ];
        for (text, min_values, expected) in rows {
            check_requirement(text, *min_values, expected);
        }
        let long = format!("example.com/team In {}", "a".repeat(64));
        check_requirement(&long, None, &["at most 63 characters"]);
        let fits = format!("example.com/{} Exists", "a".repeat(63));
        check_requirement(&fits, None, &[]);
        let long = format!("example.com/{} Exists", "a".repeat(64));
        check_requirement(&long, None, &["1 to 63 characters"]);
    }

    fn check_pool(metadata: &Value, spec: Value, expected: &[&str]) {
        let mut template = json!({
            "metadata": metadata,
            "spec": {"nodeClassRef": {"group": "g", "kind": "k", "name": "n"}, "requirements": []},
        });
        let case = spec.to_string();
        let Value::Object(fields) = spec else {
            panic!("a spec is an object")
        };
        template["spec"].as_object_mut().unwrap().extend(fields);
        let pool = serde_json::from_value(json!({
            "metadata": {"name": "default"}, "spec": {"template": template},
        }))
        .unwrap();
        assert_errors(&nodepool(&pool, &WellKnown::kwok()), expected, &case);
    }

    #[test]
    fn nodepools() {
        let labels = |labels: Value| json!({"labels": labels});
        let none = || json!({});
        check_pool(&none(), none(), &[]);
        check_pool(&labels(json!({"team": "a", "empty": ""})), none(), &[]);
        check_pool(
            &labels(json!({"karpenter.sh/nodepool": "a"})),
            none(),
            &["may not name"],
        );
        check_pool(
            &labels(json!({"karpenter.sh/x": "a"})),
            none(),
            &["may not be used"],
        );
        check_pool(
            &labels(json!({"kubernetes.io/hostname": "a"})),
            none(),
            &["may not be used"],
        );
        check_pool(&labels(json!({"a b": "a"})), none(), &["no label key"]);
        check_pool(&labels(json!({"team": "a b"})), none(), &["no label value"]);
        let taint = |key: &str, value: &str, effect: &str| json!({"key": key, "value": value, "effect": effect});
        let rows: &[(Value, &[&str])] = &[
            (json!({"taints": [taint("a", "", "NoSchedule")]}), &[]),
            (json!({"taints": [taint("a", "b/c", "NoSchedule")]}), &[]),
            (
                json!({"taints": [taint("a", "b_", "NoSchedule")]}),
                &["no qualified name"],
            ),
            (
                json!({"taints": [taint("", "", "NoSchedule")]}),
                &["without a key"],
            ),
            (
                json!({"taints": [taint("a b", "", "NoSchedule")]}),
                &["no label key"],
            ),
            (
                json!({"startupTaints": [taint("a", "", "Never")]}),
                &["startupTaints have the effect"],
            ),
            (json!({"startupTaints": [taint("a", "", "")]}), &[]),
            (
                json!({"taints": [taint("a", "", "NoSchedule"), taint("a", "", "NoExecute")]}),
                &[],
            ),
            (
                json!({
                    "taints": [taint("a", "x", "NoSchedule")],
                    "startupTaints": [taint("a", "y", "NoSchedule")],
                }),
                &["repeat the taint a:NoSchedule"],
            ),
            (
                json!({"requirements": [
                    {"key": "karpenter.sh/nodepool", "operator": "In", "values": ["a"]},
                    {"key": "example.com/x", "operator": "In", "values": []},
                ]}),
                &["may not name karpenter.sh/nodepool", "needs a value"],
            ),
            (
                json!({"requirements": [
                    {"key": "karpenter.kwok.sh/kwoknodeclass", "operator": "In", "values": ["a"]},
                ]}),
                &["may not be used"],
            ),
        ];
        for (spec, expected) in rows {
            check_pool(&none(), spec.clone(), expected);
        }
    }
}
