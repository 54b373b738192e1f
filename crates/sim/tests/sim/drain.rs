//! Daemons, taints and budgets through all rooms: what our controllers make is taken by the binder, and a drain waits
//! for a budget and goes on when it yields.
#![allow(clippy::unwrap_used, missing_docs)]

use crate::common::{MINUTE, SMALL, deployment, pool, until, world};
use karpenter_api::NodeClaim;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};

const AGENT: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      tolerations: [{operator: Exists}]
      containers: [{name: main, image: example.org/agent:1, resources: {requests: {cpu: 500m}}}]
---
";

fn budget(allowed: u32) -> String {
    format!(
        "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: web}}
spec: {{maxUnavailable: {allowed}, selector: {{matchLabels: {{app: web}}}}}}
---
"
    )
}

#[test]
fn a_drain_waits_for_the_budget_and_then_goes_on() {
    let world = world(5);
    let tainted = format!("{SMALL}\n      taints: [{{key: team, value: red, effect: NoSchedule}}]");
    world.apply(&pool("default", &tainted)).unwrap();
    world.apply(AGENT).unwrap();
    world.apply(&budget(0)).unwrap();
    let tolerant = "tolerations: [{key: team, value: red}]";
    world
        .apply(&deployment("web", 3, "{cpu: 900m}", tolerant))
        .unwrap();
    // A node of four holds three of them beside the daemon, and the binder agrees.
    let state = until(&world, MINUTE, |state| {
        state.running() == 4 && state.pods.len() == 4
    });
    assert_eq!(state.nodes.len(), 1);
    let old = state.nodes[0].name.clone();

    let claims: Api<NodeClaim> = Api::all(world.client());
    let name = state.claims[0].name_any();
    world
        .run(claims.delete(&name, &DeleteParams::default()))
        .unwrap();
    world.advance(5 * MINUTE);
    let state = world.state().unwrap();
    let held = state
        .pods
        .iter()
        .filter(|pod| pod.labels["app"] == "web" && pod.node.as_deref() == Some(&old))
        .count();
    assert_eq!(
        held,
        3,
        "the budget allows no eviction\n{}",
        state.describe()
    );

    world.apply(&budget(1)).unwrap();
    let state = until(&world, 10 * MINUTE, |state| {
        state.nodes.iter().all(|node| node.name != old)
            && state
                .pods
                .iter()
                .filter(|pod| pod.labels["app"] == "web" && pod.ready)
                .count()
                == 3
    });
    assert!(
        state.nodes.iter().all(|node| node.ready),
        "{}",
        state.describe()
    );
}
