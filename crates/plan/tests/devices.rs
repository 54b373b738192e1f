//! Rows of dynamic resource allocation (section 13.12 of scheduling.md), as data.

use crate::fixtures::{
    Manifest, Outcome, World, daemon_set, empty, instance_type, long, node, pod, pool, row, world,
};
use karpenter_plan::{
    InstanceType, NodeMask, Plan, ResourceSliceTemplate, View, Violation,
    catalog::AttributeBinding, check, check_view, explain_pod, simulate,
};
use serde_json::{Value, json};

const DRIVER: &str = "gpu.example.com";

/// Every device of the driver.
fn class() -> Manifest {
    Manifest(json!({
        "kind": "DeviceClass", "metadata": {"name": "gpu"},
        "spec": {"selectors": [{"cel": {"expression": format!("device.driver == '{DRIVER}'")}}]},
    }))
}

/// A claim with one request for so many devices.
fn claim(name: &str, count: i64) -> Manifest {
    requesting(name, json!({"deviceClassName": "gpu", "count": count}))
}

fn requesting(name: &str, request: impl Into<Value>) -> Manifest {
    claiming(name, json!([{"name": "gpu", "exactly": request.into()}]))
}

fn claiming(name: &str, requests: impl Into<Value>) -> Manifest {
    Manifest(json!({
        "kind": "ResourceClaim", "metadata": {"name": name, "namespace": "default"},
        "spec": {"devices": {"requests": requests.into()}},
    }))
}

/// A slice that is a pool of its own.
fn slice(pool: &str, devices: impl Into<Value>) -> Manifest {
    Manifest(json!({
        "kind": "ResourceSlice", "metadata": {"name": pool},
        "spec": {
            "driver": DRIVER, "devices": devices.into(),
            "pool": {"name": pool, "generation": 1, "resourceSliceCount": 1},
        },
    }))
}

impl Manifest {
    /// The pod uses a claim.
    fn claims(self, claim: &str) -> Self {
        let entry = json!({"name": claim, "resourceClaimName": claim});
        self.push("spec.resourceClaims", entry)
    }

    fn everywhere(self) -> Self {
        self.set("spec.allNodes", true)
    }

    fn in_zone(self, zone: &str) -> Self {
        let expression = json!({"key": long("zone"), "operator": "In", "values": [zone]});
        self.set(
            "spec.nodeSelector.nodeSelectorTerms",
            json!([{"matchExpressions": [expression]}]),
        )
    }

    /// The slice is the node's own.
    fn of_node(self, node: &str) -> Self {
        self.set("spec.nodeName", node).set(
            "metadata.ownerReferences",
            json!([{"apiVersion": "v1", "kind": "Node", "name": node, "uid": node}]),
        )
    }

    /// The claim has a device, which the pods with these uids use.
    fn allocated(self, pool: &str, device: &str, pods: &[&str]) -> Self {
        let users: Vec<Value> = pods
            .iter()
            .map(|uid| json!({"resource": "pods", "name": uid, "uid": uid}))
            .collect();
        let result = json!({"request": "gpu", "driver": DRIVER, "pool": pool, "device": device});
        self.set("status.allocation.devices.results", json!([result]))
            .set("status.reservedFor", json!(users))
    }
}

/// Devices of these names, without anything that sets them apart.
fn plain(names: &[&str]) -> Value {
    let devices = names.iter().map(|name| json!({"name": name}));
    devices.collect()
}

fn promising(mut of: InstanceType, devices: Value) -> InstanceType {
    of.resource_slices = vec![ResourceSliceTemplate {
        driver: DRIVER.into(),
        pool: "own".into(),
        devices: serde_json::from_value(devices).unwrap(),
        shared_counters: Vec::new(),
    }];
    of
}

/// A type without devices, and one with two of them that costs more.
fn types() -> Vec<InstanceType> {
    let gpu = promising(instance_type("with-gpu", 8, 16), plain(&["gpu-0", "gpu-1"]));
    vec![instance_type("plain", 4, 8), gpu]
}

/// The two types, the class, and a pool.
fn gpus() -> World {
    world().types(types()).device(class())
}

/// A node of eight cores in zone z1, as in a cluster without us.
fn settled(name: &str) -> Manifest {
    node(name)
        .has("cpu", "8")
        .has("memory", "16Gi")
        .has("pods", "20")
        .label("zone", "z1")
}

