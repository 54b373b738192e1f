//! Section 19.3: how many nodes may go at a time.

use karpenter_plan::{
    budget::DisruptionReason,
    disrupt::{BlockReason, Command, Method, Pass, Verdict, allowances},
};
use serde_json::json;

use super::{
    Round, ask, at, check, numbered, options, proposal, proposed, same, ten, told, with_budgets,
};
use crate::world::{NOW, Objects, TestNode, node, pod, pool};

/// `taken` nodes are proposed in one command.
fn check_taken(row: &str, objects: &Objects, taken: usize) {
    let (command, report) = ask(&objects.snapshot(NOW), &options(&[]));
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
    let (command, report) = ask(&objects.snapshot(NOW), &options(&[]));
    assert_eq!(command, None);
    assert_eq!(report.valid_until, Some(at("2024-05-01T13:00:00Z")));
    assert!(report.methods[0].constrained, "{:?}", report.methods);
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
    let (again, report) = ask(&snapshot, &options(std::slice::from_ref(&command)));
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

/// Ten nodes with a pod each, of which the budget allows so many to go.
fn busy(nodes: &str) -> Objects {
    let mut objects = with_budgets(json!([{"nodes": nodes}]), ten(same));
    let on = |node: &TestNode| pod(&format!("on-{}", node.name)).on(&node.name);
    objects.pods = objects.nodes.iter().map(on).collect();
    objects
}

/// The commands of one method after another of its commands was started, until it finds none.
fn passes(objects: &Objects, method: Method) -> Vec<Command> {
    let snapshot = objects.snapshot(NOW);
    let mut started: Vec<Command> = Vec::new();
    loop {
        let before = started.clone();
        let mut pass = Pass::new(&snapshot, options(&before));
        pass.ask(method);
        let (commands, _) = pass.finish();
        let Some(command) = commands.into_iter().next() else {
            return started;
        };
        started.push(Command {
            started: Some(snapshot.now),
            ..command
        });
    }
}

#[test]
fn budgets_bound_consolidation() {
    check(
        "disruption/B4",
        &busy("30%"),
        &["MultiNode delete node-00 node-01 node-02"],
    );
    let alone = passes(&busy("30%"), Method::SingleNode);
    let told: Vec<String> = alone.iter().map(told).collect();
    assert_eq!(
        told,
        [
            "SingleNode delete node-00",
            "SingleNode delete node-01",
            "SingleNode delete node-02",
        ],
        "disruption/B5"
    );
    let round = Round::of(&busy("0%"), &options(&[]));
    assert_eq!(round.told(), [""; 0], "disruption/B3");
    for method in [Method::MultiNode, Method::SingleNode] {
        let spent = Some(&Verdict::BudgetSpent);
        assert_eq!(round.verdict(method, "node-00"), spent, "disruption/B3");
        let mut reports = round.report.methods.iter();
        let report = reports.find(|report| report.method == method).unwrap();
        assert!(report.constrained, "disruption/B3: {report:?}");
    }
}

#[test]
fn budgets_bound_drift_over_passes() {
    let mut objects = with_budgets(json!([{"nodes": "30%"}]), ten(same));
    for node in &mut objects.nodes[..5] {
        *node = node.clone().with("Drifted");
    }
    assert_eq!(passes(&objects, Method::Drift).len(), 3, "disruption/B19");

    let names: Vec<String> = (0..10).map(|index| format!("pool-{index}")).collect();
    let one = |name: &String| pool(name).disruption("budgets", json!([{"nodes": "1"}]));
    let mut objects = Objects::new(names.iter().map(one).collect());
    for name in &names {
        let drifted = |node: TestNode| node.pool(name).with("Drifted");
        objects.nodes.extend(numbered(name, 3, drifted));
    }
    let commands = passes(&objects, Method::Drift);
    let mut pools: Vec<&str> = commands
        .iter()
        .flat_map(|command| &command.nodes)
        .map(|target| &*target.pool)
        .collect();
    pools.sort_unstable();
    assert_eq!(pools, names, "disruption/B20");
    // One after another, never two at a time.
    let sizes: Vec<usize> = commands.iter().map(|command| command.nodes.len()).collect();
    assert_eq!(sizes, [1; 10], "disruption/B20");
}
