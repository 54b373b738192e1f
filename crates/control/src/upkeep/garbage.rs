//! Claims whose instance is gone.
//!
//! [`is_abandoned`] is pure. The provider's list is taken as one picture; a claim that is not in it goes, unless its
//! node says that it is ready: then the kubelet is alive and the list lags behind.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use karpenter_api::{
    conditions::{self, REGISTERED},
    nodeclaim::NodeClaim,
};
use tracing::info;

use super::listed;
use crate::{
    Task,
    ctx::Ctx,
    effect,
    nodeclaim::draft::Conditioned as _,
    queue::{self, Failure, Next, Policy, Queue},
};

/// The time between two looks.
const PERIOD: Duration = Duration::from_mins(2);

/// What is known of a claim when the list is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts<'a> {
    /// Whether it is meant for our provider.
    pub(crate) managed: bool,
    /// Whether its node registered. Before that, liveness is in charge of it.
    pub(crate) registered: bool,
    /// Whether it is being deleted already.
    pub(crate) deleting: bool,
    /// The instance it stands for.
    pub(crate) provider_id: Option<&'a str>,
    /// Whether it has exactly one node, and that one is ready.
    pub(crate) node_ready: bool,
}

/// Whether the claim's instance is gone for good. `instances` are those that exist and are not
/// terminating.
pub(crate) fn is_abandoned(facts: &Facts<'_>, instances: &BTreeSet<&str>) -> bool {
    facts.managed
        && facts.registered
        && !facts.deleting
        && !facts.node_ready
        && facts
            .provider_id
            .is_some_and(|id| !id.is_empty() && !instances.contains(id))
}

/// The controller: one look after the other.
pub(crate) fn tasks(ctx: &Arc<Ctx>) -> Vec<Task> {
    let ctx = Arc::clone(ctx);
    vec![Box::pin(async move {
        listed(&ctx).await;
        let queue = Queue::new();
        queue.add(());
        queue::run(
            "nodeclaim.garbagecollection",
            Policy::DEFAULT,
            Arc::clone(&ctx.metrics),
            queue,
            |()| {
                let ctx = Arc::clone(&ctx);
                async move { look(&ctx).await }
            },
        )
        .await;
    })]
}

async fn look(ctx: &Ctx) -> Result<Next, Failure> {
    // Claims first: one that is launched while the provider answers must not look abandoned.
    let claims: Vec<Arc<NodeClaim>> = ctx
        .mirror
        .all::<NodeClaim>()
        .into_iter()
        .filter(|claim| is_abandoned(&facts(ctx, claim), &BTreeSet::new()))
        .collect();
    // Of a settled cluster the provider need not be asked.
    if claims.is_empty() {
        return Ok(Next::After(PERIOD));
    }
    let instances = ctx.cloud.list().await.map_err(Failure::new)?;
    let existing: BTreeSet<&str> = instances
        .iter()
        .filter(|instance| !instance.terminating)
        .map(|instance| instance.provider_id.as_str())
        .collect();
    let mut failure = None;
    for claim in claims {
        let facts = facts(ctx, &claim);
        if !is_abandoned(&facts, &existing) {
            continue;
        }
        match effect::delete_by_uid(ctx, &*claim).await {
            Ok(()) => {
                ctx.metrics.claim_disrupted(&claim, "garbage_collected");
                let nodeclaim = claim.metadata.name.as_deref();
                let provider_id = facts.provider_id;
                info!(
                    nodeclaim,
                    provider_id, "deleting a claim whose instance is gone"
                );
            }
            Err(error) if error.is_not_found() => {}
            // The others are looked at all the same.
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(Next::After(PERIOD)), |error| Err(error.into()))
}

fn facts<'a>(ctx: &Ctx, claim: &'a NodeClaim) -> Facts<'a> {
    let class = &claim.spec.node_class_ref;
    let provider_id = claim
        .status
        .as_ref()
        .and_then(|status| status.provider_id.as_deref());
    let nodes = ctx
        .mirror
        .nodes_with_provider_id(provider_id.unwrap_or_default());
    Facts {
        managed: ctx.cloud.manages(&class.group, &class.kind),
        registered: conditions::is_true(claim.conditions(), REGISTERED),
        deleting: claim.metadata.deletion_timestamp.is_some(),
        provider_id,
        node_ready: matches!(nodes.as_slice(), [node] if node.is_ready()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(row: &str, facts: &Facts<'_>, expected: bool) {
        let instances = BTreeSet::from(["kwok://there"]);
        assert_eq!(is_abandoned(facts, &instances), expected, "{row}");
    }

    #[test]
    fn claims_without_instance_go() {
        let gone = Facts {
            managed: true,
            registered: true,
            deleting: false,
            provider_id: Some("kwok://gone"),
            node_ready: false,
        };
        check("lifecycle/X5", &gone, true);
        check(
            "lifecycle/X6",
            &Facts {
                node_ready: true,
                ..gone
            },
            false,
        );
        check(
            "lifecycle/X7",
            &Facts {
                registered: false,
                ..gone
            },
            false,
        );
        check(
            "lifecycle/X8",
            &Facts {
                provider_id: Some("kwok://there"),
                ..gone
            },
            false,
        );
        check(
            "deleting",
            &Facts {
                deleting: true,
                ..gone
            },
            false,
        );
        check(
            "somebody else's",
            &Facts {
                managed: false,
                ..gone
            },
            false,
        );
        check(
            "never launched",
            &Facts {
                provider_id: None,
                ..gone
            },
            false,
        );
    }
}
