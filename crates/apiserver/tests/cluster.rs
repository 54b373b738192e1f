//! The server through `kube::Client`, on paused time.
#![allow(
    clippy::unwrap_used,
    clippy::duration_suboptimal_units,
    clippy::wildcard_enum_match_arm
)]

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Binding, Namespace, Node, Pod},
        policy::v1::PodDisruptionBudget,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use karpenter_apiserver::{Options, Server};
use kube::{
    Api, Client, Error,
    api::{
        ApiResource, DeleteParams, DynamicObject, EvictParams, ListParams, Patch, PatchParams,
        PostParams, Preconditions, PropagationPolicy, WatchEvent, WatchParams,
    },
    runtime::watcher,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn server() -> Server {
    let epoch: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let start = tokio::time::Instant::now();
    let mut options = Options::new(Arc::new(move || epoch + start.elapsed()));
    options.record_writes = true;
    Server::new(options)
}

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str) -> Pod {
    object(json!({
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "pause"}]},
    }))
}

fn pods(client: &Client) -> Api<Pod> {
    Api::default_namespaced(client.clone())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, code: u16, part: &str) {
    match result.unwrap_err() {
        Error::Api(status) => {
            assert_eq!(status.code, code, "{status:?}");
            assert!(status.message.contains(part), "{status:?}");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn create_get_update_conflict() {
    let client = server().client();
    let api = pods(&client);
    let made = api.create(&PostParams::default(), &pod("a")).await.unwrap();
    assert!(made.metadata.uid.is_some());
    assert_eq!(made.metadata.generation, Some(1));
    refused(
        api.create(&PostParams::default(), &pod("a")).await,
        409,
        "pods \"a\" already exists",
    );
    refused(api.get("b").await, 404, "pods \"b\" not found");
    let mut stale = made.clone();
    stale
        .metadata
        .labels
        .get_or_insert_default()
        .insert("x".into(), "1".into());
    let fresh = api
        .replace("a", &PostParams::default(), &stale)
        .await
        .unwrap();
    assert_ne!(
        fresh.metadata.resource_version,
        made.metadata.resource_version
    );
    refused(
        api.replace("a", &PostParams::default(), &stale).await,
        409,
        "the object has been modified",
    );
    // A change that changes nothing writes nothing.
    let same = api
        .replace("a", &PostParams::default(), &fresh)
        .await
        .unwrap();
    assert_eq!(
        same.metadata.resource_version,
        fresh.metadata.resource_version
    );
    // The status is not reachable through the main path, nor the specification through the status.
    let patch = json!({"status": {"phase": "Running"}});
    let seen = api
        .patch("a", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    assert_eq!(
        seen.status.unwrap_or_default().phase.as_deref(),
        Some("Pending")
    );
    let patch = json!({"status": {"phase": "Running"}, "spec": {"nodeName": "n"}});
    let seen = api
        .patch_status("a", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    assert_eq!(seen.status.unwrap().phase.as_deref(), Some("Running"));
    assert_eq!(seen.spec.unwrap().node_name, None);
    let generated: Pod = object(json!({
        "metadata": {"generateName": "gen-"},
        "spec": {"containers": [{"name": "main", "image": "pause"}]},
    }));
    let named = api
        .create(&PostParams::default(), &generated)
        .await
        .unwrap();
    assert_eq!(named.metadata.name.unwrap().len(), "gen-".len() + 5);
}

#[tokio::test(start_paused = true)]
async fn binding_grace_and_preconditions() {
    let client = server().client();
    let api = pods(&client);
    let made = api.create(&PostParams::default(), &pod("a")).await.unwrap();
    let binding: Binding = object(json!({"metadata": {"name": "a"}, "target": {"name": "node-1"}}));
    let _: Value = api
        .create_subresource("binding", "a", &PostParams::default(), &binding)
        .await
        .unwrap();
    refused(
        api.create_subresource::<_, Value>("binding", "a", &PostParams::default(), &binding)
            .await,
        409,
        "already assigned to node",
    );
    let wrong = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some("other".into()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    refused(
        api.delete("a", &wrong).await,
        409,
        "Precondition failed: UID",
    );
    let deleted = api
        .delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(deleted.metadata.deletion_grace_period_seconds, Some(30));
    assert_eq!(
        deleted.metadata.deletion_timestamp.unwrap().0,
        made.metadata.creation_timestamp.unwrap().0 + Duration::from_secs(30),
    );
    // The kubelet confirms.
    api.delete("a", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
    // A pod without a node goes at once.
    api.create(&PostParams::default(), &pod("b")).await.unwrap();
    api.delete("b", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("b").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn eviction_under_budgets() {
    let client = server().client();
    let api = pods(&client);
    let budgets: Api<PodDisruptionBudget> = Api::default_namespaced(client.clone());
    let budget = |name: &str| {
        object(json!({
            "metadata": {"name": name},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        }))
    };
    for name in ["a", "b"] {
        api.create(&PostParams::default(), &pod(name))
            .await
            .unwrap();
        let running = json!({"spec": {"nodeName": "n"}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}]}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&running))
            .await
            .unwrap();
    }
    budgets
        .create(&PostParams::default(), &budget("one"))
        .await
        .unwrap();
    refused(
        api.evict("a", &EvictParams::default()).await,
        429,
        "disruption budget",
    );
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1,
        "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    budgets
        .patch_status("one", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    api.evict("a", &EvictParams::default()).await.unwrap();
    refused(
        api.evict("b", &EvictParams::default()).await,
        429,
        "disruption budget",
    );
    let spent = budgets.get("one").await.unwrap().status.unwrap();
    assert_eq!(spent.disruptions_allowed, Some(0));
    assert!(spent.disrupted_pods.unwrap().contains_key("a"));
    budgets
        .create(&PostParams::default(), &budget("two"))
        .await
        .unwrap();
    refused(
        api.evict("b", &EvictParams::default()).await,
        500,
        "more than one PodDisruptionBudget",
    );
}

#[tokio::test(start_paused = true)]
async fn finalizers_and_owners() {
    let client = server().client();
    let api = pods(&client);
    let sets: Api<ReplicaSet> = Api::default_namespaced(client.clone());
    let set = |name: &str| {
        object(json!({"metadata": {"name": name}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "pause"}]}}}}))
    };
    let owned = |name: &str, owners: &[&ReplicaSet]| {
        let mut pod = pod(name);
        pod.metadata.owner_references = Some(
            owners
                .iter()
                .map(|owner| {
                    object(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "blockOwnerDeletion": true,
                        "name": owner.metadata.name, "uid": owner.metadata.uid}))
                })
                .collect(),
        );
        pod
    };
    let post = PostParams::default();
    let first = sets.create(&post, &set("first")).await.unwrap();
    let second = sets.create(&post, &set("second")).await.unwrap();
    api.create(&post, &owned("of-first", &[&first]))
        .await
        .unwrap();
    api.create(&post, &owned("of-both", &[&first, &second]))
        .await
        .unwrap();
    sets.delete("first", &DeleteParams::default())
        .await
        .unwrap();
    assert!(api.get_opt("of-first").await.unwrap().is_none());
    assert_eq!(
        api.get("of-both")
            .await
            .unwrap()
            .metadata
            .owner_references
            .unwrap()
            .len(),
        1
    );
    // A dependent that comes too late is collected all the same.
    api.create(&post, &owned("late", &[&first])).await.unwrap();
    assert!(api.get_opt("late").await.unwrap().is_none());
    // Foreground: the owner waits for a dependent that has a finalizer.
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    api.patch("of-both", &PatchParams::default(), &Patch::Merge(&hold))
        .await
        .unwrap();
    let foreground = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    sets.delete("second", &foreground).await.unwrap();
    assert!(
        sets.get("second")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    let release = json!({"metadata": {"finalizers": null}});
    api.patch("of-both", &PatchParams::default(), &Patch::Merge(&release))
        .await
        .unwrap();
    assert!(sets.get_opt("second").await.unwrap().is_none());
    // Orphan: dependents stay without their owner.
    let third = sets.create(&post, &set("third")).await.unwrap();
    api.create(&post, &owned("orphan", &[&third]))
        .await
        .unwrap();
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    sets.delete("third", &orphan).await.unwrap();
    assert_eq!(
        api.get("orphan").await.unwrap().metadata.owner_references,
        None
    );
}

#[tokio::test(start_paused = true)]
async fn namespaces_end_with_their_content() {
    let client = server().client();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let api: Api<Pod> = Api::namespaced(client.clone(), "team");
    refused(
        api.create(&PostParams::default(), &pod("a")).await,
        404,
        "namespaces \"team\"",
    );
    let team = object(json!({"metadata": {"name": "team"}}));
    namespaces
        .create(&PostParams::default(), &team)
        .await
        .unwrap();
    let mut held = pod("a");
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    api.create(&PostParams::default(), &held).await.unwrap();
    namespaces
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    refused(
        api.create(&PostParams::default(), &pod("b")).await,
        403,
        "being terminated",
    );
    let release = json!({"metadata": {"finalizers": null}});
    api.patch("a", &PatchParams::default(), &Patch::Merge(&release))
        .await
        .unwrap();
    assert!(namespaces.get_opt("team").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn lists_select_and_page() {
    let client = server().client();
    let api = pods(&client);
    for index in 0..7 {
        api.create(&PostParams::default(), &pod(&format!("p{index}")))
            .await
            .unwrap();
    }
    let mut other = pod("other");
    other.metadata.labels = None;
    other.spec.as_mut().unwrap().node_name = Some("n1".into());
    api.create(&PostParams::default(), &other).await.unwrap();
    let count = async |params: ListParams| api.list(&params).await.unwrap().items.len();
    assert_eq!(count(ListParams::default()).await, 8);
    assert_eq!(count(ListParams::default().labels("app=web")).await, 7);
    assert_eq!(
        count(ListParams::default().fields("spec.nodeName=n1")).await,
        1
    );
    assert_eq!(
        count(ListParams::default().fields("spec.nodeName=")).await,
        7
    );
    assert_eq!(
        count(ListParams::default().fields("metadata.name=p3")).await,
        1
    );
    assert_eq!(
        count(ListParams::default().fields("status.phase!=Pending")).await,
        0
    );
    refused(
        api.list(&ListParams::default().fields("spec.colour=red"))
            .await,
        400,
        "field label not supported: spec.colour",
    );
    let first = api.list(&ListParams::default().limit(5)).await.unwrap();
    assert_eq!(
        (first.items.len(), first.metadata.remaining_item_count),
        (5, Some(3))
    );
    let token = first.metadata.continue_.unwrap();
    let rest = api
        .list(&ListParams::default().limit(5).continue_token(&token))
        .await
        .unwrap();
    assert_eq!((rest.items.len(), rest.metadata.continue_), (3, None));
}

#[tokio::test(start_paused = true)]
async fn watches_follow_selectors() {
    let client = server().client();
    let api = pods(&client);
    let list = api.list(&ListParams::default()).await.unwrap();
    let params = WatchParams::default().labels("app=web");
    let from = list.metadata.resource_version.unwrap();
    let mut stream = Box::pin(api.watch(&params, &from).await.unwrap());
    api.create(&PostParams::default(), &pod("a")).await.unwrap();
    let leave = json!({"metadata": {"labels": {"app": "api"}}});
    api.patch("a", &PatchParams::default(), &Patch::Merge(&leave))
        .await
        .unwrap();
    let again = json!({"metadata": {"labels": {"app": "web"}}});
    api.patch("a", &PatchParams::default(), &Patch::Merge(&again))
        .await
        .unwrap();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    // Out of sight, but the bookmark tells how far the watch has come.
    let mut other = pod("other");
    other.metadata.labels = None;
    api.create(&PostParams::default(), &other).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.push(match stream.next().await.unwrap().unwrap() {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            WatchEvent::Bookmark(_) => "bookmark",
            WatchEvent::Error(_) => "error",
        });
    }
    assert_eq!(seen, ["added", "deleted", "added", "deleted", "bookmark"]);
    // History is replayed.
    let replay = Box::pin(api.watch(&params, &from).await.unwrap());
    assert_eq!(replay.take(4).count().await, 4);
}

#[tokio::test(start_paused = true)]
async fn old_watches_are_gone() {
    let client = server().client();
    let nodes: Api<Node> = Api::all(client.clone());
    let make: Node = object(json!({"metadata": {"name": "n"}}));
    nodes.create(&PostParams::default(), &make).await.unwrap();
    for round in 0..1200 {
        let patch = json!({"metadata": {"labels": {"round": round.to_string()}}});
        nodes
            .patch("n", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }
    let mut stream = Box::pin(nodes.watch(&WatchParams::default(), "1").await.unwrap());
    match stream.next().await.unwrap().unwrap() {
        WatchEvent::Error(status) => assert_eq!((status.code, &*status.reason), (410, "Expired")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn watcher_lists_and_streams() {
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let client = server().client();
        let api = pods(&client);
        api.create(&PostParams::default(), &pod("before"))
            .await
            .unwrap();
        let mut stream = Box::pin(watcher(api.clone(), config));
        let mut seen = Vec::new();
        let mut next = async || match stream.next().await.unwrap().unwrap() {
            watcher::Event::Init => "init".to_owned(),
            watcher::Event::InitApply(pod) => format!("init {}", pod.metadata.name.unwrap()),
            watcher::Event::InitDone => "done".to_owned(),
            watcher::Event::Apply(pod) => format!("apply {}", pod.metadata.name.unwrap()),
            watcher::Event::Delete(pod) => format!("delete {}", pod.metadata.name.unwrap()),
        };
        for _ in 0..3 {
            seen.push(next().await);
        }
        // Hours of nothing but bookmarks and renewed watches.
        tokio::time::sleep(Duration::from_secs(5 * 3600)).await;
        api.create(&PostParams::default(), &pod("after"))
            .await
            .unwrap();
        api.delete("before", &DeleteParams::default())
            .await
            .unwrap();
        seen.push(next().await);
        seen.push(next().await);
        assert_eq!(
            seen,
            [
                "init",
                "init before",
                "done",
                "apply after",
                "delete before"
            ]
        );
    }
}

fn definition() -> CustomResourceDefinition {
    object(json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"replicas": {"type": "integer"},
                        "mode": {"type": "string", "enum": ["a", "b"], "default": "a"}}},
                    "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}}}}],
        },
    }))
}

