//! Rows of topology spread, pod affinity and pod anti-affinity (sections 13.7 and 13.8 of
//! scheduling.md), as data.

use std::collections::BTreeMap;

use crate::fixtures::{Manifest, Outcome, Stage, World, empty, long, node, pod, pool, row, world};
use serde_json::{Value, json};

/// A pod that the rules of these tests count.
pub(crate) fn counted(name: &str) -> Manifest {
    pod(name).label("app", "test")
}

fn selector(app: &str) -> Value {
    json!({"matchLabels": {"app": app}})
}

/// One spread over a key, with the selector of [`counted`] pods.
pub(crate) fn spread(key: &str, max_skew: i32) -> Value {
    json!({
        "maxSkew": max_skew, "topologyKey": long(key), "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": selector("test"),
    })
}

fn with(mut rule: Value, key: &str, value: impl Into<Value>) -> Value {
    rule[key] = value.into();
    rule
}

fn softly(rule: Value) -> Value {
    with(rule, "whenUnsatisfiable", "ScheduleAnyway")
}

pub(crate) fn spreads(pod: Manifest, rule: Value) -> Manifest {
    pod.push("spec.topologySpreadConstraints", rule)
}

/// A term over a key that selects pods of an app.
fn term(key: &str, app: &str) -> Value {
    json!({"topologyKey": long(key), "labelSelector": selector(app)})
}

fn affinity(pod: Manifest, kind: &str, term: Value) -> Manifest {
    let list = format!("spec.affinity.{kind}.requiredDuringSchedulingIgnoredDuringExecution");
    pod.push(&list, term)
}

fn near(pod: Manifest, term: Value) -> Manifest {
    affinity(pod, "podAffinity", term)
}

fn apart(pod: Manifest, term: Value) -> Manifest {
    affinity(pod, "podAntiAffinity", term)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands where `apart` may stand"
)]
fn rather_apart(pod: Manifest, term: Value) -> Manifest {
    let list = "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution";
    pod.push(list, json!({"weight": 1, "podAffinityTerm": term}))
}

/// So many pods, all alike.
pub(crate) fn many(world: World, count: usize, build: impl Fn(&str) -> Manifest) -> World {
    (0..count).fold(world, |world, at| world.pod(build(&format!("p{at:02}"))))
}

/// Where each counted pod is, or will be, by the value of a key.
pub(crate) fn domains(outcome: &Outcome, key: &str) -> BTreeMap<String, String> {
    let (snapshot, plan) = (&outcome.snapshot, &outcome.plan);
    let key = long(key);
    let key_id = snapshot.vocabulary.key(key);
    let mut found = BTreeMap::new();
    for (id, pod) in snapshot.pods.iter() {
        let is_one =
            pod.labels.is("app", "test") && pod.is_active() && &*pod.namespace == "default";
        let bound = plan.bindings.iter().find(|(own, _)| *own == id);
        let node = snapshot.bound[id].or(bound.map(|(_, node)| *node));
        let domain = if let Some(node) = node {
            let node = &snapshot.nodes[node];
            node.labels.get(key).map(ToString::to_string)
        } else {
            let claims = plan.claims.iter().enumerate();
            let claim = claims
                .into_iter()
                .find(|(_, claim)| claim.pods.contains(&id));
            claim.map(|(index, claim)| {
                if key == "kubernetes.io/hostname" {
                    return format!("claim {index}");
                }
                let values = key_id.and_then(|id| claim.requirements.get(id));
                let values = values.map_or(&[][..], |own| own.values());
                let texts: Vec<&str> = values
                    .iter()
                    .map(|value| &**snapshot.vocabulary.value_text(*value))
                    .collect();
                texts.join("|")
            })
        };
        if let Some(domain) = domain.filter(|_| is_one) {
            found.insert(pod.name.to_string(), domain);
        }
    }
    found
}

/// How many counted pods each domain has, the fewest first.
#[track_caller]
pub(crate) fn skew(id: &str, world: World, key: &str, expected: &[usize]) -> Outcome {
    let outcome = row(id, world, &[]);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for domain in domains(&outcome, key).into_values() {
        *counts.entry(domain).or_default() += 1;
    }
    let mut found: Vec<usize> = counts.values().copied().collect();
    found.sort_unstable();
    assert_eq!(
        found,
        expected,
        "{id}: {counts:?}\n{}",
        outcome.lines().join("\n")
    );
    outcome
}

