//! What is counted and measured while claims and nodes come and go.

use karpenter_cloud::LaunchError;
use serde_json::json;

use crate::check_eq;
use crate::world::{World, claim, node, pod, with};

/// The samples of a metric are exactly these. The name is left out in `expected`.
#[track_caller]
fn check(row: &str, world: &World, name: &str, expected: &[&str]) {
    let expected: Vec<String> = expected
        .iter()
        .map(|sample| format!("{name}{sample}"))
        .collect();
    check_eq(row, world.samples(name), expected);
}

/// A world whose machines have a zone and a capacity type.
async fn world() -> World {
    let world = World::new().await;
    let labels = [
        ("topology.kubernetes.io/zone", "z1"),
        ("karpenter.sh/capacity-type", "spot"),
    ];
    world.cloud.state().labels = labels
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    world
}

#[tokio::test(start_paused = true)]
async fn a_life_is_counted_once() {
    let world = world().await;
    world.initialized("a").await;
    check(
        "registered",
        &world,
        "karpenter_nodes_created_total",
        &["{nodepool=\"default\",zone=\"z1\"} 1"],
    );
    world.create(pod("web", "a")).await;
    world.pass(1).await;
    world.delete("Node", "a").await;
    world.pass(2).await;
    check(
        "lifecycle/Q2",
        &world,
        "karpenter_pods_eviction_requests_total",
        &["{code=\"200\"} 1"],
    );
    let reason = "{reason=\"Forceful Termination\"} 1";
    check(
        "lifecycle/Q10",
        &world,
        "karpenter_pods_drained_total",
        &[reason],
    );
    world.remove("Pod", "web").await;
    world.pass(10).await;
    assert!(world.gone("NodeClaim", "a").await);
    for (name, expected) in [
        (
            "karpenter_nodes_drained_total",
            &["{nodepool=\"default\"} 1"][..],
        ),
        (
            "karpenter_nodes_terminated_total",
            &["{nodepool=\"default\",zone=\"z1\"} 1"],
        ),
        (
            "karpenter_nodeclaims_terminated_total",
            &["{capacity_type=\"spot\",nodepool=\"default\",zone=\"z1\"} 1"],
        ),
        // Nobody but the user wanted it to go.
        ("karpenter_nodeclaims_disrupted_total", &[]),
    ] {
        check(name, &world, name, expected);
    }
    for name in [
        "karpenter_nodes_lifetime_duration_seconds",
        "karpenter_nodes_termination_duration_seconds",
        "karpenter_nodeclaims_termination_duration_seconds",
        "karpenter_nodeclaims_instance_termination_duration_seconds",
    ] {
        let count = format!("{name}_count{{nodepool=\"default\"}} 1");
        assert!(world.samples(name).contains(&count), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_counted_under_its_disruption() {
    let world = world().await;
    world.initialized("a").await;
    world.create(pod("web", "a")).await;
    let claim = world.get("NodeClaim", "a").await.unwrap();
    let mut conditions = claim["status"]["conditions"].clone();
    conditions.as_array_mut().unwrap().push(json!({
        "type": "DisruptionReason", "status": "True", "reason": "Drifted", "message": "Drifted",
        "lastTransitionTime": world.now(),
    }));
    let status = json!({"status": {"conditions": conditions}});
    world.patch_status("NodeClaim", "a", status).await;
    world.delete("NodeClaim", "a").await;
    world.pass(5).await;
    check(
        "lifecycle/Q9",
        &world,
        "karpenter_pods_drained_total",
        &["{reason=\"Drifted\"} 1"],
    );
}

#[tokio::test(start_paused = true)]
async fn evictions_are_counted_by_their_answer() {
    let world = world().await;
    world.initialized("a").await;
    world.create(pod("web", "a")).await;
    world
        .create(json!({
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "b"},
            "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}},
            "status": {
                "disruptionsAllowed": 0, "observedGeneration": 1, "currentHealthy": 1,
                "desiredHealthy": 1, "expectedPods": 1,
            },
        }))
        .await;
    world.delete("Node", "a").await;
    world.pass(1).await;
    let name = "karpenter_pods_eviction_requests_total";
    let refused = world.samples(name);
    assert_eq!(refused.len(), 1, "lifecycle/Q3");
    assert!(refused[0].starts_with(&format!("{name}{{code=\"429\"}} ")));
    check("lifecycle/Q3", &world, "karpenter_pods_drained_total", &[]);
}

/// Creates a claim and lets time pass; the causes for which claims were disrupted then.
async fn disrupted(row: &str, world: &World, spec: serde_json::Value, seconds: u64, cause: &str) {
    world.create(with(claim("a"), json!({"spec": spec}))).await;
    world.pass(seconds).await;
    assert!(world.gone("NodeClaim", "a").await, "{row}");
    let labels = format!("{{capacity_type=\"\",nodepool=\"default\",reason=\"{cause}\"}} 1");
    let labels = if world.cloud.state().launched.is_empty() {
        labels
    } else {
        labels.replace("capacity_type=\"\"", "capacity_type=\"spot\"")
    };
    check(
        row,
        world,
        "karpenter_nodeclaims_disrupted_total",
        &[&labels],
    );
}

#[tokio::test(start_paused = true)]
async fn claims_that_become_no_node_are_counted_by_cause() {
    let fresh = world().await;
    disrupted(
        "operations/O41",
        &fresh,
        json!({}),
        901,
        "registration_timeout",
    )
    .await;
    let fresh = world().await;
    fresh.cloud.state().refuse_all = Some("no".to_owned());
    disrupted("operations/O42", &fresh, json!({}), 361, "launch_timeout").await;
    let fresh = world().await;
    let answer = LaunchError::InsufficientCapacity("none".into());
    fresh.cloud.state().answers.push_back(answer);
    disrupted(
        "lifecycle/L3",
        &fresh,
        json!({}),
        2,
        "insufficient_capacity",
    )
    .await;
    let fresh = world().await;
    let answer = LaunchError::NodeClassNotReady("no subnet".into());
    fresh.cloud.state().answers.push_back(answer);
    disrupted("lifecycle/L4", &fresh, json!({}), 2, "nodeclass_not_ready").await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_claim_is_counted_once_with_its_pods() {
    let world = world().await;
    world
        .create(with(claim("a"), json!({"spec": {"expireAfter": "300s"}})))
        .await;
    world.pass(5).await;
    let launched = world.get("NodeClaim", "a").await.unwrap();
    let provider_id = launched["status"]["providerID"].as_str().unwrap();
    world.create(node("a", provider_id)).await;
    world.create(pod("web", "a")).await;
    world.create(pod("api", "a")).await;
    let daemon = json!({"metadata": {"ownerReferences": [{
        "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "ds-1",
        "controller": true,
    }]}});
    world.create(with(pod("agent", "a"), daemon)).await;
    world.pass(310).await;
    let labels = "{capacity_type=\"spot\",nodepool=\"default\",reason=\"expired\"}";
    check(
        "lifecycle/X2",
        &world,
        "karpenter_nodeclaims_disrupted_total",
        &[&format!("{labels} 1")],
    );
    check(
        "lifecycle/X2",
        &world,
        "karpenter_pods_disruption_initiated_total",
        &[&format!("{labels} 2")],
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_machine_is_gone_is_counted() {
    let world = world().await;
    world.initialized("a").await;
    world.cloud.state().instances.clear();
    let lost = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    world.patch_status("Node", "a", lost).await;
    world.pass(200).await;
    check(
        "garbage",
        &world,
        "karpenter_nodeclaims_disrupted_total",
        &["{capacity_type=\"spot\",nodepool=\"default\",reason=\"garbage_collected\"} 1"],
    );
}

/// What a launch that is answered so leaves in the metrics of the provider's seam.
async fn launch(row: &str, answer: LaunchError, error: &str) {
    let world = world().await;
    world.cloud.state().answers.push_back(answer);
    world.create(claim("a")).await;
    world.pass(1).await;
    let labels = |more: &str| {
        format!("{{controller=\"nodeclaim.lifecycle\"{more},method=\"Create\",provider=\"fake\"}}")
    };
    let name = "karpenter_cloudprovider_errors_total";
    let expected = format!("{name}{} 1", labels(&format!(",error=\"{error}\"")));
    assert!(world.samples(name).contains(&expected), "{row}");
    let name = "karpenter_cloudprovider_duration_seconds";
    let expected = format!("{name}_count{} ", labels(""));
    let counts = world.samples(name);
    assert!(
        counts.iter().any(|sample| sample.starts_with(&expected)),
        "{row}: {counts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn answers_of_the_provider_are_measured() {
    let none = LaunchError::InsufficientCapacity("none".into());
    launch("operations/O35", none, "InsufficientCapacityError").await;
    launch("operations/O36", LaunchError::Other("broken".into()), "").await;
    let unready = LaunchError::NodeClassNotReady("no subnet".into());
    launch("not ready", unready, "NodeClassNotReadyError").await;
}

#[tokio::test(start_paused = true)]
async fn controllers_and_their_queues_are_measured() {
    let world = world().await;
    for _ in 0..2 {
        let answer = LaunchError::Other("broken".into());
        world.cloud.state().answers.push_back(answer);
    }
    world.launched("a").await;
    world.pass(5).await;
    for line in [
        "controller_runtime_active_workers{controller=\"nodeclaim.lifecycle\"} 0",
        "controller_runtime_max_concurrent_reconciles{controller=\"eviction-queue\"} 64",
        "controller_runtime_reconcile_panics_total{controller=\"node.termination\"} 0",
        "controller_runtime_terminal_reconcile_errors_total{controller=\"provisioner\"} 0",
        "controller_runtime_reconcile_total{controller=\"nodeclaim.lifecycle\",result=\"error\"} 0",
        "controller_runtime_reconcile_errors_total{controller=\"nodeclaim.lifecycle\"} 0",
        "workqueue_depth{controller=\"nodeclaim.lifecycle\",name=\"nodeclaim.lifecycle\",priority=\"0\"} 0",
        "workqueue_unfinished_work_seconds{controller=\"nodeclaim.lifecycle\",name=\"nodeclaim.lifecycle\"} 0",
        "workqueue_longest_running_processor_seconds{controller=\"eviction-queue\",name=\"eviction-queue\"} 0",
    ] {
        assert!(
            world.metrics.render().contains(&format!("\n{line}\n")),
            "{line}"
        );
    }
    let value = |name: &str, labels: &str| -> f64 {
        let found = world.samples(name);
        let found = found.iter().find_map(|line| {
            let rest = line.strip_prefix(name)?.trim_start_matches("_count");
            rest.strip_prefix(labels)?.trim().parse().ok()
        });
        found.unwrap_or_else(|| panic!("{name}{labels}"))
    };
    let controller = "{controller=\"nodeclaim.lifecycle\"}";
    let queue = "{controller=\"nodeclaim.lifecycle\",name=\"nodeclaim.lifecycle\"}";
    let runs: f64 = ["success", "requeue", "requeue_after", "error"]
        .iter()
        .map(|result| {
            let labels = format!("{{controller=\"nodeclaim.lifecycle\",result=\"{result}\"}}");
            value("controller_runtime_reconcile_total", &labels)
        })
        .sum();
    assert!(runs > 3.0, "{runs}");
    assert!((value("workqueue_adds_total", queue) - runs).abs() < 1.0);
    assert!(world.metrics.render().contains(&format!(
        "controller_runtime_reconcile_time_seconds_count{controller} {runs}\n"
    )));
    assert!(world.metrics.render().contains(&format!(
        "workqueue_work_duration_seconds_count{queue} {runs}\n"
    )));
}