#[tokio::test(start_paused = true)]
async fn definitions_are_served() {
    let client = server().client();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let resource = ApiResource::from_gvk_with_plural(
        &kube::api::GroupVersionKind::gvk("example.com", "v1", "Widget"),
        "widgets",
    );
    let widgets: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    refused(
        widgets.list(&ListParams::default()).await,
        404,
        "could not find",
    );
    definitions
        .create(&PostParams::default(), &definition())
        .await
        .unwrap();
    let conditions = definitions
        .get("widgets.example.com")
        .await
        .unwrap()
        .status
        .unwrap()
        .conditions
        .unwrap();
    assert!(
        conditions
            .iter()
            .any(|c| c.type_ == "Established" && c.status == "True")
    );
    let widget: DynamicObject = object(json!({"apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "w", "finalizers": ["example.com/hold"]}, "spec": {"replicas": 2}, "status": {"replicas": 9}}));
    let made = widgets
        .create(&PostParams::default(), &widget)
        .await
        .unwrap();
    assert_eq!(made.data.get("status"), None);
    assert_eq!(made.data["spec"]["mode"], "a");
    let scale = json!({"spec": {"replicas": 5}});
    widgets
        .patch_scale("w", &PatchParams::default(), &Patch::Merge(&scale))
        .await
        .unwrap();
    let scaled = widgets.get("w").await.unwrap();
    assert_eq!(scaled.data["spec"]["replicas"], 5);
    assert_eq!(scaled.metadata.generation, Some(2));
    let status = json!({"status": {"replicas": 5}, "spec": {"replicas": 1}});
    let seen = widgets
        .patch_status("w", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    assert_eq!(
        (
            &seen.data["spec"]["replicas"],
            &seen.data["status"]["replicas"]
        ),
        (&json!(5), &json!(5))
    );
    assert_eq!(seen.metadata.generation, Some(2));
    definitions
        .delete("widgets.example.com", &DeleteParams::default())
        .await
        .unwrap();
    // The object's finalizer holds it, and so the definition, until it is released.
    assert!(
        definitions
            .get("widgets.example.com")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    let release = json!({"metadata": {"finalizers": null}});
    widgets
        .patch("w", &PatchParams::default(), &Patch::Merge(&release))
        .await
        .unwrap();
    assert!(
        definitions
            .get_opt("widgets.example.com")
            .await
            .unwrap()
            .is_none()
    );
    refused(
        widgets.list(&ListParams::default()).await,
        404,
        "could not find",
    );
}

#[tokio::test(start_paused = true)]
async fn material_writes_and_the_log() {
    let run = async || {
        let server = server();
        let client = server.client();
        let before = server.last_material_write();
        let nodes: Api<Node> = Api::all(client.clone());
        tokio::time::advance(Duration::from_secs(1)).await;
        let node: Node = object(json!({"metadata": {"name": "n"},
            "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}}));
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let made = server.last_material_write();
        assert!(made > before);
        tokio::time::advance(Duration::from_secs(10)).await;
        let beat = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:11Z"}]}});
        nodes
            .patch_status("n", &PatchParams::default(), &Patch::Merge(&beat))
            .await
            .unwrap();
        assert_eq!(server.last_material_write(), made);
        let fall = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
        nodes
            .patch_status("n", &PatchParams::default(), &Patch::Merge(&fall))
            .await
            .unwrap();
        assert!(server.last_material_write() > made);
        let generated: Pod = object(json!({"metadata": {"generateName": "gen-"},
            "spec": {"containers": [{"name": "main", "image": "pause"}]}}));
        pods(&client)
            .create(&PostParams::default(), &generated)
            .await
            .unwrap();
        server.write_log()
    };
    let first = run().await;
    assert_eq!(first, run().await);
    assert!(
        first
            .last()
            .unwrap()
            .starts_with("create pods default/gen-"),
        "{first:?}"
    );
}
