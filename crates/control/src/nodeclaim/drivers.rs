//! Drivers of dynamic resources that a claim counts on, and that keep its node from counting as ready for
//! pods until they have published its devices (section 9.8 of scheduling.md).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use karpenter_api::{
    labels::annotations::REQUESTED_DRA_DRIVERS,
    nodeclaim::NodeClaim,
    objects::{Node, ResourceSlice},
};

use super::initialization::Obstacle;
use crate::{
    ctx::Ctx,
    mirror::{Change, Key},
    queue::Queue,
};

/// What drivers have published, for a claim that counts on some; nothing where they are ignored.
pub(crate) fn published_for(ctx: &Ctx, claim: &NodeClaim) -> Option<Vec<Arc<ResourceSlice>>> {
    let annotations = claim.metadata.annotations.as_ref()?;
    let counts =
        !ctx.options.ignore_dra_requests && annotations.contains_key(REQUESTED_DRA_DRIVERS);
    counts.then(|| ctx.mirror.all::<ResourceSlice>())
}

/// Queues the claim of a node when a driver publishes its devices.
pub(crate) fn subscribe(ctx: &Ctx, queue: Queue<String>) {
    let mirror = Arc::downgrade(&ctx.mirror);
    ctx.mirror
        .subscribe::<ResourceSlice>(move |change: &Change<Arc<ResourceSlice>>| {
            let (Some(mirror), Some(slice)) = (mirror.upgrade(), change.last()) else {
                return;
            };
            let Some(name) = slice.spec.node_name.as_deref().or_else(|| owner_of(slice)) else {
                return;
            };
            let node = mirror.get::<Node>(&Key::cluster(name));
            let id = node.and_then(|node| node.spec.provider_id.clone());
            for claim in mirror.claims_with_provider_id(id.as_deref().unwrap_or_default()) {
                queue.add(claim.metadata.name.clone().unwrap_or_default());
            }
        });
}

/// A driver that was counted on, and that has not published a complete pool of the node's own yet. A claim
/// without the annotation counts on none.
pub(crate) fn obstacle(
    claim: &NodeClaim,
    node: &Node,
    slices: &[Arc<ResourceSlice>],
) -> Option<Obstacle> {
    let annotations = claim.metadata.annotations.as_ref()?;
    let drivers = annotations.get(REQUESTED_DRA_DRIVERS)?;
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let published = drivers_of(name, slices);
    let missing = drivers
        .split(',')
        .find(|driver| !driver.is_empty() && !published.contains(driver))?;
    Some(Obstacle {
        reason: "DRADriverPoolsNotPublished",
        message: format!("DRA driver \"{missing}\" has not published a complete resource pool"),
    })
}

/// Slices of one pool: their generation, how many there should be, and how many there are.
struct Found {
    generation: i64,
    declared: i64,
    seen: i64,
}

/// Drivers with a complete pool among the node's own slices: of the newest generation, as many as the
/// pool is said to have.
fn drivers_of<'s>(node: &str, slices: &'s [Arc<ResourceSlice>]) -> BTreeSet<&'s str> {
    let is_own = |slice: &&Arc<ResourceSlice>| {
        slice.spec.node_name.as_deref() == Some(node) || owner_of(slice) == Some(node)
    };
    let mut pools: BTreeMap<(&str, &str), Found> = BTreeMap::new();
    for slice in slices.iter().filter(is_own) {
        let pool = &slice.spec.pool;
        let newer = || Found {
            generation: pool.generation,
            declared: pool.resource_slice_count,
            seen: 0,
        };
        let found = pools
            .entry((&slice.spec.driver, &pool.name))
            .or_insert_with(newer);
        if found.generation < pool.generation {
            *found = newer();
        }
        found.seen += i64::from(found.generation == pool.generation);
    }
    let complete = pools
        .into_iter()
        .filter(|(_, found)| found.declared > 0 && found.declared == found.seen);
    complete.map(|((driver, _), _)| driver).collect()
}

fn owner_of(slice: &ResourceSlice) -> Option<&str> {
    let mut owners = slice.metadata.owner_references.iter().flatten();
    owners
        .find(|owner| owner.kind == "Node")
        .map(|owner| owner.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A slice of node `n`: driver, generation, how many make the pool.
    fn slice(driver: &str, generation: i64, count: i64) -> Arc<ResourceSlice> {
        let object = json!({
            "metadata": {"name": format!("{driver}-{generation}")},
            "spec": {
                "driver": driver, "nodeName": "n",
                "pool": {"name": "n", "generation": generation, "resourceSliceCount": count},
            },
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn check(row: &str, drivers: Option<&str>, slices: &[Arc<ResourceSlice>], expected: &str) {
        let annotations = drivers.map(|drivers| json!({REQUESTED_DRA_DRIVERS: drivers}));
        let claim = serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {"name": "a", "annotations": annotations},
            "spec": {"nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": []},
        }))
        .unwrap();
        let node = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
        let found = obstacle(&claim, &node, slices);
        let found = found.map_or(String::new(), |found| {
            format!("{}: {}", found.reason, found.message)
        });
        assert_eq!(found, expected, "{row}");
    }

    #[test]
    fn drivers_that_a_node_waits_for() {
        const A: &str = "DRADriverPoolsNotPublished: DRA driver \"a\" has not published a complete resource pool";
        const B: &str = "DRADriverPoolsNotPublished: DRA driver \"b\" has not published a complete resource pool";
        check("lifecycle/I8", Some("a"), &[], A);
        check("lifecycle/I9", Some("a"), &[slice("a", 1, 2)], A);
        let old_and_new = [slice("a", 1, 2), slice("a", 1, 2), slice("a", 2, 2)];
        check("lifecycle/I10", Some("a"), &old_and_new, A);
        check("lifecycle/I11", Some("a,b"), &[slice("a", 1, 1)], B);
        check("lifecycle/I12", None, &[], "");
        check("an empty annotation", Some(""), &[], "");
        let both = [slice("a", 1, 1), slice("b", 3, 1)];
        check("two drivers, both complete", Some("a,b"), &both, "");
        let mut elsewhere = (*slice("a", 1, 1)).clone();
        elsewhere.spec.node_name = Some("m".into());
        check("another node's", Some("a"), &[Arc::new(elsewhere)], A);
    }
}
