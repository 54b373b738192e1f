//! Section 19.5: a node that a cheaper one can replace.

use karpenter_plan::{
    Price,
    disrupt::{DisruptOptions, Method, Verdict},
};
use serde_json::json;

use super::{Round, alone, check, check_kept, check_with, hopping, options, required};
use crate::world::{InstanceType, Objects, TestNode, TestPool, budget, node, offered, pod, pool};

/// Node `n` with a small pod, in a pool that can buy these types.
fn busy(pool: TestPool, types: Vec<InstanceType>, node: TestNode) -> Objects {
    let mut objects = Objects::new(vec![pool]);
    objects.types = types;
    objects.nodes = vec![node];
    objects.pods = vec![pod("p").on("n")];
    objects
}

/// A node of this type.
fn of(name: &str) -> TestNode {
    node("n").instance_type(name)
}

#[test]
fn a_dear_node_is_replaced_by_a_cheaper_one() {
    let on_demand = |name, price| offered(name, 4, 16, &[("a", "on-demand", price)]);
    let types = || {
        vec![
            on_demand("cheap", 0.1),
            on_demand("middle", 0.2),
            on_demand("dear", 0.3),
        ]
    };
    check(
        "disruption/R1",
        &busy(pool("default").on_demand(), types(), of("dear")),
        &["SingleNode replace n -> cheap middle as on-demand"],
    );
    check(
        "disruption/R1",
        &busy(pool("default").on_demand(), types(), of("middle")),
        &["SingleNode replace n -> cheap as on-demand"],
    );
    // Equally dear is not cheaper.
    check_kept(
        "disruption/R1",
        &busy(pool("default").on_demand(), types(), of("cheap")),
        &options(&[]),
        &["SingleNode n: Can't replace with a cheaper node"],
    );
    let kept = busy(pool("default").on_demand(), types(), of("cheap"));
    let round = Round::of(&kept, &options(&[]));
    let id = round.snapshot.node_named("n").unwrap();
    let verdict = round.verdict(Method::SingleNode, "n").unwrap();
    assert_eq!(
        verdict.event(&round.snapshot, id).unwrap(),
        "Can't replace with a cheaper node; costs $0.10000/h, and the cheapest replacement, cheap, up to $0.10000/h: $0.00000/h too dear",
        "disruption/R1"
    );
    // With no spot capacity anywhere, the replacement is not restricted to it.
    let open = busy(pool("default"), types(), of("middle"));
    let round = Round::of(&open, &options(&[]));
    let replacement = &round.commands[0].replacements[0];
    let left = required(replacement, "karpenter.sh/capacity-type");
    assert_eq!(left, ["on-demand"], "disruption/R1");
    let price = replacement.cheapest.as_ref().map(|bid| bid.price);
    assert_eq!(price, Some(Price::from_dollars(0.1)), "disruption/R1");
}

/// Twenty types that differ in their price alone: spot from one cent to twenty.
fn twenty() -> Vec<InstanceType> {
    (1..=20)
        .map(|cents| {
            let price = f64::from(cents) / 100.0;
            offered(&format!("t{cents:02}"), 4, 16, &[("a", "spot", price)])
        })
        .collect()
}

/// The names of the cheapest of the [`twenty`].
fn cheapest(count: usize) -> String {
    let names: Vec<String> = (1..=count).map(|cents| format!("t{cents:02}")).collect();
    names.join(" ")
}

