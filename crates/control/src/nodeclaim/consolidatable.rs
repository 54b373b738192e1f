//! Whether a node has been quiet for long enough to be consolidated.
//!
//! The condition is there and True, or it is not there; both consolidation and the removal of
//! empty nodes wait for it. The span counts from the last pod event, or from the node's
//! initialisation if there was none.

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{
    GoDuration,
    conditions::{CONSOLIDATABLE, INITIALIZED},
    nodeclaim::NodeClaim,
    nodepool::NodePool,
};

use super::draft::Draft;

/// Sets or removes the condition of a claim of this pool, and says when to look again.
pub(crate) fn mark(
    draft: &mut Draft<NodeClaim>,
    claim: &NodeClaim,
    pool: &NodePool,
    now: Timestamp,
) -> Option<Timestamp> {
    // A static pool keeps its number of nodes whatever they do.
    if pool.spec.replicas.is_some() {
        return None;
    }
    match quiet_from(draft, claim, pool) {
        Some(from) if now >= from => {
            if !draft.is_true(CONSOLIDATABLE) {
                draft.set_true(CONSOLIDATABLE);
            }
            None
        }
        until => {
            draft.clear(CONSOLIDATABLE);
            until
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodeclaim::{
        disruption::{Drift, Step, next_step},
        draft::Conditioned,
    };
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
        let found = match next_step(claim, pool, &Drift::Keep, at(40)) {
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
