//! A world from manifests: what `plan` and `explain` ask their questions of.
//!
//! The manifests go through the embedded API server (so offline and online agree on what is valid),
//! workloads become their pods, and the same mirror that the controllers feed freezes the snapshot.

mod admit;
mod devices;
mod expand;
mod kinds;
#[cfg(test)]
mod mutations;
mod pools;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use karpenter_api::{
    CapacityBuffer, NodeClaim, NodeOverlay, NodePool,
    objects::{
        CSINode, DaemonSet, Deployment, DeviceClass, Namespace, Node, PersistentVolume,
        PersistentVolumeClaim, Pod, PodDisruptionBudget, ReplicaSet, ReplicationController,
        ResourceClaim, ResourceSlice, Service, StatefulSet, StorageClass, workload::PodTemplate,
    },
};
use karpenter_cloud::Cloud as _;
use karpenter_control::{
    ctx,
    gates::FeatureGates,
    mirror::{Mirror, Mirrored},
};
use karpenter_kwok::{Kwok, KwokOptions};
use karpenter_plan::{CatalogFeed, InstanceType, Price, Snapshot};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::admit::Refused;
use self::{
    admit::Gate,
    kinds::{KINDS, Kind},
};
use crate::{
    input::{self, Document},
    options::{Catalogue, Scheduling},
    output,
};

/// What every offline question is asked of.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    /// Manifests: a file, a folder, or `-` for standard input. May be repeated.
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    catalogue: Catalogue,
    /// The instant for ages, budgets and durations, RFC 3339; the default is the present.
    #[arg(long, value_name = "RFC3339")]
    now: Option<Timestamp>,
}

/// The world that the manifests describe.
pub(crate) struct World {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Manifests that a server would refuse; everything else is in the snapshot.
    pub(crate) refused: Vec<Refused>,
    /// Objects of kinds that nothing here reads.
    pub(crate) skipped_kinds: BTreeMap<String, usize>,
}

impl World {
    /// What each node costs, where its type and offering are known.
    pub(crate) fn costs(&self) -> impl Iterator<Item = Price> + '_ {
        let snapshot = &*self.snapshot;
        snapshot.nodes.iter().filter_map(move |(id, node)| {
            let offering = snapshot.offering_of(node, snapshot.places[id].pool?)?;
            Some(offering.price)
        })
    }
}

impl World {
    /// Whether some pool's requirements leave an available offering of the type.
    pub(crate) fn could_launch(&self, instance_type: &str) -> bool {
        let snapshot = &*self.snapshot;
        let vocabulary = &snapshot.vocabulary;
        snapshot.pools.iter().any(|(id, pool)| {
            let Ok(catalog) = &snapshot.catalogs[id] else {
                return false;
            };
            let Some(found) = catalog.type_named(instance_type) else {
                return false;
            };
            let found = &catalog.types[found];
            pool.requirements
                .intersects(&found.requirements, vocabulary)
                && found
                    .offering_ids()
                    .map(|id| &catalog.offerings[id])
                    .any(|offering| {
                        offering.available
                            && pool
                                .requirements
                                .intersects(&offering.requirements, vocabulary)
                    })
        })
    }
}

/// Reads, admits and freezes.
///
/// # Errors
/// When a file cannot be read or is not made of objects; a manifest that is merely invalid ends up in
/// [`World::refused`].
pub(crate) fn build(arguments: &Arguments, options: &Scheduling) -> anyhow::Result<World> {
    let options = options.controller()?;
    let types = arguments.catalogue.read()?;
    build_from(&arguments.files, types, arguments.now, &options)
}

/// The same for a catalogue that was read already.
pub(crate) fn build_from(
    files: &[String],
    types: Vec<InstanceType>,
    now: Option<Timestamp>,
    options: &ctx::Options,
) -> anyhow::Result<World> {
    let documents = input::read(files)?;
    let now = now.unwrap_or_else(Timestamp::now);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut gate = Gate::new(now).await?;
        let admitted = admit(documents, &mut gate, now).await;
        Ok(freeze(admitted, types, &gate, now, options))
    })
}

/// Admitted objects, by kind, with where they came from.
#[derive(Default)]
struct Admitted {
    objects: BTreeMap<usize, Vec<(String, Value)>>,
    refused: Vec<Refused>,
    skipped_kinds: BTreeMap<String, usize>,
}

