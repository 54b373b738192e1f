//! The scenario rows of the scheduling specification, as data.

#![allow(clippy::unwrap_used)]

use crate::fixtures::{
    Manifest, Stage, World, daemon_set, empty, instance_type, node, pod, pool, resources, row,
    world,
};
use karpenter_plan::Price;
use serde_json::json;

/// One unit of the packing rows: a pod of so many cores and so much memory.
fn sized(name: &str, cpu: &str, memory: &str) -> Manifest {
    pod(name).cpu(cpu).memory(memory)
}

/// A node that the pool `np` owns and that nothing fits on.
fn full_node_of_np(cpu: &str) -> Manifest {
    node("n")
        .label("pool", "np")
        .label("type", "default")
        .has("cpu", cpu)
        .taint("full", "NoSchedule")
}

#[test]
fn eligibility() {
    let pending = |change: fn(Manifest) -> Manifest| world().pod(change(pod("a")));
    row(
        "scheduling/E1",
        pending(|pod| pod.set("status.conditions.0.reason", "SchedulingGated")),
        &["claims 0", "!a:"],
    );
    row(
        "scheduling/E2",
        pending(|pod| pod.set("status.nominatedNodeName", "n")),
        &["claims 0", "!a:"],
    );
    row(
        "scheduling/E3",
        pending(|pod| pod.owned_by("apps/v1", "DaemonSet")),
        &["claims 0", "!a:"],
    );
    row(
        "scheduling/E3",
        pending(|pod| pod.owned_by("v1", "Node")),
        &["claims 0", "!a:"],
    );
    row(
        "scheduling/E4",
        pending(|pod| pod.set("spec.schedulerName", "mine")),
        &["a: new 0"],
    );
    row(
        "scheduling/E5",
        pending(|pod| pod.term(&["pool DoesNotExist"])),
        &[
            "claims 0",
            "a: ignored (silent), configured to not run on a Karpenter provisioned node",
        ],
    );
    row(
        "scheduling/E6",
        pending(|pod| pod.selects("kubernetes.io/hostname", "a")),
        &[
            "claims 0",
            "a: ignored (event), using label kubernetes.io/hostname is not allowed as it might interfere",
        ],
    );
    row(
        "scheduling/E7",
        pending(|pod| pod.selects("karpenter.sh/test", "x")),
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
    let by_field = json!([{
        "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}],
    }]);
    row(
        "scheduling/E9",
        world().pod(pod("a").set(
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
            by_field,
        )),
        &["claims 0", "a: ignored (event), node selector term with matchFields is not supported"],
    );
}

#[test]
fn pools_that_may_grow() {
    let nothing = &[
        "claims 0",
        "no pools",
        "a: unplaced, no dynamic nodepools found",
    ];
    row(
        "scheduling/E15",
        empty().pool(pool("np").deleting()).pod(pod("a")),
        nothing,
    );
    row(
        "scheduling/E15",
        empty().pool(pool("np").not_ready()).pod(pod("a")),
        nothing,
    );
    // A node with room does not help either.
    row(
        "scheduling/E15",
        empty().node(node("n")).pod(pod("a")),
        nothing,
    );
    let fixed = pool("fixed").set("spec.replicas", 1);
    row(
        "scheduling/E16",
        empty().pool(fixed.clone()).pod(pod("a")),
        nothing,
    );
    row(
        "scheduling/E17",
        world().pool(fixed.weight(100)).pod(pod("a")),
        &["a: new 0", "new 0: pool np"],
    );
}

#[test]
fn custom_labels() {
    let asks = |entry: &str| world().pod(pod("a").term(&[entry]));
    let unknown = &[
        "claims 0",
        "a: unplaced, incompatible requirements, label \"k\" does not have known values",
    ];
    row("scheduling/R1", asks("k In v"), unknown);
    row("scheduling/R1", asks("k Exists"), unknown);
    row("scheduling/R2", asks("k NotIn v"), &["a: new 0"]);
    row("scheduling/R2", asks("k DoesNotExist"), &["a: new 0"]);

    let labelled = |entry: &str| {
        empty()
            .pool(pool("np").template_label("k", "v"))
            .pod(pod("a").term(&[entry]))
    };
    for entry in ["k In v", "k Exists", "k NotIn other"] {
        row(
            "scheduling/R3",
            labelled(entry),
            &["a: new 0", "new 0: label k=v"],
        );
    }
    row(
        "scheduling/R4",
        labelled("k NotIn v"),
        &["a: unplaced, incompatible requirements, key k, k NotIn [v] not in k In [v]"],
    );
    row(
        "scheduling/R4",
        labelled("k DoesNotExist"),
        &["claims 0", "key k, k DoesNotExist not in k In [v]"],
    );
    row(
        "scheduling/R4",
        labelled("k In other"),
        &["claims 0", "key k, k In [other] not in k In [v]"],
    );

    let either = empty().pool(pool("np").requires("k In v1 v2"));
    row(
        "scheduling/R5",
        either
            .clone()
            .pod(pod("a").term(&["k In v1"]))
            .pod(pod("b").term(&["k In v2"])),
        &["claims 2", "new 0: label k=v1", "new 1: label k=v2"],
    );
    row(
        "scheduling/R6",
        either
            .pod(pod("a").term(&["k In v1"]))
            .pod(pod("b").term(&["k NotIn v2"])),
        &["claims 1", "a: new 0", "b: new 0", "new 0: label k=v1"],
    );
}

#[test]
fn well_known_labels() {
    let in_zone = |zone: &str| empty().pool(pool("np").requires(&format!("zone In {zone}")));
    row(
        "scheduling/R7",
        in_zone("z1").pod(pod("a").term(&["zone Exists"])),
        &[
            "a: new 0",
            "new 0: requires topology.kubernetes.io/zone In [z1]",
        ],
    );
    row(
        "scheduling/R8",
        in_zone("z1").pod(pod("a").selects("zone", "z2")),
        &[
            "claims 0",
            "a: unplaced, incompatible requirements, key topology.kubernetes.io/zone, topology.kubernetes.io/zone In [z2] not in topology.kubernetes.io/zone In [z1]",
        ],
    );
    let asks = |entry: &str| world().pod(pod("a").term(&[entry]));
    // Exactly one type is left: the line ends after its name.
    let only = |id: &str, world: World, name: &str| {
        let outcome = row(id, world, &["a: new 0"]);
        let line = format!("new 0: pool np, types {name}");
        assert!(
            outcome.lines().contains(&line),
            "{id}: {:?}",
            outcome.lines()
        );
    };
    only("scheduling/R9", asks("integer Gt 8"), "arm");
    only("scheduling/R9", asks("integer Gte 16"), "arm");
    only("scheduling/R10", asks("integer Lt 4"), "small");
    only("scheduling/R10", asks("integer Lte 2"), "small");
    row(
        "scheduling/R11",
        world().pod(pod("a").selects("failure-domain.beta.kubernetes.io/zone", "z3")),
        &[
            "a: new 0",
            "new 0: requires topology.kubernetes.io/zone In [z3]",
            "new 0: requires karpenter.sh/capacity-type In [on-demand]",
        ],
    );
    row(
        "scheduling/R12",
        world().pod(
            pod("a")
                .term(&["zone In z1 z2 z3 unknown"])
                .prefers(1, "zone In z2 unknown"),
        ),
        &[
            "a: new 0",
            "new 0: requires topology.kubernetes.io/zone In [unknown z2]",
            "!relaxed",
        ],
    );
    row(
        "scheduling/R13",
        world().pod(pod("a").term(&["zone In z1"]).prefers(1, "zone In z2")),
        &[
            "a: new 0",
            "a: relaxed",
            "new 0: requires topology.kubernetes.io/zone In [z1]",
        ],
    );
    row(
        "scheduling/R15",
        empty()
            .pool(pool("np").requires("node.kubernetes.io/windows-build NotIn x"))
            .pod(pod("a")),
        &["a: new 0", "!new 0: label node.kubernetes.io/windows-build"],
    );
    row(
        "scheduling/R16",
        world().pod(pod("a").set("spec.nodeSelector", json!({"zone": "z1"}))),
        &[
            "a: unplaced, incompatible requirements, label \"zone\" does not have known values (typo of \"topology.kubernetes.io/zone\"?)",
        ],
    );
    row(
        "scheduling/R17",
        empty()
            .pool(pool("np").requires("k Gte 8").requires("k Lte 8"))
            .pod(pod("a")),
        &[
            "new 0: requires k Gte [8]",
            "new 0: requires k Lte [8]",
            "new 0: label k=8",
        ],
    );
    let impossible = [
        pool("np").requires("type In unknown"),
        pool("np").requires("arch In unknown"),
        pool("np").requires("zone In unknown"),
        pool("np")
            .requires("arch In amd64")
            .requires("arch In arm64"),
    ];
    for pool in impossible {
        row(
            "scheduling/R18",
            empty().pool(pool).pod(pod("a")).pod(pod("b")),
            &[
                "claims 0",
                "pool np: no types",
                "a: unplaced, nodepool requirements filtered out all available instance types",
                "b: unplaced, nodepool requirements filtered out all available instance types",
            ],
        );
    }
    let zoneless = || node("n").without_label("zone");
    let pinned = || pod("a").selects("zone", "z1");
    row(
        "scheduling/R19",
        empty().node(zoneless()).pod(pinned()),
        &["claims 0", "a: unplaced"],
    );
    row(
        "scheduling/R19",
        world().node(zoneless()).pod(pinned()),
        &["a: new 0"],
    );
}

#[test]
fn labels_get_conforming_values() {
    let pool = pool("np")
        .requires("in In a b")
        .requires("not NotIn x")
        .requires("less Lt 4")
        .requires("more Gt 5")
        .requires("some Exists")
        .requires("none DoesNotExist");
    for seed in 0..20 {
        let mut world = empty().pool(pool.clone()).pod(pod("a"));
        world.options.seed = seed;
        let outcome = row("scheduling/R14", world, &["a: new 0", "!label none="]);
        let object = karpenter_plan::node_claim(&outcome.snapshot, &outcome.plan.claims[0]);
        let labels = object.metadata.labels.unwrap();
        let number = |key: &str| labels[key].parse::<i64>().unwrap();
        assert!(["a", "b"].contains(&labels["in"].as_str()), "{labels:?}");
        assert!((0..4).contains(&number("less")), "{labels:?}");
        assert!(number("more") > 5, "{labels:?}");
        assert!(number("not") >= 0 && number("some") >= 0, "{labels:?}");
    }
}

#[test]
fn labels_get_the_only_value_that_is_left() {
    let pool = pool("np")
        .requires("one Gt 4")
        .requires("one Lt 6")
        .requires("first Gt 4")
        .requires("first Lt 7")
        .requires("first NotIn 6")
        .requires("last Gt 4")
        .requires("last Lt 7")
        .requires("last NotIn 5")
        .requires("none Lt 0");
    for seed in 0..20 {
        let mut world = empty().pool(pool.clone()).pod(pod("a"));
        world.options.seed = seed;
        row(
            "labels with one value",
            world,
            &[
                "label one=5",
                "label first=5",
                "label last=6",
                "!label none=",
            ],
        );
    }
}

#[test]
fn packing() {
    row(
        "scheduling/P1",
        world().pod(pod("a")),
        &[
            "claims 1",
            "new 0: pool np, types small default single gpuA gpuB arm",
        ],
    );
    let priced = |name: &str, dollars: f64| {
        let mut instance_type = instance_type(name, 4, 4);
        for offering in &mut instance_type.offerings {
            offering.price = Price::from_dollars(dollars);
        }
        instance_type
    };
    row(
        "scheduling/P2",
        world()
            .types(vec![
                priced("medium", 3.0),
                priced("small", 2.0),
                priced("large", 1.0),
            ])
            .pod(pod("a")),
        &["new 0: pool np, types large small medium"],
    );
    row(
        "scheduling/P3",
        empty()
            .pool(pool("np").requires("type In single"))
            .pod(pod("a"))
            .pod(pod("b"))
            .pod(pod("c")),
        &["claims 3", "a: new 0", "b: new 1", "c: new 2"],
    );
    let gpu = |name: &str, vendor: &str| pod(name).request(&format!("vendor-{vendor}/gpu"), "1");
    row(
        "scheduling/P4",
        world().pod(gpu("a", "a").request("vendor-b/gpu", "1")),
        &[
            "claims 0",
            "a: unplaced, no instance type has enough resources",
        ],
    );
    row(
        "scheduling/P5",
        world().pod(gpu("a", "a")).pod(gpu("b", "b")),
        &[
            "claims 2",
            "new 0: pool np, types gpuA",
            "new 1: pool np, types gpuB",
            "!gpuA gpuB",
        ],
    );
    row(
        "scheduling/P6",
        world().pod(pod("a").cpu("10000")),
        &[
            "claims 0",
            "a: unplaced, no instance type has enough resources, requirements=",
        ],
    );
    row(
        "scheduling/P7",
        world().pod(pod("a").request("foo.com/weird", "0")),
        &["a: new 0"],
    );
}

#[test]
fn effective_requests() {
    let ladder = || {
        vec![
            instance_type("t10", 10, 4),
            instance_type("t11", 11, 5),
            instance_type("t12", 12, 6),
        ]
    };
    let init = |name: &str, cpu: &str, memory: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu, "memory": memory}}});
    let sidecar = || {
        json!({"name": "side", "restartPolicy": "Always",
            "resources": {"requests": {"cpu": "4.9", "memory": "2.9Gi"}}})
    };
    row(
        "scheduling/P8",
        world().types(ladder()).pod(
            sized("a", "6", "2Gi")
                .push("spec.initContainers", init("first", "10", "4Gi"))
                .push("spec.initContainers", sidecar()),
        ),
        &[
            "new 0: pool np, types t11 t12",
            "new 0: requests cpu=10900m",
        ],
    );
    row(
        "scheduling/P9",
        world().types(ladder()).pod(
            sized("a", "5", "1Gi")
                .push("spec.initContainers", sidecar())
                .push("spec.initContainers", init("second", "6", "2Gi")),
        ),
        &[
            "new 0: pool np, types t11 t12",
            "new 0: requests cpu=10900m",
        ],
    );
    row(
        "scheduling/P10",
        world().types(ladder()).pod(sized("a", "1", "1Gi").set(
            "spec.resources",
            json!({"requests": {"cpu": "9.9", "memory": "3.9Gi"}}),
        )),
        &[
            "new 0: pool np, types t10 t11 t12",
            "new 0: requests cpu=9900m",
        ],
    );
    // What a running pod counts shows in what is left for the next one: the node has ten cores.
    let resized = |cpu: &str, allocated: &str, next: &str| {
        world()
            .node(node("n").has("cpu", "10"))
            .pod(pod("running").cpu(cpu).on("n").set(
                "status.containerStatuses",
                json!([{"name": "main", "allocatedResources": {"cpu": allocated}}]),
            ))
            .pod(pod("next").cpu(next))
    };
    row("scheduling/P11", resized("2", "6", "4"), &["next: node n"]);
    row(
        "scheduling/P11",
        resized("2", "6", "4001m"),
        &["next: new 0"],
    );
    row("scheduling/P11", resized("8", "2", "2"), &["next: node n"]);
    row(
        "scheduling/P11",
        resized("8", "2", "2001m"),
        &["next: new 0"],
    );
    row(
        "scheduling/P12",
        world().pod(pod("a").cpu("1").set("spec.overhead", json!({"cpu": "2"}))),
        &["new 0: requests cpu=3 "],
    );
}

