//! The picture does not depend on the order in which it was told.

use karpenter_api::{
    CapacityBuffer, NodeClaim, NodeOverlay, NodePool,
    objects::{
        DaemonSet, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
        PodDisruptionBudget, Service, StorageClass, pod::TopologySpreadConstraint,
        workload::PodTemplate,
    },
};
use karpenter_control::mirror::{Key, Mirror, Mirrored};
use karpenter_plan::{node_claim, schedule};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::World;

/// Objects as a watch would tell of them, some of them twice: the older state may come last.
fn objects() -> Vec<Value> {
    let mut objects = Vec::new();
    for (index, weight) in [("a", 10), ("b", 20), ("c", 10)] {
        objects.push(json!({
            "kind": "NodePool",
            "metadata": { "name": index, "uid": index, "resourceVersion": "10", "generation": 1 },
            "spec": { "weight": weight, "template": { "spec": {
                "nodeClassRef": {
                    "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
                },
                "requirements": [
                    { "key": "example.com/team", "operator": "In", "values": [index, "x"] },
                ],
            } }, "disruption": {} },
            "status": { "conditions": [{
                "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                "lastTransitionTime": crate::world::EPOCH,
            }] },
        }));
    }
    for index in 0..6 {
        objects.push(json!({
            "kind": "Node",
            "metadata": {
                "name": format!("node-{index}"), "uid": format!("node-{index}"),
                "resourceVersion": "20",
                "labels": { "example.com/rack": format!("r{index}") },
            },
            "spec": {},
            "status": {
                "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "10" },
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        }));
    }
    objects.push(json!({
        "kind": "DaemonSet",
        "metadata": { "name": "agent", "namespace": "default", "resourceVersion": "30" },
        "spec": { "template": { "spec": { "containers": [{
            "name": "main", "resources": { "requests": { "cpu": "100m" } },
        }] } } },
    }));
    objects.push(json!({
        "kind": "PodDisruptionBudget",
        "metadata": { "name": "all", "namespace": "default", "resourceVersion": "31" },
        "spec": { "minAvailable": 1, "selector": {} },
    }));
    for index in 0..60 {
        let selector = match index % 4 {
            0 => json!({ "example.com/team": "x" }),
            1 => json!({ "example.com/rack": format!("r{}", index % 6) }),
            2 => json!({ "kubernetes.io/arch": "arm64" }),
            _ => json!({}),
        };
        let pod = |version: u32, node: Option<&str>| {
            json!({
                "kind": "Pod",
                "metadata": {
                    "name": format!("web-{index}"), "namespace": "default",
                    "uid": format!("web-{index}"), "resourceVersion": version.to_string(),
                    "creationTimestamp": crate::world::EPOCH,
                },
                "spec": { "nodeName": node, "nodeSelector": selector, "containers": [{
                    "name": "main",
                    "resources": { "requests": { "cpu": format!("{}m", 100 + 37 * index) } },
                }] },
                "status": { "phase": "Pending", "conditions": [{
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                }] },
            })
        };
        objects.push(pod(40, None));
        if index % 5 == 0 {
            objects.push(pod(41, Some("node-0")));
        }
    }
    objects
}

/// What pods refer to beside nodes: volumes, namespaces, Services, each other; and what users add to it.
fn surroundings() -> Vec<Value> {
    let zone = "topology.kubernetes.io/zone";
    let mut objects = vec![
        json!({
            "kind": "Namespace",
            "metadata": { "name": "default", "resourceVersion": "50", "labels": { "tier": "a" } },
        }),
        json!({
            "kind": "StorageClass",
            "metadata": { "name": "zonal", "resourceVersion": "51" },
            "provisioner": "ebs.csi.aws.com",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": [
                { "matchLabelExpressions": [{ "key": zone, "values": ["test-zone-b"] }] },
            ],
        }),
        json!({
            "kind": "Service",
            "metadata": { "name": "shop", "namespace": "default", "resourceVersion": "52" },
            "spec": { "selector": { "app": "shop" } },
        }),
        json!({
            "kind": "PersistentVolume",
            "metadata": { "name": "disk", "resourceVersion": "53" },
            "spec": {
                "csi": { "driver": "ebs.csi.aws.com", "volumeHandle": "v" },
                "nodeAffinity": { "required": { "nodeSelectorTerms": [
                    { "matchExpressions": [{ "key": zone, "operator": "In", "values": ["test-zone-c"] }] },
                ] } },
            },
        }),
        json!({
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": "bound", "namespace": "default", "resourceVersion": "54",
                "annotations": { "pv.kubernetes.io/bind-completed": "yes" },
            },
            "spec": { "volumeName": "disk", "storageClassName": "zonal" },
        }),
        json!({
            "kind": "PersistentVolumeClaim",
            "metadata": { "name": "unbound", "namespace": "default", "resourceVersion": "55" },
            "spec": { "storageClassName": "zonal" },
        }),
        json!({
            "kind": "NodeOverlay",
            "metadata": { "name": "discount", "uid": "discount", "resourceVersion": "56" },
            "spec": {
                "requirements": [{ "key": "example.com/team", "operator": "In", "values": ["a"] }],
                "priceAdjustment": "-50%",
            },
        }),
        json!({
            "kind": "NodeOverlay",
            "metadata": { "name": "also", "uid": "also", "resourceVersion": "57" },
            "spec": { "requirements": [], "priceAdjustment": "+1", "weight": 2 },
        }),
        json!({
            "kind": "PodTemplate",
            "metadata": { "name": "unit", "namespace": "default", "resourceVersion": "58" },
            "template": { "spec": { "containers": [{
                "name": "main", "resources": { "requests": { "cpu": "2" } },
            }] } },
        }),
        json!({
            "kind": "CapacityBuffer",
            "metadata": {
                "name": "spare", "namespace": "default", "uid": "spare", "resourceVersion": "59",
            },
            "spec": { "podTemplateRef": { "name": "unit" }, "replicas": 3 },
        }),
    ];
    for index in 0..12 {
        let claim = ["bound", "unbound"][index % 2];
        let volumes = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": claim } }]);
        let apart = json!({ "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": { "matchLabels": { "app": "shop" } },
            }],
        } });
        objects.push(json!({
            "kind": "Pod",
            "metadata": {
                "name": format!("shop-{index}"), "namespace": "default",
                "uid": format!("shop-{index}"), "resourceVersion": "60",
                "creationTimestamp": crate::world::EPOCH, "labels": { "app": "shop" },
            },
            "spec": {
                "volumes": if index < 6 { volumes } else { json!([]) },
                "affinity": if index % 3 == 0 { apart } else { json!({}) },
                "containers": [{
                    "name": "main", "resources": { "requests": { "cpu": format!("{}m", 50 + index) } },
                }],
            },
            "status": { "phase": "Pending", "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            }] },
        }));
    }
    objects
}

