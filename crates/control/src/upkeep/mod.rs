//! What is looked at from time to time rather than on a change, and what all controllers here share.

mod garbage;
mod transitions;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use karpenter_api::objects::Node;

use crate::{Task, ctx::Ctx, mirror::Change};

/// How soon we look whether the first lists are complete; each further look takes twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(10);
/// The longest time between two looks: a cluster without our kinds is waited for at little cost.
const LONGEST_LOOK: Duration = Duration::from_millis(200);

/// The controllers of this room.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    transitions::subscribe(ctx);
    garbage::tasks(ctx)
}

/// Waits until every kind was listed. Before that an object that is not there may only not be known,
/// and nothing may be concluded from its absence.
pub(crate) async fn listed(ctx: &Ctx) {
    let mut pause = FIRST_LOOK;
    while !ctx.mirror.is_listed() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}

/// How soon a provider is asked again whether an instance has ended.
const INSTANCE_PAUSE: Duration = Duration::from_secs(5);

/// Since when providers are waited for, by claim uid: what is written about a claim wakes whoever
/// asked, and must not make them ask again at once.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<BTreeMap<String, Timestamp>>);

impl Pace {
    /// The instant before which this claim's provider is not asked again.
    pub(crate) fn until(&self, uid: &str, now: Timestamp) -> Option<Timestamp> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, until| *until > now);
        all.get(uid).copied()
    }

    /// The provider was asked, and it is not over; when to ask again.
    pub(crate) fn asked(&self, uid: &str, now: Timestamp) -> Timestamp {
        let until = now.saturating_add(INSTANCE_PAUSE).unwrap_or(now);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(uid.to_owned(), until);
        until
    }
}

/// True if a node changed in anything that its claim's life depends on. Most changes of nodes are
/// heartbeats, and those touch nothing that is read.
pub(crate) fn touched(change: &Change<Arc<Node>>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return true;
    };
    let (before, after) = (&old.metadata, &new.metadata);
    old.spec != new.spec
        || old.status != new.status
        || before.uid != after.uid
        || before.labels != after.labels
        || before.annotations != after.annotations
        || before.finalizers != after.finalizers
        || before.owner_references != after.owner_references
        || before.deletion_timestamp != after.deletion_timestamp
}
