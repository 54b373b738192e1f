//! Rows of the disruption chapter, through real objects and the lowering.
#![allow(clippy::unwrap_used)]

use jiff::{SignedDuration, Timestamp};
use karpenter_plan::{
    budget::DisruptionReason,
    disrupt::{
        BlockReason, Command, DisruptOptions, DisruptionCost, Failure, Invalid, Leftover, Step,
        Validity, Verdict, allowances, candidate::Audience, disrupt, leftovers, still_valid,
    },
    snapshot::Snapshot,
};
use serde_json::{Value, json};

use crate::world::{NOW, Objects, TestNode, TestPod, budget, node, pod, pool};

const MIDNIGHT: &str = "2024-05-02T00:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn options(commands: &[Command]) -> DisruptOptions<'_> {
    DisruptOptions {
        commands,
        ignore_consolidate_after: false,
    }
}

fn proposal(snapshot: &Snapshot) -> Option<Command> {
    disrupt(snapshot, &options(&[])).0
}

/// The names of the proposed nodes, in name order.
fn proposed(snapshot: &Snapshot) -> Vec<String> {
    names(proposal(snapshot).as_ref())
}

fn names(command: Option<&Command>) -> Vec<String> {
    let nodes = command.into_iter().flat_map(|command| &command.nodes);
    let mut names: Vec<String> = nodes.map(|target| target.node.to_string()).collect();
    names.sort();
    names
}

fn numbered(prefix: &str, count: usize, change: impl Fn(TestNode) -> TestNode) -> Vec<TestNode> {
    (0..count)
        .map(|index| change(node(&format!("{prefix}-{index:02}"))))
        .collect()
}

fn ten(change: impl Fn(TestNode) -> TestNode) -> Vec<TestNode> {
    numbered("node", 10, change)
}

fn same(node: TestNode) -> TestNode {
    node
}

fn with_budgets(budgets: Value, nodes: Vec<TestNode>) -> Objects {
    let mut objects = Objects::new(vec![pool("default").disruption("budgets", budgets)]);
    objects.nodes = nodes;
    objects
}

// ---------------------------------------------------------------------------------------------
// Budgets

/// `taken` nodes are proposed in one command.
fn check_taken(row: &str, objects: &Objects, taken: usize) {
    let (command, report) = disrupt(&objects.snapshot(NOW), &options(&[]));
    let command_nodes = command.as_ref().map_or(0, |command| command.nodes.len());
    assert_eq!(command_nodes, taken, "{row}: {:?}", report.methods);
    assert!(
        command
            .iter()
            .all(|command| command.replacements.is_empty()),
        "{row}"
    );
    assert!(
        command
            .iter()
            .all(|command| command.method.reason() == DisruptionReason::Empty),
        "{row}"
    );
}

#[test]
fn budgets_bound_a_command() {
    let budgeted = |nodes: &str| with_budgets(json!([{"nodes": nodes}]), ten(same));
    check_taken("disruption/B1", &budgeted("30%"), 3);
    check_taken("disruption/B2", &budgeted("100%"), 10);
    check_taken("disruption/B3", &budgeted("0%"), 0);

    let ten_pools = |nodes: &str| {
        let pools: Vec<_> = (0..10)
            .map(|index| {
                pool(&format!("pool-{index}")).disruption("budgets", json!([{"nodes": nodes}]))
            })
            .collect();
        let mut objects = Objects::new(pools);
        for index in 0..10 {
            let pool = format!("pool-{index}");
            objects
                .nodes
                .extend(numbered(&pool, 3, |node| node.pool(&pool)));
        }
        objects
    };
    check_taken("disruption/B6", &ten_pools("50%"), 20);
    check_taken("disruption/B7", &ten_pools("100%"), 30);
    check_taken("disruption/B3", &ten_pools("0%"), 0);
    let command = proposal(&ten_pools("50%").snapshot(NOW)).unwrap();
    for index in 0..10 {
        let pool = format!("pool-{index}");
        let of_pool = command
            .nodes
            .iter()
            .filter(|target| *target.pool == *pool)
            .count();
        assert_eq!(of_pool, 2, "disruption/B6: {pool}");
    }
}

