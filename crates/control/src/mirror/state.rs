//! The picture behind the mirror's lock, and who is told of changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use karpenter_api::{
    CapacityBuffer, NodeClaim, NodeOverlay, NodePool,
    objects::{
        CSINode, DaemonSet, Deployment, DeviceClass, Namespace, Node, PersistentVolume,
        PersistentVolumeClaim, Pod, PodDisruptionBudget, ReplicaSet, ReplicationController,
        ResourceClaim, ResourceSlice, Service, StatefulSet, StorageClass,
        pod::TopologySpreadConstraint, workload::PodTemplate,
    },
};
use karpenter_plan::{CatalogFeed, Lowering};

use crate::gates::FeatureGates;

use super::{
    Change, Key, NodeClass, PodEntry,
    freeze::{Cache, PodList},
    index::Index,
    intent::Intent,
    objects::Objects,
};

/// Called with each change of one kind; must be quick, since it runs where the change is applied.
type Subscriber<T> = Box<dyn Fn(&Change<T>) + Send + Sync>;

/// Who wants to know of changes of one kind, in the order of subscription.
pub struct Subscribers<T>(Mutex<Vec<Subscriber<T>>>);

impl<T> Default for Subscribers<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Subscribers<T> {
    pub(super) fn add(&self, subscriber: impl Fn(&Change<T>) + Send + Sync + 'static) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(subscriber));
    }

    pub(super) fn tell(&self, change: &Change<T>) {
        for subscriber in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            subscriber(change);
        }
    }
}

/// Who wants to know of what.
#[derive(Default)]
pub struct AllSubscribers {
    pub(super) pools: Subscribers<Arc<NodePool>>,
    pub(super) claims: Subscribers<Arc<NodeClaim>>,
    pub(super) nodes: Subscribers<Arc<Node>>,
    pub(super) pods: Subscribers<Arc<PodEntry>>,
    pub(super) daemons: Subscribers<Arc<DaemonSet>>,
    pub(super) budgets: Subscribers<Arc<PodDisruptionBudget>>,
    pub(super) namespaces: Subscribers<Arc<Namespace>>,
    pub(super) volume_claims: Subscribers<Arc<PersistentVolumeClaim>>,
    pub(super) volumes: Subscribers<Arc<PersistentVolume>>,
    pub(super) storage_classes: Subscribers<Arc<StorageClass>>,
    pub(super) csi_nodes: Subscribers<Arc<CSINode>>,
    pub(super) resource_slices: Subscribers<Arc<ResourceSlice>>,
    pub(super) resource_claims: Subscribers<Arc<ResourceClaim>>,
    pub(super) device_classes: Subscribers<Arc<DeviceClass>>,
    pub(super) services: Subscribers<Arc<Service>>,
    pub(super) replication_controllers: Subscribers<Arc<ReplicationController>>,
    pub(super) replica_sets: Subscribers<Arc<ReplicaSet>>,
    pub(super) stateful_sets: Subscribers<Arc<StatefulSet>>,
    pub(super) overlays: Subscribers<Arc<NodeOverlay>>,
    pub(super) buffers: Subscribers<Arc<CapacityBuffer>>,
    pub(super) pod_templates: Subscribers<Arc<PodTemplate>>,
    pub(super) deployments: Subscribers<Arc<Deployment>>,
    pub(super) classes: Subscribers<Arc<NodeClass>>,
}

