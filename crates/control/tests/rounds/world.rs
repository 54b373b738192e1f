//! The real controllers against the embedded API server, under paused time.
//!
//! There is no pod scheduler here: tests say themselves which pods are unschedulable and which are
//! bound, so that what is asserted is ours.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use karpenter_api::{KWOKNodeClass, NodeClaim, NodePool, objects::Node};
use karpenter_apiserver::Server;
use karpenter_cloud::{
    Cloud, DriftReason, Error, Instance, LaunchError, Launched, NodeClassKind, RepairPolicy,
    Termination,
};
use karpenter_control::{
    client::{Limits, client},
    clock::Clock,
    ctx::{Computing, Ctx, Options},
};
use karpenter_kwok::{Kwok, KwokOptions, catalog};
use karpenter_plan::{CatalogFeed, WellKnown};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

/// What becomes of launches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Launches {
    /// They succeed.
    #[default]
    Succeed,
    /// They fail and are tried again.
    Fail,
    /// There is nothing to be had.
    NoCapacity,
}

/// The KWOK provider with faults to order.
pub(crate) struct Faulty {
    inner: Kwok,
    launches: Arc<Mutex<Launches>>,
}

#[async_trait::async_trait]
impl Cloud for Faulty {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn node_class_kinds(&self) -> &[NodeClassKind] {
        self.inner.node_class_kinds()
    }
    fn well_known(&self) -> &WellKnown {
        self.inner.well_known()
    }
    async fn catalog(&self, pool: &NodePool) -> Result<CatalogFeed, Error> {
        self.inner.catalog(pool).await
    }
    async fn launch(&self, claim: &NodeClaim) -> Result<Launched, LaunchError> {
        let launches = *self.launches.lock().unwrap();
        match launches {
            Launches::Succeed => self.inner.launch(claim).await,
            Launches::Fail => Err(LaunchError::Other("the cloud is out of order".to_owned())),
            Launches::NoCapacity => Err(LaunchError::InsufficientCapacity("all gone".to_owned())),
        }
    }
    async fn terminate(&self, claim: &NodeClaim) -> Result<Termination, Error> {
        self.inner.terminate(claim).await
    }
    async fn get(&self, provider_id: &str) -> Result<Option<Instance>, Error> {
        self.inner.get(provider_id).await
    }
    async fn list(&self) -> Result<Vec<Instance>, Error> {
        self.inner.list().await
    }
    async fn drifted(&self, claim: &NodeClaim) -> Result<Option<DriftReason>, Error> {
        self.inner.drifted(claim).await
    }
    fn repair_policies(&self) -> &[RepairPolicy] {
        self.inner.repair_policies()
    }
}

/// A cluster in memory with our controllers in it.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) ctx: Arc<Ctx>,
    pub(crate) start: Instant,
    launches: Arc<Mutex<Launches>>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

pub(crate) const EPOCH: &str = "2026-01-01T00:00:00Z";

impl World {
    /// An empty cluster with our definitions and a node class; controllers do not run yet.
    pub(crate) async fn new() -> Self {
        let clock = Clock::starting_at(EPOCH.parse::<Timestamp>().unwrap());
        let mut options = karpenter_apiserver::Options::new(Arc::new(move || clock.now()));
        options.record_writes = true;
        let server = Server::new(options);
        let client = server.client();
        let definitions = Api::all(client.clone());
        for definition in karpenter_api::crds::all() {
            definitions
                .create(&PostParams::default(), &definition)
                .await
                .unwrap();
        }
        let launches = Arc::default();
        let ctx = Self::ctx(&server, clock, &launches);
        let world = Self {
            server,
            client,
            ctx,
            start: Instant::now(),
            launches,
            running: None,
        };
        let class: KWOKNodeClass = serde_json::from_value(json!({
            "apiVersion": "karpenter.kwok.sh/v1alpha1",
            "kind": "KWOKNodeClass",
            "metadata": { "name": "default" },
            "spec": {},
        }))
        .unwrap();
        let classes = Api::all(world.client.clone());
        classes
            .create(&PostParams::default(), &class)
            .await
            .unwrap();
        world
    }

    fn ctx(server: &Server, clock: Clock, launches: &Arc<Mutex<Launches>>) -> Arc<Ctx> {
        let inner = Kwok::new(KwokOptions {
            client: server.client(),
            instance_types: catalog::generated(),
            seed: 1,
        });
        let cloud = Faulty {
            inner,
            launches: Arc::clone(launches),
        };
        let options = Options {
            computing: Computing::Inline,
            ..Options::default()
        };
        let client = client(server.clone(), Limits::default());
        Ctx::new(client, Arc::new(cloud), clock, options)
    }

