//! Nodes are replaced by cheaper ones: what the shell adds to the core's decision.

use karpenter_api::{
    NodeClaim, conditions::DISRUPTION_REASON, labels::annotations::REPLACED_TYPES,
};
use serde_json::json;

use crate::world::{Launches, World};

/// A world whose only node is far too large for the one pod that is left on it; its name, and when the other
/// pod went.
pub(crate) async fn oversized() -> (World, String, u64) {
    let mut world = World::new().await;
    world.run();
    let on_demand = json!({ "template": { "spec": { "requirements": [
        { "key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"] },
    ] } } });
    world.pool("default", on_demand).await;
    world.at(1).await;
    let node = world.busy_nodes(1).await.remove(0);
    world.pending("small", "1", json!({})).await;
    world.bind("small", &node).await;
    world.delete_pod("web-0").await;
    let emptied = world.seconds();
    (world, node, emptied)
}

pub(crate) async fn disrupted(world: &World, node: &str) -> bool {
    let nodes = world.nodes().await;
    let own = nodes
        .iter()
        .find(|own| own.metadata.name.as_deref() == Some(node));
    own.is_some_and(|own| {
        let taints = &own.spec.taints;
        taints
            .iter()
            .any(|taint| taint.key == "karpenter.sh/disrupted")
    })
}

fn replaces(claim: &NodeClaim) -> Option<&String> {
    claim.metadata.annotations.as_ref()?.get(REPLACED_TYPES)
}

#[tokio::test(start_paused = true)]
async fn a_node_stays_until_its_replacement_is_ready() {
    let (world, node, emptied) = oversized().await;
    // 30 s of quiet and 15 s of hold.
    world.at(emptied + 44).await;
    world
        .check("disruption/T1", !disrupted(&world, &node).await)
        .await;
    world.at(emptied + 65).await;
    let claims = world.claims().await;
    world.check("disruption/R1", claims.len() == 2).await;
    assert_eq!(claims.iter().filter_map(replaces).count(), 1);
    world
        .check("disruption/Q1", disrupted(&world, &node).await)
        .await;
    assert_eq!(
        world.events("DisruptionWaitingReadiness").await,
        ["Waiting on readiness to continue disruption"]
    );
    assert_eq!(
        world.events("DisruptionLaunching").await,
        ["Launching NodeClaim: Underutilized"]
    );
    world.make_nodes_ready().await;
    world.at(emptied + 100).await;
    let kept = world.kept_nodes().await;
    world
        .check("disruption/R1", kept.len() == 1 && kept[0] != node)
        .await;
    world.measured(
        "disruption/R1",
        "karpenter_voluntary_disruption_decisions_total",
        &["{consolidation_type=\"single\",decision=\"replace\",reason=\"underutilized\"} 1"],
    );
    assert_eq!(world.events("ConsolidationCandidate").await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_cannot_be_had_is_not_asked_for_again_at_once() {
    let (world, node, emptied) = oversized().await;
    world.launches(Launches::NoCapacity);
    world.at(emptied + 120).await;
    let claims = world.claims().await;
    world
        .check(
            "disruption/F9",
            claims.len() == 1 && !disrupted(&world, &node).await,
        )
        .await;
    let conditions = claims[0].status.as_ref().unwrap().conditions.as_deref();
    let failed = conditions
        .unwrap_or_default()
        .iter()
        .any(|own| own.type_ == DISRUPTION_REASON && own.status == "False");
    world.check("disruption/F9", failed).await;
    world.launches(Launches::Succeed);
    world.at(emptied + 600).await;
    world
        .check("no second try", world.claims().await.len() == 1)
        .await;
    world.at(emptied + 1200).await;
    world
        .check("a second try", world.claims().await.len() == 2)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_while_a_replacement_starts_undoes_the_command() {
    let (mut world, node, emptied) = oversized().await;
    world.at(emptied + 65).await;
    world
        .check("disruption/Q1", disrupted(&world, &node).await)
        .await;
    world.restart().await;
    world.at(emptied + 70).await;
    world
        .check("disruption/Q9", !disrupted(&world, &node).await)
        .await;
    // What was launched is used: the pod fits there, so the old node just goes.
    world.make_nodes_ready().await;
    world.at(emptied + 160).await;
    world
        .check(
            "the old node goes",
            !world.kept_nodes().await.contains(&node),
        )
        .await;
    let log = world.server.write_log();
    let created = log
        .iter()
        .filter(|write| write.contains("create nodeclaims"));
    world
        .check("nothing more is launched", created.count() == 2)
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_next_command_is_looked_for_once_the_last_one_starts() {
    let mut world = World::new().await;
    world.run();
    world.at(1).await;
    // Neither pool's pod can go to the other's nodes.
    let pools = ["default", "other"];
    let only =
        |pool: &str| json!({ "spec": { "nodeSelector": { "karpenter.sh/nodepool": pool } } });
    for pool in pools {
        let on_demand = json!({ "template": { "spec": { "requirements": [
            { "key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"] },
        ] } } });
        world.pool(pool, on_demand).await;
        world
            .pending(&format!("web-{pool}"), "200", only(pool))
            .await;
    }
    world.at(11).await;
    world.make_nodes_ready().await;
    world.at(21).await;
    let mut nodes = Vec::new();
    for node in world.nodes().await {
        let pool = node.metadata.labels.unwrap()["karpenter.sh/nodepool"].clone();
        let name = node.metadata.name.unwrap();
        world.bind(&format!("web-{pool}"), &name).await;
        nodes.push((pool, name));
    }
    world.at(31).await;
    for (pool, node) in &nodes {
        let small = format!("small-{pool}");
        world.pending(&small, "1", only(pool)).await;
        world.bind(&small, node).await;
        world.delete_pod(&format!("web-{pool}")).await;
    }
    let mut started = Vec::new();
    for second in 31..150 {
        world.at(second).await;
        for (pool, node) in &nodes {
            if started.iter().all(|(known, _)| *known != pool) && disrupted(&world, node).await {
                started.push((pool, second));
            }
        }
    }
    // A command is held for 15 s, and the next one need not wait for the next round.
    let follows = matches!(&started[..], [(_, first), (_, second)] if second - first <= 16);
    world.check(&format!("{started:?}"), follows).await;
}
