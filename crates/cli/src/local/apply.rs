//! Manifests into the local cluster, as `kubectl apply --server-side` would send them. A manifest
//! that the server refuses is named, and the others go on.

use std::collections::BTreeMap;

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    discovery::{self, Scope},
};
use serde_json::{Value, json};

use crate::input::Document;

/// The name under which fields are owned.
const MANAGER: &str = "karpenter-local";

/// Applies everything in order and returns the complaints. What was applied is forgotten: the server has
/// it.
pub(super) async fn apply(client: &Client, documents: Vec<Document>) -> Vec<String> {
    let mut kinds: BTreeMap<(String, String), Option<(ApiResource, bool)>> = BTreeMap::new();
    let mut complaints = Vec::new();
    for document in documents {
        let key = (
            document.api_version().to_owned(),
            document.kind().to_owned(),
        );
        if !kinds.contains_key(&key) {
            let found = find(client, &document).await;
            kinds.insert(key.clone(), found);
        }
        let problem = match kinds.get(&key) {
            Some(Some((resource, namespaced))) => one(client, resource, *namespaced, &document)
                .await
                .err()
                .map(|error| told(&error)),
            _ => Some(format!("the server has no kind {} in {}", key.1, key.0)),
        };
        complaints.extend(problem.map(|problem| format!("{}: {problem}", document.origin)));
    }
    complaints
}

async fn find(client: &Client, document: &Document) -> Option<(ApiResource, bool)> {
    let (group, version) = document
        .api_version()
        .rsplit_once('/')
        .unwrap_or(("", document.api_version()));
    let kind = GroupVersionKind::gvk(group, version, document.kind());
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await.ok()?;
    Some((resource, capabilities.scope == Scope::Namespaced))
}

async fn one(
    client: &Client,
    resource: &ApiResource,
    namespaced: bool,
    document: &Document,
) -> Result<(), kube::Error> {
    let namespace = document.object["metadata"]["namespace"]
        .as_str()
        .unwrap_or("default");
    let api: Api<DynamicObject> = if namespaced {
        ensure_namespace(client, namespace).await;
        Api::namespaced_with(client.clone(), namespace, resource)
    } else {
        Api::all_with(client.clone(), resource)
    };
    let mut object = document.object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in [
            "managedFields",
            "resourceVersion",
            "uid",
            "creationTimestamp",
        ] {
            metadata.remove(field);
        }
    }
    let parameters = PatchParams::apply(MANAGER).force();
    if document.name().is_empty() {
        let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        api.create(&Default::default(), &object).await?;
        return Ok(());
    }
    api.patch(document.name(), &parameters, &Patch::Apply(&object))
        .await?;
    // What a dump says of a node or a claim is kept as given.
    if let Some(status) = object.get("status").filter(|status| status.is_object()) {
        let patch = json!({"status": status});
        let merged = api
            .patch_status(
                document.name(),
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await;
        match merged {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// The server's own words, where it said any.
fn told(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        status.message.clone()
    } else {
        error.to_string()
    }
}

/// A namespace that nobody wrote down exists all the same.
async fn ensure_namespace(client: &Client, namespace: &str) {
    if namespace == "default" {
        return;
    }
    let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let about: Value = json!({"metadata": {"name": namespace}});
    if let Ok(object) = serde_json::from_value(about) {
        let _ = api.create(&Default::default(), &object).await;
    }
}