#[test]
fn a_closed_budget_is_not_remembered() {
    // Nothing is written down that would keep a later round from looking again.
    let closed = json!([{"nodes": "0", "schedule": "0 12 * * *", "duration": "1h"}]);
    let objects = with_budgets(closed, ten(same));
    let (command, report) = disrupt(&objects.snapshot(NOW), &options(&[]));
    assert_eq!(command, None);
    assert_eq!(report.valid_until, Some(at("2024-05-01T13:00:00Z")));
    let methods = &report.methods;
    assert!(
        methods.iter().all(|report| report.constrained),
        "{methods:?}"
    );
    assert!(
        report.methods[0]
            .verdicts
            .iter()
            .all(|(_, verdict)| *verdict == Verdict::BudgetSpent)
    );
    assert_eq!(
        proposed(&objects.snapshot("2024-05-01T13:00:00Z")).len(),
        10
    );
}

/// What the budgets of pool `default` leave for Underutilized, Empty and Drifted.
fn check_mapping(row: &str, objects: &Objects, now: &str, expected: [u32; 3]) {
    let snapshot = objects.snapshot(now);
    let found = allowances(&snapshot, &[])[snapshot.pool_named("default").unwrap()];
    let mapping = DisruptionReason::ALL.map(|reason| found.remaining(reason));
    assert_eq!(mapping, expected, "{row}: {found:?}");
}

#[test]
fn budgets_count_nodes() {
    let all = |nodes: Vec<TestNode>| with_budgets(json!([{"nodes": "100%"}]), nodes);
    let and = |mut nodes: Vec<TestNode>, more: TestNode| {
        nodes.push(more);
        nodes
    };
    let mapping = |row, nodes, expected| check_mapping(row, &all(nodes), NOW, [expected; 3]);
    mapping(
        "disruption/B8",
        and(ten(same), node("other").unmanaged()),
        10,
    );
    mapping(
        "disruption/B9",
        and(ten(same), node("young").uninitialized()),
        10,
    );
    mapping(
        "disruption/B10",
        and(ten(same), node("ending").with("InstanceTerminating")),
        10,
    );
    let deleting = with_budgets(json!([{"nodes": "10%"}]), ten(TestNode::deleting));
    check_mapping("disruption/B11", &deleting, NOW, [0; 3]);
    let mut two_going = ten(same);
    two_going[3] = two_going[3].clone().deleting();
    two_going[7] = two_going[7].clone().marked();
    mapping("disruption/B12", two_going, 8);
    let mut two_unready = ten(same);
    two_unready[2] = two_unready[2].clone().ready("False");
    two_unready[5] = two_unready[5].clone().ready("");
    mapping("disruption/B13", two_unready, 8);
    let twenty_percent = json!([{"nodes": "20%"}]);
    let nineteen = with_budgets(twenty_percent, numbered("node", 19, same));
    check_mapping("disruption/B14", &nineteen, NOW, [4; 3]);
}

#[test]
fn budgets_have_reasons_and_windows() {
    let two = json!([{"nodes": "10%"}, {"nodes": "0", "reasons": ["Drifted"]}]);
    check_mapping(
        "disruption/B15",
        &with_budgets(two, ten(same)),
        NOW,
        [1, 1, 0],
    );
    let nightly = json!([{"nodes": "0", "schedule": "0 0 * * *", "duration": "8h"}]);
    let nightly = with_budgets(nightly, ten(same));
    let unlimited = [i32::MAX as u32; 3];
    check_mapping("disruption/B16", &nightly, "2024-05-01T07:59:00Z", [0; 3]);
    check_mapping(
        "disruption/B16",
        &nightly,
        "2024-05-01T08:00:00Z",
        unlimited,
    );
    check_mapping(
        "disruption/B16",
        &nightly,
        "2024-05-01T12:30:00Z",
        unlimited,
    );
    let several = json!([
        {"nodes": "8"},
        {"nodes": "3", "schedule": "* * * * *", "duration": "1m"},
        {"nodes": "1", "schedule": "0 0 * * *", "duration": "8h"},
    ]);
    check_mapping(
        "disruption/B17",
        &with_budgets(several, ten(same)),
        NOW,
        [3; 3],
    );
    let broken = json!([
        {"nodes": "8"},
        {"nodes": "5", "schedule": "0 0 * * tue-mon", "duration": "1h", "reasons": ["Drifted"]},
    ]);
    let broken = with_budgets(broken, ten(same));
    check_mapping("disruption/B18", &broken, NOW, [0; 3]);
    check_taken("disruption/B18", &broken, 0);
    // The default of the schema is one budget of ten percent; an empty list is no restriction.
    check_mapping("", &with_budgets(json!([]), ten(same)), NOW, unlimited);
}

