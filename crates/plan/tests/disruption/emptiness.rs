//! Section 19.4: nodes that nothing needs.

use karpenter_plan::{
    budget::DisruptionReason,
    disrupt::{DisruptOptions, Method, Verdict},
};
use serde_json::json;

use super::{
    Round, alone, ask, check, check_kept, names, options, proposal, proposed, with_budgets,
};
use crate::world::{NOW, Objects, TestNode, TestPod, TestPool, node, pod, pool};

/// Whether node `n` is deleted for being empty.
fn check_empty(row: &str, node: TestNode, pods: &[TestPod], deleted: bool) {
    let mut objects = Objects::new(vec![pool("default")]);
    objects.nodes = vec![node];
    objects.pods = pods.to_vec();
    let (command, report) = ask(&objects.snapshot(NOW), &options(&[]));
    let command = command.filter(|own| own.method.reason() == DisruptionReason::Empty);
    assert_eq!(command.is_some(), deleted, "{row}: {report:?}");
    let Some(command) = command else { return };
    assert_eq!(names(Some(&command)), ["n"], "{row}");
    assert!(command.replacements.is_empty(), "{row}");
}

#[test]
fn empty_nodes_go() {
    let on = |name: &str| pod(name).on("n");
    check_empty("disruption/E1", node("n"), &[], true);
    check_empty(
        "disruption/E2",
        node("n").without("Consolidatable"),
        &[],
        false,
    );
    check_empty(
        "disruption/E2",
        node("n").with_false("Consolidatable"),
        &[],
        false,
    );
    check_empty(
        "disruption/E3",
        node("n"),
        &[on("a").owner("DaemonSet"), on("b").owner("DaemonSet")],
        true,
    );
    check_empty(
        "disruption/E4",
        node("n"),
        &[on("a").owner("ReplicaSet").terminating()],
        true,
    );
    check_empty(
        "disruption/E5",
        node("n"),
        &[on("a").owner("StatefulSet").terminating()],
        false,
    );
    check_empty(
        "disruption/E6",
        node("n"),
        &[
            on("a").deletion_cost("-134217728"),
            on("b").deletion_cost("-2147483648"),
        ],
        true,
    );
    check_empty("", node("n"), &[on("a").deletion_cost("-134217727")], false);
    check_empty("", node("n"), &[on("a")], false);
    check_empty(
        "",
        node("n"),
        &[on("a").phase("Succeeded"), on("b").phase("Failed")],
        true,
    );
    check_empty("", node("n"), &[pod("waiting")], true);
}

#[test]
fn pools_opt_out_of_emptiness() {
    let check = |row: &str,
                 change: &dyn Fn(TestPool) -> TestPool,
                 verdict: Verdict,
                 event: Option<&str>| {
        let mut objects = Objects::new(vec![change(pool("default"))]);
        objects.nodes = vec![node("n")];
        let snapshot = objects.snapshot(NOW);
        let (command, report) = ask(&snapshot, &options(&[]));
        let [(id, found)] = &report.methods[0].verdicts[..] else {
            panic!("{report:?}")
        };
        assert_eq!((command, found), (None, &verdict), "{row}");
        assert_eq!(found.event(&snapshot, *id).as_deref(), event, "{row}");
    };
    check(
        "disruption/E16",
        &|pool| pool.replicas(1),
        Verdict::StaticPool,
        None,
    );
    check(
        "",
        &|pool| pool.disruption("consolidateAfter", json!("Never")),
        Verdict::ConsolidationDisabled,
        Some("NodePool \"default\" has consolidation disabled"),
    );
}

#[test]
fn every_policy_deletes_empty_nodes() {
    for policy in ["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"] {
        let mut objects = Objects::new(vec![
            pool("default").disruption("consolidationPolicy", json!(policy)),
        ]);
        objects.nodes = vec![node("n")];
        assert_eq!(proposed(&objects.snapshot(NOW)), ["n"], "{policy}");
    }
}

