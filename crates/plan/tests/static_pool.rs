//! Rows of static pools: how many claims are made, and which go.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use karpenter_plan::{
    lower::Problem,
    snapshot::Snapshot,
    static_pool::{Lack, Standing, static_claim, victims},
};
use serde_json::json;

use crate::world::{NOW, Objects, TestNode, TestPod, TestPool, node, pod, pool};

fn snapshot(pool: TestPool, nodes: Vec<TestNode>, pods: Vec<TestPod>) -> Snapshot {
    let mut objects = Objects::new(vec![pool]);
    objects.nodes = nodes;
    objects.pods = pods;
    objects.snapshot(NOW)
}

fn standing(snapshot: &Snapshot) -> Option<Standing> {
    Standing::of(snapshot, snapshot.pool_named("default").unwrap())
}

fn named(prefix: &str, count: usize) -> impl Iterator<Item = TestNode> {
    (0..count).map(move |index| node(&format!("{prefix}-{index}")))
}

/// A pool of so many replicas lacks this, with `reserved` claims granted already.
#[track_caller]
fn check_lack(row: &str, pool: TestPool, nodes: Vec<TestNode>, reserved: i64, expected: Lack) {
    let snapshot = snapshot(pool, nodes, Vec::new());
    let lack = standing(&snapshot).map(|standing| standing.claims_to_create(reserved));
    assert_eq!(lack, Some(expected), "{row}");
}

fn limited(replicas: i64, nodes: &str) -> TestPool {
    pool("default")
        .replicas(replicas)
        .field("limits", json!({"nodes": nodes}))
}

#[test]
fn what_is_missing_is_created_below_the_limit() {
    let of = |replicas| pool("default").replicas(replicas);
    let active = |count| named("node", count).collect::<Vec<_>>();
    check_lack("lifecycle/P10", of(5), vec![], 0, Lack::Claims(5));
    check_lack("lifecycle/P11", of(5), active(3), 0, Lack::Claims(2));
    check_lack("scheduling/S1", of(3), active(1), 0, Lack::Claims(2));
    check_lack("scheduling/S1", of(3), active(3), 0, Lack::None);
    check_lack("scheduling/S1", of(3), active(4), 0, Lack::None);
    check_lack(
        "scheduling/S2",
        limited(5, "3"),
        active(3),
        0,
        Lack::LimitReached,
    );
    check_lack(
        "lifecycle/P12",
        limited(5, "3"),
        active(1),
        0,
        Lack::Claims(2),
    );
    check_lack(
        "lifecycle/P12",
        limited(5, "3500m"),
        active(1),
        0,
        Lack::Claims(2),
    );
    check_lack(
        "lifecycle/P12",
        limited(5, "3"),
        active(1),
        2,
        Lack::LimitReached,
    );
    check_lack(
        "lifecycle/P12",
        limited(5, "3"),
        active(1),
        1,
        Lack::Claims(1),
    );
    check_lack("lifecycle/P12", of(5), active(1), 4, Lack::None);

    // What a command has taken is replaced by that command, and still takes a place below the limit.
    let pending = || node("pending").with("DisruptionReason");
    let with_pending: Vec<_> = named("node", 2).chain([pending()]).collect();
    check_lack("scheduling/S4", of(3), with_pending.clone(), 0, Lack::None);
    check_lack(
        "scheduling/S4",
        limited(4, "3"),
        with_pending,
        0,
        Lack::LimitReached,
    );
    // What goes is replaced at once, as far as the limit has room for both.
    let with_deleting = || {
        named("node", 2)
            .chain([node("going").deleting()])
            .collect::<Vec<_>>()
    };
    check_lack("lifecycle/P18", of(3), with_deleting(), 0, Lack::Claims(1));
    check_lack(
        "lifecycle/P18",
        limited(3, "3"),
        with_deleting(),
        0,
        Lack::LimitReached,
    );
    let marked: Vec<_> = named("node", 2).chain([node("going").marked()]).collect();
    check_lack("lifecycle/P18", of(3), marked, 0, Lack::Claims(1));
    // Others' nodes and nodes without a claim are not the pool's.
    let others = vec![node("theirs").pool("other"), node("bare").unmanaged()];
    check_lack("lifecycle/P11", of(1), others, 0, Lack::Claims(1));
}

