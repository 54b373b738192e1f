//! What feature gates add, end to end: overlays change which types are chosen, buffers keep room free.

use std::time::Duration;

use karpenter_api::{CapacityBuffer, Condition, NodeOverlay, NodePool};
use karpenter_control::ctx;
use karpenter_sim::{GENESIS, Options, World};
use kube::api::{Api, DeleteParams};

use crate::common::{MINUTE, SMALL, deployment, pool, until};

/// A cluster whose controllers have these gates.
fn world(gates: &str) -> World {
    let controller = ctx::Options {
        gates: gates.parse().unwrap(),
        seed: 1,
        ..ctx::Options::default()
    };
    let world = World::with(Options {
        controller: Some(controller),
        ..Options::new(GENESIS, 1)
    })
    .unwrap();
    world
        .apply("{apiVersion: karpenter.kwok.sh/v1alpha1, kind: KWOKNodeClass, metadata: {name: default}}")
        .unwrap();
    world
}

/// Type, status and reason of each condition, in order of type.
fn told(conditions: Option<Vec<Condition>>) -> Vec<String> {
    let mut told: Vec<String> = conditions
        .unwrap_or_default()
        .into_iter()
        .map(|own| format!("{}={} {}", own.type_, own.status, own.reason))
        .collect();
    told.sort();
    told
}

fn overlay_conditions(world: &World, name: &str) -> Vec<String> {
    let overlays: Api<NodeOverlay> = Api::all(world.client());
    let overlay = world.run(overlays.get(name)).unwrap();
    told(overlay.status.and_then(|status| status.conditions))
}

fn buffer(world: &World) -> CapacityBuffer {
    let buffers: Api<CapacityBuffer> = Api::namespaced(world.client(), "default");
    world.run(buffers.get("spare")).unwrap()
}

#[test]
fn an_overlay_changes_the_choice_and_says_whether_it_is_applied() {
    let world = world("NodeOverlay=true");
    world.apply(&pool("default", SMALL)).unwrap();
    world
        .apply(
            "
apiVersion: karpenter.sh/v1alpha1
kind: NodeOverlay
metadata: {name: large-is-cheap}
spec:
  requirements: [{key: karpenter.kwok.sh/instance-cpu, operator: In, values: ['4']}]
  price: '0.0001'
---
apiVersion: karpenter.sh/v1alpha1
kind: NodeOverlay
metadata: {name: also-cheap}
spec:
  requirements: [{key: karpenter.kwok.sh/instance-cpu, operator: In, values: ['4']}]
  priceAdjustment: '-1%'
---
apiVersion: karpenter.sh/v1alpha1
kind: NodeOverlay
metadata: {name: odd}
spec:
  requirements: [{key: karpenter.kwok.sh/instance-cpu, operator: Exists}]
  capacity: {pods: '7'}
",
        )
        .unwrap_err();
    world.advance(Duration::from_secs(5));
    assert_eq!(
        overlay_conditions(&world, "large-is-cheap"),
        [
            "Ready=True Ready",
            "ValidationSucceeded=True ValidationSucceeded"
        ]
    );
    assert_eq!(
        overlay_conditions(&world, "also-cheap"),
        [
            "Ready=False UnhealthyDependents",
            "ValidationSucceeded=False Conflict"
        ]
    );
    world
        .apply(&deployment("web", 1, "{cpu: 100m}", ""))
        .unwrap();
    let state = until(&world, MINUTE, |state| state.running() == 1);
    let cpu = &state.nodes[0].labels["karpenter.kwok.sh/instance-cpu"];
    let claim = &state.claims[0];
    let annotations = claim.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations["karpenter.sh/price-overlay-applied"], "true");
    let first = &claim
        .spec
        .requirements
        .iter()
        .find(|own| own.key == "node.kubernetes.io/instance-type");
    let types = first.unwrap().values.as_ref().unwrap();
    assert!(types.len() > 1 && !cpu.is_empty(), "{types:?}");
    // Once the other is gone nothing conflicts any more.
    let overlays: Api<NodeOverlay> = Api::all(world.client());
    world
        .run(overlays.delete("large-is-cheap", &DeleteParams::default()))
        .unwrap();
    world.advance(Duration::from_secs(5));
    assert_eq!(
        overlay_conditions(&world, "also-cheap"),
        [
            "Ready=True Ready",
            "ValidationSucceeded=True ValidationSucceeded"
        ]
    );
}

const BUFFER: &str = "
apiVersion: v1
kind: PodTemplate
metadata: {name: unit}
template:
  spec:
    containers: [{name: main, image: x, resources: {requests: {cpu: '1'}}}]
---
apiVersion: autoscaling.x-k8s.io/v1beta1
kind: CapacityBuffer
metadata: {name: spare}
spec: {podTemplateRef: {name: unit}, replicas: 2}
";

#[test]
fn a_buffer_keeps_room_free() {
    let row = "scheduling/B2";
    let world = world("CapacityBuffer=true");
    world.apply(&pool("default", SMALL)).unwrap();
    world.apply(BUFFER).unwrap();
    let state = until(&world, MINUTE, |state| {
        state.nodes.iter().any(|node| node.ready)
    });
    assert_eq!(state.nodes.len(), 1, "{row}: {}", state.describe());
    world.advance(MINUTE);
    let status = buffer(&world).status.unwrap();
    assert_eq!(status.replicas, Some(2));
    assert_eq!(
        told(status.conditions),
        [
            "Provisioning=True FitsExistingCapacity",
            "ReadyForProvisioning=True Resolved"
        ],
        "{row}"
    );
    // Nobody runs there, and it stays.
    world.advance(MINUTE);
    let state = world.state().unwrap();
    assert_eq!(
        (state.nodes.len(), state.pods.len()),
        (1, 0),
        "{}",
        state.describe()
    );
    // Pods that come take the room, and it is made anew.
    world
        .apply(&deployment("web", 2, "{cpu: '1'}", ""))
        .unwrap();
    let state = until(&world, MINUTE, |state| {
        state.running() == 2 && state.nodes.len() == 2
    });
    let host = state.pods[0].node.clone();
    assert!(
        state.pods.iter().all(|pod| pod.node == host),
        "{}",
        state.describe()
    );
    // Without the buffer the second node goes.
    let buffers: Api<CapacityBuffer> = Api::namespaced(world.client(), "default");
    world
        .run(buffers.delete("spare", &DeleteParams::default()))
        .unwrap();
    until(&world, 3 * MINUTE, |state| state.nodes.len() == 1);
}

#[test]
fn a_buffer_without_a_template_says_so() {
    let row = "scheduling/B4";
    let world = world("CapacityBuffer=true");
    world.apply(&pool("default", SMALL)).unwrap();
    let (_, only_buffer) = BUFFER.split_once("---").unwrap();
    world.apply(only_buffer).unwrap();
    world.advance(MINUTE);
    let status = buffer(&world).status.unwrap();
    assert_eq!(
        told(status.conditions),
        [
            "Provisioning=False NotReadyForProvisioning",
            "ReadyForProvisioning=False PodTemplateNotFound"
        ],
        "{row}"
    );
    let pools: Api<NodePool> = Api::all(world.client());
    let nodes = world
        .run(pools.get("default"))
        .unwrap()
        .status
        .unwrap()
        .nodes;
    assert_eq!(nodes, Some(0), "{row}");
}
