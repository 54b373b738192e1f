//! The kinds that are mirrored, and what is kept of each.
//!
//! Pods are many, so only a few facts and the lowered value stay; every other kind is few enough to
//! keep whole.

use std::{fmt::Debug, sync::Arc};

use karpenter_api::{
    CapacityBuffer, Condition, NodeClaim, NodeOverlay, NodePool,
    objects::{
        CSINode, DaemonSet, Deployment, DeviceClass, Namespace, Node, PersistentVolume,
        PersistentVolumeClaim, Pod, PodDisruptionBudget, ReplicaSet, ReplicationController,
        ResourceClaim, ResourceSlice, Service, StatefulSet, StorageClass, pod::PodCondition,
        workload::PodTemplate,
    },
};
use karpenter_plan::{self as plan, pod::Owner};
use kube::{
    Api, Client, Resource,
    api::{DynamicObject, ObjectMeta},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Change, Key,
    limits::limits,
    objects::{Held, Objects},
    state::{AllSubscribers, State, Subscribers},
};
use jiff::Timestamp;

/// A kind that the mirror holds.
pub trait Mirrored: Clone + Debug + Send + Sync + Sized + 'static {
    /// What is kept of an object.
    type Kept: Clone + Held + Send + Sync + 'static;
    /// The kind's name, as it is shown.
    const NAME: &'static str;

    /// The object's metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// Under which key it is found.
    fn key(&self) -> Key {
        Key::of(self.metadata())
    }
    /// The same for what is kept of it, where that holds the texts of the key itself.
    #[doc(hidden)]
    fn shared_key(&self, _: &Self::Kept) -> Key {
        self.key()
    }
    /// What is kept of this object. Called with the picture as it is before the change.
    #[doc(hidden)]
    fn keep(state: &mut State, object: &Arc<Self>) -> Self::Kept;
    /// Whether decisions cannot tell the two states apart.
    #[doc(hidden)]
    fn is_alike(old: &Self::Kept, new: &Self) -> bool;
    /// Brings what is derived from the kind up to date.
    #[doc(hidden)]
    fn changed(state: &mut State, change: &Change<Self::Kept>);
    #[doc(hidden)]
    fn objects(state: &State) -> &Objects<Self::Kept>;
    #[doc(hidden)]
    fn objects_mut(state: &mut State) -> &mut Objects<Self::Kept>;
    #[doc(hidden)]
    fn subscribers(all: &AllSubscribers) -> &Subscribers<Self::Kept>;
}

/// A mirrored kind that can be written.
pub trait Written: Mirrored + Resource<DynamicType = ()> + DeserializeOwned {
    /// A client for the kind; the namespace plays no part for cluster-wide kinds.
    fn api(client: Client, namespace: &str) -> Api<Self>;
}

macro_rules! kept_whole {
    ($kind:ident { $($part:ident),* }, $field:ident, $changed:expr) => {
        impl Held for Arc<$kind> {
            fn uid(&self) -> &str {
                self.metadata.uid.as_deref().unwrap_or_default()
            }
        }

        impl Mirrored for $kind {
            type Kept = Arc<$kind>;
            const NAME: &'static str = stringify!($kind);

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn keep(_: &mut State, object: &Arc<Self>) -> Self::Kept {
                Arc::clone(object)
            }
            fn is_alike(old: &Self::Kept, new: &Self) -> bool {
                same_metadata(&old.metadata, &new.metadata)
                    $(&& old.$part == new.$part)*
            }
            fn changed(state: &mut State, change: &Change<Self::Kept>) {
                let changed: fn(&mut State, &Change<Self::Kept>) = $changed;
                changed(state, change);
            }
            fn objects(state: &State) -> &Objects<Self::Kept> {
                &state.$field
            }
            fn objects_mut(state: &mut State) -> &mut Objects<Self::Kept> {
                &mut state.$field
            }
            fn subscribers(all: &AllSubscribers) -> &Subscribers<Self::Kept> {
                &all.$field
            }
        }
    };
}

