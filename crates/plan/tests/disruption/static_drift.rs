//! Section 19.9, F11 to F20: drifted nodes of static pools, each replaced by its like.

use std::collections::BTreeMap;

use karpenter_plan::disrupt::{Command, DisruptOptions, Method, Verdict};
use serde_json::{Value, json};

use super::{Round, numbered, options, told};
use crate::world::{NOW, Objects, TestNode, TestPool, node, pool};

fn looked_after(commands: &[Command]) -> DisruptOptions<'_> {
    DisruptOptions {
        static_capacity: true,
        ..options(commands)
    }
}

fn drifted(node: TestNode) -> TestNode {
    node.with("Drifted")
}

/// A static pool that is as large as it should be.
fn of(name: &str, replicas: i64, budget: &str) -> TestPool {
    pool(name)
        .replicas(replicas)
        .disruption("budgets", json!([{"nodes": budget}]))
}

fn limited(pool: TestPool, nodes: &str) -> TestPool {
    pool.field("limits", json!({"nodes": nodes}))
}

/// So many drifted nodes in a pool of five replicas.
fn five(pool: TestPool, count: usize) -> Objects {
    let mut objects = Objects::new(vec![pool]);
    objects.nodes = numbered("n", count, drifted);
    objects
}

/// These nodes are replaced, each by a command of its own; why the others are not.
#[track_caller]
fn check_replaced(row: &str, objects: &Objects, nodes: &[&str], why: &Verdict) {
    let round = Round::of(objects, &looked_after(&[]));
    let expected: Vec<String> = nodes
        .iter()
        .map(|name| format!("StaticDrift replace {name} -> template"))
        .collect();
    assert_eq!(round.told(), expected, "{row}:{}", round.verdicts());
    for node in &objects.nodes {
        let is_chosen = nodes.contains(&&*node.name);
        let expected = if is_chosen { &Verdict::Chosen } else { why };
        let verdict = round.verdict(Method::StaticDrift, &node.name);
        assert_eq!(verdict, Some(expected), "{row}: {}", node.name);
    }
}

#[test]
fn budgets_and_limits_bound_what_is_replaced() {
    let all = ["n-00", "n-01", "n-02", "n-03", "n-04"];
    let budgeted = |budget| of("default", 5, budget);
    let spent = Verdict::BudgetSpent;
    check_replaced("disruption/F11", &five(budgeted("2"), 5), &all[..2], &spent);
    check_replaced(
        "disruption/F12",
        &five(budgeted("20%"), 5),
        &all[..1],
        &spent,
    );
    let full = Verdict::NodeLimit;
    let limit = |nodes| five(limited(budgeted("100%"), nodes), 5);
    check_replaced("disruption/F14", &limit("5"), &[], &full);
    check_replaced("disruption/F15", &limit("7"), &all[..2], &full);
    check_replaced("disruption/F18", &five(budgeted("100%"), 5), &all, &spent);
    // Whoever has too many nodes has no need for replacements.
    check_replaced(
        "disruption/F17",
        &five(budgeted("100%"), 6),
        &[],
        &Verdict::ScalingDown,
    );
    let none = five(of("default", 0, "100%"), 5);
    check_replaced("disruption/F19", &none, &[], &Verdict::ScalingDown);
}

#[test]
fn pools_do_not_share_budgets() {
    let row = "disruption/F13";
    let pools = [("one", "1"), ("two", "2"), ("three", "2")];
    let mut objects = Objects::new(pools.map(|(name, budget)| of(name, 3, budget)).to_vec());
    for (name, _) in pools {
        let own = |node: TestNode| drifted(node.pool(name));
        objects.nodes.extend(numbered(name, 3, own));
    }
    let round = Round::of(&objects, &looked_after(&[]));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for command in &round.commands {
        assert_eq!(
            (command.nodes.len(), command.replacements.len()),
            (1, 1),
            "{row}"
        );
        *counts.entry(&command.nodes[0].pool).or_default() += 1;
        let pool = &command.replacements[0].pool;
        assert_eq!(*pool, command.nodes[0].pool, "{row}");
    }
    let expected = [("one", 1), ("three", 2), ("two", 2)];
    assert_eq!(counts, BTreeMap::from(expected), "{row}");
}

