//! What a claim that is being deleted needs next.
//!
//! Pure. The node goes first, so that its pods are drained; the instance when no node is left; the
//! finalizer last, when the provider says that there is no instance. A node that never registered is
//! left alone: its kubelet may still be starting, and whoever manages the cloud removes it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{
    conditions::REGISTERED,
    labels::{TERMINATION_FINALIZER, annotations},
    nodeclaim::NodeClaim,
    objects::Node,
};
use karpenter_cloud::Launched;

use super::draft::Draft;

/// What is known around a claim that goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The nodes with its provider id.
    pub(crate) nodes: Vec<Arc<Node>>,
    /// A machine that was made for it, of which it was not told.
    pub(crate) untold: Option<Box<Launched>>,
}

/// What a claim that goes needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing, until something changes.
    Wait,
    /// The instant at which its node goes by force.
    SetDeadline(Timestamp),
    /// These nodes to go, too.
    DeleteNodes(Vec<Arc<Node>>),
    /// Its machine to go; the provider id.
    Terminate(String),
    /// Nothing more: its finalizer goes.
    Release,
}

/// Names the next step of a managed claim that is being deleted.
pub(crate) fn next_step(claim: &NodeClaim, facts: &Facts, now: Timestamp) -> Step {
    let finalizers = claim.metadata.finalizers.as_deref().unwrap_or_default();
    let Some(deletion) = &claim.metadata.deletion_timestamp else {
        return Step::Wait;
    };
    if !finalizers
        .iter()
        .any(|finalizer| finalizer == TERMINATION_FINALIZER)
    {
        return Step::Wait;
    }
    let told = claim.metadata.annotations.as_ref();
    let deadline_told =
        told.is_some_and(|all| all.contains_key(annotations::TERMINATION_TIMESTAMP));
    if let (Some(grace), false) = (claim.spec.termination_grace_period, deadline_told)
        && let Ok(deadline) = deletion
            .0
            .checked_add(SignedDuration::from_nanos(grace.nanos()))
    {
        return Step::SetDeadline(deadline);
    }
    if Draft::new(claim, now).is_true(REGISTERED) && !facts.nodes.is_empty() {
        let staying: Vec<Arc<Node>> = facts
            .nodes
            .iter()
            .filter(|node| node.metadata.deletion_timestamp.is_none())
            .cloned()
            .collect();
        return if staying.is_empty() {
            Step::Wait
        } else {
            Step::DeleteNodes(staying)
        };
    }
    let stored = claim
        .status
        .as_ref()
        .and_then(|status| status.provider_id.clone());
    let known = stored.filter(|id| !id.is_empty());
    match known.or_else(|| {
        facts
            .untold
            .as_ref()
            .map(|launched| launched.provider_id.clone())
    }) {
        Some(provider_id) => Step::Terminate(provider_id),
        None => Step::Release,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claim(extra: &Value) -> NodeClaim {
        let mut manifest = json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {
                "name": "a", "finalizers": ["karpenter.sh/termination"],
                "deletionTimestamp": "2026-01-01T12:00:00Z",
            },
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
            },
        });
        for (path, value) in extra.as_object().unwrap() {
            *place(&mut manifest, path) = value.clone();
        }
        serde_json::from_value(manifest).unwrap()
    }

    /// The member at `a/b/c`, made if it is not there.
    fn place<'a>(root: &'a mut Value, path: &str) -> &'a mut Value {
        path.split('/').fold(root, |value, name| &mut value[name])
    }

    fn node(name: &str, deleting: bool) -> Arc<Node> {
        let deletion = deleting.then_some("2026-01-01T12:00:00Z");
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "deletionTimestamp": deletion},
            }))
            .unwrap(),
        )
    }

    fn check(row: &str, extra: &Value, nodes: &[Arc<Node>], expected: &str) {
        let facts = Facts {
            nodes: nodes.to_vec(),
            untold: None,
        };
        let now = "2026-01-01T12:00:30Z".parse().unwrap();
        let found = match next_step(&claim(extra), &facts, now) {
            Step::Wait => "wait".to_owned(),
            Step::SetDeadline(deadline) => format!("deadline {deadline}"),
            Step::DeleteNodes(nodes) => {
                let names = nodes.iter().filter_map(|node| node.metadata.name.clone());
                format!("delete {}", names.collect::<Vec<_>>().join(" "))
            }
            Step::Terminate(provider_id) => format!("terminate {provider_id}"),
            Step::Release => "release".to_owned(),
        };
        assert_eq!(found, expected, "{row}");
    }

    #[test]
    fn steps_to_the_end() {
        let registered = json!({
            "status/providerID": "kwok://a",
            "status/conditions": [{
                "type": "Registered", "status": "True", "lastTransitionTime": "2026-01-01T11:00:00Z",
            }],
        });
        let launched = json!({"status/providerID": "kwok://a"});
        check("lifecycle/D1", &registered, &[node("n", false)], "delete n");
        check("lifecycle/D1", &registered, &[node("n", true)], "wait");
        check("lifecycle/D1", &registered, &[], "terminate kwok://a");
        check(
            "lifecycle/D2",
            &registered,
            &[node("m", false), node("n", false)],
            "delete m n",
        );
        check(
            "lifecycle/D2",
            &registered,
            &[node("m", true), node("n", false)],
            "delete n",
        );
        check("lifecycle/D5", &json!({}), &[], "release");
        check(
            "lifecycle/D6",
            &launched,
            &[node("n", false)],
            "terminate kwok://a",
        );
        check(
            "no finalizer",
            &json!({"metadata/finalizers": []}),
            &[],
            "wait",
        );
        let grace = json!({"spec/terminationGracePeriod": "5m"});
        check("a deadline", &grace, &[], "deadline 2026-01-01T12:05:00Z");
        let told = json!({
            "spec/terminationGracePeriod": "5m",
            "metadata/annotations": {"karpenter.sh/nodeclaim-termination-timestamp": "x"},
        });
        check("a deadline once set", &told, &[], "release");
    }

    #[test]
    fn a_machine_the_claim_was_not_told_of_goes_too() {
        let launched = Launched {
            provider_id: "kwok://b".into(),
            ..Launched::default()
        };
        let facts = Facts {
            nodes: Vec::new(),
            untold: Some(Box::new(launched)),
        };
        let now = "2026-01-01T12:00:30Z".parse().unwrap();
        let step = next_step(&claim(&json!({})), &facts, now);
        assert_eq!(step, Step::Terminate("kwok://b".into()));
    }
}
