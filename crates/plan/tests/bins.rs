//! Where the next pod goes among claims and places that all have room, and what a finished claim says.

use std::collections::BTreeSet;

use crate::fixtures::{
    Manifest, Outcome, Stage, World, daemon_set, empty, instance_type, node, pod, pool, resources,
    row,
};
use karpenter_plan::{
    InstanceType, Refusal,
    schedule::{FilterVerdict, MinValuesPolicy, TemplateRefusal, leaves_types},
};
use serde_json::{Value, json};

/// A term over a key that selects pods with a label.
fn term(key: &str, label: &str) -> Value {
    json!({"topologyKey": key, "labelSelector": {"matchLabels": {label: "yes"}}})
}

fn apart(pod: Manifest, key: &str, label: &str) -> Manifest {
    pod.push(
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        term(key, label),
    )
}

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The first of its claim: larger pods come first, and no two of these share a host.
fn opener(name: &str) -> Manifest {
    apart(pod(name).cpu("2").label("opener", "yes"), HOST, "opener")
}

/// One large type, and a pool that leaves it to pods which team they are.
fn roomy() -> World {
    let mut roomy = instance_type("roomy", 64, 256);
    roomy.capacity.extend(resources(&[("pods", "110")]));
    empty()
        .types(vec![roomy])
        .pool(pool("np").requires("example.com/team In mine other"))
}

/// The number of the claim that the pod is on.
fn claim_of(outcome: &Outcome, name: &str) -> Option<usize> {
    let id = outcome.snapshot.pod_named("default", name)?;
    let mut claims = outcome.plan.claims.iter();
    claims.position(|claim| claim.pods.contains(&id))
}

/// Where fillers go that find these claims equally empty: a claim that got a pod is asked before others
/// that have as many, so each round turns back where the last one ended.
fn snake(claims: &[usize], pods: usize) -> Vec<Option<usize>> {
    let forth = claims.iter().copied();
    let there_and_back: Vec<usize> = forth.clone().chain(forth.rev()).collect();
    there_and_back
        .into_iter()
        .cycle()
        .take(pods)
        .map(Some)
        .collect()
}

/// Adds fillers and asserts that they go to these claims only, in the order of a snake.
#[track_caller]
fn fills(world: World, claims: &[usize], filler: impl Fn(Manifest) -> Manifest) {
    let names: Vec<String> = (0..=(4 * claims.len()).min(44))
        .map(|at| format!("z-filler-{at:02}"))
        .collect();
    let world = names
        .iter()
        .fold(world, |world, name| world.pod(filler(pod(name))));
    let outcome = row("fillers", world, &["!unplaced"]);
    let found: Vec<Option<usize>> = names.iter().map(|name| claim_of(&outcome, name)).collect();
    assert_eq!(found, snake(claims, names.len()));
}

#[test]
fn the_emptiest_claim_is_asked_first() {
    let world = ["a", "b", "c"]
        .iter()
        .fold(roomy(), |world, name| world.pod(opener(name)));
    fills(world, &[0, 1, 2], |pod| pod);
}

/// What keeps fillers from a claim of the many.
#[derive(Clone, Copy, Debug)]
enum Obstacle {
    Labels,
    Host,
    Zone,
}

/// So many places without room and 130 claims, of which obstacles keep fillers away but for these.
fn crowd(obstacles: &[Obstacle], open: &[usize], places: usize) -> World {
    let mut world = roomy();
    for at in 0..places {
        world = world.node(node(&format!("full-{at:02}")).has("cpu", "1m"));
    }
    for at in 0..130 {
        let own = opener(&format!("o{at:03}"));
        let mine = |zone| {
            let own = own.clone().selects("example.com/team", "mine");
            own.selects("zone", zone)
        };
        let own = match obstacles[at % obstacles.len()] {
            _ if open.contains(&at) => mine("z1"),
            Obstacle::Labels => own.selects("example.com/team", "other"),
            Obstacle::Host => mine("z1").label("crowded", "yes"),
            Obstacle::Zone => mine("z2").label("zonal", "yes"),
        };
        world = world.pod(own);
    }
    world
}

