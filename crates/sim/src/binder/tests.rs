//! The rules of the binder, one row each: nodes, the pods on them, a pod, and where it goes or why not.

#![expect(
    clippy::needless_pass_by_value,
    reason = "rows read better with literals by value"
)]

use std::sync::Arc;

use serde_json::{Value, json};

use super::Shapes;
use super::board::Board;
use crate::objects::{Key, Node, NodeWire, Pod, PodWire};

/// A ready node of four processors, eight gibibytes and ten pods in zone `zone`; `over` is merged on top.
fn node(name: &str, zone: &str, over: Value) -> Node {
    let mut object = json!({
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}},
        "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": "True"}]},
    });
    json_patch::merge(&mut object, &over);
    serde_json::from_value::<NodeWire>(object).unwrap().into()
}

/// A pod labelled `app: <app>` that asks for one processor; `over` is merged on top.
fn pod(name: &str, app: &str, over: Value) -> Pod {
    let mut object = json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
    });
    json_patch::merge(&mut object, &over);
    serde_json::from_value::<PodWire>(object).unwrap().into()
}

fn check(
    row: &str,
    nodes: &[Node],
    placed: &[(&str, Pod)],
    pod: &Pod,
    expected: Result<&str, &str>,
) {
    let mut board = Board::default();
    let mut shapes = Shapes::default();
    board.set_namespace(
        "other",
        Some(&[("team".to_owned(), "red".to_owned())].into()),
    );
    for node in nodes {
        board.set_node(Arc::new(node.clone()));
    }
    for (on, placed) in placed {
        board.seat(
            &placed.meta.key,
            &shapes.of(placed),
            on,
            placed.meta.deleting.is_none(),
        );
    }
    let answer = board
        .place(&shapes.of(pod))
        .map_err(|refusal| refusal.message());
    assert_eq!(answer.as_deref().map_err(String::as_str), expected, "{row}");
}

