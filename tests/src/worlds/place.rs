//! A world planned, and the nodes that the plan asks for.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use anyhow::{Result, anyhow, ensure};
use karpenter_api::{
    NodePool,
    objects::{
        DaemonSet, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicaSet,
    },
};
use karpenter_cloud::Cloud as _;
use karpenter_control::mirror::{Mirror, Mirrored};
use karpenter_kwok::{Kwok, KwokOptions, TypeDescription, catalog, describe};
use karpenter_plan::{
    CatalogFeed, InstanceType, NewClaim, Options, Plan, ResourceId, Snapshot, node_claim, schedule,
};
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    generate::{self, World},
    random::Random,
};

/// A pod and the node that it shall go to.
pub(super) struct Placement {
    pub(super) pod: Value,
    pub(super) node: String,
}

/// What the plan comes to.
pub(super) struct Placed {
    /// The nodes of the plan's claims.
    pub(super) new_nodes: Vec<Value>,
    /// Pods of DaemonSets that come to nodes, old and new ones, before anybody else does.
    pub(super) daemon_pods: Vec<Value>,
    /// In the order in which they were planned.
    pub(super) placements: Vec<Placement>,
    /// Pods without a place.
    pub(super) unplaced: usize,
}

/// Plans a world.
pub(super) fn place(client: &Client, world: &World, seed: u64) -> Result<Placed> {
    let types = catalog::generated();
    let snapshot = snapshot(client, world, &types)?;
    let (plan, report) = schedule(&snapshot, &Options::default());
    karpenter_plan::check(&snapshot, &plan, &report)
        .map_err(|violations| anyhow!("seed {seed}: our own check refuses: {violations:?}"))?;
    let described = describe(&types);
    let mut random = Random::new(seed ^ 0xFEED);
    let names: Vec<String> = (0..plan.claims.len())
        .map(|index| format!("new-{seed}-{index}"))
        .collect();
    let new_nodes: Vec<Value> = plan
        .claims
        .iter()
        .zip(&names)
        .map(|(claim, name)| node(&snapshot, claim, name, &described, &mut random))
        .collect::<Result<_>>()?;
    let placements = placements(&snapshot, &plan, &names, world);
    ensure!(
        placements.len() + report.unplaced.len() + report.ignored.len() == world.pending.len(),
        "seed {seed}: a pod is missing"
    );
    let nodes = || world.nodes.iter().chain(&new_nodes);
    let all = world
        .daemons
        .iter()
        .flat_map(|daemon| nodes().filter_map(move |node| generate::daemon_pod(daemon, node)));
    Ok(Placed {
        daemon_pods: all.filter(|pod| !world.running.contains(pod)).collect(),
        new_nodes,
        unplaced: world.pending.len() - placements.len(),
        placements,
    })
}

fn snapshot(client: &Client, world: &World, types: &[InstanceType]) -> Result<Arc<Snapshot>> {
    let kwok = Kwok::new(KwokOptions {
        client: client.clone(),
        instance_types: types.to_vec(),
        seed: 0,
    });
    let mirror = Mirror::new(kwok.well_known());
    let feed = CatalogFeed {
        generation: 1,
        types: types.to_vec().into(),
    };
    let constraints: Vec<_> = serde_json::from_value(generate::default_spreads())?;
    mirror.set_default_constraints(constraints.into());
    for namespace in &world.namespaces {
        tell::<Namespace>(&mirror, namespace)?;
    }
    for set in &world.replica_sets {
        tell::<ReplicaSet>(&mirror, set)?;
    }
    for daemon in &world.daemons {
        tell::<DaemonSet>(&mirror, daemon)?;
    }
    for pool in &world.pools {
        tell::<NodePool>(&mirror, pool)?;
        let name = pool["metadata"]["name"].as_str().unwrap_or_default();
        mirror.set_catalog(name, Ok(feed.clone()));
    }
    for node in &world.nodes {
        tell::<Node>(&mirror, node)?;
    }
    for object in &world.volumes {
        if object["kind"] == "PersistentVolume" {
            tell::<PersistentVolume>(&mirror, object)?;
        } else {
            tell::<PersistentVolumeClaim>(&mirror, object)?;
        }
    }
    for pod in world.running.iter().chain(&world.pending) {
        tell::<Pod>(&mirror, pod)?;
    }
    Ok(mirror.snapshot("2026-01-01T01:00:00Z".parse()?))
}