#[test]
fn commands_and_unreadable_nodes_consume_budgets() {
    let objects = with_budgets(json!([{"nodes": "30%"}]), ten(same));
    let snapshot = objects.snapshot(NOW);
    let command = proposal(&snapshot).unwrap();
    let (again, report) = disrupt(&snapshot, &options(std::slice::from_ref(&command)));
    assert_eq!(again, None);
    let taken = report
        .blocked
        .iter()
        .filter(|(_, r)| *r == BlockReason::AlreadyDisrupted);
    assert_eq!(taken.count(), 3);
    assert_eq!(
        report.allowances[snapshot.pool_named("default").unwrap()].consuming,
        3
    );

    let mut snapshot = objects.snapshot(NOW);
    snapshot.set_aside.push(karpenter_plan::Problem {
        kind: "NodeClaim",
        namespace: None,
        name: "odd".into(),
        pool: Some("default".into()),
        message: "does not decode".into(),
    });
    let found = allowances(&snapshot, &[])[snapshot.pool_named("default").unwrap()];
    // Thirty percent of eleven round up to four; the unreadable one consumes.
    assert_eq!(
        (found.total, found.remaining(DisruptionReason::Empty)),
        (11, 3)
    );
}

// ---------------------------------------------------------------------------------------------
// Emptiness

/// Whether node `n` is deleted.
fn check_empty(row: &str, node: TestNode, pods: &[TestPod], deleted: bool) {
    let mut objects = Objects::new(vec![pool("default")]);
    objects.nodes = vec![node];
    objects.pods = pods.to_vec();
    let (command, report) = disrupt(&objects.snapshot(NOW), &options(&[]));
    assert_eq!(command.is_some(), deleted, "{row}: {report:?}");
    let Some(command) = command else { return };
    assert_eq!(names(Some(&command)), ["n"], "{row}");
    assert_eq!(command.method.reason(), DisruptionReason::Empty, "{row}");
    assert!(command.replacements.is_empty(), "{row}");
}

#[test]
fn empty_nodes_go() {
    let on = |name: &str| pod(name).on("n");
    check_empty("disruption/E1", node("n"), &[], true);
    check_empty(
        "disruption/E2",
        node("n").without("Consolidatable"),
        &[],
        false,
    );
    check_empty(
        "disruption/E2",
        node("n").with_false("Consolidatable"),
        &[],
        false,
    );
    check_empty(
        "disruption/E3",
        node("n"),
        &[on("a").owner("DaemonSet"), on("b").owner("DaemonSet")],
        true,
    );
    check_empty(
        "disruption/E4",
        node("n"),
        &[on("a").owner("ReplicaSet").terminating()],
        true,
    );
    check_empty(
        "disruption/E5",
        node("n"),
        &[on("a").owner("StatefulSet").terminating()],
        false,
    );
    check_empty(
        "disruption/E6",
        node("n"),
        &[
            on("a").deletion_cost("-134217728"),
            on("b").deletion_cost("-2147483648"),
        ],
        true,
    );
    check_empty("", node("n"), &[on("a").deletion_cost("-134217727")], false);
    check_empty("", node("n"), &[on("a")], false);
    check_empty(
        "",
        node("n"),
        &[on("a").phase("Succeeded"), on("b").phase("Failed")],
        true,
    );
    check_empty("", node("n"), &[pod("waiting")], true);
    check_empty("disruption/E16", node("n").pool("static"), &[], false);
}

#[test]
fn pools_opt_out_of_emptiness() {
    let check = |row: &str,
                 change: &dyn Fn(crate::world::TestPool) -> crate::world::TestPool,
                 verdict: Verdict,
                 event: Option<&str>| {
        let mut objects = Objects::new(vec![change(pool("default"))]);
        objects.nodes = vec![node("n")];
        let snapshot = objects.snapshot(NOW);
        let (command, report) = disrupt(&snapshot, &options(&[]));
        let [(id, found)] = report.methods[0].verdicts[..] else {
            panic!("{report:?}")
        };
        assert_eq!((command, found), (None, verdict), "{row}");
        assert_eq!(found.event(&snapshot, id).as_deref(), event, "{row}");
    };
    check(
        "disruption/E16",
        &|pool| pool.replicas(1),
        Verdict::StaticPool,
        None,
    );
    check(
        "",
        &|pool| pool.disruption("consolidateAfter", json!("Never")),
        Verdict::ConsolidationDisabled,
        Some("NodePool \"default\" has consolidation disabled"),
    );
}

