//! Section 19.2: what users are told about nodes that consolidation leaves alone.

use karpenter_plan::{
    disrupt::{DisruptOptions, Method},
    schedule::{MinValuesPolicy, Options},
};
use serde_json::json;

use super::{Round, options, told};
use crate::world::{Objects, TestNode, TestPool, node, offered, pod, pool};

/// A round of production's methods over node `n` with a pod, and with node `empty`.
fn round(pool: TestPool, change: impl Fn(TestNode) -> TestNode) -> Round {
    let mut objects = Objects::new(vec![pool]);
    objects.nodes = vec![change(node("n"))];
    objects.pods = vec![pod("p").on("n")];
    Round::of(&objects, &options(&[]))
}

/// These methods tell about node `n`, each with this text. Node and NodeClaim hear of it, so that it is
/// published twice as often.
#[track_caller]
fn check_told(row: &str, round: &Round, methods: &[Method], publications: usize, text: &str) {
    let expected: Vec<String> = methods
        .iter()
        .map(|method| format!("{} n: {text}", method.as_str()))
        .collect();
    assert_eq!(round.events(), expected, "{row}:{}", round.verdicts());
    assert_eq!(round.events().len() * 2, publications, "{row}");
    assert_eq!(round.told(), [""; 0], "{row}");
}

#[test]
fn unsuitable_nodes_are_told_about_by_each_method() {
    let consolidation = [Method::MultiNode, Method::SingleNode];
    let large = |node: TestNode| node.instance_type("large");
    // Nothing is wrong with a node that can be replaced.
    let replaced = round(pool("default"), large);
    assert_eq!(replaced.events(), [""; 0], "disruption/V1");
    let commands: Vec<String> = replaced.commands.iter().map(told).collect();
    assert_eq!(
        commands,
        ["SingleNode replace n -> small large as spot"],
        "disruption/V1"
    );

    let when_empty = pool("default").disruption("consolidationPolicy", json!("WhenEmpty"));
    check_told(
        "disruption/V2",
        &round(when_empty, large),
        &consolidation,
        4,
        "NodePool \"default\" has consolidation policy WhenEmpty, but node is not empty",
    );
    let never = pool("default").disruption("consolidateAfter", json!("Never"));
    check_told(
        "disruption/V3",
        &round(never, large),
        &[Method::Emptiness, Method::MultiNode, Method::SingleNode],
        6,
        "NodePool \"default\" has consolidation disabled",
    );
    let lacking = |change: &dyn Fn(TestNode) -> TestNode, text| {
        let round = round(pool("default"), change);
        check_told("disruption/V4", &round, &consolidation, 4, text);
    };
    lacking(
        &|node| node.instance_type("unheard-of"),
        "Instance Type \"unheard-of\" not found",
    );
    lacking(
        &|node| node.unlabeled("node.kubernetes.io/instance-type"),
        "Instance Type \"\" not found",
    );
    lacking(
        &|node| node.unlabeled("karpenter.sh/capacity-type"),
        "Node does not have label \"karpenter.sh/capacity-type\"",
    );
    lacking(
        &|node| node.unlabeled("topology.kubernetes.io/zone"),
        "Node does not have label \"topology.kubernetes.io/zone\"",
    );
}

#[test]
fn minimum_numbers_of_values_are_not_relaxed_for_a_price() {
    let row = "disruption/V5";
    let mut objects = Objects::new(vec![pool("default").on_demand().at_least_types(2)]);
    let at = |name, price| offered(name, 4, 16, &[("a", "on-demand", price)]);
    objects.types = vec![at("cheap", 0.1), at("current", 0.2), at("dear", 0.3)];
    objects.nodes = vec![node("n").instance_type("current")];
    objects.pods = vec![pod("p").on("n")];
    let best_effort = DisruptOptions {
        scheduling: Options {
            min_values: MinValuesPolicy::BestEffort,
            ..Options::default()
        },
        ..options(&[])
    };
    let round = Round::of(&objects, &best_effort);
    let text = "Filtering by price: minValues requirement is not met for label(s) (label(s)=[node.kubernetes.io/instance-type])";
    check_told(row, &round, &[Method::SingleNode], 2, text);
    // It is the minimum that forbids it.
    objects.pools = vec![pool("default").on_demand()];
    let commands = Round::of(&objects, &best_effort).told();
    assert_eq!(
        commands,
        ["SingleNode replace n -> cheap as on-demand"],
        "{row}"
    );
}