/// What could not be decoded, by kind and key: the pool it belongs to, and why.
pub(super) type Aside = BTreeMap<(&'static str, Key), (Option<String>, String)>;

/// Whether an object could not be decoded.
pub(super) fn is_aside(aside: &Aside, kind: &'static str, key: &Key) -> bool {
    !aside.is_empty() && aside.contains_key(&(kind, key.clone()))
}

/// Whether a node class reference is meant for our provider, which serves these groups and kinds.
pub(super) fn is_managed(node_classes: &[(String, String)], group: &str, kind: &str) -> bool {
    let mut all = node_classes.iter();
    all.any(|(own_group, own_kind)| own_group == group && own_kind == kind)
}

/// The picture itself.
#[derive(Default)]
pub struct State {
    pub(super) pools: Objects<Arc<NodePool>>,
    pub(super) claims: Objects<Arc<NodeClaim>>,
    pub(super) nodes: Objects<Arc<Node>>,
    pub(super) pods: Objects<Arc<PodEntry>>,
    pub(super) daemons: Objects<Arc<DaemonSet>>,
    pub(super) budgets: Objects<Arc<PodDisruptionBudget>>,
    pub(super) namespaces: Objects<Arc<Namespace>>,
    pub(super) volume_claims: Objects<Arc<PersistentVolumeClaim>>,
    pub(super) volumes: Objects<Arc<PersistentVolume>>,
    pub(super) storage_classes: Objects<Arc<StorageClass>>,
    pub(super) csi_nodes: Objects<Arc<CSINode>>,
    pub(super) resource_slices: Objects<Arc<ResourceSlice>>,
    pub(super) resource_claims: Objects<Arc<ResourceClaim>>,
    pub(super) device_classes: Objects<Arc<DeviceClass>>,
    /// Dynamic resources are looked at; otherwise nobody reads them.
    pub(super) honors_devices: bool,
    pub(super) services: Objects<Arc<Service>>,
    pub(super) replication_controllers: Objects<Arc<ReplicationController>>,
    pub(super) replica_sets: Objects<Arc<ReplicaSet>>,
    pub(super) stateful_sets: Objects<Arc<StatefulSet>>,
    /// Spreads for pods that state none; without any, nobody reads what selectors are deduced from.
    pub(super) default_constraints: Arc<[TopologySpreadConstraint]>,
    pub(super) classes: Objects<Arc<NodeClass>>,
    pub(super) overlays: Objects<Arc<NodeOverlay>>,
    pub(super) buffers: Objects<Arc<CapacityBuffer>>,
    pub(super) pod_templates: Objects<Arc<PodTemplate>>,
    pub(super) deployments: Objects<Arc<Deployment>>,
    /// Which of the kinds above anybody reads.
    pub(super) gates: FeatureGates,
    /// How many virtual pods the last round has put on each node or claim, by name.
    pub(super) buffer_hosts: BTreeMap<String, u32>,
    pub(super) aside: Aside,
    /// Group and kind of the node classes that our provider serves.
    pub(super) node_classes: Vec<(String, String)>,
    /// What lowered values share.
    pub(super) lowering: Lowering,
    /// The newest pod of each DaemonSet, by the DaemonSet's key; kept when the pod goes.
    pub(super) daemon_pods: BTreeMap<Key, (Timestamp, Arc<Pod>)>,
    /// The provider's answer per pool.
    pub(super) feeds: BTreeMap<String, Result<CatalogFeed, Arc<str>>>,
    pub(super) nodes_by_provider_id: Index,
    pub(super) claims_by_provider_id: Index,
    pub(super) pods_by_node: Index,
    /// Pods that wait for a node that we may make.
    pub(super) waiting: BTreeSet<Key>,
    pub(super) pod_list: PodList,
    /// What we intend and the cluster does not show yet.
    pub(super) intent: Intent,
    /// How long a node is kept for pods that were placed on it.
    pub(super) nomination_window: Duration,
    /// Counts changes: equal numbers, equal pictures.
    pub(super) generation: u64,
    pub(super) cache: Cache,
}

impl State {
    /// Whether a node class reference is meant for our provider.
    pub(super) fn manages(&self, group: &str, kind: &str) -> bool {
        is_managed(&self.node_classes, group, kind)
    }

    /// True if each pool of ours has an answer from the provider, or can have none.
    pub(super) fn has_catalogs(&self) -> bool {
        self.pools.iter().all(|(key, pool)| {
            let reference = &pool.spec.template.spec.node_class_ref;
            !self.manages(&reference.group, &reference.kind) || self.feeds.contains_key(&*key.name)
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