#[test]
fn every_policy_deletes_empty_nodes() {
    for policy in ["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"] {
        let mut objects = Objects::new(vec![
            pool("default").disruption("consolidationPolicy", json!(policy)),
        ]);
        objects.nodes = vec![node("n")];
        assert_eq!(proposed(&objects.snapshot(NOW)), ["n"], "{policy}");
    }
}

#[test]
fn dearer_nodes_go_first() {
    let one = json!([{"nodes": "2"}]);
    let nodes = vec![
        node("a-small"),
        node("b-large").instance_type("large"),
        node("c-unknown").instance_type("unheard-of"),
        node("d-small"),
    ];
    let command = proposal(&with_budgets(one, nodes).snapshot(NOW)).unwrap();
    let order: Vec<&str> = command.nodes.iter().map(|target| &*target.node).collect();
    assert_eq!(order, ["b-large", "a-small"]);
    // 0.4 for the large one, 0.1 for the small one.
    assert!(
        (command.savings.dollars() - 0.5).abs() < 1e-9,
        "{:?}",
        command.savings
    );
}

#[test]
fn quiet_can_be_waived() {
    let mut objects = Objects::new(vec![pool("default")]);
    objects.nodes = vec![node("n").without("Consolidatable")];
    let waived = DisruptOptions {
        commands: &[],
        ignore_consolidate_after: true,
    };
    let (command, _) = disrupt(&objects.snapshot(NOW), &waived);
    assert_eq!(names(command.as_ref()), ["n"]);
    objects.pools = vec![pool("default").disruption("consolidateAfter", json!("Never"))];
    assert_eq!(disrupt(&objects.snapshot(NOW), &waived).0, None);
}

// ---------------------------------------------------------------------------------------------
// Candidates

/// Node `n` is no candidate, for this reason.
fn check_blocked(objects: &Objects, message: &str, audience: Audience) {
    let snapshot = objects.snapshot(NOW);
    let (command, report) = disrupt(&snapshot, &options(&[]));
    // A claim without a Node goes by its own name.
    let id = snapshot
        .node_named("n")
        .or(snapshot.node_named("n-claim"))
        .unwrap();
    let reason = report
        .blocked
        .iter()
        .find(|(blocked, _)| *blocked == id)
        .map(|(_, reason)| reason);
    let reason = reason.unwrap_or_else(|| panic!("not blocked, wanted: {message}"));
    assert_eq!(reason.message(&snapshot), message);
    assert_eq!(reason.audience(), audience, "{message}");
    assert!(
        !names(command.as_ref()).contains(&"n".to_string()),
        "{message}"
    );
}

fn alone(node: TestNode) -> Objects {
    let mut objects = Objects::new(vec![pool("default")]);
    objects.nodes = vec![node];
    objects
}

#[test]
fn each_check_has_its_reason() {
    let check = |node: TestNode, message, audience| check_blocked(&alone(node), message, audience);
    check(
        node("n").unmanaged(),
        "node isn't managed by karpenter",
        Audience::Nobody,
    );
    check(
        node("n").claim_only(),
        "nodeclaim does not have an associated node",
        Audience::NodeClaim,
    );
    check(
        node("n").uninitialized(),
        "node isn't initialized",
        Audience::Both,
    );
    let marked = "node is deleting or marked for deletion";
    check(node("n").marked(), marked, Audience::Both);
    check(node("n").deleting(), marked, Audience::Both);
    check(
        node("n").with("InstanceTerminating"),
        marked,
        Audience::Both,
    );
    check(
        node("n").nominated_until("2024-05-01T12:00:01Z"),
        "node is nominated for a pending pod",
        Audience::Both,
    );
    check(
        node("n").annotation("karpenter.sh/do-not-disrupt", "true"),
        "disruption is blocked through the \"karpenter.sh/do-not-disrupt\" annotation",
        Audience::Both,
    );
    check(
        node("n").no_pool(),
        "node doesn't have required label (label=karpenter.sh/nodepool)",
        Audience::Both,
    );
    check(
        node("n").pool("gone"),
        "NodePool not found (NodePool=gone)",
        Audience::Both,
    );
    let mut without_types = alone(node("n").pool("bare"));
    without_types.pools.push(pool("bare").without_types());
    check_blocked(
        &without_types,
        "NodePool not found (NodePool=bare)",
        Audience::Both,
    );
}

