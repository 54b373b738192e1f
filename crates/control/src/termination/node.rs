//! What a node that is being deleted needs next.
//!
//! Pure. The order is: its claim goes along; it is tainted and taken out of load balancers; its pods
//! leave; its volumes are detached; its machine ends; its finalizer goes. A node without a claim, or
//! with several, is drained all the same, but no machine is ended for it.

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{
    conditions::{DRAINED, INSTANCE_TERMINATING, VOLUMES_DETACHED},
    labels::{EXCLUDE_BALANCERS, EXCLUDE_BALANCERS_VALUE, TERMINATION_FINALIZER, taints},
    nodeclaim::NodeClaim,
    objects::Node,
};

use super::drain::{Pass, PodKey};
use crate::nodeclaim::draft::Draft;

/// The least time between the first taint and the end of the machine. It gives whoever watches nodes
/// (load balancers, the endpoints of services) a chance to notice.
const MINIMUM_DRAIN: SignedDuration = SignedDuration::from_secs(5);

/// What is known around a node that goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// Its claim, unless there is none or there are several.
    pub(crate) claim: Option<&'a NodeClaim>,
    /// Whether its instance exists, as far as the provider was asked.
    pub(crate) instance: Option<bool>,
    /// What a look at its pods comes to.
    pub(crate) pods: &'a Pass,
}

/// What a node that goes needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing: it stays, or is somebody else's.
    Wait,
    /// Its claim to go along.
    DeleteClaim,
    /// The provider to be asked whether its instance exists.
    AskInstance,
    /// The taint and the label that keep pods and traffic away.
    Taint,
    /// Its claim's status, as given.
    Report(Box<NodeClaim>),
    /// These pods to be evicted, and another look soon.
    Drain {
        /// The pods whose turn it is.
        turn: Vec<PodKey>,
        /// How many pods there are to wait for.
        waiting: usize,
    },
    /// Nothing before this instant.
    Pause(Timestamp),
    /// Its machine to end.
    Terminate,
    /// Nothing more: its finalizer goes.
    Release,
}

/// Names the next step of a managed node.
pub(crate) fn next_step(node: &Node, facts: &Facts<'_>, now: Timestamp) -> Step {
    let finalizers = node.metadata.finalizers.as_deref().unwrap_or_default();
    let ours = finalizers
        .iter()
        .any(|finalizer| finalizer == TERMINATION_FINALIZER);
    if node.metadata.deletion_timestamp.is_none() || !ours {
        return Step::Wait;
    }
    if facts
        .claim
        .is_some_and(|claim| claim.metadata.deletion_timestamp.is_none())
    {
        return Step::DeleteClaim;
    }
    // A node that is ready has a machine; one that is not may have lost it, and then nothing on it is
    // left to be drained.
    if !node.is_ready() {
        match facts.instance {
            None => return Step::AskInstance,
            Some(false) => return Step::Release,
            Some(true) => {}
        }
    }
    if tainted(node) != *node {
        return Step::Taint;
    }
    let drain = || Step::Drain {
        turn: facts.pods.turn.clone(),
        waiting: facts.pods.waiting,
    };
    let Some(claim) = facts.claim else {
        return if facts.pods.waiting > 0 {
            drain()
        } else {
            Step::Release
        };
    };
    let mut draft = Draft::new(claim, now);
    if draft.get(DRAINED).is_none() {
        draft.set_unknown(DRAINED, "Draining", "Draining");
        return Step::Report(Box::new(draft.finish()));
    }
    if facts.pods.waiting > 0 {
        return drain();
    }
    if !draft.is_true(DRAINED) {
        let since = draft.since(DRAINED).unwrap_or(now);
        match since.checked_add(MINIMUM_DRAIN) {
            Ok(end) if now < end => return Step::Pause(end),
            _ => draft.set_true(DRAINED),
        }
    }
    // No volume is waited for yet; the condition is what users and tools look at.
    draft.set_true(VOLUMES_DETACHED);
    let wanted = draft.finish();
    if wanted.status != claim.status {
        return Step::Report(Box::new(wanted));
    }
    Step::Terminate
}

/// The node with the taint and the label of one that goes. Another taint under the same key is
/// replaced.
pub(crate) fn tainted(node: &Node) -> Node {
    let mut node = node.clone();
    let taint = taints::disrupted();
    if !node
        .spec
        .taints
        .iter()
        .any(|present| present.matches(&taint))
    {
        node.spec.taints.retain(|present| present.key != taint.key);
        node.spec.taints.push(taint);
    }
    let labels = node.metadata.labels.get_or_insert_default();
    labels.insert(
        EXCLUDE_BALANCERS.to_owned(),
        EXCLUDE_BALANCERS_VALUE.to_owned(),
    );
    node
}

