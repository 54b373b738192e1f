//! What the mini control plane knows of the cluster: one value per object, fed by watches and by the answers to its
//! own writes, with the indexes that its controllers ask for. It decides nothing.
//!
//! The invariant: an object is replaced only by a newer version of itself, so that a watch that lags behind an
//! answer cannot take the cluster back in time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::objects::{
    Budget, DaemonSet, Deployment, Job, Key, Meta, Namespace, Node, Pod, PodSpec, ReplicaSet,
};

/// An object of any kind that the control plane reads.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Pod(Pod),
    Node(Node),
    Namespace(Namespace),
    Deployment(Deployment),
    ReplicaSet(ReplicaSet),
    DaemonSet(DaemonSet),
    Job(Job),
    Budget(Budget),
}

/// The kinds that the control plane reads, in the order in which they are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Namespace,
    Node,
    Deployment,
    ReplicaSet,
    DaemonSet,
    Job,
    Budget,
    Pod,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Namespace,
        Self::Node,
        Self::Deployment,
        Self::ReplicaSet,
        Self::DaemonSet,
        Self::Job,
        Self::Budget,
        Self::Pod,
    ];
}

impl Object {
    pub(crate) fn meta(&self) -> &Meta {
        match self {
            Self::Pod(object) => &object.meta,
            Self::Node(object) => &object.meta,
            Self::Namespace(object) => &object.meta,
            Self::Deployment(object) => &object.meta,
            Self::ReplicaSet(object) => &object.meta,
            Self::DaemonSet(object) => &object.meta,
            Self::Job(object) => &object.meta,
            Self::Budget(object) => &object.meta,
        }
    }
}

/// One object before and after; at least one of the two is there.
#[derive(Clone, Debug)]
pub(crate) struct Changed<T> {
    pub(crate) old: Option<Arc<T>>,
    pub(crate) new: Option<Arc<T>>,
}

impl<T> Changed<T> {
    /// The object as it is, or as it last was.
    pub(crate) fn latest(&self) -> &T {
        self.new
            .as_deref()
            .or(self.old.as_deref())
            .expect("a change has a side because it is built from one")
    }

    pub(crate) fn both(&self) -> impl Iterator<Item = &Arc<T>> {
        self.old.iter().chain(self.new.iter())
    }
}

/// What an event or an answer changed.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Pod(Changed<Pod>),
    Node(Changed<Node>),
    Namespace(Changed<Namespace>),
    Deployment(Changed<Deployment>),
    ReplicaSet(Changed<ReplicaSet>),
    DaemonSet(Changed<DaemonSet>),
    Job(Changed<Job>),
    Budget(Changed<Budget>),
}

/// Objects of one kind by key, and the keys of those that some controller owns by the owner's uid.
#[derive(Debug)]
pub(crate) struct Table<T> {
    rows: BTreeMap<Key, Arc<T>>,
    by_owner: BTreeMap<String, BTreeSet<Key>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            by_owner: BTreeMap::new(),
        }
    }
}

impl<T> Table<T> {
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<T>> {
        self.rows.get(key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.rows.values()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.rows.keys()
    }

    pub(crate) fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<T>> {
        self.rows
            .range(Key::new(namespace, "")..)
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, row)| row)
    }

    /// The objects that the controller with this uid owns, in the order of their names.
    pub(crate) fn owned_by<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<T>> {
        self.by_owner
            .get(uid)
            .into_iter()
            .flatten()
            .filter_map(|key| self.rows.get(key))
    }
}

impl<T: HasMeta> Table<T> {
    fn put(&mut self, object: T) -> Option<Changed<T>> {
        let key = object.meta().key.clone();
        let old = self.rows.get(&key).cloned();
        if old
            .as_ref()
            .is_some_and(|old| old.meta().version >= object.meta().version)
        {
            return None;
        }
        self.forget_owner(old.as_deref());
        if let Some(owner) = &object.meta().owner {
            self.by_owner
                .entry(owner.uid.clone())
                .or_default()
                .insert(key.clone());
        }
        let new = Arc::new(object);
        self.rows.insert(key, Arc::clone(&new));
        Some(Changed {
            old,
            new: Some(new),
        })
    }

