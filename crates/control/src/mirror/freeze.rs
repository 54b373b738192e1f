//! The picture into a snapshot: join, lower what changed, freeze.
//!
//! Lowered values are cached beside the very objects they were made from, so that a snapshot costs
//! what has changed since the last one plus a walk over shared pointers. Whatever does not lower is
//! named in the snapshot and takes part in nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use karpenter_api::{
    NodeClaim, NodePool, labels,
    objects::{
        CSINode, DaemonSet, DeviceClass, LabelSelector, Namespace, Node, PersistentVolume,
        PersistentVolumeClaim, Pod, PodDisruptionBudget, ReplicaSet, ReplicationController,
        ResourceClaim, ResourceSlice, Service, StatefulSet, StorageClass,
    },
};
use karpenter_plan::{
    Catalog, CatalogFeed, Daemon, DisruptionBudget, Lowering, NodeInput, Parts, Pool, PoolPart,
    Problem, Snapshot,
    buffer::Buffer,
    default_spread::{ControllerKind, ControllerSelector, DefaultSpreads, ServiceSelector},
    device::{self, DeviceParts},
    node, overlay,
    pod::PodKey,
    topology,
    volume::{AttachLimits, Volume, VolumeClaim, VolumeClass, VolumeParts},
};

use super::{
    Key, NodeClass,
    buffers::{self, BufferSource},
    objects::Objects,
    overlays::Overlaid,
    state::State,
};

/// A lowered value beside what it was made from.
#[derive(Clone)]
struct Lowered<Source, Value> {
    source: Source,
    value: Result<Arc<Value>, Problem>,
}

/// What a node is lowered from, in a comparable form.
#[derive(Clone)]
struct NodeSource {
    node: Option<Arc<Node>>,
    claim: Option<Arc<NodeClaim>>,
    marked: bool,
    nominated_until: Option<Timestamp>,
    prebound: Vec<PodKey>,
}

impl NodeSource {
    fn is(&self, other: &Self) -> bool {
        same(self.node.as_ref(), other.node.as_ref())
            && same(self.claim.as_ref(), other.claim.as_ref())
            && self.marked == other.marked
            && self.nominated_until == other.nominated_until
            && self.prebound == other.prebound
    }
}

type DaemonSource = (Arc<DaemonSet>, Option<Arc<Pod>>);

/// Everything that was lowered for the last snapshot.
#[derive(Default)]
pub(crate) struct Cache {
    pools: BTreeMap<Key, Lowered<Arc<NodePool>, Pool>>,
    nodes: BTreeMap<Key, Lowered<NodeSource, node::Node>>,
    daemons: BTreeMap<Key, Lowered<DaemonSource, Daemon>>,
    budgets: BTreeMap<Key, Lowered<Arc<PodDisruptionBudget>, DisruptionBudget>>,
    namespaces: BTreeMap<Key, Lowered<Arc<Namespace>, topology::Namespace>>,
    volume_claims: BTreeMap<Key, Lowered<Arc<PersistentVolumeClaim>, VolumeClaim>>,
    volumes: BTreeMap<Key, Lowered<Arc<PersistentVolume>, Volume>>,
    storage_classes: BTreeMap<Key, Lowered<Arc<StorageClass>, VolumeClass>>,
    csi_nodes: BTreeMap<Key, Lowered<Arc<CSINode>, AttachLimits>>,
    resource_slices: BTreeMap<Key, Lowered<Arc<ResourceSlice>, device::Slice>>,
    resource_claims: BTreeMap<Key, Lowered<Arc<ResourceClaim>, device::Claim>>,
    device_classes: BTreeMap<Key, Lowered<Arc<DeviceClass>, device::Class>>,
    services: BTreeMap<Key, Lowered<Arc<Service>, ServiceSelector>>,
    replication_controllers: BTreeMap<Key, Lowered<Arc<ReplicationController>, ControllerSelector>>,
    replica_sets: BTreeMap<Key, Lowered<Arc<ReplicaSet>, ControllerSelector>>,
    stateful_sets: BTreeMap<Key, Lowered<Arc<StatefulSet>, ControllerSelector>>,
    overlaid: Overlaid,
    buffers: BTreeMap<Key, Lowered<BufferSource, Buffer>>,
    /// What the buffers have come to, in key order.
    resolved: Vec<Arc<Buffer>>,
    catalogs: BTreeMap<u64, Arc<Catalog>>,
    last: Option<(u64, Arc<Snapshot>)>,
}

