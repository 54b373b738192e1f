//! The only mutable picture of the cluster: fed by watches and by the answers to our own writes.
//!
//! What a reader must hold: every state goes through [`Mirror::apply`], [`Mirror::observe`] or a
//! listing, the newer resource version wins, and subscribers are told of each change exactly once,
//! after the picture has changed. Nothing here waits, asks the cluster, or decides anything. It works
//! without a cluster just as well: `karpenter plan` applies objects read from files.

mod buffers;
mod freeze;
mod index;
mod intent;
mod kinds;
mod limits;
mod objects;
mod overlays;
mod reservation;
mod state;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use jiff::Timestamp;
use karpenter_api::{
    NodeClaim, NodePool, labels,
    objects::{Node, pod::TopologySpreadConstraint},
};
use karpenter_plan::{
    CatalogFeed, DisruptionBudget, Lowering, Snapshot, Vocabulary, WellKnown, buffer::Buffer,
    overlay,
};

pub use kinds::{Mirrored, NodeClass, PodEntry, Written};
pub use objects::{Change, Key};

use crate::gates::FeatureGates;
pub(crate) use intent::is_initialized;
pub(crate) use reservation::{Grant, Reservation};
use state::{AllSubscribers, State};

/// What is known of the cluster.
pub struct Mirror {
    state: RwLock<State>,
    subscribers: AllSubscribers,
}

impl Mirror {
    /// An empty mirror for a provider with these labels and node classes.
    pub fn new(well_known: &WellKnown) -> Self {
        Self::with_nomination_window(well_known, Duration::from_secs(20))
    }

    /// The same, where nodes are kept so long for pods that were placed on them.
    pub fn with_nomination_window(well_known: &WellKnown, window: Duration) -> Self {
        let state = State {
            lowering: Lowering::new(well_known),
            node_classes: well_known.node_classes.clone(),
            nomination_window: window,
            ..State::default()
        };
        Self {
            state: RwLock::new(state),
            subscribers: AllSubscribers::default(),
        }
    }

    /// Overlays and buffers count for something only behind their gates, and are only read then.
    pub fn set_gates(&self, gates: FeatureGates) {
        self.write().gates = gates;
    }

    /// Gives pods that state no spread these. Their selectors are deduced from Services and controllers,
    /// which are read from then on.
    pub fn set_default_constraints(&self, constraints: Arc<[TopologySpreadConstraint]>) {
        self.write().default_constraints = constraints;
    }