#[test]
fn host_ports() {
    let port = |name: &str, ip: &str, protocol: &str| pod(name).host_port(8080, ip, protocol);
    row(
        "scheduling/P13",
        world().pod(port("a", "", "TCP")).pod(port("b", "", "TCP")),
        &["claims 2", "a: new 0", "b: new 1"],
    );
    row(
        "scheduling/P14",
        world()
            .pod(port("a", "1.2.3.4", "TCP"))
            .pod(port("b", "0.0.0.0", "TCP")),
        &["claims 2"],
    );
    row(
        "scheduling/P14",
        world()
            .pod(port("a", "1.2.3.4", "TCP"))
            .pod(port("b", "0.0.0.0", "UDP")),
        &["claims 1", "a: new 0", "b: new 0"],
    );
    // The same on nodes that exist.
    row(
        "scheduling/P13",
        world()
            .node(node("n"))
            .pod(port("a", "", "TCP").on("n"))
            .pod(port("b", "", "TCP")),
        &["b: new 0"],
    );
    row(
        "scheduling/P13",
        world()
            .node(node("n"))
            .pod(port("a", "", "TCP"))
            .pod(port("b", "", "TCP")),
        &["a: node n", "b: new 0"],
    );
}

#[test]
fn limits() {
    row(
        "scheduling/P15",
        empty()
            .pool(pool("np").limit("cpu", "20"))
            .node(full_node_of_np("100"))
            .pod(pod("a")),
        &[
            "claims 0",
            "a: unplaced, all available instance types exceed limits for nodepool (NodePool=np)",
        ],
    );
    let two_cores = || empty().pool(pool("np").limit("cpu", "2"));
    row(
        "scheduling/P16",
        two_cores().pod(pod("a").cpu("1.75")),
        &["a: new 0", "new 0: pool np, types small", "!small default"],
    );
    row(
        "scheduling/P17",
        two_cores().pod(pod("a").cpu("2.1")),
        &["claims 0", "a: unplaced"],
    );
    for stage in [
        Stage::Created,
        Stage::Launched,
        Stage::Registered,
        Stage::Initialized,
    ] {
        row(
            "scheduling/P19",
            two_cores()
                .pod(pod("a").cpu("1.75"))
                .then(stage)
                .pod(pod("b").cpu("1.75")),
            &[
                "claims 0",
                "b: unplaced, all available instance types exceed limits",
            ],
        );
    }
    row(
        "scheduling/P21",
        empty()
            .types(vec![instance_type("default", 4, 4)])
            .pool(pool("np").limit("pods", "1"))
            .pod(pod("a")),
        &[
            "claims 0",
            "a: unplaced, all available instance types exceed limits",
        ],
    );
}