/// Whether both are the same allocation, or both absent.
fn same<T>(left: Option<&Arc<T>>, right: Option<&Arc<T>>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => Arc::ptr_eq(left, right),
        (None, None) => true,
        _ => false,
    }
}

/// Lowers each source, taking over what was lowered from the same source before.
fn lower_all<Source, Value>(
    cache: &mut BTreeMap<Key, Lowered<Source, Value>>,
    sources: impl IntoIterator<Item = (Key, Source)>,
    is_same: impl Fn(&Source, &Source) -> bool,
    mut lower: impl FnMut(&Source) -> Result<Value, Problem>,
    problems: &mut Vec<Problem>,
) -> Vec<Arc<Value>> {
    let mut before = std::mem::take(cache);
    let mut values = Vec::new();
    for (key, source) in sources {
        let value = match before.remove(&key) {
            Some(known) if is_same(&known.source, &source) => known.value,
            _ => lower(&source).map(Arc::new),
        };
        match &value {
            Ok(value) => values.push(Arc::clone(value)),
            Err(problem) => problems.push(problem.clone()),
        }
        cache.insert(key, Lowered { source, value });
    }
    values
}

/// The same for objects that are lowered each by itself.
fn lower_each<Object, Value>(
    cache: &mut BTreeMap<Key, Lowered<Arc<Object>, Value>>,
    objects: &Objects<Arc<Object>>,
    mut lower: impl FnMut(&Object) -> Result<Value, Problem>,
    problems: &mut Vec<Problem>,
) -> Vec<Arc<Value>> {
    lower_all(
        cache,
        keyed(objects),
        Arc::ptr_eq,
        |object| lower(object),
        problems,
    )
}

