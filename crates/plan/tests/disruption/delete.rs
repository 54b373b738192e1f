//! Section 19.6: a node whose pods have room elsewhere.

use karpenter_plan::{
    disrupt::{DisruptOptions, Method},
    schedule::Options,
};
use serde_json::{Value, json};

use super::{Round, check, check_kept, check_with, numbered, options};
use crate::world::{NOW, Objects, TestNode, TestPod, TestPool, node, pod, pool};

/// Node `n` with pod `p` and this node beside it. No cheaper node can be had.
fn beside(other: TestNode) -> Objects {
    let mut objects = Objects::new(vec![pool("default").on_demand()]);
    objects.nodes = vec![node("n"), other];
    objects.pods = vec![pod("p").on("n")];
    objects
}

/// A node that nobody may remove, with room.
fn destination() -> TestNode {
    node("other").annotation("karpenter.sh/do-not-disrupt", "true")
}

const DELETED: &[&str] = &["SingleNode delete n"];
const KEPT: &[&str] = &["SingleNode n: Can't replace with a cheaper node"];

#[test]
fn the_node_with_fewer_pods_goes() {
    let check_ages = |full: &str, other: &str| {
        let mut objects = Objects::new(vec![pool("default").on_demand()]);
        objects.nodes = vec![node("full").created(full), node("other").created(other)];
        objects.pods = vec![
            pod("p").on("full"),
            pod("q").on("full"),
            pod("r").on("other"),
        ];
        check("disruption/D1", &objects, &["SingleNode delete other"]);
    };
    let (old, young) = ("2024-04-10T00:00:00Z", "2024-05-01T00:00:00Z");
    check_ages(old, young);
    check_ages(young, old);
    check_ages(old, old);
}

#[test]
fn any_room_will_do() {
    check("disruption/D2", &beside(node("other").unmanaged()), DELETED);
    let mut ownerless = beside(destination());
    ownerless.pods[0].0["metadata"]["ownerReferences"] = json!([]);
    check("disruption/D3", &ownerless, DELETED);
    let mut never = beside(destination().pool("never"));
    let pool_never = pool("never").disruption("consolidateAfter", json!("Never"));
    never.pools.push(pool_never);
    check("disruption/D6", &never, DELETED);
    // And no room does not.
    let mut full = beside(destination());
    full.pods.push(pod("q").on("other").request("cpu", "3900m"));
    check_kept("", &full, &options(&[]), KEPT);
}

#[test]
fn a_node_that_was_never_ready_is_no_room() {
    check_kept(
        "disruption/D4",
        &beside(node("young").uninitialized()),
        &options(&[]),
        &[
            "SingleNode n: Not all pods would schedule, default/p => would schedule against uninitialized nodeclaim/young-claim, node/young ",
        ],
    );
    let mut objects = beside(destination());
    let young = numbered("a-young", 98, TestNode::uninitialized);
    objects.nodes.extend(young);
    let round = Round::of(&objects, &options(&[]));
    assert_eq!(round.told(), DELETED, "disruption/D7");
    let destinations = &round.commands[0].destinations;
    assert_eq!(destinations[..], ["other".into()], "disruption/D7");
}

#[test]
fn a_node_that_is_not_quiet_is_no_room() {
    let slow = || {
        pool("default")
            .on_demand()
            .disruption("consolidateAfter", json!("1h"))
    };
    let mut objects = beside(destination().last_pod_event("2024-05-01T11:30:00Z"));
    objects.pools = vec![slow()];
    check_kept("disruption/D5", &objects, &options(&[]), KEPT);
    // The hour has passed at half past.
    let later = objects.snapshot("2024-05-01T12:30:00Z");
    let round = Round::at(later, &options(&[]));
    assert_eq!(round.told(), DELETED, "disruption/D5");
    // Without a pod event the time it became ready counts.
    let fresh = destination().since("Initialized", "2024-05-01T11:30:00Z");
    let mut objects = beside(fresh);
    objects.pools = vec![slow()];
    check_kept("disruption/D5", &objects, &options(&[]), KEPT);
}

