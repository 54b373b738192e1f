//! How long an answer holds.

use serde_json::json;

use super::{alone, ask, options, with_budgets};
use crate::world::{NOW, Objects, node, pod, pool};

const MIDNIGHT: &str = "2024-05-02T00:00:00Z";

fn check_until(objects: &Objects, expected: &str) {
    let (_, report) = ask(&objects.snapshot(NOW), &options(&[]));
    let found = report
        .valid_until
        .map(|instant| instant.to_string())
        .unwrap_or_default();
    assert_eq!(found, expected);
}

#[test]
fn answers_hold_until_time_alone_could_change_them() {
    check_until(&alone(node("n")), "");
    let nightly = json!([{"nodes": "0", "schedule": "0 0 * * *", "duration": "8h"}]);
    check_until(&with_budgets(nightly, vec![node("n")]), MIDNIGHT);
    check_until(
        &alone(node("n").nominated_until("2024-05-01T12:00:20Z")),
        "2024-05-01T12:00:20Z",
    );
    check_until(
        &alone(node("n").nominated_until("2024-05-01T11:00:00Z")),
        "",
    );
    let mut slow = alone(
        node("n")
            .without("Consolidatable")
            .last_pod_event("2024-05-01T11:30:00Z"),
    );
    slow.pools = vec![pool("default").disruption("consolidateAfter", json!("1h"))];
    check_until(&slow, "2024-05-01T12:30:00Z");
    let mut protected = alone(node("n"));
    let annotated = pod("p")
        .on("n")
        .annotation("karpenter.sh/do-not-disrupt", "10m");
    protected.pods = vec![annotated.clone().started("2024-05-01T11:55:00Z")];
    check_until(&protected, "2024-05-01T12:05:00Z");
    protected.pods = vec![annotated];
    check_until(&protected, "");
}