#[test]
fn weights() {
    let three = || {
        empty()
            .pool(pool("w0"))
            .pool(pool("w20").weight(20))
            .pool(pool("w100").weight(100))
    };
    row(
        "scheduling/P22",
        three()
            .pod(pod("a").host_port(80, "", "TCP"))
            .pod(pod("b").host_port(80, "", "TCP"))
            .pod(pod("c").host_port(80, "", "TCP")),
        &[
            "claims 3",
            "new 0: pool w100",
            "new 1: pool w100",
            "new 2: pool w100",
        ],
    );
    row(
        "scheduling/P23",
        three().pod(pod("a").selects("pool", "w0")),
        &["claims 1", "new 0: pool w0"],
    );
    row(
        "scheduling/P24",
        empty().pool(pool("np-1")).pool(pool("np-2")).pod(pod("a")),
        &["claims 1", "new 0: pool np-2"],
    );
}

#[test]
fn overrides() {
    let mut types = crate::fixtures::universe();
    for offering in &mut types[0].offerings {
        offering.capacity_override = resources(&[("ext.com/thing", "4")]);
    }
    let asks = || pod("a").request("ext.com/thing", "1");
    row(
        "scheduling/P26",
        world().types(types.clone()).pod(asks()),
        &["new 0: pool np, types default", "!default single"],
    );
    for offering in &mut types[0].offerings {
        offering.available = false;
    }
    row(
        "scheduling/P26",
        world().types(types).pod(asks()),
        &["claims 0", "a: unplaced"],
    );

    // 4Gi of memory, of which 1500Mi are huge pages and 10Mi overhead, leave 2586Mi.
    let mut huge = instance_type("huge", 4, 4);
    huge.capacity
        .extend(resources(&[("hugepages-2Mi", "1500Mi")]));
    let with = |memory: &str| {
        world()
            .types(vec![huge.clone()])
            .pod(pod("a").memory(memory))
    };
    row("scheduling/P27", with("2586Mi"), &["a: new 0"]);
    row("scheduling/P27", with("2587Mi"), &["claims 0"]);
    huge.capacity.extend(resources(&[("hugepages-2Mi", "5Gi")]));
    let world = world().types(vec![huge]).pod(pod("a").memory("0"));
    row("scheduling/P27", world, &["a: new 0"]);
}

