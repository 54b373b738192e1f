//! What rules between pods leave of hosts and domains, counted one by one.

use crate::fixtures::{
    Manifest, Outcome, Stage, World, empty, instance_type, long, node, pod, pool, resources, row,
    world,
};
use crate::topology::{counted, domains, spread, spreads};
use karpenter_plan::{
    InstanceType, Refusal,
    schedule::{TemplateRefusal, TopologyRefusal},
};
use serde_json::{Value, json};

const HOST: &str = "kubernetes.io/hostname";
const RACK: &str = "example.com/rack";

/// A pod of the other app, to whom the rules for [`counted`] pods do not apply.
fn stranger(name: &str) -> Manifest {
    pod(name).label("app", "other")
}

fn near(pod: Manifest, key: &str) -> Manifest {
    pod.push(
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": "test"}}}),
    )
}

fn apart(pod: Manifest, key: &str) -> Manifest {
    pod.push(
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": "test"}}}),
    )
}

/// Nodes `n0`, `n1`, ... with so many counted pods each, and no pool.
fn occupied(counts: &[usize]) -> World {
    let mut world = empty();
    for (at, &count) in counts.iter().enumerate() {
        let name = format!("n{at}");
        world = world.node(node(&name));
        for own in 0..count {
            world = world.pod(counted(&format!("there-{at}-{own}")).on(&name));
        }
    }
    world.pool(pool("np"))
}

/// The nodes that take the pod when it may go to this one only, and `new` if a claim is made for it.
fn taken_by(world: &World, nodes: usize, asking: &Manifest) -> Vec<String> {
    let mut found = Vec::new();
    for at in 0..nodes {
        let mut alone = world.clone();
        for (other, machine) in alone.machines.iter_mut().enumerate() {
            if other != at {
                let node = machine.node.take().unwrap();
                machine.node = Some(node.taint("closed", "NoSchedule"));
            }
        }
        alone.pools.clear();
        alone = alone.pool(pool("closed").template_taint("closed", "", "NoSchedule"));
        let outcome = row("one node", alone.pod(asking.clone()), &[]);
        let id = outcome
            .snapshot
            .pod_named("default", asking.name())
            .unwrap();
        let bound = outcome.plan.bindings.iter().find(|(own, _)| *own == id);
        found.extend(bound.map(|(_, node)| outcome.snapshot.nodes[*node].name.to_string()));
    }
    found
}

#[test]
fn a_host_may_have_as_many_as_the_skew_allows() {
    let counts = [0, 1, 2, 3, 4];
    let asking = |own: Manifest, skew: i32| spreads(own, spread(HOST, skew));
    for (asking, expected) in [
        (asking(counted("a"), 1), &["n0"][..]),
        (asking(counted("a"), 2), &["n0", "n1"]),
        (asking(counted("a"), 3), &["n0", "n1", "n2"]),
        // Who is not counted adds nothing.
        (asking(stranger("a"), 1), &["n0", "n1"]),
        (asking(stranger("a"), 2), &["n0", "n1", "n2"]),
        (asking(stranger("a"), 3), &["n0", "n1", "n2", "n3"]),
        (near(counted("a"), HOST), &["n1", "n2", "n3", "n4"]),
        (near(stranger("a"), HOST), &["n1", "n2", "n3", "n4"]),
        (apart(stranger("a"), HOST), &["n0"]),
    ] {
        let found = taken_by(&occupied(&counts), counts.len(), &asking);
        assert_eq!(found, expected, "{}", asking.0["spec"]);
    }
}

#[test]
fn the_first_of_its_kind_may_begin_where_nobody_is() {
    let anywhere = taken_by(&occupied(&[0, 0]), 2, &near(counted("a"), HOST));
    assert_eq!(anywhere, ["n0", "n1"]);
    let nowhere = taken_by(&occupied(&[0, 0]), 2, &near(stranger("a"), HOST));
    assert_eq!(nowhere, [""; 0]);
    // A pod on a node that leaves, which stays there, is somebody to join all the same.
    let mut leaving = occupied(&[0]).pod(near(counted("a"), HOST));
    leaving = leaving.node(node("leaving"));
    leaving.machines[1].marked = true;
    row("nobody to join", leaving.clone(), &["a: node n0"]);
    let daemon = counted("daemon").owned_by("apps/v1", "DaemonSet");
    row(
        "somebody elsewhere",
        leaving.pod(daemon.on("leaving")),
        &["a: unplaced"],
    );
}

