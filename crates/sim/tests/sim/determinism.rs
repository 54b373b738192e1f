//! The same seed gives the same log of writes, byte for byte; another seed gives other names.
#![allow(clippy::unwrap_used, missing_docs)]

use crate::common::{MINUTE, SMALL, deployment, pool, until, world};

/// A small busy hour: arrivals, a rollout, a scale-down.
fn history(seed: u64) -> String {
    let world = world(seed);
    world.apply(&pool("default", SMALL)).unwrap();
    for number in 0..4 {
        world
            .apply(&deployment(
                &format!("app-{number}"),
                5,
                "{cpu: 700m, memory: 1Gi}",
                "",
            ))
            .unwrap();
    }
    until(&world, MINUTE, |state| state.running() == 20);
    world
        .apply(&deployment("app-1", 5, "{cpu: 800m, memory: 1Gi}", ""))
        .unwrap();
    world
        .apply(&deployment("app-2", 0, "{cpu: 700m, memory: 1Gi}", ""))
        .unwrap();
    world.advance(5 * MINUTE);
    until(&world, MINUTE, |state| state.running() == 15);
    world.write_log().join("\n")
}

#[test]
fn equal_seeds_write_equal_logs() {
    let first = history(42);
    let second = history(42);
    let difference = first
        .lines()
        .zip(second.lines())
        .position(|(one, two)| one != two);
    assert_eq!(first, second, "first difference in line {difference:?}");
    assert_ne!(first, history(43));
}