#[test]
fn the_cheapest_compatible_offering_counts() {
    let priced = |name: &str, on_demand: f64, spot: f64| {
        let mut instance_type = instance_type(name, 4, 4);
        for (at, offering) in instance_type.offerings.iter_mut().enumerate() {
            offering.price = Price::from_dollars(if at < 2 { spot } else { on_demand });
        }
        instance_type
    };
    let types = vec![priced("b", 1.3, 0.1), priced("a", 1.0, 0.2)];
    row(
        "scheduling/P25",
        empty()
            .types(types)
            .pool(pool("np").requires("capacity In on-demand"))
            .pod(pod("pod")),
        &["new 0: pool np, types a b"],
    );
}

#[test]
fn daemons() {
    let daemon = |cpu: &str, memory: &str| {
        daemon_set("agent").pods(|pod| pod.request("cpu", cpu).request("memory", memory))
    };
    row(
        "scheduling/D1",
        world()
            .daemon(daemon("2", "2Gi"))
            .pod(sized("a", "1", "1Gi")),
        &[
            "new 0: pool np, types default gpuA gpuB arm",
            "new 0: requests cpu=3 memory=3Gi pods=2",
        ],
    );
    row(
        "scheduling/D2",
        world()
            .daemon(daemon("1", "1Mi"))
            .pod(sized("a", "1", "1Mi"))
            .pod(sized("b", "1", "1Mi")),
        &["claims 1", "new 0: requests cpu=3 memory=3Mi pods=3"],
    );
    row(
        "scheduling/D3",
        world().daemon(daemon("10000", "1Mi")).pod(pod("a")),
        &[
            "claims 0",
            "a: unplaced, no instance type has enough resources",
        ],
    );
    let limits_only = daemon_set("agent").pods(|pod| {
        pod.set(
            "spec.containers.0.resources",
            json!({"limits": {"memory": "10000Gi"}}),
        )
    });
    row(
        "scheduling/D4",
        world().daemon(limits_only).pod(pod("a")),
        &[
            "claims 0",
            "a: unplaced, no instance type has enough resources",
        ],
    );
    let alone = "new 0: requests cpu=10m memory=10Mi pods=1";
    let both = "new 0: requests cpu=1010m memory=10Mi pods=2";
    let one_core = || daemon_set("agent").pods(|pod| pod.request("cpu", "1"));
    row(
        "scheduling/D5",
        empty()
            .pool(pool("np").template_taint("foo", "bar", "NoSchedule"))
            .daemon(one_core())
            .pod(pod("a").tolerates(json!({"key": "foo", "operator": "Exists"}))),
        &[alone],
    );
    row(
        "scheduling/D6",
        world()
            .daemon(one_core().pods(|pod| pod.selects("k", "v")))
            .pod(pod("a")),
        &[alone],
    );
    row(
        "scheduling/D6",
        world()
            .daemon(one_core().pods(|pod| pod.term(&["k NotIn v"])))
            .pod(pod("a")),
        &[both],
    );
    row(
        "scheduling/D7",
        world()
            .daemon(one_core().pods(|pod| pod.selects("type", "unknown")))
            .pod(pod("a")),
        &[alone],
    );
    let sized_for = |name: &str, size: &str, cpu: &str| {
        daemon_set(name).pods(|pod| pod.request("cpu", cpu).selects("size", size))
    };
    row(
        "scheduling/D8",
        world()
            .daemon(sized_for("a", "small", "1"))
            .daemon(sized_for("b", "large", "10"))
            .pod(sized("a", "1", "1Gi")),
        &["a: new 0", "new 0: pool np, types default gpuA gpuB arm"],
    );
    let mut cached = world().pod(pod("a"));
    cached.daemons.push((
        daemon_set("agent")
            .pods(|pod| pod.request("cpu", "4").term(&["arch In amd64"])),
        Some(pod("agent-x").cpu("2").memory("0").set(
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
            json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]),
        )),
    ));
    // On arm64 the daemon does not come, so the least over the claim's types is nothing.
    cached.pools[0] = pool("np").requires("arch In amd64");
    row(
        "scheduling/D9",
        cached,
        &["new 0: requests cpu=2010m memory=10Mi pods=2"],
    );
    row(
        "scheduling/D10",
        world()
            .daemon(one_core().pods(|pod| pod.term(&["zone In unknown"]).term(&["zone In z1"])))
            .pod(pod("a")),
        &[both],
    );
    row(
        "scheduling/D11",
        world()
            .daemon(one_core().pods(|pod| pod.prefers(1, "zone In unknown")))
            .pod(pod("a")),
        &[both],
    );
    row(
        "scheduling/D12",
        empty()
            .pool(pool("np").template_taint("foo", "bar", "PreferNoSchedule"))
            .daemon(one_core())
            .pod(pod("a")),
        &[both],
    );
    let with_port = |selector: fn(Manifest) -> Manifest| {
        daemon_set("agent").pods(|pod| selector(pod.host_port(8080, "", "TCP")))
    };
    row(
        "scheduling/D13",
        world()
            .daemon(with_port(|pod| pod))
            .pod(pod("a").host_port(8080, "", "TCP")),
        &[
            "claims 0",
            "a: unplaced, no instance type met the scheduling requirements or had enough resources or had a required offering",
        ],
    );
    row(
        "scheduling/D13",
        world()
            .daemon(with_port(|pod| pod.selects("size", "large")))
            .pod(pod("a").host_port(8080, "", "TCP").selects("size", "small")),
        &["a: new 0"],
    );
    for key in ["karpenter.sh/registered", "karpenter.sh/initialized"] {
        row(
            "scheduling/D14",
            world()
                .daemon(one_core().pods(|pod| pod.selects(key, "true")))
                .pod(pod("a")),
            &[
                both,
                "!requires karpenter.sh/registered",
                "!requires karpenter.sh/initialized",
            ],
        );
    }
    // The daemon's own pod is there, so its request is not set aside a second time.
    let bound = |cpu: &str| {
        world()
            .daemon(one_core())
            .node(node("n").has("cpu", "15900m"))
            .pod(
                pod("agent-x")
                    .cpu("1")
                    .memory("0")
                    .owned_by("apps/v1", "DaemonSet")
                    .on("n"),
            )
            .pod(pod("a").cpu(cpu))
    };
    row("scheduling/D15", bound("14.9"), &["a: node n"]);
    row("scheduling/D15", bound("14901m"), &["!a: node n"]);
    let oversized = |cpu: &str| {
        world()
            .daemon(one_core())
            .node(node("n").has("cpu", "10"))
            .pod(
                pod("agent-x")
                    .cpu("4")
                    .owned_by("apps/v1", "DaemonSet")
                    .on("n"),
            )
            .pod(pod("a").cpu(cpu))
    };
    row("scheduling/D16", oversized("6"), &["a: node n"]);
    row("scheduling/D16", oversized("6001m"), &["!a: node n"]);
    row(
        "scheduling/D17",
        empty()
            .pool(pool("np").startup_taint("foo", "NoSchedule"))
            .daemon(one_core())
            .pod(pod("a")),
        &[both],
    );
}