#[test]
fn devices_may_be_ignored() {
    let mut ignored = gpus()
        .device(claim("gpu", 1))
        .pod(pod("a").claims("gpu"))
        .pod(pod("b"));
    ignored.devices = None;
    row(
        "scheduling/G1",
        ignored,
        &[
            "a: unplaced, pod has Dynamic Resource Allocation requirements that are not yet supported by Karpenter",
            "b: new 0",
            "claims 1",
            "!drivers",
        ],
    );
    let daemons = |honored: bool| {
        let claiming = daemon_set("device-plugin").pods(|pod| pod.cpu("3").claims("gpu"));
        let mut world = world()
            .types(vec![
                instance_type("small", 2, 4),
                instance_type("large", 8, 16),
            ])
            .daemon(claiming)
            .pod(pod("a").cpu("1"));
        world.devices = honored.then(Vec::new);
        world
    };
    row(
        "scheduling/G16",
        daemons(true),
        &["new 0: pool np, types large", "requests cpu=4"],
    );
    row(
        "scheduling/G16",
        daemons(false),
        &["new 0: pool np, types small large", "requests cpu=1 "],
    );
}

#[test]
fn devices_that_instance_types_promise() {
    row(
        "scheduling/G2",
        gpus().device(claim("gpu", 1)).pod(pod("a").claims("gpu")),
        &[
            "a: new 0",
            "types with-gpu",
            "new 0: drivers gpu.example.com",
            "new 0: devices of gpu [with-gpu] gpu=gpu.example.com/own/gpu-0",
        ],
    );
    let two_claims = |devices: &[&str]| {
        let gpu = promising(instance_type("with-gpu", 8, 16), plain(devices));
        gpus()
            .types(vec![gpu])
            .device(claim("one", 1))
            .device(claim("two", 1))
            .pod(pod("a").claims("one"))
            .pod(pod("b").claims("two"))
    };
    row(
        "scheduling/G3",
        two_claims(&["gpu-0", "gpu-1"]),
        &[
            "a: new 0",
            "b: new 0",
            "claims 1",
            "two [with-gpu] gpu=gpu.example.com/own/gpu-1",
        ],
    );
    row(
        "scheduling/G3",
        two_claims(&["gpu-0"]),
        &["a: new 0", "b: new 1", "claims 2"],
    );
    let mut arm = promising(instance_type("with-gpu", 8, 16), plain(&["gpu-0"]));
    for requirement in &mut arm.requirements {
        if requirement.key == long("arch") {
            requirement.values = Some(vec!["arm64".into()]);
        }
    }
    row(
        "scheduling/G4",
        gpus()
            .types(vec![instance_type("plain", 4, 8), arm])
            .device(claim("gpu", 1))
            .pod(pod("a").claims("gpu").selects("arch", "amd64")),
        &[
            "claims 0",
            "a: unplaced, no instance type satisfies both scheduling and dynamic resource requirements",
        ],
    );
    let shared = gpus()
        .device(claim("gpu", 1))
        .pod(pod("a").claims("gpu"))
        .pod(pod("b").claims("gpu"));
    row(
        "scheduling/G7",
        shared,
        &["a: new 0", "b: new 0", "claims 1"],
    );
}

#[test]
fn devices_that_are_published() {
    let on_node = || {
        gpus()
            .node(settled("first"))
            .device(slice("first", plain(&["gpu-0"])).of_node("first"))
            .device(claim("gpu", 1))
            .pod(pod("a").claims("gpu"))
    };
    row(
        "scheduling/G5",
        on_node(),
        &[
            "a: node first",
            "claims 0",
            "node first: devices of gpu [] gpu=gpu.example.com/first/gpu-0",
        ],
    );
    let zoned = |second: &str| {
        world()
            .types(vec![instance_type("plain", 4, 8)])
            .device(class())
            .device(slice("first", plain(&["gpu-0"])).in_zone("z2"))
            .device(slice("second", plain(&["gpu-1"])).in_zone(second))
            .device(claim("gpu", 2))
            .pod(pod("a").claims("gpu"))
    };
    row(
        "scheduling/G6",
        zoned("z2"),
        &[
            "a: new 0",
            "requires topology.kubernetes.io/zone In [z2]",
            "new 0: drivers gpu.example.com",
        ],
    );
    row(
        "scheduling/G6",
        zoned("z3"),
        &[
            "claims 0",
            "a: unplaced, allocating dynamic resources, no instance type can satisfy the allocation",
        ],
    );
    let mut elsewhere = zoned("z2");
    elsewhere.pods[0] = elsewhere.pods[0].clone().selects("zone", "z1");
    row(
        "scheduling/G6",
        elsewhere,
        &[
            "claims 0",
            "a: unplaced, incompatible dynamic resource requirements, key topology.kubernetes.io/zone",
        ],
    );
}

