//! A node and its claim, who are told the same.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use karpenter_api::{NodeClaim, objects::Node};
use karpenter_plan::{
    NodeId, Snapshot,
    disrupt::{Target, candidate::Audience},
};
use kube::Resource as _;

use crate::{ctx::Ctx, events::Event};

/// A node and its claim, as far as they exist and are to be told.
pub(super) struct Pair {
    node: Option<Arc<Node>>,
    claim: Option<Arc<NodeClaim>>,
}

impl Pair {
    /// The objects that a command means.
    pub(super) fn of_target(ctx: &Ctx, target: &Target) -> Self {
        Self {
            node: ctx.mirror.named::<Node>(&target.node),
            claim: ctx.mirror.named::<NodeClaim>(&target.claim),
        }
    }

    /// The objects of a node of the snapshot.
    pub(super) fn of_node(ctx: &Ctx, snapshot: &Snapshot, id: NodeId, audience: Audience) -> Self {
        let (to_node, to_claim) = match audience {
            Audience::Nobody => (false, false),
            Audience::NodeClaim => (false, true),
            Audience::Both => (true, true),
        };
        let (node, claim) = (&snapshot.nodes[id].node, &snapshot.nodes[id].claim);
        let node = node.as_ref().filter(|_| to_node);
        let claim = claim.as_ref().filter(|_| to_claim);
        Self {
            node: node.and_then(|facts| ctx.mirror.named::<Node>(&facts.name)),
            claim: claim.and_then(|facts| ctx.mirror.named::<NodeClaim>(&facts.name)),
        }
    }

    /// Tells each of them.
    pub(super) fn tell(&self, ctx: &Ctx, event: impl Fn(ObjectReference) -> Event) {
        let node = self.node.as_ref().map(|node| node.object_ref(&()));
        let claim = self.claim.as_ref().map(|claim| claim.object_ref(&()));
        for about in [node, claim].into_iter().flatten() {
            ctx.events.publish(event(about));
        }
    }
}