#[test]
fn nodes_that_exist() {
    let reused = &["claims 0", "b: node node-np-1"];
    row(
        "scheduling/N1",
        world().pod(pod("a")).then(Stage::Initialized).pod(pod("b")),
        reused,
    );
    row(
        "scheduling/N2",
        {
            let mut gone = world().pod(pod("a")).then(Stage::Initialized).pod(pod("b"));
            gone.machines.clear();
            gone
        },
        &["b: new 0"],
    );
    let not_ready = |stage: Stage| {
        world()
            .pod(pod("a"))
            .then(stage)
            .change_node(0, |node| {
                node.taint("node.kubernetes.io/not-ready", "NoExecute")
            })
            .pod(pod("b"))
    };
    row("scheduling/N3", not_ready(Stage::Registered), reused);
    row(
        "scheduling/N3",
        not_ready(Stage::Initialized),
        &["b: new 0"],
    );
    row(
        "scheduling/N4",
        world()
            .pod(pod("a"))
            .then(Stage::Initialized)
            .change_node(0, |node| node.taint("custom", "NoSchedule"))
            .pod(pod("b")),
        &["b: new 0"],
    );
    let starting = || {
        empty()
            .pool(pool("np").startup_taint("starting", "NoSchedule"))
            .pod(pod("a"))
    };
    row(
        "scheduling/N5",
        starting().then(Stage::Registered).pod(pod("b")),
        reused,
    );
    row(
        "scheduling/N5",
        starting().then(Stage::Initialized).pod(pod("b")),
        reused,
    );
    row(
        "scheduling/N5",
        starting()
            .then(Stage::Initialized)
            .change_node(0, |node| node.taint("starting", "NoSchedule"))
            .pod(pod("b")),
        &["b: new 0"],
    );
    row(
        "scheduling/N6",
        world()
            .pod(pod("a"))
            .then(Stage::Registered)
            .change_node(0, |node| node.taint("readiness.k8s.io/x", "NoSchedule"))
            .pod(pod("b")),
        reused,
    );
    row(
        "scheduling/N7",
        world().node(node("n")).pod(pod("a")),
        &["claims 0", "a: node n"],
    );
    let gpu = |name: &str| pod(name).request("vendor-a/gpu", "1");
    let zeroed = |stage: Stage| {
        world()
            .pod(gpu("a"))
            .then(stage)
            .change_node(0, |node| node.has("vendor-a/gpu", "0"))
            .pod(gpu("b"))
    };
    row("scheduling/N8", zeroed(Stage::Registered), reused);
    row("scheduling/N8", zeroed(Stage::Initialized), &["b: new 0"]);
}

