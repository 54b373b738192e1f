//! Rows of volumes (section 13.10 of scheduling.md), as data.

use crate::fixtures::{Manifest, Stage, World, empty, long, node, pod, pool, req, row, world};
use serde_json::{Value, json};

/// A claim in the pods' namespace, of the class `standard`, bound to nothing.
fn claim(name: &str) -> Manifest {
    Manifest(json!({
        "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"},
        "spec": {"storageClassName": "standard"}, "status": {"phase": "Pending"},
    }))
}

impl Manifest {
    fn bound_to(self, volume: &str) -> Self {
        self.put(
            "metadata.annotations",
            "pv.kubernetes.io/bind-completed",
            "yes",
        )
        .set("spec.volumeName", volume)
        .set("status.phase", "Bound")
    }

    /// The pod uses a claim.
    fn uses(self, claim: &str) -> Self {
        let volume = json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
        self.push("spec.volumes", volume)
    }

    /// The volume can be reached from nodes that meet all of the entries.
    fn reachable(self, entries: &[&str]) -> Self {
        let entries: Vec<Value> = entries.iter().map(|entry| req(entry)).collect();
        let term = json!({"matchExpressions": entries});
        self.push("spec.nodeAffinity.required.nodeSelectorTerms", term)
    }
}

fn volume(name: &str) -> Manifest {
    Manifest(json!({
        "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"csi": {"driver": "ebs.csi.aws.com", "volumeHandle": name}},
    }))
}

fn class(zones: &[&str]) -> Manifest {
    let expression = json!({"key": long("zone"), "values": zones});
    let topologies = json!([{"matchLabelExpressions": [expression]}]);
    Manifest(json!({
        "kind": "StorageClass", "metadata": {"name": "standard"}, "provisioner": "ebs.csi.aws.com",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": if zones.is_empty() { Value::Null } else { topologies },
    }))
}

/// A pod with the claim `data`.
fn with_data(world: World) -> World {
    world.pod(pod("a").uses("data")).volume(claim("data"))
}

fn bound(volume: Manifest) -> World {
    world()
        .pod(pod("a").uses("data"))
        .volume(claim("data").bound_to("pv"))
        .volume(volume)
}

#[test]
fn zones_of_volumes() {
    let unbound = |term: &str| {
        world()
            .pod(pod("a").uses("data").term(&[term]))
            .volume(claim("data"))
            .volume(class(&["z2", "z3"]))
    };
    row(
        "scheduling/V1",
        unbound("zone In z1 z3"),
        &["a: new 0", "zone In [z3]"],
    );
    row(
        "scheduling/V2",
        unbound("zone In z1"),
        &[
            "claims 0",
            "a: unplaced, incompatible volume requirements, key topology.kubernetes.io/zone, topology.kubernetes.io/zone In [z2 z3] not in topology.kubernetes.io/zone In [z1]",
        ],
    );
    let in_z3 = || volume("pv").reachable(&["zone In z3"]);
    row(
        "scheduling/V3",
        bound(in_z3()),
        &["a: new 0", "zone In [z3]"],
    );
    let mut either = bound(in_z3());
    either.pods[0] = either.pods[0]
        .clone()
        .term(&["zone In z1"])
        .term(&["arch In amd64"]);
    row("scheduling/V3", either, &["a: new 0", "zone In [z3]"]);
    let apart = |name: &str, claim: &str| {
        let term = json!({
            "topologyKey": long("zone"), "labelSelector": {"matchLabels": {"app": "x"}},
        });
        let list = "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution";
        pod(name).label("app", "x").uses(claim).push(list, term)
    };
    let two_zones = |name: &str| {
        let volume = volume(name).reachable(&["zone In z1"]);
        volume.reachable(&["zone In z2"])
    };
    row(
        "scheduling/V9",
        world()
            .pod(apart("a", "data-a"))
            .pod(apart("b", "data-b"))
            .volume(claim("data-a").bound_to("pv-a"))
            .volume(claim("data-b").bound_to("pv-b"))
            .volume(two_zones("pv-a"))
            .volume(two_zones("pv-b")),
        &[
            "claims 2",
            "new 0: requires topology.kubernetes.io/zone In [z1]",
            "new 1: requires topology.kubernetes.io/zone In [z2]",
        ],
    );
    let pair = |second: &[&str]| {
        let first = volume("pv-a")
            .reachable(&["zone In z1"])
            .reachable(&["zone In z2"]);
        let second = second.iter().fold(volume("pv-b"), |volume, zone| {
            volume.reachable(&[&format!("zone In {zone}")])
        });
        world()
            .pod(pod("a").uses("data-a").uses("data-b"))
            .volume(claim("data-a").bound_to("pv-a"))
            .volume(claim("data-b").bound_to("pv-b"))
            .volume(first)
            .volume(second)
    };
    row(
        "scheduling/V10",
        pair(&["z2", "z3"]),
        &["a: new 0", "zone In [z2]"],
    );
    row(
        "scheduling/V10",
        pair(&["z3"]),
        &["claims 0", "a: unplaced, incompatible volume requirements"],
    );
}

