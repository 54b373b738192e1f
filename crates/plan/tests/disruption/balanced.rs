//! Section 19.11: moves that must be worth the trouble.

use karpenter_plan::{
    disrupt::{
        Candidate, Class, Method, Verdict,
        balanced::{Score, Totals, Weighing, totals, weigh, weighed},
        candidate,
    },
    price::Cost,
    snapshot::Snapshot,
};
use serde_json::json;

use super::{Round, check, numbered, options};
use crate::world::{NOW, Objects, TestPool, node, offered, pod, pool};

/// Saving so much by disturbing so much of a pool with these totals has this score.
#[track_caller]
fn check_score(row: &str, moved: (f64, f64), all: (f64, f64), expected: f64, is_approved: bool) {
    let (cost, disruption) = all;
    let score = Score::of(moved.0, moved.1, Totals { cost, disruption });
    // Infinite minus infinite is no number.
    let is_close = if expected.is_finite() {
        (score.value - expected).abs() < 0.005
    } else {
        score.value.is_infinite()
    };
    assert!(is_close, "{row}: {score:?} is not {expected}");
    assert_eq!(score.is_approved(), is_approved, "{row}: {score:?}");
}

#[test]
fn a_move_must_save_half_of_what_it_disturbs() {
    let check = check_score;
    let (ninety, more) = ((58.08, 90.0), (58.08, 117.0));
    check("disruption/A1", (7.26, 4.0), ninety, 2.81, true);
    check("disruption/A2", (4.84, 5.0), ninety, 1.50, true);
    check("disruption/A3", (2.42, 9.0), ninety, 0.417, false);
    check("disruption/A4", (0.0, 11.0), ninety, 0.0, false);
    check("disruption/A5", (2.42, 9.0), (48.40, 90.0), 0.5, true);
    check("disruption/A6", (4.84, 5.0), more, 1.95, true);
    check("disruption/A7", (4.84, 32.0), more, 0.305, false);
    check("disruption/A8", (0.1, 2.0), (0.1, 2.0), 1.0, true);
    let hundred = (100.0, 100.0);
    check("disruption/A9", (20.0, 5.0), hundred, 4.0, true);
    check("disruption/A9", (10.0, 10.0), hundred, 1.0, true);
    check("disruption/A9", (5.0, 50.0), hundred, 0.1, false);
    check("disruption/A10", (10.0, 0.0), hundred, f64::INFINITY, true);
    check("disruption/A10", (0.0, 10.0), hundred, 0.0, false);
    check("disruption/A10", (-5.0, 10.0), hundred, 0.0, false);
    check("disruption/A11", (72.6, 40.0), (580.8, 900.0), 2.81, true);
    check("disruption/A11", (24.2, 90.0), (580.8, 900.0), 0.417, false);
    check("disruption/A12", (1.0, 1.0), (0.0, 10.0), 0.0, false);
    check("disruption/A12", (1.0, 1.0), (10.0, 0.0), 0.0, false);
}

fn balanced(name: &str) -> TestPool {
    pool(name).disruption("consolidationPolicy", json!("Balanced"))
}

/// Nodes of one pool, each with so many pods, beside a large one of nobody's.
fn with_pods(pool: TestPool, counts: &[(&str, &str, usize)]) -> Objects {
    let mut objects = Objects::new(vec![pool]);
    let room = node("room").unmanaged().no_pool().instance_type("room");
    objects.types.push(offered("room", 64, 256, &[]));
    objects.nodes = vec![room];
    for (name, instance_type, count) in counts {
        objects.nodes.push(node(name).instance_type(instance_type));
        let on = |index| pod(&format!("{name}-{index}")).on(name);
        objects.pods.extend((0..*count).map(on));
    }
    objects
}

fn candidates(snapshot: &Snapshot) -> Vec<Candidate> {
    let ids = snapshot.nodes.ids();
    ids.filter_map(|id| candidate(snapshot, id, Class::Graceful, &[]).ok())
        .collect()
}

#[test]
fn all_of_a_pool_is_worth_all_of_it() {
    let row = "disruption/A8";
    let only = with_pods(balanced("default"), &[("n", "small", 3)]);
    check(row, &only, &["SingleNode delete n"]);
    let snapshot = only.snapshot(NOW);
    let own = candidates(&snapshot);
    let [candidate] = &own[..] else {
        panic!("{row}: {own:?}")
    };
    let all = totals(&snapshot, &own);
    let found = weigh(&snapshot, &all, &[candidate], candidate.price.into());
    let scores = found.iter().filter_map(|own| own.score);
    let values: Vec<f64> = scores.map(|score| score.value).collect();
    assert_eq!(values, [1.0], "{row}");
}

#[test]
fn a_node_that_saves_little_stays() {
    // The small one costs a ninth of the pool, and its pods are most of what would be disturbed.
    let uneven = [
        ("large-1", "large", 1),
        ("large-2", "large", 1),
        ("n", "small", 15),
    ];
    let row = "disruption/A3";
    let mut objects = with_pods(balanced("default"), &uneven);
    for node in &mut objects.nodes[1..3] {
        *node = node.clone().without("Consolidatable");
    }
    let round = Round::of(&objects, &options(&[]));
    assert_eq!(round.told(), [""; 0], "{row}:{}", round.verdicts());
    let verdict = round.verdict(Method::SingleNode, "n");
    assert_eq!(verdict, Some(&Verdict::NeverBalanced), "{row}");
    assert_eq!(moves(&round, Method::SingleNode), [], "{row}");
    // Another policy does not weigh.
    objects.pools = vec![pool("default")];
    check(row, &objects, &["SingleNode delete n"]);
    // Nor does Emptiness.
    objects.pools = vec![balanced("default")];
    objects
        .pods
        .retain(|pod| pod.0["spec"]["nodeName"] != json!("n"));
    check(row, &objects, &["Emptiness delete n"]);
}