/// A node in a zone with room for little more than it has.
fn full_node(name: &str, zone: &str) -> Manifest {
    node(name).label("zone", zone).has("cpu", "1200m")
}

fn zonal(name: &str) -> Manifest {
    spreads(counted(name), spread("zone", 1))
}

#[test]
fn zones() {
    skew("scheduling/T1", many(world(), 4, zonal), "zone", &[1, 1, 2]);
    let two = || empty().pool(pool("np").requires("zone In z1 z2"));
    skew("scheduling/T2", many(two(), 4, zonal), "zone", &[2, 2]);
    let labelled = |name: &str, zone: &str| pool(name).template_label(long("zone"), zone);
    let one = empty().pool(labelled("np", "z1"));
    skew("scheduling/T2", many(one, 4, zonal), "zone", &[4]);
    let pools = empty().pool(labelled("a", "z1")).pool(labelled("b", "z2"));
    skew("scheduling/T3", many(pools, 4, zonal), "zone", &[2, 2]);
    let large = |name: &str| zonal(name).cpu("1100m");
    skew(
        "scheduling/T4",
        many(
            two().node(full_node("n", "z3")).pod(large("there").on("n")),
            6,
            large,
        ),
        "zone",
        &[1, 2, 2],
    );
    skew(
        "scheduling/T5",
        many(
            empty()
                .pool(pool("np").requires("zone In z2 z3"))
                .node(full_node("n", "z1"))
                .pod(counted("there").cpu("1100m").on("n")),
            10,
            large,
        ),
        "zone",
        &[1, 2, 2],
    );
    skew(
        "scheduling/T6",
        many(
            empty()
                .pool(pool("np").requires("zone In z3"))
                .node(full_node("n1", "z1"))
                .node(full_node("n2", "z2"))
                .pod(counted("there-1").cpu("1100m").on("n1"))
                .pod(counted("there-2").cpu("1100m").on("n2")),
            10,
            |name| spreads(counted(name), spread("zone", 5)).cpu("1100m"),
        ),
        "zone",
        &[1, 1, 6],
    );
    let filled = (0..3).fold(world().node(node("n")), |world, at| {
        world.pod(counted(&format!("there-{at}")).on("n"))
    });
    skew("scheduling/T7", many(filled, 3, zonal), "zone", &[1, 2, 3]);
}

