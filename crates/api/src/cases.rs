//! Which cases the property tests of all crates try.

use proptest::{prelude::ProptestConfig, test_runner::RngSeed};

/// So many cases, the same each time: a test that fails does so for everybody. `PROPTEST_CASES` asks for so
/// many others, drawn anew.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    let asked: Option<u32> = asked.and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(usual),
        rng_seed: match asked {
            None => RngSeed::Fixed(1),
            Some(_) => RngSeed::Random,
        },
        max_global_rejects: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
