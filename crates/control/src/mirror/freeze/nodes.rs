//! NodeClaims and Nodes, paired by provider id and lowered.

use std::sync::Arc;

use jiff::Timestamp;
use karpenter_api::{NodeClaim, labels, objects::Node};
use karpenter_plan::{
    self as plan, Lowering, NodeId, NodeInput, Problem, Roster, lower::is_premature, node,
    pod::PodKey,
};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{same, shelf::Shelf};
use crate::mirror::{
    Key,
    intent::Intent,
    objects::Objects,
    state::{Aside, State, is_aside, is_managed},
};

/// What a node is lowered from, in a comparable form.
struct NodeSource {
    node: Option<Arc<Node>>,
    claim: Option<Arc<NodeClaim>>,
    marked: bool,
    nominated_until: Option<Timestamp>,
    prebound: Vec<PodKey>,
}

impl NodeSource {
    fn is(&self, other: &Self) -> bool {
        same(self.node.as_ref(), other.node.as_ref())
            && same(self.claim.as_ref(), other.claim.as_ref())
            && self.marked == other.marked
            && self.nominated_until == other.nominated_until
            && self.prebound == other.prebound
    }

    fn lower(&self, lowering: &mut Lowering) -> Result<node::Node, Problem> {
        lowering.node(&NodeInput {
            node: self.node.as_deref(),
            claim: self.claim.as_deref(),
            marked: self.marked,
            nominated_until: self.nominated_until,
            prebound: self.prebound.clone(),
        })
    }
}

/// Claims, with their nodes, and nodes without a claim, as of the last snapshot.
#[derive(Default)]
pub(super) struct JoinedNodes {
    of_claims: Shelf<NodeSource, node::Node>,
    alone: Shelf<NodeSource, node::Node>,
    /// Nodes that must not be looked at.
    hidden: Vec<Problem>,
    roster: Roster<NodeId, plan::Node>,
    /// How often each of what is joined had changed, unless something cannot be read.
    seen: Option<[u64; 3]>,
}

impl JoinedNodes {
    pub(super) fn update(
        &mut self,
        state: &mut State,
        problems: &mut Vec<Problem>,
    ) -> Roster<NodeId, plan::Node> {
        let changes = [
            state.claims.changes(),
            state.nodes.changes(),
            state.intent.changes(),
        ];
        let seen = state.aside.is_empty().then_some(changes);
        if seen.is_none() || self.seen != seen {
            self.join(state);
        }
        self.seen = seen;
        problems.extend(self.of_claims.problems().cloned());
        problems.extend(self.alone.problems().cloned());
        problems.extend(self.hidden.iter().cloned());
        self.roster.clone()
    }

    fn join(&mut self, state: &mut State) {
        let is_known = |id: &str| {
            let mut claims = state.claims_by_provider_id.keys(id);
            let mut nodes = state.nodes_by_provider_id.keys(id);
            claims.next().is_some() || nodes.next().is_some()
        };
        state.intent.retain_machines(is_known);
        let picture = Picture {
            claims: &state.claims,
            nodes: &state.nodes,
            intent: &state.intent,
            aside: &state.aside,
            node_classes: &state.node_classes,
        };
        let lowering = &mut state.lowering;
        let (claims, paired) = picture.claims();
        let (nodes, hidden) = picture.nodes_alone(&paired);
        let before = (self.of_claims.values(), self.alone.values());
        self.of_claims
            .update(claims, NodeSource::is, |source| source.lower(lowering));
        self.alone
            .update(nodes, NodeSource::is, |source| source.lower(lowering));
        self.hidden = hidden;
        let (of_claims, alone) = (self.of_claims.values(), self.alone.values());
        if !Arc::ptr_eq(&before.0, &of_claims) || !Arc::ptr_eq(&before.1, &alone) {
            self.roster = of_claims.iter().chain(&*alone).map(Arc::clone).collect();
        }
    }
}