#[test]
fn few_claims_among_many_are_asked_in_the_same_order() {
    let (labels, host, zone) = (Obstacle::Labels, Obstacle::Host, Obstacle::Zone);
    let all: Vec<usize> = (0..130).collect();
    // Up to one of sixteen counts as few; places that exist move the numbers of hosts.
    for (obstacles, open, places) in [
        (&[labels][..], &all[..], 0),
        (&[labels], &[7, 70], 0),
        (&[host], &[0, 65, 129], 65),
        (&[zone], &[63, 64, 100, 128], 2),
        (&[labels, host, zone], &[64, 65], 0),
        (&[labels, host, zone], &[0, 65, 129], 3),
        (
            &[labels, host, zone],
            &[3, 9, 27, 50, 64, 81, 90, 99, 120, 127, 129],
            1,
        ),
    ] {
        fills(crowd(obstacles, open, places), open, |pod| {
            let pod = pod.selects("example.com/team", "mine");
            apart(apart(pod, HOST, "crowded"), ZONE, "zonal")
        });
    }
}

#[test]
fn a_claim_that_comes_to_say_more_is_asked_again() {
    // Nobody says which team a claim is of until a pod excludes one.
    let plain = || {
        let mut world = roomy();
        world.pools = vec![pool("np")];
        world
    };
    let wants = |name: &str| pod(name).cpu("100m").selects("example.com/team", "mine");
    let excludes = pod("excludes").term(&["example.com/team NotIn other"]);
    row(
        "nobody says which team",
        plain().pod(wants("wants")),
        &["wants: unplaced"],
    );
    row(
        "a claim that says more",
        plain()
            .pod(opener("first"))
            .pod(wants("wants"))
            .pod(excludes.clone()),
        &["claims 1", "wants: new 0", "label example.com/team=mine"],
    );
    // The same among many claims that they cannot go to.
    let many = (0..70).fold(plain(), |world, at| {
        world.pod(opener(&format!("o{at:02}")).selects("zone", "z2"))
    });
    row(
        "one of many claims that says more",
        many.pod(opener("p").selects("zone", "z1"))
            .pod(wants("wants").selects("zone", "z1"))
            .pod(excludes.selects("zone", "z1")),
        &["claims 71", "wants: new 70", "excludes: new 70"],
    );
}

#[test]
fn places_are_asked_in_the_order_of_their_names() {
    let place = |at: usize| {
        let own = node(&format!("n{at:03}"));
        if at.is_multiple_of(3) {
            own
        } else {
            own.has("pods", "0")
        }
    };
    let mut world = (0..200).fold(roomy(), |world, at| world.node(place(at)));
    world = (0..5).fold(world, |world, at| {
        world.pod(opener(&format!("p{at}")).label("crowded", "yes"))
    });
    // A filler keeps away from the first five places with room, which are in the first word.
    world = (0..70).fold(world, |world, at| {
        let filler = apart(
            pod(&format!("q{at:02}")).label("crowded", "yes"),
            HOST,
            "crowded",
        );
        world.pod(filler)
    });
    let outcome = row("places", world, &["!unplaced", "claims 8"]);
    for (pod, node) in &outcome.plan.bindings {
        let name = &outcome.snapshot.pods[*pod].name;
        let number: usize = name[1..].parse().unwrap();
        let at = if name.starts_with('p') {
            number
        } else {
            number + 5
        };
        let place = &outcome.snapshot.nodes[*node].name;
        assert_eq!(**place, format!("n{:03}", at * 3), "{name}");
    }
    assert_eq!(outcome.plan.bindings.len(), 67);
}

