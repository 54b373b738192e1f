//! What the launches of each pool came to, on its way into the pool's condition.
//!
//! Whoever sees a claim become a node, or not, puts that in here; the pool's controller takes it out
//! and is the only one to write the condition. An outcome counts for the pool that the claim was made
//! by: one that was deleted and made again under its name has another uid.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use karpenter_api::{
    conditions::{self, LAUNCHED},
    labels,
    nodeclaim::NodeClaim,
    nodepool::NodePool,
};

use super::health::History;
use crate::{nodeclaim::draft::Conditioned as _, queue::Queue};

/// What became of one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether it became a node.
    pub(crate) success: bool,
    /// Reason and message of the condition if that outcome makes the pool unhealthy.
    pub(crate) why: (String, String),
}

/// What is known of the launches of one pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// What is taken in already.
    pub(crate) history: History,
    /// What is not, oldest first.
    pub(crate) waiting: Vec<Outcome>,
    /// Why there is nothing to launch, if there is nothing.
    pub(crate) no_types: Option<String>,
}

/// Outcomes by pool uid, and the pools that are to be looked at because of them.
pub(crate) struct Outcomes {
    records: Mutex<BTreeMap<String, Record>>,
    pools: Queue<String>,
}

impl Outcomes {
    /// Nothing known yet. `pools` is the queue of the pools' controller.
    pub(crate) fn new(pools: Queue<String>) -> Self {
        Self {
            records: Mutex::default(),
            pools,
        }
    }

    /// The claim became a node.
    pub(crate) fn succeeded(&self, claim: &NodeClaim) {
        self.put(
            claim,
            Outcome {
                success: true,
                why: (String::new(), String::new()),
            },
        );
    }

    /// The claim was given up.
    pub(crate) fn failed(&self, claim: &NodeClaim) {
        let why = match conditions::get(claim.conditions(), LAUNCHED) {
            Some(launched) if launched.is_true() => (
                "RegistrationFailed".to_owned(),
                "Failed to register node".to_owned(),
            ),
            Some(launched) => (launched.reason.clone(), launched.message.clone()),
            None => (
                "LaunchFailed".to_owned(),
                "Failed to launch node".to_owned(),
            ),
        };
        self.put(
            claim,
            Outcome {
                success: false,
                why,
            },
        );
    }

    fn put(&self, claim: &NodeClaim, outcome: Outcome) {
        let owners = claim.metadata.owner_references.iter().flatten();
        let all = claim.metadata.labels.as_ref();
        let pool = all.and_then(|all| all.get(labels::NODEPOOL));
        let mut uid = owners
            .filter(|owner| owner.kind == "NodePool")
            .map(|owner| owner.uid.clone());
        if let (Some(pool), Some(uid)) = (pool, uid.next()) {
            self.lock().entry(uid).or_default().waiting.push(outcome);
            self.pools.add(pool.clone());
        }
    }

    /// The provider was asked what the pool can launch: `no_types` says why it is nothing.
    pub(crate) fn offered(&self, pool: &NodePool, no_types: Option<String>) {
        let uid = pool.metadata.uid.clone().unwrap_or_default();
        let is_news = {
            let mut records = self.lock();
            let record = records.entry(uid).or_default();
            let is_news = record.no_types != no_types;
            record.no_types = no_types;
            is_news
        };
        if is_news {
            self.pools
                .add(pool.metadata.name.clone().unwrap_or_default());
        }
    }

    /// What is known of a pool.
    pub(crate) fn of(&self, uid: &str) -> Record {
        self.lock().get(uid).cloned().unwrap_or_default()
    }

    /// Takes in the oldest waiting outcome, if there is one.
    pub(crate) fn take_in(&self, uid: &str) {
        let mut records = self.lock();
        if let Some(record) = records.get_mut(uid)
            && !record.waiting.is_empty()
        {
            let outcome = record.waiting.remove(0);
            record.history = record.history.with(outcome.success);
        }
    }

    /// Replaces the history of a pool; what waits stays.
    pub(crate) fn set(&self, uid: &str, history: History) {
        self.lock().entry(uid.to_owned()).or_default().history = history;
    }

    /// Forgets a pool that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