/// What is joined.
struct Picture<'s> {
    claims: &'s Objects<Arc<NodeClaim>>,
    nodes: &'s Objects<Arc<Node>>,
    intent: &'s Intent,
    aside: &'s Aside,
    node_classes: &'s [(String, String)],
}

/// What nodes are lowered from, under the keys of what they are named after.
type Sources<'s> = Vec<(&'s Key, NodeSource)>;

impl<'s> Picture<'s> {
    /// The claims of ours with their nodes, in key order, and where those nodes are in memory.
    fn claims(&self) -> (Sources<'s>, FxHashSet<*const Node>) {
        let mut by_provider_id: FxHashMap<&str, &Arc<Node>> = FxHashMap::default();
        let have_claims = self.claims.values().next().is_some();
        for node in self.nodes.values().filter(|_| have_claims) {
            if let Some(id) = provider_id_of(node) {
                by_provider_id.entry(id).or_insert(node);
            }
        }
        let mut sources = Vec::new();
        let mut paired = FxHashSet::default();
        for (key, claim) in self.claims.iter() {
            let reference = &claim.spec.node_class_ref;
            if !is_managed(self.node_classes, &reference.group, &reference.kind)
                || is_aside(self.aside, "NodeClaim", key)
            {
                continue;
            }
            let status = claim.status.as_ref();
            let provider_id = status
                .and_then(|status| status.provider_id.as_deref())
                .filter(|id| !id.is_empty());
            let found = provider_id.and_then(|id| by_provider_id.get(id).copied());
            paired.extend(found.map(Arc::as_ptr));
            let prebound = self.intent.expected(&key.name);
            let nominated_until = if prebound.is_empty() {
                provider_id.and_then(|id| self.intent.nominated_until(id))
            } else {
                // Pods will come, however long the machine takes.
                Some(Timestamp::MAX)
            };
            let uid = claim.metadata.uid.as_deref().unwrap_or_default();
            let source = NodeSource {
                node: found.map(Arc::clone),
                claim: Some(Arc::clone(claim)),
                marked: self.intent.is_marked(uid),
                nominated_until,
                prebound,
            };
            sources.push((key, source));
        }
        (sources, paired)
    }

    /// The other nodes, in key order; and those that must not be looked at, because their claim exists and
    /// cannot be read, so that nothing is known about what they are for.
    fn nodes_alone(&self, paired: &FxHashSet<*const Node>) -> (Sources<'s>, Vec<Problem>) {
        let mut sources = Vec::new();
        let mut hidden = Vec::new();
        for (key, node) in self.nodes.iter() {
            if paired.contains(&Arc::as_ptr(node)) || is_premature(node) {
                continue;
            }
            if let Some(claim) = self.undecoded_owner(node) {
                hidden.push(Problem {
                    kind: "Node",
                    namespace: None,
                    name: key.name.clone(),
                    pool: pool_label(node).map(Arc::from),
                    message: format!("its NodeClaim {claim} cannot be read"),
                });
                continue;
            }
            let provider_id = provider_id_of(node);
            let source = NodeSource {
                node: Some(Arc::clone(node)),
                claim: None,
                marked: false,
                nominated_until: provider_id.and_then(|id| self.intent.nominated_until(id)),
                prebound: Vec::new(),
            };
            sources.push((key, source));
        }
        (sources, hidden)
    }

    /// The claim that owns a node, if that claim could not be decoded.
    fn undecoded_owner<'n>(&self, node: &'n Node) -> Option<&'n str> {
        node.metadata
            .owner_references
            .iter()
            .flatten()
            .filter(|owner| owner.kind == "NodeClaim")
            .map(|owner| owner.name.as_str())
            .find(|name| is_aside(self.aside, "NodeClaim", &Key::cluster(*name)))
    }
}

fn provider_id_of(node: &Node) -> Option<&str> {
    node.spec.provider_id.as_deref().filter(|id| !id.is_empty())
}

fn pool_label(node: &Node) -> Option<&str> {
    node.metadata
        .labels
        .as_ref()?
        .get(labels::NODEPOOL)
        .map(String::as_str)
}
