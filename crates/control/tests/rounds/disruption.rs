//! Empty nodes go: what the shell adds to the core's decision.

use karpenter_api::{NodeClaim, objects::Node};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::world::World;

/// A world with `count` nodes that run a pod each, about 40 seconds old.
async fn busy(count: usize, spec: serde_json::Value) -> (World, Vec<String>) {
    let mut world = World::new().await;
    world.run();
    world.pool("default", spec).await;
    world.at(1).await;
    let nodes = world.busy_nodes(count).await;
    (world, nodes)
}

#[tokio::test(start_paused = true)]
async fn an_empty_node_goes_after_its_quiet_time_and_the_hold() {
    let (world, nodes) = busy(1, json!({})).await;
    world.delete_pod("web-0").await;
    let emptied = world.seconds();
    // 30 s of quiet and 15 s of hold.
    world.at(emptied + 44).await;
    world
        .check("disruption/E10", world.kept_nodes().await == nodes)
        .await;
    world.at(emptied + 60).await;
    world
        .check("disruption/E1", world.kept_nodes().await.is_empty())
        .await;
    world.at(emptied + 120).await;
    assert!(world.nodes().await.is_empty() && world.claims().await.is_empty());
    assert_eq!(world.events("DisruptionTerminating").await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_consolidates_stays() {
    let never = json!({ "disruption": { "consolidateAfter": "Never" } });
    let (world, nodes) = busy(1, never).await;
    world.delete_pod("web-0").await;
    world.at(3600).await;
    world
        .check("disruption/E2", world.kept_nodes().await == nodes)
        .await;
}

/// Two empty nodes, pods bound to the first `bound` of them during the hold; how many stay.
async fn churn(row: &str, bound: usize) {
    let (world, nodes) = busy(2, json!({})).await;
    for index in 0..2 {
        world.delete_pod(&format!("web-{index}")).await;
    }
    let emptied = world.seconds();
    world.at(emptied + 42).await;
    assert_eq!(world.kept_nodes().await.len(), 2);
    for (index, node) in nodes.iter().enumerate().take(bound) {
        world
            .pending(&format!("late-{index}"), "1", json!({}))
            .await;
        world.bind(&format!("late-{index}"), node).await;
    }
    world.at(emptied + 70).await;
    let kept = world.kept_nodes().await;
    let stay = nodes[..bound].iter().all(|node| kept.contains(node));
    world.check(row, stay && kept.len() == bound).await;
    // A command goes on with the nodes that nobody came to; only when none is left it has failed.
    let failed = format!("{{consolidation_type=\"empty\"}} {bound}");
    let failed = if bound == 2 { &[&*failed][..] } else { &[] };
    let name = "karpenter_voluntary_disruption_failed_validations_total";
    world.measured(row, name, failed);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_comes_during_the_hold_keeps_its_node() {
    churn("no pod comes", 0).await;
    churn("disruption/E7", 1).await;
    churn("disruption/E8", 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_limits_how_many_go_at_once() {
    let spec = json!({ "disruption": { "budgets": [{ "nodes": "30%" }] } });
    let (world, _) = busy(10, spec).await;
    for index in 0..10 {
        world.delete_pod(&format!("web-{index}")).await;
    }
    let emptied = world.seconds();
    world.at(emptied + 56).await;
    world
        .check("disruption/B1", world.kept_nodes().await.len() == 7)
        .await;
}

#[tokio::test(start_paused = true)]
async fn traces_that_nobody_remembers_are_removed() {
    let (mut world, names) = busy(1, json!({})).await;
    let nodes: Api<Node> = Api::all(world.client.clone());
    let taints = json!({ "spec": { "taints": [
        { "key": "karpenter.sh/disrupted", "effect": "NoSchedule" },
    ] } });
    nodes
        .patch(&names[0], &PatchParams::default(), &Patch::Merge(taints))
        .await
        .unwrap();
    let claims: Api<NodeClaim> = Api::all(world.client.clone());
    let claim = world.claims().await.remove(0);
    let mut status = json!(claim.status);
    status["conditions"].as_array_mut().unwrap().push(json!({
        "type": "DisruptionReason", "status": "True", "reason": "Empty", "message": "Empty",
        "lastTransitionTime": crate::world::EPOCH,
    }));
    let name = claim.metadata.name.unwrap();
    let patch = Patch::Merge(json!({ "status": status }));
    claims
        .patch_status(&name, &PatchParams::default(), &patch)
        .await
        .unwrap();
    world.restart().await;
    world.at(world.seconds() + 30).await;
    let node = nodes.get(&names[0]).await.unwrap();
    world
        .check("disruption/Q9", node.spec.taints.is_empty())
        .await;
    let conditions = claims
        .get(&name)
        .await
        .unwrap()
        .status
        .unwrap()
        .conditions
        .unwrap();
    assert!(
        conditions
            .iter()
            .all(|condition| condition.type_ != "DisruptionReason")
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_during_the_hold_only_delays() {
    let (mut world, _) = busy(1, json!({})).await;
    world.delete_pod("web-0").await;
    let emptied = world.seconds();
    world.at(emptied + 42).await;
    world.restart().await;
    world.at(emptied + 52).await;
    assert_eq!(world.kept_nodes().await.len(), 1);
    world.at(emptied + 90).await;
    assert!(world.kept_nodes().await.is_empty());
}
