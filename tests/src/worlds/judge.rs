//! A planned world given to a cluster where a pod scheduler runs.
//!
//! The pods of DaemonSets are made here, on their nodes: no controller of them runs there.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Scheduler,
    generate::{World, default_spreads},
    place::{Placed, Placement},
};

/// How often the pods are looked at.
const STEP: Duration = Duration::from_millis(25);

/// How often a pod is looked at before the next one comes: one that needs a later one is bound later.
const LOOKS: usize = 20;

/// A resource of which one node has plenty and no other any.
fn seat(node: &str) -> String {
    format!("seat.example.com/{node}")
}

/// Which placements the scheduler does not accept, with its words. The cluster is empty afterwards.
pub(super) async fn judge(
    scheduler: &Scheduler,
    world: &World,
    placed: &Placed,
) -> Result<Vec<String>> {
    let client = &scheduler.client;
    prepare(client, world, placed).await?;
    for Placement { pod, node } in &placed.placements {
        let mut pod = pod.clone();
        if let Some(fields) = pod.as_object_mut() {
            fields.remove("status");
        }
        if !scheduler.has_default_spreads {
            write_default_spreads(&mut pod, world);
        }
        let resources = &mut pod["spec"]["containers"][0]["resources"];
        resources["requests"][seat(node)] = json!("1");
        resources["limits"][seat(node)] = json!("1");
        let pods: Api<Pod> = in_namespace_of(&pod, client)?;
        create(&pods, &pod).await?;
        let name = pod["metadata"]["name"].as_str().context("a pod's name")?;
        for _ in 0..LOOKS {
            let found = pods.get(name).await?;
            if found.spec.is_some_and(|spec| spec.node_name.is_some()) {
                break;
            }
            tokio::time::sleep(STEP).await;
        }
    }
    let start = Instant::now();
    let refused = loop {
        let refused = unbound(client, &placed.placements).await?;
        if refused.is_empty() || start.elapsed() > scheduler.patience {
            break refused;
        }
        tokio::time::sleep(STEP).await;
    };
    clear(client, world, placed).await?;
    Ok(refused)
}

async fn prepare(client: &Client, world: &World, placed: &Placed) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for namespace in &world.namespaces {
        create(&namespaces, namespace).await?;
    }
    for set in &world.replica_sets {
        create(&in_namespace_of::<ReplicaSet>(set, client)?, set).await?;
    }
    let nodes: Api<Node> = Api::all(client.clone());
    for node in world.nodes.iter().chain(&placed.new_nodes) {
        let name = node["metadata"]["name"].as_str().context("a node's name")?;
        create(&nodes, node).await?;
        let mut status = node["status"].clone();
        for amounts in ["capacity", "allocatable"] {
            status[amounts][seat(name)] = json!("1000");
        }
        let status = Patch::Merge(json!({"status": status}));
        nodes
            .patch_status(name, &PatchParams::default(), &status)
            .await?;
        // Admission has tainted it as not ready, and nobody else takes that off.
        let taints = Patch::Merge(json!({"spec": {"taints": node["spec"]["taints"]}}));
        nodes.patch(name, &PatchParams::default(), &taints).await?;
    }
    for object in &world.volumes {
        if object["kind"] == "PersistentVolume" {
            create(&Api::<PersistentVolume>::all(client.clone()), object).await?;
            continue;
        }
        let claims: Api<PersistentVolumeClaim> = in_namespace_of(object, client)?;
        create(&claims, object).await?;
        let name = object["metadata"]["name"]
            .as_str()
            .context("a claim's name")?;
        let status = Patch::Merge(json!({"status": object["status"]}));
        claims
            .patch_status(name, &PatchParams::default(), &status)
            .await?;
    }
    for pod in world.running.iter().chain(&placed.daemon_pods) {
        create(&in_namespace_of::<Pod>(pod, client)?, pod).await?;
    }
    Ok(())
}

fn in_namespace_of<K>(object: &Value, client: &Client) -> Result<Api<K>>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let namespace = object["metadata"]["namespace"].as_str();
    Ok(Api::namespaced(
        client.clone(),
        namespace.context("a namespace")?,
    ))
}

/// Writes into a pod how the cluster spreads it by default.
fn write_default_spreads(pod: &mut Value, world: &World) {
    if pod["spec"]["topologySpreadConstraints"].is_array() {
        return;
    }
    let owner = &pod["metadata"]["ownerReferences"][0]["name"];
    let mut sets = world.replica_sets.iter();
    let Some(set) = sets.find(|set| set["metadata"]["name"] == *owner) else {
        return;
    };
    let mut spreads = default_spreads();
    for spread in spreads.as_array_mut().into_iter().flatten() {
        spread["labelSelector"] = set["spec"]["selector"].clone();
    }
    pod["spec"]["topologySpreadConstraints"] = spreads;
}

/// Creates an object as somebody would write it.
async fn create<K>(api: &Api<K>, object: &Value) -> Result<()>
where
    K: kube::Resource + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("uid");
        metadata.remove("creationTimestamp");
    }
    let name = object["metadata"]["name"].to_string();
    let parsed: K = serde_json::from_value(object)?;
    let created = api.create(&PostParams::default(), &parsed).await;
    created.with_context(|| format!("creating {name}"))?;
    Ok(())
}

async fn unbound(client: &Client, placements: &[Placement]) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::all(client.clone());
    let wanted: BTreeMap<&str, &str> = placements
        .iter()
        .filter_map(|one| Some((one.pod["metadata"]["name"].as_str()?, &*one.node)))
        .collect();
    let mut refused = Vec::new();
    for pod in pods.list(&ListParams::default()).await? {
        let name = pod.name_any();
        let Some(wanted) = wanted.get(&*name) else {
            continue;
        };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if node == Some(wanted) {
            continue;
        }
        let said = pod
            .status
            .into_iter()
            .flat_map(|status| status.conditions.unwrap_or_default())
            .find(|condition| condition.type_ == "PodScheduled")
            .and_then(|condition| condition.message);
        refused.push(format!(
            "{name} for {wanted}: {}",
            said.as_deref().unwrap_or("not looked at")
        ));
    }
    Ok(refused)
}

async fn clear(client: &Client, world: &World, placed: &Placed) -> Result<()> {
    let now = DeleteParams::default().grace_period(0);
    for pod in Api::<Pod>::all(client.clone())
        .list(&ListParams::default())
        .await?
    {
        let namespace = pod.namespace().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        pods.delete(&pod.name_any(), &now).await?;
    }
    let nodes: Api<Node> = Api::all(client.clone());
    for node in world.nodes.iter().chain(&placed.new_nodes) {
        let name = node["metadata"]["name"].as_str().context("a node's name")?;
        nodes.delete(name, &now).await?;
    }
    Ok(())
}