/// Plays what becomes of a command: its replacement comes, then its node goes.
fn carry_out(objects: &mut Objects, command: &mut Command, round: usize) {
    let old = command.nodes[0].node.to_string();
    let position = objects
        .nodes
        .iter()
        .position(|node| node.name == old)
        .unwrap();
    let new = format!("new-{round}");
    match (
        &command.replacements[0].created,
        command.replacements[0].is_initialized,
    ) {
        (None, _) => {
            objects.nodes[position] = objects.nodes[position].clone().tainted();
            objects.nodes.push(node(&new).uninitialized());
            command.replacements[0].created = Some(format!("{new}-claim").into());
        }
        (Some(_), false) => {
            let created = objects.nodes.pop().unwrap();
            objects.nodes.push(created.initialized());
            command.replacements[0].is_initialized = true;
            objects.nodes[position] = objects.nodes[position].clone().deleting();
        }
        (Some(_), true) => drop(objects.nodes.remove(position)),
    }
}

#[test]
fn a_pool_never_outgrows_its_limit() {
    let row = "disruption/F16";
    let mut objects = five(limited(of("default", 5, "100%"), "6"), 5);
    let mut flight: Vec<Command> = Vec::new();
    let mut replaced = 0;
    for pass in 0..40 {
        // A command of this pass has created nothing before the next.
        let is_old = !flight.is_empty();
        let round = Round::of(&objects, &looked_after(&flight));
        assert!(round.commands.len() <= 1, "{row}: {:?}", round.told());
        replaced += round.commands.len();
        flight.extend(round.commands.into_iter().map(|command| Command {
            started: Some(round.snapshot.now),
            ..command
        }));
        let told: Vec<String> = flight.iter().map(told).collect();
        assert!(told.len() <= 1, "{row}: {told:?}");
        if let Some(command) = flight.first_mut().filter(|_| is_old) {
            carry_out(&mut objects, command, pass);
        }
        assert!(objects.nodes.len() <= 6, "{row}: {:?}", objects.nodes);
        let left = objects.snapshot(NOW);
        flight.retain(|command| command.nodes[0].id(&left).is_some());
    }
    assert_eq!(replaced, 5, "{row}");
    let names: Vec<bool> = objects
        .nodes
        .iter()
        .map(|node| node.name.starts_with("new-"))
        .collect();
    assert_eq!(names, [true; 5], "{row}");
}

#[test]
fn pools_are_looked_after_by_one_method_each() {
    let row = "disruption/F20";
    let mut objects = five(of("static", 1, "100%"), 0);
    objects.nodes = vec![drifted(node("n").pool("static"))];
    // Without static capacity nobody looks after it.
    let round = Round::of(&objects, &options(&[]));
    assert_eq!(round.told(), [""; 0], "{row}");
    let verdict = round.verdict(Method::Drift, "n");
    assert_eq!(verdict, Some(&Verdict::StaticPool), "{row}");
    let asked: Vec<Method> = round
        .report
        .methods
        .iter()
        .map(|report| report.method)
        .collect();
    assert!(!asked.contains(&Method::StaticDrift), "{row}: {asked:?}");

    objects.pools.push(pool("default"));
    objects
        .nodes
        .push(drifted(node("m").without("Consolidatable")));
    let round = Round::of(&objects, &looked_after(&[]));
    assert_eq!(round.told(), ["StaticDrift replace n -> template"], "{row}");
    let verdict = round.verdict(Method::StaticDrift, "m");
    assert_eq!(verdict, Some(&Verdict::DynamicPool), "{row}");
}

/// Replacements are made from the template, whatever pods need.
#[test]
fn a_replacement_is_the_pools_template() {
    let labeled = of("default", 5, "1").template_label("example.com/team", "blue");
    let round = Round::of(&five(labeled, 5), &looked_after(&[]));
    let object = json!(round.commands[0].replacements[0].object);
    let labels: &Value = &object["metadata"]["labels"];
    assert_eq!(labels["karpenter.sh/nodepool"], json!("default"));
    assert_eq!(labels["example.com/team"], json!("blue"));
}
