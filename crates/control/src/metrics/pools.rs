//! What NodePools may have, what they have, and what that costs: read at a scrape.

use karpenter_api::{NodePool, ResourceList};

use super::{
    cost::Costs,
    nodes::{figure, resource_type},
    page::{Labels, Page},
};
use crate::mirror::Mirror;

/// Writes the series of every pool.
pub(super) fn write(page: &mut Page, mirror: &Mirror, costs: &Costs) {
    for pool in mirror.all::<NodePool>() {
        let name = pool.metadata.name.as_deref().unwrap_or_default();
        amounts(
            page,
            "karpenter_nodepools_limit",
            "What a NodePool may have at the most.",
            name,
            pool.spec.limits.as_ref(),
        );
        let status = pool.status.as_ref();
        amounts(
            page,
            "karpenter_nodepools_usage",
            "What the nodes of a NodePool have.",
            name,
            status.and_then(|status| status.resources.as_ref()),
        );
        page.gauge(
            "karpenter_nodepools_cost_total",
            "What the nodes of a NodePool cost in dollars an hour.",
            &Labels::new([("nodepool", name)]),
            costs.of(name).dollars(),
        );
    }
}

fn amounts(page: &mut Page, family: &str, help: &str, pool: &str, list: Option<&ResourceList>) {
    for (resource, amount) in list.into_iter().flatten() {
        let labels = Labels::new([
            ("nodepool", pool),
            ("resource_type", &resource_type(resource)),
        ]);
        page.gauge(family, help, &labels, figure(resource, *amount));
    }
}