fn tell<K: Mirrored + DeserializeOwned>(mirror: &Mirror, object: &Value) {
    mirror.apply(serde_json::from_value::<K>(object.clone()).unwrap());
}

/// A shuffle that is the same for the same seed.
fn shuffled(mut objects: Vec<Value>, mut seed: u64) -> Vec<Value> {
    for index in (1..objects.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let other = usize::try_from(seed >> 33).unwrap() % (index + 1);
        objects.swap(index, other);
    }
    objects
}

/// What a round makes of the objects, told in this order.
async fn round(world: &World, objects: &[Value]) -> String {
    let mirror = Mirror::new(world.ctx.cloud.well_known());
    mirror.set_gates("NodeOverlay=true,CapacityBuffer=true".parse().unwrap());
    let spread: TopologySpreadConstraint = serde_json::from_value(json!({
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
    }))
    .unwrap();
    mirror.set_default_constraints([spread].into());
    for object in objects {
        match object["kind"].as_str().unwrap() {
            "NodePool" => tell::<NodePool>(&mirror, object),
            "Node" => tell::<Node>(&mirror, object),
            "DaemonSet" => tell::<DaemonSet>(&mirror, object),
            "PodDisruptionBudget" => tell::<PodDisruptionBudget>(&mirror, object),
            "Namespace" => tell::<Namespace>(&mirror, object),
            "StorageClass" => tell::<StorageClass>(&mirror, object),
            "Service" => tell::<Service>(&mirror, object),
            "PersistentVolume" => tell::<PersistentVolume>(&mirror, object),
            "PersistentVolumeClaim" => tell::<PersistentVolumeClaim>(&mirror, object),
            "NodeOverlay" => tell::<NodeOverlay>(&mirror, object),
            "PodTemplate" => tell::<PodTemplate>(&mirror, object),
            "CapacityBuffer" => tell::<CapacityBuffer>(&mirror, object),
            _ => tell::<Pod>(&mirror, object),
        }
    }
    for pool in mirror.all::<NodePool>() {
        let feed = world.ctx.cloud.catalog(&pool).await.unwrap();
        mirror.set_catalog(pool.metadata.name.as_deref().unwrap(), Ok(feed));
    }
    let snapshot = mirror.snapshot(crate::world::EPOCH.parse().unwrap());
    let (plan, report) = schedule::schedule(&snapshot, &schedule::Options::default());
    karpenter_plan::check(&snapshot, &plan, &report).unwrap();
    let bindings: Vec<_> = plan
        .bindings
        .iter()
        .map(|(pod, node)| json!([&*snapshot.pods[*pod].name, &*snapshot.nodes[*node].name]))
        .collect();
    let claims: Vec<_> = plan
        .claims
        .iter()
        .map(|claim| node_claim(&snapshot, claim))
        .collect();
    let refused: Vec<_> = report
        .unplaced
        .iter()
        .map(|(pod, why)| json!([&*snapshot.pods[*pod].name, why.message(&snapshot, *pod)]))
        .collect();
    json!({ "bindings": bindings, "claims": claims, "refused": refused }).to_string()
}

