//! What NodePools may have, what they have, and what that costs: read at a scrape.

use std::collections::BTreeMap;

use karpenter_api::{
    NodeClaim, NodePool, ResourceList,
    labels::{CAPACITY_TYPE, INSTANCE_TYPE, NODEPOOL, ZONE},
};
use karpenter_plan::catalog::{CatalogFeed, InstanceType, Offering};

use super::{
    lifecycle::label,
    nodes::{figure, resource_type},
    page::{Labels, Page},
};
use crate::mirror::Mirror;

/// Writes the series of every pool.
pub(super) fn write(page: &mut Page, mirror: &Mirror) {
    let costs = costs(mirror);
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
            costs.get(name).copied().unwrap_or_default(),
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

/// The cost of each pool's claims, as far as type, zone and way of buying are known and offered.
fn costs(mirror: &Mirror) -> BTreeMap<String, f64> {
    let mut feeds: BTreeMap<String, Option<CatalogFeed>> = BTreeMap::new();
    let mut total = BTreeMap::new();
    for claim in mirror.all::<NodeClaim>() {
        let of = |key| label(&claim.metadata, key);
        let pool = of(NODEPOOL);
        let feed = feeds
            .entry(pool.to_owned())
            .or_insert_with(|| mirror.feed(pool));
        let price = feed.as_ref().and_then(|feed| {
            let found = feed
                .types
                .iter()
                .find(|each| each.name == of(INSTANCE_TYPE));
            price(found?, of(ZONE), of(CAPACITY_TYPE))
        });
        *total.entry(pool.to_owned()).or_insert(0.0) += price.unwrap_or_default();
    }
    total
}

fn price(instance_type: &InstanceType, zone: &str, capacity_type: &str) -> Option<f64> {
    let is = |offering: &Offering, key: &str, value: &str| {
        let mut requirements = offering.requirements.iter();
        requirements.any(|requirement| {
            requirement.key == key && requirement.values.iter().flatten().any(|own| own == value)
        })
    };
    let mut offerings = instance_type.offerings.iter();
    let offering = offerings
        .find(|offering| is(offering, ZONE, zone) && is(offering, CAPACITY_TYPE, capacity_type))?;
    Some(offering.price.dollars())
}