macro_rules! written {
    ($kind:ty, cluster) => {
        impl Written for $kind {
            fn api(client: Client, _: &str) -> Api<Self> {
                Api::all(client)
            }
        }
    };
    ($kind:ty, namespaced) => {
        impl Written for $kind {
            fn api(client: Client, namespace: &str) -> Api<Self> {
                Api::namespaced(client, namespace)
            }
        }
    };
}

/// Whether both say the same but for the resource version.
fn same_metadata(left: &ObjectMeta, right: &ObjectMeta) -> bool {
    left.uid == right.uid
        && left.generation == right.generation
        && left.labels == right.labels
        && left.annotations == right.annotations
        && left.deletion_timestamp == right.deletion_timestamp
        && left.finalizers == right.finalizers
        && left.owner_references == right.owner_references
}

/// A claim is found by its provider id; one that is ready, deleted or gone expects no more pods.
fn claim_changed(state: &mut State, change: &Change<Arc<NodeClaim>>) {
    let id = |claim: &Option<Arc<NodeClaim>>| claim.as_ref()?.status.as_ref()?.provider_id.clone();
    let (old, new) = (id(&change.old), id(&change.new));
    state
        .claims_by_provider_id
        .moved(&change.key, old.as_deref(), new.as_deref());
    let window = state.nomination_window;
    state
        .intent
        .claim_changed(change.old.as_deref(), change.new.as_deref(), window);
}

/// A node is found by its provider id.
fn node_changed(state: &mut State, change: &Change<Arc<Node>>) {
    let id =
        |node: &Option<Arc<Node>>| node.as_ref().and_then(|node| node.spec.provider_id.clone());
    let (old, new) = (id(&change.old), id(&change.new));
    state
        .nodes_by_provider_id
        .moved(&change.key, old.as_deref(), new.as_deref());
}

/// A DaemonSet that is gone has no newest pod.
fn daemon_changed(state: &mut State, change: &Change<Arc<DaemonSet>>) {
    if change.new.is_none() {
        state.daemon_pods.remove(&change.key);
    }
}

kept_whole!(NodePool { spec, status }, pools, |_, _| {});
kept_whole!(NodeClaim { spec, status }, claims, claim_changed);
kept_whole!(Node { spec, status }, nodes, node_changed);
kept_whole!(DaemonSet { spec }, daemons, daemon_changed);
kept_whole!(PodDisruptionBudget { spec, status }, budgets, |_, _| {});
kept_whole!(Namespace {}, namespaces, |_, _| {});
kept_whole!(
    PersistentVolumeClaim { spec, status },
    volume_claims,
    |_, _| {}
);
kept_whole!(PersistentVolume { spec }, volumes, |_, _| {});
kept_whole!(
    StorageClass {
        provisioner,
        volume_binding_mode,
        allowed_topologies
    },
    storage_classes,
    |_, _| {}
);
kept_whole!(Service { spec }, services, |_, _| {});
kept_whole!(
    ReplicationController { spec },
    replication_controllers,
    |_, _| {}
);
kept_whole!(ReplicaSet { spec }, replica_sets, |_, _| {});
kept_whole!(StatefulSet { spec }, stateful_sets, |_, _| {});
kept_whole!(CSINode { spec }, csi_nodes, |_, _| {});
kept_whole!(NodeOverlay { spec, status }, overlays, |_, _| {});
kept_whole!(CapacityBuffer { spec, status }, buffers, |_, _| {});
kept_whole!(PodTemplate { template }, pod_templates, |_, _| {});
kept_whole!(Deployment { spec }, deployments, |_, _| {});
kept_whole!(ResourceSlice { spec }, resource_slices, |_, _| {});
kept_whole!(ResourceClaim { spec, status }, resource_claims, |_, _| {});
kept_whole!(DeviceClass { spec }, device_classes, |_, _| {});
written!(NodePool, cluster);
written!(NodeClaim, cluster);
written!(Node, cluster);
written!(Pod, namespaced);
written!(DaemonSet, namespaced);
written!(PodDisruptionBudget, namespaced);
written!(Namespace, cluster);
written!(PersistentVolumeClaim, namespaced);
written!(PersistentVolume, cluster);
written!(StorageClass, cluster);
written!(CSINode, cluster);
written!(NodeOverlay, cluster);
written!(CapacityBuffer, namespaced);
written!(PodTemplate, namespaced);
written!(Deployment, namespaced);
written!(ResourceSlice, cluster);
written!(ResourceClaim, namespaced);
written!(DeviceClass, cluster);
written!(Service, namespaced);
written!(ReplicationController, namespaced);
written!(ReplicaSet, namespaced);
written!(StatefulSet, namespaced);

