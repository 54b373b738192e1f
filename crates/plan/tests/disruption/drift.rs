//! Section 19.9, F1 to F10 and F20: nodes that are no longer what their pools ask for.

use karpenter_plan::disrupt::{Command, Failure, Method, Step, Verdict};
use serde_json::json;

use super::{Round, after, alone, at, check, options};
use crate::world::{NOW, Objects, TestNode, TestPool, budget, node, pod, pool};

/// A node that has drifted and that costs no less than what could replace it.
fn drifted(name: &str) -> TestNode {
    node(name).with("Drifted")
}

/// One that has drifted since then.
fn since(name: &str, instant: &str) -> TestNode {
    node(name).since("Drifted", instant)
}

fn objects(pool: TestPool, nodes: Vec<TestNode>) -> Objects {
    let mut objects = Objects::new(vec![pool]);
    objects.nodes = nodes;
    objects
}

fn on_demand() -> TestPool {
    pool("default").on_demand()
}

#[test]
fn a_drifted_node_goes_once_its_pods_have_a_place() {
    let mut one = objects(on_demand(), vec![drifted("n")]);
    one.pods = vec![pod("p").on("n")];
    // Whatever that costs.
    let replaced = ["Drift replace n -> small large as on-demand"];
    check("disruption/F1", &one, &replaced);
    one.nodes
        .push(node("other").annotation("karpenter.sh/do-not-disrupt", "true"));
    check("disruption/F2", &one, &["Drift delete n"]);

    let never = on_demand().disruption("consolidateAfter", json!("Never"));
    let empty = objects(never, vec![drifted("n")]);
    check("disruption/F3", &empty, &["Drift delete n"]);
    let settling = objects(on_demand(), vec![drifted("n").without("Consolidatable")]);
    check("disruption/F3", &settling, &["Drift delete n"]);

    let small = pool("default")
        .on_demand()
        .requires("node.kubernetes.io/instance-type", &["small"]);
    let mut large = objects(small, vec![drifted("n").instance_type("large")]);
    large.pods = ["p", "q", "r"]
        .map(|name| pod(name).on("n").request("cpu", "3"))
        .to_vec();
    let small = " -> small as on-demand";
    let replaced = format!("Drift replace n{small}{small}{small}");
    check("disruption/F7", &large, &[&replaced]);
}

#[test]
fn the_oldest_drift_goes_first_and_empty_nodes_before_it() {
    let (early, late) = ("2024-05-01T02:00:00Z", "2024-05-01T03:00:00Z");
    let never = || on_demand().disruption("consolidateAfter", json!("Never"));
    let mut two = objects(never(), vec![since("busy", early), since("empty", late)]);
    two.pods = vec![pod("p").on("busy")];
    check("disruption/F4", &two, &["Drift delete empty"]);

    let mut two = objects(never(), vec![since("a", late), since("b", early)]);
    two.pods = vec![pod("p").on("a"), pod("q").on("b")];
    check("disruption/F5", &two, &["Drift delete b"]);
    two.nodes = vec![since("a", early), since("b", late)];
    check("disruption/F5", &two, &["Drift delete a"]);
}

#[test]
fn a_drifted_node_whose_pods_have_no_place_does_not_hold_up_another() {
    let row = "disruption/F6";
    let early = since("first", "2024-05-01T02:00:00Z").label("example.com/disk", "fast");
    let late = since("second", "2024-05-01T03:00:00Z");
    let mut two = objects(on_demand(), vec![early, late]);
    two.pods = vec![
        pod("p").on("first").selector("example.com/disk", "fast"),
        pod("q").on("second"),
    ];
    let round = Round::of(&two, &options(&[]));
    assert_eq!(round.told(), ["Drift delete second"], "{row}");
    let verdict = round.verdict(Method::Drift, "first").unwrap();
    assert!(matches!(verdict, Verdict::Stuck(_)), "{row}: {verdict:?}");
    let why = verdict.message(&round.snapshot);
    let start = "not all pods would schedule, default/p => ";
    assert!(why.starts_with(start), "{row}: {why}");
}

#[test]
fn what_must_not_be_evicted_needs_no_replacement() {
    let row = "disruption/F8";
    let graceful = || objects(on_demand(), vec![drifted("n").grace("1h")]);
    let mut protected = graceful();
    protected.pods = vec![
        pod("p")
            .on("n")
            .annotation("karpenter.sh/do-not-disrupt", "true"),
    ];
    check(row, &protected, &["Drift delete n"]);
    let mut budgeted = graceful();
    budgeted.pods = vec![pod("p").on("n").label("app", "web")];
    let closed = budget("closed").allowing(0).selecting("app", "web");
    budgeted.budgets = vec![closed.clone().unavailable(json!(0)).json()];
    check(row, &budgeted, &["Drift delete n"]);
    // A budget that is spent at present is not one that never allows anything.
    budgeted.budgets = vec![closed.json()];
    let replaced = ["Drift replace n -> small large as on-demand"];
    check(row, &budgeted, &replaced);
    budgeted.nodes = vec![drifted("n")];
    check(row, &budgeted, &[]);
}

#[test]
fn a_replacement_that_vanishes_undoes_the_command() {
    let row = "disruption/F9";
    let mut one = objects(on_demand(), vec![drifted("n")]);
    one.pods = vec![pod("p").on("n")];
    let mut command = Round::of(&one, &options(&[])).commands.remove(0);
    // It is due at once: nobody waits for a drifted node to be quiet.
    assert_eq!(
        command.next_step(&one.snapshot(NOW), 1),
        Step::Revalidate,
        "{row}"
    );
    command.started = Some(at(NOW));
    command.replacements[0].created = Some("new-claim".into());
    one.nodes = vec![drifted("n").tainted().marked()];
    let targets = command.nodes.clone();
    let undone = |command: &Command, objects: &Objects| {
        let step = command.next_step(&objects.snapshot(&after(60)), 1);
        let failure = Failure::ReplacementDeleted("new-claim".into());
        let nodes = targets.clone();
        assert_eq!(step, Step::Undo { nodes, failure }, "{row}");
    };
    undone(&command, &one);
    one.nodes.push(node("new").uninitialized());
    let step = command.next_step(&one.snapshot(&after(60)), 1);
    assert_eq!(step, Step::Wait(vec![0]), "{row}");
}

#[test]
fn what_has_not_drifted_stays() {
    let row = "disruption/F10";
    let settling = |name: &str| node(name).without("Consolidatable");
    let kept = |node: TestNode| check(row, &alone(node), &[]);
    kept(settling("n"));
    kept(settling("n").with_false("Drifted"));
    let annotated = settling("n").with("Drifted");
    kept(annotated.annotation("karpenter.sh/do-not-disrupt", "true"));
    let round = Round::of(&alone(settling("n").with_false("Drifted")), &options(&[]));
    let verdict = round.verdict(Method::Drift, "n");
    assert_eq!(verdict, Some(&Verdict::NotDrifted), "{row}");
}
