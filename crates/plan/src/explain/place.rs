//! What each node that exists makes of a pod: every reason against it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::check::{Terms, host_name, on_existing};
use crate::node::Node;
use crate::pod::{Owner, Pod};
use crate::resources::{ResourceId, Resources};
use crate::schedule::Plan;
use crate::snapshot::Snapshot;
use crate::taint::untolerated;
use crate::vocabulary::{NodeId, PodId};

use super::pool::amount;
use super::{Change, NodeExplanation};

pub(super) fn explanations(snapshot: &Snapshot, plan: &Plan, pod: PodId) -> Vec<NodeExplanation> {
    snapshot
        .nodes
        .iter()
        .map(|(id, node)| {
            let reasons: Vec<String> = Objection::all(snapshot, plan, pod, id)
                .iter()
                .map(|objection| objection.message(snapshot))
                .collect();
            let message = if reasons.is_empty() {
                "fits".into()
            } else {
                reasons.join("; ")
            };
            NodeExplanation {
                node: node.name.to_string(),
                message,
            }
        })
        .collect()
}

/// One reason against a node.
enum Objection {
    /// Nothing about the pod would help.
    Final(String),
    /// A resource of which there is too little.
    Resource {
        id: ResourceId,
        free: i64,
        asked: i64,
    },
}

impl Objection {
    fn message(&self, snapshot: &Snapshot) -> String {
        match self {
            Self::Final(text) => text.clone(),
            Self::Resource { id, free, asked } => format!(
                "{}: {} free, {} asked",
                snapshot.vocabulary.resource_name(*id),
                amount(snapshot, *id, *free),
                amount(snapshot, *id, *asked),
            ),
        }
    }

    fn all(snapshot: &Snapshot, plan: &Plan, pod: PodId, id: NodeId) -> Vec<Self> {
        let (node, lowered) = (&*snapshot.nodes[id], &*snapshot.pods[pod]);
        let mut objections = Vec::new();
        if node.marked {
            objections.push(Self::Final("is going away".into()));
        }
        for taint in untolerated(&lowered.shape.tolerations, &node.taints) {
            let taint = format!("{}={}:{}", taint.key, taint.value, taint.effect);
            objections.push(Self::Final(format!("taint {taint} is not tolerated")));
        }
        objections.extend(label_objection(snapshot, lowered, node).map(Self::Final));
        let others = || others(snapshot, plan, pod, id);
        for port in &lowered.shape.ports {
            let is_taken =
                others().any(|other| other.shape.ports.iter().any(|taken| port.conflicts(taken)));
            if is_taken {
                let text = format!("host port {}/{} is taken", port.port, port.protocol);
                objections.push(Self::Final(text));
            }
        }
        let free = free(snapshot, id, others());
        let mut short: Vec<(ResourceId, i64)> = lowered
            .requests
            .iter()
            .filter(|&(id, asked)| asked > free.get(id).max(0))
            .collect();
        short.sort_by_key(|(id, _)| snapshot.vocabulary.resource_name(*id));
        objections.extend(short.into_iter().map(|(id, asked)| Self::Resource {
            id,
            free: free.get(id).max(0),
            asked,
        }));
        // An over-committed node takes nothing, not even what asks for none of what it lacks.
        if free
            .iter()
            .any(|(id, left)| left < 0 && lowered.requests.get(id) <= 0)
        {
            objections.push(Self::Final("already has more than it can hold".into()));
        }
        objections
    }
}

/// Pods on the node, expected there, or put there by the plan, without the one in question.
fn others<'a>(
    snapshot: &'a Snapshot,
    plan: &'a Plan,
    pod: PodId,
    id: NodeId,
) -> impl Iterator<Item = &'a Pod> {
    let place = &snapshot.places[id];
    let arrivals = plan
        .bindings
        .iter()
        .filter(move |(_, node)| *node == id)
        .map(|(pod, _)| pod);
    place
        .pods
        .iter()
        .chain(&place.prebound)
        .chain(arrivals)
        .filter(move |&&other| other != pod)
        .map(|&other| &*snapshot.pods[other])
}

/// What is left for the pod beside the others and the DaemonSets that are still to come.
fn free<'a>(snapshot: &Snapshot, id: NodeId, others: impl Iterator<Item = &'a Pod>) -> Resources {
    let mut free = snapshot.places[id].allocatable.clone();
    let mut of_daemons = Resources::new();
    for other in others {
        free.subtract_present(&other.requests);
        if other.owner == Owner::DaemonSet {
            of_daemons.add(&other.requests);
        }
    }
    free.subtract_present(&on_existing(snapshot, &snapshot.nodes[id], &of_daemons));
    free
}

/// The labels that the pod's first term asks for and the node does not have, when no term is met.
fn label_objection(snapshot: &Snapshot, pod: &Pod, node: &Node) -> Option<String> {
    let vocabulary = &*snapshot.vocabulary;
    let terms = || {
        pod.shape
            .alternatives
            .iter()
            .map(|terms| Terms::of(terms, vocabulary))
    };
    if terms().any(|terms| terms.are_met_by(&node.labels, host_name(node))) {
        return None;
    }
    let mut unmet: Vec<String> = pod
        .shape
        .alternatives
        .first()?
        .iter()
        .filter_map(|requirement| {
            let name = vocabulary.key_name(requirement.key());
            let set = terms().next()?.get(name)?.clone();
            let value = node.labels.get(name).map(|value| &**value);
            let is_met = set.is_met_by(value);
            let has = value.map_or("no such label".into(), |value| format!("\"{value}\""));
            (!is_met).then(|| format!("requires {}, has {has}", requirement.render(vocabulary)))
        })
        .collect();
    // Ids follow the order of events, names do not.
    unmet.sort();
    Some(unmet.join("; "))
}

/// The smallest reduction of one request with which the pod would fit a node.
pub(super) fn changes(snapshot: &Snapshot, plan: &Plan, pod: PodId) -> Vec<Change> {
    let mut best: Vec<(ResourceId, i64, NodeId)> = Vec::new();
    for id in snapshot.nodes.ids() {
        let objections = Objection::all(snapshot, plan, pod, id);
        let [
            Objection::Resource {
                id: resource, free, ..
            },
        ] = objections[..]
        else {
            continue;
        };
        match best.iter_mut().find(|(found, ..)| *found == resource) {
            Some(found) if found.1 < free => *found = (resource, free, id),
            Some(_) => {}
            None if free > 0 => best.push((resource, free, id)),
            None => {}
        }
    }
    best.into_iter()
        .map(|(resource, free, node)| Change {
            change: format!(
                "requests.{} <= {}",
                snapshot.vocabulary.resource_name(resource),
                amount(snapshot, resource, free)
            ),
            result: format!("fits node {}", snapshot.nodes[node].name),
        })
        .collect()
}
