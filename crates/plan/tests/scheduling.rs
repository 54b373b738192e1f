//! The scenario rows of the scheduling specification, as data.

#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::{Stage, daemon_set, empty, instance_type, node, pod, pool, row, world};
use serde_json::json;

#[test]
fn eligibility() {
    row(
        "scheduling/E1",
        world().pod(pod("a").set("status.conditions.0.reason", "SchedulingGated")),
        &["claims 0", "!a:"],
    );
    row(
        "scheduling/E2",
        world().pod(pod("a").set("status.nominatedNodeName", "n")),
        &["claims 0", "!a:"],
    );
    for (version, kind) in [("apps/v1", "DaemonSet"), ("v1", "Node")] {
        row(
            "scheduling/E3",
            world().pod(pod("a").owned_by(version, kind)),
            &["claims 0", "!a:"],
        );
    }
    row(
        "scheduling/E4",
        world().pod(pod("a").set("spec.schedulerName", "mine")),
        &["a: new 0"],
    );
    row(
        "scheduling/E5",
        world().pod(pod("a").term(&["pool DoesNotExist"])),
        &[
            "claims 0",
            "a: ignored (silent), configured to not run on a Karpenter provisioned node",
        ],
    );
    row(
        "scheduling/E6",
        world().pod(pod("a").selects("kubernetes.io/hostname", "a")),
        &[
            "claims 0",
            "a: ignored (event), using label kubernetes.io/hostname is not allowed as it might interfere",
        ],
    );
    row(
        "scheduling/E7",
        world().pod(pod("a").selects("karpenter.sh/test", "x")),
        &[
            "claims 0",
            "a: ignored (event), using label karpenter.sh/test is not allowed",
        ],
    );
    row(
        "scheduling/E8",
        empty()
            .pool(pool("np").template_label("subdomain.kubernetes.io/test", "v"))
            .pod(pod("a").selects("subdomain.kubernetes.io/test", "v")),
        &["a: new 0", "new 0: label subdomain.kubernetes.io/test=v"],
    );
    row(
        "scheduling/P1",
        world().pod(pod("a")),
        &[
            "a: new 0",
            "new 0: pool np, types small default single gpuA gpuB",
        ],
    );
    let _ = (
        daemon_set("x"),
        instance_type("x", 1, 1),
        node("n"),
        Stage::Created,
        json!({}),
    );
}
