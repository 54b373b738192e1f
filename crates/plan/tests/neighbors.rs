//! What a real kube-scheduler refused of plans that Karpenter would make.

use karpenter_plan::{NodeId, Violation, check};
use serde_json::{Value, json};

use crate::{
    fixtures::{Manifest, Outcome, Stage, long, node, pod, pool, row, world},
    topology::counted,
};

fn pod_named(outcome: &Outcome, name: &str) -> karpenter_plan::PodId {
    let mut pods = outcome.snapshot.pods.iter();
    pods.find(|(_, pod)| *pod.name == *name).unwrap().0
}

fn verdicts(outcome: &Outcome) -> Vec<Violation> {
    check(&outcome.snapshot, &outcome.plan, &outcome.report)
        .err()
        .unwrap_or_default()
}

fn near(pod: Manifest, labels: &Value) -> Manifest {
    let list = "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution";
    pod.push(
        list,
        json!({"topologyKey": long("zone"), "labelSelector": {"matchLabels": labels}}),
    )
}

/// To the kube-scheduler a pod with several terms is near nobody but pods that all of them select.
#[test]
fn several_terms_ask_for_one_pod() {
    let (db, cache) = (json!({"db": "yes"}), json!({"cache": "yes"}));
    let follower = || near(near(pod("follower"), &db), &cache);
    let apart = world()
        .node(node("n").label("zone", "z2"))
        .pod(pod("database").label("db", "yes").on("n"))
        .pod(pod("cache").label("cache", "yes").on("n"))
        .pod(follower());
    let mut outcome = row(
        "two pods",
        apart,
        &["follower: unplaced, unsatisfiable topology constraint for pod affinity"],
    );
    let id = pod_named(&outcome, "follower");
    outcome.report.unplaced.clear();
    outcome.plan.bindings.push((id, NodeId(0)));
    let found = verdicts(&outcome);
    let is_far =
        |violation: &Violation| matches!(violation, Violation::NotNear(pod, _) if *pod == id);
    assert!(found.iter().any(is_far), "{found:?}");
    let together = world()
        .node(node("n").label("zone", "z2"))
        .pod(pod("both").label("db", "yes").label("cache", "yes").on("n"))
        .pod(follower());
    row("one pod", together, &["follower: node n"]);
    // It may begin where all terms select itself and nobody else.
    let alone = world().pod(follower().label("db", "yes").label("cache", "yes"));
    row("alone", alone, &["follower: new 0"]);
    let half = world().pod(follower().label("db", "yes"));
    row("half", half, &["follower: unplaced"]);
}

/// A pod that is affine to its own kind may not begin in one domain while another of its kind is about to
/// be in one that nobody knows yet.
#[test]
fn nobody_begins_beside_one_whose_zone_is_open() {
    let own = json!({"app": "test"});
    let world = world()
        .pool(
            pool("tainted")
                .weight(5)
                .template_taint("special", "yes", "NoSchedule"),
        )
        .node(node("n").label("zone", "z1").has("cpu", "1"))
        .pod(
            counted("early")
                .cpu("2")
                .tolerates(json!({"operator": "Exists"})),
        )
        .pod(near(counted("late"), &own));
    let outcome = row(
        "affine to its own kind",
        world.clone(),
        &[
            "early: new 0",
            "late: unplaced",
            "unsatisfiable topology constraint for pod affinity",
        ],
    );
    assert_eq!(outcome.plan.claims.len(), 1);
    // Not either when the claim is there and has not been launched; then it follows.
    let created = world.clone().then(Stage::Created);
    row(
        "a claim that is not launched",
        created,
        &["late: unplaced", "claims 0"],
    );
    let launched = world.then(Stage::Initialized);
    row("a node", launched, &["!unplaced"]);
}
