//! What a pool's status says, put together from everything that is known.
//!
//! Pure. All parts are thought over at once, so that a new pool gets its whole status in one write:
//! whether its template is valid, whether its node class is ready, how its launches went, and what it
//! has.

use karpenter_api::{
    conditions::{
        DISRUPTION_VALID, INSTANCE_TYPES_COMPATIBLE, NODE_CLASS_READY, NODE_REGISTRATION_HEALTHY,
        VALIDATION_SUCCEEDED,
    },
    nodepool::NodePool,
};
use karpenter_plan::pool::disruption_faults;

use super::{
    NO_COMPATIBLE_INSTANCE_TYPES,
    counter::Totals,
    health::{self, History, Look, Stated},
    outcomes::Record,
    readiness::{self, NodeClass, Verdict},
};
use crate::nodeclaim::draft::Draft;
use jiff::Timestamp;

/// What is known around a pool.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// What is wrong with its template.
    pub(crate) faults: Vec<String>,
    /// The node class it names, if that exists.
    pub(crate) class: Option<NodeClass>,
    /// How its launches went.
    pub(crate) record: Record,
    /// What it has.
    pub(crate) totals: Totals,
}

/// What a pool needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// The pool as it shall be.
    pub(crate) pool: NodePool,
    /// The history as it is to be remembered, if it is another one.
    pub(crate) history: Option<History>,
    /// Whether the oldest waiting outcome is taken in.
    pub(crate) taken: bool,
}

/// Thinks over the status of a managed pool. At most one outcome is taken in at a time.
pub(crate) fn consider(pool: &NodePool, facts: &Facts, now: Timestamp) -> Wanted {
    let mut draft = Draft::new(pool, now);
    if facts.faults.is_empty() {
        draft.set_true(VALIDATION_SUCCEEDED);
    } else {
        let message = facts.faults.join("; ");
        draft.set_false(VALIDATION_SUCCEEDED, "NodePoolValidationFailed", &message);
    }
    match readiness::judge(facts.class.as_ref()) {
        Verdict::Ready => draft.set_true(NODE_CLASS_READY),
        Verdict::NotReady { reason, message } => {
            draft.set_false(NODE_CLASS_READY, &reason, &message);
        }
    }
    match &facts.record.no_types {
        Some(why) => {
            draft.set_false(INSTANCE_TYPES_COMPATIBLE, NO_COMPATIBLE_INSTANCE_TYPES, why);
        }
        None if draft.get(INSTANCE_TYPES_COMPATIBLE).is_some() => {
            draft.set_true(INSTANCE_TYPES_COMPATIBLE);
        }
        // Pools that were never without keep exactly upstream's conditions.
        None => {}
    }
    // Pools without a fault keep exactly upstream's conditions.
    let faults = disruption_faults(pool.spec.disruption.as_ref());
    if faults.is_empty() {
        draft.clear(DISRUPTION_VALID);
    } else {
        draft.set_false(DISRUPTION_VALID, "DisruptionInvalid", &faults.join("; "));
    }
    let mut taken = false;
    let history = match look(&draft, pool, facts) {
        Look::Reset => {
            draft.set_unknown(
                NODE_REGISTRATION_HEALTHY,
                "AwaitingReconciliation",
                "object is awaiting reconciliation",
            );
            let status = draft.object.status.get_or_insert_default();
            status.node_class_observed_generation =
                facts.class.as_ref().map(|class| class.generation);
            Some(History::default())
        }
        Look::Seed { healthy } => Some(History::seeded(healthy)),
        Look::Keep => {
            taken = take_in(&mut draft, &facts.record);
            None
        }
    };
    let status = draft.object.status.get_or_insert_default();
    status.resources = Some(facts.totals.resources.clone());
    status.nodes = Some(facts.totals.nodes);
    Wanted {
        pool: draft.finish(),
        history,
        taken,
    }
}

fn look(draft: &Draft<NodePool>, pool: &NodePool, facts: &Facts) -> Look {
    let condition = draft.get(NODE_REGISTRATION_HEALTHY);
    let status = pool.status.as_ref();
    let known = health::Facts {
        condition: Stated::read(condition),
        condition_generation: condition
            .and_then(|condition| condition.observed_generation)
            .unwrap_or_default(),
        pool_generation: pool.metadata.generation.unwrap_or_default(),
        seen_class_generation: status
            .and_then(|status| status.node_class_observed_generation)
            .unwrap_or_default(),
        class_generation: facts.class.as_ref().map(|class| class.generation),
    };
    health::look(&known, &facts.record.history)
}

