//! What rounds leave in the metrics.

use std::time::Duration;

use serde_json::json;

use crate::world::World;

impl World {
    /// The samples of a metric, as they are scraped; buckets are left out.
    fn samples(&self, name: &str) -> Vec<String> {
        let text = self.ctx.metrics.render();
        let lines = text.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            let rest = rest.strip_prefix("_count").unwrap_or(rest);
            rest.starts_with(['{', ' '])
        });
        lines.map(str::to_owned).collect()
    }

    /// The samples of a metric are exactly these. The name is left out in `expected`.
    #[track_caller]
    pub(crate) fn measured(&self, row: &str, name: &str, expected: &[&str]) {
        let expected: Vec<String> = expected
            .iter()
            .map(|sample| format!("{name}{sample}"))
            .collect();
        assert_eq!(self.samples(name), expected, "{row}");
    }

    /// The value of the one series that begins so.
    fn value(&self, series: &str) -> Option<f64> {
        let text = self.ctx.metrics.render();
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }
}

/// A world with a pool and `count` pods that no node has room for.
async fn waiting(count: usize) -> World {
    let mut world = World::new().await;
    world.run();
    world
        .pool("default", json!({ "limits": { "cpu": "1000" } }))
        .await;
    world.at(1).await;
    for index in 0..count {
        world.pending(&format!("web-{index}"), "1", json!({})).await;
    }
    world
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_measured_from_its_creation_until_it_runs() {
    let world = waiting(1).await;
    let name = r#"{name="web-0",namespace="default"}"#;
    let gauge = |family: &str| world.value(&format!("karpenter_pods_{family}{name}"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let undecided = gauge("provisioning_scheduling_undecided_time_seconds");
    assert!(undecided.is_some(), "the batch is still open");
    world.at(6).await;
    world.make_nodes_ready().await;
    world.at(15).await;
    let unbound = gauge("unbound_time_seconds").unwrap();
    assert!(
        (13.0..=15.0).contains(&unbound),
        "operations/O38: {unbound}"
    );
    let unstarted = gauge("unstarted_time_seconds").unwrap();
    assert!((13.0..=15.0).contains(&unstarted), "{unstarted}");
    assert_eq!(
        gauge("provisioning_scheduling_undecided_time_seconds"),
        None
    );
    let decisions = "karpenter_pods_scheduling_decision_duration_seconds";
    assert!(
        world
            .samples(decisions)
            .contains(&format!("{decisions}_count 1"))
    );
    let nodes = world.nodes().await;
    let node = nodes[0].metadata.name.clone().unwrap();
    world.bind("web-0", &node).await;
    world.at(20).await;
    for family in [
        "unbound_time_seconds",
        "unstarted_time_seconds",
        "provisioning_unbound_time_seconds",
        "provisioning_unstarted_time_seconds",
    ] {
        assert_eq!(gauge(family), None, "operations/O38: {family}");
    }
    world.measured(
        "operations/O38",
        "karpenter_pods_bound_duration_seconds",
        &["_count 1"],
    );
    let startup = world.value("karpenter_pods_startup_duration_seconds_count");
    assert_eq!(startup, Some(1.0));
    let state = world.samples("karpenter_pods_state");
    assert_eq!(state.len(), 1);
    for label in [
        r#"name="web-0""#,
        &format!("node=\"{node}\""),
        r#"nodepool="default""#,
        r#"owner="""#,
        r#"phase="Running""#,
        r#"ready="true""#,
        r#"scheduled="true""#,
        r#"managed="true""#,
    ] {
        assert!(state[0].contains(label), "{label} in {}", state[0]);
    }
    // Status writes afterwards are not measured again.
    world.at(60).await;
    world.measured(
        "operations/O38",
        "karpenter_pods_bound_duration_seconds",
        &["_count 1"],
    );
}

#[tokio::test(start_paused = true)]
async fn rounds_and_what_they_create_are_counted() {
    let world = waiting(3).await;
    let never = json!({ "spec": { "nodeSelector": { "topology.kubernetes.io/zone": "nowhere" } } });
    world.pending("never", "1", never).await;
    world.at(5).await;
    world.measured(
        "created",
        "karpenter_nodeclaims_created_total",
        &[r#"{min_values_relaxed="false",nodepool="default",reason="provisioned"} 1"#],
    );
    world.measured(
        "no place",
        "karpenter_scheduler_unschedulable_pods_count",
        &[r#"{controller="provisioner"} 1"#],
    );
    world.measured("none", "karpenter_scheduler_ignored_pods_count", &[" 0"]);
    // The series of a round go with it.
    world.measured("none runs", "karpenter_scheduler_queue_depth", &[]);
    let rounds = "karpenter_scheduler_scheduling_duration_seconds";
    assert!(!world.samples(rounds).is_empty());
    let zones = world.samples("karpenter_scheduler_pending_pods_by_effective_zone_count");
    assert!(
        zones
            .iter()
            .any(|sample| sample.contains(r#"zone="nowhere"} 1"#)),
        "{zones:?}"
    );
    for (series, expected) in [
        (
            r#"karpenter_nodepools_limit{nodepool="default",resource_type="cpu"}"#,
            1000.0,
        ),
        (
            r#"karpenter_nodepools_usage{nodepool="default",resource_type="nodes"}"#,
            1.0,
        ),
        ("karpenter_cluster_state_node_count", 1.0),
        ("karpenter_cluster_state_synced", 1.0),
        ("karpenter_cluster_state_unsynced_time_seconds", 0.0),
    ] {
        assert_eq!(world.value(series), Some(expected), "{series}");
    }
    let cost = world.value(r#"karpenter_nodepools_cost_total{nodepool="default"}"#);
    assert!(cost.is_some_and(|cost| cost > 0.0), "{cost:?}");
}

#[tokio::test(start_paused = true)]
async fn nodes_are_shown_while_they_are_there() {
    let mut world = World::new().await;
    world.run();
    world.pool("default", json!({})).await;
    world.at(1).await;
    let nodes = world.busy_nodes(1).await;
    let allocatable = world.samples("karpenter_nodes_allocatable");
    let cpu = allocatable
        .iter()
        .find(|sample| sample.contains(r#"resource_type="cpu""#))
        .unwrap();
    for label in [
        r#"{arch="amd64",capacity_type="#,
        r#",instance_cpu=""#,
        r#",managed="true",node_name=""#,
        r#",nodepool="default",os="linux",phase="",region="",resource_type="cpu",windows_build="",zone=""#,
    ] {
        assert!(cpu.contains(label), "{label} in {cpu}");
    }
    let requests = world.samples("karpenter_nodes_total_pod_requests");
    let requests: Vec<&str> = requests
        .iter()
        .filter_map(|sample| Some(sample.split_once("resource_type=")?.1))
        .map(|rest| rest.split(',').next().unwrap())
        .collect();
    assert_eq!(requests, [r#""cpu""#, r#""memory""#, r#""pods""#]);
    let usage = world.value(r#"karpenter_cluster_utilization_percent{resource_type="cpu"}"#);
    assert!(usage.is_some_and(|usage| (50.0..100.0).contains(&usage)));
    assert_eq!(
        world
            .samples("karpenter_nodes_current_lifetime_seconds")
            .len(),
        1
    );
    let ready = world.samples("operator_node_status_condition_count");
    assert!(
        ready.iter().any(|sample| {
            sample.starts_with(
                "operator_node_status_condition_count{karpenter_kwok_sh_kwoknodeclass=\"default\",\
                 karpenter_sh_initialized=\"true\",karpenter_sh_nodepool=\"default\",name=",
            ) && sample.ends_with(
                ",namespace=\"\",reason=\"KubeletReady\",status=\"True\",type=\"Ready\"} 1",
            )
        }),
        "{ready:?}"
    );
    world.delete_pod("web-0").await;
    world.at(world.seconds() + 120).await;
    assert!(world.nodes().await.is_empty());
    let text = world.ctx.metrics.render();
    let left = text.lines().find(|line| line.contains(&nodes[0]));
    assert_eq!(left, None, "operations/O37");
    for name in [
        "karpenter_nodes_allocatable",
        "karpenter_nodes_current_lifetime_seconds",
    ] {
        world.measured("operations/O37", name, &[]);
    }
    world.measured(
        "disrupted",
        "karpenter_nodeclaims_disrupted_total",
        &[r#"{capacity_type="spot",nodepool="default",reason="empty"} 1"#],
    );
    world.measured(
        "decided",
        "karpenter_voluntary_disruption_decisions_total",
        &[r#"{consolidation_type="empty",decision="delete",reason="empty"} 1"#],
    );
    world.measured(
        "decided",
        "karpenter_voluntary_disruption_decisions_by_nodepool_total",
        &[r#"{consolidation_type="empty",decision="delete",nodepool="default",reason="empty"} 1"#],
    );
    world.measured(
        "allowed",
        "karpenter_nodepools_allowed_disruptions",
        &[
            r#"{nodepool="default",reason="Drifted"} 0"#,
            r#"{nodepool="default",reason="Empty"} 0"#,
            r#"{nodepool="default",reason="Underutilized"} 0"#,
        ],
    );
    world.measured(
        "zeros",
        "karpenter_voluntary_disruption_consolidation_timeouts_total",
        &[
            r#"{consolidation_type="multi"} 0"#,
            r#"{consolidation_type="single"} 0"#,
        ],
    );
    world.measured(
        "eligible",
        "karpenter_voluntary_disruption_eligible_nodes",
        &[r#"{reason="empty"} 0"#],
    );
    for kind in ["node", "nodeclaim"] {
        let name = format!("operator_{kind}_termination_duration_seconds");
        assert!(!world.samples(&name).is_empty(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_grows_with_the_cluster_can_be_left_out() {
    let mut world = World::new().await;
    world.ctx.metrics.disable_cluster_state();
    world.run();
    world
        .pool("default", json!({ "limits": { "cpu": "1000" } }))
        .await;
    world.at(1).await;
    world.busy_nodes(1).await;
    let text = world.ctx.metrics.render();
    let shown: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    for name in &shown {
        let is_left_out = [
            "karpenter_pods_state",
            "karpenter_pods_unbound",
            "karpenter_pods_unstarted",
            "karpenter_pods_bound",
            "karpenter_pods_startup",
            "karpenter_pods_provisioning",
            "karpenter_nodes_allocatable",
            "karpenter_nodes_total",
            "karpenter_nodes_system",
            "karpenter_nodes_current",
            "karpenter_cluster_utilization",
            "karpenter_nodepools_usage",
            "karpenter_nodepools_limit",
            "operator_",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix));
        assert!(!is_left_out, "operations/O39: {name}");
    }
    for name in [
        "karpenter_nodeclaims_created_total",
        "karpenter_nodes_created_total",
        "karpenter_cluster_state_node_count",
        "controller_runtime_reconcile_total",
    ] {
        assert!(shown.contains(&name), "operations/O39: {name}");
    }
}
