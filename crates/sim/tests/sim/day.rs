//! A day of fifty nodes and two hundred pods, twenty of which are rolled every hour. How long it took is printed.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::{Duration, Instant};

use crate::common::{MINUTE, SMALL, deployment, pool, until, world};

const APPS: u32 = 10;
const PODS_PER_APP: u32 = 20;

/// Four such pods fill a node of four processors.
fn app(number: u32, hour: u32) -> String {
    deployment(
        &format!("app-{number}"),
        PODS_PER_APP,
        "{cpu: 900m, memory: 1Gi}",
        &format!("priorityClassName: ''\n      hostname: hour-{hour}"),
    )
}

#[test]
fn a_day_of_rollouts() {
    let began = Instant::now();
    let world = world(24);
    world.apply(&pool("default", SMALL)).unwrap();
    for number in 0..APPS {
        world.apply(&app(number, 0)).unwrap();
    }
    let pods = (APPS * PODS_PER_APP) as usize;
    let state = until(&world, MINUTE, |state| state.running() == pods);
    println!("start: {} nodes, {:?}", state.nodes.len(), began.elapsed());
    for hour in 0..24 {
        world.apply(&app(hour % APPS, hour + 1)).unwrap();
        world.advance(Duration::from_hours(1));
        let state = world.state().unwrap();
        assert_eq!(state.running(), pods, "hour {hour}\n{}", state.describe());
        assert_eq!(state.pods.len(), pods, "hour {hour}\n{}", state.describe());
    }
    let state = world.state().unwrap();
    assert!(
        state.nodes.iter().all(|node| node.ready && !node.deleting),
        "{}",
        state.describe()
    );
    assert_eq!(state.nodes.len(), state.claims.len());
    println!(
        "24 h: {} nodes, {} writes, {:?}",
        state.nodes.len(),
        world.write_log().len(),
        began.elapsed()
    );
}