#[test]
fn two_who_ask_share_no_place() {
    let active: Vec<_> = named("node", 8).collect();
    let snapshot = snapshot(limited(20, "10"), active, Vec::new());
    let standing = standing(&snapshot).unwrap();
    assert_eq!(standing.granted(0, 5), 2, "lifecycle/P19");
    assert_eq!(standing.granted(2, 5), 0, "lifecycle/P19");
    assert_eq!(standing.granted(0, 1), 1, "lifecycle/P19");
    assert_eq!(standing.granted(0, 0), 0);
}

#[test]
fn only_a_static_pool_of_ours_has_a_standing() {
    let class = json!({"group": "example.com", "kind": "Other", "name": "default"});
    let foreign = pool("default").replicas(3).template("nodeClassRef", class);
    assert_eq!(
        standing(&snapshot(foreign, vec![], vec![])),
        None,
        "lifecycle/P13"
    );
    let dynamic = pool("default");
    assert_eq!(
        standing(&snapshot(dynamic, vec![], vec![])),
        None,
        "lifecycle/P13"
    );
}

#[test]
fn a_pool_that_goes_has_no_standing() {
    let mut snapshot = snapshot(
        pool("default").replicas(3),
        named("node", 5).collect(),
        vec![],
    );
    let id = snapshot.pool_named("default").unwrap();
    let mut going = (*snapshot.pools[id]).clone();
    going.deleting = true;
    snapshot.pools[id] = Arc::new(going);
    assert_eq!(standing(&snapshot), None, "lifecycle/P13");
    assert!(victims(&snapshot, id).is_empty(), "lifecycle/P13");
}

#[test]
fn a_claim_that_cannot_be_read_is_not_replaced() {
    let mut snapshot = snapshot(pool("default").replicas(2), vec![node("a")], vec![]);
    for (name, pool) in [
        ("broken", Some("default")),
        ("elsewhere", Some("other")),
        ("lost", None),
    ] {
        snapshot.set_aside.push(Problem {
            kind: "NodeClaim",
            namespace: None,
            name: name.into(),
            pool: pool.map(Into::into),
            message: "spec.taints: not a list".to_owned(),
        });
    }
    let standing = standing(&snapshot).unwrap();
    assert_eq!(standing.active, 2);
    assert_eq!(standing.claims_to_create(0), Lack::None);
}

/// The names of those that go, in order, when the pool is to have so many.
#[track_caller]
fn check_victims(
    row: &str,
    replicas: i64,
    nodes: &[TestNode],
    pods: &[TestPod],
    expected: &[&str],
) {
    let snapshot = snapshot(
        pool("default").replicas(replicas),
        nodes.to_vec(),
        pods.to_vec(),
    );
    let found: Vec<String> = victims(&snapshot, snapshot.pool_named("default").unwrap())
        .into_iter()
        .map(|id| snapshot.nodes[id].name.to_string())
        .collect();
    assert_eq!(found, expected, "{row} at {replicas}");
}

#[test]
fn unlaunched_claims_go_first_and_then_empty_nodes() {
    let nodes = [node("busy"), node("empty"), node("new").unlaunched()];
    let pods = [pod("web").on("busy")];
    check_victims("scheduling/S3", 3, &nodes, &pods, &[]);
    check_victims("scheduling/S3", 1, &nodes, &pods, &["new-claim", "empty"]);
    check_victims("lifecycle/P15", 2, &nodes, &pods, &["new-claim"]);
    check_victims(
        "lifecycle/P17",
        0,
        &nodes,
        &pods,
        &["new-claim", "empty", "busy"],
    );
    // A launched claim without a node has no pods as far as anybody knows.
    let nodes = [
        node("busy"),
        node("late").claim_only(),
        node("new").unlaunched(),
    ];
    check_victims(
        "lifecycle/P15",
        1,
        &nodes,
        &pods,
        &["new-claim", "late-claim"],
    );
}

#[test]
fn what_goes_already_is_no_excess_and_no_victim() {
    let nodes = [
        node("a"),
        node("b"),
        node("deleting").deleting(),
        node("marked").marked(),
        node("taken").with("DisruptionReason"),
    ];
    check_victims("lifecycle/P18", 2, &nodes, &[], &[]);
    check_victims("lifecycle/P18", 1, &nodes, &[], &["a"]);
}