#[tokio::test(start_paused = true)]
async fn any_order_of_events_gives_the_same_plan() {
    let world = World::new().await;
    let all = [objects(), surroundings()].concat();
    let expected = round(&world, &all).await;
    for part in [
        "node-1",
        "NodeClaim",
        "test-zone-c",
        "price-overlay-applied",
    ] {
        assert!(expected.contains(part), "{part} is not in {expected}");
    }
    for seed in 1..20 {
        assert_eq!(
            round(&world, &shuffled(all.clone(), seed)).await,
            expected,
            "seed {seed}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_nothing_to_do() {
    let world = World::new().await;
    let mirror = Mirror::new(world.ctx.cloud.well_known());
    let node = |version: &str, heartbeat: &str| -> Node {
        serde_json::from_value(json!({
            "metadata": { "name": "a", "uid": "1", "resourceVersion": version },
            "status": { "conditions": [{
                "type": "Ready", "status": "True", "lastHeartbeatTime": heartbeat,
            }] },
        }))
        .unwrap()
    };
    mirror.apply(node("1", "2026-01-01T00:00:00Z"));
    let before = mirror.generation();
    let snapshot = mirror.snapshot(crate::world::EPOCH.parse().unwrap());
    assert!(
        mirror.apply(node("2", "2026-01-01T00:00:10Z")),
        "the newer version is kept"
    );
    assert_eq!(
        mirror.generation(),
        before,
        "a heartbeat changes no decision"
    );
    let again = mirror.snapshot(crate::world::EPOCH.parse().unwrap());
    assert!(std::sync::Arc::ptr_eq(&snapshot, &again));
    let version = mirror
        .named::<Node>("a")
        .unwrap()
        .metadata
        .resource_version
        .clone();
    assert_eq!(
        version.as_deref(),
        Some("2"),
        "writes are locked on the newest version"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_expected_of_what_is_gone() {
    let world = World::new().await;
    let mirror = Mirror::new(world.ctx.cloud.well_known());
    let claim = |version: &str, deleted: Option<&str>, initialized: &str| -> NodeClaim {
        serde_json::from_value(json!({
            "metadata": {
                "name": "a", "uid": "a", "resourceVersion": version, "deletionTimestamp": deleted,
            },
            "spec": {
                "nodeClassRef": {
                    "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
                },
                "requirements": [],
            },
            "status": { "conditions": [{
                "type": "Initialized", "status": initialized, "reason": "", "message": "",
                "lastTransitionTime": crate::world::EPOCH,
            }] },
        }))
        .unwrap()
    };
    let pod = Key::new("default", "web-0");
    let expected = |mirror: &Mirror| {
        mirror.expect("a", [pod.clone()]);
        mirror.claim_of(&pod)
    };
    let web = objects()
        .into_iter()
        .find(|object| object["kind"] == "Pod")
        .unwrap();
    tell::<Pod>(&mirror, &web);
    assert_eq!(expected(&mirror), None, "there is no such claim");
    mirror.apply(claim("1", None, "Unknown"));
    assert_eq!(expected(&mirror).as_deref(), Some("a"));
    mirror.apply(claim("2", None, "True"));
    assert_eq!(expected(&mirror), None, "it is an ordinary node");
    mirror.apply(claim("3", None, "Unknown"));
    assert_eq!(expected(&mirror).as_deref(), Some("a"));
    mirror.apply(claim("4", Some(crate::world::EPOCH), "Unknown"));
    assert_eq!(expected(&mirror), None, "it is going");
    mirror.delete::<Pod>(&pod, "web-0");
    mirror.apply(claim("5", None, "Unknown"));
    assert_eq!(expected(&mirror), None, "the pod is gone");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_is_not_kept() {
    let mut world = World::new().await;
    world.run();
    let pools: Api<NodePool> = Api::all(world.client.clone());
    let class = json!({ "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default" });
    let applied = json!({
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": { "name": "default" },
        "spec": { "template": { "spec": { "nodeClassRef": class, "requirements": [] } } },
    });
    let parameters = PatchParams::apply("somebody");
    pools
        .patch("default", &parameters, &Patch::Apply(applied))
        .await
        .unwrap();
    world.at(5).await;
    let stored = pools.get("default").await.unwrap();
    assert!(stored.metadata.managed_fields.is_some());
    // The last write was ours: what is kept is what it was answered.
    let kept = world.ctx.mirror.named::<NodePool>("default").unwrap();
    assert!(kept.status.is_some());
    assert_eq!(
        kept.metadata.resource_version,
        stored.metadata.resource_version
    );
    assert_eq!(kept.metadata.managed_fields, None);
}