    /// Removes an object unless a newer one with the same name is there.
    fn remove(&mut self, key: &Key, version: Option<u64>) -> Option<Changed<T>> {
        let row = self.rows.get(key)?;
        if version.is_some_and(|version| row.meta().version > version) {
            return None;
        }
        let old = self.rows.remove(key);
        self.forget_owner(old.as_deref());
        Some(Changed { old, new: None })
    }

    fn forget_owner(&mut self, object: Option<&T>) {
        let Some(meta) = object.map(HasMeta::meta) else {
            return;
        };
        let Some(owner) = &meta.owner else { return };
        if let Some(keys) = self.by_owner.get_mut(&owner.uid) {
            keys.remove(&meta.key);
            if keys.is_empty() {
                self.by_owner.remove(&owner.uid);
            }
        }
    }
}

/// Anything with metadata.
pub(crate) trait HasMeta {
    fn meta(&self) -> &Meta;
}

macro_rules! has_meta {
    ($($type:ident),*) => {
        $(impl HasMeta for $type {
            fn meta(&self) -> &Meta {
                &self.meta
            }
        })*
    };
}
has_meta!(
    Pod, Node, Namespace, Deployment, ReplicaSet, DaemonSet, Job, Budget
);

/// The whole picture.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) pods: Table<Pod>,
    pub(crate) nodes: Table<Node>,
    pub(crate) namespaces: Table<Namespace>,
    pub(crate) deployments: Table<Deployment>,
    pub(crate) replica_sets: Table<ReplicaSet>,
    pub(crate) daemon_sets: Table<DaemonSet>,
    pub(crate) jobs: Table<Job>,
    pub(crate) budgets: Table<Budget>,
    pods_by_node: BTreeMap<String, BTreeSet<Key>>,
    /// Equal specifications are kept once.
    specs: BTreeSet<Arc<PodSpec>>,
}

impl Cluster {
    /// Takes in an object; nothing changes if it is not newer than what is known.
    pub(crate) fn put(&mut self, object: Object) -> Option<Change> {
        match object {
            Object::Pod(mut pod) => {
                pod.spec = self.shared(pod.spec);
                let changed = self.pods.put(pod)?;
                self.index_pod(&changed);
                Some(Change::Pod(changed))
            }
            Object::Node(object) => self.nodes.put(object).map(Change::Node),
            Object::Namespace(object) => self.namespaces.put(object).map(Change::Namespace),
            Object::Deployment(object) => self.deployments.put(object).map(Change::Deployment),
            Object::ReplicaSet(object) => self.replica_sets.put(object).map(Change::ReplicaSet),
            Object::DaemonSet(object) => self.daemon_sets.put(object).map(Change::DaemonSet),
            Object::Job(object) => self.jobs.put(object).map(Change::Job),
            Object::Budget(object) => self.budgets.put(object).map(Change::Budget),
        }
    }

    /// Removes an object; with a version, only if nothing newer is known.
    pub(crate) fn remove(&mut self, kind: Kind, key: &Key, version: Option<u64>) -> Option<Change> {
        match kind {
            Kind::Pod => {
                let changed = self.pods.remove(key, version)?;
                self.index_pod(&changed);
                if let Some(old) = &changed.old {
                    self.release(&old.spec);
                }
                Some(Change::Pod(changed))
            }
            Kind::Node => self.nodes.remove(key, version).map(Change::Node),
            Kind::Namespace => self.namespaces.remove(key, version).map(Change::Namespace),
            Kind::Deployment => self
                .deployments
                .remove(key, version)
                .map(Change::Deployment),
            Kind::ReplicaSet => self
                .replica_sets
                .remove(key, version)
                .map(Change::ReplicaSet),
            Kind::DaemonSet => self.daemon_sets.remove(key, version).map(Change::DaemonSet),
            Kind::Job => self.jobs.remove(key, version).map(Change::Job),
            Kind::Budget => self.budgets.remove(key, version).map(Change::Budget),
        }
    }