#[test]
fn nodes_that_leave() {
    let leaving = |bound: Manifest| {
        let mut world = world().node(node("n")).pod(bound.on("n"));
        world.machines[0].marked = true;
        world
    };
    row(
        "scheduling/N9",
        {
            let mut world = leaving(pod("a"))
                .pod(pod("b").on("n"))
                .pod(pod("c").on("n"));
            world.pods.extend([pod("d"), pod("e")]);
            world
        },
        &[
            "claims 1", "a: new 0", "b: new 0", "c: new 0", "d: new 0", "e: new 0",
        ],
    );
    let terminating = |version, kind| leaving(pod("a").owned_by(version, kind).deleting());
    row(
        "scheduling/N10",
        terminating("apps/v1", "ReplicaSet"),
        &["claims 0", "!a:"],
    );
    row(
        "scheduling/N10",
        terminating("apps/v1", "StatefulSet"),
        &["a: new 0"],
    );
    let guarded = |specs: &[serde_json::Value]| {
        let mut world = leaving(pod("a").label("app", "a"));
        for (at, spec) in specs.iter().enumerate() {
            let budget = Manifest(json!({
                "metadata": {"name": format!("budget-{at}"), "namespace": "default"},
                "spec": {"selector": {"matchLabels": {"app": "a"}}},
            }));
            let (name, value) = spec.as_object().unwrap().iter().next().unwrap();
            world.budgets.push(budget.put("spec", name, value.clone()));
        }
        world
    };
    for specs in [
        vec![json!({"maxUnavailable": 0})],
        vec![json!({"maxUnavailable": "0%"})],
        vec![json!({"minAvailable": "100%"})],
        vec![json!({"maxUnavailable": 1}), json!({"maxUnavailable": 1})],
    ] {
        row(
            "scheduling/N11",
            guarded(&specs),
            &["claims 0", "a: skipped"],
        );
    }
    row(
        "scheduling/N11",
        guarded(&[json!({"maxUnavailable": 1})]),
        &["a: new 0"],
    );
    row(
        "scheduling/N12",
        leaving(pod("a").owned_by("apps/v1", "DaemonSet")),
        &["claims 0", "!a:"],
    );
}

