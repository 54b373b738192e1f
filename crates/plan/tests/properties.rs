//! What holds for every world: the judge accepts the plan, the order of input does not matter, and a
//! settled world stays as it is.

#![allow(clippy::unwrap_used)]

use crate::cases::cases;
use crate::fixtures::{Manifest, Outcome, Stage, World, daemon_set, empty, node, pod, pool, req};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

fn entries() -> impl Strategy<Value = &'static str> {
    select(vec![
        "zone In z1",
        "zone In z2 z3",
        "zone NotIn z1",
        "zone Exists",
        "arch In arm64",
        "arch In amd64",
        "size In large",
        "integer Gt 2",
        "integer Lt 5",
        "type NotIn default small",
        "capacity In spot",
        "capacity In on-demand",
        "team In red",
        "team NotIn red",
        "team Exists",
        "team DoesNotExist",
        "type In gpuA arm",
    ])
}

fn a_pod() -> impl Strategy<Value = Manifest> {
    (
        select(vec!["0", "10m", "500m", "1", "1900m", "3", "3900m", "9"]),
        select(vec!["0", "16Mi", "1Gi", "1990Mi", "3Gi", "60Gi"]),
        vec(entries(), 0..3),
        proptest::option::weighted(0.2, entries()),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.1),
    )
        .prop_map(
            |(cpu, memory, required, preferred, tolerant, port, alternative)| {
                let mut pod = pod("p").cpu(cpu).memory(memory);
                if !required.is_empty() {
                    pod = pod.term(&required);
                    if alternative {
                        pod = pod.term(&["zone In z1"]);
                    }
                }
                if let Some(entry) = preferred {
                    pod = pod.prefers(1, entry);
                }
                if tolerant {
                    pod = pod.tolerates(json!({"operator": "Exists"}));
                }
                if port {
                    pod = pod.host_port(80, "", "TCP");
                }
                pod
            },
        )
}

/// A rule between pods of the apps `a` and `b`: where it stands in the pod, and what it says.
fn a_rule() -> impl Strategy<Value = (&'static str, Value)> {
    let key = || {
        select(vec![
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
            "karpenter.sh/capacity-type",
            "team",
        ])
    };
    let selector = || select(vec!["a", "b"]).prop_map(|app| json!({"matchLabels": {"app": app}}));
    let spread = (
        key(),
        selector(),
        1..3,
        proptest::bool::weighted(0.3),
        proptest::option::weighted(0.2, 1..4),
        select(vec!["Honor", "Ignore"]),
        select(vec!["Honor", "Ignore"]),
    )
        .prop_map(|(key, selector, skew, soft, domains, affinity, taints)| {
            let when = if soft { "ScheduleAnyway" } else { "DoNotSchedule" };
            let mut rule = json!({
                "topologyKey": key, "labelSelector": selector, "maxSkew": skew, "whenUnsatisfiable": when,
                "nodeAffinityPolicy": affinity, "nodeTaintsPolicy": taints,
            });
            if !soft && let Some(domains) = domains {
                rule["minDomains"] = json!(domains);
            }
            ("spec.topologySpreadConstraints", rule)
        });
    let lists = select(vec![
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution",
        "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution",
    ]);
    let namespaces = select(vec![
        Value::Null,
        Value::Null,
        json!({}),
        json!({"matchLabels": {"tier": "back"}}),
    ]);
    let term =
        (lists, key(), selector(), namespaces).prop_map(|(list, key, selector, namespaces)| {
            let mut term = json!({"topologyKey": key, "labelSelector": selector});
            if !namespaces.is_null() {
                term["namespaceSelector"] = namespaces;
            }
            if list.contains("preferred") {
                (list, json!({"weight": 1, "podAffinityTerm": term}))
            } else {
                (list, term)
            }
        });
    prop_oneof![spread, term]
}

/// A pod with rules about other pods and with volumes; some are on a node already, some in another
/// namespace, and some have a controller, by which default spreads know them.
fn a_neighbor() -> impl Strategy<Value = Manifest> {
    (
        a_pod(),
        select(vec!["a", "b", "c"]),
        vec(a_rule(), 0..3),
        proptest::option::weighted(0.2, select(vec!["n-0", "n-1", "n-2"])),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.3),
        proptest::option::weighted(0.2, select(vec!["in-z1", "in-z2-or-z3", "later"])),
    )
        .prop_map(|(pod, app, rules, node, is_elsewhere, is_owned, claim)| {
            let mut pod = rules
                .into_iter()
                .fold(pod.label("app", app), |pod, (list, rule)| {
                    pod.push(list, rule)
                });
            if is_elsewhere {
                pod = pod.set("metadata.namespace", "other");
            }
            if is_owned {
                let owner = json!({
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": app, "controller": true,
                });
                pod = pod.set("metadata.ownerReferences", json!([owner]));
            }
            if let Some(claim) = claim {
                let volume = json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
                pod = pod.push("spec.volumes", volume);
            }
            match node {
                Some(node) => pod.on(node),
                None => pod,
            }
        })
}