    /// What becomes of launches from here on.
    pub(crate) fn launches(&self, launches: Launches) {
        *self.launches.lock().unwrap() = launches;
    }

    /// Starts the controllers.
    pub(crate) fn run(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let ctx = Arc::clone(&self.ctx);
        let task = tokio::spawn(async move {
            karpenter_control::run(ctx, async {
                let _ = stopped.await;
            })
            .await;
        });
        self.running = Some((stop, task));
    }

    /// Stops the controllers and forgets everything they knew, as a restart does.
    pub(crate) async fn restart(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            let _ = stop.send(());
            task.await.unwrap();
        }
        self.ctx = Self::ctx(&self.server, self.ctx.clock, &self.launches);
        self.run();
    }

    /// A pool that is ready, with changes to its spec.
    pub(crate) async fn pool(&self, name: &str, changes: Value) -> NodePool {
        let mut manifest = json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": { "name": name },
            "spec": {
                "template": { "spec": {
                    "nodeClassRef": {
                        "group": "karpenter.kwok.sh",
                        "kind": "KWOKNodeClass",
                        "name": "default",
                    },
                    "requirements": [],
                } },
                "disruption": { "consolidateAfter": "30s", "budgets": [{ "nodes": "100%" }] },
            },
        });
        merge(&mut manifest["spec"], changes);
        let pools: Api<NodePool> = Api::all(self.client.clone());
        let pool: NodePool = serde_json::from_value(manifest).unwrap();
        pools.create(&PostParams::default(), &pool).await.unwrap();
        self.pool_ready(name, "True").await
    }

    /// From here on NodePools are taken as they are: a newer release may store what this one cannot read.
    pub(crate) async fn admit_any_pool(&self) {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let lax = json!({ "spec": { "versions": [{
            "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
            "schema": { "openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            } },
        }] } });
        definitions
            .patch(
                "nodepools.karpenter.sh",
                &PatchParams::default(),
                &Patch::Merge(lax),
            )
            .await
            .unwrap();
    }

    /// Changes the specification of a pool.
    pub(crate) async fn change_pool(&self, name: &str, spec: Value) {
        let pools: Api<NodePool> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({ "spec": spec }));
        pools
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Sets the pool's readiness, as its controller would.
    pub(crate) async fn pool_ready(&self, name: &str, status: &str) -> NodePool {
        let pools: Api<NodePool> = Api::all(self.client.clone());
        let condition = |kind: &str| {
            json!({
                "type": kind, "status": status, "reason": kind, "message": "",
                "lastTransitionTime": EPOCH, "observedGeneration": 1,
            })
        };
        let conditions = ["ValidationSucceeded", "NodeClassReady", "Ready"]
            .map(condition)
            .to_vec();
        let patch = json!({ "status": { "conditions": conditions } });
        pools
            .patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap()
    }

    /// A pod that the scheduler has found no place for.
    pub(crate) async fn pending(&self, name: &str, cpu: &str, changes: Value) -> core::Pod {
        let mut manifest = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "containers": [{
                "name": "main", "image": "main",
                "resources": { "requests": { "cpu": cpu, "memory": "128Mi" } },
            }] },
        });
        merge(&mut manifest, changes);
        let pods: Api<core::Pod> = Api::namespaced(self.client.clone(), "default");
        let pod: core::Pod = serde_json::from_value(manifest).unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        self.unschedulable(name).await
    }

    /// Marks a pod as the scheduler does when nothing fits.
    pub(crate) async fn unschedulable(&self, name: &str) -> core::Pod {
        let pods: Api<core::Pod> = Api::namespaced(self.client.clone(), "default");
        let status = json!({ "status": { "phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "no nodes available to schedule pods",
        }] } });
        pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(status))
            .await
            .unwrap()
    }

    pub(crate) async fn claims(&self) -> Vec<NodeClaim> {
        let claims: Api<NodeClaim> = Api::all(self.client.clone());
        claims.list(&ListParams::default()).await.unwrap().items
    }

    pub(crate) async fn nodes(&self) -> Vec<Node> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.list(&ListParams::default()).await.unwrap().items
    }

    /// Messages of events with a reason, in the order they were written.
    pub(crate) async fn events(&self, reason: &str) -> Vec<String> {
        let events: Api<core::Event> = Api::all(self.client.clone());
        let mut events = events.list(&ListParams::default()).await.unwrap().items;
        events.sort_by_key(|event| event.metadata.creation_timestamp.clone());
        events
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some(reason))
            .filter_map(|event| event.message)
            .collect()
    }

    /// Makes every node ready, as its kubelet would.
    pub(crate) async fn make_nodes_ready(&self) {
        let nodes: Api<core::Node> = Api::all(self.client.clone());
        for node in self.nodes().await {
            let status = json!({ "status": { "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
            }] } });
            let name = node.metadata.name.unwrap();
            nodes
                .patch_status(&name, &PatchParams::default(), &Patch::Strategic(status))
                .await
                .unwrap();
            let taints = json!({ "spec": { "taints": node
                .spec
                .taints
                .iter()
                .filter(|taint| !taint.key.starts_with("node.kubernetes.io/"))
                .collect::<Vec<_>>() } });
            nodes
                .patch(&name, &PatchParams::default(), &Patch::Merge(taints))
                .await
                .unwrap();
        }
    }

    /// Binds a pod, as the scheduler would, and lets it run.
    pub(crate) async fn bind(&self, pod: &str, node: &str) {
        let pods: Api<core::Pod> = Api::namespaced(self.client.clone(), "default");
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": { "name": pod }, "target": { "kind": "Node", "name": node },
        });
        let _: Value = pods
            .create_subresource("binding", pod, &PostParams::default(), &binding)
            .await
            .map(|answer: kube::core::Status| json!(answer.code))
            .unwrap();
        let status = json!({ "status": { "phase": "Running", "conditions": [
            { "type": "PodScheduled", "status": "True" }, { "type": "Ready", "status": "True" },
        ] } });
        pods.patch_status(pod, &PatchParams::default(), &Patch::Strategic(status))
            .await
            .unwrap();
    }

    /// Removes a pod at once.
    pub(crate) async fn delete_pod(&self, pod: &str) {
        let pods: Api<core::Pod> = Api::namespaced(self.client.clone(), "default");
        pods.delete(pod, &DeleteParams::default().grace_period(0))
            .await
            .unwrap();
    }

    /// Nodes that run one pod each, made the way the product makes them; returns their names. Takes
    /// half a minute.
    pub(crate) async fn busy_nodes(&self, count: usize) -> Vec<String> {
        for index in 0..count {
            // No two of these fit on the largest type.
            self.pending(&format!("web-{index}"), "200", json!({}))
                .await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        self.make_nodes_ready().await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let nodes: Vec<String> = self
            .nodes()
            .await
            .into_iter()
            .filter_map(|node| node.metadata.name)
            .collect();
        assert_eq!(nodes.len(), count, "{}", self.dump().await);
        for (index, node) in nodes.iter().enumerate() {
            self.bind(&format!("web-{index}"), node).await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        nodes
    }

    /// Nodes that are far too large for what they run: one pod of 1 cpu each, since those that they were made for
    /// have left.
    pub(crate) async fn oversized_nodes(&self, count: usize) -> Vec<String> {
        let nodes = self.busy_nodes(count).await;
        for (index, node) in nodes.iter().enumerate() {
            let small = format!("small-{index}");
            self.pending(&small, "1", json!({})).await;
            self.bind(&small, node).await;
            self.delete_pod(&format!("web-{index}")).await;
        }
        nodes
    }

    /// Names of nodes that are still there and stay.
    pub(crate) async fn kept_nodes(&self) -> Vec<String> {
        let nodes = self.nodes().await.into_iter();
        nodes
            .filter(|node| node.metadata.deletion_timestamp.is_none())
            .filter_map(|node| node.metadata.name)
            .collect()
    }

    /// Seconds since the world began.
    pub(crate) fn seconds(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    /// A row of the specification holds, or the test fails with everything worth knowing.
    pub(crate) async fn check(&self, row: &str, holds: bool) {
        assert!(
            holds,
            "{row} at {} s: {}",
            self.seconds(),
            self.dump().await
        );
    }

    /// Everything worth knowing when a test fails.
    pub(crate) async fn dump(&self) -> String {
        let pools: Api<NodePool> = Api::all(self.client.clone());
        let pools = pools.list(&ListParams::default()).await.unwrap().items;
        let snapshot = self.ctx.mirror.snapshot(self.ctx.clock.now());
        format!(
            "{:#?}\nsettled {:?}\naside {:?} {:?}\npools {}\nclaims {}\nnodes {}",
            self.server.write_log(),
            self.ctx.settled(),
            self.ctx.mirror.aside(),
            snapshot.set_aside,
            json!(pools),
            json!(self.claims().await),
            json!(self.nodes().await),
        )
    }

    /// Waits until so many seconds have passed since the world began.
    pub(crate) async fn at(&self, seconds: u64) {
        tokio::time::sleep_until(self.start + Duration::from_secs(seconds)).await;
    }
}

/// Merges like a merge patch, without removals.
fn merge(target: &mut Value, changes: Value) {
    if let Value::Object(changes) = changes {
        for (key, value) in changes {
            merge(&mut target[key], value);
        }
    } else if !changes.is_null() {
        *target = changes;
    }
}
