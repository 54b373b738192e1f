//! Nodes that go: marked, drained in order, ended; and the evictions on the way.

use serde_json::{Value, json};

use crate::world::{World, node, pod, with};
use crate::{check, check_eq};

/// Whether a pod was asked to leave.
async fn leaving(world: &World, name: &str) -> bool {
    let pod = world.get("Pod", name).await;
    pod.is_none_or(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
}

#[tokio::test(start_paused = true)]
async fn an_empty_node_goes_after_five_seconds() {
    let world = World::new().await;
    world.initialized("a").await;
    world.delete("Node", "a").await;
    world.pass(3).await;
    let node = world.get("Node", "a").await.unwrap();
    let taints = json!([{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]);
    check_eq("lifecycle/N1", &node["spec"]["taints"], &taints);
    let label =
        &node["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"];
    check_eq("lifecycle/N6", label, &json!("karpenter"));
    check("lifecycle/N1", world.cloud.state().terminations.is_empty());
    let claim = world.get("NodeClaim", "a").await.unwrap();
    check(
        "lifecycle/N4",
        !claim["metadata"]["deletionTimestamp"].is_null(),
    );
    let drained = world.condition("NodeClaim", "a", "Drained").await;
    check_eq("lifecycle/N1", drained, "Unknown/Draining".into());
    world.pass(4).await;
    check("lifecycle/N1", world.gone("Node", "a").await);
    check("lifecycle/N1", world.cloud.state().instances.is_empty());
    check("lifecycle/N4", world.gone("NodeClaim", "a").await);
}

#[tokio::test(start_paused = true)]
async fn nodes_without_a_clear_claim_are_drained_but_no_machine_is_ended() {
    let world = World::new().await;
    let ours = json!({"metadata": {
        "finalizers": ["karpenter.sh/termination"],
        "labels": {"karpenter.kwok.sh/kwoknodeclass": "default"},
    }});
    world
        .create(with(node("orphan", "fake://orphan"), ours))
        .await;
    world.create(pod("web", "orphan")).await;
    world.pass(1).await;
    world.delete("Node", "orphan").await;
    world.pass(1).await;
    check("lifecycle/N2", leaving(&world, "web").await);
    check("lifecycle/N2", !world.gone("Node", "orphan").await);
    world.remove("Pod", "web").await;
    world.pass(1).await;
    check("lifecycle/N2", world.gone("Node", "orphan").await);
    check("lifecycle/N2", world.cloud.state().terminations.is_empty());

    let foreign = json!({"metadata": {
        "finalizers": ["karpenter.sh/termination"],
        "labels": {"other.sh/othernodeclass": "x"},
    }});
    world
        .create(with(node("foreign", "other://1"), foreign))
        .await;
    world.delete("Node", "foreign").await;
    let before = world.get("Node", "foreign").await;
    world.pass(60).await;
    check_eq("lifecycle/N3", world.get("Node", "foreign").await, before);
}

#[tokio::test(start_paused = true)]
async fn many_nodes_go_at_once() {
    let world = World::new().await;
    let names: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    for name in &names {
        world.initialized(name).await;
        world.create(pod(&format!("{name}-pod"), name)).await;
    }
    for name in &names {
        world.delete("Node", name).await;
    }
    world.pass(3).await;
    for name in &names {
        check(
            "lifecycle/N5",
            leaving(&world, &format!("{name}-pod")).await,
        );
        world.remove("Pod", &format!("{name}-pod")).await;
    }
    world.pass(20).await;
    check("lifecycle/N5", world.list("Node").await.is_empty());
    check("lifecycle/N5", world.list("NodeClaim").await.is_empty());
    check("lifecycle/N5", world.cloud.state().instances.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_evicted_and_who_is_waited_for() {
    let world = World::new().await;
    let toleration = |toleration: Value| json!({"spec": {"tolerations": [toleration]}});
    let phase = |phase: &str| json!({"status": {"phase": phase}});
    let mirror = json!({"metadata": {
        "annotations": {"kubernetes.io/config.mirror": "x"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "1"}],
    }});
    let rows = [
        (
            "lifecycle/N7",
            "equal",
            toleration(json!({
                "key": "karpenter.sh/disrupted", "operator": "Equal", "effect": "NoSchedule",
            })),
            false,
        ),
        (
            "lifecycle/N7",
            "exists",
            toleration(json!({"operator": "Exists"})),
            false,
        ),
        (
            "lifecycle/N8",
            "cordon",
            toleration(json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"})),
            true,
        ),
        (
            "lifecycle/N9",
            "alone",
            json!({"metadata": {"ownerReferences": null}}),
            true,
        ),
        ("lifecycle/N10", "done", phase("Succeeded"), false),
        ("lifecycle/N10", "broken", phase("Failed"), false),
        ("lifecycle/N13", "static", mirror, false),
    ];
    world.initialized("a").await;
    for (_, name, extra, _) in &rows {
        world.create(with(pod(name, "a"), extra.clone())).await;
    }
    world.delete("Node", "a").await;
    world.pass(5).await;
    for (row, name, _, evicted) in &rows {
        check_eq(row, leaving(&world, name).await, *evicted);
    }
    check("lifecycle/N8", !world.gone("Node", "a").await);
    world.remove("Pod", "cordon").await;
    world.remove("Pod", "alone").await;
    world.pass(5).await;
    for row in ["lifecycle/N7", "lifecycle/N10", "lifecycle/N13"] {
        check(row, world.gone("Node", "a").await);
    }
}

#[tokio::test(start_paused = true)]
async fn tiers_leave_one_after_the_other() {
    let world = World::new().await;
    world.initialized("a").await;
    let tiers = [
        ("plain", "ReplicaSet", Value::Null),
        ("daemon", "DaemonSet", Value::Null),
        ("critical", "ReplicaSet", json!("system-cluster-critical")),
        (
            "critical-daemon",
            "DaemonSet",
            json!("system-node-critical"),
        ),
    ];
    for (name, owner, class) in &tiers {
        let owner = json!([{"apiVersion": "apps/v1", "kind": owner, "name": "x", "uid": "1"}]);
        let extra = json!({
            "metadata": {"ownerReferences": owner}, "spec": {"priorityClassName": class},
        });
        world.create(with(pod(name, "a"), extra)).await;
    }
    world.delete("Node", "a").await;
    for (place, (name, ..)) in tiers.iter().enumerate() {
        world.pass(5).await;
        check("lifecycle/N12", leaving(&world, name).await);
        check("lifecycle/N14", !world.gone("Node", "a").await);
        for (later, ..) in &tiers[place + 1..] {
            check("lifecycle/N12", !leaving(&world, later).await);
        }
        world.remove("Pod", name).await;
    }
    world.pass(10).await;
    check("lifecycle/N14", world.gone("Node", "a").await);
}

#[tokio::test(start_paused = true)]
async fn lost_machines_and_stuck_pods_hold_nothing_up() {
    let world = World::new().await;
    let down = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    for name in ["lost", "alive", "stuck"] {
        world.initialized(name).await;
    }
    world.create(pod("lost-pod", "lost")).await;
    world.create(pod("alive-pod", "alive")).await;
    let held = json!({"metadata": {"finalizers": ["test/keep"]}});
    world.create(with(pod("stuck-pod", "stuck"), held)).await;

    world.patch_status("Node", "lost", down).await;
    world
        .cloud
        .state()
        .instances
        .retain(|id, _| id.contains("stuck"));
    world.delete("Node", "lost").await;
    world.delete("Node", "alive").await;
    world.delete("Node", "stuck").await;
    world.pass(10).await;
    check("lifecycle/N15", world.gone("Node", "lost").await);
    check("lifecycle/N15", !leaving(&world, "lost-pod").await);
    check("lifecycle/N16", !world.gone("Node", "alive").await);
    check("lifecycle/N16", leaving(&world, "alive-pod").await);

    world.pass(70).await;
    check(
        "in its grace and a minute",
        !world.gone("Node", "stuck").await,
    );
    world.pass(30).await;
    check("lifecycle/N17", world.gone("Node", "stuck").await);
    check("lifecycle/N17", !world.gone("Pod", "stuck-pod").await);
}

#[tokio::test(start_paused = true)]
async fn pods_that_leave_early_do_not_shorten_the_minimum() {
    let world = World::new().await;
    world.initialized("a").await;
    world.create(pod("web", "a")).await;
    world.delete("Node", "a").await;
    world.pass(2).await;
    world.remove("Pod", "web").await;
    world.pass(1).await;
    check("lifecycle/N23", !world.gone("Node", "a").await);
    check("lifecycle/N23", world.cloud.state().terminations.is_empty());
    world.pass(4).await;
    check("lifecycle/N23", world.gone("Node", "a").await);
}

/// A budget over the pods with a label, which allows so many disruptions.
async fn budget(world: &World, name: &str, app: &str, allowed: i32) {
    world
        .create(json!({
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}},
        }))
        .await;
    let status = json!({
        "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1,
        "expectedPods": 1, "observedGeneration": 1,
    });
    world
        .patch_status("PodDisruptionBudget", name, json!({"status": status}))
        .await;
}

#[tokio::test(start_paused = true)]
async fn budgets_hold_pods_but_not_their_neighbours() {
    let world = World::new().await;
    world.initialized("a").await;
    for name in ["held", "free", "twice", "allowed"] {
        world.create(pod(name, "a")).await;
    }
    budget(&world, "one", "held", 0).await;
    budget(&world, "two", "twice", 1).await;
    budget(&world, "three", "twice", 1).await;
    budget(&world, "four", "allowed", 1).await;
    world.delete("Node", "a").await;
    world.pass(30).await;
    check("lifecycle/Q2", leaving(&world, "free").await);
    check("lifecycle/Q2", leaving(&world, "allowed").await);
    check("lifecycle/N11", !leaving(&world, "held").await);
    check("lifecycle/N11", !world.gone("Node", "a").await);
    check("lifecycle/Q4", !leaving(&world, "twice").await);
    let reason = "Evicted pod: Forceful Termination".to_owned();
    check_eq(
        "lifecycle/Q10",
        world.events("Evicted").await,
        vec![reason; 2],
    );
    world.remove("Pod", "free").await;
    world.remove("Pod", "allowed").await;
    let status = json!({"status": {"disruptionsAllowed": 1, "observedGeneration": 1}});
    world
        .patch_status("PodDisruptionBudget", "one", status)
        .await;
    world.remove("PodDisruptionBudget", "three").await;
    world.pass(15).await;
    check("lifecycle/Q3", leaving(&world, "held").await);
    check("lifecycle/Q4", leaving(&world, "twice").await);
    world.remove("Pod", "held").await;
    world.remove("Pod", "twice").await;
    world.pass(10).await;
    check("lifecycle/N11", world.gone("Node", "a").await);
}

/// What is told about a node whose only pod a budget holds. The first explanation wins for two
/// minutes, so the drain itself must not come first.
#[tokio::test(start_paused = true)]
async fn what_holds_a_drain_up_is_told() {
    for (row, budgets, expected) in [
        (
            "lifecycle/Q3",
            1,
            "evicting pod violates a PDB (Pod=default/web)",
        ),
        (
            "lifecycle/Q4",
            2,
            "eviction does not support multiple PDBs (Pod=default/web); pod default/web can never be evicted: \
             more than one PodDisruptionBudget covers it (b0, b1), since {since}",
        ),
    ] {
        let world = World::new().await;
        world.initialized("a").await;
        world.create(pod("web", "a")).await;
        for number in 0..budgets {
            budget(&world, &format!("b{number}"), "web", 0).await;
        }
        world.pass(10).await;
        world.delete("Node", "a").await;
        let since = world.now();
        world.pass(150).await;
        let told = world.events("FailedDraining").await;
        let expected = expected.replace("{since}", &since);
        let expected = format!("Failed to drain node, {expected}");
        check(row, told.contains(&expected));
        check(row, told.len() <= 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_never_allows_an_eviction_is_named_with_its_age() {
    let world = World::new().await;
    world.initialized("a").await;
    world.create(pod("web", "a")).await;
    world
        .create(json!({
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "all"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        }))
        .await;
    world.delete("Node", "a").await;
    world.pass(5).await;
    // The budget closed only while the node was drained.
    let since = world.now();
    let status = json!({
        "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
        "observedGeneration": 1,
        "conditions": [{
            "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
            "lastTransitionTime": since, "observedGeneration": 1,
        }],
    });
    world
        .patch_status("PodDisruptionBudget", "all", json!({"status": status}))
        .await;
    world.pass(300).await;
    let expected = format!(
        "; pod default/web can never be evicted: PodDisruptionBudget default/all allows none, with minAvailable 1 of \
         1 pods, since {since}"
    );
    let told = world.events("FailedDraining").await;
    let (first, later) = told.split_first().unwrap();
    // Before its status was known nobody could tell.
    check_eq(
        "lifecycle/Q3",
        &**first,
        "Failed to drain node, evicting pod violates a PDB (Pod=default/web)",
    );
    let named = later.iter().all(|text| text.ends_with(&expected));
    assert!(named && !later.is_empty(), "{told:#?}, not {expected}");
}

#[tokio::test(start_paused = true)]
async fn evictions_of_pods_that_are_not_there_are_done() {
    let world = World::new().await;
    world.initialized("a").await;
    world.create(pod("web", "a")).await;
    budget(&world, "one", "web", 0).await;
    world.delete("Node", "a").await;
    world.pass(3).await;
    // Another pod takes the name, on another node and under no budget.
    world.remove("Pod", "web").await;
    world
        .create(with(
            pod("web", "b"),
            json!({"metadata": {"labels": {"app": "new"}}}),
        ))
        .await;
    world.pass(30).await;
    check("lifecycle/N18", !leaving(&world, "web").await);
    check("lifecycle/Q1", world.events("Evicted").await.is_empty());
    check("lifecycle/Q1", world.gone("Node", "a").await);
}

#[tokio::test(start_paused = true)]
async fn pods_that_ask_not_to_be_disrupted_are_waited_for() {
    let world = World::new().await;
    world.initialized("a").await;
    let keep = json!({"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}});
    world.create(with(pod("web", "a"), keep)).await;
    world.delete("Node", "a").await;
    let since = world.now();
    world.pass(600).await;
    check(
        "kept",
        !leaving(&world, "web").await && !world.gone("Node", "a").await,
    );
    let told = world.events("FailedDraining").await;
    let endless = format!(
        "Failed to drain node, 1 pods are waiting to be evicted; pod default/web can never be evicted: its \
         annotation karpenter.sh/do-not-disrupt has no end, since {since}"
    );
    check("named", told.contains(&endless));
    check("told anew every two minutes at the most", told.len() <= 5);
    let lapsed = json!({"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": null}}});
    world.patch("Pod", "web", lapsed).await;
    world.pass(15).await;
    check("evicted once it may be", leaving(&world, "web").await);
}
