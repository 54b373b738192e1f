//! What is looked at from time to time rather than on a change, and what all controllers here share.

mod garbage;

use std::{sync::Arc, time::Duration};

use karpenter_api::objects::Node;

use crate::{Task, ctx::Ctx, mirror::Change};

/// How often we look whether the first lists are complete.
const LIST_PAUSE: Duration = Duration::from_millis(10);

/// The controllers of this room.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    garbage::tasks(ctx)
}

/// Waits until every kind was listed. Before that an object that is not there may only not be known,
/// and nothing may be concluded from its absence.
pub(crate) async fn listed(ctx: &Ctx) {
    while !ctx.mirror.is_listed() {
        tokio::time::sleep(LIST_PAUSE).await;
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
