//! Every placement is accepted by a pod scheduler that shares no code with our planner. `cargo xtask
//! worlds` asks a real kube-scheduler about more worlds.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use karpenter_sim::{GENESIS, Options, World};
use karpenter_tests::worlds::{self, Outcome, Scheduler};

/// A fixed slice of the seeds.
const SEEDS: std::ops::Range<u64> = 1..61;

#[test]
fn the_binder_accepts_every_placement() {
    let cluster = World::with(Options {
        controller: None,
        ..Options::new(GENESIS, 1)
    })
    .unwrap();
    let scheduler = Scheduler {
        client: cluster.client(),
        patience: Duration::from_mins(1),
        has_default_spreads: false,
    };
    let mut outcome = Outcome::default();
    for seed in SEEDS {
        let judged = worlds::world(&scheduler, seed, &mut outcome);
        cluster.run(judged).unwrap();
    }
    assert!(outcome.refused.is_empty(), "{:#?}", outcome.refused);
    assert!(outcome.ruled > 200 && outcome.new_nodes > 60, "{outcome:?}");
}
