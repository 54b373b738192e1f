//! Section 4.11: capacity that is paid for already.

use karpenter_plan::{InstanceType, Offering, Price, Violation, check, schedule::ReservedPolicy};

use crate::fixtures::{Manifest, Stage, World, empty, instance_type, pod, pool, req, row};

/// The type, which can also be bought from these reservations: id, machines left.
fn with_reservations(mut of: InstanceType, reservations: &[(&str, i64)]) -> InstanceType {
    let entry = |text: &str| serde_json::from_value(req(text)).unwrap();
    for requirement in &mut of.requirements {
        if requirement.key == "karpenter.sh/capacity-type" {
            *requirement = entry("capacity In spot on-demand reserved");
        }
    }
    let ids: Vec<&str> = reservations.iter().map(|(id, _)| *id).collect();
    of.requirements.push(entry(&format!(
        "example.com/reservation In {}",
        ids.join(" ")
    )));
    let price = Price(of.offerings[0].price.0 / 1_000_000);
    of.offerings
        .extend(reservations.iter().map(|(id, left)| Offering {
            requirements: vec![
                entry("capacity In reserved"),
                entry("zone In z1"),
                entry(&format!("example.com/reservation In {id}")),
            ],
            price,
            available: *left > 0,
            reservation_capacity: *left,
            ..Offering::default()
        }));
    of
}

/// Types `small` of two cores and `medium` of three, with these reservations. A large pod has either alone.
fn small_and_medium(small: &[(&str, i64)], medium: &[(&str, i64)]) -> Vec<InstanceType> {
    vec![
        with_reservations(instance_type("small", 2, 2), small),
        with_reservations(instance_type("medium", 3, 3), medium),
    ]
}

fn large_pod(name: &str) -> Manifest {
    pod(name).cpu("1.8")
}

/// A pod that shares no node with its like.
fn alone(name: &str) -> Manifest {
    pod(name).label("app", "alone").set(
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        serde_json::json!([{
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": "alone"}},
        }]),
    )
}

const WAITS: &str = "one or more instance types with compatible reserved offerings are available, but could not be reserved";

#[test]
fn one_reservation_per_pass() {
    let first = empty()
        .types(small_and_medium(&[("r-small", 1)], &[("r-medium", 1)]))
        .pool(pool("np"))
        .pod(large_pod("a"))
        .pod(large_pod("b"))
        .pod(large_pod("c"));
    row(
        "scheduling/Q1",
        first.clone(),
        &[
            "claims 1",
            "a: new 0",
            "types small medium",
            "requires karpenter.sh/capacity-type In [reserved]",
            "requires example.com/reservation In [r-medium r-small]",
            "b: unplaced",
            WAITS,
            "c: unplaced",
            WAITS,
        ],
    );
    let second = first
        .then(Stage::Launched)
        .types(small_and_medium(&[("r-small", 0)], &[("r-medium", 1)]));
    row(
        "scheduling/Q1",
        second.clone(),
        &[
            "claims 1",
            "b: new 0",
            "requires example.com/reservation In [r-medium]",
            "c: unplaced",
            WAITS,
        ],
    );
    let third = second
        .then(Stage::Launched)
        .types(small_and_medium(&[("r-small", 0)], &[("r-medium", 0)]));
    row(
        "scheduling/Q1",
        third,
        &[
            "claims 1",
            "c: new 0",
            "requires karpenter.sh/capacity-type In [on-demand spot]",
            "!unplaced",
        ],
    );
}

#[test]
fn pools_share_a_reservation_or_have_their_own() {
    let pools = |types| {
        empty()
            .types(types)
            .pool(pool("np-1").requires("type In small"))
            .pool(pool("np-2").requires("type In medium"))
            .pod(large_pod("a").selects("pool", "np-1"))
            .pod(large_pod("b").selects("pool", "np-2"))
    };
    let shared = pools(small_and_medium(&[("r", 1)], &[("r", 1)]));
    row(
        "scheduling/Q2",
        shared.clone(),
        &["claims 1", "a: new 0", WAITS],
    );
    row(
        "scheduling/Q2",
        shared
            .then(Stage::Launched)
            .types(small_and_medium(&[("r", 0)], &[("r", 0)])),
        &["claims 1", "b: new 0", "[on-demand spot]"],
    );
    // Pools may see different numbers; the least counts.
    row(
        "scheduling/Q2",
        pools(small_and_medium(&[("r", 2)], &[("r", 1)])),
        &["claims 1", WAITS],
    );
    row(
        "scheduling/Q3",
        pools(small_and_medium(&[("r-1", 1)], &[("r-2", 1)])),
        &[
            "claims 2",
            "new 0: requires example.com/reservation In [r-1]",
            "new 1: requires example.com/reservation In [r-2]",
        ],
    );
}