fn keyed<T: Clone>(objects: &Objects<T>) -> Vec<(Key, T)> {
    objects
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

impl State {
    /// The snapshot of this instant; the last one again if nothing changed.
    pub(super) fn snapshot(&mut self, now: Timestamp) -> Arc<Snapshot> {
        let snapshot = match self.cache.last.take() {
            Some((generation, last)) if generation == self.generation => {
                if last.now == now {
                    last
                } else {
                    Arc::new(Snapshot {
                        now,
                        ..(*last).clone()
                    })
                }
            }
            _ => Arc::new(self.freeze(now)),
        };
        self.cache.last = Some((self.generation, Arc::clone(&snapshot)));
        snapshot
    }

    fn freeze(&mut self, now: Timestamp) -> Snapshot {
        let mut problems = self.undecoded();
        let (sources, mut lost) = self.join();
        problems.append(&mut lost);
        let readable_pools: Vec<_> = keyed(&self.pools)
            .into_iter()
            .filter(|(key, _)| !self.is_aside("NodePool", key))
            .collect();
        let overlays = self.readable_overlays();
        let buffer_sources = self.buffer_sources();
        let Self {
            cache,
            lowering,
            daemons,
            budgets,
            namespaces,
            volume_claims,
            volumes,
            storage_classes,
            csi_nodes,
            resource_slices,
            resource_claims,
            device_classes,
            honors_devices,
            services,
            replication_controllers,
            replica_sets,
            stateful_sets,
            default_constraints,
            pods,
            feeds,
            daemon_pods,
            ..
        } = self;
        let pools_lowered = lower_all(
            &mut cache.pools,
            readable_pools,
            Arc::ptr_eq,
            |pool| lowering.pool(pool),
            &mut problems,
        );
        let nodes = lower_all(
            &mut cache.nodes,
            sources,
            NodeSource::is,
            |source| lower_node(lowering, source),
            &mut problems,
        );
        let daemon_sources = keyed(daemons)
            .into_iter()
            .map(|(key, daemon)| {
                let newest = daemon_pods.get(&key).map(|(_, pod)| Arc::clone(pod));
                (key, (daemon, newest))
            })
            .collect::<Vec<_>>();
        let daemons = lower_all(
            &mut cache.daemons,
            daemon_sources,
            |left: &DaemonSource, right| {
                Arc::ptr_eq(&left.0, &right.0) && same(left.1.as_ref(), right.1.as_ref())
            },
            |(daemon, newest)| lowering.daemon(daemon, newest.as_deref()),
            &mut problems,
        );
        let budgets = lower_each(
            &mut cache.budgets,
            budgets,
            |budget| lowering.budget(budget),
            &mut problems,
        );
        let namespaces = lower_each(
            &mut cache.namespaces,
            namespaces,
            |namespace| Ok(lowering.namespace(namespace)),
            &mut problems,
        );
        let volumes = VolumeParts {
            claims: lower_each(
                &mut cache.volume_claims,
                volume_claims,
                |claim| Ok(lowering.volume_claim(claim)),
                &mut problems,
            ),
            volumes: lower_each(
                &mut cache.volumes,
                volumes,
                |volume| Ok(lowering.volume(volume)),
                &mut problems,
            ),
            classes: lower_each(
                &mut cache.storage_classes,
                storage_classes,
                |class| Ok(lowering.volume_class(class)),
                &mut problems,
            ),
            limits: lower_each(
                &mut cache.csi_nodes,
                csi_nodes,
                |node| Ok(lowering.attach_limits(node)),
                &mut problems,
            ),
        };
        let devices = honors_devices.then(|| DeviceParts {
            slices: lower_each(
                &mut cache.resource_slices,
                resource_slices,
                |slice| Ok(lowering.resource_slice(slice)),
                &mut problems,
            ),
            claims: lower_each(
                &mut cache.resource_claims,
                resource_claims,
                |claim| Ok(lowering.resource_claim(claim)),
                &mut problems,
            ),
            classes: lower_each(
                &mut cache.device_classes,
                device_classes,
                |class| Ok(lowering.device_class(class)),
                &mut problems,
            ),
        });
        let mut default_spreads = DefaultSpreads {
            spreads: lowering.default_spreads(default_constraints),
            services: lower_each(
                &mut cache.services,
                services,
                |service| Ok(lowering.service(service)),
                &mut problems,
            ),
            controllers: Vec::new(),
        };
        default_spreads.controllers.extend(lower_each(
            &mut cache.replication_controllers,
            replication_controllers,
            |own| {
                let selector = LabelSelector {
                    match_labels: own.spec.selector.clone(),
                    ..LabelSelector::default()
                };
                let kind = ControllerKind::ReplicationController;
                Ok(lowering.controller_selector(kind, &own.metadata, Some(&selector)))
            },
            &mut problems,
        ));
        default_spreads.controllers.extend(lower_each(
            &mut cache.replica_sets,
            replica_sets,
            |own| {
                let (kind, selector) = (ControllerKind::ReplicaSet, own.spec.selector.as_ref());
                Ok(lowering.controller_selector(kind, &own.metadata, selector))
            },
            &mut problems,
        ));
        default_spreads.controllers.extend(lower_each(
            &mut cache.stateful_sets,
            stateful_sets,
            |own| {
                let (kind, selector) = (ControllerKind::StatefulSet, own.spec.selector.as_ref());
                Ok(lowering.controller_selector(kind, &own.metadata, selector))
            },
            &mut problems,
        ));
        cache.resolved = lower_all(
            &mut cache.buffers,
            buffer_sources,
            buffers::is_same,
            |source| Ok(buffers::lower(lowering, source)),
            &mut problems,
        );
        let virtual_pods = cache.resolved.iter().flat_map(|buffer| &buffer.pods);
        let feed = |pool: &str| feeds.get(pool).and_then(|answer| answer.as_ref().ok());
        cache
            .overlaid
            .update(lowering, overlays, &pools_lowered, feed);
        let pools = pools_lowered
            .into_iter()
            .map(|pool| {
                let catalog = match cache.overlaid.of(&pool.name) {
                    Some(corrected) => Ok(Arc::clone(
                        cache
                            .catalogs
                            .entry(corrected.feed.generation)
                            .or_insert_with(|| lowering.corrected_catalog(corrected)),
                    )),
                    None => catalog_of(lowering, &mut cache.catalogs, feeds.get(&*pool.name)),
                };
                PoolPart { pool, catalog }
            })
            .collect();
        let generations: BTreeSet<u64> = feeds
            .values()
            .flatten()
            .map(|feed| feed.generation)
            .chain(cache.overlaid.generations())
            .collect();
        cache
            .catalogs
            .retain(|generation, _| generations.contains(generation));
        problems.sort();
        let parts = Parts {
            vocabulary: Arc::clone(lowering.vocabulary()),
            pools,
            nodes,
            pods: pods
                .values()
                .map(|pod| &pod.lowered)
                .chain(virtual_pods)
                .map(Arc::clone)
                .collect(),
            daemons,
            budgets,
            namespaces,
            default_spreads,
            volumes,
            devices,
            set_aside: problems,
        };
        let mut snapshot = Snapshot::freeze(now, parts);
        for (host, count) in &self.buffer_hosts {
            snapshot.host_buffer_pods(host, *count);
        }
        snapshot
    }

    /// What became of the overlays at the last freeze.
    pub(super) fn overlay_verdicts(&self) -> Arc<[overlay::Verdict]> {
        Arc::clone(&self.cache.overlaid.verdicts)
    }

    /// What the buffers had come to at the last freeze.
    pub(super) fn resolved_buffers(&self) -> Vec<Arc<Buffer>> {
        self.cache.resolved.clone()
    }

    /// What the watches could not even decode.
    fn undecoded(&self) -> Vec<Problem> {
        self.aside
            .iter()
            .map(|((kind, key), (pool, message))| Problem {
                kind,
                namespace: Some(key.namespace.as_str().into())
                    .filter(|namespace: &Arc<str>| !namespace.is_empty()),
                name: key.name.as_str().into(),
                pool: pool.as_deref().map(Arc::from),
                message: message.clone(),
            })
            .collect()
    }

    /// Claims and nodes, paired by provider id. Second result: nodes that must not be looked at.
    fn join(&mut self) -> (Vec<(Key, NodeSource)>, Vec<Problem>) {
        let mut by_provider_id: BTreeMap<&str, &Arc<Node>> = BTreeMap::new();
        for node in self.nodes.values() {
            if let Some(id) = provider_id_of(node) {
                by_provider_id.entry(id).or_insert(node);
            }
        }
        let mut sources = Vec::new();
        let mut paired = BTreeSet::new();
        let mut machines = BTreeSet::new();
        for (key, claim) in self.claims.iter() {
            let reference = &claim.spec.node_class_ref;
            if !self.manages(&reference.group, &reference.kind) || self.is_aside("NodeClaim", key) {
                continue;
            }
            let provider_id = claim
                .status
                .as_ref()
                .and_then(|status| status.provider_id.as_deref())
                .filter(|id| !id.is_empty());
            let node = provider_id.and_then(|id| by_provider_id.get(id).copied());
            if let Some(node) = node {
                paired.insert(node.metadata.name.clone());
            }
            machines.extend(provider_id.map(str::to_owned));
            let prebound = self.intent.expected(&key.name);
            let nominated_until = if prebound.is_empty() {
                provider_id.and_then(|id| self.intent.nominated_until(id))
            } else {
                // Pods will come, however long the machine takes.
                Some(Timestamp::MAX)
            };
            let source = NodeSource {
                node: node.cloned(),
                claim: Some(Arc::clone(claim)),
                marked: self
                    .intent
                    .is_marked(claim.metadata.uid.as_deref().unwrap_or_default()),
                nominated_until,
                prebound,
            };
            sources.push((Key::new("claim", &key.name), source));
        }
        let mut problems = Vec::new();
        for (key, node) in self.nodes.iter() {
            if paired.contains(&node.metadata.name) || karpenter_plan::lower::is_premature(node) {
                continue;
            }
            if let Some(claim) = self.undecoded_owner(node) {
                // Its claim exists and cannot be read, so nothing is known about what it is for.
                problems.push(Problem {
                    kind: "Node",
                    namespace: None,
                    name: key.name.as_str().into(),
                    pool: pool_label(node).map(Arc::from),
                    message: format!("its NodeClaim {claim} cannot be read"),
                });
                continue;
            }
            let provider_id = provider_id_of(node);
            machines.extend(provider_id.map(str::to_owned));
            let source = NodeSource {
                node: Some(Arc::clone(node)),
                claim: None,
                marked: false,
                nominated_until: provider_id.and_then(|id| self.intent.nominated_until(id)),
                prebound: Vec::new(),
            };
            sources.push((Key::new("node", &key.name), source));
        }
        self.intent.retain_machines(|id| machines.contains(id));
        (sources, problems)
    }

    /// Whether a node class reference is meant for our provider.
    pub(super) fn manages(&self, group: &str, kind: &str) -> bool {
        self.node_classes
            .iter()
            .any(|(own_group, own_kind)| own_group == group && own_kind == kind)
    }

    pub(super) fn is_aside(&self, kind: &'static str, key: &Key) -> bool {
        !self.aside.is_empty() && self.aside.contains_key(&(kind, key.clone()))
    }

    /// The claim that owns a node, if that claim could not be decoded.
    fn undecoded_owner<'a>(&self, node: &'a Node) -> Option<&'a str> {
        node.metadata
            .owner_references
            .iter()
            .flatten()
            .filter(|owner| owner.kind == "NodeClaim")
            .map(|owner| owner.name.as_str())
            .find(|name| self.is_aside("NodeClaim", &Key::cluster(*name)))
    }

    /// True if each pool of ours has an answer from the provider, or can have none.
    pub(super) fn has_catalogs(&self) -> bool {
        self.pools.iter().all(|(key, pool)| {
            let reference = &pool.spec.template.spec.node_class_ref;
            !self.manages(&reference.group, &reference.kind) || self.feeds.contains_key(&key.name)
        })
    }

    /// The node class a pool names, if it is there.
    pub(super) fn class_of(&self, pool: &NodePool) -> Option<&Arc<NodeClass>> {
        let reference = &pool.spec.template.spec.node_class_ref;
        self.classes.get(&NodeClass::key_of(
            &reference.group,
            &reference.kind,
            &reference.name,
        ))
    }
}

fn lower_node(lowering: &mut Lowering, source: &NodeSource) -> Result<node::Node, Problem> {
    lowering.node(&NodeInput {
        node: source.node.as_deref(),
        claim: source.claim.as_deref(),
        marked: source.marked,
        nominated_until: source.nominated_until,
        prebound: source.prebound.clone(),
    })
}

fn catalog_of(
    lowering: &mut Lowering,
    catalogs: &mut BTreeMap<u64, Arc<Catalog>>,
    feed: Option<&Result<CatalogFeed, Arc<str>>>,
) -> Result<Arc<Catalog>, Arc<str>> {
    match feed {
        None => Err("the provider has not been asked for instance types yet".into()),
        Some(Err(why)) => Err(Arc::clone(why)),
        Some(Ok(feed)) => Ok(Arc::clone(
            catalogs
                .entry(feed.generation)
                .or_insert_with(|| lowering.catalog(feed)),
        )),
    }
}

fn provider_id_of(node: &Node) -> Option<&str> {
    node.spec.provider_id.as_deref().filter(|id| !id.is_empty())
}

fn pool_label(node: &Node) -> Option<&str> {
    node.metadata
        .labels
        .as_ref()?
        .get(labels::NODEPOOL)
        .map(String::as_str)
}