#[test]
fn nodes_go_in_the_order_of_what_their_pods_would_mind() {
    let pairs = ["a-kept", "b-two", "c-one", "d-daemon"];
    let nodes: Vec<TestNode> = pairs.iter().flat_map(|prefix| named(prefix, 2)).collect();
    let on = |prefix: &str, index: usize| format!("{prefix}-{index}");
    let pods: Vec<TestPod> = (0..2)
        .flat_map(|index| {
            let name = |text: &str| pod(&format!("{text}-{index}"));
            [
                name("kept")
                    .on(&on("a-kept", index))
                    .annotation("karpenter.sh/do-not-disrupt", "true"),
                name("first").on(&on("b-two", index)),
                name("second").on(&on("b-two", index)),
                name("only").on(&on("c-one", index)),
                name("log").owner("DaemonSet").on(&on("d-daemon", index)),
            ]
        })
        .collect();
    let order = [
        "d-daemon-0",
        "d-daemon-1",
        "c-one-0",
        "c-one-1",
        "b-two-0",
        "b-two-1",
        "a-kept-0",
        "a-kept-1",
    ];
    for (replicas, gone) in [(6, 2), (4, 4), (2, 6), (0, 8)] {
        check_victims("lifecycle/P16", replicas, &nodes, &pods, &order[..gone]);
    }
}

#[test]
fn a_daemon_that_must_stay_keeps_its_node_from_being_empty() {
    let nodes = [node("a"), node("b"), node("c")];
    let pods = [
        pod("log")
            .owner("DaemonSet")
            .on("a")
            .annotation("karpenter.sh/do-not-disrupt", "true"),
        pod("web").on("b"),
        pod("done")
            .on("c")
            .phase("Succeeded")
            .annotation("karpenter.sh/do-not-disrupt", "true"),
    ];
    check_victims("scheduling/S3", 0, &nodes, &pods, &["c", "b", "a"]);
}

#[test]
fn a_node_that_expires_soon_is_missed_the_least() {
    let nodes = [
        node("a").expire_after("Never"),
        node("b").expire_after("720h"),
        node("c").expire_after("1h"),
    ];
    let pods = [
        pod("a").on("a").deletion_cost("-100000000"),
        pod("b").on("b"),
        pod("c").on("c").deletion_cost("100000"),
    ];
    check_victims("lifecycle/P15", 0, &nodes, &pods, &["c", "a", "b"]);
}

#[test]
fn a_static_claim_is_the_template_as_it_is() {
    let requirements = json!([
        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
        {"key": "example.com/rack", "operator": "In", "values": ["r1", "r2"]},
    ]);
    let template = pool("default")
        .replicas(1)
        .template("requirements", requirements)
        .template("taints", json!([{"key": "only", "effect": "NoSchedule"}]))
        .template(
            "startupTaints",
            json!([{"key": "soon", "effect": "NoExecute"}]),
        )
        .template("terminationGracePeriod", json!("5m"))
        .template_label("team", "a");
    let snapshot = snapshot(template, vec![], vec![]);
    let id = snapshot.pool_named("default").unwrap();
    let claim = serde_json::to_value(static_claim(&snapshot, id, 7)).unwrap();
    let metadata = &claim["metadata"];
    assert_eq!(metadata["generateName"], "default-");
    assert_eq!(metadata["ownerReferences"][0]["uid"], "uid-default");
    assert_eq!(metadata["labels"]["team"], "a");
    assert_eq!(metadata["labels"]["karpenter.sh/nodepool"], "default");
    assert_eq!(
        metadata["labels"]["karpenter.kwok.sh/kwoknodeclass"],
        "default"
    );
    let rack = metadata["labels"]["example.com/rack"].as_str().unwrap();
    assert!(["r1", "r2"].contains(&rack), "{rack}");
    assert_eq!(
        metadata["annotations"]["karpenter.sh/nodepool-hash-version"],
        "v3"
    );
    let annotations = metadata["annotations"].as_object().unwrap();
    assert!(!annotations.contains_key("karpenter.sh/nodeclaim-min-values-relaxed"));
    let spec = &claim["spec"];
    assert!(spec.get("resources").is_none(), "scheduling/S1: {spec}");
    let mut keys: Vec<&str> = spec["requirements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["key"].as_str().unwrap())
        .collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "example.com/rack",
            "karpenter.kwok.sh/kwoknodeclass",
            "karpenter.sh/nodepool",
            "kubernetes.io/arch",
            "team",
        ]
    );
    assert_eq!(spec["taints"][0]["key"], "only");
    assert_eq!(spec["startupTaints"][0]["key"], "soon");
    assert_eq!(spec["expireAfter"], "720h");
    assert_eq!(spec["terminationGracePeriod"], "5m0s");
    let again = serde_json::to_value(static_claim(&snapshot, id, 7)).unwrap();
    assert_eq!(claim, again);
}