#[test]
fn a_group_shrinks_until_it_is_worth_it() {
    // Together with the crowded one the others save too little.
    let crowded = [("a", "large", 1), ("b", "large", 1), ("c", "small", 18)];
    let row = "disruption/A7";
    let mut objects = with_pods(balanced("default"), &crowded);
    let idle = numbered("idle", 4, |own| {
        own.without("Consolidatable").instance_type("large")
    });
    objects.nodes.extend(idle);
    let round = Round::of(&objects, &options(&[]));
    assert_eq!(
        round.told(),
        ["MultiNode delete a b"],
        "{row}:{}",
        round.verdicts()
    );
    let verdict = round.verdict(Method::MultiNode, "c");
    let Some(Verdict::PrefixLost(why)) = verdict else {
        panic!("{row}: {verdict:?}")
    };
    assert!(matches!(**why, Verdict::Unbalanced(_)), "{row}: {why:?}");
    assert_eq!(moves(&round, Method::MultiNode), [(true, 2)], "{row}");
}

/// The moves that a method tells about: whether they are made, and of how many nodes.
fn moves(round: &Round, method: Method) -> Vec<(bool, usize)> {
    let mut reports = round.report.methods.iter();
    let report = reports.find(|report| report.method == method).unwrap();
    let mut commands = round.commands.iter();
    let command = commands.find(|command| command.method == method);
    let size = |(made, pools): (bool, &[Weighing])| {
        (made, pools.iter().map(|weighing| weighing.nodes).sum())
    };
    weighed(report, command).into_iter().map(size).collect()
}

#[test]
fn only_pools_with_this_policy_are_weighed() {
    let row = "disruption/A13";
    let mut objects = with_pods(balanced("weighed"), &[("a", "small", 1)]);
    objects.pools.push(pool("other"));
    objects.nodes[1] = node("a").pool("weighed");
    objects
        .nodes
        .push(node("b").pool("other").instance_type("large"));
    objects.pods.push(pod("on-b").on("b"));
    let snapshot = objects.snapshot(NOW);
    let own = candidates(&snapshot);
    let all: Vec<&Candidate> = own.iter().collect();
    // A fifth of the savings is the share of the pool whose node costs a fifth.
    let saved = Cost::from(own[0].price) + Cost::from(own[1].price);
    let found = weigh(&snapshot, &totals(&snapshot, &own), &all, saved);
    let scored: Vec<_> = found.iter().filter(|own| own.score.is_some()).collect();
    let [weighing] = scored[..] else {
        panic!("{row}: {found:?}")
    };
    assert_eq!(*weighing.pool, *"weighed", "{row}");
    let score = weighing.score.unwrap();
    assert!((score.savings - 1.0).abs() < 1e-9, "{row}: {score:?}");
    assert!((score.disruption - 1.0).abs() < 1e-9, "{row}: {score:?}");
    let other = weigh(&snapshot, &totals(&snapshot, &own), &all[1..], saved);
    assert_eq!(other.len(), 1, "{row}");
    let is_silent = other
        .iter()
        .all(|own| own.score.is_none() && own.is_approved());
    assert!(is_silent, "{row}: {other:?}");
}

#[test]
fn a_closed_budget_comes_before_the_weighing() {
    let row = "disruption/A14";
    let closed = balanced("default").disruption("budgets", json!([{"nodes": "0%"}]));
    let objects = with_pods(closed, &[("n", "small", 1)]);
    let round = Round::of(&objects, &options(&[]));
    assert_eq!(round.told(), [""; 0], "{row}");
    for method in [Method::MultiNode, Method::SingleNode] {
        let verdict = round.verdict(method, "n");
        assert_eq!(verdict, Some(&Verdict::BudgetSpent), "{row}");
        assert_eq!(moves(&round, method), [], "{row}");
    }
}

#[test]
fn a_price_that_is_no_number_is_none() {
    let row = "disruption/A15";
    let pods = [("known", "small", 1), ("odd", "odd", 1)];
    let mut objects = with_pods(balanced("default"), &pods);
    let odd = offered("odd", 4, 16, &[("a", "on-demand", f64::NAN)]);
    objects.types.push(odd);
    let snapshot = objects.snapshot(NOW);
    let own = candidates(&snapshot);
    let prices: Vec<f64> = own.iter().map(|own| own.price.dollars()).collect();
    assert_eq!(prices, [0.1, 0.0], "{row}");
    let pool = snapshot.pool_named("default").unwrap();
    let found = totals(&snapshot, &own)[pool].unwrap();
    let (cost, disruption) = (0.1, 4.0);
    assert_eq!(found, Totals { cost, disruption }, "{row}");
}

#[test]
fn who_saves_most_for_the_trouble_goes_first() {
    let row = "disruption/A16";
    let sold = |name, price| offered(name, 4, 16, &[("a", "on-demand", price)]);
    let pods = [("a", "a", 10), ("b", "b", 1), ("c", "c", 8)];
    let mut objects = with_pods(pool("default"), &pods);
    objects
        .types
        .extend([sold("a", 16.0), sold("b", 8.0), sold("c", 1.2)]);
    let mut own = candidates(&objects.snapshot(NOW));
    own.sort_by_key(Candidate::savings_ratio);
    let ratios: Vec<f64> = own
        .iter()
        .map(|own| own.price.dollars() / own.cost.as_f64())
        .collect();
    let expected = [1.2 / 9.0, 16.0 / 11.0, 4.0];
    assert_eq!(ratios, expected, "{row}");
    check(row, &objects, &["MultiNode delete b a c"]);
}
