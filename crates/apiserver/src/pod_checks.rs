//! What is refused in pods and pod templates.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    error::FieldError,
    object::{self, at},
};

/// Faults in a pod specification at a path.
pub(crate) fn spec(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let list = |name: &str| {
        spec.get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let containers = list("containers");
    if containers.is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for (field, containers) in [
        ("containers", containers),
        ("initContainers", list("initContainers")),
    ] {
        for (index, container) in containers.iter().enumerate() {
            let below = format!("{path}.{field}[{index}]");
            container_faults(container, &below, &mut names, errors);
        }
    }
    one_of(
        spec,
        path,
        "restartPolicy",
        &["Always", "OnFailure", "Never"],
        errors,
    );
    one_of(
        spec,
        path,
        "dnsPolicy",
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        errors,
    );
    not_negative(spec, path, "terminationGracePeriodSeconds", errors);
    for (index, toleration) in list("tolerations").iter().enumerate() {
        let below = format!("{path}.tolerations[{index}]");
        one_of(
            toleration,
            &below,
            "operator",
            &["Equal", "Exists", "Lt", "Gt"],
            errors,
        );
        one_of(
            toleration,
            &below,
            "effect",
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            errors,
        );
        let text = |name: &str| object::text(toleration, &[name]).unwrap_or_default();
        if text("key").is_empty() && text("operator") != "Exists" {
            let what = "operator must be Exists when `key` is empty, which means \"match all \
                        values and all keys\"";
            errors.push(FieldError::invalid(
                format!("{below}.operator"),
                &json!(text("operator")),
                what,
            ));
        }
    }
    for (index, spread) in list("topologySpreadConstraints").iter().enumerate() {
        let below = format!("{path}.topologySpreadConstraints[{index}]");
        one_of(
            spread,
            &below,
            "whenUnsatisfiable",
            &["DoNotSchedule", "ScheduleAnyway"],
            errors,
        );
        let skew = spread.get("maxSkew").and_then(Value::as_i64).unwrap_or(0);
        if skew <= 0 {
            errors.push(FieldError::invalid(
                format!("{below}.maxSkew"),
                &json!(skew),
                "must be greater than zero",
            ));
        }
        if object::text(spread, &["topologyKey"]).is_none_or(str::is_empty) {
            errors.push(FieldError::required(
                format!("{below}.topologyKey"),
                "can not be empty",
            ));
        }
    }
    affinity(spec, path, errors);
}

fn container_faults(
    container: &Value,
    path: &str,
    names: &mut BTreeSet<String>,
    errors: &mut Vec<FieldError>,
) {
    let name = object::text(container, &["name"]).unwrap_or_default();
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    } else if !names.insert(name.to_owned()) {
        errors.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
    } else if crate::metadata::name_fault(name).is_some() || name.contains('.') || name.len() > 63 {
        errors.push(FieldError::invalid(
            format!("{path}.name"),
            &json!(name),
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
             and must start and end with an alphanumeric character",
        ));
    }
    if object::text(container, &["image"]).is_none_or(|image| image.trim().is_empty()) {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    }
    one_of(
        container,
        path,
        "imagePullPolicy",
        &["Always", "IfNotPresent", "Never"],
        errors,
    );
    for (index, port) in container
        .get("ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let number = port
            .get("containerPort")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if !(1..=65535).contains(&number) {
            errors.push(FieldError::invalid(
                format!("{path}.ports[{index}].containerPort"),
                &json!(number),
                "must be between 1 and 65535, inclusive",
            ));
        }
    }
    for side in ["requests", "limits"] {
        let amounts = at(container, &["resources", side]).and_then(Value::as_object);
        for (resource, amount) in amounts.into_iter().flatten() {
            let below = format!("{path}.resources.{side}[{resource}]");
            let text = amount.as_str().unwrap_or_default();
            if text.starts_with('-') && milli(text) != Some(0) {
                let what = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(&below, amount, what));
            }
            let limit = at(container, &["resources", "limits", resource]).and_then(Value::as_str);
            if side == "requests"
                && let (Some(limit), Some(request)) = (limit, milli(text))
                && milli(limit).is_some_and(|most| request > most)
            {
                errors.push(FieldError::invalid(
                    format!("{path}.resources.requests"),
                    amount,
                    &format!("must be less than or equal to {resource} limit of {limit}"),
                ));
            }
        }
    }
}

