//! What makes a claim a candidate for disruption: drift, and quiet (section 8 of lifecycle.md).
//!
//! [`next_step`] is pure; the rules are in [`drift`](super::drift) and [`consolidatable`](super::consolidatable).
//! A claim is looked at when it or its pool changes, and every five minutes for what only the provider sees.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{
    conditions::{self, CONSOLIDATABLE, DRIFTED},
    labels,
    nodeclaim::NodeClaim,
    nodepool::NodePool,
};
use karpenter_cloud::Error;
use tracing::info;

use super::{
    consolidatable,
    draft::{Conditioned as _, Draft},
    drift::{Types, Verdict, reason},
    write,
};
use crate::{
    Task,
    ctx::Ctx,
    queue::{self, Failure, Next, Policy, Queue},
    upkeep::listed,
};

const INTERVAL: Duration = Duration::from_mins(5);
/// For how long an instance type that was found is not looked for again.
const FOUND: SignedDuration = SignedDuration::from_mins(30);

/// When the instance type of a claim was last found, by the claim's name.
type Found = BTreeMap<String, Timestamp>;

/// What is known of a claim's drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Drift {
    /// Nothing new.
    Keep,
    /// There is none.
    None,
    /// It has drifted, for this reason.
    Because(String),
}

/// What there is to do about a claim's conditions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing, until something changes or the instant comes.
    Wait(Option<Timestamp>),
    /// Its status, as given.
    Report(Box<NodeClaim>),
}

/// Names the step of a managed claim of this pool.
pub(crate) fn next_step(claim: &NodeClaim, pool: &NodePool, drift: &Drift, now: Timestamp) -> Step {
    if claim.metadata.deletion_timestamp.is_some() {
        return Step::Wait(None);
    }
    let mut draft = Draft::new(claim, now);
    match drift {
        Drift::Keep => {}
        Drift::None => draft.clear(DRIFTED),
        Drift::Because(reason) => {
            let known = draft.get(DRIFTED);
            if known.is_none_or(|own| !own.is_true() || own.reason != *reason) {
                draft.set_true_because(DRIFTED, reason, reason);
            }
        }
    }
    let until = consolidatable::mark(&mut draft, claim, pool, now);
    // Missing dependents are written by whoever is in charge of them, not here.
    let is_same = |kind| conditions::get(claim.conditions(), kind) == draft.get(kind);
    if is_same(CONSOLIDATABLE) && is_same(DRIFTED) {
        return Step::Wait(until);
    }
    Step::Report(Box::new(draft.finish()))
}

/// Looks for drift, asking the provider last.
async fn look(
    ctx: &Ctx,
    found: &Mutex<Found>,
    claim: &NodeClaim,
    pool: &NodePool,
    now: Timestamp,
) -> Result<Drift, Failure> {
    if claim.metadata.deletion_timestamp.is_some() {
        return Ok(Drift::Keep);
    }
    let name = claim.metadata.name.clone().unwrap_or_default();
    let feed = ctx
        .mirror
        .feed(pool.metadata.name.as_deref().unwrap_or_default())
        // Who lists nothing has not said that all types are gone.
        .filter(|feed| !feed.types.is_empty());
    let last = lock(found).get(&name).copied();
    let types = Types {
        feed: feed.as_ref(),
        well_known: ctx.cloud.well_known(),
        is_known: last.is_some_and(|last| now.duration_since(last) < FOUND),
    };
    let drift = match reason(claim, pool, &types, now) {
        Verdict::NotLaunched => Drift::None,
        Verdict::Drifted(reason) => Drift::Because(reason.to_owned()),
        Verdict::AskProvider(is_found) => {
            if is_found {
                lock(found).insert(name.clone(), now);
            }
            match ctx.cloud.drifted(claim).await {
                Ok(None) => Drift::None,
                Ok(Some(reason)) => Drift::Because(reason.to_string()),
                Err(Error::InstanceNotFound { .. }) => Drift::Keep,
                Err(error) => return Err(Failure::new(error)),
            }
        }
    };
    if let Drift::Because(reason) = &drift
        && !conditions::is_true(claim.conditions(), DRIFTED)
    {
        info!(node_claim = name, reason, "marking drifted");
    }
    Ok(drift)
}

