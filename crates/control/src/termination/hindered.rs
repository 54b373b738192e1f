//! Pods that a node waits for in vain: what is told of them after upstream's sentence.

use jiff::Timestamp;
use karpenter_api::objects::Pod;
use karpenter_plan::disrupt::never::never;

use super::drain::PodKey;
use crate::{ctx::Ctx, mirror::Key};

/// The first of the pods that can never be evicted, with what is in the way and since when, and how many more there
/// are; empty when each may leave some day. Nobody asked them to leave before `since`.
pub(super) fn hindered(ctx: &Ctx, pods: &[PodKey], since: Option<Timestamp>) -> String {
    let now = ctx.clock.now();
    let mut messages = pods.iter().filter_map(|key| {
        let entry = ctx
            .mirror
            .get::<Pod>(&Key::new(&*key.namespace, &*key.name))?;
        let budgets = ctx.mirror.budgets_in(&key.namespace);
        let never = never(&entry.lowered, &budgets, now).filter(|_| entry.uid() == key.uid)?;
        Some(never.message(&entry.lowered, since))
    });
    let Some(first) = messages.next() else {
        return String::new();
    };
    match messages.count() {
        0 => format!("; {first}"),
        others => format!("; {first}, and {others} other(s)"),
    }
}
