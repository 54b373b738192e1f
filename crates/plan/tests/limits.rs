//! Rows about how far a pool goes: its limits, the nodes that are filled first, and the longest list of
//! types that a claim names.

#![allow(clippy::unwrap_used)]

use crate::fixtures::{Manifest, Stage, empty, instance_type, pod, pool, req, resources, row};
use karpenter_plan::ResourceId;
use serde_json::json;

/// The pod is alone on its node among those with the same `app`.
fn alone(name: &str) -> Manifest {
    let term = json!({
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "alone"}},
    });
    pod(name).label("app", "alone").push(
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        term,
    )
}

#[test]
fn limits_between_claims() {
    row(
        "scheduling/P18",
        empty()
            .pool(pool("np").limit("cpu", "3"))
            .pod(alone("a").cpu("1.5"))
            .pod(alone("b").cpu("1.5")),
        &[
            "claims 1",
            "a: new 0",
            "b: unplaced",
            "all available instance types exceed limits for nodepool (NodePool=np)",
        ],
    );
    for stage in [
        Stage::Created,
        Stage::Launched,
        Stage::Registered,
        Stage::Initialized,
    ] {
        let two = empty()
            .pool(pool("np").limit("nodes", "2"))
            .pod(alone("a"))
            .then(stage)
            .pod(alone("b"))
            .then(stage);
        assert_eq!(two.machines.len(), 2, "scheduling/P20 at {stage:?}");
        row(
            "scheduling/P20",
            two.pod(alone("c")),
            &[
                "claims 0",
                "c: unplaced, node limits have been exhausted for nodepool (NodePool=np)",
            ],
        );
    }
}

#[test]
fn a_limit_of_nodes_does_not_shrink_within_a_pass() {
    // Conformance scenario 085: with one node of three, three pods that must be apart get three more.
    let one_of_three = || {
        empty()
            .pool(pool("np").limit("nodes", "3"))
            .pod(alone("a"))
            .then(Stage::Initialized)
    };
    let four = one_of_three()
        .pod(alone("b"))
        .pod(alone("c"))
        .pod(alone("d"));
    row("limit of nodes", four.clone(), &["claims 3"]);
    // Below zero nothing is within what is left, and the text is another one.
    let beyond = four.then(Stage::Initialized).pod(alone("e"));
    row(
        "limit of nodes",
        beyond,
        &[
            "claims 0",
            "e: unplaced, all available instance types exceed limits for nodepool (NodePool=np)",
        ],
    );
}

#[test]
fn nodes_are_filled_before_others_are_made() {
    let mut quarters = instance_type("quarters", 4, 16);
    quarters
        .capacity
        .extend(resources(&[("cpu", "4250m"), ("pods", "4")]));
    let mut world = empty().types(vec![quarters]).pool(pool("np"));
    for (batch, pods) in [1, 3, 2, 5, 4, 7, 1, 1, 6, 10].into_iter().enumerate() {
        for index in 0..pods {
            world = world.pod(pod(&format!("p-{batch}-{index}")).cpu("1"));
        }
        world = world.then(Stage::Initialized);
        let snapshot = world.snapshot();
        assert!(
            snapshot.bound.values().all(Option::is_some),
            "scheduling/P28 after batch {batch}"
        );
        let room = snapshot
            .places
            .values()
            .filter(|place| place.remaining.get(ResourceId::CPU) >= 1000);
        assert!(room.count() <= 1, "scheduling/P28 after batch {batch}");
    }
    assert_eq!(world.machines.len(), 10, "scheduling/P28");
}

#[test]
fn a_node_that_is_ready_comes_before_those_to_come() {
    let types = vec![instance_type("default", 4, 4)];
    let mut world = empty()
        .types(types)
        .pool(pool("np"))
        .pod(pod("first").cpu("3"))
        .then(Stage::Initialized)
        .change_node(0, |node| {
            node.set("metadata.name", "z-ready")
                .label("kubernetes.io/hostname", "z-ready")
        });
    world.pods.clear();
    for index in 0..99 {
        world = world.pod(alone(&format!("p-{index}")).cpu("3"));
    }
    // The first pod of the batch takes the ready node; the others' machines have no Node yet.
    world = world.pod(alone("p-99").cpu("3")).then(Stage::Launched);
    let without_node = world
        .machines
        .iter()
        .filter(|machine| machine.node.is_none());
    assert_eq!(without_node.count(), 99, "scheduling/P29");
    world.pods.clear();
    row(
        "scheduling/P29",
        world.pod(pod("tiny")),
        &["claims 0", "tiny: node z-ready"],
    );
}

#[test]
fn a_list_of_types_that_was_cut_must_still_span_its_minimum() {
    let catalogue = |small: i64| {
        let mut types: Vec<_> = (0..small)
            .map(|index| instance_type(&format!("small-{index:03}"), 4, 4))
            .collect();
        types.push(instance_type("large", 16, 64));
        types
    };
    let varied = || {
        let mut varied = req("size Exists");
        varied["minValues"] = json!(2);
        pool("np").push("spec.template.spec.requirements", varied)
    };
    let with = |small| empty().types(catalogue(small)).pool(varied()).pod(pod("a"));
    // 600 types fit into a claim: with one of them less, the large one stays in.
    row("scheduling/F10", with(599), &["claims 1", "a: new 0"]);
    row(
        "scheduling/F10",
        with(600),
        &[
            "claims 0",
            "a: unplaced, pod didn’t schedule because NodePool couldn’t meet minValues requirements",
        ],
    );
}