#[test]
fn spread_fields() {
    let unknown = world().pod(spreads(counted("a"), spread("nobody.example/knows", 1)));
    row(
        "scheduling/T8",
        unknown,
        &[
            "claims 0",
            "a: unplaced, unsatisfiable topology constraint for topology spread, key=nobody.example/knows (counts = map[], podDomains = nobody.example/knows Exists, nodeDomains = nobody.example/knows Exists",
        ],
    );
    let mut all = spread("zone", 1);
    all.as_object_mut().unwrap().remove("labelSelector");
    let world_of = |rule: &Value| many(world(), 2, |name| spreads(counted(name), rule.clone()));
    skew("scheduling/T9", world_of(&all), "zone", &[2]);
    let three = with(spread("zone", 1), "minDomains", 3);
    let two_zones = empty().pool(pool("np").requires("zone In z1 z2"));
    let rule = |rule: &Value| {
        let rule = rule.clone();
        move |name: &str| spreads(counted(name), rule.clone())
    };
    skew(
        "scheduling/T10",
        many(two_zones, 3, rule(&three)),
        "zone",
        &[1, 1],
    );
    skew(
        "scheduling/T11",
        many(world(), 11, rule(&three)),
        "zone",
        &[3, 4, 4],
    );
    let host = spread("kubernetes.io/hostname", 1);
    let per_host = many(world(), 4, rule(&host));
    skew(
        "scheduling/T12",
        per_host,
        "kubernetes.io/hostname",
        &[1; 4],
    );
    let four = rule(&spread("kubernetes.io/hostname", 4));
    skew(
        "scheduling/T12",
        many(world(), 4, four),
        "kubernetes.io/hostname",
        &[4],
    );
    let apps = ["a", "b"].into_iter().fold(world(), |world, app| {
        let rule = with(host.clone(), "labelSelector", selector(app));
        (0..2).fold(world, |world, at| {
            world.pod(spreads(
                pod(&format!("{app}{at}")).label("app", app),
                rule.clone(),
            ))
        })
    });
    row("scheduling/T13", apps, &["claims 2"]);
    let capacity = many(world(), 4, rule(&spread("capacity", 1)));
    skew("scheduling/T14", capacity, "capacity", &[2, 2]);
    let on_demand = || {
        empty()
            .pool(pool("np").requires("capacity In on-demand"))
            .node(full_node("n", "z1").label("capacity", "spot"))
            .pod(counted("there").cpu("1100m").on("n"))
    };
    let hard = |name: &str| spreads(counted(name), spread("capacity", 1)).cpu("500m");
    let soft = |name: &str| spreads(counted(name), softly(spread("capacity", 1))).cpu("500m");
    skew(
        "scheduling/T15",
        many(on_demand(), 5, hard),
        "capacity",
        &[1, 2],
    );
    skew(
        "scheduling/T15",
        many(on_demand(), 5, soft),
        "capacity",
        &[1, 5],
    );
    let strangers = many(world(), 4, |name| spreads(pod(name), host.clone()));
    row("scheduling/T16", strangers, &["claims 1"]);
    let closed = empty()
        .pool(pool("np").requires("zone In z1 z2"))
        .pool(pool("closed").requires("zone In z3").limit("cpu", "0"));
    skew("scheduling/T17", many(closed, 10, zonal), "zone", &[1, 1]);
}

#[test]
fn spread_over_other_labels() {
    let custom = "example.com/rack";
    let pools = || {
        empty()
            .pool(
                pool("a")
                    .requires("example.com/rack In 2 3 4 5")
                    .requires("capacity In spot"),
            )
            .pool(
                pool("b")
                    .requires("example.com/rack In 1")
                    .requires("capacity In on-demand"),
            )
    };
    let racks = |name: &str| spreads(counted(name), spread(custom, 1));
    skew("scheduling/T18", many(pools(), 20, racks), custom, &[4; 5]);
    skew(
        "scheduling/T18",
        many(pools(), 20, racks),
        "capacity",
        &[4, 16],
    );
    let rule = with(
        spread("kubernetes.io/hostname", 1),
        "matchLabelKeys",
        json!(["revision"]),
    );
    let revisions = |with_label: bool| {
        (0..4).fold(world(), |world, at| {
            let pod = spreads(counted(&format!("p{at}")), rule.clone());
            let revision = if at < 2 { "old" } else { "new" };
            world.pod(if with_label {
                pod.label("revision", revision)
            } else {
                pod
            })
        })
    };
    skew(
        "scheduling/T19",
        revisions(true),
        "kubernetes.io/hostname",
        &[2, 2],
    );
    skew(
        "scheduling/T19",
        revisions(false),
        "kubernetes.io/hostname",
        &[1; 4],
    );
    // Foreign nodes have two more values, which no pod of ours can go to.
    let key = "example.com/slot";
    let foreign = |change: fn(Manifest) -> Manifest| {
        ["foo", "bar"].into_iter().fold(
            empty().pool(
                pool("np")
                    .template_label(key, "baz")
                    .template_label("example.com/team", "mine"),
            ),
            |world, value| world.node(change(node(value).label(key, value))),
        )
    };
    let slots = |policy: &'static str, value: &'static str| {
        move |name: &str| spreads(counted(name), with(spread(key, 1), policy, value))
    };
    let tainted = || foreign(|node| node.taint("foreign", "NoSchedule"));
    for (value, scheduled) in [("Ignore", 1), ("Honor", 5)] {
        let world = many(tainted(), 5, slots("nodeTaintsPolicy", value));
        skew("scheduling/T20", world, key, &[scheduled]);
        let mine = |name: &str| {
            slots("nodeAffinityPolicy", value)(name).selects("example.com/team", "mine")
        };
        skew(
            "scheduling/T21",
            many(foreign(|node| node), 5, mine),
            key,
            &[scheduled],
        );
    }
    let exclusive = ["a", "b"].into_iter().fold(empty(), |world, name| {
        let values = if name == "a" { "foo bar" } else { "foo baz" };
        world.pool(
            pool(name)
                .requires(&format!("{key} In {values}"))
                .template_taint("only", name, "NoSchedule"),
        )
    });
    let tolerant = |name: &str, taint: &str| {
        slots("nodeTaintsPolicy", "Honor")(name).tolerates(
            json!({"key": "only", "operator": "Equal", "value": taint, "effect": "NoSchedule"}),
        )
    };
    let exclusive = (0..2).fold(exclusive, |world, at| {
        world.pod(tolerant(&format!("a{at}"), "a"))
    });
    let exclusive = (0..4).fold(exclusive, |world, at| {
        world.pod(tolerant(&format!("b{at}"), "b"))
    });
    skew("scheduling/T22", exclusive, key, &[1, 2, 3]);
}