#[test]
fn a_claim_holds_all_reservations_of_its_type() {
    let types = |first, second| {
        vec![with_reservations(
            instance_type("small", 2, 2),
            &[("r-1", first), ("r-2", second)],
        )]
    };
    let world = ["a", "b", "c", "d"].into_iter().fold(
        empty().types(types(1, 2)).pool(pool("np")),
        |world, name| world.pod(alone(name)),
    );
    // The first claim might become either; r-2 has one more for the second.
    row(
        "scheduling/Q4",
        world.clone(),
        &[
            "claims 2",
            "new 0: requires example.com/reservation In [r-1 r-2]",
            "new 1: requires example.com/reservation In [r-2]",
            "c: unplaced",
            WAITS,
            "d: unplaced",
            WAITS,
        ],
    );
    // The provider has made the first from r-1, so one of r-2 is left.
    let second = world.then(Stage::Initialized).types(types(0, 1));
    row(
        "scheduling/Q4",
        second.clone(),
        &[
            "claims 1",
            "new 0: requires example.com/reservation In [r-2]",
            "d: unplaced",
            WAITS,
        ],
    );
    row(
        "scheduling/Q4",
        second.then(Stage::Initialized).types(types(0, 0)),
        &["claims 1", "d: new 0", "[on-demand spot]"],
    );
}

#[test]
fn a_heavier_pool_may_still_serve_from_a_reservation() {
    let world = empty()
        .types(small_and_medium(&[("r-1", 1)], &[("r-2", 1)]))
        .pool(pool("heavy").requires("type In small").weight(100))
        .pool(pool("light").requires("type In medium").weight(50))
        .pod(large_pod("a"))
        .pod(large_pod("b"));
    row(
        "scheduling/Q5",
        world.clone(),
        &[
            "claims 1",
            "new 0: pool heavy",
            "[r-1]",
            "b: unplaced",
            WAITS,
        ],
    );
    row(
        "scheduling/Q5",
        world
            .then(Stage::Launched)
            .types(small_and_medium(&[("r-1", 0)], &[("r-2", 1)])),
        &["claims 1", "b: new 0", "pool heavy", "[on-demand spot]"],
    );
}

#[test]
fn no_preference_is_given_up_for_a_reservation() {
    let world = empty()
        .types(small_and_medium(&[("r-1", 1)], &[("r-2", 1)]))
        .pool(pool("np-1").requires("type In small"))
        .pool(pool("np-2").requires("type In medium"))
        .pod(large_pod("a").prefers(1, "pool In np-1"))
        .pod(large_pod("b").prefers(1, "pool In np-1"));
    row(
        "scheduling/Q6",
        world,
        &[
            "claims 1",
            "new 0: pool np-1",
            "b: unplaced",
            WAITS,
            "!relaxed",
        ],
    );
}

#[test]
fn affine_pods_share_the_reserved_node() {
    let affine = |name| {
        pod(name).label("app", "together").set(
            "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution",
            serde_json::json!([{
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "together"}},
            }]),
        )
    };
    row(
        "scheduling/Q7",
        empty()
            .types(small_and_medium(&[("r-small", 1)], &[("r-medium", 0)]))
            .pool(pool("np"))
            .pod(affine("a"))
            .pod(affine("b")),
        &["claims 1", "a: new 0", "b: new 0", "[r-small]"],
    );
}

#[test]
fn a_pod_that_rules_out_what_a_claim_holds_goes_elsewhere() {
    let outcome = row(
        "section 4.11",
        empty()
            .types(small_and_medium(&[("r-small", 1)], &[("r-medium", 0)]))
            .pool(pool("np"))
            .pod(large_pod("a"))
            .pod(pod("b").selects("capacity", "on-demand")),
        &[
            "claims 2",
            "new 0: requires karpenter.sh/capacity-type In [reserved]",
        ],
    );
    assert_eq!(outcome.plan.claims[1].pods.len(), 1);
}

/// The same world where reservations mean something else.
fn under(policy: ReservedPolicy) -> World {
    let mut world = empty()
        .types(small_and_medium(&[("r", 1)], &[("r", 1)]))
        .pool(pool("np"))
        .pod(large_pod("a"))
        .pod(large_pod("b"));
    world.options.reserved = policy;
    world
}

#[test]
fn what_ifs_do_without_and_a_closed_gate_ignores() {
    row(
        "section 4.11",
        under(ReservedPolicy::Fallback),
        &[
            "claims 2",
            "new 0: requires karpenter.sh/capacity-type In [reserved]",
            "!new 1: requires example.com/reservation",
        ],
    );
    row(
        "section 4.11",
        under(ReservedPolicy::Ignored),
        &["claims 2", "[on-demand reserved spot]", "!unplaced"],
    );
}

#[test]
fn the_judge_counts_machines() {
    let world = |left| {
        empty()
            .types(small_and_medium(&[("r", left)], &[("r", left)]))
            .pool(pool("np"))
            .pod(alone("a"))
            .pod(alone("b"))
    };
    let outcome = world(2).solve();
    assert_eq!(outcome.plan.claims.len(), 2);
    let verdict = check(&world(1).snapshot(), &outcome.plan, &outcome.report);
    assert!(
        matches!(verdict.unwrap_err()[..], [Violation::Reservation(1, _)]),
        "one machine for two claims"
    );
}