#[test]
fn spread_with_a_volume() {
    let rule = json!([{
        "maxSkew": 1, "topologyKey": long("zone"), "whenUnsatisfiable": "DoNotSchedule", "minDomains": 3,
        "labelSelector": {"matchLabels": {"app": "x"}},
    }]);
    let member = |name: &str| {
        pod(name)
            .label("app", "x")
            .set("spec.topologySpreadConstraints", rule.clone())
    };
    let three = ["a", "b", "c"]
        .into_iter()
        .fold(world(), |world, name| world.pod(member(name)))
        .then(Stage::Initialized);
    let outcome = row(
        "scheduling/T25",
        three
            .pod(member("d").uses("data"))
            .volume(claim("data").bound_to("pv"))
            .volume(volume("pv").reachable(&["zone In z1"])),
        &["claims 0", "!unplaced"],
    );
    let (_, node) = outcome.plan.bindings[0];
    assert!(outcome.snapshot.nodes[node].labels.is(long("zone"), "z1"));
}

#[test]
fn unusable_volumes() {
    let ignored = |id: &str, world: World, why: &str| {
        row(
            id,
            world,
            &["claims 0", &format!("a: ignored (event), {why}")],
        );
    };
    let mut unannotated = bound(volume("pv"));
    unannotated.volumes[0] = claim("data").set("spec.volumeName", "pv");
    ignored(
        "scheduling/V4",
        unannotated,
        "pvc is considered unbound because it does not contain annotation",
    );
    let without_class = world()
        .pod(pod("a").uses("data"))
        .volume(claim("data").set("spec.storageClassName", ""));
    ignored(
        "scheduling/V5",
        without_class,
        "unbound pvc must define a storage class",
    );
    ignored(
        "scheduling/V5",
        with_data(world()),
        "failed to validate pvc, failed to get storage class, storageclasses.storage.k8s.io \"standard\" not found (PersistentVolumeClaim=default/data, StorageClass=standard)",
    );
    row("scheduling/V5", bound(volume("pv")), &["a: new 0"]);
    let odd_driver = class(&[]).set("provisioner", "old.example.com");
    let odd_key = class(&["z1"]).set(
        "allowedTopologies.0.matchLabelExpressions.0.key",
        "example.com/odd",
    );
    let odd_volume = volume("pv").set("spec.csi.driver", "old.example.com");
    for (world, why) in [
        (
            with_data(world()).volume(odd_driver),
            "provisioner is not supported",
        ),
        (
            with_data(world()).volume(odd_key),
            "storage class uses unsupported topology key",
        ),
        (bound(odd_volume), "provisioner is not supported"),
    ] {
        ignored(
            "scheduling/V14",
            world,
            &format!("failed to validate pvc, {why}"),
        );
    }
    let immediate = class(&[]).set("volumeBindingMode", "Immediate");
    ignored(
        "scheduling/V6",
        with_data(world()).volume(immediate),
        "failed to validate pvc, pvc with immediate volume binding mode must be bound",
    );
    let mut deleting = bound(volume("pv"));
    deleting.volumes[0] = deleting.volumes[0].clone().deleting();
    // What is wrong with one pod is no matter of the others.
    row(
        "scheduling/E10",
        world().pod(pod("a").uses("data")).pod(pod("b")),
        &[
            "a: ignored (event), getting persistent volume claim, ",
            "b: new 0",
            "claims 1",
        ],
    );
    ignored(
        "scheduling/V7",
        deleting,
        "persistentvolumeclaim is being deleted",
    );
    let mut lost = bound(volume("pv"));
    lost.volumes[0] = lost.volumes[0].clone().set("status.phase", "Lost");
    ignored(
        "scheduling/V7",
        lost,
        "persistentvolumeclaim bound to non-existent persistentvolume",
    );
    ignored(
        "scheduling/V7",
        bound(volume("pv").deleting()),
        "persistentvolume is being deleted",
    );
    ignored(
        "scheduling/V7",
        bound(volume("other")),
        "failed to validate pvc, persistentvolumes \"pv\" not found",
    );
    ignored(
        "scheduling/V7",
        world().pod(pod("a").uses("data")),
        "getting persistent volume claim, persistentvolumeclaims \"data\" not found (PersistentVolumeClaim=data)",
    );
}

