//! Rules between pods of a world, and those that are left out.

use serde_json::{Value, json};

use super::{APPS, HARD, HOST, SOFT, ZONE};
use crate::worlds::random::Random;

/// A rule between pods: where it stands in the pod, and what it says.
pub(super) fn rule(random: &mut Random, own: &str) -> (String, Value) {
    if random.chance(50) {
        return spread(random, own);
    }
    let kind = random.pick(&["podAffinity", "podAntiAffinity", "podAntiAffinity"]);
    let strength = random.pick(&[HARD, HARD, SOFT]);
    // Affinity to others finds them rarely, to the own kind always.
    let app = if random.chance(60) {
        own
    } else {
        random.pick(&APPS)
    };
    term(random, app, kind, strength)
}

fn spread(random: &mut Random, own: &str) -> (String, Value) {
    let is_hard = random.chance(75);
    let mut rule = json!({
        "topologyKey": random.pick(&[ZONE, ZONE, HOST]),
        "maxSkew": 1 + random.below(2),
        "whenUnsatisfiable": if is_hard { "DoNotSchedule" } else { "ScheduleAnyway" },
        "labelSelector": {"matchLabels": {"app": own}},
        "nodeAffinityPolicy": random.pick(&["Honor", "Honor", "Ignore"]),
        "nodeTaintsPolicy": random.pick(&["Honor", "Ignore"]),
    });
    if is_hard && random.chance(20) {
        rule["minDomains"] = json!(1 + random.below(4));
    }
    ("/spec/topologySpreadConstraints".to_owned(), rule)
}

/// A term about pods of an app, here or in other namespaces.
pub(super) fn term(random: &mut Random, app: &str, kind: &str, strength: &str) -> (String, Value) {
    let mut term = json!({
        "topologyKey": random.pick(&[ZONE, HOST]),
        "labelSelector": {"matchLabels": {"app": app}},
    });
    // `NotIn` and `DoesNotExist` are left out: `LEFT_OUT` says why.
    if random.chance(25) {
        term["namespaceSelector"] = random.pick(&[
            json!({}),
            json!({"matchLabels": {"tier": "front"}}),
            json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["back"]}]}),
        ]);
    }
    let rule = if strength == SOFT {
        json!({"weight": 1 + random.below(9), "podAffinityTerm": term})
    } else {
        term
    };
    (format!("/spec/affinity/{kind}/{strength}"), rule)
}

/// Appends to a list, which is made where it is not there.
pub(super) fn push(pod: &mut Value, list: &str, rule: Value) {
    let mut at = pod;
    for step in list.split('/').skip(1) {
        at = &mut at[step];
    }
    // Kubernetes refuses two spreads over one key of one kind.
    let same = |other: &Value| {
        ["topologyKey", "whenUnsatisfiable"]
            .iter()
            .all(|field| other[field] == rule[field])
    };
    match at.as_array_mut() {
        Some(rules) if list.ends_with("SpreadConstraints") && rules.iter().any(same) => {}
        Some(rules) => rules.push(rule),
        None => *at = json!([rule]),
    }
}

/// Whether a pod states rules about other pods.
pub(in crate::worlds) fn has_rules(pod: &Value) -> bool {
    let spec = &pod["spec"];
    spec["topologySpreadConstraints"].is_array()
        || ["podAffinity", "podAntiAffinity"]
            .iter()
            .any(|field| spec["affinity"][field].is_object())
}

/// Two things that Karpenter allows and the kube-scheduler refuses, so that such placements are known to
/// be wrong: where the pod is held to some nodes, a spread with `nodeAffinityPolicy: Ignore` measures only
/// the domains that the pod may use, and a pod that is affine to its own kind starts a new domain although
/// others of the kind are where it may not go.
pub(super) fn leave_out_held(template: &mut Value) {
    let spec = &mut template["spec"];
    if !is_held(spec) {
        return;
    }
    for spread in spreads_mut(spec) {
        spread["nodeAffinityPolicy"] = json!("Honor");
    }
    if let Some(affinity) = spec["affinity"].as_object_mut() {
        affinity.remove("podAffinity");
    }
}

/// A third: pods of others on a claim that a spread would count if it were known where the claim will be, or
/// that it will be one of the nodes that count. Karpenter forgets them, on purpose (measured: scenarios 139
/// and 205 of the conformance set). Spreads that could meet them count their own kind only.
pub(super) fn leave_out_unsettled(pending: &mut [Value]) {
    let all: Vec<(Value, bool)> = pending
        .iter()
        .map(|pod| (pod["metadata"].clone(), is_settled(&pod["spec"])))
        .collect();
    for pod in pending {
        let metadata = pod["metadata"].clone();
        let (labels, spec) = (&metadata["labels"], &mut pod["spec"]);
        let mut others = all.iter().filter(|(other, _)| {
            other["namespace"] == metadata["namespace"]
                && other["labels"]["app"] == labels["app"]
                && other["labels"]["group"] != labels["group"]
        });
        let is_shared = others.clone().next().is_some();
        let meets_open = others.any(|(_, is_settled)| !is_settled);
        let is_held = is_held(spec);
        for spread in spreads_mut(spec) {
            let is_met = if is_zonal(spread) {
                meets_open
            } else {
                is_shared
            };
            if is_met && (is_zonal(spread) || is_held) {
                spread["labelSelector"]["matchLabels"] = json!({"group": labels["group"]});
            }
        }
    }
}

/// The plan says in which zone the pod will be.
fn is_settled(spec: &Value) -> bool {
    let spreads = spec["topologySpreadConstraints"].as_array();
    spec["nodeSelector"][ZONE].is_string()
        || spec["volumes"].is_array()
        || spreads
            .into_iter()
            .flatten()
            .any(|spread| is_zonal(spread) && spread["whenUnsatisfiable"] == "DoNotSchedule")
}

fn is_zonal(spread: &Value) -> bool {
    spread["topologyKey"] == ZONE
}

/// The pod may use some nodes only.
fn is_held(spec: &Value) -> bool {
    spec["nodeSelector"].is_object() || spec["affinity"]["nodeAffinity"].is_object()
}

fn spreads_mut(spec: &mut Value) -> impl Iterator<Item = &mut Value> {
    let list = spec.get_mut("topologySpreadConstraints");
    list.and_then(Value::as_array_mut).into_iter().flatten()
}