#[test]
fn what_has_no_place_anyway_is_no_obstacle() {
    let mut objects = beside(destination());
    objects.pods.push(pod("hopeless").request("cpu", "1000"));
    check("disruption/D8", &objects, DELETED);
    let mut objects = beside(destination());
    objects.pools.push(pool("broken").broken());
    check("disruption/D10", &objects, DELETED);
}

/// The only place for pod `p` is where it is.
#[track_caller]
fn check_stuck(row: &str, objects: &Objects) {
    let round = Round::of(objects, &options(&[]));
    assert_eq!(round.told(), [""; 0], "{row}");
    let verdict = round.verdict(Method::SingleNode, "n").unwrap();
    assert_eq!(verdict.word(), "pods-have-no-other-place", "{row}");
}

#[test]
fn a_pod_may_have_no_other_place() {
    let mut selective = beside(destination());
    selective.nodes[0] = node("n").label("example.com/disk", "fast");
    selective.pods = vec![pod("p").on("n").selector("example.com/disk", "fast")];
    check_stuck("disruption/D9", &selective);
    selective.nodes[1] = destination().label("example.com/disk", "fast");
    check("disruption/D9", &selective, DELETED);
}

fn anti_affine(name: &str, rule: &str, term: &dyn Fn(Value) -> Value) -> TestPod {
    let like = json!({
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "web"}},
    });
    let affinity = json!({"podAntiAffinity": {rule: [term(like)]}});
    pod(name).label("app", "web").spec("affinity", affinity)
}

#[test]
fn pods_may_not_want_to_meet() {
    let with = |pod: TestPod| {
        let mut objects = beside(destination());
        let other = crate::world::pod("q").label("app", "web").on("other");
        objects.pods = vec![pod.on("n"), other];
        objects
    };
    let required = anti_affine(
        "p",
        "requiredDuringSchedulingIgnoredDuringExecution",
        &|term| term,
    );
    check_kept("disruption/D11", &with(required), &options(&[]), KEPT);

    let preferred = anti_affine(
        "p",
        "preferredDuringSchedulingIgnoredDuringExecution",
        &|term| json!({"weight": 1, "podAffinityTerm": term}),
    );
    let ignoring = DisruptOptions {
        scheduling: Options {
            ignore_preferences: true,
            ..Options::default()
        },
        ..options(&[])
    };
    let objects = with(preferred);
    check_with("disruption/D12", &objects, &ignoring, DELETED);
    check_kept("disruption/D12", &objects, &options(&[]), KEPT);
}

#[test]
fn a_node_is_not_replaced_by_its_like() {
    let mut objects = beside(node("other"));
    objects.pods.push(pod("q").on("other"));
    check("disruption/D13", &objects, DELETED);
}

#[test]
fn what_was_launched_for_others_stays() {
    let check_new = |new: TestNode, why: &str| {
        let mut objects = Objects::new(vec![TestPool::on_demand(pool("default"))]);
        objects.nodes = vec![node("old").marked(), new];
        objects.pods = vec![pod("p").on("old")];
        let round = Round::of(&objects, &options(&[]));
        assert_eq!(round.told(), [""; 0], "disruption/D14");
        let id = round.snapshot.node_named("new").unwrap();
        let mut blocked = round.report.blocked.iter();
        let (_, reason) = blocked.find(|(blocked, _)| *blocked == id).unwrap();
        assert_eq!(reason.message(&round.snapshot), why, "disruption/D14");
    };
    check_new(node("new").uninitialized(), "node isn't initialized");
    check_new(
        node("new").nominated_until("2024-05-01T12:00:20Z"),
        "node is nominated for a pending pod",
    );
    let snapshot = beside(node("new")).snapshot(NOW);
    let round = Round::at(snapshot, &options(&[]));
    assert_eq!(round.told(), ["Emptiness delete new"], "disruption/D14");
}
