//! Bad input: a malformed thing touches its own pod only, is named in its reason, and the rest is placed as if
//! it were not there.

#![allow(clippy::unwrap_used)]

use crate::fixtures::{Manifest, World, empty, pod, pool};
use serde_json::{Value, json};

const HARD: &str = "requiredDuringSchedulingIgnoredDuringExecution";

fn spread(key: &str, selector: &Value) -> Value {
    json!({
        "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": selector,
    })
}

/// Pods of every sort, all of which have a place.
fn sound() -> World {
    let web = json!({"matchLabels": {"app": "web"}});
    let mut world = empty().pool(pool("default"));
    for name in ["web-1", "web-2", "web-3"] {
        let rule = spread("topology.kubernetes.io/zone", &web);
        let pod = pod(name).label("app", "web").cpu("500m");
        world = world.pod(pod.push("spec.topologySpreadConstraints", rule));
    }
    for name in ["alone-1", "alone-2"] {
        let rule = json!({
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": "alone"}},
        });
        let list = format!("spec.affinity.podAntiAffinity.{HARD}");
        world = world.pod(pod(name).label("app", "alone").push(&list, rule));
    }
    world.pod(pod("near").push(
        &format!("spec.affinity.podAffinity.{HARD}"),
        json!({"topologyKey": "topology.kubernetes.io/zone", "labelSelector": web}),
    ))
}

/// The bad pods are refused with what is expected in the reason of each, and nothing else changes.
#[track_caller]
fn check(bad: &[Manifest], expected: &str) {
    let alone = sound().solve();
    assert!(alone.report.unplaced.is_empty() && alone.report.ignored.is_empty());
    let world = bad
        .iter()
        .fold(sound(), |world, pod| world.pod(pod.clone()));
    let lines = world.solve().lines();
    for pod in bad {
        let is_told = |line: &&String| line.starts_with(&format!("{}: ", pod.name()));
        let told: Vec<&String> = lines.iter().filter(is_told).collect();
        let is_refused =
            |line: &str| line.contains(": unplaced, ") || line.contains(": ignored (event), ");
        assert!(
            told.len() == 1 && is_refused(told[0]) && told[0].contains(expected),
            "expected {expected:?} in {told:#?}"
        );
    }
    let others: Vec<String> = lines
        .into_iter()
        .filter(|line| !line.starts_with("bad"))
        .collect();
    assert_eq!(others, alone.lines());
}

fn bad() -> Manifest {
    // Larger than the others: it is looked at first.
    pod("bad").cpu("3")
}

fn with_selector(selector: &Value) -> [(&'static str, Manifest); 3] {
    let term = json!({"topologyKey": "topology.kubernetes.io/zone", "labelSelector": selector});
    [
        (
            "spread",
            bad().push(
                "spec.topologySpreadConstraints",
                spread("topology.kubernetes.io/zone", selector),
            ),
        ),
        (
            "affinity",
            bad().push(&format!("spec.affinity.podAffinity.{HARD}"), term.clone()),
        ),
        (
            "anti-affinity",
            bad().push(&format!("spec.affinity.podAntiAffinity.{HARD}"), term),
        ),
    ]
}

#[test]
fn a_topology_key_that_nobody_knows() {
    let rule = spread("example.com/rack", &json!({}));
    check(
        &[bad().push("spec.topologySpreadConstraints", rule)],
        "example.com/rack",
    );
    let term = json!({"topologyKey": "example.com/rack", "labelSelector": {"matchLabels": {"app": "web"}}});
    let list = format!("spec.affinity.podAffinity.{HARD}");
    check(&[bad().push(&list, term)], "example.com/rack");
}

#[test]
fn requirements_that_contradict_each_other() {
    let zone = "topology.kubernetes.io/zone";
    check(&[bad().selects("zone", "z1").term(&["zone In z2"])], zone);
    check(&[bad().term(&["zone In z1", "zone NotIn z1"])], zone);
    check(&[bad().term(&["integer Gt 5", "integer Lt 3"])], "integer");
}

#[test]
fn a_volume_claim_that_is_not_there() {
    let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": "missing"}});
    check(
        &[bad().push("spec.volumes", volume)],
        "persistentvolumeclaims \"missing\" not found",
    );
}

#[test]
fn amounts_beyond_what_can_be_counted() {
    for amount in ["1e15", "9223372036854775807", "8Ei"] {
        check(
            &[bad().cpu(amount)],
            "no instance type has enough resources",
        );
        check(
            &[bad().memory(amount)],
            "no instance type has enough resources",
        );
    }
}

#[test]
fn selectors_that_cannot_be_read() {
    let expressions = [
        (
            json!({"key": "app", "operator": "Near", "values": ["web"]}),
            "Near",
        ),
        (
            json!({"key": "app", "operator": "Gt", "values": ["1"]}),
            "Gt",
        ),
        (json!({"key": "app", "operator": "In", "values": []}), "app"),
        (
            json!({"key": "app", "operator": "Exists", "values": ["web"]}),
            "app",
        ),
    ];
    for (expression, expected) in expressions {
        for (_, pod) in with_selector(&json!({"matchExpressions": [expression]})) {
            check(&[pod], expected);
        }
    }
}

#[test]
fn node_affinity_that_cannot_be_read() {
    check(&[bad().term(&["zone Near z1"])], "Near");
    check(
        &[bad().term(&["integer Gt many"])],
        "key integer with operator Gt",
    );
    check(&[bad().term(&["zone In"])], "zone");
    check(&[bad().term(&["integer Gt 1 2"])], "integer");
    check(&[bad().term(&[])], "no term with expressions");
}

#[test]
fn affinity_in_a_circle() {
    let near = |name: &str, own: &str, other: &str| {
        let term = json!({
            "topologyKey": "topology.kubernetes.io/zone",
            "labelSelector": {"matchLabels": {"app": other}},
        });
        pod(name)
            .cpu("3")
            .label("app", own)
            .push(&format!("spec.affinity.podAffinity.{HARD}"), term)
    };
    let reason =
        "unsatisfiable topology constraint for pod affinity, key=topology.kubernetes.io/zone";
    check(
        &[
            near("bad-1", "left", "right"),
            near("bad-2", "right", "left"),
        ],
        reason,
    );
    let ring = [
        near("bad-1", "a", "b"),
        near("bad-2", "b", "c"),
        near("bad-3", "c", "a"),
    ];
    check(&ring, reason);
}