#[test]
fn volumes_of_one_host() {
    let on_host = |kind: &str| {
        let mut volume = volume("pv").reachable(&["kubernetes.io/hostname In gone"]);
        if kind != "csi" {
            volume.0["spec"].as_object_mut().unwrap().remove("csi");
            volume = volume.put("spec", kind, json!({"path": "/disk"}));
        }
        bound(volume)
    };
    row("scheduling/V8", on_host("local"), &["a: new 0"]);
    row("scheduling/V8", on_host("hostPath"), &["a: new 0"]);
    row(
        "scheduling/V8",
        on_host("csi"),
        &[
            "claims 0",
            "a: unplaced, incompatible volume requirements, label \"kubernetes.io/hostname\" does not have known values",
        ],
    );
    let mut either = on_host("local");
    either.volumes[1] = either.volumes[1].clone().reachable(&["zone In nowhere"]);
    row("scheduling/V13", either, &["a: new 0"]);
}

#[test]
fn attachments() {
    let limits = Manifest(json!({
        "kind": "CSINode", "metadata": {"name": "n"},
        "spec": {"drivers": [{"name": "ebs.csi.aws.com", "allocatable": {"count": 10}}]},
    }));
    let two_each = (0..6).fold(world().node(node("n")).volume(limits), |world, at| {
        let (one, two) = (format!("one-{at}"), format!("two-{at}"));
        world
            .pod(pod(&format!("p{at}")).uses(&one).uses(&two))
            .volume(claim(&one))
            .volume(claim(&two))
    });
    let two_each = two_each.volume(class(&[]));
    row(
        "scheduling/V11",
        two_each,
        &[
            "p0: node n",
            "p1: node n",
            "p2: node n",
            "p3: node n",
            "p4: node n",
            "p5: new 0",
            "claims 1",
        ],
    );
    let mut roomy = empty().pool(pool("np")).types({
        let mut roomy = crate::fixtures::instance_type("roomy", 16, 64);
        roomy
            .capacity
            .extend(crate::fixtures::resources(&[("pods", "200")]));
        vec![roomy]
    });
    roomy = (0..100).fold(roomy, |world, at| {
        world.pod(pod(&format!("p{at}")).uses("data"))
    });
    roomy = roomy.volume(claim("data")).volume(class(&[]));
    row("scheduling/V12", roomy, &["claims 1", "!unplaced"]);
}
