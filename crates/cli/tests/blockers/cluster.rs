//! Our controllers on the API in memory, in virtual time, with nobody else: what is refused stays so.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Event;
use karpenter_apiserver::Server;
use karpenter_control::{
    client::{Limits, client},
    clock::Clock,
    ctx::{Computing, Ctx, Options},
};
use karpenter_kwok::{Kwok, KwokOptions, file};
use kube::{
    Api, Client,
    api::{
        ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
    },
};
use serde_json::{Value, json};

use crate::world::{Blocker, TYPES};

/// Virtual seconds until a pod must have been told about.
const PATIENCE: u32 = 120;

/// The first event about the blocker's pod.
pub(crate) fn event(blocker: &Blocker) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let server = Server::new(karpenter_apiserver::Options::new(Arc::new(move || {
            clock.now()
        })));
        let admin = server.client();
        for definition in karpenter_api::crds::all() {
            let definitions = Api::all(admin.clone());
            definitions
                .create(&PostParams::default(), &definition)
                .await
                .unwrap();
        }
        for object in &blocker.objects {
            create(&admin, object, &blocker.name).await;
        }
        let cloud = Kwok::new(KwokOptions {
            client: server.client(),
            instance_types: file::parse("types.json", TYPES.as_bytes()).unwrap().types,
            seed: 1,
        });
        let options = Options {
            computing: Computing::Inline,
            ..Options::default()
        };
        let ctx = Ctx::new(
            client(server, Limits::default()),
            Arc::new(cloud),
            clock,
            options,
        );
        let controllers = tokio::spawn(karpenter_control::run(ctx, std::future::pending()));
        let events: Api<Event> = Api::namespaced(admin, "default");
        let mut told = String::new();
        for _ in 0..PATIENCE {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let all = events.list(&ListParams::default()).await.unwrap();
            let about = all.items.into_iter().find(|event| {
                event.reason.as_deref() == Some("FailedScheduling")
                    && event.involved_object.name.as_deref() == Some("p")
            });
            if let Some(event) = about {
                told = event.message.unwrap_or_default();
                break;
            }
        }
        controllers.abort();
        told
    })
}

async fn create(admin: &Client, object: &Value, blocker: &str) {
    let kind = object["kind"].as_str().unwrap();
    let (group, version) = match object["apiVersion"].as_str().unwrap().split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", "v1"),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(admin.clone(), namespace, &resource),
        None => Api::all_with(admin.clone(), &resource),
    };
    let name = object["metadata"]["name"].as_str().unwrap();
    let parsed: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    if let Err(error) = api.create(&PostParams::default(), &parsed).await {
        panic!("{blocker}: {kind} {name}: {error}");
    }
    // The scheduler has found no place for what runs nowhere.
    let is_pending = kind == "Pod" && object["spec"]["nodeName"].is_null();
    let status = if is_pending {
        json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        }]})
    } else {
        object["status"].clone()
    };
    if !status.is_null() {
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}
