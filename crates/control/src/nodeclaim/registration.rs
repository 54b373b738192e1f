//! What a node gets from its claim, and when it counts as registered.
//!
//! Pure. [`synced`] is a node as the claim wants it; [`conclude`] says what the provider's hooks leave
//! to be done. A node that waits for hooks is synced already; only the unregistered taint and the
//! missing label mark it as unfinished.
//!
//! Nothing is synced a second time after registration: what is then removed stays removed.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use karpenter_api::{
    Taint,
    labels::{self, taints},
    nodeclaim::NodeClaim,
    objects::Node,
};
use karpenter_cloud::HookOutcome;
use kube::Resource as _;

/// What the provider's hooks leave to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conclusion {
    /// Some hooks are not done; the names are in the provider's order.
    Pending {
        /// Their names, joined.
        message: String,
        /// The earliest instant one of them asked to be asked again.
        again_after: Option<Duration>,
        /// What failed, if something did.
        errors: Vec<String>,
    },
    /// All hooks are done.
    Done {
        /// Labels that hooks learned, for the claim and its node.
        labels: BTreeMap<String, String>,
    },
}

/// Sums up what the hooks said, each with its name.
pub(crate) fn conclude(answers: Vec<(&str, Result<HookOutcome, String>)>) -> Conclusion {
    let mut learned = BTreeMap::new();
    let mut pending = Vec::new();
    let mut again: Option<Duration> = None;
    let mut errors = Vec::new();
    for (name, answer) in answers {
        match answer {
            Ok(HookOutcome::Done { labels }) => learned.extend(labels),
            Ok(HookOutcome::Pending { again_after }) => {
                pending.push(name);
                again = again.into_iter().chain(again_after).min();
            }
            Err(error) => {
                pending.push(name);
                errors.push(format!("{name}: {error}"));
            }
        }
    }
    if pending.is_empty() {
        Conclusion::Done { labels: learned }
    } else {
        Conclusion::Pending {
            message: pending.join(", "),
            again_after: again,
            errors,
        }
    }
}

/// True when the node has neither the taint that keeps pods off it until it is registered, nor the
/// label that says it was registered before: pods may have been placed on it too early.
pub(crate) fn lacks_taint(node: &Node) -> bool {
    !node.spec.taints.iter().any(is_unregistered) && label(node, labels::REGISTERED).is_none()
}

/// The node with what its claim gives it.
pub(crate) fn synced(node: &Node, claim: &NodeClaim) -> Node {
    let mut node = node.clone();
    let finalizers = node.metadata.finalizers.get_or_insert_default();
    if !finalizers
        .iter()
        .any(|finalizer| finalizer == labels::TERMINATION_FINALIZER)
    {
        finalizers.push(labels::TERMINATION_FINALIZER.to_owned());
    }
    add_owner(&mut node, claim);
    if label(&node, labels::DO_NOT_SYNC_TAINTS) != Some("true") {
        let wanted = claim
            .spec
            .taints
            .iter()
            .chain(&claim.spec.startup_taints)
            .flatten();
        for taint in wanted {
            if !node
                .spec
                .taints
                .iter()
                .any(|present| present.matches(taint))
            {
                node.spec.taints.push(taint.clone());
            }
        }
    }
    let annotations = claim.metadata.annotations.clone().unwrap_or_default();
    node.metadata
        .annotations
        .get_or_insert_default()
        .extend(annotations);
    let claim_labels = claim.metadata.labels.clone().unwrap_or_default();
    node.metadata
        .labels
        .get_or_insert_default()
        .extend(claim_labels);
    node
}

/// The synced node as it is once nothing holds registration back.
pub(crate) fn registered(mut node: Node) -> Node {
    node.spec.taints.retain(|taint| !is_unregistered(taint));
    node.metadata
        .labels
        .get_or_insert_default()
        .insert(labels::REGISTERED.to_owned(), "true".to_owned());
    node
}

fn add_owner(node: &mut Node, claim: &NodeClaim) {
    let owner = OwnerReference {
        api_version: NodeClaim::api_version(&()).into_owned(),
        kind: NodeClaim::kind(&()).into_owned(),
        name: claim.metadata.name.clone().unwrap_or_default(),
        uid: claim.metadata.uid.clone().unwrap_or_default(),
        block_owner_deletion: Some(true),
        controller: None,
    };
    let owners = node.metadata.owner_references.get_or_insert_default();
    let present = owners.iter().any(|present| {
        (&present.api_version, &present.kind, &present.uid)
            == (&owner.api_version, &owner.kind, &owner.uid)
    });
    if !present {
        owners.push(owner);
    }
}

fn is_unregistered(taint: &Taint) -> bool {
    taint.key == taints::UNREGISTERED && taint.effect == taints::NO_EXECUTE
}

fn label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.metadata.labels.as_ref()?.get(key).map(String::as_str)
}