/// What is kept of a pod: enough to know where it is, whose it is and what changed.
#[derive(Clone, Debug)]
pub struct PodEntry {
    /// Namespace and name.
    pub key: Key,
    /// True once it succeeded or failed.
    pub terminal: bool,
    /// True while it is being deleted.
    pub deleting: bool,
    /// True if a DaemonSet owns it.
    pub daemon: bool,
    /// True if it waits for a node that we may make.
    pub provisionable: bool,
    /// True once a scheduler has said anything about it, be it that it is gated.
    pub judged: bool,
    /// Since when it is bound, as the scheduler says.
    pub scheduled: Option<Timestamp>,
    /// Since when it is ready, if it is.
    pub ready: Option<Timestamp>,
    /// The path of its first owner.
    pub owner: Option<Box<str>>,
    /// What it may use at the most, by resource; empty if it does not say.
    pub limits: Box<[(Arc<str>, f64)]>,
    /// What decisions are made from.
    pub lowered: Arc<plan::Pod>,
}

impl PodEntry {
    /// The uid.
    pub fn uid(&self) -> &str {
        &self.lowered.uid
    }

    /// The node it is bound to.
    pub fn node(&self) -> Option<&str> {
        self.lowered.node.as_deref()
    }

    fn new(pod: &Pod, lowered: plan::Pod) -> Self {
        let condition = |type_| {
            let all = pod.status.conditions.iter();
            all.into_iter()
                .find(|condition: &&PodCondition| condition.type_ == type_)
        };
        let since = |type_| {
            let found = condition(type_).filter(|condition| condition.status == "True")?;
            Some(
                found
                    .last_transition_time
                    .as_ref()
                    .map_or(lowered.created, |time| time.0),
            )
        };
        let is_judged = condition("PodScheduled").is_some();
        let mut key = Key::of(&pod.metadata);
        if key.namespace == lowered.namespace {
            // The same texts, held once.
            key = Key::new(lowered.namespace.clone(), lowered.name.clone());
        }
        Self {
            scheduled: since("PodScheduled"),
            ready: since("Ready"),
            owner: owner_path(pod),
            limits: limits(pod),
            key,
            terminal: lowered.is_terminal(),
            deleting: lowered.is_terminating(),
            daemon: lowered.owner == Owner::DaemonSet,
            provisionable: lowered.is_provisionable(),
            judged: is_judged,
            lowered: Arc::new(lowered),
        }
    }
}

/// The path of the first owner, as upstream makes it up.
fn owner_path(pod: &Pod) -> Option<Box<str>> {
    let owner = pod.metadata.owner_references.as_deref()?.first()?;
    let path = format!(
        "/apis/{}/namespaces/{}/{}s/{}",
        owner.api_version,
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        owner.kind.to_lowercase(),
        owner.name
    );
    Some(path.into())
}

impl Held for Arc<PodEntry> {
    fn uid(&self) -> &str {
        PodEntry::uid(self)
    }
}

