//! The scenarios on the cluster in memory. `cargo xtask system` runs the same on a real one.
#![allow(clippy::unwrap_used, missing_docs)]

use karpenter_tests::{
    cluster::InMemory,
    scenarios::{run, shared},
};

fn check(name: &str) {
    let scenarios = shared::<InMemory>();
    let scenario = scenarios
        .iter()
        .find(|scenario| scenario.0 == name)
        .unwrap();
    let mut cluster = InMemory::start().unwrap();
    let found = run(&mut cluster, scenario).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(found.contains("pods run on"), "{found}");
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn none_is_left_out() {
            let listed = [$(stringify!($name)),*];
            let known: Vec<&str> = shared::<InMemory>().iter().map(|one| one.0).collect();
            assert_eq!(listed[..], known[..]);
        }
    };
}

scenarios!(
    grow_and_shrink,
    node_deleted,
    claim_deleted,
    node_drained_by_people,
    pool_edited,
    consolidated,
    pool_deleted,
    budget_blocks_then_yields,
    controller_killed,
);