/// The pods of the node look for another place in a world without it.
fn without(world: &World, gone: &str) -> Outcome {
    let snapshot = world.snapshot();
    let node = snapshot.node_named(gone).unwrap();
    let displaced = snapshot.places[node].pods.clone();
    let view = View {
        base: &snapshot,
        gone: NodeMask::from_iter([node]),
        displaced: &displaced,
        closed: NodeMask::new(),
    };
    let (plan, report) = simulate(&view, &world.options);
    let verdict = check_view(&view, &plan, &report);
    assert!(verdict.is_ok(), "the judge refuses the plan: {verdict:#?}");
    Outcome {
        plan,
        report,
        snapshot: snapshot.clone(),
    }
}

#[test]
fn devices_that_others_hold() {
    let held = || {
        world()
            .types(vec![instance_type("plain", 4, 8)])
            .device(class())
            .device(slice("network", plain(&["gpu-0"])).everywhere())
            .node(settled("first"))
            .device(claim("held", 1).allocated("network", "gpu-0", &["holder"]))
            .pod(pod("holder").on("first").claims("held"))
    };
    row(
        "scheduling/G8",
        held().device(claim("gpu", 1)).pod(pod("a").claims("gpu")),
        &["claims 0", "a: unplaced, allocating dynamic resources"],
    );
    // The pod takes along what it has.
    let moved = without(&held(), "first").lines();
    assert!(moved.contains(&"holder: new 0".to_owned()), "{moved:#?}");
    assert!(
        moved.contains(
            &"new 0: devices of held [plain] gpu=gpu.example.com/network/gpu-0".to_owned()
        ),
        "{moved:#?}"
    );
    // Nobody uses the claim, and yet its device is not free.
    let mut unused = held().device(claim("gpu", 1)).pod(pod("a").claims("gpu"));
    unused.pods.remove(0);
    let devices = unused.devices.as_mut().unwrap();
    devices[2] = devices[2].clone().set("status.reservedFor", json!([]));
    row("scheduling/G8", unused, &["claims 0"]);
}

#[test]
fn what_a_claim_names_must_exist() {
    let missing = row(
        "scheduling/G9",
        gpus().pod(pod("a").claims("gpu")).pod(pod("b")),
        &[
            "a: unplaced, resourceclaim \"default/gpu\" not found",
            "b: new 0",
        ],
    );
    let mut no_class = gpus().device(claim("gpu", 1)).pod(pod("a").claims("gpu"));
    no_class.devices.as_mut().unwrap().remove(0);
    row(
        "scheduling/G9",
        no_class,
        &[
            "claims 0",
            "a: unplaced, allocating dynamic resources, resourceclaim \"default/gpu\", request gpu, deviceclass \"gpu\" not found",
        ],
    );
    let too_few = row(
        "scheduling/G9",
        gpus().device(claim("gpu", 3)).pod(pod("a").claims("gpu")),
        &[
            "claims 0",
            "a: unplaced, allocating dynamic resources, no instance type can satisfy the allocation",
        ],
    );
    // A claim may come after its pod: nobody is told until it is there.
    assert!(missing.report.unplaced[0].1.is_deferral());
    assert!(!too_few.report.unplaced[0].1.is_deferral());
    let template = json!({"name": "gpu", "resourceClaimTemplateName": "gpu"});
    let generated = |statuses: Value| {
        gpus().device(claim("a-gpu-x", 1)).pod(
            pod("a")
                .push("spec.resourceClaims", template.clone())
                .set("status.resourceClaimStatuses", statuses),
        )
    };
    row(
        "scheduling/G10",
        generated(json!([{"name": "gpu"}])),
        &["a: new 0", "types plain with-gpu", "!drivers"],
    );
    row(
        "scheduling/G10",
        generated(Value::Null),
        &["a: new 0", "!drivers"],
    );
    row(
        "scheduling/G10",
        generated(json!([{"name": "gpu", "resourceClaimName": "a-gpu-x"}])),
        &["a: new 0", "types with-gpu", "drivers gpu.example.com"],
    );
}

