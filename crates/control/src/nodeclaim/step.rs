//! What a claim needs next, from its creation to a node that is ready for pods.
//!
//! Pure. [`next_step`] looks at the claim and at what is known around it and names exactly one step;
//! doing it, and looking again, is the business of the controller. The order is: finalizer, clocks,
//! launch, registration, initialisation. Nothing is launched before the finalizer is stored, since
//! without it a deletion would leave the machine behind.

use std::sync::Arc;

use jiff::Timestamp;
use karpenter_api::{
    conditions::{INITIALIZED, LAUNCHED, REGISTERED},
    labels::TERMINATION_FINALIZER,
    nodeclaim::NodeClaim,
    objects::{Node, ResourceSlice},
};
use karpenter_cloud::Launched;

use super::{
    draft::Draft,
    drivers,
    initialization::{self, NODE_NOT_FOUND},
    launch::{self, Memory},
    liveness::{self, Limits},
};

/// What is known around a claim.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The nodes with its provider id.
    pub(crate) nodes: Vec<Arc<Node>>,
    /// What its launches came to, as far as it does not say so itself.
    pub(crate) memory: Option<Memory>,
    /// How patient we are.
    pub(crate) limits: Limits,
    /// What drivers of devices have published, for a claim that counts on some.
    pub(crate) published: Option<Vec<Arc<ResourceSlice>>>,
}

/// What a claim needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing, until something changes or the instant comes.
    Wait(Option<Timestamp>),
    /// The finalizer.
    AddFinalizer,
    /// It took too long: it goes. The cause is the disruption counter's.
    GiveUp(&'static str),
    /// A machine.
    Launch,
    /// To be told what its launch came to.
    Store(Box<Launched>),
    /// Its node, to be synced and, unless a hook objects, registered.
    Register(Arc<Node>),
    /// Its node's label, and the condition that says that it is ready for pods.
    Initialize(Arc<Node>),
    /// Its status, as given.
    Report(Box<NodeClaim>),
}

/// Names the next step of a claim that is managed and not being deleted.
pub(crate) fn next_step(claim: &NodeClaim, facts: &Facts, now: Timestamp) -> Step {
    let finalizers = claim.metadata.finalizers.as_deref().unwrap_or_default();
    if !finalizers
        .iter()
        .any(|finalizer| finalizer == TERMINATION_FINALIZER)
    {
        return Step::AddFinalizer;
    }
    let mut draft = Draft::new(claim, now);
    let mut wait = match (
        liveness::next_step(&draft, &facts.limits, now),
        &facts.memory,
    ) {
        // There is a machine by now; whether it takes too long is judged once that is stored.
        (_, Some(Memory::Launched(launched))) if !draft.is_true(LAUNCHED) => {
            return Step::Store(launched.clone());
        }
        (liveness::Step::Delete(cause), _) => return Step::GiveUp(cause),
        (liveness::Step::Wait(until), _) => Some(until),
        (liveness::Step::Keep, _) => None,
    };
    if draft.is_unknown(LAUNCHED) {
        match &facts.memory {
            Some(Memory::Failed { again }) if now < *again => {
                wait = Some(wait.map_or(*again, |until| until.min(*again)));
            }
            _ => return Step::Launch,
        }
    }
    if let Some(step) = consider(&mut draft, facts) {
        return step;
    }
    let wanted = draft.finish();
    if wanted.status == claim.status {
        Step::Wait(wait)
    } else {
        Step::Report(Box::new(wanted))
    }
}

/// Brings the draft's conditions in line with the nodes there are, or names the step that does.
fn consider(draft: &mut Draft<NodeClaim>, facts: &Facts) -> Option<Step> {
    let nodes = &*facts.nodes;
    draft.confirm(LAUNCHED);
    if draft.is_unknown(REGISTERED) {
        match nodes {
            [] => draft.set_unknown(REGISTERED, "NodeNotFound", NODE_NOT_FOUND),
            [node] => return Some(Step::Register(Arc::clone(node))),
            // Sticky: nothing looks at it again, and the clock deletes the claim in the end.
            [_, _, ..] => {
                let message = "Invariant violated, matched multiple nodes";
                draft.set_false(REGISTERED, "MultipleNodesFound", message);
            }
        }
    } else {
        draft.confirm(REGISTERED);
    }
    if draft.is_true(REGISTERED) && !draft.is_true(INITIALIZED) {
        let only = if let [node] = nodes { Some(node) } else { None };
        let obstacle = initialization::obstacle(&draft.object, only.map(|node| &**node));
        let missing = || drivers::obstacle(&draft.object, only?, facts.published.as_ref()?);
        match (obstacle.or_else(missing), only) {
            (Some(obstacle), _) => {
                draft.set_unknown(INITIALIZED, obstacle.reason, &obstacle.message);
            }
            (None, Some(node)) => return Some(Step::Initialize(Arc::clone(node))),
            (None, None) => {}
        }
    } else if draft.is_true(INITIALIZED) {
        draft.confirm(INITIALIZED);
    }
    None
}

