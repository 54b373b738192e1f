//! The life of claims, nodes and pools, as a user sees it in the API.
//!
//! Every test is one cluster in memory under paused time: the real controllers, the embedded API
//! server, and a provider that does as it is told. The tests play the kubelet and the user.
#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    unreachable_pub,
    missing_docs
)]

mod chaos;
mod claims;
mod cloud;
mod metrics;
mod nodes;
mod pools;
mod static_pools;
mod world;

/// Asserts that something a row promises holds.
#[track_caller]
fn check(row: &str, holds: bool) {
    assert!(holds, "{row}");
}

/// Asserts that something is as a row promises.
#[track_caller]
fn check_eq<T: PartialEq + std::fmt::Debug>(row: &str, found: T, expected: T) {
    assert_eq!(found, expected, "{row}");
}