#[test]
fn spot_replaces_spot_where_enough_types_are_cheaper() {
    let spot = |pool, name| busy(pool, twenty(), of(name).spot());
    let any = || pool("default");
    let too_few = |count: usize| {
        format!(
            "SingleNode n: SpotToSpotConsolidation requires 15 cheaper instance type options than the current candidate to consolidate, got {count}"
        )
    };
    let replaced = |count| format!("SingleNode replace n -> {} as spot", cheapest(count));
    let (kept, taken) = (check_kept, check_with);
    kept(
        "disruption/R2",
        &spot(any(), "t06"),
        &hopping(),
        &[&too_few(5)],
    );
    kept(
        "disruption/R3",
        &spot(any(), "t20"),
        &options(&[]),
        &[
            "SingleNode n: SpotToSpotConsolidation is disabled, can't replace a spot node with a spot node",
        ],
    );
    kept(
        "disruption/R4",
        &spot(any(), "t15"),
        &hopping(),
        &[&too_few(14)],
    );
    taken(
        "disruption/R5",
        &spot(any(), "t16"),
        &hopping(),
        &[&replaced(15)],
    );
    taken(
        "disruption/R5",
        &spot(any(), "t20"),
        &hopping(),
        &[&replaced(15)],
    );
    // A spot node is not the less dear for it.
    taken(
        "disruption/R1",
        &spot(any(), "t20"),
        &hopping(),
        &[&replaced(15)],
    );
    let minimum = |count| pool("default").at_least_types(count);
    taken(
        "disruption/R6",
        &spot(minimum(16), "t20"),
        &hopping(),
        &[&replaced(16)],
    );
    taken(
        "disruption/R7",
        &spot(minimum(10), "t20"),
        &hopping(),
        &[&replaced(15)],
    );
    kept(
        "disruption/R8",
        &spot(minimum(16), "t16"),
        &hopping(),
        &[
            "SingleNode n: Filtering by price: minValues requirement is not met for label(s) (label(s)=[node.kubernetes.io/instance-type])",
        ],
    );
}

#[test]
fn the_worst_price_of_what_is_tried_first_counts() {
    let dearer = |row: &str, objects: &Objects, worst: f64| {
        let round = Round::of(objects, &options(&[]));
        assert_eq!(round.told(), [""; 0], "{row}");
        let Some(Verdict::NotCheaper { best, .. }) = round.verdict(Method::SingleNode, "n") else {
            panic!("{row}:{}", round.verdicts())
        };
        let price = best.unwrap().2.dollars();
        assert!((price - worst).abs() < 1e-9, "{row}: {price}");
    };
    let uneven = [
        ("a", "on-demand", 0.5),
        ("a", "spot", 1.0),
        ("b", "spot", 0.2),
    ];
    let types = vec![offered("own", 4, 16, &uneven)];
    dearer(
        "disruption/R9",
        &busy(pool("default"), types, of("own")),
        1.0,
    );

    let own = || offered("own", 4, 16, &[("a", "on-demand", 0.5)]);
    let other = |on_demand| {
        let offers = [("a", "on-demand", on_demand), ("a", "spot", 0.2)];
        offered("other", 4, 16, &offers)
    };
    let bound = pool("default").on_demand();
    let mut dear = busy(bound, vec![own(), other(0.6)], of("own"));
    dearer("disruption/R10", &dear, 0.5);
    dear.pools = vec![pool("default")];
    let spot_only = ["SingleNode replace n -> other as spot"];
    check("disruption/R10", &dear, &spot_only);

    // Were on-demand left open, a launch without spot capacity could end there.
    let both = vec![own(), other(0.4)];
    check(
        "disruption/R11",
        &busy(pool("default"), both, of("own")),
        &spot_only,
    );
}

#[test]
fn one_node_does_not_hold_up_another() {
    let mut objects = busy(
        pool("default").on_demand(),
        Objects::new(Vec::new()).types,
        of("large"),
    );
    objects
        .nodes
        .push(node("m").pool("second").instance_type("large"));
    objects.pods = vec![
        pod("p").on("n").request("cpu", "2"),
        pod("q").on("m").request("cpu", "15"),
    ];
    for second in [pool("second").without_types(), pool("second").broken()] {
        objects.pools.truncate(1);
        objects.pools.push(second);
        let replaced = ["SingleNode replace n -> small as on-demand"];
        check("disruption/R12", &objects, &replaced);
    }

    // Neither has room for the other's pod.
    let mut objects = alone(of("large"));
    objects.pools = vec![pool("default").on_demand()];
    objects.nodes.push(node("m").instance_type("large"));
    let large = pod("protected").label("app", "web").request("cpu", "15");
    objects.pods = vec![pod("p").on("n").request("cpu", "2"), large.on("m")];
    let closed = budget("closed").allowing(0).selecting("app", "web");
    objects.budgets = vec![closed.json()];
    let replaced = ["SingleNode replace n -> small as on-demand"];
    check("disruption/R13", &objects, &replaced);
}