/// Pods of a rack each on nodes without room, and a pool for these racks.
fn racks(pool_of: &str, counts: &[(&str, usize)]) -> World {
    let mut world = empty().pool(pool("np").requires(&format!("{RACK} In {pool_of}")));
    for &(rack, count) in counts {
        let name = format!("full-{rack}");
        let full = node(&name).label(RACK, rack).has("cpu", "1m");
        world = world.node(full);
        for own in 0..count {
            world = world.pod(counted(&format!("there-{rack}-{own}")).on(&name));
        }
    }
    world
}

#[test]
fn a_spread_takes_the_least_filled_domain_and_the_first_name_among_equals() {
    let one = |skew: i32| spreads(counted("a"), spread(RACK, skew));
    for (counts, expected) in [
        (&[][..], "1"),
        (&[("1", 1)], "2"),
        (&[("2", 1), ("1", 1)], "3"),
        (&[("3", 1), ("1", 1)], "2"),
        (&[("3", 1), ("2", 1)], "1"),
        (&[("3", 2), ("2", 1), ("1", 2)], "2"),
        (&[("3", 1), ("2", 2), ("1", 2)], "3"),
    ] {
        // Names are not met in their order.
        for order in ["3 1 2", "2 3 1", "1 2 3"] {
            // A larger skew would let it into others, too.
            for skew in [1, 4] {
                let world = racks(order, counts).pod(one(skew));
                let outcome = row("racks", world, &["claims 1"]);
                let found = &domains(&outcome, RACK)["a"];
                assert_eq!(found, expected, "{counts:?} of {order}, skew {skew}");
            }
        }
    }
}

#[test]
fn a_spread_compares_with_domains_that_the_pod_may_go_to() {
    let one = |pod: Manifest, skew: i32| spreads(pod, spread(RACK, skew));
    let outcome = |counts: &[(&str, usize)], pod: Manifest| {
        row("racks", racks("1 2 3", counts).pod(pod), &[])
    };
    let counts = [("1", 2), ("2", 3), ("3", 0)];
    let pinned = |racks: &str| counted("a").term(&[&format!("{RACK} In {racks}")]);
    // Rack 3 would be the least filled, but not for this pod.
    assert_eq!(
        domains(&outcome(&counts, one(pinned("1 2"), 1)), RACK)["a"],
        "1"
    );
    let either = counted("a")
        .term(&[&format!("{RACK} In 2")])
        .term(&[&format!("{RACK} In 1")]);
    assert_eq!(domains(&outcome(&counts, one(either, 1)), RACK)["a"], "1");
}

#[test]
fn fewer_domains_than_wanted_leave_the_minimum_at_zero() {
    let wanted = |domains: i32| {
        let mut rule = spread(RACK, 1);
        rule["minDomains"] = domains.into();
        spreads(counted("a"), rule)
    };
    let full = racks("1 2", &[("1", 1), ("2", 1)]);
    for (domains, placed) in [(1, true), (2, true), (3, false)] {
        let outcome = row("domains", full.clone().pod(wanted(domains)), &[]);
        assert_eq!(outcome.report.unplaced.is_empty(), placed, "{domains}");
    }
}

#[test]
fn affinity_over_values_joins_or_begins() {
    for (counts, expected) in [
        // Nobody is anywhere: the first name.
        (&[][..], Some("1")),
        (&[("2", 1)], Some("2")),
        (&[("3", 0), ("1", 1)], Some("1")),
    ] {
        let asking = near(counted("a"), RACK);
        let outcome = row("affinity", racks("3 1 2", counts).pod(asking), &[]);
        assert_eq!(domains(&outcome, RACK).get("a").map(|own| &**own), expected);
    }
    // A pod that is not one of them cannot begin.
    let asking = near(stranger("a"), RACK);
    row(
        "affinity",
        racks("3 1 2", &[]).pod(asking.clone()),
        &["a: unplaced"],
    );
    row(
        "affinity",
        racks("3 1 2", &[("2", 1)]).pod(asking),
        &["a: new 0", "label example.com/rack=2"],
    );
    // Where the others are it may not go, so it begins elsewhere.
    let elsewhere = near(counted("a"), RACK).term(&[&format!("{RACK} In 3 2")]);
    let outcome = row("affinity", racks("3 1 2", &[("1", 1)]).pod(elsewhere), &[]);
    assert_eq!(domains(&outcome, RACK)["a"], "2");
}

#[test]
fn anti_affinity_over_values_leaves_what_is_free() {
    let asking = |own: Manifest| apart(own, RACK);
    row(
        "anti-affinity",
        racks("3 1 2", &[("2", 1)]).pod(asking(stranger("a"))),
        &["a: new 0", "requires example.com/rack In [1 3]"],
    );
    row(
        "anti-affinity",
        racks("1 2", &[("1", 1), ("2", 2)]).pod(asking(stranger("a"))),
        &["a: unplaced"],
    );
    // The other way round: who is there objects.
    let guard = asking(stranger("guard")).on("full-2");
    row(
        "inverse",
        racks("3 1 2", &[("2", 0)]).pod(guard).pod(counted("a")),
        &["a: new 0", "requires example.com/rack In [1 3]"],
    );
}