#[test]
fn earlier_checks_come_first() {
    // Uninitialised, marked, nominated and forbidden all at once: the first check names the reason.
    let everything = node("n")
        .annotation("karpenter.sh/do-not-disrupt", "true")
        .nominated_until("2024-05-01T13:00:00Z");
    check_blocked(
        &alone(everything.clone()),
        "node is nominated for a pending pod",
        Audience::Both,
    );
    let everything = everything.marked();
    check_blocked(
        &alone(everything.clone()),
        "node is deleting or marked for deletion",
        Audience::Both,
    );
    check_blocked(
        &alone(everything.uninitialized()),
        "node isn't initialized",
        Audience::Both,
    );
}

#[test]
fn nodes_outside_the_rules_stay_candidates() {
    let check = |node: TestNode| assert_eq!(proposed(&alone(node).snapshot(NOW)), ["n"]);
    check(node("n").nominated_until(NOW));
    // Durations and other values exist for pods only.
    check(node("n").annotation("karpenter.sh/do-not-disrupt", "1h"));
    check(node("n").annotation("karpenter.sh/do-not-disrupt", "false"));
    check(node("n").instance_type("unheard-of"));
}

/// A pod on node `n` blocks it with this message, or not at all.
fn check_pod(pods: &[TestPod], budgets: &[Value], message: &str) {
    let mut objects = alone(node("n"));
    objects.pods = pods.to_vec();
    objects.budgets = budgets.to_vec();
    if message.is_empty() {
        let (_, report) = disrupt(&objects.snapshot(NOW), &options(&[]));
        assert_eq!(report.blocked, [], "{pods:?}");
    } else {
        check_blocked(&objects, message, Audience::Both);
    }
}

#[test]
fn pods_forbid_disruption() {
    let protected = |value: &str| {
        pod("p")
            .on("n")
            .annotation("karpenter.sh/do-not-disrupt", value)
    };
    let blocked = "pod has \"karpenter.sh/do-not-disrupt\" annotation (Pod=default/p)";
    let check = |pod: TestPod, message| check_pod(&[pod], &[], message);
    check(protected("true"), blocked);
    check(protected("true").owner("DaemonSet"), blocked);
    check(protected("true").owner("Node"), blocked);
    check(protected("true").tolerating_disruption(), blocked);
    check(protected("true").terminating(), "");
    check(protected("true").phase("Succeeded"), "");
    for ignored in ["false", "0s", "-5m", "abc", ""] {
        check(protected(ignored), "");
    }
    check(protected("10m"), blocked);
    check(protected("10m").started("2024-05-01T11:50:01Z"), blocked);
    check(protected("10m").started("2024-05-01T11:50:00Z"), "");
    check(protected("1h30m").started("2024-05-01T11:00:00Z"), blocked);
}

#[test]
fn budgets_of_pods_forbid_disruption() {
    let closed = || budget("closed").allowing(0).selecting("app", "web").json();
    let web = || pod("p").on("n").label("app", "web");
    let blocked = "pdb prevents pod evictions (PodDisruptionBudget=[default/closed])";
    check_pod(&[web()], &[closed()], blocked);
    check_pod(&[web().label("app", "other")], &[closed()], "");
    check_pod(
        &[web()],
        &[budget("open").allowing(1).selecting("app", "web").json()],
        "",
    );
    // One disruption is allowed and two pods would go: still a candidate.
    let open = budget("open").allowing(1).selecting("app", "web").json();
    check_pod(&[web(), pod("q").on("n").label("app", "web")], &[open], "");
    // Pods that cannot be evicted anyway are not looked at.
    for pod in [
        web().tolerating_disruption(),
        web().owner("Node"),
        web().terminating(),
        web().phase("Failed"),
    ] {
        check_pod(&[pod], &[closed()], "");
    }
    check_pod(&[web().owner("DaemonSet")], &[closed()], blocked);
    let unhealthy = budget("closed")
        .allowing(0)
        .selecting("app", "web")
        .always_allow()
        .json();
    check_pod(
        &[web().ready("False")],
        std::slice::from_ref(&unhealthy),
        "",
    );
    check_pod(
        &[web().ready("True")],
        std::slice::from_ref(&unhealthy),
        blocked,
    );
    check_pod(&[web()], &[unhealthy], blocked);
    // Two budgets block whatever they allow.
    let two = ["a", "b"].map(|name| budget(name).allowing(5).selecting("app", "web").json());
    let message =
        "eviction does not support multiple PDBs (PodDisruptionBudget(s)=[default/a default/b])";
    check_pod(&[web()], &two, message);
    let elsewhere = budget("closed")
        .allowing(0)
        .selecting("app", "web")
        .namespace("other")
        .json();
    check_pod(&[web()], &[elsewhere], "");
    // Annotations of all pods come before budgets of any.
    check_pod(
        &[
            web(),
            pod("q")
                .on("n")
                .annotation("karpenter.sh/do-not-disrupt", "true"),
        ],
        &[closed()],
        "pod has \"karpenter.sh/do-not-disrupt\" annotation (Pod=default/q)",
    );
}

