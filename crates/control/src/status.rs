//! Whether there is anything left to do, for those who wait until there is not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use karpenter_api::{NodeClaim, conditions, objects::Pod};

use crate::{
    batch::Batcher,
    mirror::{Key, Mirror},
};

/// What rounds leave behind. Clones are handles to the same status.
#[derive(Clone, Default)]
pub struct Status {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    rounds: u64,
    computing: bool,
    refused: BTreeMap<Key, Refused>,
    /// Where pods were told to go and are not yet.
    placed: BTreeMap<Key, Arc<str>>,
    /// The last round has promised places on nodes that are there already.
    has_promised: bool,
    commands: usize,
}

/// A pod without a place, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The pod's uid.
    pub uid: Arc<str>,
    /// The reason, as the pod's event tells it.
    pub reason: Arc<str>,
}

/// The answer to "is there anything left to do".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nothing: these pods have no place, and nothing will change that by itself.
    Yes(Vec<(Key, String)>),
    /// Something, for instance this.
    No(String),
}

impl Status {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many scheduling rounds have been computed.
    pub fn rounds(&self) -> u64 {
        self.lock().rounds
    }

    pub(crate) fn round_begins(&self) {
        self.lock().computing = true;
    }

    /// Remembers where a pod shall go. True if that is news.
    pub(crate) fn places(&self, pod: Key, target: &Arc<str>) -> bool {
        let known = self.lock().placed.insert(pod, Arc::clone(target));
        known.as_ref() != Some(target)
    }

    /// Forgets pods that have arrived or are gone.
    pub(crate) fn retain_placed(&self, is_waiting: impl Fn(&Key) -> bool) {
        self.lock().placed.retain(|pod, _| is_waiting(pod));
    }

    /// Remembers whether the last round relies on places that other pods could take first.
    pub(crate) fn promises(&self, has_promised: bool) {
        self.lock().has_promised = has_promised;
    }

    pub(crate) fn has_promised(&self) -> bool {
        self.lock().has_promised
    }

    /// Stores the refusals of a round and returns those that were not known before.
    pub(crate) fn round_ends(&self, refused: BTreeMap<Key, Refused>) -> Vec<(Key, Arc<str>)> {
        let mut inner = self.lock();
        inner.rounds += 1;
        inner.computing = false;
        let news = refused
            .iter()
            .filter(|(key, refusal)| inner.refused.get(key) != Some(refusal))
            .map(|(key, refusal)| (key.clone(), refusal.reason.clone()))
            .collect();
        inner.refused = refused;
        news
    }

    pub(crate) fn set_commands(&self, commands: usize) {
        self.lock().commands = commands;
    }

    /// Whether anything is left to do.
    pub fn settled(&self, mirror: &Mirror, batcher: &Batcher) -> Settled {
        if !mirror.is_ready() {
            return Settled::No("the first lists and catalogues are not complete".to_owned());
        }
        let inner = self.lock();
        if batcher.is_open() || inner.computing {
            return Settled::No("a batch is open".to_owned());
        }
        if inner.commands > 0 {
            return Settled::No("a disruption command is held or in flight".to_owned());
        }
        for claim in mirror.all::<NodeClaim>() {
            let conditions = claim
                .status
                .as_ref()
                .and_then(|status| status.conditions.as_deref());
            let name = claim.metadata.name.as_deref().unwrap_or_default();
            if claim.metadata.deletion_timestamp.is_some() {
                return Settled::No(format!("nodeclaim {name} is being deleted"));
            }
            if !conditions::is_true(conditions.unwrap_or_default(), conditions::INITIALIZED) {
                return Settled::No(format!("nodeclaim {name} is not initialized"));
            }
        }
        let mut refused = Vec::new();
        for pod in mirror.all::<Pod>() {
            if pod.node().is_some() || pod.terminal || pod.deleting {
                continue;
            }
            match inner
                .refused
                .get(&pod.key)
                .filter(|refused| *refused.uid == *pod.uid())
            {
                Some(known) => refused.push((pod.key.clone(), known.reason.to_string())),
                None if pod.provisionable || !pod.judged => {
                    return Settled::No(format!("pod {} has not been looked at", pod.key));
                }
                // Gated, or making room for itself: none of our business.
                None => {}
            }
        }
        Settled::Yes(refused)
    }
}
