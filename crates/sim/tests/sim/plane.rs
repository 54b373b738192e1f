//! The mini control plane by itself: our controllers are left out, nodes are made by hand.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use crate::common::{MINUTE, bare_world, deployment, until};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use karpenter_sim::World;
use kube::api::{Api, DeleteParams};

/// A node of four processors; `spec` are its taints and the like in flow style.
fn node(name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels: {{kubernetes.io/hostname: {name}, kubernetes.io/os: linux}}
spec: {spec}
status:
  capacity: {{cpu: '4', memory: 8Gi, pods: '20'}}
  allocatable: {{cpu: '4', memory: 8Gi, pods: '20'}}
---
"
    )
}

const HALF: &str = "{cpu: 500m}";

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
fn a_deployment_runs_on_a_node_made_by_hand() {
    let world = bare_world();
    world.apply(&deployment("web", 3, HALF, "")).unwrap();
    let waiting = until(&world, MINUTE, |state| {
        state.pods.len() == 3 && state.pods.iter().all(|pod| pod.unschedulable.is_some())
    });
    assert_eq!(
        waiting.pods[0].unschedulable.as_deref(),
        Some("no nodes available to schedule pods")
    );

    world.apply(&node("n1", "{}")).unwrap();
    let state = until(&world, MINUTE, |state| state.running() == 3);
    assert!(
        state
            .pods
            .iter()
            .all(|pod| pod.node.as_deref() == Some("n1"))
    );
    settled(&world);
}

#[test]
fn a_rollout_replaces_every_pod_and_scaling_to_zero_removes_them() {
    let world = bare_world();
    world
        .apply(&format!(
            "{}{}",
            node("n1", "{}"),
            deployment("web", 4, HALF, "")
        ))
        .unwrap();
    let first =
        until(&world, MINUTE, |state| state.running() == 4).pods[0].labels["pod-template-hash"]
            .clone();

    world
        .apply(&deployment("web", 4, HALF, "hostname: second"))
        .unwrap();
    until(&world, MINUTE, |state| {
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
    });

    world
        .apply(&deployment("web", 0, HALF, "hostname: second"))
        .unwrap();
    until(&world, MINUTE, |state| state.pods.is_empty());
    settled(&world);
}

#[test]
fn daemons_run_where_they_are_tolerated_and_follow_nodes() {
    let world = bare_world();
    let tainted = "{taints: [{key: team, value: red, effect: NoSchedule}]}";
    world.apply(&node("n1", "{}")).unwrap();
    world.apply(&node("n2", tainted)).unwrap();
    world.apply(&node("n3", "{unschedulable: true, taints: [{key: node.kubernetes.io/unschedulable, effect: NoSchedule}]}")).unwrap();
    world
        .apply(
            "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers: [{name: main, image: example.org/agent:1, resources: {requests: {cpu: 100m}}}]
",
        )
        .unwrap();
    let state = until(&world, MINUTE, |state| state.running() == 2);
    let mut nodes: Vec<&str> = state
        .pods
        .iter()
        .filter_map(|pod| pod.node.as_deref())
        .collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["n1", "n3"]);

    world.apply(&node("n4", "{}")).unwrap();
    until(&world, MINUTE, |state| state.running() == 3);
    // Pods of a node that is gone go with it.
    let all: Api<Node> = Api::all(world.client());
    world
        .run(all.delete("n1", &DeleteParams::default()))
        .unwrap();
    until(&world, MINUTE, |state| {
        state.pods.len() == 2 && state.nodes.len() == 3
    });
    settled(&world);
}

#[test]
fn a_job_runs_to_its_end() {
    let world = bare_world();
    world.apply(&node("n1", "{}")).unwrap();
    world
        .apply(
            "
apiVersion: batch/v1
kind: Job
metadata: {name: sum}
spec:
  completions: 5
  parallelism: 2
  template:
    metadata: {annotations: {sim.karpenter.sh/runs-for: 30s}}
    spec:
      restartPolicy: Never
      containers: [{name: main, image: example.org/sum:1, resources: {requests: {cpu: 100m}}}]
",
        )
        .unwrap();
    let state = until(&world, 3 * MINUTE, |state| {
        assert!(state.pods_in("Running") <= 2, "two at a time");
        state.pods_in("Succeeded") == 5
    });
    assert_eq!(state.pods.len(), 5);
    world.advance(Duration::from_secs(5));
    let job = world
        .run(Api::<Job>::default_namespaced(world.client()).get("sum"))
        .unwrap();
    let status = job.status.unwrap();
    assert_eq!(status.succeeded, Some(5));
    assert!(
        status
            .conditions
            .unwrap()
            .iter()
            .any(|one| one.type_ == "Complete" && one.status == "True")
    );
    settled(&world);
}

#[test]
fn pods_that_are_not_ours_to_place_wait() {
    let world = bare_world();
    world.apply(&node("n1", "{}")).unwrap();
    world
        .apply(&deployment(
            "gated",
            1,
            HALF,
            "schedulingGates: [{name: example.org/hold}]",
        ))
        .unwrap();
    world
        .apply(&deployment("foreign", 1, HALF, "schedulerName: another"))
        .unwrap();
    let state = until(&world, MINUTE, |state| {
        state.pods.len() == 2 && state.pods[1].unschedulable.is_some()
    });
    assert_eq!(
        state
            .pods
            .iter()
            .map(|pod| pod.unschedulable.as_deref())
            .collect::<Vec<_>>(),
        [
            None,
            Some("Scheduling is blocked due to non-empty scheduling gates")
        ]
    );
    assert_eq!(state.unbound(), 2);
    settled(&world);
}

#[test]
fn a_budget_says_how_many_pods_may_go() {
    let world = bare_world();
    world
        .apply(&format!(
            "{}{}",
            node("n1", "{}"),
            deployment("web", 4, HALF, "")
        ))
        .unwrap();
    world
        .apply(
            "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 3, selector: {matchLabels: {app: web}}}
",
        )
        .unwrap();
    until(&world, MINUTE, |state| state.running() == 4);
    world.advance(Duration::from_secs(1));
    let budgets: Api<PodDisruptionBudget> = Api::default_namespaced(world.client());
    let status = world.run(budgets.get("web")).unwrap().status.unwrap();
    assert_eq!(
        (
            status.expected_pods,
            status.desired_healthy,
            status.current_healthy,
            status.disruptions_allowed
        ),
        (Some(4), Some(3), Some(4), Some(1))
    );
}