impl Mirrored for Pod {
    type Kept = Arc<PodEntry>;
    const NAME: &'static str = "Pod";

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn shared_key(&self, kept: &Self::Kept) -> Key {
        kept.key.clone()
    }
    fn keep(state: &mut State, object: &Arc<Self>) -> Self::Kept {
        let mut lowered = state.lowering.pod(object);
        // Maps that know the pod hold these texts: they stay the same ones while it is the same pod.
        if let Some(known) = state.pods.get(&object.key())
            && known.lowered.uid == lowered.uid
        {
            lowered.uid = Arc::clone(&known.lowered.uid);
            lowered.name = Arc::clone(&known.lowered.name);
        }
        if lowered.owner == Owner::DaemonSet {
            keep_newest(state, object);
        }
        Arc::new(PodEntry::new(object, lowered))
    }
    fn is_alike(_: &Self::Kept, _: &Self) -> bool {
        false
    }
    fn changed(state: &mut State, change: &Change<Self::Kept>) {
        state.pod_list.touch(&change.key);
        state
            .intent
            .pod_changed(change.old.as_deref(), change.new.as_deref());
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        state.pods_by_node.moved(
            &change.key,
            old.and_then(PodEntry::node),
            new.and_then(PodEntry::node),
        );
        if change.new.as_ref().is_some_and(|pod| pod.provisionable) {
            state.waiting.insert(change.key.clone());
        } else {
            state.waiting.remove(&change.key);
        }
    }
    fn objects(state: &State) -> &Objects<Self::Kept> {
        &state.pods
    }
    fn objects_mut(state: &mut State) -> &mut Objects<Self::Kept> {
        &mut state.pods
    }
    fn subscribers(all: &AllSubscribers) -> &Subscribers<Self::Kept> {
        &all.pods
    }
}

/// Keeps a DaemonSet's pod whole if none is newer: what its newest pod asks for is what the next one
/// will, defaults and webhooks included.
fn keep_newest(state: &mut State, pod: &Arc<Pod>) {
    let owner = pod
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.kind == "DaemonSet" && owner.controller == Some(true));
    let Some(owner) = owner else { return };
    let created = pod
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0)
        .unwrap_or_default();
    let key = Key::new(
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        &*owner.name,
    );
    let is_newest = state.daemon_pods.get(&key).is_none_or(|(newest, known)| {
        created > *newest || (created == *newest && known.metadata.uid == pod.metadata.uid)
    });
    if is_newest {
        state.daemon_pods.insert(key, (created, Arc::clone(pod)));
    }
}

/// A node class of whichever provider: only what every controller may know of it.
#[derive(Clone, Debug)]
pub struct NodeClass {
    /// Its API group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

impl NodeClass {
    /// Reads metadata and `status.conditions` of an object of any kind.
    pub fn new(group: &str, kind: &str, object: &DynamicObject) -> Self {
        let conditions = object
            .data
            .pointer("/status/conditions")
            .and_then(|value| Vec::deserialize(value).ok())
            .unwrap_or_default();
        Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            metadata: object.metadata.clone(),
            conditions,
        }
    }

    /// The key of a node class: kinds of several groups share the mirror.
    pub fn key_of(group: &str, kind: &str, name: &str) -> Key {
        Key::new(format!("{kind}.{group}"), name)
    }

    /// The condition of this type.
    pub fn condition(&self, condition_type: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == condition_type)
    }
}

impl Held for Arc<NodeClass> {
    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
}

impl Mirrored for NodeClass {
    type Kept = Arc<Self>;
    const NAME: &'static str = "NodeClass";

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn key(&self) -> Key {
        Self::key_of(
            &self.group,
            &self.kind,
            self.metadata.name.as_deref().unwrap_or_default(),
        )
    }
    fn keep(_: &mut State, object: &Arc<Self>) -> Self::Kept {
        Arc::clone(object)
    }
    fn is_alike(old: &Self::Kept, new: &Self) -> bool {
        same_metadata(&old.metadata, &new.metadata) && old.conditions == new.conditions
    }
    fn changed(_: &mut State, _: &Change<Self::Kept>) {}
    fn objects(state: &State) -> &Objects<Self::Kept> {
        &state.classes
    }
    fn objects_mut(state: &mut State) -> &mut Objects<Self::Kept> {
        &mut state.classes
    }
    fn subscribers(all: &AllSubscribers) -> &Subscribers<Self::Kept> {
        &all.classes
    }
}