// ---------------------------------------------------------------------------------------------
// Costs

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

// ---------------------------------------------------------------------------------------------
// A command's life

fn after(seconds: i64) -> String {
    at(NOW)
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap()
        .to_string()
}

fn two_empty() -> Objects {
    let mut objects = Objects::new(vec![
        pool("default").disruption("budgets", json!([{"nodes": "100%"}])),
    ]);
    objects.nodes = vec![node("a"), node("b")];
    objects
}

/// After the command for nodes `a` and `b` was held, `change` happened.
fn check_validity(
    row: &str,
    change: impl Fn(&mut Objects),
    expected: Result<&[&str], Invalid>,
    failed: usize,
) {
    let mut objects = two_empty();
    let command = proposal(&objects.snapshot(NOW)).unwrap();
    assert_eq!(names(Some(&command)), ["a", "b"], "{row}");
    change(&mut objects);
    let snapshot = objects.snapshot(&after(15));
    let held = [command.clone()];
    let validity = still_valid(&command, &snapshot, &options(&held));
    let found = validity
        .command
        .as_ref()
        .map(|command| names(Some(command)))
        .map_err(|invalid| *invalid);
    let expected = expected.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!((found, validity.failed), (expected, failed), "{row}");
    if let Ok(command) = validity.command {
        assert_eq!(command.started, Some(snapshot.now), "{row}");
    }
}

#[test]
fn held_commands_are_looked_at_again() {
    let give_pod = |name: &'static str| {
        move |objects: &mut Objects| objects.pods.push(pod(&format!("on-{name}")).on(name))
    };
    check_validity("", |_| (), Ok(&["a", "b"]), 0);
    check_validity("disruption/E7", give_pod("a"), Ok(&["b"]), 0);
    check_validity(
        "disruption/E8",
        |objects| {
            give_pod("a")(objects);
            give_pod("b")(objects);
        },
        Err(Invalid::Churn),
        2,
    );
    let close = |nodes: &'static str| {
        move |objects: &mut Objects| {
            objects.pools = vec![pool("default").disruption("budgets", json!([{"nodes": nodes}]))];
        }
    };
    check_validity("", close("0"), Err(Invalid::Budget), 2);
    check_validity("", close("1"), Ok(&["a"]), 1);
    check_validity(
        "",
        |objects| objects.nodes[0] = node("a").nominated_until(&after(20)),
        Ok(&["b"]),
        0,
    );
    check_validity(
        "",
        |objects| objects.nodes[0] = node("a").without("Consolidatable"),
        Ok(&["b"]),
        0,
    );
    check_validity("", |objects| drop(objects.nodes.remove(0)), Ok(&["b"]), 0);
    // Another machine under the same names is not the one that was meant.
    check_validity(
        "",
        |objects| objects.nodes[0] = node("a").uid("another"),
        Ok(&["b"]),
        0,
    );
}

#[test]
fn a_command_is_held_for_fifteen_seconds() {
    let objects = two_empty();
    let command = proposal(&objects.snapshot(NOW)).unwrap();
    let check = |_row: &str, seconds: i64, step: Step| {
        let found = command.next_step(&objects.snapshot(&after(seconds)), 0);
        assert_eq!(found, step, "after {seconds} s");
    };
    let hold = || Step::Hold {
        until: at(&after(15)),
    };
    // Until the wait is over the nodes stay; a clock that jumps past its end carries on.
    check("disruption/E10", 0, hold());
    check("disruption/E10", 14, hold());
    check("disruption/E10", 15, Step::Revalidate);
    check("disruption/E10", 31, Step::Revalidate);
    // Nothing else is proposed meanwhile.
    let mut objects = two_empty();
    objects.nodes.push(node("c"));
    let held = [command];
    let (another, report) = disrupt(&objects.snapshot(&after(5)), &options(&held));
    assert_eq!(another, None);
    let verdicts: Vec<Verdict> = report.methods[0]
        .verdicts
        .iter()
        .map(|(_, verdict)| *verdict)
        .collect();
    assert_eq!(verdicts, [Verdict::CommandHeld]);
}

