//! Pools whose settings of disruption cannot be read: they are left alone, and others go on.

use karpenter_plan::{
    disrupt::{DisruptOptions, Method, allowances},
    explain::explain_node,
};
use serde_json::{Value, json};

use super::{Round, options, proposed};
use crate::world::{NOW, Objects, TestPool, node, pod, pool};

const POLICY: &str = "spec.disruption.consolidationPolicy: \"WhenRaining\" is unknown to this version, use WhenEmpty, \
                      WhenEmptyOrUnderutilized or Balanced";

/// A pool beside an ordinary one, each with an empty node, one with a pod and a drifted one.
fn beside(faulty: TestPool) -> Objects {
    let mut objects = Objects::new(vec![faulty, pool("fine")]);
    for pool in ["faulty", "fine"] {
        let name = |what: &str| format!("{pool}-{what}");
        let busy = [name("busy"), name("drifted")];
        objects.nodes.push(node(&name("empty")).pool(pool));
        objects.nodes.push(node(&busy[0]).pool(pool));
        objects
            .nodes
            .push(node(&busy[1]).pool(pool).with("Drifted"));
        let pods = busy.iter().map(|node| pod(&format!("on-{node}")).on(node));
        objects.pods.extend(pods);
    }
    objects
}

#[track_caller]
fn check(row: &str, field: &str, value: Value, fault: &str) {
    let faulty = pool("faulty").disruption(field, value);
    let objects = beside(faulty);
    let mut snapshot = objects.snapshot(NOW);
    let id = snapshot.pool_named("faulty").unwrap();
    assert_eq!(snapshot.pools[id].disruption_faults, [fault], "{row}");
    assert_eq!(allowances(&snapshot, &[])[id].allowed, [0; 3], "{row}");
    let message = format!("nodepool faulty is not disrupted before it is put right: {fault}");
    // Round after round the nodes of the other pool go; what is gone no longer counts.
    let mut gone = objects.clone();
    for _ in 0..3 {
        let names = proposed(&snapshot);
        assert!(!names.is_empty(), "{row}");
        assert!(
            names.iter().all(|name| name.starts_with("fine")),
            "{row}: {names:?}"
        );
        gone.nodes.retain(|node| !names.contains(&node.name));
        let left: Vec<String> = gone.nodes.iter().map(|node| node.name.clone()).collect();
        gone.pods.retain(|pod| {
            left.iter()
                .any(|node| pod.0["spec"]["nodeName"] == json!(node))
        });
        snapshot = gone.snapshot(NOW);
    }
    assert_eq!(proposed(&snapshot), [""; 0], "{row}");
    let round = Round::of(&gone, &options(&[]));
    let says = |method, node: &str| {
        round
            .verdict(method, node)
            .unwrap()
            .message(&round.snapshot)
    };
    assert_eq!(says(Method::Emptiness, "faulty-empty"), message, "{row}");
    assert_eq!(says(Method::Drift, "faulty-drifted"), message, "{row}");
    assert_eq!(says(Method::SingleNode, "faulty-busy"), message, "{row}");
    let emptiness = &round.report.methods[0];
    assert!(
        emptiness.constrained && emptiness.eligible == 1,
        "{row}: {emptiness:?}"
    );
    for name in ["faulty-empty", "faulty-busy", "faulty-drifted"] {
        let node = round.snapshot.node_named(name).unwrap();
        let told = explain_node(&round.snapshot, node, &DisruptOptions::default());
        let [blocker] = &told.blocked_by[..] else {
            panic!("{row}: {told:?}")
        };
        assert_eq!(
            (blocker.kind, &*blocker.message),
            ("NodePool", &*message),
            "{row}"
        );
    }
}

#[test]
fn pools_that_cannot_be_read_are_left_alone() {
    check(
        "policy",
        "consolidationPolicy",
        json!("WhenRaining"),
        POLICY,
    );
    let one = |broken: Value| json!([{"nodes": "100%"}, broken]);
    let budget = |row: &str, broken: Value, fault: &str| {
        let fault = format!("spec.disruption.budgets[1]: {fault}");
        check(row, "budgets", one(broken), &fault);
    };
    budget(
        "nodes",
        json!({"nodes": "-1"}),
        "nodes \"-1\" is neither a count nor a percentage between 0% and 100%",
    );
    budget(
        "schedule",
        json!({"nodes": "1", "schedule": "@daily"}),
        "schedule needs a duration",
    );
    budget(
        "duration",
        json!({"nodes": "1", "duration": "1h"}),
        "duration needs a schedule",
    );
    budget(
        "backwards",
        json!({"nodes": "1", "schedule": "@daily", "duration": "-1h"}),
        "duration \"-1h\" is no span of time, write hours and minutes as in 1h30m",
    );
    budget(
        "disruption/B18",
        json!({"nodes": "1", "schedule": "0 0 * * tue-mon", "duration": "1h"}),
        "schedule: \"tue-mon\" runs backwards: write the smaller end first",
    );
}