    /// Looks at dynamic resources, which are read from then on.
    pub fn honor_devices(&self) {
        self.write().honors_devices = true;
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `subscriber` with each change of a kind from here on.
    ///
    /// It is called where the change is applied, so it may add keys to queues, wake tasks and read the
    /// mirror. It must not change the mirror, and do nothing that takes time.
    pub fn subscribe<K: Mirrored>(
        &self,
        subscriber: impl Fn(&Change<K::Kept>) + Send + Sync + 'static,
    ) {
        K::subscribers(&self.subscribers).add(subscriber);
    }

    /// Takes in a state seen by a watch. False if something newer is known already.
    pub fn apply<K: Mirrored>(&self, object: K) -> bool {
        self.observe_shared(&Arc::new(object))
    }

    /// Takes in the answer to a write of our own, before the watch tells of it.
    pub fn observe<K: Mirrored>(&self, object: K) -> Arc<K> {
        let object = Arc::new(object);
        self.observe_shared(&object);
        object
    }

    fn observe_shared<K: Mirrored>(&self, object: &Arc<K>) -> bool {
        let change = {
            let mut state = self.write();
            if !K::objects(&state).is_news(&object.key(), object.metadata()) {
                return false;
            }
            let kept = K::keep(&mut state, object);
            let key = object.shared_key(&kept);
            let change = K::objects_mut(&mut state).apply(key, object.metadata(), kept);
            // A heartbeat is no news to any decision.
            if !change
                .old
                .as_ref()
                .is_some_and(|old| K::is_alike(old, object))
            {
                state.generation += 1;
            }
            K::changed(&mut state, &change);
            change
        };
        K::subscribers(&self.subscribers).tell(&change);
        true
    }

    /// Takes in that an object is gone; an empty uid means whichever has the key.
    pub fn delete<K: Mirrored>(&self, key: &Key, uid: &str) {
        let change = {
            let mut state = self.write();
            let change = K::objects_mut(&mut state).delete(key, uid);
            if let Some(change) = &change {
                state.generation += 1;
                K::changed(&mut state, change);
            }
            change
        };
        if let Some(change) = change {
            K::subscribers(&self.subscribers).tell(&change);
        }
    }

    /// A listing of the kind begins.
    pub fn begin_list<K: Mirrored>(&self) {
        K::objects_mut(&mut self.write()).begin_list();
    }

    /// The listing under way holds this object.
    pub fn see<K: Mirrored>(&self, key: &Key) {
        K::objects_mut(&mut self.write()).see(key);
    }

    /// A listing of the kind is complete: what was known and not seen since its beginning is gone.
    pub fn end_list<K: Mirrored>(&self) {
        let changes = {
            let mut state = self.write();
            let changes = K::objects_mut(&mut state).end_list();
            state.generation += 1;
            for change in &changes {
                K::changed(&mut state, change);
            }
            changes
        };
        for change in &changes {
            K::subscribers(&self.subscribers).tell(change);
        }
    }

    /// Takes in that an object is there but cannot be read, and which pool it belongs to. Its last
    /// readable state stays for whoever asks; snapshots treat it as pessimistically as its kind asks
    /// for.
    pub fn set_aside<K: Mirrored>(&self, key: Key, pool: Option<String>, why: String) {
        let mut state = self.write();
        state.generation += 1;
        state.aside.insert((K::NAME, key), (pool, why));
    }

    /// Takes in that an object can be read (again), or is gone.
    pub fn accept<K: Mirrored>(&self, key: &Key) {
        let mut state = self.write();
        if !state.aside.is_empty() && state.aside.remove(&(K::NAME, key.clone())).is_some() {
            state.generation += 1;
        }
    }

    /// The objects that cannot be read: kind, key and why.
    pub fn aside(&self) -> Vec<(&'static str, Key, String)> {
        let state = self.read();
        state
            .aside
            .iter()
            .map(|((kind, key), (_, why))| (*kind, key.clone(), why.clone()))
            .collect()
    }

    /// Takes in what the provider offers a pool, or why it offers nothing. True if that is news.
    pub fn set_catalog(&self, pool: &str, answer: Result<CatalogFeed, Arc<str>>) -> bool {
        let mut state = self.write();
        let is_news = match (state.feeds.get(pool), &answer) {
            (Some(Ok(known)), Ok(feed)) => known.generation != feed.generation,
            (Some(Err(known)), Err(why)) => known != why,
            _ => true,
        };
        if is_news {
            state.generation += 1;
            state.feeds.insert(pool.to_owned(), answer);
        }
        is_news
    }

    /// Forgets what the provider offered a pool that is gone.
    pub fn remove_catalog(&self, pool: &str) {
        let mut state = self.write();
        if state.feeds.remove(pool).is_some() {
            state.generation += 1;
        }
    }

    /// A number that changes whenever a snapshot could.
    pub fn generation(&self) -> u64 {
        self.read().generation
    }

    /// The world as it is known, at an instant. Nothing is copied but pointers.
    pub fn snapshot(&self, now: Timestamp) -> Arc<Snapshot> {
        self.write().snapshot(now)
    }

    /// A claim was made for these pods: they stay with it until they are bound or it goes.
    ///
    /// What has gone while the claim was being created expects nothing, and nothing is expected of it:
    /// nobody would ever take such an expectation back, and the pod would wait for ever.
    pub fn expect(&self, claim: &str, pods: impl IntoIterator<Item = Key>) {
        let mut state = self.write();
        let may_come = state.claims.named(claim).is_some_and(|claim| {
            claim.metadata.deletion_timestamp.is_none() && !is_initialized(claim)
        });
        if !may_come {
            return;
        }
        let pods: Vec<Key> = pods
            .into_iter()
            .filter(|pod| state.pods.get(pod).is_some_and(|pod| !pod.terminal))
            .collect();
        state.generation += 1;
        state.intent.expect(claim, pods);
    }

    /// True if any pod waits for a node and no claim was made for it, or room is to be kept free.
    pub fn has_waiting_pods(&self) -> bool {
        let state = self.read();
        let is_free = |pod| state.intent.claim_of(pod).is_none();
        state.waiting.iter().any(is_free) || state.buffers.values().next().is_some()
    }

    /// True if there is any CapacityBuffer.
    pub fn has_buffers(&self) -> bool {
        self.read().buffers.values().next().is_some()
    }

    /// What became of the NodeOverlays, in name order.
    pub fn overlay_verdicts(&self, now: Timestamp) -> Arc<[overlay::Verdict]> {
        let mut state = self.write();
        state.snapshot(now);
        state.overlay_verdicts()
    }

    /// What became of the CapacityBuffers, in key order.
    pub fn resolved_buffers(&self, now: Timestamp) -> Vec<Arc<Buffer>> {
        let mut state = self.write();
        state.snapshot(now);
        state.resolved_buffers()
    }

    /// The last round has put so many virtual pods on each of these nodes and claims.
    pub fn set_buffer_hosts(&self, hosts: BTreeMap<String, u32>) {
        let mut state = self.write();
        if state.buffer_hosts != hosts {
            state.generation += 1;
            state.buffer_hosts = hosts;
        }
    }

    /// How many pods wait for a node that we may make.
    pub fn waiting_pods(&self) -> usize {
        self.read().waiting.len()
    }

    /// True if a pod waits for a node that we may make.
    pub fn is_waiting(&self, pod: &Key) -> bool {
        self.read().waiting.contains(pod)
    }

    /// True if any node is being emptied, so that its pods need another place.
    pub fn has_leaving_nodes(&self) -> bool {
        let disrupted = labels::taints::disrupted();
        let state = self.read();
        state
            .nodes
            .values()
            .any(|node| node.spec.taints.iter().any(|t| t.matches(&disrupted)))
    }

    /// The claim that was made for a pod which is not bound yet.
    pub fn claim_of(&self, pod: &Key) -> Option<String> {
        self.read().intent.claim_of(pod).map(str::to_owned)
    }

    /// Pods are expected on a machine until some time.
    pub fn nominate(&self, provider_id: &str, until: Timestamp) {
        let mut state = self.write();
        state.generation += 1;
        state.intent.nominate(provider_id, until);
    }

    /// A claim shall go, whatever the cluster shows.
    pub fn mark(&self, claim_uid: &str) {
        let mut state = self.write();
        state.generation += 1;
        state.intent.mark(claim_uid);
    }

    /// A claim shall stay after all.
    pub fn unmark(&self, claim_uid: &str) {
        let mut state = self.write();
        state.generation += 1;
        state.intent.unmark(claim_uid);
    }

    /// True if some controller has decided that this claim shall go.
    pub fn is_marked(&self, claim_uid: &str) -> bool {
        self.read().intent.is_marked(claim_uid)
    }

    /// The node class a pool names, if it is there.
    pub fn node_class_of(&self, pool: &NodePool) -> Option<Arc<NodeClass>> {
        self.read().class_of(pool).cloned()
    }

    /// True if a node class reference is meant for our provider.
    pub fn manages(&self, group: &str, kind: &str) -> bool {
        self.read().manages(group, kind)
    }

    /// True once rounds may run: every kind was listed, and the provider has answered for each pool.
    pub fn is_ready(&self) -> bool {
        self.is_listed() && self.read().has_catalogs()
    }

    /// What is known may be behind: rounds wait until every kind was listed anew.
    pub fn expect_lists(&self) {
        let mut state = self.write();
        state.pools.expect_list();
        state.claims.expect_list();
        state.nodes.expect_list();
        state.pods.expect_list();
        state.daemons.expect_list();
        state.budgets.expect_list();
        state.namespaces.expect_list();
        state.volume_claims.expect_list();
        state.volumes.expect_list();
        state.storage_classes.expect_list();
        state.csi_nodes.expect_list();
        state.resource_slices.expect_list();
        state.resource_claims.expect_list();
        state.device_classes.expect_list();
        state.services.expect_list();
        state.replication_controllers.expect_list();
        state.replica_sets.expect_list();
        state.stateful_sets.expect_list();
        state.overlays.expect_list();
        state.buffers.expect_list();
        state.pod_templates.expect_list();
        state.deployments.expect_list();
        state.classes.expect_list();
    }

    /// True once every kind that a round reads was listed. Node classes count as one kind.
    pub fn is_listed(&self) -> bool {
        let state = self.read();
        state.pools.is_listed()
            && state.claims.is_listed()
            && state.nodes.is_listed()
            && state.pods.is_listed()
            && state.daemons.is_listed()
            && state.budgets.is_listed()
            && state.namespaces.is_listed()
            && state.volume_claims.is_listed()
            && state.volumes.is_listed()
            && state.storage_classes.is_listed()
            && state.csi_nodes.is_listed()
            && (!state.honors_devices
                || (state.resource_slices.is_listed()
                    && state.resource_claims.is_listed()
                    && state.device_classes.is_listed()))
            && (state.default_constraints.is_empty()
                || (state.services.is_listed() && state.replication_controllers.is_listed()))
            && (!state.reads_workloads()
                || (state.replica_sets.is_listed() && state.stateful_sets.is_listed()))
            && (!state.gates.node_overlay || state.overlays.is_listed())
            && (!state.gates.capacity_buffer
                || (state.buffers.is_listed()
                    && state.pod_templates.is_listed()
                    && state.deployments.is_listed()))
            && state.classes.is_listed()
    }

    /// What the provider offers a pool, if it offers anything.
    pub fn feed(&self, pool: &str) -> Option<CatalogFeed> {
        self.read().feeds.get(pool)?.as_ref().ok().cloned()
    }

    /// The names behind the ids of lowered objects.
    pub fn vocabulary(&self) -> Arc<Vocabulary> {
        Arc::clone(self.read().lowering.vocabulary())
    }

    /// How many nodes there are, and claims that have none yet.
    pub fn node_count(&self) -> usize {
        let state = self.read();
        let without_node = state.claims.values().filter(|claim| {
            let status = claim.status.as_ref();
            let id = status.and_then(|status| status.provider_id.as_deref());
            let id = id.unwrap_or_default();
            id.is_empty() || state.nodes_by_provider_id.keys(id).next().is_none()
        });
        state.nodes.values().count() + without_node.count()
    }

    /// One object, by key.
    pub fn get<K: Mirrored>(&self, key: &Key) -> Option<K::Kept> {
        K::objects(&self.read()).get(key).cloned()
    }

    /// One object of a cluster-wide kind, by name.
    pub fn named<K: Mirrored>(&self, name: &str) -> Option<K::Kept> {
        K::objects(&self.read()).named(name).cloned()
    }

    /// All objects of a kind, in key order.
    pub fn all<K: Mirrored>(&self) -> Vec<K::Kept> {
        K::objects(&self.read()).values().cloned().collect()
    }

    /// The nodes with this provider id; more than one is a fault that callers report.
    pub fn nodes_with_provider_id(&self, provider_id: &str) -> Vec<Arc<Node>> {
        let state = self.read();
        let keys = state.nodes_by_provider_id.keys(provider_id);
        keys.filter_map(|key| state.nodes.get(key).cloned())
            .collect()
    }

    /// The claims with this provider id; more than one is a fault that callers report.
    pub fn claims_with_provider_id(&self, provider_id: &str) -> Vec<Arc<NodeClaim>> {
        let state = self.read();
        let keys = state.claims_by_provider_id.keys(provider_id);
        keys.filter_map(|key| state.claims.get(key).cloned())
            .collect()
    }

    /// The readable PodDisruptionBudgets of a namespace, in name order.
    pub fn budgets_in(&self, namespace: &str) -> Vec<DisruptionBudget> {
        let mut state = self.write();
        let State {
            budgets, lowering, ..
        } = &mut *state;
        let own = budgets
            .iter()
            .filter(|(key, _)| *key.namespace == *namespace);
        own.filter_map(|(_, budget)| lowering.budget(budget).ok())
            .collect()
    }

    /// The pods bound to a node, in key order.
    pub fn pods_on(&self, node: &str) -> Vec<Arc<PodEntry>> {
        let state = self.read();
        let keys = state.pods_by_node.keys(node);
        keys.filter_map(|key| state.pods.get(key).cloned())
            .collect()
    }
}
