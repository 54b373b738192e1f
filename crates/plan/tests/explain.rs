//! Explanations: each constraint's own verdict, and changes that really help.
#![allow(clippy::unwrap_used)]

use karpenter_plan::{PodExplanation, explain_pod};
use serde_json::{Value, json};

use crate::world::{NOW, Objects, TestPod, instance_type, node, pod, pool};

fn with(pod: TestPod) -> Objects {
    let mut objects = Objects::new(vec![pool("default")]);
    objects.pods.push(pod);
    objects
}

/// Explains pod `p`.
fn explain(objects: &Objects) -> PodExplanation {
    let snapshot = objects.snapshot(NOW);
    explain_pod(&snapshot, snapshot.pod_named("default", "p").unwrap())
}

fn help(objects: &Objects) -> Vec<(String, String)> {
    explain(objects)
        .would_help
        .into_iter()
        .map(|help| (help.change, help.result))
        .collect()
}

#[test]
fn the_contract_is_kept() {
    let mut objects = with(
        pod("p")
            .request("memory", "3000Gi")
            .selector("topology.kubernetes.io/zone", "a"),
    );
    objects.nodes.push(node("n1"));
    let found = serde_json::to_value(explain(&objects)).unwrap();
    let message = found["message"].as_str().unwrap().to_string();
    assert!(
        message.contains("no instance type has enough resources"),
        "{message}"
    );
    let expected = json!({
        "apiVersion": "explain.karpenter.sh/v1",
        "kind": "Pod",
        "name": "default/p",
        "verdict": "unschedulable",
        "cause": "nodepool default: no instance type has enough memory (3000Gi asked, large has 65436Mi)",
        "message": message,
        "nodePools": [{
            "nodePool": "default",
            "constraints": [
                {
                    "constraint": "resources.memory", "asked": "3000Gi", "passing": 0, "of": 2,
                    "nearest": {"instanceType": "large", "has": "65436Mi"},
                },
                {"constraint": "resources.cpu", "asked": "100m", "passing": 2, "of": 2},
                {"constraint": "resources.pods", "asked": "1", "passing": 2, "of": 2},
                {
                    "constraint": "requirement topology.kubernetes.io/zone", "asked": "In [a]",
                    "passing": 2, "of": 2,
                },
            ],
            "message": "no instance type has enough memory",
        }],
        "existingNodes": [{"node": "n1", "message": "memory: 16284Mi free, 3000Gi asked"}],
        "wouldHelp": [
            {"change": "requests.memory <= 16284Mi", "result": "fits node n1"},
            {"change": "requests.memory <= 65436Mi", "result": "fits large"},
        ],
        "relaxed": [],
    });
    assert_eq!(found, expected);
}

#[test]
fn lines_say_the_same() {
    let mut objects = with(pod("p").request("cpu", "20"));
    objects
        .nodes
        .push(node("n1").taint("gpu", "yes", "NoSchedule"));
    let lines = explain(&objects).lines();
    assert_eq!(lines[0], "pod default/p: unschedulable");
    assert_eq!(
        lines[1],
        "  because nodepool default: no instance type has enough cpu (20 asked, large has 15900m)"
    );
    assert_eq!(
        lines[3..],
        [
            "  nodepool default: no instance type has enough cpu",
            "    resources.cpu 20: 0 of 2 instance types, nearest large has 15900m",
            "    resources.memory 128Mi: 2 of 2 instance types",
            "    resources.pods 1: 2 of 2 instance types",
            "  node n1: taint gpu=yes:NoSchedule is not tolerated; cpu: 3900m free, 20 asked",
            "  would help: requests.cpu <= 15900m (fits large)",
        ]
    );
}

#[test]
fn a_pod_with_a_place_is_told_where() {
    let check = |objects: &Objects, verdict: &str, target: Option<&str>| {
        let found = explain(objects);
        assert_eq!(
            (found.verdict.as_str(), found.target.as_deref()),
            (verdict, target)
        );
        assert_eq!(found.would_help, []);
        found
    };
    let found = check(&with(pod("p")), "new-node", Some("default-1"));
    assert_eq!(
        found.node_pools[0].message,
        "fits 2 instance types, cheapest small at $0.0500/h"
    );
    let mut objects = with(pod("p"));
    objects.nodes.push(node("n1"));
    let found = check(&objects, "existing-node", Some("n1"));
    assert_eq!(found.existing_nodes[0].message, "fits");
    // Two claims before it, of which one is its pool's.
    let mut objects = with(pod("p").selector("karpenter.sh/nodepool", "other"));
    objects.pools.push(pool("other"));
    objects.pods.push(
        pod("a")
            .request("cpu", "15")
            .selector("karpenter.sh/nodepool", "default"),
    );
    objects.pods.push(
        pod("b")
            .request("cpu", "15")
            .selector("karpenter.sh/nodepool", "other"),
    );
    objects.pods[0] = objects.pods[0].clone().request("cpu", "14");
    check(&objects, "new-node", Some("other-2"));

    check(&with(pod("p").on("n1")), "skipped", Some("n1"));
    check(&with(pod("p").owner("DaemonSet")), "skipped", None);
    let found = check(
        &with(pod("p").selector("kubernetes.io/hostname", "n1")),
        "ignored",
        None,
    );
    assert!(found.message.unwrap().starts_with("ignoring pod, "));
}

