//! The embedded API server says what a real one said.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fmt::Write as _, sync::Arc};

use karpenter_apiserver::{Options, Server};
use karpenter_sim::GENESIS;
use karpenter_tests::verdicts::{ask, cases, install_definitions, recorded};

#[tokio::test(start_paused = true)]
async fn ours_says_what_the_real_one_said() {
    let client = Server::new(Options::new(Arc::new(|| GENESIS))).client();
    install_definitions(&client).await.unwrap();
    let recorded = recorded().unwrap();
    let cases = cases().unwrap();
    let mut differences = String::new();
    let mut count = 0;
    for case in &cases {
        let ours = ask(&client, case).await.unwrap();
        let real = recorded
            .get(&case.name)
            .unwrap_or_else(|| panic!("{}: not recorded; run `cargo xtask verdicts`", case.name));
        if ours != *real {
            count += 1;
            let _ = writeln!(
                differences,
                "{}\n  real {real:?}\n  ours {ours:?}",
                case.name
            );
        }
    }
    assert_eq!(
        recorded.len(),
        cases.len(),
        "recorded.json has cases that are gone"
    );
    assert!(
        count == 0,
        "{count} of {} differ:\n{differences}",
        cases.len()
    );
}