    /// The keys of all known objects of a kind.
    pub(crate) fn keys(&self, kind: Kind) -> BTreeSet<Key> {
        match kind {
            Kind::Pod => self.pods.keys().cloned().collect(),
            Kind::Node => self.nodes.keys().cloned().collect(),
            Kind::Namespace => self.namespaces.keys().cloned().collect(),
            Kind::Deployment => self.deployments.keys().cloned().collect(),
            Kind::ReplicaSet => self.replica_sets.keys().cloned().collect(),
            Kind::DaemonSet => self.daemon_sets.keys().cloned().collect(),
            Kind::Job => self.jobs.keys().cloned().collect(),
            Kind::Budget => self.budgets.keys().cloned().collect(),
        }
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(&Key::new("", name))
    }

    /// The pods bound to a node, finished ones included.
    pub(crate) fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Pod>> {
        self.pods_by_node
            .get(node)
            .into_iter()
            .flatten()
            .filter_map(|key| self.pods.get(key))
    }

    fn index_pod(&mut self, changed: &Changed<Pod>) {
        if let Some(old) = &changed.old
            && let Some(node) = &old.node
            && let Some(keys) = self.pods_by_node.get_mut(node)
        {
            keys.remove(&old.meta.key);
            if keys.is_empty() {
                self.pods_by_node.remove(node);
            }
        }
        if let Some(new) = &changed.new
            && let Some(node) = &new.node
        {
            self.pods_by_node
                .entry(node.clone())
                .or_default()
                .insert(new.meta.key.clone());
        }
    }

    fn shared(&mut self, spec: Arc<PodSpec>) -> Arc<PodSpec> {
        if let Some(known) = self.specs.get(&spec) {
            return Arc::clone(known);
        }
        self.specs.insert(Arc::clone(&spec));
        spec
    }

    /// Drops a shared specification when its last pod went.
    fn release(&mut self, spec: &Arc<PodSpec>) {
        // The set, the removed pod and whoever still looks at the change hold it; one pod more holds it if another
        // uses it. A specification kept too long costs memory only, so the count may err upwards.
        if Arc::strong_count(spec) <= 3 {
            self.specs.remove(spec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::PodWire;

    fn pod(text: &str) -> Object {
        Object::Pod(Pod::from(serde_json::from_str::<PodWire>(text).unwrap()))
    }

    #[test]
    fn an_older_version_changes_nothing() {
        let mut cluster = Cluster::default();
        let at = |version: u32, node: &str| {
            pod(&format!(
                r#"{{"metadata": {{"name": "p", "namespace": "default", "resourceVersion": "{version}"}},
                     "spec": {{"nodeName": "{node}"}}}}"#
            ))
        };
        assert!(cluster.put(at(5, "n1")).is_some());
        assert!(cluster.put(at(5, "n2")).is_none());
        assert!(cluster.put(at(4, "n2")).is_none());
        assert_eq!(cluster.pods_on("n1").count(), 1);
        assert!(cluster.put(at(6, "n2")).is_some());
        assert_eq!(cluster.pods_on("n1").count(), 0);
        assert_eq!(cluster.pods_on("n2").count(), 1);
        let key = Key::new("default", "p");
        assert!(cluster.remove(Kind::Pod, &key, Some(5)).is_none());
        assert!(cluster.remove(Kind::Pod, &key, Some(7)).is_some());
        assert_eq!(cluster.pods_on("n2").count(), 0);
    }

    #[test]
    fn pods_are_found_by_their_owner() {
        let mut cluster = Cluster::default();
        cluster.put(pod(
            r#"{"metadata": {"name": "p", "namespace": "default", "resourceVersion": "1", "ownerReferences": [
                {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "u0"},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u1", "controller": true}]}}"#,
        ));
        assert_eq!(cluster.pods.owned_by("u1").count(), 1);
        assert_eq!(cluster.pods.owned_by("u0").count(), 0);
        cluster.remove(Kind::Pod, &Key::new("default", "p"), None);
        assert_eq!(cluster.pods.owned_by("u1").count(), 0);
    }
}