/// Takes in the oldest waiting outcome. True if there was one.
fn take_in(draft: &mut Draft<NodePool>, record: &Record) -> bool {
    let Some(outcome) = record.waiting.first() else {
        return false;
    };
    let stated = Stated::read(draft.get(NODE_REGISTRATION_HEALTHY));
    match health::verdict_after(&record.history, outcome.success, stated) {
        Some(true) => draft.set_true(NODE_REGISTRATION_HEALTHY),
        Some(false) => {
            let (reason, message) = &outcome.why;
            draft.set_false(NODE_REGISTRATION_HEALTHY, reason, message);
        }
        None => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nodeclaim::draft::Conditioned as _,
        nodepool::{counter, outcomes::Outcome},
    };
    use karpenter_api::conditions::{self, READY};
    use serde_json::json;

    fn pool() -> NodePool {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
            "metadata": {
                "name": "p", "uid": "1", "generation": 1,
                "creationTimestamp": "2026-01-01T11:00:00Z",
            },
            "spec": {"template": {"spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
            }}},
        }))
        .unwrap()
    }

    fn facts(faults: &[&str], waiting: &[bool]) -> Facts {
        let ready = serde_json::from_value(json!({
            "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }))
        .unwrap();
        let why = (
            "RegistrationFailed".to_owned(),
            "Failed to register node".to_owned(),
        );
        Facts {
            faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
            class: Some(NodeClass {
                deleting: false,
                generation: 3,
                ready: Some(ready),
            }),
            record: Record {
                history: History::default(),
                no_types: None,
                waiting: waiting
                    .iter()
                    .map(|success| Outcome {
                        success: *success,
                        why: why.clone(),
                    })
                    .collect(),
            },
            totals: counter::totals([]),
        }
    }

    /// `Type=Status/Reason` of the four conditions.
    fn told(pool: &NodePool) -> String {
        let all = pool.status.as_ref().unwrap().conditions.as_deref().unwrap();
        let types = [
            VALIDATION_SUCCEEDED,
            NODE_CLASS_READY,
            NODE_REGISTRATION_HEALTHY,
            READY,
        ];
        let found = types.iter().filter_map(|type_| conditions::get(all, type_));
        let words = found.map(|found| format!("{}={}/{}", found.type_, found.status, found.reason));
        words.collect::<Vec<_>>().join(" ")
    }

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_new_pool_gets_its_whole_status_at_once() {
        let first = consider(&pool(), &facts(&[], &[]), now());
        assert_eq!(
            told(&first.pool),
            "ValidationSucceeded=True/ValidationSucceeded NodeClassReady=True/NodeClassReady \
             NodeRegistrationHealthy=Unknown/AwaitingReconciliation Ready=True/Ready"
        );
        let status = first.pool.status.as_ref().unwrap();
        assert_eq!(
            (status.nodes, status.node_class_observed_generation),
            (Some(0), Some(3))
        );
        assert_eq!(first.history, Some(History::default()));
        let second = consider(&first.pool, &facts(&[], &[]), now());
        assert_eq!(
            (second.pool, second.history, second.taken),
            (first.pool, None, false)
        );
    }

    #[test]
    fn what_cannot_be_read_of_disruption_is_told_while_it_is_so() {
        let valid = consider(&pool(), &facts(&[], &[]), now()).pool;
        let told_of = |pool: &NodePool| {
            let found = conditions::get(pool.conditions(), DISRUPTION_VALID)?;
            assert_eq!(
                (&*found.status, &*found.reason),
                ("False", "DisruptionInvalid")
            );
            Some(found.message.clone())
        };
        assert_eq!(told_of(&valid), None);
        let mut faulty = valid.clone();
        faulty.spec.disruption = serde_json::from_value(json!({
            "consolidationPolicy": "WhenRaining",
            "budgets": [
                {"nodes": "1"},
                {"nodes": "1", "schedule": "@daily"},
                {"nodes": "1", "schedule": "@daily", "duration": "soon"},
            ],
        }))
        .unwrap();
        let faulty = consider(&faulty, &facts(&[], &[]), now()).pool;
        assert_eq!(
            told_of(&faulty).unwrap(),
            "spec.disruption.consolidationPolicy: \"WhenRaining\" is unknown to this version, use WhenEmpty, \
             WhenEmptyOrUnderutilized or Balanced; spec.disruption.budgets[1]: schedule needs a duration; \
             spec.disruption.budgets[2]: duration \"soon\" is no span of time, write hours and minutes as in 1h30m"
        );
        assert!(
            conditions::is_true(faulty.conditions(), READY),
            "nodes are launched"
        );
        let mut right = faulty.clone();
        right.spec.disruption = None;
        let right = consider(&right, &facts(&[], &[]), now()).pool;
        assert_eq!(right, valid, "nothing is left of it");
    }

    #[test]
    fn faults_are_told_and_outcomes_taken_in_one_by_one() {
        let first = consider(&pool(), &facts(&["one", "two"], &[]), now()).pool;
        let all = first
            .status
            .as_ref()
            .unwrap()
            .conditions
            .as_deref()
            .unwrap();
        let found = conditions::get(all, VALIDATION_SUCCEEDED).unwrap();
        assert_eq!(
            (&*found.reason, &*found.message),
            ("NodePoolValidationFailed", "one; two")
        );

        let fresh = consider(&pool(), &facts(&[], &[]), now()).pool;
        let mut facts = facts(&[], &[false, false]);
        let one = consider(&fresh, &facts, now());
        assert!(one.taken && one.pool == fresh, "one failure is no verdict");
        facts.record.history = facts.record.history.with(false);
        facts.record.waiting.remove(0);
        let two = consider(&one.pool, &facts, now());
        let all = two
            .pool
            .status
            .as_ref()
            .unwrap()
            .conditions
            .as_deref()
            .unwrap();
        let found = conditions::get(all, NODE_REGISTRATION_HEALTHY).unwrap();
        assert_eq!(
            (&*found.status, &*found.reason, &*found.message),
            ("False", "RegistrationFailed", "Failed to register node"),
            "lifecycle/L14"
        );
        facts.record = Record {
            no_types: None,
            history: History::default(),
            waiting: vec![Outcome {
                success: true,
                why: Default::default(),
            }],
        };
        // lifecycle/R17 is the verdict itself; with the condition False a restart seeds two failures.
        let restarted = consider(&two.pool, &facts, now());
        assert_eq!(restarted.history, Some(History::seeded(false)));
    }
}