fn lock(found: &Mutex<Found>) -> MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The controller, subscribed to claims and to what their pools say.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    let queue: Queue<String> = Queue::new();
    {
        let queue = queue.clone();
        ctx.mirror.subscribe::<NodeClaim>(move |change| {
            if change.new.is_some() {
                queue.add(change.key.name.to_string());
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
            // The hash of the template stands in an annotation.
            let stamps = |pool: &Option<Arc<NodePool>>| {
                pool.as_ref().map(|pool| pool.metadata.annotations.clone())
            };
            let is_same = spec(&change.old) == spec(&change.new)
                && stamps(&change.old) == stamps(&change.new);
            if change.old.is_some() && is_same {
                return;
            }
            for claim in mirror.all::<NodeClaim>() {
                if pool_of(&claim).is_some_and(|pool| **pool == *change.key.name) {
                    queue.add(claim.metadata.name.clone().unwrap_or_default());
                }
            }
        });
    }
    let ctx = Arc::clone(ctx);
    let found: Arc<Mutex<Found>> = Arc::default();
    vec![Box::pin(async move {
        listed(&ctx).await;
        queue::run(
            "nodeclaim.disruption",
            Policy::DEFAULT,
            Arc::clone(&ctx.metrics),
            queue,
            |name| {
                let (ctx, found) = (Arc::clone(&ctx), Arc::clone(&found));
                async move { reconcile(&ctx, &found, &name).await }
            },
        )
        .await;
    })]
}

async fn reconcile(ctx: &Ctx, found: &Mutex<Found>, name: &str) -> Result<Next, Failure> {
    let Some(claim) = ctx.mirror.named::<NodeClaim>(name) else {
        lock(found).remove(name);
        return Ok(Next::Wait);
    };
    let class = &claim.spec.node_class_ref;
    let pool = pool_of(&claim).and_then(|pool| ctx.mirror.named::<NodePool>(pool));
    let (Some(pool), true) = (pool, ctx.cloud.manages(&class.group, &class.kind)) else {
        return Ok(Next::Wait);
    };
    let now = ctx.clock.now();
    let drift = look(ctx, found, &claim, &pool, now).await?;
    match next_step(&claim, &pool, &drift, now) {
        Step::Wait(until) => {
            let later = now.checked_add(INTERVAL).unwrap_or(now);
            Ok(Next::At(until.map_or(later, |until| until.min(later))))
        }
        Step::Report(wanted) => match write::status(ctx, &*claim, &wanted).await {
            Ok(_) => Ok(Next::After(Duration::ZERO)),
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
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        noon + SignedDuration::from_secs(second)
    }

    fn pool(replicas: Option<i64>) -> NodePool {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "p"},
            "spec": {
                "template": {"spec": {
                    "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
                }},
                "disruption": {"consolidateAfter": "Never"},
                "replicas": replicas,
            },
        }))
        .unwrap()
    }

    /// A claim that has drifted for a reason, if there is one.
    fn claim(drifted: Option<&str>) -> NodeClaim {
        let conditions: Vec<serde_json::Value> = drifted
            .map(|reason| {
                json!({
                    "type": "Drifted", "status": "True", "reason": reason, "message": reason,
                    "lastTransitionTime": at(0),
                })
            })
            .into_iter()
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {"name": "a"},
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
            },
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    /// What the condition says afterwards, if it has to be written.
    fn check(
        row: &str,
        known: Option<&str>,
        drift: &Drift,
        pool: &NodePool,
        expected: Option<&str>,
    ) {
        let found = match next_step(&claim(known), pool, drift, at(40)) {
            Step::Wait(_) => None,
            Step::Report(wanted) => Some(
                conditions::get(wanted.conditions(), DRIFTED).map_or("removed".to_owned(), |own| {
                    format!("{} {}", own.reason, own.message)
                }),
            ),
        };
        assert_eq!(found.as_deref(), expected, "{row}");
    }

    #[test]
    fn drift_is_written_down() {
        let because = |reason: &str| Drift::Because(reason.to_owned());
        let dynamic = pool(None);
        let written = Some("AMIDrift AMIDrift");
        check(
            "lifecycle/Y1",
            None,
            &because("AMIDrift"),
            &dynamic,
            written,
        );
        check(
            "as before",
            Some("AMIDrift"),
            &because("AMIDrift"),
            &dynamic,
            None,
        );
        check(
            "lifecycle/Y8",
            Some("AMIDrift"),
            &Drift::None,
            &dynamic,
            Some("removed"),
        );
        check(
            "lifecycle/Y11",
            Some("AMIDrift"),
            &Drift::None,
            &dynamic,
            Some("removed"),
        );
        check("not known", Some("AMIDrift"), &Drift::Keep, &dynamic, None);
        check(
            "lifecycle/Y14",
            None,
            &because("AMIDrift"),
            &pool(Some(3)),
            written,
        );
    }
}
