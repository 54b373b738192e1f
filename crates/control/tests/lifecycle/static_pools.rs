//! Static pools: they keep the number of nodes that they ask for, whatever pods want.

use std::collections::BTreeSet;

use http::Method;
use karpenter_cloud::LaunchError;
use serde_json::{Value, json};

use crate::world::{World, claim, node, pod, pool, with};
use crate::{check, check_eq};

/// A static pool.
fn fixed(replicas: i64) -> Value {
    with(pool("fixed"), json!({"spec": {"replicas": replicas}}))
}

async fn scale(world: &World, replicas: i64) {
    let patch = json!({"spec": {"replicas": replicas}});
    world.patch("NodePool", "fixed", patch).await;
}

/// The names of the pool's claims that stay.
async fn staying(world: &World) -> BTreeSet<String> {
    let claims = world.list("NodeClaim").await;
    let staying = claims.iter().filter(|claim| {
        claim["metadata"]["labels"]["karpenter.sh/nodepool"] == "fixed"
            && claim["metadata"]["deletionTimestamp"].is_null()
    });
    staying
        .map(|claim| claim["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Lets the machines of all claims that were launched join, and waits until they are initialised.
async fn join(world: &World) {
    for name in staying(world).await {
        let claim = world.get("NodeClaim", &name).await.unwrap();
        let id = claim["status"]["providerID"].as_str();
        if let Some(id) = id
            && world.gone("Node", &name).await
        {
            world.create(node(&name, id)).await;
            world
                .until("initialisation", 20, async |world| {
                    world.condition("NodeClaim", &name, "Initialized").await == "True/Initialized"
                })
                .await;
        }
    }
}

/// A world with a static pool whose nodes are all ready.
async fn with_nodes(replicas: i64) -> World {
    let world = World::new().await;
    world.create(fixed(replicas)).await;
    world.pass(3).await;
    join(&world).await;
    check_eq(
        "lifecycle/P10",
        i64::try_from(staying(&world).await.len()).unwrap(),
        replicas,
    );
    world
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_created() {
    let world = World::new().await;
    world
        .create(with(
            claim("there"),
            json!({"metadata": {"labels": {"karpenter.sh/nodepool": "fixed"}}}),
        ))
        .await;
    world.pass(2).await;
    world.create(fixed(3)).await;
    world.pass(3).await;
    let names = staying(&world).await;
    check_eq("scheduling/S1", names.len(), 3);
    check("scheduling/S1", names.contains("there"));
    check_eq(
        "scheduling/S1",
        world.samples("karpenter_nodeclaims_created_total"),
        vec![
            "karpenter_nodeclaims_created_total{min_values_relaxed=\"false\",nodepool=\"fixed\",reason=\"provisioned\"} 2".to_owned(),
        ],
    );
    check("scheduling/S1", world.events("Nominated").await.is_empty());
    scale(&world, 5).await;
    world.pass(1).await;
    check_eq("lifecycle/P11", staying(&world).await.len(), 5);
    world.pass(300).await;
    check_eq("lifecycle/P11", staying(&world).await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_nodes_holds() {
    let world = World::new().await;
    let limit = |nodes: i64| json!({"spec": {"limits": {"nodes": nodes.to_string()}}});
    world.create(with(fixed(5), limit(3))).await;
    world.pass(3).await;
    let first = staying(&world).await;
    check_eq("scheduling/S2", first.len(), 3);
    world.pass(120).await;
    check_eq("scheduling/S2", staying(&world).await, first.clone());
    // What goes still takes its place: there are never more claims than the limit allows.
    join(&world).await;
    world.cloud.state().lingering = usize::MAX;
    let gone = first.first().unwrap();
    world.delete("NodeClaim", gone).await;
    world.pass(60).await;
    check_eq("lifecycle/P12", world.list("NodeClaim").await.len(), 3);
    world.cloud.state().lingering = 0;
    world.pass(60).await;
    check_eq("lifecycle/P12", staying(&world).await.len(), 3);
    check("lifecycle/P12", !staying(&world).await.contains(gone));
    world.patch("NodePool", "fixed", limit(4)).await;
    world.pass(3).await;
    check_eq("lifecycle/P12", staying(&world).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn scaling_down_takes_what_is_missed_the_least() {
    let world = with_nodes(2).await;
    let names: Vec<String> = staying(&world).await.into_iter().collect();
    world.create(pod("web", &names[0])).await;
    world.cloud.state().refuse_all = Some("out of order".to_owned());
    scale(&world, 3).await;
    world.pass(2).await;
    check_eq("scheduling/S3", staying(&world).await.len(), 3);
    scale(&world, 1).await;
    world.pass(1).await;
    let left: Vec<String> = staying(&world).await.into_iter().collect();
    check_eq("scheduling/S3", left, vec![names[0].clone()]);
    world.pass(60).await;
    check("scheduling/S3", world.gone("NodeClaim", &names[1]).await);
    check("scheduling/S3", world.gone("Node", &names[1]).await);
    // Not even pods hold the last node: who asks for none gets none.
    scale(&world, 0).await;
    world.pass(1).await;
    check("lifecycle/P17", staying(&world).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_disruption_has_taken_is_not_replaced_twice() {
    let world = with_nodes(3).await;
    let names: Vec<String> = staying(&world).await.into_iter().collect();
    let claim = world.get("NodeClaim", &names[0]).await.unwrap();
    let mut conditions = claim["status"]["conditions"].as_array().unwrap().clone();
    conditions.push(json!({
        "type": "DisruptionReason", "status": "True", "reason": "Drifted", "message": "Drifted",
        "lastTransitionTime": world.now(),
    }));
    let status = json!({"status": {"conditions": conditions}});
    world.patch_status("NodeClaim", &names[0], status).await;
    // A change of the pool has both controllers look at once.
    let limit = json!({"spec": {"limits": {"nodes": "9"}}});
    world.patch("NodePool", "fixed", limit).await;
    world.pass(1).await;
    check_eq("scheduling/S4", staying(&world).await.len(), 3);
    scale(&world, 2).await;
    world.pass(1).await;
    check_eq("scheduling/S4", staying(&world).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_goes_is_replaced_at_once() {
    let world = with_nodes(2).await;
    let gone = staying(&world).await.pop_first().unwrap();
    // Its pod holds the node for a while.
    world.create(pod("web", &gone)).await;
    world.delete("NodeClaim", &gone).await;
    world.pass(1).await;
    check("lifecycle/P18", !world.gone("NodeClaim", &gone).await);
    check_eq("lifecycle/P18", staying(&world).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_ready_static_pools_of_ours_get_claims() {
    let world = World::new().await;
    let class = |group: &str, name: &str| {
        json!({"spec": {"replicas": 2, "template": {"spec": {"nodeClassRef": {
            "group": group, "kind": "KWOKNodeClass", "name": name,
        }}}}})
    };
    let waits = with(pool("fixed"), class("karpenter.kwok.sh", "later"));
    world.create(waits).await;
    world
        .create(with(pool("foreign"), class("example.com", "default")))
        .await;
    world.pass(120).await;
    check("lifecycle/P13", world.list("NodeClaim").await.is_empty());
    world
        .create(json!({
            "kind": "KWOKNodeClass", "metadata": {"name": "later"},
            "status": {"conditions": [{
                "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                "lastTransitionTime": world.now(),
            }]},
        }))
        .await;
    world.pass(3).await;
    check_eq("lifecycle/P13", staying(&world).await.len(), 2);
    check_eq("lifecycle/P13", world.list("NodeClaim").await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_restart_creates_nothing() {
    let mut world = with_nodes(3).await;
    let names = staying(&world).await;
    world.restart().await;
    world.pass(70).await;
    check_eq("lifecycle/P14", staying(&world).await, names);
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_is_made_up_for() {
    let world = World::new().await;
    world.lose(Method::POST, "/nodeclaims", 2);
    world.create(fixed(4)).await;
    world.pass(10).await;
    check_eq("lifecycle/P10", staying(&world).await.len(), 4);
    world.lose(Method::DELETE, "", 1);
    scale(&world, 1).await;
    world.pass(10).await;
    check_eq("lifecycle/P15", staying(&world).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_has_nothing_left_is_not_asked_without_a_pause() {
    let world = World::new().await;
    let refusals = (0..2).map(|_| LaunchError::InsufficientCapacity("all gone".to_owned()));
    world.cloud.state().answers = refusals.collect();
    world.create(fixed(1)).await;
    world.pass(5).await;
    assert_eq!(world.cloud.state().attempts, 1);
    world.pass(30).await;
    assert_eq!(world.cloud.state().attempts, 3);
    check_eq("lifecycle/P10", staying(&world).await.len(), 1);
}
