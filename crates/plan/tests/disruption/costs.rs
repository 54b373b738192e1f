//! Section 4: what disruption costs.

use karpenter_plan::disrupt::DisruptionCost;
use serde_json::json;

use super::alone;
use crate::world::{NOW, TestPod, node, pod};

fn lowered(pods: &[TestPod]) -> Vec<std::sync::Arc<karpenter_plan::Pod>> {
    let mut objects = alone(node("n"));
    objects.pods = pods.to_vec();
    objects.snapshot(NOW).pods.values().cloned().collect()
}

#[test]
fn evictions_cost_by_priority_and_deletion_cost() {
    let check = |pod: TestPod, expected: f64| {
        let cost = DisruptionCost::of_eviction(&lowered(&[pod])[0]).as_f64();
        assert!((cost - expected).abs() < 1e-12, "{cost} is not {expected}");
    };
    let priority = |priority: i32| pod("p").on("n").spec("priority", json!(priority));
    let deletion_cost = |cost: &str| pod("p").on("n").deletion_cost(cost);
    check(pod("p").on("n"), 1.0);
    check(priority(1_000_000_000), 10.0);
    check(priority(33_554_432), 2.0);
    check(deletion_cost("134217728"), 2.0);
    check(deletion_cost("-134217728"), 0.0);
    check(deletion_cost("-2147483648"), -10.0);
    check(deletion_cost("1"), 1.0 + 1.0 / 134_217_728.0);
    check(deletion_cost("much"), 1.0);
    check(
        deletion_cost("2147483647").spec("priority", json!(i32::MIN)),
        -10.0,
    );
}

#[test]
fn moving_counts_what_needs_a_place() {
    let check = |pods: &[TestPod], moving: f64, weight: f64| {
        let pods = lowered(pods);
        let found = DisruptionCost::of_moving(pods.iter().map(|pod| &**pod)).as_f64();
        assert!((found - moving).abs() < 1e-12, "{found} is not {moving}");
        let found = DisruptionCost::of_node(pods.iter().map(|pod| &**pod)).as_f64();
        assert!((found - weight).abs() < 1e-12, "{found} is not {weight}");
    };
    let plain = |name: &str| pod(name).on("n");
    let unwanted = || plain("unwanted").deletion_cost("-2147483648");
    let (daemon, mirror) = (
        plain("daemon").owner("DaemonSet"),
        plain("mirror").owner("Node"),
    );
    check(&[], 1.0, 1.0);
    // A mirror pod weighs in the node's total though it need not move.
    check(&[unwanted(), daemon, mirror], 1.0, 2.0);
    check(&[unwanted(), plain("a"), plain("b")], 3.0, 3.0);
    check(
        &[plain("a").terminating(), plain("b").phase("Failed")],
        1.0,
        2.0,
    );
}
