//! The mini control plane by itself: our controllers are left out, nodes are made by hand.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use karpenter_sim::{GENESIS, Options, State, World};

fn world() -> World {
    World::with(Options {
        controller: None,
        ..Options::new(GENESIS, 7)
    })
    .unwrap()
}

fn node(name: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels: {{kubernetes.io/hostname: {name}, kubernetes.io/os: linux}}
status:
  capacity: {{cpu: '4', memory: 8Gi, pods: '20'}}
  allocatable: {{cpu: '4', memory: 8Gi, pods: '20'}}
---
"
    )
}

fn deployment(name: &str, replicas: u32, version: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: example.org/{name}:{version}
        resources: {{requests: {{cpu: 500m}}}}
---
"
    )
}

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn a_deployment_runs_on_a_node_made_by_hand() {
    let world = world();
    world.apply(&deployment("web", 3, "1")).unwrap();
    let waiting = world.until(
        |state| state.pods.len() == 3 && state.pods.iter().all(|pod| pod.unschedulable.is_some()),
        MINUTE,
    );
    let waiting = waiting.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        waiting.pods[0].unschedulable.as_deref(),
        Some("no nodes available to schedule pods")
    );

    world.apply(&node("n1")).unwrap();
    let state = world
        .until(|state| state.running() == 3, MINUTE)
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(
        state
            .pods
            .iter()
            .all(|pod| pod.node.as_deref() == Some("n1"))
    );
    settled(&world);
}

/// A settled cluster writes nothing.
fn settled(world: &World) {
    world.advance(Duration::from_secs(15));
    let before = world.write_log().len();
    world.advance(Duration::from_hours(24));
    let log = world.write_log();
    assert_eq!(
        log.len(),
        before,
        "written in a settled cluster: {:?}",
        &log[before..]
    );
}

#[test]
fn a_rollout_replaces_every_pod_and_scaling_to_zero_removes_them() {
    let world = world();
    world
        .apply(&format!("{}{}", node("n1"), deployment("web", 4, "1")))
        .unwrap();
    world
        .until(|state| state.running() == 4, MINUTE)
        .unwrap_or_else(|error| panic!("{error}"));
    let hash = |state: &State| state.pods[0].labels["pod-template-hash"].clone();
    let first = hash(&world.state().unwrap());

    world.apply(&deployment("web", 4, "2")).unwrap();
    let state = world
        .until(
            |state| {
                assert!(
                    state.running() >= 3,
                    "a rollout keeps three quarters running"
                );
                state.pods.len() == 4
                    && state.running() == 4
                    && state
                        .pods
                        .iter()
                        .all(|pod| pod.labels["pod-template-hash"] != first)
            },
            MINUTE,
        )
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(state.running(), 4);

    world.apply(&deployment("web", 0, "2")).unwrap();
    world
        .until(|state| state.pods.is_empty(), MINUTE)
        .unwrap_or_else(|error| panic!("{error}"));
    settled(&world);
}
