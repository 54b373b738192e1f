//! The provider against the Kubernetes API in memory, under paused time.
#![allow(clippy::unwrap_used)]

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::Node,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use karpenter_api::{NodeClaim, NodePool, crds};
use karpenter_apiserver::{Options, Server};
use karpenter_cloud::{Cloud, LaunchError, Termination};
use karpenter_kwok::{Kwok, KwokOptions, catalog};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::{Service as _, service_fn};

fn check<T: PartialEq + Debug>(row: &str, actual: &T, expected: &T) {
    assert_eq!(actual, expected, "{row}");
}

/// A cluster with our kinds in it, and the provider.
struct World {
    client: Client,
    kwok: Kwok,
}

impl World {
    async fn new() -> Self {
        let server = server().await;
        Self::over(server.client())
    }

    fn over(client: Client) -> Self {
        let instance_types = catalog::generated();
        let kwok = Kwok::new(KwokOptions {
            client: client.clone(),
            instance_types,
            seed: 1,
        });
        Self { client, kwok }
    }

    /// Creates a node class that is ready.
    async fn class(&self, name: &str, spec: Value) {
        self.class_that_is(name, spec, "True", "").await;
    }

    /// Creates a node class; its status is set afterwards, as the API demands.
    async fn class_that_is(&self, name: &str, spec: Value, status: &str, message: &str) {
        let kind = GroupVersionKind::gvk("karpenter.kwok.sh", "v1alpha1", "KWOKNodeClass");
        let resource = ApiResource::from_gvk_with_plural(&kind, "kwoknodeclasses");
        let classes: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let class = DynamicObject::new(name, &resource).data(json!({"spec": spec}));
        classes
            .create(&PostParams::default(), &class)
            .await
            .unwrap();
        let condition = json!({
            "type": "Ready", "status": status, "reason": "Test", "message": message,
            "lastTransitionTime": "2024-01-01T01:01:01Z",
        });
        let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        classes
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn claim(&self, name: &str, class: &str) -> NodeClaim {
        let claim: NodeClaim = serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodeClaim",
            "metadata": {
                "name": name,
                "labels": {"karpenter.sh/nodepool": "default", "example.com/team": "claim"},
                "annotations": {"example.com/note": "kept"},
                "finalizers": ["karpenter.sh/termination"],
            },
            "spec": {
                "nodeClassRef":
                    {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": class},
                "requirements": [
                    {
                        "key": "node.kubernetes.io/instance-type",
                        "operator": "In",
                        "values": ["c-2x-amd64-linux", "s-2x-amd64-linux"],
                    },
                    {
                        "key": "karpenter.sh/capacity-type",
                        "operator": "In",
                        "values": ["spot", "on-demand"],
                    },
                    {"key": "example.com/single", "operator": "In", "values": ["one"]},
                    {"key": "example.com/several", "operator": "In", "values": ["one", "two"]},
                ],
                "taints": [{"key": "example.com/taint", "effect": "NoSchedule"}],
                "resources": {"requests": {"cpu": "1100m", "memory": "1Gi", "pods": "3"}},
            },
        }))
        .unwrap();
        self.claims()
            .create(&PostParams::default(), &claim)
            .await
            .unwrap()
    }

    /// Launches a claim and stores what the launch step would.
    async fn launch(&self, claim: &NodeClaim) -> NodeClaim {
        let launched = self.kwok.launch(claim).await.unwrap();
        let patch = Patch::Merge(json!({"status": {"providerID": launched.provider_id}}));
        let name = claim.metadata.name.as_deref().unwrap();
        self.claims()
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap()
    }

    fn claims(&self) -> Api<NodeClaim> {
        Api::all(self.client.clone())
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn node_count(&self) -> usize {
        self.nodes()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len()
    }

    async fn only_node(&self) -> Node {
        let mut nodes = self
            .nodes()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        assert_eq!(nodes.len(), 1);
        nodes.remove(0)
    }

    async fn patch_node(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        self.nodes()
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}

async fn server() -> Server {
    let start = Instant::now();
    let epoch: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let server = Server::new(Options::new(Arc::new(move || epoch + start.elapsed())));
    let definitions: Api<CustomResourceDefinition> = Api::all(server.client());
    for definition in crds::all() {
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .unwrap();
    }
    server
}

#[tokio::test(start_paused = true)]
async fn a_node_appears_after_the_delay_of_its_class() {
    let world = World::new().await;
    world
        .class("slow", json!({"nodeRegistrationDelay": "10s"}))
        .await;
    let claim = world.claim("default-abcde", "slow").await;
    let before = Instant::now();
    let launched = world.kwok.launch(&claim).await.unwrap();
    check("operations/O56", &before.elapsed(), &Duration::ZERO);
    sleep(Duration::from_millis(9_999)).await;
    check("operations/O56", &world.node_count().await, &0);
    sleep(Duration::from_millis(2)).await;
    let node = world.only_node().await;
    let spec = node.spec.unwrap();
    let taints: Vec<_> = spec
        .taints
        .unwrap()
        .into_iter()
        .map(|taint| (taint.key, taint.effect))
        .collect();
    let unregistered = (
        "karpenter.sh/unregistered".to_owned(),
        "NoExecute".to_owned(),
    );
    check("operations/O56", &taints, &vec![unregistered]);
    assert_eq!(spec.provider_id, Some(launched.provider_id));
}

#[tokio::test(start_paused = true)]
async fn a_node_looks_like_its_claim_and_type() {
    let world = World::new().await;
    world.class("default", json!({})).await;
    let claim = world.claim("default-abcde", "default").await;
    let launched = world.kwok.launch(&claim).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let node = world.only_node().await;
    let name = node.metadata.name.unwrap();
    assert!(name.starts_with("kwok-default-abcde-"), "{name}");
    assert_eq!(launched.provider_id, format!("kwok://{name}"));
    let labels = node.metadata.labels.unwrap();
    assert_eq!(labels, launched.labels);
    let zone = &labels["topology.kubernetes.io/zone"];
    assert!(zone.starts_with("test-zone-"), "{zone}");
    let mut shown = serde_json::to_value(&labels).unwrap();
    shown
        .as_object_mut()
        .unwrap()
        .remove("topology.kubernetes.io/zone");
    let expected = json!({
        "eks-node-viewer/instance-price": "0.038006",
        "example.com/single": "one",
        "example.com/team": "claim",
        "karpenter.kwok.sh/instance-cpu": "2",
        "karpenter.kwok.sh/instance-family": "c",
        "karpenter.kwok.sh/instance-memory": "4Gi",
        "karpenter.kwok.sh/instance-size": "2",
        "karpenter.sh/capacity-type": "spot",
        "karpenter.sh/nodepool": "default",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": "default-abcde",
        "kubernetes.io/os": "linux",
        "kwok-partition": "a",
        "kwok.x-k8s.io/node": "fake",
        "node.kubernetes.io/instance-type": "c-2x-amd64-linux",
    });
    check("operations/O55", &shown, &expected);
    let annotations = serde_json::to_value(node.metadata.annotations).unwrap();
    assert_eq!(
        annotations,
        json!({"example.com/note": "kept", "kwok.x-k8s.io/node": "fake"})
    );
    let status = node.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let capacity = serde_json::to_value(&status.capacity).unwrap();
    assert_eq!(
        capacity,
        json!({"cpu": "1100m", "memory": "1Gi", "pods": "3"})
    );
    assert_eq!(capacity, serde_json::to_value(&launched.capacity).unwrap());
    let allocatable = serde_json::to_value(&status.allocatable).unwrap();
    let expected =
        json!({"cpu": "1900m", "ephemeral-storage": "20Gi", "memory": "4086Mi", "pods": "32"});
    assert_eq!(allocatable, expected);
    assert_eq!(
        allocatable,
        serde_json::to_value(&launched.allocatable).unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn terminating_deletes_the_claim_and_reports_it_gone() {
    let world = World::new().await;
    world.class("default", json!({})).await;
    let claim = world.claim("default-abcde", "default").await;
    let claim = world.launch(&claim).await;
    sleep(Duration::from_secs(1)).await;
    let outcome = world.kwok.terminate(&claim).await.unwrap();
    check("operations/O59", &outcome, &Termination::Gone);
    let left = world.claims().get("default-abcde").await.unwrap();
    check(
        "operations/O59",
        &left.metadata.deletion_timestamp.is_some(),
        &true,
    );
    // The node never registered, and nobody else would remove it.
    assert_eq!(world.node_count().await, 0);
    // Asking again, with the claim deleting or gone, says the same.
    assert_eq!(
        world.kwok.terminate(&left).await.unwrap(),
        Termination::Gone
    );
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world
        .claims()
        .patch("default-abcde", &PatchParams::default(), &release)
        .await
        .unwrap();
    assert_eq!(
        world.kwok.terminate(&claim).await.unwrap(),
        Termination::Gone
    );
}

#[tokio::test(start_paused = true)]
async fn terminating_leaves_another_claim_of_the_same_name_alone() {
    let world = World::new().await;
    world.class("default", json!({})).await;
    let mut claim = world.claim("default-abcde", "default").await;
    claim.metadata.uid = Some("another".to_owned());
    assert_eq!(
        world.kwok.terminate(&claim).await.unwrap(),
        Termination::Gone
    );
    let left = world.claims().get("default-abcde").await.unwrap();
    assert_eq!(left.metadata.deletion_timestamp, None);
}

#[tokio::test(start_paused = true)]
async fn no_node_appears_once_its_claim_is_given_up() {
    let world = World::new().await;
    world
        .class("slow", json!({"nodeRegistrationDelay": "1m"}))
        .await;
    let terminated = world.claim("terminated", "slow").await;
    let terminated = world.launch(&terminated).await;
    let deleting = world.claim("deleting", "slow").await;
    world.launch(&deleting).await;
    let removed = world.claim("removed", "slow").await;
    world.launch(&removed).await;
    let kept = world.claim("kept", "slow").await;
    let kept = world.launch(&kept).await;
    sleep(Duration::from_secs(30)).await;
    world.kwok.terminate(&terminated).await.unwrap();
    for name in ["deleting", "removed"] {
        world
            .claims()
            .delete(name, &Default::default())
            .await
            .unwrap();
    }
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world
        .claims()
        .patch("removed", &PatchParams::default(), &release)
        .await
        .unwrap();
    sleep(Duration::from_hours(1)).await;
    let node = world.only_node().await;
    assert_eq!(
        node.spec.unwrap().provider_id,
        kept.status.unwrap().provider_id
    );
}

#[tokio::test(start_paused = true)]
async fn registered_nodes_are_left_to_node_termination() {
    let world = World::new().await;
    world.class("default", json!({})).await;
    let claim = world.claim("default-abcde", "default").await;
    let claim = world.launch(&claim).await;
    sleep(Duration::from_secs(1)).await;
    let name = world.only_node().await.metadata.name.unwrap();
    let registered = json!({"metadata": {"labels": {"karpenter.sh/registered": "true"}}});
    world.patch_node(&name, registered).await;
    world.kwok.terminate(&claim).await.unwrap();
    assert_eq!(world.node_count().await, 1);
}

#[tokio::test(start_paused = true)]
async fn launching_twice_makes_one_node() {
    let world = World::new().await;
    world
        .class("default", json!({"nodeRegistrationDelay": "5s"}))
        .await;
    let claim = world.claim("default-abcde", "default").await;
    let first = world.kwok.launch(&claim).await.unwrap();
    assert_eq!(world.kwok.launch(&claim).await.unwrap(), first);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(world.kwok.launch(&claim).await.unwrap(), first);
    // As after a restart: nothing is remembered but what the cluster holds.
    let restarted = World::over(world.client.clone());
    assert_eq!(restarted.kwok.launch(&claim).await.unwrap(), first);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(world.node_count().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_a_dead_process_owed_still_appears() {
    let world = World::new().await;
    world
        .class("default", json!({"nodeRegistrationDelay": "5s"}))
        .await;
    let claim = world.claim("default-abcde", "default").await;
    let launched = world.kwok.launch(&claim).await.unwrap();
    // What the launch step stores, then the end of the process.
    let metadata = json!({"metadata": {
        "labels": launched.labels, "annotations": launched.annotations,
    }});
    let amounts = |amounts: &karpenter_api::ResourceList| -> Value {
        let texts = amounts
            .iter()
            .map(|(name, amount)| (name.clone(), amount.to_string()));
        texts.collect()
    };
    let status = json!({"status": {
        "providerID": launched.provider_id,
        "capacity": amounts(&launched.capacity), "allocatable": amounts(&launched.allocatable),
    }});
    let name = "default-abcde";
    let parameters = PatchParams::default();
    let claims = world.claims();
    claims
        .patch(name, &parameters, &Patch::Merge(metadata))
        .await
        .unwrap();
    claims
        .patch_status(name, &parameters, &Patch::Merge(status))
        .await
        .unwrap();
    let client = world.client.clone();
    drop(world);
    sleep(Duration::from_mins(1)).await;

    let restarted = World::over(client);
    check(
        "the promise died with the process",
        &restarted.node_count().await,
        &0,
    );
    restarted.kwok.resume().await;
    sleep(Duration::from_secs(1)).await;
    let node = restarted.only_node().await;
    let labels = node.metadata.labels.unwrap();
    check(
        "its type",
        &labels["node.kubernetes.io/instance-type"].as_str(),
        &"c-2x-amd64-linux",
    );
    check(
        "its id",
        &node.spec.unwrap().provider_id,
        &Some(launched.provider_id),
    );
    // Doing it twice makes nothing more.
    restarted.kwok.resume().await;
    sleep(Duration::from_secs(1)).await;
    check("nodes", &restarted.node_count().await, &1);
}

#[tokio::test(start_paused = true)]
async fn what_exists_is_what_is_listed() {
    let world = World::new().await;
    world
        .class("default", json!({"nodeRegistrationDelay": "1s"}))
        .await;
    let mut ids = Vec::new();
    for name in ["default-b", "default-a"] {
        let claim = world.claim(name, "default").await;
        ids.push(world.kwok.launch(&claim).await.unwrap().provider_id);
    }
    let absent = "kwok://kwok-x";
    assert_eq!(
        world.kwok.get(&ids[0]).await.unwrap(),
        None,
        "not there yet"
    );
    sleep(Duration::from_secs(2)).await;
    let foreign: Node = serde_json::from_value(json!({
        "metadata": {"name": "foreign"}, "spec": {"providerID": "aws:///zone/i-1"},
    }))
    .unwrap();
    world
        .nodes()
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    ids.sort();
    let listed = world.kwok.list().await.unwrap();
    let found: Vec<String> = listed.iter().map(|one| one.provider_id.clone()).collect();
    assert_eq!(found, ids);
    assert_eq!(
        world.kwok.get(&ids[0]).await.unwrap().as_ref(),
        Some(&listed[0])
    );
    for id in [absent, "aws:///zone/i-1", "kwok://", ""] {
        assert_eq!(world.kwok.get(id).await.unwrap(), None, "{id:?}");
    }
    let leaving = ids[0].strip_prefix("kwok://").unwrap();
    let finalizer = json!({"metadata": {"finalizers": ["karpenter.sh/termination"]}});
    world.patch_node(leaving, finalizer).await;
    world
        .nodes()
        .delete(leaving, &Default::default())
        .await
        .unwrap();
    assert_eq!(world.node_count().await, 3);
    assert_eq!(
        world.kwok.get(&ids[0]).await.unwrap(),
        None,
        "a deleting node is not found"
    );
    assert_eq!(world.kwok.list().await.unwrap(), listed[1..]);
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_not_ready_launches_nothing() {
    let world = World::new().await;
    world.class("ready", json!({})).await;
    world
        .class_that_is("false", json!({}), "False", "disk is full")
        .await;
    world
        .class_that_is("unknown", json!({}), "Unknown", "")
        .await;
    let outcome = async |class: &str| {
        let claim = world.claim(class, class).await;
        match world.kwok.launch(&claim).await {
            Ok(_) => "launched".to_owned(),
            Err(LaunchError::InsufficientCapacity(message)) => format!("capacity: {message}"),
            Err(LaunchError::NodeClassNotReady(message)) => format!("not ready: {message}"),
            Err(LaunchError::Create { reason, .. }) => format!("create: {reason}"),
            Err(error) => panic!("{error}"),
        }
    };
    for (class, expected) in [
        ("ready", "launched"),
        (
            "missing",
            "capacity: node class \"missing\" does not exist or is being deleted, create it",
        ),
        ("false", "not ready: disk is full"),
        ("unknown", "create: NodeClassReadinessUnknown"),
    ] {
        assert_eq!(outcome(class).await, expected, "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn creating_a_node_is_tried_again_with_growing_waits() {
    let server = server().await;
    let refusals = Arc::new(AtomicUsize::new(3));
    let left = refusals.clone();
    // A path that is not served refuses a request as well as a busy server would.
    let flaky = service_fn(move |mut request: http::Request<kube::client::Body>| {
        let creates = request.method() == "POST" && request.uri().path().ends_with("/nodes");
        let order = Ordering::SeqCst;
        if creates
            && left
                .fetch_update(order, order, |count| count.checked_sub(1))
                .is_ok()
        {
            *request.uri_mut() = http::Uri::from_static("/apis/busy/v1/nodes");
        }
        server.clone().call(request)
    });
    let world = World::over(Client::new(flaky, "default"));
    world
        .class("slow", json!({"nodeRegistrationDelay": "2s"}))
        .await;
    let claim = world.claim("default-abcde", "slow").await;
    world.kwok.launch(&claim).await.unwrap();
    // 2 s of delay, then waits of 100, 200 and 400 ms after three refusals.
    sleep(Duration::from_millis(2_650)).await;
    assert_eq!(
        (world.node_count().await, refusals.load(Ordering::SeqCst)),
        (0, 0)
    );
    sleep(Duration::from_millis(100)).await;
    assert_eq!(world.node_count().await, 1);
}

#[tokio::test(start_paused = true)]
async fn every_pool_sees_the_same_catalogue() {
    let world = World::new().await;
    let feed = world.kwok.catalog(&NodePool::default()).await.unwrap();
    assert_eq!((feed.generation, feed.types.len()), (1, 144));
    let claim = world.claim("default-abcde", "default").await;
    assert_eq!(world.kwok.drifted(&claim).await.unwrap(), None);
    let repairs: Vec<_> = world
        .kwok
        .repair_policies()
        .iter()
        .map(|one| (one.condition, one.status, one.toleration.as_secs()))
        .collect();
    assert_eq!(
        repairs,
        [("Ready", "False", 600), ("Ready", "Unknown", 600)]
    );
    assert!(world.kwok.manages("karpenter.kwok.sh", "KWOKNodeClass"));
    assert!(!world.kwok.manages("karpenter.k8s.aws", "EC2NodeClass"));
    let known = world.kwok.well_known();
    assert!(
        known
            .labels
            .contains(&"karpenter.kwok.sh/instance-size".to_owned())
    );
    assert_eq!(known.restricted_domains, ["karpenter.kwok.sh"]);
}