#[test]
fn nodes_in_a_domain_are_judged_by_its_count() {
    let zoned = |counts: &[usize]| {
        let mut world = occupied(counts);
        for (at, machine) in world.machines.iter_mut().enumerate() {
            let node = machine.node.take().unwrap();
            machine.node = Some(node.label(RACK, &format!("r{at}")));
        }
        world
    };
    let counts = [0, 1, 2, 3];
    for (asking, expected) in [
        (spreads(counted("a"), spread(RACK, 1)), &["n0"][..]),
        (spreads(counted("a"), spread(RACK, 2)), &["n0", "n1"]),
        (spreads(stranger("a"), spread(RACK, 1)), &["n0", "n1"]),
        (spreads(stranger("a"), spread(RACK, 2)), &["n0", "n1", "n2"]),
        (near(counted("a"), RACK), &["n1", "n2", "n3"]),
        (near(stranger("a"), RACK), &["n1", "n2", "n3"]),
        (apart(stranger("a"), RACK), &["n0"]),
    ] {
        let found = taken_by(&zoned(&counts), counts.len(), &asking);
        assert_eq!(found, expected, "{}", asking.0["spec"]);
    }
    let begin = taken_by(&zoned(&[0, 0]), 2, &near(counted("a"), RACK));
    assert_eq!(begin, ["n0", "n1"]);
    // A node without the label is in no domain.
    let unlabelled = taken_by(&occupied(&[0]), 1, &spreads(counted("a"), spread(RACK, 1)));
    assert_eq!(unlabelled, [""; 0]);
}