/// Two namespaces, in each of them a controller for each app and the claims of [`a_neighbor`], and perhaps
/// default spreads.
fn furnished(mut world: World, spreads: Option<&'static str>) -> World {
    for (namespace, tier) in [("default", "front"), ("other", "back")] {
        let labels = json!({"tier": tier});
        world.namespaces.push(Manifest(
            json!({"metadata": {"name": namespace, "labels": labels}}),
        ));
        for app in ["a", "b", "c"] {
            world.workloads.push(Manifest(json!({
                "kind": "ReplicaSet", "metadata": {"name": app, "namespace": namespace},
                "spec": {"selector": {"matchLabels": {"app": app}}},
            })));
        }
        let zones = [
            ("in-z1", vec!["zone In z1"]),
            ("in-z2-or-z3", vec!["zone In z2", "zone In z3"]),
        ];
        for (name, zones) in zones {
            let volume = format!("{namespace}-{name}");
            let terms: Vec<Value> = zones
                .iter()
                .map(|entry| json!({"matchExpressions": [req(entry)]}))
                .collect();
            world = world
                .volume(Manifest(json!({
                    "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": {
                        "csi": {"driver": "disks.example.com", "volumeHandle": volume},
                        "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
                    },
                })))
                .volume(Manifest(json!({
                    "kind": "PersistentVolumeClaim",
                    "metadata": {
                        "name": name, "namespace": namespace,
                        "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
                    },
                    "spec": {"volumeName": volume}, "status": {"phase": "Bound"},
                })));
        }
        world = world.volume(Manifest(json!({
            "kind": "PersistentVolumeClaim", "metadata": {"name": "later", "namespace": namespace},
            "spec": {"storageClassName": "zonal"}, "status": {"phase": "Pending"},
        })));
    }
    let topology = json!({"key": "topology.kubernetes.io/zone", "values": ["z2", "z3"]});
    world = world.volume(Manifest(json!({
        "kind": "StorageClass", "metadata": {"name": "zonal"}, "provisioner": "disks.example.com",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": [{"matchLabelExpressions": [topology]}],
    })));
    // The first node attaches one volume.
    world = world.volume(Manifest(json!({
        "kind": "CSINode", "metadata": {"name": "n-0"},
        "spec": {"drivers": [{"name": "disks.example.com", "nodeID": "n-0", "allocatable": {"count": 1}}]},
    })));
    if let Some(when) = spreads {
        let spread = |key| json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when});
        world.default_constraints = vec![
            spread("topology.kubernetes.io/zone"),
            spread("kubernetes.io/hostname"),
        ];
    }
    world
}

fn a_world_of_neighbors() -> impl Strategy<Value = World> {
    let spreads = proptest::option::weighted(0.5, select(vec!["DoNotSchedule", "ScheduleAnyway"]));
    (a_world_of(a_neighbor()), spreads).prop_map(|(world, spreads)| furnished(world, spreads))
}

fn a_pool() -> impl Strategy<Value = Manifest> {
    (
        vec(entries(), 0..2),
        proptest::option::weighted(0.3, select(vec!["0", "4", "10", "40"])),
        proptest::option::weighted(0.1, select(vec!["0", "1", "3"])),
        proptest::option::weighted(
            0.3,
            select(vec!["NoSchedule", "PreferNoSchedule", "NoExecute"]),
        ),
        0..3i32,
        proptest::bool::weighted(0.3),
    )
        .prop_map(|(required, cpu, nodes, taint, weight, labelled)| {
            let mut pool = pool("np").weight(weight);
            for entry in required {
                pool = pool.requires(entry);
            }
            if let Some(cpu) = cpu {
                pool = pool.limit("cpu", cpu);
            }
            if let Some(nodes) = nodes {
                pool = pool.limit("nodes", nodes);
            }
            if let Some(effect) = taint {
                pool = pool.template_taint("special", "yes", effect);
            }
            if labelled {
                pool = pool.template_label("team", "red");
            }
            pool
        })
}

fn a_daemon() -> impl Strategy<Value = Manifest> {
    (
        select(vec!["100m", "1", "3"]),
        proptest::option::weighted(0.5, entries()),
        proptest::bool::weighted(0.3),
    )
        .prop_map(|(cpu, entry, port)| {
            daemon_set("d").pods(|mut pod| {
                pod = pod.request("cpu", cpu);
                if let Some(entry) = entry {
                    pod = pod.term(&[entry]);
                }
                if port {
                    pod = pod.host_port(80, "", "TCP");
                }
                pod
            })
        })
}

fn a_node() -> impl Strategy<Value = Manifest> {
    (
        select(vec!["1", "4", "16"]),
        select(vec!["z1", "z2"]),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.3),
    )
        .prop_map(|(cpu, zone, tainted, red)| {
            let mut node = node("n").has("cpu", cpu).label("zone", zone);
            if tainted {
                node = node.taint("special", "NoSchedule");
            }
            if red {
                node = node.label("team", "red");
            }
            node
        })
}

fn named(manifest: Manifest, name: String) -> Manifest {
    manifest
        .set("metadata.uid", name.clone())
        .set("metadata.name", name)
}

fn a_world() -> impl Strategy<Value = World> {
    a_world_of(a_pod())
}