#[test]
fn dearer_nodes_go_first() {
    let one = json!([{"nodes": "2"}]);
    let nodes = vec![
        node("a-small"),
        node("b-large").instance_type("large"),
        node("c-unknown").instance_type("unheard-of"),
        node("d-small"),
    ];
    let command = proposal(&with_budgets(one, nodes).snapshot(NOW)).unwrap();
    let order: Vec<&str> = command.nodes.iter().map(|target| &*target.node).collect();
    assert_eq!(order, ["b-large", "a-small"]);
    // 0.4 for the large one, 0.1 for the small one.
    assert!(
        (command.savings.dollars() - 0.5).abs() < 1e-9,
        "{:?}",
        command.savings
    );
}

#[test]
fn quiet_can_be_waived() {
    let mut objects = Objects::new(vec![pool("default")]);
    objects.nodes = vec![node("n").without("Consolidatable")];
    let waived = DisruptOptions {
        ignore_consolidate_after: true,
        ..DisruptOptions::default()
    };
    let (command, _) = ask(&objects.snapshot(NOW), &waived);
    assert_eq!(names(command.as_ref()), ["n"]);
    objects.pools = vec![pool("default").disruption("consolidateAfter", json!("Never"))];
    assert_eq!(ask(&objects.snapshot(NOW), &waived).0, None);
}

#[test]
fn empty_comes_before_drifted() {
    let mut objects = alone(node("n").with("Drifted"));
    check("disruption/E9", &objects, &["Emptiness delete n"]);
    objects.nodes = vec![node("n").with("Drifted").without("Consolidatable")];
    check("disruption/E9", &objects, &["Drift delete n"]);
}

#[test]
fn what_waits_keeps_its_room() {
    let row = "disruption/E11";
    let mut objects = Objects::new(vec![pool("default").on_demand()]);
    objects.nodes = vec![node("n").instance_type("large")];
    objects.pods = vec![pod("p").on("n").request("cpu", "1")];
    check(
        row,
        &objects,
        &["SingleNode replace n -> small as on-demand"],
    );
    objects.pods.push(pod("waiting").request("cpu", "14"));
    let events = ["SingleNode n: Can't replace with a cheaper node"];
    check_kept(row, &objects, &options(&[]), &events);
}

#[test]
fn buffers_keep_nodes() {
    let mut objects = Objects::new(vec![pool("default")]);
    objects.nodes = ["a", "b", "c"].map(node).to_vec();
    let round = |objects: &Objects, counts: &[(&str, u32)]| {
        let mut snapshot = objects.snapshot(NOW);
        for (node, count) in counts {
            snapshot.host_buffer_pods(node, *count);
        }
        Round::at(snapshot, &options(&[]))
    };
    let check = |row: &str, counts: &[(&str, u32)], commands: &[&str], events: &[&str]| {
        let round = round(&objects, counts);
        assert_eq!(round.told(), commands, "{row}");
        assert_eq!(round.events(), events, "{row}");
    };
    let event = |name: &str| format!("Emptiness {name}: Node \"{name}\" has buffer pods");
    let (a, b, c) = (event("a"), event("b"), event("c"));
    check(
        "disruption/E12",
        &[("a", 1), ("b", 2), ("c", 30)],
        &[],
        &[&a, &b, &c],
    );
    check("disruption/E13", &[], &["Emptiness delete a b c"], &[]);
    check(
        "disruption/E14",
        &[("b", 1)],
        &["Emptiness delete a c"],
        &[&b],
    );
    check(
        "disruption/E15",
        &[("b", 0)],
        &["Emptiness delete a b c"],
        &[],
    );
    // Neither of the other methods takes it for an empty one.
    let hosts = round(&objects, &[("a", 1), ("b", 1), ("c", 1)]);
    for method in [Method::MultiNode, Method::SingleNode] {
        let verdict = hosts.verdict(method, "a");
        assert_eq!(verdict, Some(&Verdict::Empty), "disruption/E12");
    }
}