/// Plays a command to its end; each step is performed on the objects as it is named.
fn play(row: &str, objects: &mut Objects, mut command: Command, expected: &[&str]) {
    let mut seen = Vec::new();
    for second in 0..100 {
        let snapshot = objects.snapshot(&after(15 + second));
        command.observe(&snapshot);
        let step = command.next_step(&snapshot, command.nodes.len());
        let targets = |targets: &[karpenter_plan::disrupt::Target]| {
            targets
                .iter()
                .map(|target| target.node.to_string())
                .collect::<Vec<_>>()
        };
        let mut change = |names: Vec<String>, change: &dyn Fn(TestNode) -> TestNode| {
            for node in &mut objects.nodes {
                if names.contains(&node.name) {
                    *node = change(node.clone());
                }
            }
            names.join(",")
        };
        let text = match &step {
            Step::Hold { .. } => "hold".into(),
            Step::Revalidate => {
                let Validity {
                    command: confirmed, ..
                } = still_valid(&command, &snapshot, &options(&[]));
                command = confirmed.unwrap();
                "revalidate".into()
            }
            Step::Taint(nodes) => format!("taint {}", change(targets(nodes), &TestNode::tainted)),
            Step::Mark(nodes) => format!("mark {}", change(targets(nodes), &TestNode::marked)),
            Step::Delete(nodes) => {
                format!("delete {}", change(targets(nodes), &TestNode::deleting))
            }
            Step::Create(indices) => {
                for &index in indices {
                    let name = format!("new-{index}");
                    objects.nodes.push(node(&name).uninitialized());
                    command.replacements[index].created = Some(format!("{name}-claim").into());
                }
                format!("create {indices:?}")
            }
            Step::Wait(indices) => {
                let names = indices.iter().map(|index| format!("new-{index}")).collect();
                change(names, &TestNode::initialized);
                format!("wait {indices:?}")
            }
            Step::Undo { nodes, failure } => {
                format!("undo {}: {failure}", targets(nodes).join(","))
            }
            Step::Done => "done".into(),
        };
        seen.push(text);
        if matches!(step, Step::Done | Step::Undo { .. }) {
            break;
        }
    }
    assert_eq!(seen, expected, "{row}");
}

#[test]
fn a_deletion_is_carried_out_step_by_step() {
    let mut objects = two_empty();
    let command = proposal(&objects.snapshot(NOW)).unwrap();
    let steps = ["revalidate", "taint a,b", "mark a,b", "delete a,b", "done"];
    play("disruption/E1", &mut objects, command, &steps);
}

#[test]
fn only_what_is_missing_is_done() {
    let mut objects = two_empty();
    let command = proposal(&objects.snapshot(NOW)).unwrap();
    objects.nodes[0] = node("a").deleting();
    let started = Command {
        started: Some(at(NOW)),
        ..command.clone()
    };
    play(
        "",
        &mut objects,
        started.clone(),
        &["taint b", "mark b", "delete b", "done"],
    );
    let mut objects = two_empty();
    objects.nodes[1] = node("b").tainted();
    objects.nodes[0] = node("a").tainted().marked();
    play(
        "",
        &mut objects,
        started.clone(),
        &["mark b", "delete a,b", "done"],
    );
    let mut gone = Objects::new(vec![pool("default")]);
    play("", &mut gone, started, &["done"]);
}

fn replacement(snapshot: &Snapshot) -> karpenter_plan::disrupt::Replacement {
    karpenter_plan::disrupt::Replacement {
        claim: karpenter_plan::NewClaim {
            pool: snapshot.pool_named("default").unwrap(),
            pods: Vec::new(),
            instance_types: Vec::new(),
            requirements: Default::default(),
            requests: Default::default(),
            cheapest: None,
            price: karpenter_plan::Price::ZERO,
            min_values_relaxed: false,
            seed: 0,
            devices: Vec::new(),
        },
        created: None,
        is_initialized: false,
    }
}

