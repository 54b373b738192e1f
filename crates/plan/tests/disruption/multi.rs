//! Section 19.8: several nodes at once. Upstream's deadlines do not exist here.

use karpenter_plan::disrupt::{DisruptOptions, Method, Verdict};
use serde_json::json;

use super::{Round, check, check_with, hopping, numbered, options, with_budgets};
use crate::world::{Objects, TestNode, TestPool, node, offered, pod, pool};

/// Nodes of these capacity types, each with a pod that asks for so much.
fn busy(pool: TestPool, instance_type: &str, bought: &[&str], cpu: &str) -> Objects {
    let mut objects = Objects::new(vec![pool]);
    for (name, capacity_type) in ["a", "b", "c"].iter().zip(bought) {
        let machine = node(name).instance_type(instance_type);
        objects.nodes.push(machine.capacity_type(capacity_type));
        let on = pod(&format!("on-{name}")).on(name);
        objects.pods.push(on.request("cpu", cpu));
    }
    objects
}

#[test]
fn three_become_one() {
    let three = |bought: [&str; 3]| busy(pool("default"), "large", &bought, "1");
    let (spot, on_demand) = ("spot", "on-demand");
    let become_one = |order: &str| format!("MultiNode replace {order} -> small as spot");
    let mut bought_on_demand = three([on_demand; 3]);
    bought_on_demand.pools = vec![pool("default").on_demand()];
    check(
        "disruption/M1",
        &bought_on_demand,
        &["MultiNode replace a b c -> small as on-demand"],
    );
    // Fifteen cheaper types are asked for where one spot node goes, not here.
    check_with(
        "disruption/M2",
        &three([spot; 3]),
        &hopping(),
        &[&become_one("a b c")],
    );
    let round = Round::of(&three([spot; 3]), &options(&[]));
    assert_eq!(round.told(), ["MultiNode delete a b"], "disruption/M2");
    // One that is not spot is enough for the ordinary rules; the dearest come first.
    check(
        "disruption/M3",
        &three([spot, on_demand, spot]),
        &[&become_one("b a c")],
    );
}

/// The last that method Multi has to say about a node.
#[track_caller]
fn check_lost(row: &str, round: &Round, node: &str, word: &str) {
    let verdict = round.verdict(Method::MultiNode, node);
    let Some(Verdict::PrefixLost(why)) = verdict else {
        panic!("{row}:{}", round.verdicts())
    };
    assert_eq!(why.word(), word, "{row}");
}

#[test]
fn nodes_are_not_merged_into_their_like() {
    let row = "disruption/M4";
    let two = ["on-demand"; 2];
    let merged = busy(pool("default").on_demand(), "small", &two, "1500m");
    let round = Round::of(&merged, &options(&[]));
    assert_eq!(round.told(), ["SingleNode delete a"], "{row}");
    check_lost(row, &round, "a", "same-type");
    check_lost(row, &round, "b", "same-type");
}

#[test]
fn the_filter_of_like_types_keeps_minimum_numbers_of_values() {
    let row = "disruption/M5";
    let types = || {
        let sold = |name, cpu, price| offered(name, cpu, 64, &[("a", "on-demand", price)]);
        vec![
            sold("cheap", 5, 0.1),
            sold("own", 6, 0.2),
            sold("dear", 7, 0.4),
        ]
    };
    let two = ["on-demand"; 2];
    let mut objects = busy(pool("default").at_least_types(2), "own", &two, "2");
    objects.types = types();
    let round = Round::of(&objects, &options(&[]));
    // Together they need one node of two types that cost less than both: there are `cheap` and `own`. Less than
    // one of them costs `cheap` alone.
    check_lost(row, &round, "a", "min-values");
    assert_eq!(round.told(), ["SingleNode delete a"], "{row}");
    objects.pools = vec![pool("default")];
    check(
        row,
        &objects,
        &["MultiNode replace a b -> cheap as on-demand"],
    );
}

