//! Pods that a node waits for in vain: what is told of them after upstream's sentence.

use std::collections::BTreeMap;

use karpenter_api::objects::{Node, Pod};
use karpenter_plan::disrupt::never::never;

use super::drain::PodKey;
use crate::{ctx::Ctx, mirror::Key};

/// The first of the node's pods that can never be evicted, with what is in the way and since when, and how many
/// more there are; empty when each may leave some day. Nobody asked them to leave before the node was deleted.
pub(super) fn hindered(ctx: &Ctx, node: &Node, pods: &[PodKey]) -> String {
    let now = ctx.clock.now();
    let deleted = node.metadata.deletion_timestamp.as_ref();
    let deleted = deleted.map(|deleted| deleted.0);
    let mut budgets = BTreeMap::new();
    let mut messages = pods.iter().filter_map(|key| {
        let entry = ctx
            .mirror
            .get::<Pod>(&Key::new(&*key.namespace, &*key.name))?;
        let budgets = budgets
            .entry(&*key.namespace)
            .or_insert_with(|| ctx.mirror.budgets_in(&key.namespace));
        let never = never(&entry.lowered, &*budgets, now).filter(|_| entry.uid() == key.uid)?;
        Some(never.message(&entry.lowered, deleted))
    });
    let Some(first) = messages.next() else {
        return String::new();
    };
    match messages.count() {
        0 => format!("; {first}"),
        others => format!("; {first}, and {others} other(s)"),
    }
}