#[test]
fn a_replacement_keeps_the_zone_that_a_spread_needs() {
    let row = "disruption/R14";
    let zones = |price| ["a", "b", "c"].map(|zone| (zone, "on-demand", price));
    let spread = json!([{
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}},
    }]);
    let web = |name: &str| {
        let pod = pod(name).label("app", "web");
        pod.spec("topologySpreadConstraints", spread.clone())
    };
    let mut objects = Objects::new(vec![pool("default").on_demand()]);
    objects.types = vec![
        offered("small", 4, 16, &zones(0.1)),
        offered("large", 16, 64, &zones(0.4)),
    ];
    for (name, zone, size) in [
        ("n-a", "a", "small"),
        ("n-b", "b", "large"),
        ("n-c", "c", "small"),
    ] {
        let machine = node(name).zone(zone).instance_type(size);
        objects.nodes.push(machine);
        objects.pods.push(web(&format!("on-{name}")).on(name));
    }
    let round = Round::of(&objects, &options(&[]));
    let replaced = ["SingleNode replace n-b -> small as on-demand"];
    assert_eq!(round.told(), replaced, "{row}:{}", round.verdicts());
    let replacement = &round.commands[0].replacements[0];
    let zone = required(replacement, "topology.kubernetes.io/zone");
    assert_eq!(zone, ["b"], "{row}");
}

#[test]
fn one_node_is_not_replaced_by_two() {
    let small = pool("default").requires("node.kubernetes.io/instance-type", &["small"]);
    let mut objects = busy(small, Objects::new(Vec::new()).types, of("large"));
    let two = ["p", "q"].map(|name| pod(name).on("n").request("cpu", "3"));
    objects.pods = two.to_vec();
    check_kept(
        "disruption/R15",
        &objects,
        &options(&[]),
        &["SingleNode n: Can't remove without creating 2 candidates"],
    );
    // One of them alone may move.
    objects.pods.truncate(1);
    let replaced = ["SingleNode replace n -> small as spot"];
    check("disruption/R15", &objects, &replaced);
}

#[test]
fn reservations_are_cheaper() {
    let own = [("a", "on-demand", 0.1), ("a", "reserved", 0.000_001)];
    let types = vec![offered("own", 4, 16, &own)];
    check(
        "disruption/R16",
        &busy(pool("default"), types, of("own")),
        &["SingleNode replace n -> own as reserved"],
    );
    let reserved = |name, price| offered(name, 4, 16, &[("a", "reserved", price)]);
    let types = || vec![reserved("cheap", 0.001), reserved("dear", 0.002)];
    let bought = |name| of(name).capacity_type("reserved");
    check(
        "disruption/R17",
        &busy(pool("default"), types(), bought("dear")),
        &["SingleNode replace n -> cheap as reserved"],
    );
    check_kept(
        "disruption/R17",
        &busy(pool("default"), types(), bought("cheap")),
        &options(&[]),
        &["SingleNode n: Can't replace with a cheaper node"],
    );
}

#[test]
fn a_destination_that_is_not_quiet_does_not_forbid_a_replacement() {
    let slow = pool("default")
        .on_demand()
        .disruption("consolidateAfter", json!("1h"));
    let mut objects = busy(slow, Objects::new(Vec::new()).types, of("large"));
    let settling = node("settling")
        .without("Consolidatable")
        .last_pod_event("2024-05-01T11:30:00Z");
    objects.nodes.push(settling);
    check(
        "disruption/R18",
        &objects,
        &["SingleNode replace n -> small as on-demand"],
    );
    // Whoever does not care for quiet puts the pod there.
    let waived = DisruptOptions {
        ignore_consolidate_after: true,
        ..options(&[])
    };
    objects.pods.push(
        pod("q")
            .on("settling")
            .annotation("karpenter.sh/do-not-disrupt", "true"),
    );
    check_with(
        "disruption/R18",
        &objects,
        &waived,
        &["SingleNode delete n"],
    );
}