#[test]
fn a_node_that_is_not_initialised() {
    let mut fresh = gpus()
        .node(
            settled("fresh")
                .label("pool", "np")
                .label("type", "with-gpu")
                .label("karpenter.sh/registered", "true"),
        )
        .device(slice("fresh", plain(&["gpu-8", "gpu-9"])).of_node("fresh"));
    let claimed = fresh_claim();
    fresh = fresh.machine(0, |machine| machine.claim = Some(claimed));
    fresh = fresh
        .change_node(0, |node| node.set("spec.providerID", "test://fresh"))
        .device(claim("one", 1))
        .device(claim("two", 1))
        .device(claim("three", 1))
        .pod(pod("a").claims("one"))
        .pod(pod("b").claims("two"))
        .pod(pod("c").claims("three"));
    row(
        "scheduling/G11",
        fresh,
        &[
            "a: node fresh",
            "b: node fresh",
            "c: new 0",
            "node fresh: devices of one [] gpu=gpu.example.com/own/gpu-0",
            "node fresh: devices of two [] gpu=gpu.example.com/own/gpu-1",
            "!gpu-8",
        ],
    );
}

/// A claim that is launched.
fn fresh_claim() -> karpenter_api::NodeClaim {
    let object = json!({
        "metadata": {
            "name": "fresh", "uid": "fresh",
            "labels": {"karpenter.sh/nodepool": "np", long("type"): "with-gpu", long("zone"): "z1"},
        },
        "spec": {
            "nodeClassRef": {"group": "karpenter.test.sh", "kind": "TestNodeClass", "name": "default"},
            "requirements": [],
        },
        "status": {
            "providerID": "test://fresh",
            "capacity": {"cpu": "8", "memory": "16Gi", "pods": "20"},
            "allocatable": {"cpu": "8", "memory": "16Gi", "pods": "20"},
        },
    });
    serde_json::from_value(object).unwrap()
}

#[test]
fn devices_that_claims_share() {
    let shared = |first: &str, second: &str| {
        let device = json!([{
            "name": "gpu-0", "allowMultipleAllocations": true,
            "capacity": {"memory": {"value": "10Gi"}},
        }]);
        let ask = |name: &str, amount: &str| {
            let capacity = json!({"requests": {"memory": amount}});
            requesting(
                name,
                json!({"deviceClassName": "gpu", "capacity": capacity}),
            )
        };
        gpus()
            .types(vec![promising(instance_type("with-gpu", 8, 16), device)])
            .device(ask("one", first))
            .device(ask("two", second))
            .pod(pod("a").claims("one"))
            .pod(pod("b").claims("two"))
    };
    row(
        "scheduling/G12",
        shared("5Gi", "5Gi"),
        &["a: new 0", "b: new 0", "claims 1"],
    );
    row(
        "scheduling/G12",
        shared("6Gi", "6Gi"),
        &["a: new 0", "b: new 1", "claims 2"],
    );
    row(
        "scheduling/G12",
        shared("5Gi", "11Gi"),
        &[
            "a: new 0",
            "b: unplaced, allocating dynamic resources",
            "claims 1",
        ],
    );
    let asking = |name: &str, amount: &str| {
        let device = json!([{
            "name": "gpu-0", "allowMultipleAllocations": true,
            "capacity": {"memory": {
                "value": "10Gi", "requestPolicy": {"default": "1Gi", "validValues": ["1Gi", "4Gi"]},
            }},
        }]);
        let capacity = json!({"requests": {name: amount}});
        let request = json!({"deviceClassName": "gpu", "capacity": capacity});
        gpus()
            .types(vec![promising(instance_type("with-gpu", 8, 16), device)])
            .device(requesting("one", request))
            .pod(pod("a").claims("one"))
    };
    row("scheduling/G13", asking("memory", "3Gi"), &["a: new 0"]);
    for unmet in [asking("cores", "1"), asking("memory", "5Gi")] {
        row(
            "scheduling/G13",
            unmet,
            &["claims 0", "a: unplaced, allocating dynamic resources"],
        );
    }
}

/// A type whose device can be had in two ways that draw on one budget of 40Gi.
fn partitioned() -> InstanceType {
    let partition = |name: &str, profile: &str, amount: &str| {
        json!({
            "name": name, "attributes": {"profile": {"string": profile}},
            "consumesCounters": [{"counterSet": "card", "counters": {"memory": {"value": amount}}}],
        })
    };
    let devices = json!([
        partition("big", "big", "40Gi"),
        partition("small-0", "small", "20Gi"),
        partition("small-1", "small", "20Gi"),
        partition("small-2", "small", "20Gi"),
    ]);
    let mut of = promising(instance_type("with-gpu", 8, 16), devices);
    let counters = json!([{"name": "card", "counters": {"memory": {"value": "40Gi"}}}]);
    of.resource_slices.push(ResourceSliceTemplate {
        driver: DRIVER.into(),
        pool: "own".into(),
        devices: Vec::new(),
        shared_counters: serde_json::from_value(counters).unwrap(),
    });
    of
}