#[test]
fn each_constraint_is_judged_by_itself() {
    let check = |objects: &Objects, constraint: &str, passing: usize, of: usize, message: &str| {
        let found = explain(objects);
        let pool = &found.node_pools[0];
        let verdict = pool
            .constraints
            .iter()
            .find(|found| found.constraint == constraint);
        let verdict = verdict.unwrap_or_else(|| panic!("no {constraint} in {pool:?}"));
        assert_eq!((verdict.passing, verdict.of), (passing, of), "{constraint}");
        assert_eq!(pool.message, message, "{constraint}");
    };
    let zone = "topology.kubernetes.io/zone";
    let nowhere = with(pod("p").selector(zone, "nowhere").request("cpu", "900"));
    let both = "no instance type has enough cpu; no instance type has topology.kubernetes.io/zone In [nowhere]";
    check(
        &nowhere,
        "requirement topology.kubernetes.io/zone",
        0,
        2,
        both,
    );
    check(&nowhere, "resources.cpu", 0, 2, both);
    check(&nowhere, "resources.memory", 2, 2, both);

    let undefined = with(pod("p").selector("custom", "x"));
    check(
        &undefined,
        "requirement custom",
        0,
        2,
        "no instance type has custom In [x]",
    );

    // Spot is there, zone b is there, but no spot in zone b.
    let torn = with(
        pod("p")
            .selector(zone, "b")
            .selector("karpenter.sh/capacity-type", "spot"),
    );
    let each = "no instance type has requirement karpenter.sh/capacity-type In [spot] \
                together with requirement topology.kubernetes.io/zone In [b]";
    check(&torn, "requirement topology.kubernetes.io/zone", 2, 2, each);
    check(&torn, "requirement karpenter.sh/capacity-type", 2, 2, each);

    let mut tainted = with(pod("p"));
    tainted.pools[0] = pool("default").template(
        "taints",
        json!([{"key": "team", "value": "red", "effect": "NoSchedule"}]),
    );
    let taint = "taint team=red:NoSchedule is not tolerated";
    check(&tainted, "taint team=red:NoSchedule", 0, 2, taint);

    let mut limited = with(pod("p").request("cpu", "8"));
    limited.pools[0] = pool("default").field("limits", json!({"cpu": "10"}));
    let each = "no instance type has resources.cpu 8 together with limits.cpu at most 10";
    check(&limited, "limits.cpu", 1, 2, each);
    check(&limited, "resources.cpu", 1, 2, each);

    let mut port = with(pod("p").host_port(9100));
    port.daemons.push(json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "d", "namespace": "default"},
        "spec": {"selector": {}, "template": {"spec": {"containers": [{
            "name": "main", "ports": [{"containerPort": 9100, "hostPort": 9100}],
        }]}}},
    }));
    check(
        &port,
        "hostPort 9100/TCP",
        0,
        2,
        "DaemonSets take host port 9100/TCP everywhere",
    );
}

#[test]
fn pools_that_get_no_nodes_say_why() {
    let check = |change: &dyn Fn(crate::world::TestPool) -> crate::world::TestPool,
                 message: &str| {
        let mut objects = with(pod("p"));
        objects.pools = vec![change(pool("default"))];
        let found = explain(&objects).node_pools.remove(0);
        assert_eq!(
            (found.message.as_str(), found.constraints.len()),
            (message, 0)
        );
    };
    check(&|pool| pool.replicas(1), "nodepool is static");
    check(&crate::world::TestPool::broken, "no types");
    let requirement = json!([{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}]);
    check(
        &|pool| pool.template("requirements", requirement.clone()),
        "nodepool requirements filtered out all available instance types",
    );
}

#[test]
fn heavier_pools_come_first() {
    let mut objects = with(pod("p"));
    objects.pools = vec![
        pool("a"),
        pool("b"),
        pool("heavy").field("weight", json!(10)),
        pool("c"),
    ];
    let found = explain(&objects);
    let order: Vec<&str> = found
        .node_pools
        .iter()
        .map(|pool| pool.node_pool.as_str())
        .collect();
    assert_eq!(order, ["heavy", "c", "b", "a"]);
    assert_eq!(found.target.as_deref(), Some("heavy-1"));
}