#[test]
fn a_claim_says_what_its_template_says() {
    let world = empty()
        .pool(
            pool("np")
                .template_label("example.com/color", "red")
                .set(
                    "spec.template.metadata.annotations",
                    json!({"note": "here"}),
                )
                .template_taint("own", "mine", "NoSchedule")
                .template_taint("bare", "", "NoExecute")
                .startup_taint("boot", "NoSchedule"),
        )
        .daemon(
            daemon_set("agent")
                .pods(|pod| pod.cpu("200m").tolerates(json!({"operator": "Exists"}))),
        )
        .pod(
            pod("a")
                .cpu("500m")
                .tolerates(json!({"operator": "Exists"}))
                .selects("type", "default"),
        );
    let outcome = row("a claim", world, &["claims 1"]);
    let object = karpenter_plan::node_claim(&outcome.snapshot, &outcome.plan.claims[0]);
    let mut found = serde_json::to_value(object).unwrap();
    let metadata = found["metadata"].take();
    let annotations = metadata["annotations"].as_object().unwrap();
    let names: Vec<&String> = annotations.keys().collect();
    assert_eq!(
        names,
        [
            "karpenter.sh/nodeclaim-min-values-relaxed",
            "karpenter.sh/nodepool-hash",
            "karpenter.sh/nodepool-hash-version",
            "note",
        ]
    );
    assert_eq!(
        annotations["karpenter.sh/nodeclaim-min-values-relaxed"],
        "false"
    );
    assert_eq!(metadata["generateName"], "np-");
    assert_eq!(
        metadata["ownerReferences"],
        json!([{
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "np", "uid": "np",
            "blockOwnerDeletion": true,
        }])
    );
    assert_eq!(
        metadata["labels"],
        json!({
            "example.com/color": "red",
            "karpenter.sh/nodepool": "np",
            "karpenter.test.sh/testnodeclass": "default",
        })
    );
    let spec = &found["spec"];
    assert_eq!(
        spec["taints"],
        json!([
            {"key": "own", "value": "mine", "effect": "NoSchedule"},
            {"key": "bare", "effect": "NoExecute"},
        ])
    );
    assert_eq!(
        spec["startupTaints"],
        json!([{"key": "boot", "effect": "NoSchedule"}])
    );
    assert_eq!(
        spec["resources"]["requests"],
        json!({"cpu": "700m", "memory": "10Mi", "pods": "2"})
    );
}

#[test]
fn a_host_port_is_taken_once_on_a_place() {
    let web = |name: &str| pod(name).host_port(80, "", "TCP");
    let place = || {
        let closed = pool("np").limit("cpu", "0");
        empty().pool(closed).node(node("n"))
    };
    row(
        "two of one round",
        place().pod(web("a")).pod(web("b")).pod(pod("c")),
        &["a: node n", "b: unplaced", "c: node n"],
    );
    row(
        "one that runs there",
        place().pod(web("there").on("n")).pod(web("a")),
        &["a: unplaced"],
    );
    row(
        "one without ports runs there",
        place().pod(pod("there").on("n")).pod(web("a")),
        &["a: node n"],
    );
    // A pod that is expected on a place does not stand in its own way there.
    for stage in [Stage::Created, Stage::Launched] {
        let expected = empty().pool(pool("np")).pod(web("a")).then(stage);
        row(
            "expected there",
            expected.clone(),
            &["claims 0", "!unplaced"],
        );
        row(
            "another one",
            expected.pod(web("b")),
            &["claims 1", "b: new 0"],
        );
    }
}

/// A type of an architecture that is sold in one zone.
fn sold_in(zone: &str, arch: &str, cpu: i64) -> InstanceType {
    let mut own = instance_type(&format!("{arch}-{zone}-{cpu}"), cpu, 64);
    own.requirements[1].values = Some(vec![arch.into()]);
    for offering in &mut own.offerings {
        let zones = offering.requirements[1].values.as_ref().unwrap();
        offering.available = zones[0] == zone;
    }
    own
}