fn of_profile(profile: &str) -> Value {
    let expression = format!("device.attributes['{DRIVER}'].profile == '{profile}'");
    json!({
        "name": profile, "deviceClassName": "gpu", "selectors": [{"cel": {"expression": expression}}],
    })
}

#[test]
fn devices_that_draw_on_one_budget() {
    let small = |name: &str| requesting(name, of_profile("small"));
    let budget = || {
        gpus()
            .types(vec![partitioned()])
            .device(small("one"))
            .device(small("two"))
            .device(small("three"))
            .pod(pod("a").claims("one"))
            .pod(pod("b").claims("two"))
            .pod(pod("c").claims("three"))
    };
    row(
        "scheduling/G14",
        budget(),
        &["a: new 0", "b: new 0", "c: new 1", "claims 2"],
    );
    let alternatives = json!([{
        "name": "gpu", "firstAvailable": [of_profile("big"), of_profile("small")],
    }]);
    // A small part is gone, so that there is no room for the big one.
    row(
        "scheduling/G15",
        gpus()
            .types(vec![partitioned()])
            .device(small("one"))
            .device(claiming("two", alternatives))
            .pod(pod("a").claims("one"))
            .pod(pod("b").claims("two")),
        &[
            "claims 1",
            "two [with-gpu] gpu/small=gpu.example.com/own/small-1",
        ],
    );
}

#[test]
fn the_judge_sees_devices_that_are_given_wrongly() {
    let two = || {
        let world = gpus().device(claim("one", 1)).device(claim("two", 1));
        world
            .pod(pod("a").claims("one"))
            .pod(pod("b").claims("two"))
    };
    let spoil = |name: &str, change: fn(&mut Plan), expected: fn(&Violation) -> bool| {
        let mut outcome = two().solve();
        change(&mut outcome.plan);
        let found = check(&outcome.snapshot, &outcome.plan, &outcome.report).unwrap_err();
        assert!(found.iter().any(expected), "{name}: {found:?}");
    };
    spoil(
        "nothing for a claim",
        |plan| plan.claims[0].devices.truncate(1),
        |found| matches!(found, Violation::DevicesUnmet(_)),
    );
    spoil(
        "one device for two claims",
        |plan| {
            let devices = &mut plan.claims[0].devices;
            devices[1].devices[0].1 = devices[0].devices[0].1.clone();
        },
        |found| matches!(found, Violation::DeviceTwice(_)),
    );
    spoil(
        "two devices where one is asked for",
        |plan| {
            let picks = &mut plan.claims[0].devices[0].devices[0].1;
            picks.push(picks[0].clone());
        },
        |found| matches!(found, Violation::DevicesWrong(_)),
    );
    spoil(
        "a device that is not there",
        |plan| plan.claims[0].devices[0].devices[0].1[0].is_promised = false,
        |found| matches!(found, Violation::DevicesWrong(_)),
    );
    let small = |name: &str| requesting(name, of_profile("small"));
    let world = gpus()
        .types(vec![partitioned()])
        .device(small("one"))
        .device(small("two"))
        .pod(pod("a").claims("one"))
        .pod(pod("b").claims("two"));
    let mut outcome = world.solve();
    // Both get half of the card, and one of them the whole of it besides.
    for own in &mut outcome.plan.claims[0].devices {
        let picks = &mut own.devices[0].1;
        let mut more = picks[0].clone();
        more.device.device = "big".into();
        picks.push(more);
    }
    let found = check(&outcome.snapshot, &outcome.plan, &outcome.report).unwrap_err();
    let is_overdrawn = |found: &Violation| matches!(found, Violation::CounterOverdrawn(_));
    assert!(found.iter().any(is_overdrawn), "{found:?}");
}