#[test]
fn spread_and_node_affinity() {
    let pinned = |zone: &'static str| move |name: &str| zonal(name).selects("zone", zone);
    let both = (0..5).fold(world(), |world, at| {
        world.pod(pinned("z1")(&format!("a{at}")))
    });
    let both = (0..10).fold(both, |world, at| world.pod(pinned("z2")(&format!("b{at}"))));
    skew("scheduling/T23", both, "zone", &[5, 10]);
    let required = |name: &str| zonal(name).term(&["zone In z1 z2"]);
    skew(
        "scheduling/T24",
        many(world(), 10, required),
        "zone",
        &[5, 5],
    );
    let preferred = |name: &str| zonal(name).prefers(1, "zone In z1 z2");
    skew(
        "scheduling/T24",
        many(world(), 6, preferred),
        "zone",
        &[2, 2, 2],
    );
}

#[test]
fn who_is_counted() {
    let uncounted = |world: World| {
        world
            .node(node("n"))
            .node(node("nowhere").without_label("zone"))
            .pod(counted("leaving").on("n").deleting())
            .pod(counted("done").on("n").set("status.phase", "Succeeded"))
            .pod(counted("waiting").set("status.conditions.0.reason", "SchedulingGated"))
            .pod(
                counted("elsewhere")
                    .on("n")
                    .set("metadata.namespace", "other"),
            )
            .pod(counted("unzoned").on("nowhere"))
    };
    let two_zones = empty().pool(pool("np").requires("zone In z1 z2"));
    // Were any of them counted, the second pod could not go to z1.
    let outcome = row("scheduling/T26", many(uncounted(two_zones), 2, zonal), &[]);
    let zones = domains(&outcome, "zone");
    let mut new: Vec<&str> = ["p00", "p01"].iter().map(|name| &*zones[*name]).collect();
    new.sort_unstable();
    assert_eq!(new, ["z1", "z2"]);
    let in_flight = many(world(), 4, zonal).then(Stage::Launched);
    let more = (4..9).fold(in_flight, |world, at| {
        world.pod(zonal(&format!("p{at:02}")))
    });
    row("scheduling/T27", more.clone(), &["claims 0", "!unplaced"]);
    let settled = many(world(), 4, zonal).then(Stage::Initialized);
    let more = (4..9).fold(settled, |world, at| world.pod(zonal(&format!("p{at:02}"))));
    let outcome = skew("scheduling/T27", more, "zone", &[3, 3, 3]);
    assert!(outcome.plan.claims.is_empty());
}

const HOST: &str = "kubernetes.io/hostname";

