//! One cluster in memory, with the controllers running, and what a user and a kubelet do to it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response};
use jiff::Timestamp;
use karpenter_apiserver::{Options as ServerOptions, ResponseBody, Server};
use karpenter_control::{
    client::{Limits, client},
    clock::Clock,
    ctx::{Computing, Ctx, Options},
    gates::FeatureGates,
    metrics::Metrics,
};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tower::{BoxError, Service};

use crate::cloud::{FakeCloud, Hook};

/// A write that is lost on its way: method and end of the path, and how many more of them.
type Losses = Arc<Mutex<Vec<(Method, String, usize)>>>;

/// Loses writes, and answers to writes, at random but the same for the same seed.
#[derive(Default)]
pub struct Weather {
    /// Writes lost out of a hundred, half of them only after the server took them.
    pub losses: u64,
    /// Where the sequence begins.
    pub seed: u64,
}

impl Weather {
    /// A number below a hundred.
    fn draw(&mut self) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.seed >> 33) % 100
    }
}

/// The way to the server, on which requests can be lost.
#[derive(Clone)]
struct Lossy {
    server: Server,
    losses: Losses,
    weather: Arc<Mutex<Weather>>,
}

impl Service<Request<Body>> for Lossy {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut losses = self.losses.lock().unwrap();
        let lost = losses.iter_mut().find(|(method, end, left)| {
            *left > 0 && method == request.method() && request.uri().path().ends_with(end.as_str())
        });
        if let Some((_, _, left)) = lost {
            *left -= 1;
            return Box::pin(async { Err("the connection was lost".into()) });
        }
        drop(losses);
        let mut weather = self.weather.lock().unwrap();
        let draw = if request.method() == Method::GET {
            100
        } else {
            weather.draw()
        };
        let (lost, unheard) = (draw < weather.losses / 2, draw < weather.losses);
        if lost {
            return Box::pin(async { Err("the connection was lost".into()) });
        }
        let answer = self.server.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if unheard {
                Err("the answer was lost".into())
            } else {
                Ok(answer)
            }
        })
    }
}

/// A cluster, its controllers and its provider.
pub struct World {
    pub cloud: Arc<FakeCloud>,
    pub clock: Clock,
    client: Client,
    losses: Losses,
    pub weather: Arc<Mutex<Weather>>,
    controllers: tokio::task::JoinHandle<()>,
    pub metrics: Arc<Metrics>,
    server: Server,
}

impl World {
    pub async fn new() -> Self {
        Self::with_hooks(Vec::new()).await
    }