#[test]
fn the_same_type_filter_is_about_types_that_could_come() {
    // Two nodes of a type that is no longer bought are merged into whatever is cheaper than both.
    let types = vec![
        offered("old", 16, 64, &[("a", "on-demand", 0.3)]),
        offered("new", 16, 64, &[("a", "on-demand", 0.4)]),
    ];
    let bought = pool("default").requires("node.kubernetes.io/instance-type", &["new"]);
    let mut objects = busy(bought, "old", &["on-demand"; 2], "7");
    objects.types = types;
    check("", &objects, &["MultiNode replace a b -> new as on-demand"]);
}

#[test]
fn empty_nodes_go_before_others() {
    let mut objects = busy(pool("default"), "small", &["on-demand"; 3], "1");
    objects.pods.clear();
    check("disruption/M6", &objects, &["Emptiness delete a b c"]);
}

#[test]
fn one_candidate_is_not_several() {
    let row = "disruption/M9";
    let one = pool("default")
        .on_demand()
        .disruption("budgets", json!([{"nodes": "1"}]));
    let objects = busy(one, "small", &["on-demand"; 2], "1");
    let round = Round::of(&objects, &options(&[]));
    assert_eq!(round.told(), ["SingleNode delete a"], "{row}");
    let verdicts = ["a", "b"].map(|name| round.verdict(Method::MultiNode, name).unwrap());
    assert_eq!(verdicts, [&Verdict::Alone, &Verdict::BudgetSpent], "{row}");
}

#[test]
fn nodes_beyond_a_group_that_does_not_pay_are_told_so() {
    // Pods of eight nodes need more than the one new node that may come.
    let mut objects = with_budgets(json!([{"nodes": "100%"}]), numbered("node", 8, |own| own));
    let full = |own: &TestNode| {
        pod(&format!("on-{}", own.name))
            .on(&own.name)
            .request("cpu", "3")
    };
    objects.pods = objects.nodes.iter().map(full).collect();
    let round = Round::of(&objects, &options(&[]));
    let verdict = |at: usize| round.verdict(Method::MultiNode, &format!("node-{at:02}"));
    let is_chosen = |at| verdict(at) == Some(&Verdict::Chosen);
    let is_with_it = |at| matches!(verdict(at), Some(Verdict::PrefixLost(_)));
    let is_beyond = |at| matches!(verdict(at), Some(Verdict::PrefixTooLong(_)));
    // Groups of five, seven and six were tried, in this order.
    assert!((0..5).all(is_chosen), "{}", round.verdicts());
    assert!((5..7).all(is_with_it), "{}", round.verdicts());
    assert!(is_beyond(7), "{}", round.verdicts());
    let last = round.verdict(Method::MultiNode, "node-07").unwrap();
    let message = last.message(&round.snapshot);
    let start = "fewer nodes, all of which come before it, do not pay together: ";
    assert!(message.starts_with(start), "{message}");
}

#[test]
fn a_hundred_and_one_go_at_a_time() {
    let mut objects = with_budgets(json!([{"nodes": "100%"}]), numbered("node", 120, |own| own));
    let room = offered("room", 64, 256, &[("a", "on-demand", 9.0)]);
    objects.types.push(room);
    // Twenty pods for each of six.
    let rooms = numbered("room", 6, |own: TestNode| {
        own.unmanaged().instance_type("room")
    });
    let on = |node: &TestNode| pod(&format!("on-{}", node.name)).on(&node.name);
    objects.pods = objects.nodes.iter().map(on).collect();
    objects.nodes.extend(rooms);
    let settled = DisruptOptions::default();
    let round = Round::of(&objects, &settled);
    assert_eq!(round.commands[0].nodes.len(), 101, "{}", round.verdicts());
    let left = round.verdict(Method::MultiNode, "node-99").unwrap();
    assert_eq!(
        left.message(&round.snapshot),
        "101 nodes that come before it are as many as may go together"
    );
}
