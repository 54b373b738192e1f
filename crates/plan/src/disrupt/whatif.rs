//! What would become of the pods if some nodes were gone (section 6 of disruption.md).
//!
//! Every question is one scheduling round over a [`View`] of the same snapshot, so many can be asked at
//! the same time. Nothing here knows what anything costs.

use alloc::{format, string::String, vec::Vec};
use core::fmt::Write as _;

use super::{DisruptOptions, candidate::Candidate};
use crate::{
    node::ClaimFacts,
    schedule::{NewClaim, Options, Refusal, ReservedPolicy, is_fully_blocked, simulate},
    snapshot::{NodeMask, Snapshot, View},
    vocabulary::{NodeId, PodId},
};

/// So many pods are named when not all of them have a place.
const NAMED: usize = 5;

/// Why a pod would lose its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There would be no other.
    Refused(Refusal),
    /// The other would be on a node that was never ready for pods, and may never be.
    Uninitialized(NodeId),
}

/// What would happen.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Nodes that would have to be launched.
    pub claims: Vec<NewClaim>,
    /// Places on nodes that stay.
    pub bindings: Vec<(PodId, NodeId)>,
    /// Pods that have a place now and would have none, in order of name.
    pub stuck: Vec<(PodId, Obstacle)>,
}

/// The world in which all what-ifs of a round are asked.
#[derive(Clone, Debug)]
pub struct WhatIfs<'a> {
    snapshot: &'a Snapshot,
    options: Options,
    /// Nodes of commands that were proposed before, and the pods that leave them.
    leaving: NodeMask,
    displaced: Vec<PodId>,
    closed: NodeMask,
}

impl<'a> WhatIfs<'a> {
    /// Nodes of commands that were proposed before are gone already. With `gated`, nodes that have not been
    /// quiet for long enough take no pods that run elsewhere.
    pub fn new(snapshot: &'a Snapshot, options: &DisruptOptions<'_>, gated: bool) -> Self {
        let DisruptOptions {
            commands,
            scheduling,
            ..
        } = *options;
        let mut leaving = NodeMask::new();
        let mut displaced = Vec::new();
        for target in commands.iter().flat_map(|command| &command.nodes) {
            // What is marked is looked after by every round.
            let id = target.id(snapshot).filter(|id| !snapshot.nodes[*id].marked);
            if let Some(id) = id {
                leaving.insert(id);
                displaced.extend(movable(snapshot, &snapshot.places[id].pods));
            }
        }
        let reserved = match scheduling.reserved {
            ReservedPolicy::Strict => ReservedPolicy::Fallback,
            ReservedPolicy::Fallback | ReservedPolicy::Ignored => scheduling.reserved,
        };
        let closed = if gated && !options.ignore_consolidate_after {
            let ids = snapshot.nodes.ids();
            ids.filter(|id| is_unsettled(snapshot, *id)).collect()
        } else {
            NodeMask::new()
        };
        Self {
            snapshot,
            options: Options {
                reserved,
                ..scheduling
            },
            leaving,
            displaced,
            closed,
        }
    }

    /// The snapshot that is asked about.
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// Schedules the candidates' pods, everything that waits, and what leaves other nodes, as if the
    /// candidates were gone.
    pub fn without(&self, candidates: &[&Candidate]) -> Outcome {
        let snapshot = self.snapshot;
        let mut gone = self.leaving.clone();
        let mut displaced = self.displaced.clone();
        for candidate in candidates {
            gone.insert(candidate.node);
            displaced.extend(movable(snapshot, &candidate.reschedulable));
        }
        let view = View {
            base: snapshot,
            gone,
            displaced: &displaced,
            closed: self.closed.clone(),
        };
        let (plan, report) = simulate(&view, &self.options);
        let unplaced = report
            .unplaced
            .into_iter()
            .map(|(pod, refusal)| (pod, Obstacle::Refused(refusal)));
        let on_unready = plan.bindings.iter().filter_map(|&(pod, node)| {
            let is_ready = snapshot.nodes[node].initialized;
            let comes_anyway = snapshot.bound[pod].is_some_and(|own| snapshot.nodes[own].marked);
            (!is_ready && !comes_anyway).then_some((pod, Obstacle::Uninitialized(node)))
        });
        // What waits has no place to lose.
        let mut stuck: Vec<(PodId, Obstacle)> = unplaced
            .chain(on_unready)
            .filter(|(pod, _)| !snapshot.pods[*pod].is_provisionable())
            .collect();
        stuck.sort_unstable_by_key(|(pod, _)| *pod);
        Outcome {
            claims: plan.claims,
            bindings: plan.bindings,
            stuck,
        }
    }
}

/// The pods among these that can be moved at present: the others stay where they are until the node's
/// end, so nobody looks for another place.
fn movable<'s>(snapshot: &'s Snapshot, pods: &'s [PodId]) -> impl Iterator<Item = PodId> + use<'s> {
    pods.iter().copied().filter(|&id| {
        let pod = &*snapshot.pods[id];
        pod.is_reschedulable()
            && pod.is_disruptable(snapshot.now)
            && !is_fully_blocked(snapshot, pod)
    })
}

/// The node's pool wants quiet before its nodes are disturbed, and that time has not passed. A replacement
/// that nobody has come to yet, because its command was given up, still waits for such pods.
fn is_unsettled(snapshot: &Snapshot, id: NodeId) -> bool {
    let replaces = |claim: &ClaimFacts| !claim.replaced.is_empty();
    let mut pods = snapshot.places[id].pods.iter();
    let is_waiting = snapshot.nodes[id].claim.as_ref().is_some_and(replaces)
        && !pods.any(|pod| snapshot.pods[*pod].is_reschedulable());
    let quiet = || {
        let pool = snapshot.places[id].pool?;
        let wanted = snapshot.pools[pool].consolidate_after?;
        let since = snapshot.nodes[id].claim.as_ref()?.quiet_since()?;
        Some(snapshot.now.duration_since(since) < wanted)
    };
    !is_waiting && quiet().unwrap_or(false)
}

/// Upstream's sentence about pods without a place.
pub fn stuck_message(snapshot: &Snapshot, stuck: &[(PodId, Obstacle)]) -> String {
    let mut text = String::from("not all pods would schedule, ");
    for (pod, obstacle) in stuck.iter().take(NAMED) {
        let name = snapshot.pods[*pod].display_name();
        let why = match obstacle {
            Obstacle::Refused(refusal) => refusal.message(snapshot, *pod),
            Obstacle::Uninitialized(node) => {
                let node = &snapshot.nodes[*node];
                let claim = node.claim.as_ref().map_or("", |claim| &claim.name);
                let object = node.node.as_ref().map_or("", |facts| &facts.name);
                format!("would schedule against uninitialized nodeclaim/{claim}, node/{object}")
            }
        };
        let _ = write!(text, "{name} => {why} ");
    }
    if stuck.len() >= NAMED {
        let _ = write!(text, " and {} other(s)", stuck.len() - NAMED);
    }
    text
}
