//! What is told about disruption: events about pods, scores of moves, and the log.

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    log::Log,
    world::{EPOCH, World},
};

/// An instant so many seconds after the world began.
fn instant(seconds: u64) -> String {
    let epoch: Timestamp = EPOCH.parse().unwrap();
    let later = epoch + SignedDuration::from_secs(seconds.try_into().unwrap());
    later.to_string()
}

impl World {
    /// Changes a pod, and when it was started.
    async fn annotate(&self, pod: &str, do_not_disrupt: &str, started: u64) {
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.client.clone(), "default");
        let status = json!({ "status": { "startTime": instant(started) } });
        pods.patch_status(pod, &PatchParams::default(), &Patch::Strategic(status))
            .await
            .unwrap();
        let annotations = json!({ "metadata": { "annotations": { "karpenter.sh/do-not-disrupt": do_not_disrupt } } });
        pods.patch(pod, &PatchParams::default(), &Patch::Merge(annotations))
            .await
            .unwrap();
    }
}

/// A world with a node that runs a pod.
async fn one(spec: Value) -> (World, String) {
    let mut world = World::new().await;
    world.run();
    world.pool("default", spec).await;
    world.at(1).await;
    let node = world.busy_nodes(1).await.remove(0);
    (world, node)
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_told_until_when_it_is_protected_and_once_that_it_no_longer_is() {
    let row = "disruption/C20";
    let (world, node) = one(json!({})).await;
    world.at(100).await;
    let now = world.seconds();
    world.annotate("web-0", "2m", now - 60).await;
    world.at(now + 11).await;
    let end = instant(now + 60);
    assert_eq!(
        world.events("DoNotDisruptUntil").await,
        [format!(
            "The karpenter.sh/do-not-disrupt grace period will elapse at {end}"
        )],
        "{row}"
    );
    assert_eq!(
        world.events("DisruptionBlocked").await.len() % 2,
        0,
        "{row}"
    );
    let over = "DoNotDisruptGracePeriodElapsed";
    assert_eq!(world.events(over).await, [""; 0], "{row}");
    // Nothing happens but that time passes.
    world.at(now + 71).await;
    assert_eq!(
        world.events(over).await,
        ["The karpenter.sh/do-not-disrupt grace period has elapsed, pod is now disruptable"],
        "disruption/C21"
    );
    assert_eq!(world.kept_nodes().await, [node], "{row}");
    // What else happens is no reason to say it again.
    world.at(now + 600).await;
    world.pending("other", "1", json!({})).await;
    world.at(now + 620).await;
    world.delete_pod("other").await;
    world.at(now + 700).await;
    assert_eq!(world.events(over).await.len(), 1, "{row}");
    assert_eq!(world.events("DoNotDisruptUntil").await.len(), 1, "{row}");
    // A second protection ends like the first.
    world.annotate("web-0", "13m", now - 60).await;
    world.at(now + 711).await;
    assert_eq!(world.events("DoNotDisruptUntil").await.len(), 2, "{row}");
    world.at(now + 731).await;
    assert_eq!(world.events(over).await.len(), 2, "{row}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_told_that_its_annotation_cannot_be_heeded() {
    let row = "disruption/C23";
    let (world, _) = one(json!({})).await;
    let now = world.seconds();
    world.annotate("web-0", "invalid", now).await;
    world.at(now + 11).await;
    assert_eq!(
        world.events("InvalidDoNotDisruptAnnotation").await,
        [
            "Invalid karpenter.sh/do-not-disrupt annotation: \"invalid\" is not a duration, write numbers with units such as 90s or 1h30m, ignoring annotation"
        ],
        "{row}"
    );
    let blocked = world.events("DisruptionBlocked").await;
    assert!(
        !blocked.iter().any(|text| text.contains("annotation")),
        "{row}: {blocked:?}"
    );
    // A settled world is told nothing again.
    world.at(now + 900).await;
    assert_eq!(
        world.events("InvalidDoNotDisruptAnnotation").await.len(),
        1,
        "{row}"
    );
    // Another mistake is news at once.
    world.annotate("web-0", "-5m", now).await;
    world.at(now + 911).await;
    assert_eq!(
        world.events("InvalidDoNotDisruptAnnotation").await[1],
        "Invalid karpenter.sh/do-not-disrupt annotation: duration \"-5m\" is not positive, ignoring annotation",
        "{row}"
    );
}

/// A world with a pool of each policy, whose only nodes are far too large for what is left on them.
async fn of_two_policies(budget: &str) -> World {
    let mut world = World::new().await;
    world.run();
    let pool = |policy: &str, team: &str| {
        json!({
            "disruption": { "consolidationPolicy": policy, "budgets": [{ "nodes": budget }] },
            "template": { "metadata": { "labels": { "team": team } }, "spec": { "requirements": [
                { "key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"] },
            ] } },
        })
    };
    world.pool("balanced", pool("Balanced", "b")).await;
    world
        .pool("other", pool("WhenEmptyOrUnderutilized", "o"))
        .await;
    world.at(1).await;
    for team in ["b", "o"] {
        let selector = json!({ "spec": { "nodeSelector": { "team": team } } });
        world
            .pending(&format!("big-{team}"), "200", selector.clone())
            .await;
        world.pending(&format!("small-{team}"), "1", selector).await;
    }
    world.at(12).await;
    world.make_nodes_ready().await;
    world.at(22).await;
    for node in world.nodes().await {
        let team = &node.metadata.labels.as_ref().unwrap()["team"];
        let name = node.metadata.name.as_deref().unwrap();
        world.bind(&format!("big-{team}"), name).await;
        world.bind(&format!("small-{team}"), name).await;
    }
    world.at(32).await;
    world.delete_pod("big-b").await;
    world.delete_pod("big-o").await;
    world
}

#[tokio::test(start_paused = true)]
async fn only_pools_that_weigh_are_told_the_score() {
    let row = "disruption/A13";
    let (log, _guard) = Log::start();
    let world = of_two_policies("100%").await;
    world.at(100).await;
    world.make_nodes_ready().await;
    world.at(200).await;
    let scored = log.lines("consolidation score");
    assert!(!scored.is_empty(), "{row}");
    for line in &scored {
        assert_eq!(line["nodepool"], "balanced", "{row}: {line:?}");
        assert_eq!(line["approved"], "true", "{row}: {line:?}");
    }
    let moves = "karpenter_consolidation_moves_total";
    world.measured(
        row,
        moves,
        &[
            r#"{decision="approved",nodepool="balanced",policy="Balanced"} 1"#,
            r#"{decision="approved",nodepool="other",policy="WhenEmptyOrUnderutilized"} 1"#,
        ],
    );
    world.measured(
        row,
        "karpenter_consolidation_score",
        &[r#"_count{decision="approved",nodepool="balanced",policy="Balanced"} 1"#],
    );
    let text = world.ctx.metrics.render();
    let buckets: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("karpenter_consolidation_score_bucket"))
        .filter_map(|line| line.split("le=\"").nth(1)?.split('"').next())
        .collect();
    let expected = ["0.1", "0.25", "0.33", "0.5", "1", "2", "5", "10", "+Inf"];
    assert_eq!(buckets, expected, "{row}");
    // The node and its claim.
    let told = world.events("ConsolidationApproved").await;
    assert_eq!(told.len(), 2, "{row}: {told:?}");
    assert!(told[0].starts_with("score "), "{row}: {told:?}");
    assert!(
        told[0].contains(" >= threshold 0.50 (k: 2, savings "),
        "{row}: {told:?}"
    );
    let started = log.lines("disrupting node(s)");
    let line = started
        .iter()
        .find(|line| line["command"].contains("nodepools=[balanced]"))
        .unwrap();
    let command = &line["command"];
    assert!(command.starts_with("Underutilized/"), "{command}");
    assert!(
        command.contains("-> [1 replacement] (savings: $"),
        "{command}"
    );
    assert_eq!(line["decision"], "replace");
    assert_eq!(line["disrupted_node_count"], "1");
    assert_eq!(line["replacement_node_count"], "1");
    assert_eq!(line["pod_count"], "1");
    let nodes: Value = serde_json::from_str(&line["disrupted_nodes"]).unwrap();
    assert!(nodes[0]["Node"]["name"].is_string(), "{nodes}");
    assert_eq!(nodes[0]["capacity-type"], "on-demand", "{nodes}");
    let replacements: Value = serde_json::from_str(&line["replacement_nodes"]).unwrap();
    assert_eq!(replacements[0]["capacity-type"], "on-demand");
    assert!(
        replacements[0]["instance-types"].is_string(),
        "{replacements}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_move_of_several_nodes_is_told_about_their_pool() {
    let row = "disruption/A8";
    let mut world = World::new().await;
    world.run();
    let spec = json!({
        "disruption": { "consolidationPolicy": "Balanced" },
        "template": { "spec": { "requirements": [
            { "key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"] },
        ] } },
    });
    world.pool("default", spec).await;
    world.at(1).await;
    world.oversized_nodes(2).await;
    world.at(world.seconds() + 70).await;
    assert_eq!(
        world.events("ConsolidationCandidate").await.len(),
        4,
        "{row}: both nodes and their claims"
    );
    assert_eq!(
        world.events("ConsolidationApproved").await.len(),
        1,
        "{row}: the pool alone"
    );
    world.measured(
        row,
        "karpenter_consolidation_moves_total",
        &[r#"{decision="approved",nodepool="default",policy="Balanced"} 1"#],
    );
}

#[tokio::test(start_paused = true)]
async fn a_closed_budget_leaves_nothing_to_weigh() {
    let row = "disruption/A14";
    let world = of_two_policies("0%").await;
    world.at(300).await;
    assert!(!world.events("DisruptionBlocked").await.is_empty(), "{row}");
    assert_eq!(
        world.events("ConsolidationApproved").await,
        [""; 0],
        "{row}"
    );
    world.measured(row, "karpenter_consolidation_moves_total", &[]);
}