    pub async fn with_hooks(hooks: Vec<Arc<Hook>>) -> Self {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let server = Server::new(ServerOptions::new(Arc::new(move || clock.now())));
        let client = server.client();
        let cloud = Arc::new(FakeCloud::new(hooks));
        let mut world = Self {
            cloud,
            clock,
            client,
            losses: Losses::default(),
            weather: Arc::default(),
            controllers: tokio::spawn(async {}),
            metrics: Arc::new(Metrics::new(clock)),
            server,
        };
        for crd in karpenter_api::crds::all() {
            world.create(serde_json::to_value(crd).unwrap()).await;
        }
        world
            .create(json!({
                "kind": "KWOKNodeClass", "metadata": {"name": "default"},
                "status": {"conditions": [{
                    "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }]},
            }))
            .await;
        world.create(pool("default")).await;
        world.start();
        world.pass(1).await;
        world
    }

    fn start(&mut self) {
        let lossy = Lossy {
            server: self.server.clone(),
            losses: Arc::clone(&self.losses),
            weather: Arc::clone(&self.weather),
        };
        let options = Options {
            computing: Computing::Inline,
            gates: FeatureGates {
                static_capacity: true,
                ..FeatureGates::default()
            },
            ..Options::default()
        };
        let ctx = Ctx::new(
            client(lossy, Limits::default()),
            self.cloud.clone(),
            self.clock,
            options,
        );
        self.metrics = Arc::clone(&ctx.metrics);
        let running = karpenter_control::run(ctx, std::future::pending());
        self.controllers = tokio::spawn(running);
    }

    /// Ends the controllers, whatever they are doing, and starts new ones.
    pub async fn restart(&mut self) {
        self.controllers.abort();
        self.start();
        self.pass(1).await;
    }

    /// The samples of a metric, as they are scraped; buckets are left out.
    pub fn samples(&self, name: &str) -> Vec<String> {
        samples(&self.metrics.render(), name)
    }

    /// Lets the next requests of a kind get lost: `method` to paths that end so.
    pub fn lose(&self, method: Method, end: &str, times: usize) {
        self.losses
            .lock()
            .unwrap()
            .push((method, end.to_owned(), times));
    }

    /// Lets seconds pass.
    pub async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// The present instant, as the API writes it.
    pub fn now(&self) -> String {
        Timestamp::from_second(self.clock.now().as_second())
            .unwrap()
            .to_string()
    }

    /// Lets time pass until something holds; fails after `seconds`.
    pub async fn until(&self, what: &str, seconds: u64, condition: impl AsyncFn(&Self) -> bool) {
        for _ in 0..seconds * 10 {
            if condition(self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("did not come about within {seconds} s: {what}");
    }

    async fn request(&self, method: Method, path: &str, kind: &str, body: &Value) -> Option<Value> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(serde_json::to_vec(body).unwrap())
            .unwrap();
        match self.client.request::<Value>(request).await {
            Ok(value) => Some(value),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub async fn create(&self, mut manifest: Value) -> Value {
        let (api, plural, namespaced) = place(manifest["kind"].as_str().unwrap());
        manifest["apiVersion"] = json!(api);
        if namespaced && manifest["metadata"]["namespace"].is_null() {
            manifest["metadata"]["namespace"] = json!("default");
        }
        let path = path(
            api,
            plural,
            namespaced,
            manifest["metadata"]["namespace"].as_str(),
        );
        let created = self
            .request(Method::POST, &path, "application/json", &manifest)
            .await
            .unwrap();
        // Status is a subresource: what the manifest says of it is written after.
        if let Some(status) = manifest.get("status").filter(|status| !status.is_null()) {
            let name = created["metadata"]["name"].as_str().unwrap();
            let kind = manifest["kind"].as_str().unwrap();
            return self
                .patch_status(kind, name, json!({"status": status}))
                .await;
        }
        created
    }

    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.request(
            Method::GET,
            &object(kind, name),
            "application/json",
            &json!({}),
        )
        .await
    }

    pub async fn list(&self, kind: &str) -> Vec<Value> {
        let (api, plural, _) = place(kind);
        let found = self
            .request(
                Method::GET,
                &path(api, plural, false, None),
                "application/json",
                &json!({}),
            )
            .await;
        found.unwrap()["items"].as_array().unwrap().clone()
    }

    pub async fn patch(&self, kind: &str, name: &str, patch: Value) -> Value {
        let merge = "application/merge-patch+json";
        self.request(Method::PATCH, &object(kind, name), merge, &patch)
            .await
            .unwrap()
    }

    pub async fn patch_status(&self, kind: &str, name: &str, patch: Value) -> Value {
        let merge = "application/merge-patch+json";
        let path = format!("{}/status", object(kind, name));
        self.request(Method::PATCH, &path, merge, &patch)
            .await
            .unwrap()
    }

    pub async fn delete(&self, kind: &str, name: &str) {
        self.request(
            Method::DELETE,
            &object(kind, name),
            "application/json",
            &json!({}),
        )
        .await;
    }

    /// Removes an object whatever holds it: what a kubelet does with a pod that has stopped.
    pub async fn remove(&self, kind: &str, name: &str) {
        let body = json!({"gracePeriodSeconds": 0});
        self.request(
            Method::DELETE,
            &object(kind, name),
            "application/json",
            &body,
        )
        .await;
    }

    pub async fn gone(&self, kind: &str, name: &str) -> bool {
        self.get(kind, name).await.is_none()
    }

    /// Status and reason of a condition, as `True/Reason`; empty if it is not there.
    pub async fn condition(&self, kind: &str, name: &str, type_: &str) -> String {
        let Some(object) = self.get(kind, name).await else {
            return "gone".to_owned();
        };
        let conditions = object["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .iter()
            .find(|condition| condition["type"] == type_)
            .map(|found| {
                let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
                format!("{}/{}", text("status"), text("reason"))
            })
            .unwrap_or_default()
    }

    /// Messages of the events with this reason, in order.
    pub async fn events(&self, reason: &str) -> Vec<String> {
        let events = self.list("Event").await;
        let found = events.iter().filter(|event| event["reason"] == reason);
        found
            .map(|event| event["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A claim that is launched; the provider id.
    pub async fn launched(&self, name: &str) -> String {
        self.create(claim(name)).await;
        self.until("launch", 10, async |world| {
            world.condition("NodeClaim", name, "Launched").await == "True/Launched"
        })
        .await;
        let claim = self.get("NodeClaim", name).await.unwrap();
        claim["status"]["providerID"].as_str().unwrap().to_owned()
    }

    /// A claim whose node is initialised. The node has the claim's name.
    pub async fn initialized(&self, name: &str) -> String {
        let provider_id = self.launched(name).await;
        self.create(node(name, &provider_id)).await;
        self.until("initialisation", 20, async |world| {
            world.condition("NodeClaim", name, "Initialized").await == "True/Initialized"
        })
        .await;
        provider_id
    }
}

/// The samples of a metric in a scrape, buckets aside.
pub fn samples(text: &str, name: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| {
        let rest = line.strip_prefix(name).unwrap_or_default();
        let rest = ["_sum", "_count"]
            .iter()
            .find_map(|suffix| rest.strip_prefix(suffix))
            .unwrap_or(rest);
        rest.starts_with(['{', ' '])
    });
    lines.map(str::to_owned).collect()
}

/// A pool whose nodes are never consolidated.
pub fn pool(name: &str) -> Value {
    json!({
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            "template": {"spec": {
                "nodeClassRef": {
                    "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
                },
                "requirements": [], "expireAfter": "Never",
            }},
            "disruption": {"consolidateAfter": "Never"},
        },
    })
}

/// A claim of the default pool.
pub fn claim(name: &str) -> Value {
    json!({
        "kind": "NodeClaim",
        "metadata": {"name": name, "labels": {"karpenter.sh/nodepool": "default"}},
        "spec": {
            "nodeClassRef": {
                "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
            },
            "requirements": [], "expireAfter": "Never",
        },
    })
}

/// A node as it joins: with the unregistered taint, and ready.
pub fn node(name: &str, provider_id: &str) -> Value {
    json!({
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {
            "providerID": provider_id,
            "taints": [{"key": "karpenter.sh/unregistered", "effect": "NoExecute"}],
        },
        "status": {
            "capacity": {"cpu": "4"}, "allocatable": {"cpu": "4"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// A running pod of a ReplicaSet on a node.
pub fn pod(name: &str, node: &str) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app": name},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "rs-1",
                "controller": true,
            }],
        },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "main", "image": "main"}],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"},
            ],
        },
    })
}

/// Merges one manifest over another; lists are replaced.
pub fn with(mut manifest: Value, extra: Value) -> Value {
    merge(&mut manifest, extra);
    manifest
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn place(kind: &str) -> (&'static str, &'static str, bool) {
    match kind {
        "NodePool" => ("karpenter.sh/v1", "nodepools", false),
        "NodeClaim" => ("karpenter.sh/v1", "nodeclaims", false),
        "KWOKNodeClass" => ("karpenter.kwok.sh/v1alpha1", "kwoknodeclasses", false),
        "CustomResourceDefinition" => (
            "apiextensions.k8s.io/v1",
            "customresourcedefinitions",
            false,
        ),
        "Node" => ("v1", "nodes", false),
        "Pod" => ("v1", "pods", true),
        "Event" => ("v1", "events", true),
        "PodDisruptionBudget" => ("policy/v1", "poddisruptionbudgets", true),
        other => panic!("no such kind here: {other}"),
    }
}

fn path(api: &str, plural: &str, namespaced: bool, namespace: Option<&str>) -> String {
    let root = if api.contains('/') {
        format!("/apis/{api}")
    } else {
        format!("/api/{api}")
    };
    match (namespaced, namespace) {
        (true, Some(namespace)) => format!("{root}/namespaces/{namespace}/{plural}"),
        _ => format!("{root}/{plural}"),
    }
}

fn object(kind: &str, name: &str) -> String {
    let (api, plural, namespaced) = place(kind);
    format!("{}/{name}", path(api, plural, namespaced, Some("default")))
}