async fn admit(documents: Vec<Document>, gate: &mut Gate, now: Timestamp) -> Admitted {
    let mut admitted = Admitted::default();
    let mut known: Vec<(usize, Document)> = Vec::new();
    for document in documents {
        match Kind::position(document.api_version(), document.kind()) {
            Some(position) => known.push((position, document)),
            None => {
                *admitted
                    .skipped_kinds
                    .entry(document.kind().to_owned())
                    .or_default() += 1;
            }
        }
    }
    // What others refer to is admitted first; the order of reading stays within a kind.
    known.sort_by_key(|(position, _)| *position);
    for (position, document) in known {
        match gate.admit(&KINDS[position], &document).await {
            Ok(mut object) => {
                if is_stored(&document) {
                    restore(&mut object, &document);
                }
                if document.kind() == "Pod" && document.object.get("status").is_none() {
                    expand::judge(&mut object);
                }
                admitted
                    .objects
                    .entry(position)
                    .or_default()
                    .push((document.origin, object));
            }
            // Rules hold when something is written: what a cluster holds already counts there too.
            Err(refused) if is_stored(&document) && document.kind() == "NodePool" => {
                for refused in refused {
                    output::complain(&format!("karpenter: warning: {refused}"));
                }
                admitted
                    .objects
                    .entry(position)
                    .or_default()
                    .push((document.origin, document.object));
            }
            Err(refused) => admitted.refused.extend(refused),
        }
    }
    expand_workloads(&mut admitted, gate, now).await;
    admitted
}

/// The document was read from a cluster rather than written by hand.
fn is_stored(document: &Document) -> bool {
    document.object["metadata"]["uid"].is_string()
}

/// What a cluster adds to a new object it has added to a stored one already, if it does so at all: the
/// binding mode of a class, and tolerations for nodes that are not ready.
fn restore(object: &mut Value, document: &Document) {
    let (parent, field) = match document.kind() {
        "StorageClass" => ("", "volumeBindingMode"),
        "Pod" => ("/spec", "tolerations"),
        _ => return,
    };
    let given = document
        .object
        .pointer(parent)
        .and_then(|parent| parent.get(field));
    if let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        match given {
            Some(given) => fields.insert(field.to_owned(), given.clone()),
            None => fields.remove(field),
        };
    }
}

/// Adds the pods of workloads, admitted like any other.
async fn expand_workloads(admitted: &mut Admitted, gate: &mut Gate, now: Timestamp) {
    let Some(pod_kind) = Kind::position("v1", "Pod") else {
        return;
    };
    let others: Vec<&Value> = admitted
        .objects
        .values()
        .flatten()
        .map(|(_, object)| object)
        .collect();
    let mut made = Vec::new();
    for kind in ["ReplicaSet", "Deployment", "StatefulSet", "Job"] {
        let version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        let Some(position) = Kind::position(version, kind) else {
            continue;
        };
        for (origin, workload) in admitted.objects.get(&position).into_iter().flatten() {
            made.extend(
                expand::pods(workload, &others)
                    .into_iter()
                    .map(|pod| (origin.clone(), pod)),
            );
        }
    }
    let mut pods: Vec<Value> = Vec::new();
    for (origin, object) in made {
        match gate
            .admit(&KINDS[pod_kind], &Document { origin, object })
            .await
        {
            Ok(mut pod) => {
                expand::judge(&mut pod);
                pods.push(pod);
            }
            // Every pod of a template fails alike; saying it once is enough.
            Err(refused) if !admitted.refused.contains(&refused[0]) => {
                admitted.refused.extend(refused);
            }
            Err(_) => {}
        }
    }
    expand::date(&mut pods, now);
    let held = admitted.objects.entry(pod_kind).or_default();
    held.extend(pods.into_iter().map(|pod| (String::new(), pod)));
}