/// The claim as it is stored once the provider took the order to end its machine.
pub(crate) fn terminating(claim: &NodeClaim, now: Timestamp) -> NodeClaim {
    let mut draft = Draft::new(claim, now);
    draft.set_true(INSTANCE_TERMINATING);
    draft.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodeclaim::draft::Conditioned;
    use karpenter_api::conditions;
    use serde_json::{Value, json};

    fn node(ready: &str, prepared: bool) -> Node {
        let node: Node = serde_json::from_value(json!({
            "metadata": {
                "name": "n", "finalizers": ["karpenter.sh/termination"],
                "deletionTimestamp": "2026-01-01T12:00:00Z",
            },
            "spec": {"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoExecute"}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap();
        if prepared { tainted(&node) } else { node }
    }

    /// A claim that goes, unless `deleting` is false. Conditions are `Type=Status@second`.
    fn claim(deleting: bool, conditions: &str) -> NodeClaim {
        let conditions: Vec<Value> = conditions
            .split_whitespace()
            .map(|word| {
                let (type_, rest) = word.split_once('=').unwrap();
                let (status, second) = rest.split_once('@').unwrap();
                json!({
                    "type": type_, "status": status, "observedGeneration": 1,
                    "reason": type_, "message": "",
                    "lastTransitionTime": format!("2026-01-01T12:00:{second}Z"),
                })
            })
            .collect();
        let claim: NodeClaim = serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {
                "name": "a", "generation": 1,
                "deletionTimestamp": deleting.then_some("2026-01-01T12:00:00Z"),
            },
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
            },
            "status": {"conditions": conditions},
        }))
        .unwrap();
        Draft::new(&claim, "2026-01-01T12:00:00Z".parse().unwrap()).finish()
    }

    /// Pods are their names; `second` is how long after noon it is.
    struct Case<'a> {
        node: Node,
        claim: Option<&'a NodeClaim>,
        instance: Option<bool>,
        pods: &'a str,
        second: i64,
    }

    fn check(row: &str, case: &Case<'_>, expected: &str) {
        let turn: Vec<PodKey> = case
            .pods
            .split_whitespace()
            .map(|name| PodKey {
                namespace: "d".into(),
                name: name.into(),
                uid: "1".into(),
            })
            .collect();
        let pods = Pass {
            waiting: turn.len(),
            turn,
        };
        let facts = Facts {
            claim: case.claim,
            instance: case.instance,
            pods: &pods,
        };
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let step = next_step(
            &case.node,
            &facts,
            noon + SignedDuration::from_secs(case.second),
        );
        let found = match step {
            Step::Drain { turn, waiting } => {
                let names: Vec<&str> = turn.iter().map(|key| key.name.as_str()).collect();
                format!("drain {} of {waiting}", names.join(" "))
            }
            Step::Pause(until) => format!("pause until {}", &until.to_string()[11..19]),
            Step::Report(wanted) => {
                let told: Vec<String> = [DRAINED, VOLUMES_DETACHED]
                    .iter()
                    .filter_map(|type_| conditions::get(wanted.conditions(), type_))
                    .map(|found| format!("{}={}", found.type_, found.status))
                    .collect();
                told.join(" ")
            }
            other @ (Step::Wait
            | Step::DeleteClaim
            | Step::AskInstance
            | Step::Taint
            | Step::Terminate
            | Step::Release) => format!("{other:?}"),
        };
        assert_eq!(found, expected, "{row}");
    }

    #[test]
    fn steps_to_the_end() {
        let fresh = claim(true, "");
        let draining = claim(true, "Drained=Unknown@00");
        let drained = claim(true, "Drained=True@10 VolumesDetached=True@10");
        let case = |claim, pods, second| Case {
            node: node("True", true),
            claim,
            instance: None,
            pods,
            second,
        };
        let staying = claim(false, "");
        check("lifecycle/N4", &case(Some(&staying), "", 0), "DeleteClaim");
        let bare = Case {
            node: node("True", false),
            ..case(Some(&fresh), "web", 0)
        };
        check("lifecycle/N1", &bare, "Taint");
        check(
            "lifecycle/N1",
            &case(Some(&fresh), "", 0),
            "Drained=Unknown",
        );
        check(
            "lifecycle/N1",
            &case(Some(&draining), "", 1),
            "pause until 12:00:05",
        );
        check(
            "lifecycle/N1",
            &case(Some(&draining), "", 5),
            "Drained=True VolumesDetached=True",
        );
        check("lifecycle/N1", &case(Some(&drained), "", 10), "Terminate");
        check(
            "lifecycle/N23",
            &case(Some(&draining), "", 2),
            "pause until 12:00:05",
        );
        check(
            "with pods",
            &case(Some(&draining), "b a", 60),
            "drain b a of 2",
        );
        check(
            "a pod that came late",
            &case(Some(&drained), "a", 60),
            "drain a of 1",
        );
        check("lifecycle/N2", &case(None, "a", 0), "drain a of 1");
        check("lifecycle/N2", &case(None, "", 0), "Release");
        let lost = |instance| Case {
            node: node("False", false),
            instance,
            ..case(Some(&draining), "a", 0)
        };
        check("lifecycle/N15", &lost(None), "AskInstance");
        check("lifecycle/N15", &lost(Some(false)), "Release");
        check("not ready, but there", &lost(Some(true)), "Taint");
        check(
            "lifecycle/N16",
            &case(Some(&draining), "a", 0),
            "drain a of 1",
        );
        let mut foreign = case(Some(&draining), "", 0);
        foreign.node.metadata.finalizers = None;
        check("no finalizer", &foreign, "Wait");
    }

    #[test]
    fn a_node_that_goes_is_marked() {
        let node = tainted(&node("True", false));
        assert_eq!(
            node.spec.taints,
            [taints::disrupted()],
            "another effect is replaced"
        );
        let labels = node.metadata.labels.unwrap();
        assert_eq!(
            labels.get(EXCLUDE_BALANCERS).unwrap(),
            EXCLUDE_BALANCERS_VALUE,
            "lifecycle/N6"
        );
    }
}
