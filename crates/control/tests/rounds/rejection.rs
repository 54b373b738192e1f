//! Commands that are given up while they are held: what the shell adds to the core's judgement.

use serde_json::json;

use crate::{
    consolidation::{disrupted, oversized},
    world::World,
};

const FAILED: &str = "karpenter_voluntary_disruption_failed_validations_total";

#[tokio::test(start_paused = true)]
async fn a_budget_that_closes_during_the_hold_stops_the_command() {
    let row = "disruption/T6";
    let (world, node, emptied) = oversized().await;
    world.at(emptied + 43).await;
    assert_eq!(world.events("ConsolidationCandidate").await.len(), 2);
    let closed = json!({ "disruption": { "budgets": [{ "nodes": "0" }] } });
    world.change_pool("default", closed).await;
    world.at(emptied + 120).await;
    let stays = world.claims().await.len() == 1 && !disrupted(&world, &node).await;
    world.check(row, stays).await;
    world.measured(row, FAILED, &["{consolidation_type=\"single\"} 1"]);
    let rejected = world.events("ConsolidationRejected").await;
    assert_eq!(rejected.len(), 2, "{row}: the node and its claim");
    let told = |text: &String| text.contains("reason: budget");
    assert!(rejected.iter().all(told), "{row}: {rejected:?}");
}

#[tokio::test(start_paused = true)]
async fn when_several_may_not_go_one_may_in_the_same_pass() {
    let row = "disruption/T8";
    let mut world = World::new().await;
    world.run();
    let on_demand = json!({
        "disruption": { "budgets": [{ "nodes": "100%" }] },
        "template": { "spec": { "requirements": [
            { "key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"] },
        ] } },
    });
    world.pool("default", on_demand).await;
    world.at(1).await;
    let nodes = world.oversized_nodes(2).await;
    let emptied = world.seconds();
    world.at(emptied + 40).await;
    let [protected, other] = &nodes[..] else {
        panic!("{nodes:?}")
    };
    let protection =
        json!({ "metadata": { "annotations": { "karpenter.sh/do-not-disrupt": "true" } } });
    world.pending("late", "1", protection).await;
    world.bind("late", protected).await;
    // What comes instead is proposed in the pass that gives the two up: nothing is waited for before it is held.
    world.at(emptied + 55).await;
    let rejected = world.events("ConsolidationRejected").await;
    world.check(row, rejected.len() == 4).await;
    let proposed = world.events("ConsolidationCandidate").await;
    world.check(row, proposed.len() == 4 + 2).await;
    world.at(emptied + 71).await;
    world.check(row, !disrupted(&world, protected).await).await;
    world.check(row, disrupted(&world, other).await).await;
    world.measured(row, FAILED, &["{consolidation_type=\"multi\"} 2"]);
}
