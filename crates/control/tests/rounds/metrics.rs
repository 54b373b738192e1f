//! What rounds leave in the metrics.

use std::{collections::BTreeMap, time::Duration};

use karpenter_api::{NodeClaim, objects::Node};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::world::{EPOCH, World};

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

/// Asserts that something a row promises holds of a metric.
#[track_caller]
fn holds(row: &str, name: &str, holds: bool) {
    assert!(holds, "{row}: {name}");
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
        holds("operations/O38", family, gauge(family).is_none());
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
async fn a_machine_of_unknown_price_is_counted_as_an_error() {
    let mut world = World::new().await;
    world.run();
    world.pool("default", json!({})).await;
    world.at(5).await;
    let errors = "karpenter_nodepools_cost_tracker_errors_total";
    world.measured("none yet", errors, &[]);
    let claim: NodeClaim = serde_json::from_value(json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
        "metadata": { "name": "strange", "labels": {
            "karpenter.sh/nodepool": "default",
            "karpenter.sh/capacity-type": "spot",
            "node.kubernetes.io/instance-type": "strange",
            "topology.kubernetes.io/zone": "test-zone-a",
        } },
        "spec": {
            "nodeClassRef": {
                "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
            },
            "requirements": [{
                "key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["strange"],
            }],
        },
    }))
    .unwrap();
    let claims: Api<NodeClaim> = Api::all(world.client.clone());
    claims.create(&PostParams::default(), &claim).await.unwrap();
    world.at(6).await;
    world.measured("unknown", errors, &[r#"{nodepool="default"} 1"#]);
    let cost = world.value(r#"karpenter_nodepools_cost_total{nodepool="default"}"#);
    assert_eq!(cost, Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_ignored_are_counted() {
    let mut world = World::new().await;
    world.run();
    world.pool("default", json!({})).await;
    world.at(5).await;
    let wrong = json!({ "spec": { "nodeSelector": { "kubernetes.io/hostname": "a" } } });
    world.pending("wrong", "1", wrong).await;
    world.at(10).await;
    world.measured(
        "scheduling/E6",
        "karpenter_scheduler_ignored_pods_count",
        &[" 1"],
    );
    assert_eq!(world.events("FailedScheduling").await.len(), 1);
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
        &[
            r#"{reason="drifted"} 0"#,
            r#"{reason="empty"} 0"#,
            r#"{reason="underutilized"} 0"#,
        ],
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
        holds("operations/O39", name, !is_left_out);
    }
    for name in [
        "karpenter_nodeclaims_created_total",
        "karpenter_nodes_created_total",
        "karpenter_cluster_state_node_count",
        "controller_runtime_reconcile_total",
    ] {
        holds("operations/O39", name, shown.contains(&name));
    }
}

/// What a scrape says of a family: its kind, the names of its labels, its buckets.
type Shape = (String, String, String);

/// Reads the families of a scrape. Every series of a family has the same labels, or there is nothing
/// to say of it.
fn shapes(text: &str, into: &mut BTreeMap<String, Shape>) {
    let mut family = String::new();
    let mut kind = String::new();
    let mut buckets = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            (family, kind) = (name.to_owned(), of.to_owned());
            buckets.clear();
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let labels = line
            .split_once('{')
            .map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
        let mut names: Vec<&str> = labels
            .split("\",")
            .filter_map(|pair| Some(pair.split_once('=')?.0))
            .collect();
        if line.starts_with(&format!("{family}_bucket{{")) {
            let (_, bound) = labels.rsplit_once("le=\"").unwrap();
            let bound = bound.trim_end_matches('"').to_owned();
            if !buckets.contains(&bound) {
                buckets.push(bound);
            }
        }
        names.retain(|name| !["le", "quantile"].contains(name));
        let shape = (kind.clone(), names.join(" "), buckets.join(" "));
        let known = into.entry(family.clone()).or_insert_with(|| shape.clone());
        assert_eq!(known.1, shape.1, "labels of {family}");
        if known.2.len() < shape.2.len() {
            known.2 = shape.2;
        }
    }
}

const DURATIONS: &str = "0.005 0.01 0.025 0.05 0.1 0.15 0.2 0.25 0.3 0.35 0.4 0.45 0.5 0.6 0.7 0.8 0.9 \
    1 1.25 1.5 1.75 2 2.5 3 3.5 4 4.5 5 6 7 8 9 10 15 20 25 30 40 50 60 120 150 300 450 600 +Inf";
const DEFAULTS: &str = "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 +Inf";
const LIFETIMES: &str = "900 1800 2700 3600 7200 14400 21600 28800 36000 43200 57600 72000 86400 172800 \
    259200 432000 864000 1296000 1728000 2160000 2592000 +Inf";
const CONDITIONS: &str = "0.5 1 2 4 8 16 32 64 128 256 512 1024 2048 4096 8192 +Inf";
const TERMINATIONS: &str = "1 2 4 8 16 32 64 128 256 512 1024 2048 +Inf";
const INSTANCES: &str = "1 2 4 8 16 32 64 128 256 512 1024 +Inf";
const NODE: &str = "arch capacity_type instance_cpu instance_family instance_memory instance_size \
    instance_type managed node_name nodepool os phase region windows_build zone";
const NODE_RESOURCE: &str = "arch capacity_type instance_cpu instance_family instance_memory \
    instance_size instance_type managed node_name nodepool os phase region resource_type \
    windows_build zone";
const CLAIM: &str = "karpenter_kwok_sh_kwoknodeclass karpenter_sh_nodepool";
const NODE_CONDITION: &str =
    "karpenter_kwok_sh_kwoknodeclass karpenter_sh_initialized karpenter_sh_nodepool";

#[rustfmt::skip]
const FAMILIES: &[(&str, &str, &str, &str)] = &[
    ("karpenter_build_info", "gauge", "commit goarch goversion version", ""),
    ("karpenter_nodeclaims_created_total", "counter", "min_values_relaxed nodepool reason", ""),
    ("karpenter_nodeclaims_terminated_total", "counter", "capacity_type nodepool zone", ""),
    ("karpenter_nodeclaims_disrupted_total", "counter", "capacity_type nodepool reason", ""),
    ("karpenter_pods_disruption_initiated_total", "counter", "capacity_type nodepool reason", ""),
    ("karpenter_nodeclaims_instance_termination_duration_seconds", "histogram", "nodepool", INSTANCES),
    ("karpenter_nodeclaims_termination_duration_seconds", "histogram", "nodepool", TERMINATIONS),
    ("karpenter_nodes_created_total", "counter", "nodepool zone", ""),
    ("karpenter_nodes_terminated_total", "counter", "nodepool zone", ""),
    ("karpenter_nodes_termination_duration_seconds", "summary", "nodepool", ""),
    ("karpenter_nodes_drained_total", "counter", "nodepool", ""),
    ("karpenter_nodes_lifetime_duration_seconds", "histogram", "nodepool", LIFETIMES),
    ("karpenter_nodes_allocatable", "gauge", NODE_RESOURCE, ""),
    ("karpenter_nodes_total_pod_requests", "gauge", NODE_RESOURCE, ""),
    ("karpenter_nodes_total_pod_limits", "gauge", NODE_RESOURCE, ""),
    ("karpenter_nodes_total_daemon_requests", "gauge", NODE_RESOURCE, ""),
    ("karpenter_nodes_total_daemon_limits", "gauge", NODE_RESOURCE, ""),
    ("karpenter_nodes_system_overhead", "gauge", NODE_RESOURCE, ""),
    ("karpenter_nodes_current_lifetime_seconds", "gauge", NODE, ""),
    ("karpenter_cluster_utilization_percent", "gauge", "resource_type", ""),
    ("karpenter_pods_state", "gauge", "arch capacity_type instance_type managed name namespace node nodepool owner phase ready scheduled zone", ""),
    ("karpenter_pods_startup_duration_seconds", "summary", "", ""),
    ("karpenter_pods_unstarted_time_seconds", "gauge", "name namespace", ""),
    ("karpenter_pods_unbound_time_seconds", "gauge", "name namespace", ""),
    ("karpenter_pods_bound_duration_seconds", "histogram", "", DURATIONS),
    ("karpenter_pods_scheduling_decision_duration_seconds", "histogram", "", DURATIONS),
    ("karpenter_pods_eviction_requests_total", "counter", "code", ""),
    ("karpenter_pods_drained_total", "counter", "reason", ""),
    ("karpenter_voluntary_disruption_decision_evaluation_duration_seconds", "histogram", "consolidation_type reason", DURATIONS),
    ("karpenter_voluntary_disruption_decisions_total", "counter", "consolidation_type decision reason", ""),
    ("karpenter_voluntary_disruption_decisions_by_nodepool_total", "counter", "consolidation_type decision nodepool reason", ""),
    ("karpenter_voluntary_disruption_eligible_nodes", "gauge", "reason", ""),
    ("karpenter_voluntary_disruption_consolidation_timeouts_total", "counter", "consolidation_type", ""),
    ("karpenter_nodepools_allowed_disruptions", "gauge", "nodepool reason", ""),
    ("karpenter_nodepools_nodes_consuming_budgets", "gauge", "nodepool reason", ""),
    ("karpenter_nodepools_limit", "gauge", "nodepool resource_type", ""),
    ("karpenter_nodepools_usage", "gauge", "nodepool resource_type", ""),
    ("karpenter_nodepools_cost_total", "gauge", "nodepool", ""),
    ("karpenter_scheduler_scheduling_duration_seconds", "histogram", "controller", DURATIONS),
    ("karpenter_scheduler_ignored_pods_count", "gauge", "", ""),
    ("karpenter_scheduler_unschedulable_pods_count", "gauge", "controller", ""),
    ("karpenter_scheduler_pending_pods_by_effective_zone_count", "gauge", "controller zone", ""),
    ("karpenter_cluster_state_node_count", "gauge", "", ""),
    ("karpenter_cluster_state_synced", "gauge", "", ""),
    ("karpenter_cluster_state_unsynced_time_seconds", "gauge", "", ""),
    ("karpenter_cloudprovider_duration_seconds", "histogram", "controller method provider", DEFAULTS),
    ("karpenter_cloudprovider_errors_total", "counter", "controller error method provider", ""),
    ("operator_status_condition_count", "gauge", "group kind name namespace reason status type", ""),
    ("operator_status_condition_current_status_seconds", "gauge", "group kind name namespace reason status type", ""),
    ("operator_status_condition_transitions_total", "counter", "group kind reason status type", ""),
    ("operator_status_condition_transition_seconds", "histogram", "group kind status type", CONDITIONS),
    ("operator_termination_duration_seconds", "histogram", "group kind", CONDITIONS),
    ("operator_termination_current_time_seconds", "gauge", "group kind name namespace", ""),
    ("operator_nodepool_status_condition_count", "gauge", "name namespace reason status type", ""),
];

#[tokio::test(start_paused = true)]
async fn every_family_has_upstreams_labels_and_buckets() {
    let mut world = World::new().await;
    world.run();
    world
        .pool("default", json!({ "limits": { "cpu": "10000" } }))
        .await;
    world.at(1).await;
    let daemon = json!({
        "metadata": { "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "ds",
            "controller": true,
        }] },
        "spec": { "containers": [{
            "name": "main", "image": "main", "resources": {
                "requests": { "cpu": "1m" }, "limits": { "cpu": "10m" },
            },
        }] },
    });
    let nodes = world.busy_nodes(2).await;
    world.pending("agent", "1m", daemon).await;
    world.bind("agent", &nodes[0]).await;
    world.pending("huge", "5000", json!({})).await;
    world.at(world.seconds() + 5).await;
    let mut found = BTreeMap::new();
    shapes(&world.ctx.metrics.render(), &mut found);
    let api: Api<Node> = Api::all(world.client.clone());
    for status in ["Unknown", "True"] {
        let condition = json!({
            "type": "Ready", "status": status, "reason": "Test", "lastTransitionTime": EPOCH,
        });
        let patch = Patch::Merge(json!({ "status": { "conditions": [condition] } }));
        api.patch_status(&nodes[0], &PatchParams::default(), &patch)
            .await
            .unwrap();
        world.at(world.seconds() + 1).await;
    }
    api.delete(&nodes[1], &DeleteParams::default())
        .await
        .unwrap();
    world.at(world.seconds() + 2).await;
    shapes(&world.ctx.metrics.render(), &mut found);
    world.delete_pod("web-1").await;
    world.delete_pod("web-0").await;
    world.at(world.seconds() + 120).await;
    shapes(&world.ctx.metrics.render(), &mut found);
    let own: Vec<(String, &str, String, &str)> = [("nodeclaim", CLAIM), ("node", NODE_CONDITION)]
        .into_iter()
        .flat_map(|(kind, extra)| {
            let sorted = |more: &str| {
                let mut all: Vec<&str> = extra.split(' ').chain(more.split(' ')).collect();
                all.retain(|name| !name.is_empty());
                all.sort_unstable();
                all.join(" ")
            };
            let stated = "name namespace reason status type";
            [
                ("status_condition_count", "gauge", sorted(stated), ""),
                (
                    "status_condition_current_status_seconds",
                    "gauge",
                    sorted(stated),
                    "",
                ),
                (
                    "status_condition_transitions_total",
                    "counter",
                    sorted("reason status type"),
                    "",
                ),
                (
                    "status_condition_transition_seconds",
                    "histogram",
                    sorted("status type"),
                    CONDITIONS,
                ),
                (
                    "termination_duration_seconds",
                    "histogram",
                    sorted(""),
                    CONDITIONS,
                ),
                (
                    "termination_current_time_seconds",
                    "gauge",
                    sorted("name namespace"),
                    "",
                ),
            ]
            .map(|(name, of, labels, buckets)| {
                (format!("operator_{kind}_{name}"), of, labels, buckets)
            })
        })
        .collect();
    let listed = FAMILIES.iter().map(|(name, kind, labels, buckets)| {
        ((*name).to_owned(), *kind, (*labels).to_owned(), *buckets)
    });
    for (name, kind, labels, buckets) in listed.chain(own) {
        let expected = (kind.to_owned(), labels, buckets.to_owned());
        assert_eq!(found.get(&name), Some(&expected), "{name}");
    }
}
