//! Claims: from a wish for a node to the node, and back.
//!
//! Table of contents: [`step`] names what a claim needs next, out of [`liveness`], [`launch`],
//! [`registration`] and [`initialization`]; [`finalize`] does the same for one that goes. These are
//! pure; [`draft`] is the object they think on, and [`lifecycle`] performs their steps through
//! [`write`]. The smaller controllers stand beside them: [`expiration`], [`podevents`] and
//! [`disruption`] with its rules in [`drift`] and [`consolidatable`].

mod consolidatable;
mod disruption;
pub(crate) mod draft;
mod drift;
mod drivers;
mod expiration;
mod finalize;
mod initialization;
mod launch;
mod lifecycle;
mod liveness;
mod podevents;
mod registration;
mod step;
pub(crate) mod write;

use std::sync::Arc;

use crate::{Task, ctx::Ctx, nodepool::outcomes::Outcomes};

/// The controllers of this room. `outcomes` is where pools learn how their launches went.
pub(crate) fn tasks(ctx: &Arc<Ctx>, outcomes: &Arc<Outcomes>) -> Vec<Task> {
    let mut tasks = lifecycle::tasks(ctx, outcomes);
    tasks.extend(expiration::tasks(ctx));
    tasks.extend(podevents::tasks(ctx));
    tasks.extend(disruption::tasks(ctx));
    tasks
}