fn tell<K: Mirrored + DeserializeOwned>(mirror: &Mirror, object: &Value) -> Result<()> {
    mirror.apply(serde_json::from_value::<K>(object.clone())?);
    Ok(())
}

fn placements(snapshot: &Snapshot, plan: &Plan, names: &[String], world: &World) -> Vec<Placement> {
    let by_name: BTreeMap<&str, &Value> = world
        .pending
        .iter()
        .filter_map(|pod| Some((pod["metadata"]["name"].as_str()?, pod)))
        .collect();
    let bound = plan
        .bindings
        .iter()
        .map(|&(pod, node)| (pod, snapshot.nodes[node].name.to_string()));
    let new = plan
        .claims
        .iter()
        .zip(names)
        .flat_map(|(claim, name)| claim.pods.iter().map(move |&pod| (pod, name.clone())));
    let mut all: Vec<_> = bound.chain(new).collect();
    // As they are planned: large ones first. What is legal then need not be in another order.
    all.sort_by_key(|(pod, _)| {
        let pod = &snapshot.pods[*pod];
        let asked = |resource| Reverse(pod.requests.get(resource));
        (
            asked(ResourceId::CPU),
            asked(ResourceId::MEMORY),
            pod.uid.clone(),
        )
    });
    all.into_iter()
        .filter_map(|(pod, node)| {
            let pod = (*by_name.get(&*snapshot.pods[pod].name)?).clone();
            Some(Placement { pod, node })
        })
        .collect()
}

/// One of the nodes that a claim may become.
fn node(
    snapshot: &Snapshot,
    claim: &NewClaim,
    name: &str,
    described: &[TypeDescription],
    random: &mut Random,
) -> Result<Value> {
    let catalog = snapshot.catalogs[claim.pool]
        .as_ref()
        .map_err(|problem| anyhow!("{problem}"))?;
    let vocabulary = &*snapshot.vocabulary;
    let chosen = &catalog.types[random.pick(&claim.instance_types)];
    let offerings: Vec<_> = chosen
        .offering_ids()
        .map(|id| &catalog.offerings[id])
        .filter(|one| one.available && claim.requirements.intersects(&one.requirements, vocabulary))
        .collect();
    ensure!(
        !offerings.is_empty(),
        "{name}: {} cannot be bought",
        chosen.name
    );
    let offering = random.pick(&offerings);
    let description = described
        .iter()
        .find(|one| *one.name == *chosen.name)
        .ok_or_else(|| anyhow!("{} is not described", chosen.name))?;
    let object = node_claim(snapshot, claim);
    let mut labels: BTreeMap<String, String> = description.labels.clone();
    // Of several values any will do.
    let asked = object
        .spec
        .requirements
        .iter()
        .filter(|one| one.operator == "In");
    for requirement in asked {
        if let Some(value) = requirement.values.iter().flatten().next() {
            labels
                .entry(requirement.key.clone())
                .or_insert_with(|| value.clone());
        }
    }
    labels.extend(object.metadata.labels.unwrap_or_default());
    let text = |value| vocabulary.value_text(value).to_string();
    labels.extend(
        offering
            .zone
            .map(|zone| ("topology.kubernetes.io/zone".to_owned(), text(zone))),
    );
    let capacity_type = offering.capacity_type.map(text);
    labels.extend(capacity_type.map(|value| ("karpenter.sh/capacity-type".to_owned(), value)));
    labels.insert("kubernetes.io/hostname".to_owned(), name.to_owned());
    Ok(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": format!("test://{name}"), "taints": object.spec.taints},
        "status": {
            "capacity": description.capacity, "allocatable": description.allocatable,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }))
}
