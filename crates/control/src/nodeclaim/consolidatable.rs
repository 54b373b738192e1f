//! Whether a node has been quiet for long enough to be consolidated.
//!
//! [`next_step`] is pure. The condition is there and True, or it is not there; both consolidation and the removal of
//! empty nodes wait for it. The span counts from the last pod event, or from the node's
//! initialisation if there was none.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{
    GoDuration,
    conditions::{CONSOLIDATABLE, INITIALIZED},
    labels,
    nodeclaim::NodeClaim,
    nodepool::NodePool,
};

use super::{draft::Draft, write};
use crate::{
    Task,
    ctx::Ctx,
    queue::{self, Failure, Next, Policy, Queue},
    upkeep::listed,
};

/// What there is to do about a claim's condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing, until something changes or the instant comes.
    Wait(Option<Timestamp>),
    /// Its status, as given.
    Report(Box<NodeClaim>),
}

/// Names the step of a managed claim of this pool.
pub(crate) fn next_step(claim: &NodeClaim, pool: &NodePool, now: Timestamp) -> Step {
    // A static pool keeps its number of nodes whatever they do.
    if claim.metadata.deletion_timestamp.is_some() || pool.spec.replicas.is_some() {
        return Step::Wait(None);
    }
    let mut draft = Draft::new(claim, now);
    let quiet = quiet_from(&draft, claim, pool);
    let mut wait = None;
    match quiet {
        Some(from) if now >= from => {
            if !draft.is_true(CONSOLIDATABLE) {
                draft.set_true(CONSOLIDATABLE);
            }
        }
        Some(from) => {
            wait = Some(from);
            draft.clear(CONSOLIDATABLE);
        }
        None => draft.clear(CONSOLIDATABLE),
    }
    // Missing dependents are written by whoever is in charge of them, not here.
    if conditions_equal(claim, &draft) {
        return Step::Wait(wait);
    }
    Step::Report(Box::new(draft.finish()))
}

fn conditions_equal(claim: &NodeClaim, draft: &Draft<NodeClaim>) -> bool {
    let stored = claim
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    let stored = stored
        .unwrap_or_default()
        .iter()
        .find(|found| found.type_ == CONSOLIDATABLE);
    stored == draft.get(CONSOLIDATABLE)
}

/// The instant from which the node counts as quiet; never, if there is none.
fn quiet_from(draft: &Draft<NodeClaim>, claim: &NodeClaim, pool: &NodePool) -> Option<Timestamp> {
    let disruption = pool.spec.disruption.as_ref();
    let span = match disruption.and_then(|disruption| disruption.consolidate_after.as_ref()) {
        Some(span) => span.duration()?,
        None => GoDuration::ZERO,
    };
    let initialized = draft
        .is_true(INITIALIZED)
        .then(|| draft.since(INITIALIZED))??;
    if span == GoDuration::ZERO {
        return Some(initialized);
    }
    let last = claim
        .status
        .as_ref()
        .and_then(|status| status.last_pod_event_time.as_ref());
    let start = last.map_or(initialized, |last| last.0);
    start
        .checked_add(SignedDuration::from_nanos(span.nanos()))
        .ok()
}