#[test]
fn replacements_come_before_deletion() {
    let mut objects = two_empty();
    let snapshot = objects.snapshot(NOW);
    let command = Command {
        replacements: vec![replacement(&snapshot), replacement(&snapshot)],
        started: Some(at(NOW)),
        ..proposal(&snapshot).unwrap()
    };
    let steps = [
        "taint a,b",
        "create [0, 1]",
        "mark a,b",
        "wait [0, 1]",
        "delete a,b",
        "done",
    ];
    play("", &mut objects, command.clone(), &steps);

    // A replacement that is gone before it was ready ends the command; one that was ready does not.
    let mut objects = two_empty();
    let mut lost = command.clone();
    lost.replacements[0].created = Some("lost".into());
    play(
        "",
        &mut objects,
        lost.clone(),
        &["undo a,b: replacement was deleted (NodeClaim=lost)"],
    );
    lost.replacements[0].is_initialized = true;
    lost.replacements.truncate(1);
    play(
        "",
        &mut objects,
        lost,
        &["taint a,b", "mark a,b", "delete a,b", "done"],
    );

    // Ten minutes are granted, and more only for very many nodes.
    let mut objects = two_empty();
    let mut late = command.clone();
    late.started = Some(at(NOW) - SignedDuration::from_secs(10 * 60 - 15));
    assert!(matches!(
        late.next_step(&objects.snapshot(&after(15)), 2),
        Step::Taint(_)
    ));
    assert!(matches!(
        late.next_step(&objects.snapshot(&after(16)), 2),
        Step::Undo {
            failure: Failure::TimedOut,
            ..
        }
    ));
    assert!(matches!(
        late.next_step(&objects.snapshot(&after(16)), 10_000),
        Step::Taint(_)
    ));

    let failed = Command {
        failure: Some(Failure::Start("forbidden".into())),
        ..command
    };
    play(
        "",
        &mut objects,
        failed,
        &["undo a,b: starting command, forbidden"],
    );
}

#[test]
fn forgotten_commands_leave_nothing_behind() {
    let mut objects = two_empty();
    let command = proposal(&objects.snapshot(NOW)).unwrap();
    objects.nodes[0] = node("a").tainted();
    let found = |objects: &Objects, commands: &[Command]| -> Vec<(String, bool, bool)> {
        leftovers(&objects.snapshot(NOW), commands)
            .into_iter()
            .map(
                |Leftover {
                     target,
                     taint,
                     condition,
                 }| (target.node.to_string(), taint, condition),
            )
            .collect()
    };
    let in_flight = Command {
        started: Some(at(NOW)),
        ..command.clone()
    };
    assert_eq!(found(&objects, &[]), [("a".to_string(), true, true)]);
    assert_eq!(found(&objects, &[in_flight]), []);
    // A held command has tainted nothing yet, so what is there is older.
    assert_eq!(found(&objects, &[command]), [("a".to_string(), true, true)]);
    objects.nodes[0] = node("a").tainted().deleting();
    assert_eq!(found(&objects, &[]), []);
    objects.nodes[0] = node("a").tainted().uninitialized();
    assert_eq!(found(&objects, &[]), [("a".to_string(), true, false)]);
    objects.nodes[0] = node("a").with("DisruptionReason");
    assert_eq!(found(&objects, &[]), [("a".to_string(), false, true)]);
}

// ---------------------------------------------------------------------------------------------
// How long an answer holds

fn check_until(objects: &Objects, expected: &str) {
    let (_, report) = disrupt(&objects.snapshot(NOW), &options(&[]));
    let found = report
        .valid_until
        .map(|instant| instant.to_string())
        .unwrap_or_default();
    assert_eq!(found, expected);
}

#[test]
fn answers_hold_until_time_alone_could_change_them() {
    check_until(&alone(node("n")), "");
    let nightly = json!([{"nodes": "0", "schedule": "0 0 * * *", "duration": "8h"}]);
    check_until(&with_budgets(nightly, vec![node("n")]), MIDNIGHT);
    check_until(
        &alone(node("n").nominated_until("2024-05-01T12:00:20Z")),
        "2024-05-01T12:00:20Z",
    );
    check_until(
        &alone(node("n").nominated_until("2024-05-01T11:00:00Z")),
        "",
    );
    let mut slow = alone(
        node("n")
            .without("Consolidatable")
            .last_pod_event("2024-05-01T11:30:00Z"),
    );
    slow.pools = vec![pool("default").disruption("consolidateAfter", json!("1h"))];
    check_until(&slow, "2024-05-01T12:30:00Z");
    let mut protected = alone(node("n"));
    let annotated = pod("p")
        .on("n")
        .annotation("karpenter.sh/do-not-disrupt", "10m");
    protected.pods = vec![annotated.clone().started("2024-05-01T11:55:00Z")];
    check_until(&protected, "2024-05-01T12:05:00Z");
    protected.pods = vec![annotated];
    check_until(&protected, "");
}
