//! What this process intends and the cluster does not show yet.
//!
//! Four things: pods that a claim was made for, nodes that pods are expected on, nodes that shall go,
//! and places below the limit of a static pool that somebody is filling. All of it is lost with the process, and none of it is needed to be right afterwards: it
//! only keeps two decisions in a row from contradicting each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use karpenter_api::{NodeClaim, conditions::INITIALIZED};
use karpenter_plan::pod::PodKey;

use super::{Key, PodEntry};

/// What a claim was made for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intent {
    /// Pods by the name of the claim that was made for them.
    expected: BTreeMap<Arc<str>, BTreeSet<Key>>,
    /// The same the other way round.
    claim_of: BTreeMap<Key, Arc<str>>,
    /// Until when pods are expected, by provider id.
    nominated: BTreeMap<String, Timestamp>,
    /// Uids of claims that shall go.
    marked: BTreeSet<String>,
    /// Claims of static pools that were granted and not created yet, by pool.
    reserved: BTreeMap<String, i64>,
    /// Counts changes to what snapshots show, which is all but the reserved places.
    changes: u64,
}

impl Intent {
    /// A number that changes whenever a snapshot could.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// A claim was made for these pods.
    pub(crate) fn expect(&mut self, claim: &str, pods: impl IntoIterator<Item = Key>) {
        self.changes += 1;
        let claim: Arc<str> = claim.into();
        for pod in pods {
            self.forget_pod(&pod);
            self.claim_of.insert(pod.clone(), Arc::clone(&claim));
            self.expected
                .entry(Arc::clone(&claim))
                .or_default()
                .insert(pod);
        }
    }

    fn forget_pod(&mut self, pod: &Key) {
        let Some(claim) = self.claim_of.remove(pod) else {
            return;
        };
        self.changes += 1;
        if let Some(pods) = self.expected.get_mut(&claim) {
            pods.remove(pod);
            if pods.is_empty() {
                self.expected.remove(&claim);
            }
        }
    }

    fn forget_claim(&mut self, claim: &str) -> bool {
        let pods = self.expected.remove(claim).unwrap_or_default();
        for pod in &pods {
            self.claim_of.remove(pod);
        }
        self.changes += u64::from(!pods.is_empty());
        !pods.is_empty()
    }

    /// The pods a claim was made for and that are not bound yet, in key order.
    pub(crate) fn expected(&self, claim: &str) -> Vec<PodKey> {
        self.expected
            .get(claim)
            .into_iter()
            .flatten()
            .map(|key| PodKey {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
            })
            .collect()
    }

    /// The claim that was made for a pod.
    pub(crate) fn claim_of(&self, pod: &Key) -> Option<&str> {
        self.claim_of.get(pod).map(|claim| &**claim)
    }

    /// Pods are expected on a machine until some time; a later time wins.
    pub(crate) fn nominate(&mut self, provider_id: &str, until: Timestamp) {
        let known = self
            .nominated
            .entry(provider_id.to_owned())
            .or_insert(until);
        *known = (*known).max(until);
        self.changes += 1;
    }

    pub(crate) fn nominated_until(&self, provider_id: &str) -> Option<Timestamp> {
        self.nominated.get(provider_id).copied()
    }

    /// Forgets machines that are gone.
    pub(crate) fn retain_machines(&mut self, exists: impl Fn(&str) -> bool) {
        self.nominated.retain(|provider_id, _| exists(provider_id));
    }

    pub(crate) fn mark(&mut self, claim_uid: &str) {
        self.marked.insert(claim_uid.to_owned());
        self.changes += 1;
    }

    pub(crate) fn unmark(&mut self, claim_uid: &str) {
        self.changes += u64::from(self.marked.remove(claim_uid));
    }

    pub(crate) fn is_marked(&self, claim_uid: &str) -> bool {
        self.marked.contains(claim_uid)
    }

    /// So many more claims of a static pool were granted.
    pub(crate) fn reserve(&mut self, pool: &str, claims: i64) {
        *self.reserved.entry(pool.to_owned()).or_insert(0) += claims;
    }

    /// One claim of a static pool was created, or given up.
    pub(crate) fn release(&mut self, pool: &str) {
        if let Some(reserved) = self.reserved.get_mut(pool) {
            *reserved -= 1;
            if *reserved <= 0 {
                self.reserved.remove(pool);
            }
        }
    }

    pub(crate) fn reserved(&self, pool: &str) -> i64 {
        self.reserved.get(pool).copied().unwrap_or(0)
    }

    /// A pod changed: once it is bound, gone, or another pod by the same name, nothing waits for it.
    pub(crate) fn pod_changed(&mut self, old: Option<&PodEntry>, new: Option<&PodEntry>) {
        let Some(old) = old else { return };
        let is_over = match new {
            None => true,
            // A pod that moves off a node keeps that node's name until it ends.
            Some(new) => new.uid() != old.uid() || new.node() != old.node() || new.terminal,
        };
        if is_over {
            self.forget_pod(&old.key);
        }
    }

    /// A claim changed. One that is ready for pods is an ordinary node from then on: what has not been
    /// bound yet is looked at anew, and until then the node is kept for it.
    pub(crate) fn claim_changed(
        &mut self,
        old: Option<&NodeClaim>,
        new: Option<&NodeClaim>,
        window: Duration,
    ) {
        if let Some(old) = old
            && new.is_none_or(|new| new.metadata.uid != old.metadata.uid)
        {
            self.unmark(old.metadata.uid.as_deref().unwrap_or_default());
        }
        match new.filter(|new| new.metadata.deletion_timestamp.is_none()) {
            None => {
                let name = old.or(new).and_then(|claim| claim.metadata.name.as_deref());
                self.forget_claim(name.unwrap_or_default());
            }
            Some(new) => {
                let Some(since) = condition_since(new, INITIALIZED) else {
                    return;
                };
                let name = new.metadata.name.as_deref().unwrap_or_default();
                let provider_id = new
                    .status
                    .as_ref()
                    .and_then(|status| status.provider_id.as_deref());
                if self.forget_claim(name)
                    && let Some(provider_id) = provider_id
                    && let Ok(until) = since.checked_add(window)
                {
                    self.nominate(provider_id, until);
                }
            }
        }
    }
}

/// Whether a claim has become an ordinary node.
pub(crate) fn is_initialized(claim: &NodeClaim) -> bool {
    condition_since(claim, INITIALIZED).is_some()
}

/// Since when a condition of a claim is True.
fn condition_since(claim: &NodeClaim, condition_type: &str) -> Option<Timestamp> {
    claim
        .status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == condition_type && condition.is_true())
        .map(|condition| condition.last_transition_time.0)
}