/// The controller, subscribed to claims and to what their pools say.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    let queue: Queue<String> = Queue::new();
    {
        let queue = queue.clone();
        ctx.mirror.subscribe::<NodeClaim>(move |change| {
            if change.new.is_some() {
                queue.add(change.key.name.clone());
            }
        });
    }
    {
        let (queue, mirror) = (queue.clone(), Arc::downgrade(&ctx.mirror));
        ctx.mirror.subscribe::<NodePool>(move |change| {
            let Some(mirror) = mirror.upgrade() else {
                return;
            };
            let spec = |pool: &Option<Arc<NodePool>>| pool.as_ref().map(|pool| pool.spec.clone());
            if change.old.is_some() && spec(&change.old) == spec(&change.new) {
                return;
            }
            for claim in mirror.all::<NodeClaim>() {
                if pool_of(&claim) == Some(&change.key.name) {
                    queue.add(claim.metadata.name.clone().unwrap_or_default());
                }
            }
        });
    }
    let ctx = Arc::clone(ctx);
    vec![Box::pin(async move {
        listed(&ctx).await;
        queue::run(
            "nodeclaim.disruption",
            Policy::DEFAULT,
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
    let pool = pool_of(&claim).and_then(|pool| ctx.mirror.named::<NodePool>(pool));
    let (Some(pool), true) = (pool, ctx.cloud.manages(&class.group, &class.kind)) else {
        return Ok(Next::Wait);
    };
    match next_step(&claim, &pool, ctx.clock.now()) {
        Step::Wait(until) => Ok(until.map_or(Next::Wait, Next::At)),
        Step::Report(wanted) => match write::status(ctx, &*claim, &wanted).await {
            Ok(_) => Ok(Next::After(std::time::Duration::ZERO)),
            Err(error) => write::again(error),
        },
    }
}

fn pool_of(claim: &NodeClaim) -> Option<&String> {
    claim.metadata.labels.as_ref()?.get(labels::NODEPOOL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodeclaim::draft::Conditioned;
    use karpenter_api::conditions;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        noon + SignedDuration::from_secs(second)
    }

    fn pool(consolidate_after: Option<&str>, replicas: Option<i64>) -> NodePool {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "p"},
            "spec": {
                "template": {"spec": {
                    "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
                }},
                "disruption": {"consolidateAfter": consolidate_after},
                "replicas": replicas,
            },
        }))
        .unwrap()
    }

    /// A claim that is initialised since noon; `marked` says whether it is consolidatable already.
    fn claim(initialized: &str, last_event: Option<i64>, marked: bool) -> NodeClaim {
        let mut conditions = vec![];
        for type_ in ["Launched", "Registered"] {
            conditions.push(json!({
                "type": type_, "status": "True", "lastTransitionTime": at(0),
            }));
        }
        conditions.push(json!({
            "type": "Initialized", "status": initialized, "lastTransitionTime": at(0),
        }));
        if marked {
            conditions.push(json!({
                "type": "Consolidatable", "status": "True", "lastTransitionTime": at(0),
            }));
        }
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {"name": "a"},
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
            },
            "status": {
                "conditions": conditions,
                "lastPodEventTime": last_event.map(at),
            },
        }))
        .unwrap()
    }

    /// It is 40 s past noon. `expected` is `True`, `removed`, or when to look again.
    fn check(row: &str, claim: &NodeClaim, pool: &NodePool, expected: &str) {
        let found = match next_step(claim, pool, at(40)) {
            Step::Wait(None) => "wait".to_owned(),
            Step::Wait(Some(until)) => format!("wait until {}", &until.to_string()[11..19]),
            Step::Report(wanted) => conditions::get(wanted.conditions(), CONSOLIDATABLE)
                .map_or("removed".to_owned(), |found| found.status.clone()),
        };
        assert_eq!(found, expected, "{row}");
    }

    #[test]
    fn steps() {
        let pool_30s = pool(Some("30s"), None);
        check(
            "lifecycle/Y12",
            &claim("True", Some(0), false),
            &pool_30s,
            "True",
        );
        check(
            "lifecycle/Y12",
            &claim("True", Some(30), true),
            &pool_30s,
            "removed",
        );
        check(
            "already gone",
            &claim("True", Some(30), false),
            &pool_30s,
            "wait until 12:01:00",
        );
        check(
            "lifecycle/Y13",
            &claim("True", None, false),
            &pool_30s,
            "True",
        );
        check(
            "already there",
            &claim("True", None, true),
            &pool_30s,
            "wait",
        );
        check(
            "Never",
            &claim("True", None, true),
            &pool(Some("Never"), None),
            "removed",
        );
        check(
            "not initialised",
            &claim("Unknown", None, true),
            &pool_30s,
            "removed",
        );
        check(
            "0s",
            &claim("True", Some(40), false),
            &pool(Some("0s"), None),
            "True",
        );
        check(
            "static",
            &claim("True", None, false),
            &pool(Some("0s"), Some(3)),
            "wait",
        );
    }
}
