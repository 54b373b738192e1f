//! Rows of default topology constraints (section 13.9 of scheduling.md), as data.

use crate::fixtures::{Manifest, World, empty, long, node, pool, row, world};
use crate::topology::{counted, domains, many, skew, spread, spreads};
use serde_json::{Value, json};

fn constraint(when: &str) -> Value {
    json!({"maxSkew": 1, "topologyKey": long("zone"), "whenUnsatisfiable": when})
}

/// A world where pods spread over zones unless they say otherwise.
fn spreading(mut world: World) -> World {
    world.default_constraints = vec![constraint("DoNotSchedule")];
    world
}

fn workload(kind: &str, name: &str, selector: &Value) -> Manifest {
    Manifest(json!({
        "kind": kind, "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": selector},
    }))
}

fn replica_set(name: &str, labels: &Value) -> Manifest {
    workload("ReplicaSet", name, &json!({"matchLabels": labels}))
}

fn has(mut world: World, workload: Manifest) -> World {
    world.workloads.push(workload);
    world
}

/// A pod that a controller made.
fn of(pod: Manifest, version: &str, kind: &str, name: &str) -> Manifest {
    pod.push(
        "metadata.ownerReferences",
        json!({"apiVersion": version, "kind": kind, "name": name, "uid": name, "controller": true}),
    )
}

fn replica(name: &str) -> Manifest {
    of(counted(name), "apps/v1", "ReplicaSet", "web")
}

/// Replicas of `web` spread by default.
fn web(world: World) -> World {
    has(
        spreading(world),
        replica_set("web", &json!({"app": "test"})),
    )
}

#[test]
fn who_gets_defaults() {
    skew(
        "scheduling/C1",
        many(web(world()), 4, replica),
        "zone",
        &[1, 1, 2],
    );
    let own = |name: &str| spreads(replica(name), spread("kubernetes.io/hostname", 4));
    row("scheduling/C2", many(web(world()), 4, own), &["claims 1"]);
    let job = |name: &str| of(counted(name), "batch/v1", "Job", "web");
    row("scheduling/C3", many(web(world()), 4, job), &["claims 1"]);
    let service = workload("Service", "web", &json!({"app": "test"}));
    let served = has(spreading(world()), service);
    skew("scheduling/C3", many(served, 4, job), "zone", &[1, 1, 2]);
}

#[test]
fn who_counts_for_defaults() {
    let revision = |world: World, name: &'static str| {
        let labels = json!({"app": "test", "pod-template-hash": name});
        let world = has(world, replica_set(name, &labels));
        (0..3).fold(world, |world, at| {
            let pod = counted(&format!("{name}-{at}")).label("pod-template-hash", name);
            world.pod(of(pod, "apps/v1", "ReplicaSet", name))
        })
    };
    let both = revision(revision(spreading(world()), "old"), "new");
    let outcome = skew("scheduling/C4", both, "zone", &[2, 2, 2]);
    let zones = domains(&outcome, "zone");
    for name in ["old", "new"] {
        let mut own: Vec<&String> = zones
            .iter()
            .filter(|(pod, _)| pod.starts_with(name))
            .map(|(_, zone)| zone)
            .collect();
        own.sort();
        assert_eq!(own, ["z1", "z2", "z3"]);
    }
    let running = web(empty().pool(pool("np").requires("zone In z1 z2")))
        .node(node("n").taint("full", "NoSchedule"))
        .pod(replica("there-1").on("n"))
        .pod(replica("there-2").on("n"));
    skew("scheduling/C5", many(running, 2, replica), "zone", &[2, 2]);
    for (when, scheduled) in [("DoNotSchedule", 1), ("ScheduleAnyway", 3)] {
        let mut world = web(empty().pool(pool("np").requires("zone In z1")));
        let mut wanted = constraint(when);
        wanted["minDomains"] = json!(3);
        world.default_constraints = vec![wanted];
        skew(
            "scheduling/C6",
            many(world, 3, replica),
            "zone",
            &[scheduled],
        );
    }
}

#[test]
fn conflicting_selectors() {
    // Two pods of another tier are in z1. Those of the controller's selector count, if it can be met.
    let conflict = |kind: &'static str, selector: Value| {
        let world = spreading(empty().pool(pool("np").requires("zone In z1 z2")));
        let world = has(
            world,
            workload("Service", "s", &json!({"app": "test", "tier": "a"})),
        );
        let world = has(world, workload(kind, "web", &selector));
        let there = |name: &str| counted(name).label("tier", "b").on("n");
        let version = if kind == "ReplicaSet" {
            "apps/v1"
        } else {
            "v1"
        };
        let new = of(counted("new").label("tier", "a"), version, kind, "web");
        world
            .node(node("n").taint("full", "NoSchedule"))
            .pod(there("there-1"))
            .pod(there("there-2"))
            .pod(new)
    };
    let outcome = row(
        "scheduling/C7",
        conflict("ReplicationController", json!({"tier": "b"})),
        &[],
    );
    assert_eq!(domains(&outcome, "zone")["new"], "z2");
    let outcome = row(
        "scheduling/C7",
        conflict("ReplicaSet", json!({"matchLabels": {"tier": "b"}})),
        &[],
    );
    assert_eq!(domains(&outcome, "zone")["new"], "z1");
}

#[test]
fn configuration_errors() {
    let fault = |document: Value| {
        karpenter_api::scheduler_config::default_constraints(&document).unwrap_err()
    };
    let of = |constraints: Value| json!({"podTopologySpread": {"defaultConstraints": constraints}});
    let plain = constraint("DoNotSchedule");
    let mut selecting = plain.clone();
    selecting["labelSelector"] = json!({});
    let mut flat = plain.clone();
    flat["maxSkew"] = json!(0);
    let mut odd = plain.clone();
    odd["topologyKey"] = json!("");
    let prefix = "validating scheduler config, podTopologySpread.defaultConstraints";
    for (id, constraints, expected) in [
        (
            "scheduling/C8",
            json!([selecting]),
            "[0]: labelSelector must be absent",
        ),
        (
            "scheduling/C8",
            json!([plain, plain]),
            "[1]: topologyKey and whenUnsatisfiable are those",
        ),
        (
            "scheduling/C8",
            json!([flat]),
            "[0]: maxSkew must be greater than zero",
        ),
        (
            "scheduling/C8",
            json!([odd]),
            "[0]: topologyKey must be a qualified name",
        ),
        (
            "scheduling/C8",
            json!([constraint("Never")]),
            "[0]: whenUnsatisfiable must be",
        ),
    ] {
        let found = fault(of(constraints));
        assert!(
            found.starts_with(&format!("{prefix}{expected}")),
            "{id}: {found}"
        );
    }
    let unknown = fault(json!({"podTopologySpreads": {}}));
    assert!(
        unknown.starts_with("decoding scheduler config, unknown field"),
        "{unknown}"
    );
}