#[test]
fn affinity_to_hosts() {
    let other = |world: World| {
        (0..10).fold(world, |world, at| {
            let rule = with(spread(HOST, 1), "labelSelector", selector("other"));
            world.pod(spreads(pod(&format!("o{at}")).label("app", "other"), rule))
        })
    };
    let outcome = row(
        "scheduling/A1",
        other(world())
            .pod(pod("target").label("app", "target"))
            .pod(near(pod("follower"), term(HOST, "target"))),
        &["!unplaced"],
    );
    let place = |name: &str| {
        let id = outcome.snapshot.pod_named("default", name).unwrap();
        outcome
            .plan
            .claims
            .iter()
            .position(|claim| claim.pods.contains(&id))
    };
    assert!(place("target").is_some());
    assert_eq!(place("target"), place("follower"));
    let clique = many(world(), 10, |name| near(counted(name), term(HOST, "test")));
    skew("scheduling/A2", clique.clone(), HOST, &[5]);
    row(
        "scheduling/A2",
        clique.then(Stage::Initialized),
        &["claims 0", "unplaced"],
    );
    for order in [["db", "web", "cache", "ui"], ["ui", "cache", "web", "db"]] {
        let chain = order
            .into_iter()
            .enumerate()
            .fold(world(), |world, (at, app)| {
                let own = pod(app)
                    .label("app", app)
                    .created(i64::try_from(at).unwrap());
                let target = match app {
                    "web" => "db",
                    "cache" => "web",
                    "ui" => "cache",
                    _ => return world.pod(own),
                };
                world.pod(near(own, term(HOST, target)))
            });
        row("scheduling/A8", chain, &["claims 1", "!unplaced"]);
    }
    for (first, second) in [(0, 1), (1, 0)] {
        row(
            "scheduling/A9",
            world()
                .pod(pod("target").label("app", "target").created(first))
                .pod(apart(pod("loner"), term(HOST, "target")).created(second)),
            &["claims 2", "!unplaced"],
        );
    }
}

#[test]
fn affinity_to_zones() {
    let own = |name: &str| near(counted(name), term("zone", "test"));
    let pinned = many(world(), 3, |name| own(name).selects("zone", "z3"));
    let outcome = skew("scheduling/A3", pinned, "zone", &[3]);
    assert_eq!(outcome.plan.claims.len(), 1);
    row(
        "scheduling/A4",
        world()
            .pod(own("a").selects("zone", "z2"))
            .pod(own("b").selects("zone", "z3")),
        &["claims 2", "!unplaced"],
    );
    row(
        "scheduling/A5",
        world().pod(near(pod("a"), term("zone", "nobody"))),
        &[
            "claims 0",
            "a: unplaced, unsatisfiable topology constraint for pod affinity, key=topology.kubernetes.io/zone (counts = map[z1:0 z2:0 z3:0]",
        ],
    );
    let followers = |target: Manifest| {
        (0..3).fold(world().pod(target), |world, at| {
            world.pod(near(pod(&format!("f{at}")), term("zone", "target")).cpu("5m"))
        })
    };
    let target = pod("target").label("app", "target");
    let unpinned = followers(target.clone());
    row(
        "scheduling/A6",
        unpinned.clone(),
        &[
            "target: new 0",
            "f0: unplaced",
            "f1: unplaced",
            "f2: unplaced",
        ],
    );
    row(
        "scheduling/A6",
        unpinned.then(Stage::Initialized),
        &["!unplaced"],
    );
    row(
        "scheduling/A7",
        followers(target.selects("zone", "z1")),
        &["!unplaced", "zone In [z1]"],
    );
}