/// The changes that would help, and each one does when `apply` makes it.
fn check_help(objects: &Objects, expected: &[(&str, &str)], apply: &dyn Fn(&mut Objects, &str)) {
    let found = help(objects);
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(change, result)| (change.as_str(), result.as_str()))
        .collect();
    assert_eq!(found, expected);
    for (change, _) in expected {
        let mut changed = objects.clone();
        apply(&mut changed, change);
        let verdict = explain(&changed).verdict.as_str();
        assert!(
            matches!(verdict, "new-node" | "existing-node"),
            "{change}: {verdict}"
        );
    }
}

/// Makes every `requests.<name> <= <amount>` of a change true.
fn lower_requests(objects: &mut Objects, change: &str) {
    for part in change.split(" and ") {
        let (resource, most) = part
            .strip_prefix("requests.")
            .unwrap()
            .split_once(" <= ")
            .unwrap();
        objects.pods[0] = objects.pods[0].clone().request(resource, most);
    }
}

#[test]
fn what_would_help_helps() {
    check_help(
        &with(pod("p").request("cpu", "20")),
        &[("requests.cpu <= 15900m", "fits large")],
        &lower_requests,
    );
    // Within its zone only the small type is left, and so that is what is compared with.
    let mut zoned = with(
        pod("p")
            .request("cpu", "20")
            .selector("topology.kubernetes.io/zone", "c"),
    );
    let mut here = instance_type("here", 8, 32, 0.3);
    for offering in &mut here.offerings {
        offering.requirements[0].values = Some(vec!["c".into()]);
    }
    here.requirements[3].values = Some(vec!["c".into()]);
    zoned.types.push(here);
    check_help(
        &zoned,
        &[("requests.cpu <= 7900m", "fits here")],
        &lower_requests,
    );

    // Neither alone helps, both together do.
    check_help(
        &with(pod("p").request("cpu", "20").request("memory", "100Gi")),
        &[(
            "requests.cpu <= 15900m and requests.memory <= 65436Mi",
            "fits large",
        )],
        &lower_requests,
    );
    // What DaemonSets take is not there.
    let mut objects = with(pod("p").request("cpu", "20"));
    objects.daemons.push(json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "d", "namespace": "default"},
        "spec": {"selector": {}, "template": {"spec": {"containers": [{
            "name": "main", "resources": {"requests": {"cpu": "900m"}},
        }]}}},
    }));
    check_help(
        &objects,
        &[("requests.cpu <= 15", "fits large")],
        &lower_requests,
    );

    let none: &dyn Fn(&mut Objects, &str) = &|_, change| panic!("unexpected {change}");
    check_help(
        &with(pod("p").selector("custom", "x").request("cpu", "20")),
        &[],
        none,
    );
    let spread = json!([{
        "maxSkew": 1, "topologyKey": "nobody.example/knows",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {},
    }]);
    let spread = with(pod("p").spec("topologySpreadConstraints", spread));
    check_help(
        &spread,
        &[(
            "drop the topology spread over nobody.example/knows",
            "nodepool default gets a node for it",
        )],
        &|objects, _| objects.pods[0] = pod("p"),
    );
    let refused = explain(&spread).node_pools.remove(0);
    let expected =
        "unsatisfiable topology constraint for topology spread, key=nobody.example/knows";
    assert!(refused.message.starts_with(expected), "{}", refused.message);
    let last = refused.constraints.last().unwrap();
    assert_eq!(last.constraint, "topology nobody.example/knows");

    let select = |value: Option<&'static str>| {
        move |objects: &mut Objects, _: &str| {
            objects.pods[0] = match value {
                Some(value) => pod("p").selector("topology.kubernetes.io/zone", value),
                None => pod("p"),
            };
        }
    };
    check_help(
        &with(pod("p").selector("topology.kubernetes.io/zone", "nowhere")),
        &[("topology.kubernetes.io/zone in [a, b]", "fits small")],
        &select(Some("b")),
    );
    check_help(
        &with(pod("p").selector("custom", "x")),
        &[("drop the requirement on custom", "fits small")],
        &select(None),
    );

    // Only values that really help are named: there is no spot in zone b.
    check_help(
        &with(
            pod("p")
                .selector("topology.kubernetes.io/zone", "b")
                .selector("karpenter.sh/capacity-type", "spot"),
        ),
        &[
            ("karpenter.sh/capacity-type in [on-demand]", "fits small"),
            ("topology.kubernetes.io/zone in [a]", "fits small"),
        ],
        &|objects, change| {
            let (zone, capacity_type) = if change.starts_with("topology") {
                ("a", "spot")
            } else {
                ("b", "on-demand")
            };
            objects.pods[0] = pod("p")
                .selector("topology.kubernetes.io/zone", zone)
                .selector("karpenter.sh/capacity-type", capacity_type);
        },
    );
    let mut tiered = with(pod("p").selector("tier", "bronze"));
    let tiers = json!([{"key": "tier", "operator": "In", "values": ["silver", "gold"]}]);
    tiered.pools[0] = pool("default").template("requirements", tiers);
    check_help(
        &tiered,
        &[("tier in [gold, silver]", "fits small")],
        &|objects, _| {
            objects.pods[0] = pod("p").selector("tier", "gold");
        },
    );

    let mut tainted = with(pod("p"));
    let taint = json!([{"key": "team", "value": "red", "effect": "NoSchedule"}]);
    tainted.pools[0] = pool("default").template("taints", taint);
    check_help(
        &tainted,
        &[(
            "tolerate taint team=red:NoSchedule",
            "fits small of nodepool default",
        )],
        &|objects, _| objects.pods[0] = pod("p").tolerating("team"),
    );

    let mut limited = with(pod("p").request("cpu", "8"));
    limited.pools[0] = pool("default").field("limits", json!({"cpu": "10"}));
    limited.nodes.push(node("full"));
    limited
        .pods
        .push(pod("filler").on("full").request("cpu", "3900m"));
    check_help(
        &limited,
        &[
            ("requests.cpu <= 3900m", "fits small"),
            ("limits.cpu of nodepool default >= 20", "fits large"),
        ],
        &|objects, change| {
            if change.starts_with("limits") {
                objects.pools[0] = pool("default").field("limits", json!({"cpu": "20"}));
            } else {
                lower_requests(objects, change);
            }
        },
    );
}

