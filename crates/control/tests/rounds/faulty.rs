//! Pools with settings of disruption that this version cannot read.

use std::time::Duration;

use karpenter_api::{
    NodePool,
    conditions::{self, DISRUPTION_VALID, READY},
};
use kube::Api;
use serde_json::json;

use crate::world::World;

/// What the pool says of its settings of disruption, if anything is wrong with them.
async fn fault(world: &World, pool: &str) -> Option<String> {
    let pools: Api<NodePool> = Api::all(world.client.clone());
    let status = pools.get(pool).await.unwrap().status.unwrap();
    let all = status.conditions.unwrap();
    assert!(conditions::is_true(&all, READY), "{all:?}");
    let found = conditions::get(&all, DISRUPTION_VALID)?;
    assert_eq!(found.status, "False");
    Some(found.message.clone())
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_a_newer_release_keeps_nodes_and_launches_others() {
    let mut world = World::new().await;
    world.admit_any_pool().await;
    world.run();
    let unknown = json!({ "disruption": { "consolidationPolicy": "WhenRaining" } });
    world.pool("faulty", unknown).await;
    world.pool("fine", json!({})).await;
    world.at(1).await;
    for pool in ["faulty", "fine"] {
        let own = json!({ "spec": { "nodeSelector": { "karpenter.sh/nodepool": pool } } });
        world.pending(pool, "1", own).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.make_nodes_ready().await;
    world
        .check("both pools launch", world.kept_nodes().await.len() == 2)
        .await;
    assert_eq!(fault(&world, "fine").await, None);
    assert_eq!(
        fault(&world, "faulty").await.as_deref(),
        Some(
            "spec.disruption.consolidationPolicy: \"WhenRaining\" is unknown to this version, use WhenEmpty, \
             WhenEmptyOrUnderutilized or Balanced"
        )
    );
    for pool in ["faulty", "fine"] {
        world.delete_pod(pool).await;
    }
    world.at(600).await;
    let nodes = world.nodes().await;
    let of = |node: &karpenter_api::objects::Node| {
        node.metadata.labels.as_ref().unwrap()["karpenter.sh/nodepool"].clone()
    };
    let pools: Vec<String> = nodes.iter().map(of).collect();
    world
        .check("the other pool's node goes", pools == ["faulty"])
        .await;
    let known = json!({ "disruption": { "consolidationPolicy": "WhenEmpty" } });
    world.change_pool("faulty", known).await;
    world.at(601).await;
    assert_eq!(fault(&world, "faulty").await, None, "told while it is so");
    world.at(700).await;
    world
        .check(
            "it goes once that is put right",
            world.nodes().await.is_empty(),
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn budgets_that_cannot_be_read_are_told_by_their_place() {
    let mut world = World::new().await;
    world.admit_any_pool().await;
    world.run();
    let budgets = json!({ "disruption": { "budgets": [
        { "nodes": "100%" }, { "nodes": "1", "schedule": "@daily" },
    ] } });
    world.pool("default", budgets).await;
    world.at(1).await;
    let nodes = world.busy_nodes(1).await;
    assert_eq!(
        fault(&world, "default").await.as_deref(),
        Some("spec.disruption.budgets[1]: schedule needs a duration")
    );
    world.delete_pod("web-0").await;
    world.at(600).await;
    world
        .check("disruption/B18", world.kept_nodes().await == nodes)
        .await;
    let whole = json!({ "disruption": { "budgets": [{ "nodes": "100%" }] } });
    world.change_pool("default", whole).await;
    world.at(700).await;
    world
        .check("disruption/B18", world.kept_nodes().await.is_empty())
        .await;
    assert_eq!(fault(&world, "default").await, None);
}
