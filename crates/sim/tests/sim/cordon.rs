//! A cordoned node takes no pods, and our autoscaler knows.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use karpenter_sim::World;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

const MANIFESTS: &str = "
apiVersion: karpenter.kwok.sh/v1alpha1
kind: KWOKNodeClass
metadata: {name: default}
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: default}
spec:
  template:
    spec:
      nodeClassRef: {group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}
      requirements:
      - {key: kubernetes.io/os, operator: In, values: [linux]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: web, resources: {requests: {cpu: 500m}}}
";

fn cordon(world: &World, name: &str, unschedulable: bool) -> Vec<String> {
    let nodes: Api<Node> = Api::all(world.client());
    let patch = Patch::Merge(json!({"spec": {"unschedulable": unschedulable}}));
    world
        .run(nodes.patch(name, &PatchParams::default(), &patch))
        .unwrap();
    world.advance(Duration::from_secs(1));
    let node = world.run(nodes.get(name)).unwrap();
    let taints = node.spec.unwrap().taints.unwrap_or_default();
    taints.into_iter().map(|taint| taint.key).collect()
}

#[test]
fn pods_of_a_cordoned_node_get_another_one() {
    let world = World::new(1).unwrap();
    world.apply(MANIFESTS).unwrap();
    let wait = Duration::from_secs(30);
    let state = world.until(|state| state.running() == 1, wait).unwrap();
    let first = state.nodes[0].name.clone();
    // Half a CPU is still free on the first node.
    assert_eq!(
        cordon(&world, &first, true),
        ["node.kubernetes.io/unschedulable"]
    );
    let scale = Patch::Merge(json!({"spec": {"replicas": 2}}));
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> =
        Api::namespaced(world.client(), "default");
    world
        .run(deployments.patch("web", &PatchParams::default(), &scale))
        .unwrap();
    let state = world.until(|state| state.running() == 2, wait).unwrap();
    assert_eq!(state.nodes.len(), 2, "{}", state.describe());
    assert_eq!(cordon(&world, &first, false), Vec::<String>::new());
}