fn a_world_of(pod: impl Strategy<Value = Manifest>) -> impl Strategy<Value = World> {
    (
        vec(a_pool(), 1..4),
        vec(a_node(), 0..4),
        vec(a_daemon(), 0..3),
        vec(pod, 1..25),
    )
        .prop_map(|(pools, nodes, daemons, pods)| {
            let mut world = empty();
            for (at, pool) in pools.into_iter().enumerate() {
                world = world.pool(named(pool, format!("pool-{at}")));
            }
            for (at, node) in nodes.into_iter().enumerate() {
                let name = format!("n-{at}");
                let node = node
                    .label("kubernetes.io/hostname", &name)
                    .set("spec.providerID", format!("test://{name}"));
                world = world.node(named(node, name));
            }
            for (at, daemon) in daemons.into_iter().enumerate() {
                world = world.daemon(named(daemon, format!("d-{at}")));
            }
            for (at, pod) in (0i64..).zip(pods) {
                world = world.pod(named(pod, format!("p-{at}")).created(at % 3));
            }
            world
        })
}

/// The same world, told in another order.
fn turned(world: &World, turn: usize) -> World {
    let mut turned = world.clone();
    let rotate = |length: usize| turn.checked_rem(length).unwrap_or(0);
    turned.types.rotate_left(rotate(world.types.len()));
    turned.pools.reverse();
    turned.machines.rotate_left(rotate(world.machines.len()));
    turned.daemons.reverse();
    turned.pods.rotate_left(rotate(world.pods.len()));
    turned.pods.reverse();
    turned
}

fn without_limits(mut world: World) -> World {
    for pool in &mut world.pools {
        if let Some(spec) = pool.0["spec"].as_object_mut() {
            spec.remove("limits");
        }
    }
    world
}

/// Names of pods without a place.
fn unplaced(world: &World) -> Vec<String> {
    unplaced_in(&world.solve())
}

fn unplaced_in(outcome: &Outcome) -> Vec<String> {
    let unplaced = outcome.report.unplaced.iter();
    unplaced
        .map(|(pod, _)| outcome.snapshot.pods[*pod].name.to_string())
        .collect()
}

/// Names of pods that the plan has a place for.
fn placed(outcome: &Outcome) -> Vec<String> {
    let bound = outcome.plan.bindings.iter().map(|(pod, _)| pod);
    let new = outcome.plan.claims.iter().flat_map(|claim| &claim.pods);
    bound
        .chain(new)
        .map(|pod| outcome.snapshot.pods[*pod].name.to_string())
        .collect()
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn the_judge_accepts_every_plan(world in a_world()) {
        // `solve` asks the judge.
        let first = world.solve();
        prop_assert_eq!(first.lines(), world.solve().lines());
    }

    #[test]
    fn the_judge_accepts_every_plan_of_neighbors(world in a_world_of_neighbors()) {
        let first = world.solve();
        prop_assert_eq!(first.lines(), world.solve().lines());
        prop_assert_eq!(first.lines(), turned(&world, 3).solve().lines());
    }

    #[test]
    fn the_order_of_input_does_not_matter(world in a_world(), turn in 0..7usize) {
        prop_assert_eq!(world.solve().lines(), turned(&world, turn).solve().lines());
    }

    #[test]
    fn an_empty_node_takes_no_place_away(world in a_world(), zone in select(vec!["z1", "z2", "z3"])) {
        // Below a limit pods compete, and another one may win.
        let world = without_limits(world);
        let before = unplaced(&world);
        let node = node("n-more")
            .label("zone", zone)
            .set("spec.providerID", "test://n-more");
        let with_node = world.clone().node(node);
        // Nobody defines the label `team` but pods that speak of it, on claims that they open: whether
        // another one finds it there depends on where those go.
        let speaks_of_team = |name: &String| {
            let pod = world.pods.iter().find(|pod| pod.name() == name);
            pod.is_some_and(|pod| pod.0["spec"].to_string().contains("team"))
        };
        for pod in unplaced(&with_node) {
            prop_assert!(before.contains(&pod) || speaks_of_team(&pod), "{pod} had a place before");
        }
    }

    #[test]
    fn who_has_a_place_among_neighbors_keeps_it(world in a_world_of_neighbors()) {
        let before = placed(&world.solve());
        for stage in [Stage::Created, Stage::Registered, Stage::Initialized] {
            let later = world.clone().then(stage).solve();
            let lines = later.lines();
            for pod in placed(&later).into_iter().chain(unplaced_in(&later)) {
                prop_assert!(!before.contains(&pod), "{stage:?}: {pod}: {lines:#?}");
            }
        }
    }

    #[test]
    fn a_settled_world_stays_as_it_is(world in a_world()) {
        let outcome = world.solve();
        prop_assume!(outcome.report.unplaced.is_empty());
        for stage in [Stage::Created, Stage::Registered, Stage::Initialized] {
            let later = world.clone().then(stage).solve();
            prop_assert_eq!(&later.plan.claims, &Vec::new(), "{:?}: {:#?}", stage, later.lines());
            prop_assert_eq!(&later.report.unplaced, &Vec::new());
        }
    }
}
