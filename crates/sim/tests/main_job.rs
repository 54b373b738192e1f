//! The main job through all rooms: a pod that has no place gets a node, and a node that nobody needs goes.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use karpenter_api::KWOKNodeClass;
use karpenter_sim::World;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

const POOL: &str = "
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
      - {key: karpenter.sh/capacity-type, operator: In, values: [spot, on-demand]}
  disruption:
    consolidationPolicy: WhenEmpty
    consolidateAfter: 10s
    budgets: [{nodes: 100%}]
---
";

fn inflate(replicas: u32) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: inflate}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: inflate}}}}
  template:
    metadata: {{labels: {{app: inflate}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: inflate
        image: registry.k8s.io/pause:3.9
        resources: {{requests: {{cpu: '1'}}}}
---
"
    )
}

/// A world with the pool. The class is told that it is ready, until the server keeps the default of its status.
fn world(seed: u64) -> World {
    let world = World::new(seed).unwrap();
    world.apply(POOL).unwrap();
    let classes: Api<KWOKNodeClass> = Api::all(world.client());
    let ready = json!({"status": {"conditions": [{
        "type": "Ready", "status": "True", "reason": "Ready", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    world
        .run(classes.patch_status("default", &PatchParams::default(), &Patch::Merge(ready)))
        .unwrap();
    world
}

#[test]
fn a_pod_becomes_a_node_and_the_node_goes_with_it() {
    let world = world(1);
    world.apply(&inflate(1)).unwrap();
    let state = world
        .until(|state| state.running() == 1, Duration::from_secs(30))
        .unwrap_or_else(|error| panic!("{error}\n{}", world.write_log().join("\n")));
    assert_eq!((state.nodes.len(), state.claims.len()), (1, 1));

    world.apply(&inflate(0)).unwrap();
    world
        .until(
            |state| state.nodes.is_empty() && state.claims.is_empty(),
            Duration::from_mins(1),
        )
        .unwrap_or_else(|error| panic!("{error}\n{}", world.write_log().join("\n")));
}