fn freeze(
    mut admitted: Admitted,
    types: Vec<InstanceType>,
    gate: &Gate,
    now: Timestamp,
    options: &ctx::Options,
) -> World {
    let feed = CatalogFeed {
        generation: 1,
        types: types.clone().into(),
    };
    let kwok = Kwok::new(KwokOptions {
        client: gate.client(),
        instance_types: types,
        seed: 0,
    });
    let mirror = Mirror::new(kwok.well_known());
    mirror.set_gates(options.gates);
    mirror.set_default_constraints(Arc::clone(&options.default_constraints));
    if !options.ignore_dra_requests {
        mirror.honor_devices();
    }
    let mut refused = std::mem::take(&mut admitted.refused);
    let classes: Vec<String> = names(&admitted, "karpenter.kwok.sh/v1alpha1", "KWOKNodeClass");
    let mut take = |api_version: &str, kind: &str| -> Vec<(String, Value)> {
        Kind::position(api_version, kind)
            .and_then(|position| admitted.objects.remove(&position))
            .unwrap_or_default()
    };
    let pools = take("karpenter.sh/v1", "NodePool").into_iter();
    for mut pool in pools.filter_map(|pool| decode::<NodePool>(pool, &mut refused)) {
        for warning in pools::judge(
            &mut pool,
            &classes,
            &karpenter_api::labels::WellKnown::kwok(),
            now,
        ) {
            output::complain(&format!("karpenter: {warning}"));
        }
        mirror.set_catalog(
            pool.metadata.name.as_deref().unwrap_or_default(),
            Ok(feed.clone()),
        );
        mirror.apply(pool);
    }
    apply::<NodeClaim>(&mirror, take("karpenter.sh/v1", "NodeClaim"), &mut refused);
    apply::<Node>(&mirror, take("v1", "Node"), &mut refused);
    apply::<DaemonSet>(&mirror, take("apps/v1", "DaemonSet"), &mut refused);
    apply::<PodDisruptionBudget>(
        &mirror,
        take("policy/v1", "PodDisruptionBudget"),
        &mut refused,
    );
    apply::<Namespace>(&mirror, take("v1", "Namespace"), &mut refused);
    apply::<StorageClass>(
        &mirror,
        take("storage.k8s.io/v1", "StorageClass"),
        &mut refused,
    );
    apply::<PersistentVolume>(&mirror, take("v1", "PersistentVolume"), &mut refused);
    apply::<PersistentVolumeClaim>(&mirror, take("v1", "PersistentVolumeClaim"), &mut refused);
    apply::<CSINode>(&mirror, take("storage.k8s.io/v1", "CSINode"), &mut refused);
    apply::<NodeOverlay>(
        &mirror,
        take("karpenter.sh/v1alpha1", "NodeOverlay"),
        &mut refused,
    );
    apply::<CapacityBuffer>(
        &mirror,
        take("autoscaling.x-k8s.io/v1beta1", "CapacityBuffer"),
        &mut refused,
    );
    apply::<PodTemplate>(&mirror, take("v1", "PodTemplate"), &mut refused);
    apply::<Deployment>(&mirror, take("apps/v1", "Deployment"), &mut refused);
    let mut pods = take("v1", "Pod");
    if !options.ignore_dra_requests {
        let group = "resource.k8s.io/v1";
        apply::<DeviceClass>(&mirror, take(group, "DeviceClass"), &mut refused);
        apply::<ResourceSlice>(&mirror, take(group, "ResourceSlice"), &mut refused);
        apply::<ResourceClaim>(&mirror, take(group, "ResourceClaim"), &mut refused);
        let templates = take(group, "ResourceClaimTemplate");
        let made = devices::from_templates(&mut pods, &templates);
        apply::<ResourceClaim>(&mirror, made, &mut refused);
    }
    apply::<Service>(&mirror, take("v1", "Service"), &mut refused);
    apply::<ReplicationController>(&mirror, take("v1", "ReplicationController"), &mut refused);
    apply::<ReplicaSet>(&mirror, take("apps/v1", "ReplicaSet"), &mut refused);
    apply::<StatefulSet>(&mirror, take("apps/v1", "StatefulSet"), &mut refused);
    apply::<Pod>(&mirror, pods, &mut refused);
    complain_of_extras(&mirror, options.gates, now);
    World {
        snapshot: mirror.snapshot(now),
        refused,
        skipped_kinds: admitted.skipped_kinds,
    }
}

/// Says which overlays and buffers count for nothing, and why.
fn complain_of_extras(mirror: &Mirror, gates: FeatureGates, now: Timestamp) {
    let idle = |kind: &str, count: usize| {
        output::complain(&format!(
            "karpenter: warning: {count} {kind} objects are ignored, the feature gate {kind} is off"
        ));
    };
    let (overlays, buffers) = (
        mirror.all::<NodeOverlay>().len(),
        mirror.all::<CapacityBuffer>().len(),
    );
    if overlays > 0 && !gates.node_overlay {
        idle("NodeOverlay", overlays);
    }
    if buffers > 0 && !gates.capacity_buffer {
        idle("CapacityBuffer", buffers);
    }
    for verdict in mirror.overlay_verdicts(now).iter() {
        if let Some(fault) = &verdict.fault {
            output::complain(&format!(
                "karpenter: warning: NodeOverlay {} is not applied: {}",
                verdict.name,
                fault.message()
            ));
        }
    }
    for buffer in mirror.resolved_buffers(now) {
        if let Err(fault) = &buffer.outcome {
            output::complain(&format!(
                "karpenter: warning: CapacityBuffer {}/{} keeps nothing free: {}",
                buffer.namespace,
                buffer.name,
                fault.message()
            ));
        }
    }
}

fn names(admitted: &Admitted, api_version: &str, kind: &str) -> Vec<String> {
    Kind::position(api_version, kind)
        .and_then(|position| admitted.objects.get(&position))
        .into_iter()
        .flatten()
        .filter_map(|(_, object)| Some(object["metadata"]["name"].as_str()?.to_owned()))
        .collect()
}

fn apply<K: Mirrored + DeserializeOwned>(
    mirror: &Mirror,
    objects: Vec<(String, Value)>,
    refused: &mut Vec<Refused>,
) {
    for object in objects {
        if let Some(object) = decode::<K>(object, refused) {
            mirror.apply(object);
        }
    }
}

/// An object that a server accepts and that still cannot be read is refused by name.
fn decode<K: DeserializeOwned>(
    (origin, object): (String, Value),
    refused: &mut Vec<Refused>,
) -> Option<K> {
    serde_json::from_value(object)
        .map_err(|error| {
            refused.push(Refused {
                origin,
                field: None,
                message: error.to_string(),
            });
        })
        .ok()
}