#[test]
fn nodes_tell_every_reason() {
    let check = |node: crate::world::TestNode, others: &[TestPod], pod: TestPod, message: &str| {
        let mut objects = with(pod);
        objects.nodes.push(node);
        objects.pods.extend_from_slice(others);
        assert_eq!(explain(&objects).existing_nodes[0].message, message);
    };
    let small = || node("n");
    check(small(), &[], pod("p"), "fits");
    check(small().marked(), &[], pod("p"), "is going away");
    check(
        small(),
        &[pod("q").on("n").host_port(80)],
        pod("p").host_port(80),
        "host port 80/TCP is taken",
    );
    check(
        small(),
        &[pod("q").on("n").request("cpu", "1900m")],
        pod("p").request("cpu", "4"),
        "cpu: 2 free, 4 asked",
    );
    check(
        small(),
        &[],
        pod("p").request("vendor/gpu", "1"),
        "vendor/gpu: 0 free, 1 asked",
    );
    check(
        small(),
        &[],
        pod("p")
            .selector("topology.kubernetes.io/zone", "b")
            .selector("tier", "gold"),
        "requires tier In [gold], has no such label; requires topology.kubernetes.io/zone In [b], has \"a\"",
    );
    check(
        small().marked().taint("gpu", "", "NoExecute"),
        &[],
        pod("p").request("cpu", "4"),
        "is going away; taint gpu=:NoExecute is not tolerated; cpu: 3900m free, 4 asked",
    );
}

#[test]
fn dropped_preferences_are_named() {
    let prefer =
        |values: Value| {
            pod("p").spec("affinity", json!({"nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {
                "matchExpressions": [{
                    "key": "topology.kubernetes.io/zone", "operator": "In", "values": values,
                }],
            }}],
        }}))
        };
    let met = explain(&with(prefer(json!(["b"]))));
    assert_eq!((met.verdict.as_str(), met.relaxed), ("new-node", vec![]));
    let unmet = explain(&with(prefer(json!(["nowhere"]))));
    let dropped = "preferred topology.kubernetes.io/zone In [nowhere]";
    assert_eq!(
        (unmet.verdict.as_str(), unmet.relaxed),
        ("new-node", vec![dropped.to_string()])
    );
    let mut objects = with(prefer(json!(["b"])));
    objects.nodes.push(node("n1"));
    objects.pools[0] =
        pool("default").template("taints", json!([{"key": "no", "effect": "NoSchedule"}]));
    let unmet = explain(&objects);
    let dropped = "preferred topology.kubernetes.io/zone In [b]";
    assert_eq!(
        (unmet.verdict.as_str(), unmet.relaxed),
        ("existing-node", vec![dropped.to_string()])
    );
}

#[test]
fn explanations_are_values() {
    let value: Value = serde_json::to_value(explain(&with(pod("p")))).unwrap();
    assert_eq!(value["verdict"], "new-node");
    assert_eq!(value["target"], "default-1");
    assert_eq!(value.get("message"), None);
}