#[test]
fn taints_and_tolerations() {
    let tainted = |effect: &str| empty().pool(pool("np").template_taint("key", "v", effect));
    let tolerating =
        |toleration: serde_json::Value| tainted("NoSchedule").pod(pod("a").tolerates(toleration));
    for toleration in [
        json!({"key": "key", "operator": "Exists", "effect": "NoSchedule"}),
        json!({"key": "key", "operator": "Equal", "value": "v", "effect": "NoSchedule"}),
        json!({"key": "key", "operator": "Exists"}),
        json!({"operator": "Exists"}),
    ] {
        row("scheduling/N13", tolerating(toleration), &["a: new 0"]);
    }
    let refused = &[
        "claims 0",
        "a: unplaced, did not tolerate taint (taint=key=v:NoSchedule)",
    ];
    row(
        "scheduling/N13",
        tainted("NoSchedule").pod(pod("a")),
        refused,
    );
    row(
        "scheduling/N13",
        tolerating(json!({"key": "other", "operator": "Exists"})),
        refused,
    );
    row(
        "scheduling/N13",
        tolerating(json!({"key": "key", "operator": "Equal", "value": ""})),
        refused,
    );
    row(
        "scheduling/N14",
        tainted("PreferNoSchedule")
            .pool(pool("clean"))
            .pod(pod("a")),
        &["claims 1", "new 0: pool clean"],
    );
    row(
        "scheduling/N15",
        tainted("PreferNoSchedule").pod(pod("a").prefers(1, "zone In unknown")),
        &["a: new 0", "a: relaxed"],
    );
}