#[test]
fn an_explanation_names_the_claim() {
    let world = gpus().device(claim("gpu", 3)).pod(pod("a").claims("gpu"));
    let snapshot = world.snapshot();
    let id = snapshot.pod_named("default", "a").unwrap();
    let explanation = explain_pod(&snapshot, id);
    let pool = &explanation.node_pools[0];
    assert_eq!(
        pool.message,
        "allocating dynamic resources, no instance type can satisfy the allocation"
    );
    let devices = pool
        .constraints
        .iter()
        .find(|own| own.constraint == "devices");
    let devices = devices.unwrap();
    assert_eq!(devices.asked, "resourceclaim default/gpu");
    assert_eq!(devices.passing, 0);
}

#[test]
fn devices_that_must_agree() {
    let model =
        |name: &str, model: &str| json!({"name": name, "attributes": {"model": {"string": model}}});
    let matching = |mut of: InstanceType, bound: &[&str]| {
        if !bound.is_empty() {
            let devices = bound.iter();
            of.attribute_bindings = vec![AttributeBinding {
                attribute: format!("{DRIVER}/model"),
                devices: devices
                    .map(|name| (DRIVER.into(), "own".into(), (*name).into()))
                    .collect(),
            }];
        }
        let constraint = json!([{"matchAttribute": format!("{DRIVER}/model")}]);
        gpus()
            .types(vec![of])
            .device(claim("gpu", 2).set("spec.devices.constraints", constraint))
            .pod(pod("a").claims("gpu"))
    };
    let of = |devices: Value| promising(instance_type("with-gpu", 8, 16), devices);
    row(
        "two of three devices are of one model",
        matching(
            of(json!([model("x", "a"), model("y", "b"), model("z", "a")])),
            &[],
        ),
        &[
            "a: new 0",
            "gpu=gpu.example.com/own/x gpu=gpu.example.com/own/z",
        ],
    );
    row(
        "no two devices are of one model",
        matching(of(json!([model("x", "a"), model("y", "b")])), &[]),
        &["claims 0"],
    );
    row(
        "two devices will be of one model",
        matching(of(plain(&["x", "y", "z"])), &["y", "z"]),
        &["gpu=gpu.example.com/own/y gpu=gpu.example.com/own/z"],
    );
    let distinct = json!([{"distinctAttribute": format!("{DRIVER}/model")}]);
    row(
        "devices that must differ are not supported",
        gpus()
            .device(claim("gpu", 2).set("spec.devices.constraints", distinct))
            .pod(pod("a").claims("gpu")),
        &[
            "a: unplaced, allocating dynamic resources, resourceclaim \"default/gpu\", constraint distinctAttribute is not supported",
        ],
    );
}

#[test]
fn pools_must_be_whole() {
    let published = |change: fn(Manifest) -> Manifest, mode: &str| {
        let slice = slice("network", plain(&["gpu-0", "gpu-1"])).everywhere();
        world()
            .types(vec![instance_type("plain", 4, 8)])
            .device(class())
            .device(change(slice))
            .device(requesting(
                "gpu",
                json!({"deviceClassName": "gpu", "allocationMode": mode}),
            ))
            .pod(pod("a").claims("gpu"))
    };
    row(
        "all devices of a pool",
        published(|slice| slice, "All"),
        &[
            "a: new 0",
            "gpu=gpu.example.com/network/gpu-0 gpu=gpu.example.com/network/gpu-1",
        ],
    );
    row(
        "all devices of a pool that is not complete",
        published(|slice| slice.set("spec.pool.resourceSliceCount", 2), "All"),
        &[
            "a: unplaced, allocating dynamic resources, resourceclaim \"default/gpu\", resource pool gpu.example.com/network is incomplete",
        ],
    );
    row(
        "a device of a pool that is not complete",
        published(
            |slice| slice.set("spec.pool.resourceSliceCount", 2),
            "ExactCount",
        ),
        &["claims 0"],
    );
    let twice = |slice: Manifest| slice.set("spec.devices", plain(&["gpu-0", "gpu-0"]));
    row(
        "a device of a pool that has it twice",
        published(twice, "ExactCount"),
        &["claims 0"],
    );
    let pooled = empty()
        .pool(pool("np"))
        .types(types())
        .device(class())
        .device(slice("network", plain(&["gpu-0"])).everywhere())
        .device(
            slice("network", plain(&["gpu-7"]))
                .everywhere()
                .set("metadata.name", "newer")
                .set("spec.pool.generation", 2),
        )
        .device(claim("gpu", 1))
        .pod(pod("a").claims("gpu"));
    row(
        "only the newest generation counts",
        pooled,
        &["gpu=gpu.example.com/network/gpu-7"],
    );
}
