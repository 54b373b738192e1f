//! Nodes that go: tainted, drained, ended.
//!
//! Table of contents: [`node`] names what a node needs next, [`drain`] which of its pods leave when,
//! [`eviction`] what one attempt to evict one pod comes to; all three are pure. [`lifecycle`] performs
//! a node's steps, [`evictor`] the evictions; [`mod@hindered`] says which pods are waited for in vain.

pub(crate) mod drain;
mod eviction;
mod evictor;
mod hindered;
mod lifecycle;
pub(crate) mod node;

use std::sync::Arc;

use crate::{Task, ctx::Ctx};

/// The controllers of this room.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    let (evictor, evicting) = evictor::Evictor::new(ctx);
    let mut tasks = lifecycle::tasks(ctx, evictor);
    tasks.push(evicting);
    tasks
}
