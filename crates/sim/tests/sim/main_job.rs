//! The main job through all rooms: a pod that has no place gets a node, and a node that nobody needs goes.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use crate::common::{MINUTE, SMALL, deployment, pool, until, world};

#[test]
fn a_pod_becomes_a_node_and_the_node_goes_with_it() {
    let world = world(1);
    world.apply(&pool("default", SMALL)).unwrap();
    world
        .apply(&deployment("inflate", 1, "{cpu: '1'}", ""))
        .unwrap();
    let state = until(&world, Duration::from_secs(5), |state| state.running() == 1);
    assert_eq!((state.nodes.len(), state.claims.len()), (1, 1));

    world
        .apply(&deployment("inflate", 0, "{cpu: '1'}", ""))
        .unwrap();
    until(&world, MINUTE, |state| {
        state.nodes.is_empty() && state.claims.is_empty()
    });
}

#[test]
fn pods_of_many_sizes_all_find_a_place() {
    let world = world(2);
    world
        .apply(&pool(
            "default",
            "requirements: [{key: kubernetes.io/os, operator: In, values: [linux]}]",
        ))
        .unwrap();
    let sizes = [
        "{cpu: 900m, memory: 3100Mi}",
        "{cpu: 3500m, memory: 28Gi}",
        "{cpu: 100m}",
        "{cpu: '7', memory: 1Gi}",
    ];
    for (number, size) in sizes.iter().enumerate() {
        world
            .apply(&deployment(&format!("app-{number}"), 10, size, ""))
            .unwrap();
    }
    until(&world, MINUTE, |state| state.running() == 40);
    // What was made for a pod is taken by it: nothing more is made, and nothing goes.
    let nodes = world.state().unwrap().nodes;
    world.advance(5 * MINUTE);
    assert_eq!(world.state().unwrap().nodes, nodes);
}
