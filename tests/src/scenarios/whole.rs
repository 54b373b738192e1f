//! What must be so in the end, by the API's own lists: nothing is half there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use karpenter_api::NodeClaim;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

use crate::cluster::Cluster;

/// A way to the objects of a kind: of all namespaces, or of `default`.
pub fn resource(client: &Client, kind: &str) -> Result<Api<DynamicObject>> {
    let (group, version, kind, namespaced) = match kind {
        "node" => ("", "v1", "Node", false),
        "pod" => ("", "v1", "Pod", true),
        "deployment" => ("apps", "v1", "Deployment", true),
        "pdb" => ("policy", "v1", "PodDisruptionBudget", true),
        "nodepool" => ("karpenter.sh", "v1", "NodePool", false),
        "nodeclaim" => ("karpenter.sh", "v1", "NodeClaim", false),
        "kwoknodeclass" => ("karpenter.kwok.sh", "v1alpha1", "KWOKNodeClass", false),
        other => anyhow::bail!("no kind {other:?} in scenarios"),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Ok(if namespaced {
        Api::namespaced_with(client.clone(), "default", &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    })
}

/// All objects of a kind.
pub(super) fn list(cluster: &impl Cluster, kind: &str) -> Result<Vec<DynamicObject>> {
    let api = resource(&cluster.client(), kind)?;
    let listed = cluster.run(api.list(&ListParams::default()));
    Ok(listed.with_context(|| format!("listing {kind}"))?.items)
}

fn text<'a>(object: &'a DynamicObject, pointer: &str) -> &'a str {
    object
        .data
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// How long something that is on its way may still take: an object goes a moment after the last
/// one that kept it.
const FAREWELL: Duration = Duration::from_secs(30);

/// Fails unless so many pods run, all of them on nodes that have a claim each, every claim has its
/// node, and nothing is on its way out. Returns the counts.
pub(super) fn whole(cluster: &mut impl Cluster, pods: usize) -> Result<String> {
    // A pod may run before the claim of its node has been written.
    let rests = |claim: &NodeClaim| {
        let node = claim.status.as_ref().and_then(|own| own.node_name.as_ref());
        claim.metadata.deletion_timestamp.is_none() && node.is_some()
    };
    cluster.until("nothing is on its way", FAREWELL, |state| {
        state.claims.iter().all(rests)
            && state.nodes.iter().all(|node| !node.deleting)
            && state.pods.iter().all(|pod| !pod.deleting)
    })?;
    let claims = list(cluster, "nodeclaim")?;
    let nodes = list(cluster, "node")?;
    let running = list(cluster, "pod")?;
    let pools = list(cluster, "nodepool")?;

    for object in claims.iter().chain(&nodes).chain(&running).chain(&pools) {
        let metadata = &object.metadata;
        ensure!(
            metadata.deletion_timestamp.is_none(),
            "{} is still going, held by {:?}",
            object.name_any(),
            object.finalizers()
        );
    }
    let by_provider: BTreeMap<&str, &DynamicObject> = nodes
        .iter()
        .map(|node| (text(node, "/spec/providerID"), node))
        .collect();
    ensure!(
        by_provider.len() == nodes.len(),
        "two nodes share a machine"
    );
    let mut claimed = BTreeSet::new();
    for claim in &claims {
        let machine = text(claim, "/status/providerID");
        let node = by_provider
            .get(machine)
            .with_context(|| format!("claim {} has no node", claim.name_any()))?;
        ensure!(
            text(claim, "/status/nodeName") == node.name_any(),
            "claim {} names another node than {}",
            claim.name_any(),
            node.name_any()
        );
        ensure!(
            claimed.insert(node.name_any()),
            "two claims share {}",
            node.name_any()
        );
    }
    for node in &nodes {
        ensure!(
            claimed.contains(&node.name_any()),
            "node {} has no claim",
            node.name_any()
        );
    }
    for pod in &running {
        let name = pod.name_any();
        ensure!(
            text(pod, "/status/phase") == "Running",
            "pod {name} does not run"
        );
        ensure!(
            claimed.contains(text(pod, "/spec/nodeName")),
            "pod {name} runs on {:?}, which is not there",
            text(pod, "/spec/nodeName")
        );
    }
    ensure!(
        running.len() == pods,
        "{} pods run, not {pods}",
        running.len()
    );
    Ok(format!(
        "{pods} pods run on {} nodes of {} claims",
        nodes.len(),
        claims.len()
    ))
}

/// Takes everything away, and fails when something stays.
pub(super) fn cleared(cluster: &mut impl Cluster) -> Result<()> {
    for kind in ["pdb", "deployment", "nodepool"] {
        for object in list(cluster, kind)? {
            cluster.delete(kind, &object.name_any())?;
        }
    }
    cluster.until("everything is gone", super::PATIENCE, |state| {
        state.pods.is_empty() && state.nodes.is_empty() && state.claims.is_empty()
    })?;
    for kind in ["pdb", "deployment", "pod", "node", "nodeclaim", "nodepool"] {
        let left = list(cluster, kind)?;
        let names: Vec<String> = left.iter().map(ResourceExt::name_any).collect();
        ensure!(left.is_empty(), "{kind}: {names:?} stay");
    }
    Ok(())
}