#[test]
fn a_node_by_itself() {
    let plain = || pod("p", "web", json!({}));
    let asks = |requests: Value| {
        pod(
            "p",
            "web",
            json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}}),
        )
    };
    let two = || [node("n1", "a", json!({})), node("n2", "b", json!({}))];
    let tainted =
        json!({"spec": {"taints": [{"key": "team", "value": "red", "effect": "NoSchedule"}]}});

    check(
        "no nodes",
        &[],
        &[],
        &plain(),
        Err("no nodes available to schedule pods"),
    );
    check(
        "equal nodes: the first by name",
        &two(),
        &[],
        &plain(),
        Ok("n1"),
    );
    check(
        "the emptier node",
        &two(),
        &[("n1", pod("q", "db", json!({})))],
        &plain(),
        Ok("n2"),
    );
    check(
        "too large",
        &two(),
        &[],
        &asks(json!({"cpu": "5", "memory": "9Gi"})),
        Err("0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory."),
    );
    check(
        "just fits",
        &two()[..1],
        &[],
        &asks(json!({"cpu": "4", "memory": "8Gi"})),
        Ok("n1"),
    );
    check(
        "what others took is gone",
        &two()[..1],
        &[("n1", pod("q", "db", json!({})))],
        &asks(json!({"cpu": "3001m"})),
        Err("0/1 nodes are available: 1 Insufficient cpu."),
    );
    check(
        "a resource that no node has",
        &two(),
        &[],
        &asks(json!({"nvidia.com/gpu": 1})),
        Err("0/2 nodes are available: 2 Insufficient nvidia.com/gpu."),
    );
    check(
        "room for pods",
        &[node(
            "n1",
            "a",
            json!({"status": {"allocatable": {"pods": "1"}}}),
        )],
        &[("n1", pod("q", "db", json!({})))],
        &asks(json!({"cpu": "0"})),
        Err("0/1 nodes are available: 1 Too many pods."),
    );
    check(
        "cordoned",
        &[node("n1", "a", json!({"spec": {"unschedulable": true}}))],
        &[],
        &plain(),
        Err("0/1 nodes are available: 1 node(s) were unschedulable."),
    );
    check(
        "cordoned and tolerated",
        &[node("n1", "a", json!({"spec": {"unschedulable": true}}))],
        &[],
        &pod(
            "p",
            "web",
            json!({"spec": {"tolerations": [{"operator": "Exists"}]}}),
        ),
        Ok("n1"),
    );
    check(
        "taints, and reasons counted together",
        &[
            node("n1", "a", tainted.clone()),
            node(
                "n2",
                "a",
                json!({"status": {"allocatable": {"cpu": "500m"}}}),
            ),
        ],
        &[],
        &plain(),
        Err(
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {team: red}.",
        ),
    );
    check(
        "a taint tolerated",
        &[node("n1", "a", tainted)],
        &[],
        &pod(
            "p",
            "web",
            json!({"spec": {"tolerations": [{"key": "team", "value": "red"}]}}),
        ),
        Ok("n1"),
    );
    check(
        "a node that is not ready",
        &[node("n1", "a", json!({"status": {"conditions": []}}))],
        &[],
        &plain(),
        Err(
            "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.",
        ),
    );
    check(
        "a taint that only prefers",
        &[
            node(
                "n1",
                "a",
                json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}}),
            ),
            node("n2", "a", json!({})),
        ],
        &[("n2", pod("q", "db", json!({})))],
        &plain(),
        Ok("n2"),
    );
    check(
        "a node selector",
        &two(),
        &[],
        &pod(
            "p",
            "web",
            json!({"spec": {"nodeSelector": {"topology.kubernetes.io/zone": "b"}}}),
        ),
        Ok("n2"),
    );
    check(
        "a node selector that nothing matches",
        &two(),
        &[],
        &pod(
            "p",
            "web",
            json!({"spec": {"nodeSelector": {"topology.kubernetes.io/zone": "c"}}}),
        ),
        Err("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."),
    );
    let pinned = |name: &str| {
        pod(
            "p",
            "web",
            json!({"spec": {"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": [name]}]}]}}}}}),
        )
    };
    check("pinned to a node", &two(), &[], &pinned("n2"), Ok("n2"));
    check(
        "pinned to a node that is gone",
        &two(),
        &[],
        &pinned("n3"),
        Err("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."),
    );
    check(
        "preferred node affinity",
        &two(),
        &[],
        &pod(
            "p",
            "web",
            json!({"spec": {"affinity": {"nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {"matchExpressions": [
                {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["b"]}]}}]}}}}),
        ),
        Ok("n2"),
    );
    let port = || json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}});
    check(
        "a host port that is taken",
        &two()[..1],
        &[("n1", pod("q", "db", port()))],
        &pod("p", "web", port()),
        Err(
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
        ),
    );
    check(
        "a host port that is free",
        &two(),
        &[("n1", pod("q", "db", port()))],
        &pod("p", "web", port()),
        Ok("n2"),
    );
}

