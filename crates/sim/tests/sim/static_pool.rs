//! A static pool from its first node to its last, as a user scales it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use karpenter_api::NodePool;
use karpenter_control::{ctx, gates::FeatureGates};
use karpenter_sim::{GENESIS, Options, State, World};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::common::{MINUTE, SMALL, deployment, pool, until};

const CLASS: &str =
    "{apiVersion: karpenter.kwok.sh/v1alpha1, kind: KWOKNodeClass, metadata: {name: default}}";

fn world() -> World {
    let gates = FeatureGates {
        static_capacity: true,
        ..FeatureGates::default()
    };
    let controller = ctx::Options {
        gates,
        seed: 11,
        ..ctx::Options::default()
    };
    let world = World::with(Options {
        controller: Some(controller),
        ..Options::new(GENESIS, 11)
    })
    .unwrap();
    world.apply(CLASS).unwrap();
    world
}

/// What `kubectl scale nodepool` does.
fn scale(world: &World, name: &str, replicas: i64) {
    let pools: Api<NodePool> = Api::all(world.client());
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let scaled = world
        .run(pools.patch_scale(name, &PatchParams::default(), &patch))
        .unwrap();
    let wanted = scaled.spec.and_then(|spec| spec.replicas);
    assert_eq!(wanted.map(i64::from), Some(replicas));
}

/// So many ready nodes, each with its claim, and nothing else.
fn has_nodes(state: &State, count: usize) -> bool {
    let ready = state
        .nodes
        .iter()
        .filter(|node| node.ready && !node.deleting);
    ready.count() == count && state.nodes.len() == count && state.claims.len() == count
}

#[test]
fn a_static_pool_is_scaled_up_and_down() {
    let world = world();
    world
        .apply(
            &pool("fixed", SMALL).replace("spec:\n  template", "spec:\n  replicas: 3\n  template"),
        )
        .unwrap();
    let state = until(&world, MINUTE, |state| has_nodes(state, 3));
    assert!(state.claims.iter().all(|claim| {
        claim
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.name == "fixed")
    }));

    scale(&world, "fixed", 5);
    until(&world, MINUTE, |state| has_nodes(state, 5));
    // Empty and quiet for an hour: no consolidation takes a static node.
    world.advance(Duration::from_hours(1));
    assert!(has_nodes(&world.state().unwrap(), 5));
    let pools: Api<NodePool> = Api::all(world.client());
    let nodes = world.run(pools.get("fixed")).unwrap().status.unwrap().nodes;
    assert_eq!(nodes, Some(5));

    // Pods use the nodes that are there; nobody makes more for them.
    world
        .apply(&deployment("web", 2, "{cpu: 300m, memory: 64Mi}", ""))
        .unwrap();
    let state = until(&world, MINUTE, |state| state.running() == 2);
    assert!(has_nodes(&state, 5), "{}", state.describe());

    scale(&world, "fixed", 2);
    let state = until(&world, MINUTE, |state| has_nodes(state, 2));
    assert_eq!(state.running(), 2, "{}", state.describe());
    let busy: Vec<&str> = state
        .pods
        .iter()
        .filter_map(|pod| pod.node.as_deref())
        .collect();
    let kept = state.nodes.iter().map(|node| node.name.as_str());
    assert!(
        kept.into_iter().any(|node| busy.contains(&node)),
        "{}",
        state.describe()
    );

    scale(&world, "fixed", 0);
    let state = until(&world, MINUTE, |state| has_nodes(state, 0));
    assert_eq!(state.running(), 0, "{}", state.describe());
    scale(&world, "fixed", 1);
    until(&world, MINUTE, |state| {
        has_nodes(state, 1) && state.running() == 2
    });
}

#[test]
fn a_dynamic_pool_takes_what_the_static_one_has_no_room_for() {
    let world = world();
    let fixed =
        pool("fixed", SMALL).replace("spec:\n  template", "spec:\n  replicas: 1\n  template");
    world.apply(&fixed).unwrap();
    world.apply(&pool("dynamic", SMALL)).unwrap();
    until(&world, MINUTE, |state| has_nodes(state, 1));
    world
        .apply(&deployment("web", 3, "{cpu: 700m, memory: 64Mi}", ""))
        .unwrap();
    let state = until(&world, 2 * MINUTE, |state| state.running() == 3);
    let of = |pool: &str| {
        let claims = state.claims.iter().filter(|claim| {
            let labels = claim.metadata.labels.as_ref();
            labels.is_some_and(|labels| labels["karpenter.sh/nodepool"] == pool)
        });
        claims.count()
    };
    assert_eq!(of("fixed"), 1, "{}", state.describe());
    assert!(of("dynamic") >= 1, "{}", state.describe());
}
