//! Manifests that the system tests share: the dullest valid objects, of which a test says what it is about.

use std::time::Duration;

use karpenter_sim::{GENESIS, Options, State, World};

pub(crate) const MINUTE: Duration = Duration::from_mins(1);

/// A cluster without our controllers.
pub(crate) fn bare_world() -> World {
    World::with(Options {
        controller: None,
        ..Options::new(GENESIS, 7)
    })
    .unwrap()
}

/// A cluster with our controllers and the default class.
pub(crate) fn world(seed: u64) -> World {
    let world = World::new(seed).unwrap();
    world
        .apply("{apiVersion: karpenter.kwok.sh/v1alpha1, kind: KWOKNodeClass, metadata: {name: default}}")
        .unwrap();
    world
}

/// Waits for a condition and shows the cluster if it does not come.
pub(crate) fn until(world: &World, timeout: Duration, holds: impl Fn(&State) -> bool) -> State {
    world
        .until(holds, timeout)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A NodePool whose empty nodes go after ten seconds. `template` are lines of `spec.template.spec` in flow style.
pub(crate) fn pool(name: &str, template: &str) -> String {
    format!(
        "
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {{name: {name}}}
spec:
  template:
    spec:
      nodeClassRef: {{group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}}
      {template}
  disruption:
    consolidationPolicy: WhenEmpty
    consolidateAfter: 10s
    budgets: [{{nodes: 100%}}]
---
"
    )
}

/// Linux, on demand, in four processors or fewer.
pub(crate) const SMALL: &str = "requirements: [
        {key: kubernetes.io/os, operator: In, values: [linux]},
        {key: karpenter.sh/capacity-type, operator: In, values: [on-demand]},
        {key: karpenter.kwok.sh/instance-cpu, operator: Lt, values: ['5']}]";

/// A deployment of pods that ask for `requests` and stop at once; `pod` are lines of the pod's specification.
pub(crate) fn deployment(name: &str, replicas: u32, requests: &str, pod: &str) -> String {
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
        image: example.org/{name}:1
        resources: {{requests: {requests}}}
      {pod}
---
"
    )
}
