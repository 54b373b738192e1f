//! How many reconciles upstream would run at once for the CPU that it is given, and how much memory it
//! would aim to stay below.
//!
//! Both are told and otherwise advisory: a reconcile here is a future, not a thread, and in-flight
//! writes are capped by the client (see [`crate::client`]); and there is no garbage collector that a
//! soft limit could drive.

/// Fewest and most reconciles at once, by the names of upstream's controllers.
const RANGES: [(&str, u64, u64); 15] = [
    ("provisioner.trigger.pod", 10, 1000),
    ("provisioner.trigger.node", 10, 1000),
    ("state", 10, 3000),
    ("disruption.queue", 100, 1000),
    ("node.health", 10, 1000),
    ("node.hydration", 1000, 5000),
    ("nodeclaim.hydration", 1000, 5000),
    ("node.termination", 100, 5000),
    ("eviction-queue", 100, 5000),
    ("nodeclaim.lifecycle", 1000, 5000),
    ("nodeclaim.consistency", 10, 1000),
    ("nodeclaim.disruption", 10, 1000),
    ("nodepool.counter", 10, 1000),
    ("nodepool.hash", 10, 1000),
    ("nodepool.readiness", 10, 1000),
];

/// The cores at which the most workers run; between one and these the number grows evenly.
const MOST_CORES: u64 = 60;

/// The worker numbers of every scaled controller for a CPU request in millicores.
pub fn numbers(cpu_millicores: u32) -> impl Iterator<Item = (&'static str, u64)> {
    RANGES
        .into_iter()
        .map(move |(name, fewest, most)| (name, scaled(fewest, most, cpu_millicores)))
}

fn scaled(fewest: u64, most: u64, cpu_millicores: u32) -> u64 {
    let cores = u64::from(cpu_millicores).div_ceil(1000).max(1);
    let grown = fewest + (most - fewest) * (cores - 1) / (MOST_CORES - 1);
    grown.clamp(fewest, most)
}

/// The bytes to stay below: nine tenths of a memory limit, if there is one.
pub fn soft_memory_limit(limit: i64) -> Option<u64> {
    let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0)?;
    // In wide integers: floats lose bytes, and a limit times nine may not fit.
    u64::try_from(u128::from(limit) * 9 / 10).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(row: &str, cpu_millicores: u32, controller: &str, expected: u64) {
        let found = numbers(cpu_millicores).find(|(name, _)| *name == controller);
        assert_eq!(found, Some((controller, expected)), "{row}");
    }

    #[test]
    fn workers_grow_with_cores() {
        for controller in ["nodeclaim.lifecycle", "node.hydration"] {
            check("operations/O14", 1000, controller, 1000);
            check("operations/O14", 60_000, controller, 5000);
            check("operations/O15", 1500, controller, 1067);
        }
        check("beyond the range", 128_000, "node.termination", 5000);
        check("nothing asked for", 0, "state", 10);
        check("two cores", 2000, "state", 10 + 2990 / 59);
    }

    #[test]
    fn nine_tenths_of_the_memory() {
        let check = |row: &str, limit, expected| {
            assert_eq!(soft_memory_limit(limit), expected, "{row}");
        };
        check("operations/O16", 1_073_741_824, Some(966_367_641));
        check("operations/O17", -1, None);
        check("no limit", 0, None);
        check(
            "more than there is",
            i64::MAX,
            Some(8_301_034_833_169_298_226),
        );
    }
}