/// Selectors of affinity must have keys and known operators.
fn affinity(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let required = [
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
    ];
    let Some(selector) = at(spec, &required) else {
        return;
    };
    let below = format!("{path}.{}.nodeSelectorTerms", required.join("."));
    let terms = selector.get("nodeSelectorTerms").and_then(Value::as_array);
    if terms.is_none_or(Vec::is_empty) {
        errors.push(FieldError::required(
            &below,
            "must have at least one node selector term",
        ));
    }
    for (index, term) in terms.into_iter().flatten().enumerate() {
        let expressions = term.get("matchExpressions").and_then(Value::as_array);
        for (at_index, expression) in expressions.into_iter().flatten().enumerate() {
            let here = format!("{below}[{index}].matchExpressions[{at_index}]");
            if expression.get("operator").is_none() {
                errors.push(FieldError::required(format!("{here}.operator"), ""));
            }
            let known = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
            one_of(expression, &here, "operator", &known, errors);
            let operator = object::text(expression, &["operator"]).unwrap_or_default();
            let none = expression
                .get("values")
                .and_then(Value::as_array)
                .is_none_or(Vec::is_empty);
            if none && matches!(operator, "In" | "NotIn") {
                errors.push(FieldError::required(
                    format!("{here}.values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                ));
            }
        }
    }
}

fn one_of(holder: &Value, path: &str, field: &str, known: &[&str], errors: &mut Vec<FieldError>) {
    if let Some(value) = holder.get(field).and_then(Value::as_str)
        && !value.is_empty()
        && !known.contains(&value)
    {
        let supported: Vec<String> = known.iter().map(|one| (*one).to_owned()).collect();
        errors.push(FieldError::unsupported(
            format!("{path}.{field}"),
            &json!(value),
            &supported,
        ));
    }
}

/// Refuse a number below zero.
pub(crate) fn not_negative(holder: &Value, path: &str, field: &str, errors: &mut Vec<FieldError>) {
    if let Some(number) = holder
        .get(field)
        .and_then(Value::as_i64)
        .filter(|number| *number < 0)
    {
        let what = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            format!("{path}.{field}"),
            &json!(number),
            what,
        ));
    }
}

/// A quantity in thousandths, rounded up; absent beyond 128 bits.
fn milli(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = u32::try_from(fraction.len()).ok()?;
    let (factor, divisor): (i128, i128) = match suffix {
        "" => (1000, 1),
        "n" => (1, 1_000_000),
        "u" => (1, 1000),
        "m" => (1, 1),
        "k" => (10_i128.pow(6), 1),
        "M" => (10_i128.pow(9), 1),
        "G" => (10_i128.pow(12), 1),
        "T" => (10_i128.pow(15), 1),
        "P" => (10_i128.pow(18), 1),
        "E" => (10_i128.pow(21), 1),
        "Ki" => (1000 << 10, 1),
        "Mi" => (1000 << 20, 1),
        "Gi" => (1000 << 30, 1),
        "Ti" => (1000 << 40, 1),
        "Pi" => (1000 << 50, 1),
        "Ei" => (1000 << 60, 1),
        exponent => {
            let power: i32 = exponent.get(1..)?.parse().ok()?;
            let scale = 10_i128.checked_pow(power.unsigned_abs())?;
            if power < 0 {
                (1000, scale)
            } else {
                (1000_i128.checked_mul(scale)?, 1)
            }
        }
    };
    let divisor = divisor.checked_mul(10_i128.checked_pow(places)?)?;
    let scaled = mantissa.checked_mul(factor)?;
    let rounded = scaled / divisor + i128::from(scaled % divisor != 0);
    Some(if negative { -rounded } else { rounded })
}

/// What may change in a pod's specification, and nothing else.
pub(crate) fn change(old: &Value, new: &Value) -> Option<FieldError> {
    let frozen = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(fields) = spec.as_object_mut() {
            for free in [
                "activeDeadlineSeconds",
                "terminationGracePeriodSeconds",
                "tolerations",
                "ephemeralContainers",
                "schedulingGates",
            ] {
                fields.remove(free);
            }
            for list in ["containers", "initContainers"] {
                let containers = fields.get_mut(list).and_then(Value::as_array_mut);
                for container in containers
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_object_mut)
                {
                    container.remove("image");
                    container.remove("imagePullPolicy");
                }
            }
        }
        spec
    };
    let gated = old
        .get("schedulingGates")
        .and_then(Value::as_array)
        .is_some_and(|l| !l.is_empty());
    // A gated pod may still narrow where it runs.
    let narrowed = |spec: &Value| {
        let mut spec = frozen(spec);
        if gated && let Some(fields) = spec.as_object_mut() {
            fields.remove("nodeSelector");
            fields.remove("affinity");
        }
        spec
    };
    (narrowed(old) != narrowed(new)).then(|| {
        FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
             additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to \
             be set to 1 if it was previously negative)",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::milli;

    #[test]
    fn quantities() {
        let check =
            |text: &str, expected: Option<i128>| assert_eq!(milli(text), expected, "{text}");
        check("1", Some(1000));
        check("100m", Some(100));
        check("0.5", Some(500));
        check("1.5Gi", Some(1_610_612_736_000));
        check("1e3", Some(1_000_000));
        check("1u", Some(1));
        check("-1", Some(-1000));
        check("99999999999999999999999999999999999999999999", None);
    }
}