#[test]
fn preferences() {
    row(
        "scheduling/F1",
        world().pod(pod("a").term(&["zone In unknown"])),
        &["claims 0", "a: unplaced"],
    );
    let zones = |entry: &str| format!("new 0: requires topology.kubernetes.io/zone {entry}");
    row(
        "scheduling/F2",
        world().pod(
            pod("a")
                .term(&["zone In bad"])
                .term(&["zone In bad"])
                .term(&["zone In z1"])
                .term(&["zone In z2"]),
        ),
        &["a: new 0", &zones("In [z1]")],
    );
    row(
        "scheduling/F3",
        empty().pool(pool("np").requires("zone In z1 z2")).pod(
            pod("a")
                .prefers(1, "zone In z1")
                .prefers(100, "zone In bad")
                .prefers(50, "zone In z2"),
        ),
        &["a: new 0", &zones("In [z2]")],
    );
}

#[test]
fn minimum_numbers_of_values() {
    let flexible = |minimum: i64| {
        pool("np").push(
            "spec.template.spec.requirements",
            json!({"key": "node.kubernetes.io/instance-type", "operator": "In",
                "values": ["small", "default"], "minValues": minimum}),
        )
    };
    row(
        "scheduling/F6",
        empty().pool(flexible(3)).pod(pod("a")),
        &[
            "claims 0",
            "pool np: no types due to minValues",
            "a: unplaced",
        ],
    );
    let best_effort = karpenter_plan::Options {
        min_values: karpenter_plan::schedule::MinValuesPolicy::BestEffort,
        ..Default::default()
    };
    let outcome = row(
        "scheduling/F7",
        empty().pool(flexible(3)).pod(pod("a")).options(best_effort),
        &[
            "a: new 0",
            "new 0: requires node.kubernetes.io/instance-type In [default small]",
        ],
    );
    let object = karpenter_plan::node_claim(&outcome.snapshot, &outcome.plan.claims[0]);
    let key = "karpenter.sh/nodeclaim-min-values-relaxed";
    assert_eq!(object.metadata.annotations.unwrap()[key], "true");
    let types = object
        .spec
        .requirements
        .iter()
        .find(|own| own.key.ends_with("instance-type"));
    assert_eq!(types.unwrap().min_values, Some(2));
    row(
        "scheduling/F8",
        empty()
            .pool(flexible(3).weight(100))
            .pool(pool("plain").weight(10))
            .pod(pod("a"))
            .options(best_effort),
        &["new 0: pool np"],
    );
    row(
        "scheduling/F9",
        empty()
            .pool(flexible(2))
            .pod(sized("a", "1.5", "1Gi"))
            .pod(sized("b", "1.5", "1Gi")),
        &[
            "claims 2",
            "new 0: pool np, types small default",
            "new 1: pool np, types small default",
        ],
    );
}

#[test]
fn effective_minimums() {
    let entry = |key: &str, operator: &str, values: &[&str], minimum: u32| json!({"key": crate::fixtures::long(key), "operator": operator, "values": values, "minValues": minimum});
    let list = "spec.template.spec.requirements";
    // The larger of two minimums for one key holds.
    let twice = |types: &[&str]| {
        pool("np")
            .push(list, entry("type", "Exists", &[], 1))
            .push(list, entry("type", "In", types, 2))
    };
    row(
        "scheduling/F11",
        empty().pool(twice(&["small", "default"])).pod(pod("a")),
        &["a: new 0"],
    );
    row(
        "scheduling/F11",
        empty().pool(twice(&["small", "nothing"])).pod(pod("a")),
        &["claims 0", "pool np: no types due to minValues"],
    );
    let zones = || {
        let mut types = crate::fixtures::universe();
        for offering in types.iter_mut().flat_map(|own| &mut own.offerings) {
            let zone = offering.requirements[1].values.as_ref().unwrap();
            offering.available = zone[0] != "z3";
        }
        for own in &mut types {
            own.requirements[3].values = Some(vec!["z1".into(), "z2".into()]);
        }
        empty()
            .types(types)
            .pool(pool("np").push(list, entry("zone", "Exists", &[], 3)))
            .pod(pod("a"))
    };
    row(
        "scheduling/F12",
        zones(),
        &["claims 0", "pool np: no types due to minValues"],
    );
    let best_effort = karpenter_plan::Options {
        min_values: karpenter_plan::schedule::MinValuesPolicy::BestEffort,
        ..Default::default()
    };
    let outcome = row(
        "scheduling/F12",
        zones().options(best_effort),
        &["a: new 0"],
    );
    let object = karpenter_plan::node_claim(&outcome.snapshot, &outcome.plan.claims[0]);
    let requirements = object.spec.requirements.iter();
    let zone = requirements.filter(|own| own.key.ends_with("zone"));
    assert_eq!(
        zone.map(|own| own.min_values).collect::<Vec<_>>(),
        [Some(2)]
    );
}