/// The claim as it is stored after a launch: details and conditions.
pub(crate) fn launched(claim: &NodeClaim, launched: &Launched, now: Timestamp) -> NodeClaim {
    let mut draft = Draft::new(claim, now);
    launch::merge(&mut draft.object, launched);
    draft.set_true(LAUNCHED);
    if draft.is_unknown(REGISTERED) {
        draft.set_unknown(REGISTERED, "NodeNotFound", NODE_NOT_FOUND);
    }
    draft.finish()
}

/// The claim as it is stored after a launch that failed but may work later.
pub(crate) fn launch_failed(
    claim: &NodeClaim,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> NodeClaim {
    let mut draft = Draft::new(claim, now);
    draft.set_unknown(LAUNCHED, reason, message);
    if draft.is_unknown(REGISTERED) {
        draft.set_unknown(REGISTERED, "NodeNotFound", NODE_NOT_FOUND);
    }
    draft.finish()
}

/// The claim as it is stored while hooks hold its registration back.
pub(crate) fn hooks_pending(claim: &NodeClaim, names: &str, now: Timestamp) -> NodeClaim {
    let mut draft = Draft::new(claim, now);
    draft.confirm(LAUNCHED);
    draft.set_unknown(REGISTERED, "RegistrationHookPending", names);
    draft.finish()
}

/// The claim as it is stored once its node is registered. What keeps the node from being initialised
/// is written along, to save a round trip.
pub(crate) fn registered(claim: &NodeClaim, node: &Node, now: Timestamp) -> NodeClaim {
    let mut draft = Draft::new(claim, now);
    draft.confirm(LAUNCHED);
    draft.set_true(REGISTERED);
    let status = draft.object.status.get_or_insert_default();
    status.node_name.clone_from(&node.metadata.name);
    if let Some(obstacle) = initialization::obstacle(&draft.object, Some(node)) {
        draft.set_unknown(INITIALIZED, obstacle.reason, &obstacle.message);
    }
    draft.finish()
}

/// The claim as it is stored once its node is ready for pods.
pub(crate) fn initialized(claim: &NodeClaim, now: Timestamp) -> NodeClaim {
    let mut draft = Draft::new(claim, now);
    draft.confirm(LAUNCHED);
    draft.confirm(REGISTERED);
    draft.set_true(INITIALIZED);
    draft.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodeclaim::draft::{Conditioned, status_patch};
    use karpenter_api::conditions::{self, READY};
    use serde_json::{Value, json};

    const NOW: &str = "2026-01-01T12:00:30Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    /// A claim made at noon with the finalizer; `conditions` are `Type=Status` words.
    fn claim(conditions: &str) -> NodeClaim {
        let conditions: Vec<Value> = conditions
            .split_whitespace()
            .map(|word| {
                let (type_, status) = word.split_once('=').unwrap();
                json!({
                    "type": type_, "status": status, "observedGeneration": 1,
                    "lastTransitionTime": "2026-01-01T12:00:10Z",
                })
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {
                "name": "a", "uid": "1", "generation": 1,
                "creationTimestamp": "2026-01-01T12:00:00Z",
                "finalizers": ["karpenter.sh/termination"],
            },
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
            },
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    fn node(name: &str, ready: &str) -> Arc<Node> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name},
                "spec": {"providerID": "kwok://a"},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            }))
            .unwrap(),
        )
    }

    /// The step in one line: its name, and for a report what it says of the conditions.
    fn line(claim: &NodeClaim, step: &Step) -> String {
        match step {
            Step::Wait(None) => "wait".to_owned(),
            Step::Wait(Some(until)) => format!("wait until {}", &until.to_string()[11..19]),
            Step::AddFinalizer => "add finalizer".to_owned(),
            Step::GiveUp(cause) => format!("give up: {cause}"),
            Step::Launch => "launch".to_owned(),
            Step::Store(launched) => format!("store {}", launched.provider_id),
            Step::Register(node) => format!("register {}", node.metadata.name.as_deref().unwrap()),
            Step::Initialize(_) => "initialize".to_owned(),
            Step::Report(wanted) => {
                assert!(
                    status_patch(claim, &**wanted).is_some(),
                    "a report changes something"
                );
                let all = wanted.conditions();
                let told: Vec<String> = [LAUNCHED, REGISTERED, INITIALIZED, READY]
                    .iter()
                    .filter_map(|type_| conditions::get(all, type_))
                    .map(|found| format!("{}={}/{}", found.type_, found.status, found.reason))
                    .collect();
                told.join(" ")
            }
        }
    }

    fn check(row: &str, claim: &NodeClaim, facts: &Facts, expected: &str) {
        let step = next_step(claim, facts, now());
        assert_eq!(line(claim, &step), expected, "{row}");
    }

    fn nodes(nodes: &[Arc<Node>]) -> Facts {
        Facts {
            nodes: nodes.to_vec(),
            ..Facts::default()
        }
    }

    #[test]
    fn steps_to_a_node() {
        let nothing = Facts::default();
        let mut bare = claim("");
        bare.metadata.finalizers = None;
        check("lifecycle/L1", &bare, &nothing, "add finalizer");
        check("lifecycle/L1", &claim(""), &nothing, "launch");
        let launched = Launched {
            provider_id: "kwok://a".into(),
            ..Launched::default()
        };
        let stored = Facts {
            memory: Some(Memory::Launched(Box::new(launched))),
            ..Facts::default()
        };
        check("lifecycle/L6", &claim(""), &stored, "store kwok://a");
        let failed = |again: &str| Facts {
            memory: Some(Memory::Failed {
                again: again.parse().unwrap(),
            }),
            ..Facts::default()
        };
        let waiting = claim("Launched=Unknown Registered=Unknown Initialized=Unknown");
        check("the pause is over", &waiting, &failed(NOW), "launch");
        let told = next_step(&waiting, &failed("2026-01-01T12:00:40Z"), now());
        let Step::Report(told) = told else {
            panic!("the reason is not told: {told:?}")
        };
        check(
            "pausing",
            &told,
            &failed("2026-01-01T12:00:40Z"),
            "wait until 12:00:40",
        );

        let launched = claim("Launched=True Registered=Unknown Initialized=Unknown");
        check(
            "no node yet",
            &launched,
            &nothing,
            "Launched=True/ Registered=Unknown/NodeNotFound Initialized=Unknown/ \
             Ready=Unknown/ReconcilingDependents",
        );
        check(
            "lifecycle/R1",
            &launched,
            &nodes(&[node("n", "False")]),
            "register n",
        );
        check(
            "lifecycle/R9",
            &launched,
            &nodes(&[node("m", "True"), node("n", "True")]),
            "Launched=True/ Registered=False/MultipleNodesFound Initialized=Unknown/ \
             Ready=False/UnhealthyDependents",
        );
        let sticky = claim("Launched=True Registered=False Initialized=Unknown Ready=False");
        let step = next_step(&sticky, &nodes(&[node("n", "True")]), now());
        assert!(!matches!(step, Step::Register(_)), "lifecycle/R9: {step:?}");

        let registered = claim("Launched=True Registered=True Initialized=Unknown");
        check(
            "lifecycle/I3",
            &registered,
            &nodes(&[node("n", "False")]),
            "Launched=True/ Registered=True/ Initialized=Unknown/NodeNotReady \
             Ready=Unknown/ReconcilingDependents",
        );
        check(
            "lifecycle/I1",
            &registered,
            &nodes(&[node("n", "True")]),
            "initialize",
        );
        check(
            "lifecycle/I2",
            &claim("Launched=True Registered=Unknown Initialized=Unknown"),
            &nodes(&[node("n", "True")]),
            "register n",
        );
    }

    #[test]
    fn a_settled_claim_needs_nothing() {
        let settled = initialized(
            &registered(&claim("Launched=True"), &node("n", "True"), now()),
            now(),
        );
        assert!(conditions::is_true(settled.conditions(), READY));
        assert_eq!(
            settled.status.as_ref().unwrap().node_name.as_deref(),
            Some("n")
        );
        check("settled", &settled, &nodes(&[node("n", "True")]), "wait");
        check("its node is gone", &settled, &Facts::default(), "wait");
        let mut raised = settled;
        raised.metadata.generation = Some(2);
        let step = next_step(&raised, &nodes(&[node("n", "True")]), now());
        let Step::Report(wanted) = step else {
            panic!("not confirmed: {step:?}")
        };
        assert!(
            wanted
                .conditions()
                .iter()
                .all(|found| found.is_true() && found.observed_generation == Some(2)),
            "lifecycle/L16: {wanted:?}",
        );
    }

    #[test]
    fn what_is_stored_on_the_way() {
        let launched = Launched {
            provider_id: "kwok://a".into(),
            ..Launched::default()
        };
        let after = super::launched(&claim(""), &launched, now());
        let status = after.status.as_ref().unwrap();
        assert_eq!(status.provider_id.as_deref(), Some("kwok://a"));
        assert!(
            conditions::is_true(after.conditions(), LAUNCHED),
            "lifecycle/L1"
        );
        let failed = launch_failed(&claim(""), "R", "M", now());
        let found = conditions::get(failed.conditions(), LAUNCHED).unwrap();
        assert_eq!(
            (&*found.status, &*found.reason, &*found.message),
            ("Unknown", "R", "M")
        );
        let pending = hooks_pending(&claim("Launched=True"), "one, two", now());
        let found = conditions::get(pending.conditions(), REGISTERED).unwrap();
        assert_eq!(
            (&*found.status, &*found.reason, &*found.message),
            ("Unknown", "RegistrationHookPending", "one, two")
        );
    }
}