/// What the only pool says against the pod.
fn refusal(outcome: &Outcome, name: &str) -> TopologyRefusal {
    let id = outcome.snapshot.pod_named("default", name).unwrap();
    let (_, refusal) = outcome
        .report
        .unplaced
        .iter()
        .find(|(own, _)| *own == id)
        .unwrap();
    let Refusal::Templates(refusals) = refusal else {
        panic!("{refusal:?}");
    };
    match &refusals[..] {
        [(_, TemplateRefusal::Topology(refusal))] => (**refusal).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_says_how_many_there_are() {
    let closed = |world: World| {
        let mut world = world;
        for machine in &mut world.machines {
            let node = machine.node.take().unwrap();
            machine.node = Some(node.taint("closed", "NoSchedule"));
        }
        world
    };
    let asking = near(stranger("a"), HOST);
    let outcome = row("hosts", closed(occupied(&[2, 0, 1])).pod(asking), &[]);
    let found = refusal(&outcome, "a");
    assert_eq!((found.on_hosts, found.counts.len()), (3, 0));
    let pinned = apart(stranger("a"), RACK)
        .term(&[&format!("{RACK} In 1 2")])
        .prefers(1, "arch Exists");
    let outcome = row(
        "values",
        racks("2 1", &[("1", 1), ("2", 3)]).pod(pinned),
        &[],
    );
    let found = refusal(&outcome, "a");
    let counts: Value = found
        .counts
        .iter()
        .map(|&(value, count)| {
            (
                outcome.snapshot.vocabulary.value_text(value).to_string(),
                count.into(),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    assert_eq!(counts, json!({"1": 1, "2": 3}));
    assert_eq!(found.on_hosts, 0);
    let said = |own: Option<&karpenter_plan::Requirement>| {
        own.unwrap().render(&outcome.snapshot.vocabulary)
    };
    assert_eq!(said(found.pod.as_ref()), "example.com/rack In [1 2]");
    assert_eq!(said(found.candidate.as_ref()), "example.com/rack In [1 2]");
}

#[test]
fn domains_are_those_of_pools_that_the_pod_tolerates() {
    let two = || {
        empty()
            .pool(pool("open").requires(&format!("{RACK} In 1")))
            .pool(
                pool("closed")
                    .requires(&format!("{RACK} In 2"))
                    .template_taint("closed", "", "NoSchedule"),
            )
    };
    let tolerant = |own: Manifest| own.tolerates(json!({"operator": "Exists"}));
    row(
        "untolerated",
        two().pod(near(counted("a"), RACK)),
        &["a: new 0", "rack=1"],
    );
    let of = |counts: &str, world: World| {
        let outcome = row("domains", world, &["a: unplaced"]);
        let found = refusal_text(&outcome, "a");
        assert!(found.contains(counts), "{found}");
    };
    of("(counts = map[1:0]", two().pod(near(stranger("a"), RACK)));
    of(
        "(counts = map[1:0 2:0]",
        two().pod(tolerant(near(stranger("a"), RACK))),
    );
    // Two pools with the same value are one domain.
    let same = || two().pool(pool("same").requires(&format!("{RACK} In 1 2")));
    of(
        "(counts = map[1:0 2:0]",
        same().pod(near(stranger("a"), RACK)),
    );
    // A static pool and a pool without types offer nothing.
    let fixed = two().pool(
        pool("fixed")
            .requires(&format!("{RACK} In 9"))
            .set("spec.replicas", 1),
    );
    of("(counts = map[1:0]", fixed.pod(near(stranger("a"), RACK)));
}

fn refusal_text(outcome: &Outcome, name: &str) -> String {
    let lines = outcome.lines();
    let start = format!("{name}: unplaced");
    lines
        .into_iter()
        .find(|line| line.starts_with(&start))
        .unwrap()
}

#[test]
fn nodes_of_others_do_not_count_against_a_limit() {
    let large = |name: &str| node(name).has("cpu", "64").taint("closed", "NoSchedule");
    let own = |name: &str| large(name).label("pool", "np").label("type", "default");
    let limited = || {
        let np = pool("np").weight(10).limit("cpu", "20");
        empty().pool(np).pod(pod("a"))
    };
    row("nobody's", limited().node(large("n")), &["a: new 0"]);
    row(
        "another pool's",
        limited()
            .pool(pool("other"))
            .node(own("n").label("pool", "other")),
        &["a: new 0", "new 0: pool np"],
    );
    row("its own", limited().node(own("n")), &["a: unplaced"]);
    let mut leaving = limited().node(own("n"));
    leaving.machines[0].marked = true;
    row("its own, leaving", leaving, &["a: new 0"]);
}

#[test]
fn a_spread_between_roomy_claims_counts_what_was_put_there() {
    let mut roomy = instance_type("roomy", 64, 256);
    roomy.capacity.extend(resources(&[("pods", "110")]));
    let mut world = world().types(vec![roomy]);
    for at in 0..6 {
        world = world.pod(spreads(counted(&format!("p{at}")), spread(HOST, 2)));
    }
    let outcome = row("two on each", world, &["claims 3"]);
    let sizes: Vec<usize> = outcome
        .plan
        .claims
        .iter()
        .map(|claim| claim.pods.len())
        .collect();
    assert_eq!(sizes, [2, 2, 2]);
}

/// A type that is sold in one zone.
fn sold_in(zone: &str, cpu: i64) -> InstanceType {
    let mut own = instance_type(&format!("{zone}-{cpu}"), cpu, 64);
    for offering in &mut own.offerings {
        offering.available = offering.requirements[1].values == Some(vec![zone.into()]);
    }
    own
}

#[test]
fn a_claim_that_fits_in_another_domain_is_asked_again() {
    let zonal = |name: &str| spreads(counted(name), spread("zone", 1));
    let world = empty()
        .types(vec![sold_in("z1", 2), sold_in("z2", 16)])
        .pool(pool("np").requires("zone In z1 z2"))
        .pod(stranger("opener").cpu("4"))
        // The least filled zone has no type that is large enough, until somebody else is there.
        .pod(zonal("large").cpu("3"))
        .pod(zonal("small").cpu("1").selects("zone", "z1"));
    row(
        "another domain",
        world,
        &["claims 2", "opener: new 0", "large: new 0", "small: new 1"],
    );
}

#[test]
fn a_pod_on_a_claim_without_a_zone_may_be_in_any() {
    let expected = |own: Manifest| {
        let zoned = empty().pool(pool("np").requires("zone In z1 z2 z3"));
        zoned.pod(own.cpu("2")).then(Stage::Created)
    };
    let zone = long("zone");
    let there = || expected(counted("there"));
    row(
        "anti-affinity",
        there().pod(apart(stranger("a"), zone)),
        &["a: unplaced"],
    );
    row(
        "inverse",
        expected(apart(stranger("there"), zone)).pod(counted("a")),
        &["a: unplaced"],
    );
    // To join it one would have to know where it is.
    row(
        "affinity",
        there().pod(near(stranger("a"), zone)),
        &["a: unplaced"],
    );
    let outcome = row(
        "spread",
        there().pod(spreads(counted("a"), spread("zone", 1)).cpu("3")),
        &["claims 1"],
    );
    assert_eq!(domains(&outcome, "zone")["a"], "z1");
}