#[test]
fn anti_affinity_over_zones() {
    let there = |world: World| {
        ["z1", "z2", "z3"].into_iter().fold(world, |world, zone| {
            world.pod(counted(zone).cpu("2").selects("zone", zone))
        })
    };
    row(
        "scheduling/A10",
        there(world()).pod(apart(pod("loner"), term("zone", "test"))),
        &["loner: unplaced, unsatisfiable topology constraint for pod anti-affinity"],
    );
    let mutual = |name: &str| apart(counted(name), term("zone", "test"));
    let mut passes = many(world(), 3, mutual);
    for placed in 1..=3 {
        let outcome = row("scheduling/A11", passes.clone(), &["claims 1"]);
        let unplaced = 3 - placed;
        assert_eq!(outcome.report.unplaced.len(), unplaced, "pass {placed}");
        passes = passes.then(Stage::Initialized);
    }
    let outcome = skew("scheduling/A11", passes, "zone", &[1, 1, 1]);
    assert!(outcome.plan.claims.is_empty());
    let later = world()
        .pod(apart(pod("loner"), term("zone", "target")).cpu("2"))
        .pod(pod("target").label("app", "target"));
    row(
        "scheduling/A12",
        later.clone(),
        &["loner: new 0", "target: unplaced"],
    );
    let next = later.then(Stage::Initialized);
    let outcome = row("scheduling/A12", next, &["target: new 0", "!unplaced"]);
    let zone = outcome
        .snapshot
        .nodes
        .values()
        .next()
        .unwrap()
        .labels
        .get(long("zone"))
        .cloned();
    let lines = outcome.lines().join("\n");
    assert!(
        !lines.contains(&format!("zone In [{}]", zone.unwrap())),
        "{lines}"
    );
    let guarded = |guard: fn(Manifest, Value) -> Manifest| {
        ["z1", "z2", "z3"]
            .into_iter()
            .fold(world(), |world, zone| {
                let guard = guard(pod(&format!("guard-{zone}")), term("zone", "target"));
                world
                    .node(full_node(zone, zone))
                    .pod(guard.cpu("1100m").on(zone))
            })
            .pod(pod("target").label("app", "target"))
    };
    row(
        "scheduling/A13",
        guarded(apart),
        &["target: unplaced, unsatisfiable topology constraint for pod anti-affinity"],
    );
    row("scheduling/A13", guarded(rather_apart), &["!unplaced"]);
}

#[test]
fn affinity_across_namespaces() {
    let target = |world: World| {
        world.pod(
            pod("target")
                .label("app", "target")
                .selects("zone", "z1")
                .cpu("1")
                .set("metadata.namespace", "other"),
        )
    };
    let follow = |change: fn(&mut Value)| {
        let mut term = term("zone", "target");
        change(&mut term);
        target(world()).pod(near(pod("follower"), term))
    };
    row("scheduling/A14", follow(|_| {}), &["follower: unplaced"]);
    let listed = follow(|term| term["namespaces"] = json!(["other"]));
    row("scheduling/A14", listed, &["!unplaced"]);
    let all = follow(|term| term["namespaceSelector"] = json!({}));
    row("scheduling/A14", all, &["!unplaced"]);
    let namespaced = |labels: Value| {
        let mut world = follow(|term| {
            term["namespaceSelector"] = json!({"matchLabels": {"team": "blue"}});
        });
        let metadata = json!({"name": "other", "labels": labels});
        world
            .namespaces
            .push(Manifest(json!({"metadata": metadata})));
        world
    };
    row(
        "scheduling/A14",
        namespaced(json!({"team": "blue"})),
        &["!unplaced"],
    );
    row(
        "scheduling/A14",
        namespaced(json!({"team": "red"})),
        &["follower: unplaced"],
    );
}

fn ignoring(world: World) -> World {
    world.options(karpenter_plan::Options {
        ignore_preferences: true,
        ..karpenter_plan::Options::default()
    })
}

#[test]
fn ignored_preferences() {
    let pinned = |name: &str, zone: &str| counted(name).cpu("1").selects("zone", zone);
    let outcome = row(
        "scheduling/F4",
        ignoring(world())
            .pod(pinned("one", "z1"))
            .pod(pinned("two", "z2"))
            .pod(pinned("three", "z2"))
            .pod(counted("a").prefers(1, "zone In z2")),
        &["claims 2", "!unplaced", "a: relaxed"],
    );
    assert_eq!(domains(&outcome, "zone")["a"], "z1");
    let soft = |name: &str| spreads(counted(name), softly(spread("kubernetes.io/hostname", 1)));
    let apart = |name: &str| rather_apart(counted(name), term("kubernetes.io/hostname", "test"));
    row(
        "scheduling/F5",
        ignoring(many(world(), 5, soft)),
        &["claims 1", "p04: relaxed"],
    );
    row(
        "scheduling/F5",
        ignoring(many(world(), 5, apart)),
        &["claims 1", "p04: relaxed"],
    );
    row(
        "scheduling/F5",
        many(world(), 5, soft),
        &["claims 5", "!relaxed"],
    );
}