#[test]
fn a_refusal_says_which_tests_some_type_met() {
    let verdict = |[requirements, fits, offering]: [bool; 3], pairs: [bool; 3]| FilterVerdict {
        requirements,
        fits,
        offering,
        requirements_and_fits: pairs[0],
        requirements_and_offering: pairs[1],
        fits_and_offering: pairs[2],
    };
    // The pod asks for arm64 in z1 with eight cores.
    for (types, expected) in [
        (
            vec![sold_in("z2", "amd64", 4)],
            verdict([false, false, false], [false, false, false]),
        ),
        (
            vec![sold_in("z1", "amd64", 4)],
            verdict([false, false, true], [false, false, false]),
        ),
        (
            vec![sold_in("z1", "amd64", 16)],
            verdict([false, true, true], [false, false, true]),
        ),
        (
            vec![sold_in("z2", "arm64", 16)],
            verdict([true, false, false], [false, false, false]),
        ),
        (
            vec![sold_in("z1", "arm64", 4)],
            verdict([true, false, true], [false, true, false]),
        ),
        (
            vec![sold_in("z2", "arm64", 16), sold_in("z1", "amd64", 4)],
            verdict([true, false, true], [false, false, false]),
        ),
        (
            vec![sold_in("z2", "arm64", 16), sold_in("z1", "amd64", 16)],
            verdict([true, true, true], [false, false, true]),
        ),
        (
            vec![sold_in("z1", "arm64", 4), sold_in("z1", "amd64", 16)],
            verdict([true, true, true], [false, true, true]),
        ),
    ] {
        let names: Vec<String> = types.iter().map(|own| own.name.clone()).collect();
        let asking = pod("a")
            .cpu("8")
            .selects("arch", "arm64")
            .selects("zone", "z1");
        // Some other type keeps the pool from having none at all.
        let mut types = types;
        types.push(sold_in("z3", "s390x", 1));
        let outcome = row(
            "types",
            empty().types(types).pool(pool("np")).pod(asking),
            &[],
        );
        let (_, refusal) = &outcome.report.unplaced[0];
        let Refusal::Templates(refusals) = refusal else {
            panic!("{refusal:?}");
        };
        let (_, found) = &refusals[0];
        assert_eq!(
            found,
            &TemplateRefusal::InstanceTypes(expected),
            "{names:?}"
        );
    }
}

#[test]
fn a_list_that_was_cut_is_left_as_it_is_where_minimums_are_best_effort() {
    let mut types: Vec<InstanceType> = (0..600)
        .map(|at| instance_type(&format!("small-{at:03}"), 4, 4))
        .collect();
    types.push(instance_type("large", 16, 64));
    let varied = pool("np").push(
        "spec.template.spec.requirements",
        json!({"key": "size", "operator": "Exists", "minValues": 2}),
    );
    let best_effort = karpenter_plan::Options {
        min_values: MinValuesPolicy::BestEffort,
        ..Default::default()
    };
    let world = empty().types(types).pool(varied).pod(pod("a"));
    row("a cut list", world.options(best_effort), &["a: new 0"]);
}

#[test]
fn claims_choose_values_of_their_own() {
    let chosen = |seed: u64| -> Vec<String> {
        let world = ["a", "b", "c"].iter().fold(
            empty().pool(pool("np").requires("example.com/any Exists")),
            |world, name| world.pod(opener(name)),
        );
        let options = karpenter_plan::Options {
            seed,
            ..Default::default()
        };
        let outcome = row("three claims", world.options(options), &["claims 3"]);
        let claims = outcome.plan.claims.iter();
        let labels = claims.map(|claim| {
            karpenter_plan::node_claim(&outcome.snapshot, claim)
                .metadata
                .labels
        });
        labels
            .map(|labels| labels.unwrap()["example.com/any"].clone())
            .collect()
    };
    let seeds = [0, 1, u64::MAX];
    let all: BTreeSet<String> = seeds.into_iter().flat_map(chosen).collect();
    assert_eq!(all.len(), 9, "{all:?}");
    assert_eq!(chosen(1), chosen(1));
}

#[test]
fn a_pool_without_types_is_told_from_one_with_too_few() {
    let varied = |minimum: i32| {
        pool("np").push(
            "spec.template.spec.requirements",
            json!({"key": "size", "operator": "Exists", "minValues": minimum}),
        )
    };
    for (pool, expected) in [
        (pool("np"), Ok(())),
        (varied(2), Ok(())),
        (varied(3), Err(true)),
        (pool("np").requires("arch In s390x"), Err(false)),
    ] {
        let snapshot = empty().pool(pool.clone()).snapshot();
        let options = karpenter_plan::Options::default();
        let found = leaves_types(&snapshot, snapshot.pools.ids().next().unwrap(), &options);
        assert_eq!(found, expected, "{}", pool.0["spec"]);
    }
}
