//! When a claim has lived long enough.
//!
//! [`next_step`] is pure. Expiry looks at nothing but the claim: no budget, no pod, no annotation holds it back, and a
//! node that never became ready expires too.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{NillableDuration, nodeclaim::NodeClaim};
use tracing::info;

use super::write;
use crate::{
    Task,
    ctx::Ctx,
    effect,
    queue::{self, Failure, Next, Policy, Queue},
    upkeep::listed,
};

/// What there is to do about a claim's age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, ever.
    Keep,
    /// Nothing before this instant.
    Wait(Timestamp),
    /// Its time is up.
    Delete,
}

/// Looks at a claim's age. The claim's own copy of `expireAfter` counts, not its pool's present one.
pub(crate) fn next_step(claim: &NodeClaim, now: Timestamp) -> Step {
    let span = claim
        .spec
        .expire_after
        .as_ref()
        .and_then(NillableDuration::duration);
    let (Some(span), Some(created), None) = (
        span,
        &claim.metadata.creation_timestamp,
        &claim.metadata.deletion_timestamp,
    ) else {
        return Step::Keep;
    };
    match created
        .0
        .checked_add(SignedDuration::from_nanos(span.nanos()))
    {
        Ok(end) if now >= end => Step::Delete,
        Ok(end) => Step::Wait(end),
        Err(_) => Step::Keep,
    }
}

/// The controller, subscribed to claims.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    let queue: Queue<String> = Queue::new();
    {
        let queue = queue.clone();
        ctx.mirror.subscribe::<NodeClaim>(move |change| {
            // Neither age nor `expireAfter` of a claim ever changes.
            if change.old.is_none() {
                queue.add(change.key.name.to_string());
            }
        });
    }
    let ctx = Arc::clone(ctx);
    vec![Box::pin(async move {
        listed(&ctx).await;
        let policy = Policy {
            workers: 1,
            ..Policy::DEFAULT
        };
        queue::run(
            "nodeclaim.expiration",
            policy,
            Arc::clone(&ctx.metrics),
            queue,
            |name| {
                let ctx = Arc::clone(&ctx);
                async move { reconcile(&ctx, &name).await }
            },
        )
        .await;
    })]
}

async fn reconcile(ctx: &Ctx, name: &str) -> Result<Next, Failure> {
    let Some(claim) = ctx.mirror.named::<NodeClaim>(name) else {
        return Ok(Next::Wait);
    };
    let class = &claim.spec.node_class_ref;
    if !ctx.cloud.manages(&class.group, &class.kind) {
        return Ok(Next::Wait);
    }
    match next_step(&claim, ctx.clock.now()) {
        Step::Keep => Ok(Next::Wait),
        Step::Wait(end) => Ok(Next::At(end)),
        Step::Delete => match effect::delete_by_uid(ctx, &*claim).await {
            Ok(()) => {
                ctx.metrics.claim_disrupted(&claim, "expired");
                info!(nodeclaim = name, "deleting an expired claim");
                Ok(Next::Wait)
            }
            Err(error) => write::again(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A claim that was created at noon; now is 200 s later unless the row says otherwise.
    fn check(row: &str, expire_after: Option<&str>, deleting: bool, now: &str, expected: Step) {
        let claim: NodeClaim = serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {
                "name": "a", "creationTimestamp": "2026-01-01T12:00:00Z",
                "deletionTimestamp": deleting.then_some("2026-01-01T12:01:00Z"),
            },
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
                "expireAfter": expire_after,
            },
        }))
        .unwrap();
        assert_eq!(next_step(&claim, at(now)), expected, "{row}");
    }

    #[test]
    fn steps() {
        let end = Step::Wait(at("2026-01-01T12:03:20Z"));
        check(
            "lifecycle/X1",
            Some("200s"),
            false,
            "2026-01-01T12:01:40Z",
            end,
        );
        check(
            "lifecycle/X2",
            Some("200s"),
            false,
            "2026-01-01T12:05:00Z",
            Step::Delete,
        );
        check(
            "to the second",
            Some("200s"),
            false,
            "2026-01-01T12:03:20Z",
            Step::Delete,
        );
        check(
            "lifecycle/X3",
            Some("Never"),
            false,
            "2027-01-01T12:03:20Z",
            Step::Keep,
        );
        check("unset", None, false, "2027-01-01T12:03:20Z", Step::Keep);
        check(
            "lifecycle/X4",
            Some("200s"),
            true,
            "2026-01-01T12:05:00Z",
            Step::Keep,
        );
    }
}