#[test]
fn spread_over_domains() {
    let three = || {
        [
            node("n1", "a", json!({})),
            node("n2", "b", json!({})),
            node("n3", "b", json!({})),
        ]
    };
    let spread = |over: Value| {
        let mut constraint = json!({
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}});
        json_patch::merge(&mut constraint, &over);
        pod(
            "p",
            "web",
            json!({"spec": {"topologySpreadConstraints": [constraint]}}),
        )
    };
    let web = |name: &str| pod(name, "web", json!({}));
    let full = "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints.";

    check(
        "the emptier zone",
        &three(),
        &[("n1", web("q"))],
        &spread(json!({})),
        Ok("n2"),
    );
    check(
        "other pods do not count",
        &three(),
        &[
            ("n2", pod("q", "db", json!({}))),
            ("n3", pod("r", "db", json!({}))),
        ],
        &spread(json!({})),
        Ok("n1"),
    );
    check(
        "pods that are going do not count",
        &three(),
        &[
            (
                "n1",
                pod(
                    "q",
                    "web",
                    json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                ),
            ),
            ("n2", pod("r", "db", json!({}))),
            (
                "n3",
                pod(
                    "s",
                    "db",
                    json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "3"}}}]}}),
                ),
            ),
        ],
        &spread(json!({})),
        Ok("n1"),
    );
    check(
        "another namespace does not count",
        &three(),
        &[(
            "n1",
            pod(
                "q",
                "web",
                json!({"metadata": {"namespace": "other"}, "spec": {"containers": []}}),
            ),
        )],
        &spread(json!({})),
        Ok("n1"),
    );
    check(
        "a wider skew",
        &three()[..2],
        &[
            ("n1", web("q")),
            (
                "n2",
                pod(
                    "r",
                    "db",
                    json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "4"}}}]}}),
                ),
            ),
        ],
        &spread(json!({"maxSkew": 2})),
        Ok("n1"),
    );
    check(
        "too few domains count as an empty one",
        &three()[..1],
        &[("n1", web("q"))],
        &spread(json!({"minDomains": 2})),
        Err(full),
    );
    check(
        "enough domains",
        &three()[..1],
        &[("n1", web("q"))],
        &spread(json!({"minDomains": 1})),
        Ok("n1"),
    );
    check(
        "a node without the key",
        &[node(
            "n1",
            "a",
            json!({"metadata": {"labels": {"topology.kubernetes.io/zone": null}}}),
        )],
        &[],
        &spread(json!({})),
        Err(
            "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label).",
        ),
    );
    check(
        "only wished for",
        &three()[..1],
        &[("n1", web("q"))],
        &spread(json!({"minDomains": 2, "whenUnsatisfiable": "ScheduleAnyway"})),
        Ok("n1"),
    );
    let zone_a = json!({"spec": {"nodeSelector": {"topology.kubernetes.io/zone": "a"}}});
    let with_selector = |over: Value| {
        let mut constraint = json!({
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}});
        json_patch::merge(&mut constraint, &over);
        let mut spec = zone_a.clone();
        spec["spec"]["topologySpreadConstraints"] = json!([constraint]);
        pod("p", "web", spec)
    };
    check(
        "domains that the pod cannot use are none",
        &three(),
        &[("n1", web("q"))],
        &with_selector(json!({})),
        Ok("n1"),
    );
    check(
        "unless node affinity is ignored",
        &three(),
        &[("n1", web("q"))],
        &with_selector(json!({"nodeAffinityPolicy": "Ignore"})),
        Err(
            "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, 2 node(s) didn't match Pod's node affinity/selector.",
        ),
    );
    let tainted = || {
        [
            node("n1", "a", json!({})),
            node(
                "n2",
                "b",
                json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
            ),
        ]
    };
    check(
        "tainted domains count",
        &tainted(),
        &[("n1", web("q"))],
        &spread(json!({})),
        Err(
            "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) had untolerated taint {k: }.",
        ),
    );
    check(
        "unless taints are honoured",
        &tainted(),
        &[("n1", web("q"))],
        &spread(json!({"nodeTaintsPolicy": "Honor"})),
        Ok("n1"),
    );
    check(
        "label keys narrow the selector",
        &three(),
        &[(
            "n1",
            pod(
                "q",
                "web",
                json!({"metadata": {"labels": {"hash": "old"}}, "spec": {"containers": []}}),
            ),
        )],
        &pod(
            "p",
            "web",
            json!({
            "metadata": {"labels": {"hash": "new"}},
            "spec": {"topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["hash"]}]}}),
        ),
        Ok("n1"),
    );
}

#[test]
fn attraction_and_repulsion() {
    let two = || [node("n1", "a", json!({})), node("n2", "b", json!({}))];
    let near = |kind: &str, term: Value| {
        let mut full = json!({
            "topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": {"app": "db"}}});
        json_patch::merge(&mut full, &term);
        json!({"spec": {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [full]}}}})
    };
    let db = |name: &str| pod(name, "db", json!({}));
    let foreign = || pod("q", "db", json!({"metadata": {"namespace": "other"}}));
    let unmet = "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.";

    check(
        "where the friend is",
        &two(),
        &[("n2", db("q"))],
        &pod("p", "web", near("podAffinity", json!({}))),
        Ok("n2"),
    );
    check(
        "no friend anywhere",
        &two(),
        &[],
        &pod("p", "web", near("podAffinity", json!({}))),
        Err(unmet),
    );
    check(
        "the first of its own group",
        &two(),
        &[],
        &pod("p", "db", near("podAffinity", json!({}))),
        Ok("n1"),
    );
    check(
        "a friend in another namespace is none",
        &two(),
        &[("n2", foreign())],
        &pod("p", "web", near("podAffinity", json!({}))),
        Err(unmet),
    );
    check(
        "unless the namespace is named",
        &two(),
        &[("n2", foreign())],
        &pod(
            "p",
            "web",
            near("podAffinity", json!({"namespaces": ["other"]})),
        ),
        Ok("n2"),
    );
    check(
        "or selected",
        &two(),
        &[("n2", foreign())],
        &pod(
            "p",
            "web",
            near(
                "podAffinity",
                json!({"namespaceSelector": {"matchLabels": {"team": "red"}}}),
            ),
        ),
        Ok("n2"),
    );
    check(
        "away from the enemy",
        &two(),
        &[
            ("n1", db("q")),
            ("n2", pod("r", "web", json!({}))),
            ("n2", pod("s", "web", json!({}))),
        ],
        &pod("p", "web", near("podAntiAffinity", json!({}))),
        Ok("n2"),
    );
    check(
        "enemies everywhere",
        &two(),
        &[("n1", db("q")), ("n2", db("r"))],
        &pod("p", "web", near("podAntiAffinity", json!({}))),
        Err("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."),
    );
    check(
        "kept away by a pod that is there",
        &two(),
        &[("n1", pod("q", "web", near("podAntiAffinity", json!({}))))],
        &pod("p", "db", json!({})),
        Ok("n2"),
    );
    check(
        "kept away everywhere",
        &two()[..1],
        &[("n1", pod("q", "web", near("podAntiAffinity", json!({}))))],
        &pod("p", "db", json!({})),
        Err("0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."),
    );
    check(
        "a selector that is missing means nobody",
        &two(),
        &[("n1", db("q"))],
        &pod(
            "p",
            "web",
            near("podAntiAffinity", json!({"labelSelector": null})),
        ),
        Ok("n2"),
    );
}

#[test]
fn what_leaves_the_board_gives_back_what_it_took() {
    let mut board = Board::default();
    let mut shapes = Shapes::default();
    board.set_node(Arc::new(node("n1", "a", json!({}))));
    let whole = pod(
        "q",
        "web",
        json!({"spec": {"containers": [
        {"name": "c", "resources": {"requests": {"cpu": "4"}}, "ports": [{"hostPort": 80}]}]}}),
    );
    let shape = shapes.of(&whole);
    let key = Key::new("default", "q");
    assert!(board.seat(&key, &shape, "n1", true));
    assert!(
        !board.seat(&key, &shape, "n1", true),
        "seated twice is seated once"
    );
    assert!(board.place(&shape).is_err());
    board.remove_node("n1");
    board.set_node(Arc::new(node("n1", "a", json!({}))));
    assert!(
        board.place(&shape).is_err(),
        "a node that comes back still has its pods"
    );
    assert!(board.unseat(&key));
    assert!(!board.unseat(&key));
    assert_eq!(board.place(&shape).as_deref(), Ok("n1"));
    assert_eq!(board.spots().count(), 0);
}
