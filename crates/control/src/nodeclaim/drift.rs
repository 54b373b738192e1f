//! Whether a claim is still what its pool and its provider ask for (section 8.1 of lifecycle.md).
//!
//! [`reason`] is pure and knows three of the four reasons; the last is the provider's to know. What is
//! compared are the claim's own labels, not those of its Node.

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{
    NodeClaim, NodePool, Requirement,
    conditions::{self, LAUNCHED},
    labels::{
        CAPACITY_TYPE, INSTANCE_TYPE,
        annotations::{NODEPOOL_HASH, NODEPOOL_HASH_VERSION},
    },
};
use karpenter_plan::{CatalogFeed, Offering, WellKnown};

use super::draft::Conditioned as _;

/// How old a claim is before its instance type is looked for among its pool's: lists may come late.
const TYPE_AGE: SignedDuration = SignedDuration::from_hours(1);
const RESERVED: &str = "reserved";
const ON_DEMAND: &str = "on-demand";

/// What is known of the pool's instance types.
pub(crate) struct Types<'a> {
    /// What the provider offers the pool; nothing is looked for where it has not answered.
    pub(crate) feed: Option<&'a CatalogFeed>,
    pub(crate) well_known: &'a WellKnown,
    /// The type was found not long ago.
    pub(crate) is_known: bool,
}

/// What came of a look at a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is no machine that could have drifted.
    NotLaunched,
    /// It has drifted, for this reason.
    Drifted(&'static str),
    /// The provider is to be asked; true when the instance type was looked for and found.
    AskProvider(bool),
}

/// The first reason that holds.
pub(crate) fn reason(
    claim: &NodeClaim,
    pool: &NodePool,
    types: &Types<'_>,
    now: Timestamp,
) -> Verdict {
    if !conditions::is_true(claim.conditions(), LAUNCHED) {
        return Verdict::NotLaunched;
    }
    if has_other_hash(claim, pool) {
        return Verdict::Drifted("NodePoolDrifted");
    }
    let requirements = &pool.spec.template.spec.requirements;
    let undefined = |_: &str| false;
    if !requirements
        .iter()
        .all(|own| admits(own, label(claim, &own.key), &undefined))
    {
        return Verdict::Drifted("RequirementsDrifted");
    }
    let created = claim.metadata.creation_timestamp.as_ref();
    let is_old = created.is_some_and(|created| now.duration_since(created.0) > TYPE_AGE);
    let Some(feed) = types.feed.filter(|_| is_old && !types.is_known) else {
        return Verdict::AskProvider(false);
    };
    if is_offered(claim, feed, types.well_known) {
        Verdict::AskProvider(true)
    } else {
        Verdict::Drifted("InstanceTypeNotFound")
    }
}

fn label<'a>(claim: &'a NodeClaim, key: &str) -> Option<&'a str> {
    claim.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// Both carry a hash of the same version, and the hashes differ.
fn has_other_hash(claim: &NodeClaim, pool: &NodePool) -> bool {
    let stamp = |key: &str| {
        let of_claim = claim.metadata.annotations.as_ref()?.get(key)?;
        let of_pool = pool.metadata.annotations.as_ref()?.get(key)?;
        Some(of_claim == of_pool)
    };
    stamp(NODEPOOL_HASH_VERSION) == Some(true) && stamp(NODEPOOL_HASH) == Some(false)
}

/// A label satisfies a requirement. Without the label, it does if the requirement does not need one, or if
/// `undefined` lets its key pass.
fn admits(
    requirement: &Requirement,
    label: Option<&str>,
    undefined: &dyn Fn(&str) -> bool,
) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let Some(label) = label else {
        let excludes = matches!(requirement.operator.as_str(), "NotIn" | "DoesNotExist");
        return excludes || undefined(&requirement.key);
    };
    let is_listed = values.iter().any(|value| value == label);
    let compared = |holds: fn(i64, i64) -> bool| {
        let bound = values.first().and_then(|value| value.parse().ok());
        let own = label.parse().ok();
        own.zip(bound).is_some_and(|(own, bound)| holds(own, bound))
    };
    match requirement.operator.as_str() {
        "In" => is_listed,
        "NotIn" => !is_listed,
        "Exists" => true,
        "Gt" => compared(|own, bound| own > bound),
        "Gte" => compared(|own, bound| own >= bound),
        "Lt" => compared(|own, bound| own < bound),
        "Lte" => compared(|own, bound| own <= bound),
        _ => false,
    }
}

/// The claim's type is among those of its pool, in an offering that the claim may be of. Whether that could
/// be bought now does not matter.
fn is_offered(claim: &NodeClaim, feed: &CatalogFeed, well_known: &WellKnown) -> bool {
    let Some(name) = label(claim, INSTANCE_TYPE) else {
        return false;
    };
    let own = feed.types.iter().find(|own| own.name == name);
    own.is_some_and(|own| {
        let mut offerings = own.offerings.iter();
        offerings.any(|offering| may_be(claim, offering, well_known))
    })
}

fn may_be(claim: &NodeClaim, offering: &Offering, well_known: &WellKnown) -> bool {
    let is_reserved = label(claim, CAPACITY_TYPE) == Some(RESERVED);
    let undefined = |key: &str| {
        key == CAPACITY_TYPE
            || key.starts_with("topology.kubernetes.io/")
            || well_known.labels.iter().any(|known| known == key)
    };
    offering.requirements.iter().all(|requirement| {
        let names_reservation = Some(&requirement.key) == well_known.reservation_id.as_ref();
        if is_reserved && names_reservation {
            return true;
        }
        // A reservation that has ended leaves the machine running on demand.
        let own = label(claim, &requirement.key);
        let admits = |value| admits(requirement, value, &undefined);
        admits(own) || (is_reserved && requirement.key == CAPACITY_TYPE && admits(Some(ON_DEMAND)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use karpenter_api::hash::nodepool_hash;
    use karpenter_plan::InstanceType;
    use serde_json::{Value, json};

    const NOON: &str = "2026-01-01T12:00:00Z";

    fn claim(labels: &Value, annotations: &Value) -> NodeClaim {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {
                "name": "a", "labels": labels, "annotations": annotations, "creationTimestamp": NOON,
            },
            "spec": {"nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": []},
            "status": {"conditions": [
                {"type": "Launched", "status": "True", "lastTransitionTime": NOON},
            ]},
        }))
        .unwrap()
    }

    fn pool(requirements: &Value, annotations: &Value) -> NodePool {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
            "metadata": {"name": "p", "annotations": annotations},
            "spec": {"template": {"spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": requirements,
            }}},
        }))
        .unwrap()
    }

    fn entry(key: &str, value: &str) -> Requirement {
        Requirement {
            key: key.into(),
            operator: "In".into(),
            values: Some([value.to_owned()].into()),
            min_values: None,
        }
    }

    /// Type `small`, offered as each of these capacity types.
    fn feed(capacity_types: &[&str]) -> CatalogFeed {
        let offering = |capacity_type: &&str| {
            let mut requirements = vec![entry(CAPACITY_TYPE, capacity_type)];
            if *capacity_type == RESERVED {
                requirements.push(entry("reservation", "r-2"));
            }
            Offering {
                requirements,
                ..Offering::default()
            }
        };
        let small = InstanceType {
            name: "small".into(),
            offerings: capacity_types.iter().map(offering).collect(),
            ..InstanceType::default()
        };
        CatalogFeed {
            generation: 1,
            types: [small].into(),
        }
    }

    fn look(claim: &NodeClaim, pool: &NodePool, feed: &CatalogFeed, minutes: i64) -> Verdict {
        let well_known = WellKnown {
            reservation_id: Some("reservation".into()),
            ..WellKnown::default()
        };
        let types = Types {
            feed: Some(feed),
            well_known: &well_known,
            is_known: false,
        };
        let noon: Timestamp = NOON.parse().unwrap();
        reason(
            claim,
            pool,
            &types,
            noon + SignedDuration::from_mins(minutes),
        )
    }

    fn stamps(hash: &str, version: &str) -> Value {
        json!({NODEPOOL_HASH: hash, NODEPOOL_HASH_VERSION: version})
    }

    #[test]
    fn hashes_of_one_version_are_compared() {
        let check = |row: &str, of_claim: &Value, of_pool: &Value, drifts: bool| {
            let found = look(
                &claim(&json!({}), of_claim),
                &pool(&json!([]), of_pool),
                &feed(&[]),
                0,
            );
            let expected = if drifts {
                Verdict::Drifted("NodePoolDrifted")
            } else {
                Verdict::AskProvider(false)
            };
            assert_eq!(found, expected, "{row}");
        };
        check("lifecycle/Y2", &stamps("1", "v3"), &stamps("2", "v3"), true);
        check(
            "lifecycle/Y11",
            &stamps("2", "v3"),
            &stamps("2", "v3"),
            false,
        );
        check(
            "lifecycle/Y9",
            &stamps("1", "v2"),
            &stamps("2", "v3"),
            false,
        );
        check("lifecycle/Y9", &json!({}), &stamps("2", "v3"), false);
        check("lifecycle/Y9", &stamps("1", "v3"), &json!({}), false);
        let without = |key| {
            let mut all = stamps("1", "v3");
            all.as_object_mut().unwrap().remove(key);
            all
        };
        for key in [NODEPOOL_HASH, NODEPOOL_HASH_VERSION] {
            check("lifecycle/Y9", &without(key), &stamps("2", "v3"), false);
            check("lifecycle/Y9", &stamps("2", "v3"), &without(key), false);
        }
    }

    #[test]
    fn everything_in_the_template_but_requirements_makes_claims_drift() {
        // The pool's controller stamps it as this; the claim carries the stamp that it was made with.
        let stamped = |pool: &NodePool| stamps(&nodepool_hash(pool), "v3");
        let before = pool(&json!([]), &json!({}));
        let of_claim = claim(&json!({}), &stamped(&before));
        let look_after = |pointer: &str, value: &Value| {
            let mut after = serde_json::to_value(&before).unwrap();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let template = &mut after["spec"]["template"];
            template["metadata"] = json!({});
            template.pointer_mut(parent).unwrap()[field] = value.clone();
            let mut after: NodePool = serde_json::from_value(after).unwrap();
            after.metadata.annotations = serde_json::from_value(stamped(&after)).unwrap();
            look(&of_claim, &after, &feed(&[]), 0)
        };
        let taint = json!([{"key": "gpu", "effect": "NoSchedule"}]);
        for (pointer, value) in [
            ("/metadata/annotations", json!({"team": "a"})),
            ("/metadata/labels", json!({"team": "a"})),
            ("/spec/taints", taint.clone()),
            ("/spec/startupTaints", taint),
            ("/spec/nodeClassRef/name", json!("other")),
            ("/spec/expireAfter", json!("1h")),
            ("/spec/terminationGracePeriod", json!("1h")),
        ] {
            let found = look_after(pointer, &value);
            let drifted = Verdict::Drifted("NodePoolDrifted");
            let row = "lifecycle/Y10";
            assert_eq!(found, drifted, "{row} {pointer}");
        }
        let requirement = json!([{"key": "team", "operator": "DoesNotExist"}]);
        let found = look_after("/spec/requirements", &requirement);
        assert_eq!(
            found,
            Verdict::AskProvider(false),
            "requirements that the labels meet"
        );
    }

    #[test]
    fn labels_are_compared_with_requirements() {
        let check = |requirement: Value, labels: &Value, drifts: bool| {
            let requirements = json!([requirement]);
            let found = look(
                &claim(labels, &json!({})),
                &pool(&requirements, &json!({})),
                &feed(&[]),
                0,
            );
            let expected = if drifts {
                Verdict::Drifted("RequirementsDrifted")
            } else {
                Verdict::AskProvider(false)
            };
            assert_eq!(found, expected, "lifecycle/Y3 {requirements} {labels}");
        };
        let requirement = |key: &str, operator: &str, values: Value| json!({"key": key, "operator": operator, "values": values});
        let on_demand = json!({CAPACITY_TYPE: "on-demand"});
        let capacity = |operator: &str, values| requirement(CAPACITY_TYPE, operator, values);
        check(capacity("In", json!(["spot"])), &on_demand, true);
        check(
            capacity("In", json!(["on-demand", "spot"])),
            &on_demand,
            false,
        );
        check(capacity("Exists", json!(null)), &on_demand, false);
        check(capacity("DoesNotExist", json!(null)), &on_demand, true);
        check(capacity("NotIn", json!(["on-demand"])), &on_demand, true);
        check(capacity("NotIn", json!(["spot"])), &json!({}), false);
        check(
            requirement("arch", "In", json!(["amd64"])),
            &on_demand,
            true,
        );
        let size = |value: &str| json!({"size": value});
        check(requirement("size", "Gt", json!(["10"])), &size("5"), true);
        check(requirement("size", "Gt", json!(["2"])), &size("5"), false);
        check(requirement("size", "Lt", json!(["1"])), &size("2"), true);
        check(requirement("size", "Lt", json!(["5"])), &size("2"), false);
        check(requirement("size", "Gte", json!(["5"])), &size("5"), false);
        check(requirement("size", "Lte", json!(["4"])), &size("5"), true);
    }

    #[test]
    fn types_are_looked_for_in_old_claims() {
        let check = |row: &str, labels: &Value, feed: &CatalogFeed, minutes, expected: Verdict| {
            let found = look(
                &claim(labels, &json!({})),
                &pool(&json!([]), &json!({})),
                feed,
                minutes,
            );
            assert_eq!(found, expected, "{row} {labels}");
        };
        let gone = || Verdict::Drifted("InstanceTypeNotFound");
        let of = |name: &str, capacity_type: &str| json!({INSTANCE_TYPE: name, CAPACITY_TYPE: capacity_type});
        let spot = feed(&["spot"]);
        for labels in [json!({}), of("large", "spot"), of("small", "on-demand")] {
            check("lifecycle/Y4", &labels, &spot, 61, gone());
            check(
                "lifecycle/Y5",
                &labels,
                &spot,
                30,
                Verdict::AskProvider(false),
            );
        }
        check("lifecycle/Y4", &of("small", "spot"), &feed(&[]), 61, gone());
        check(
            "found",
            &of("small", "spot"),
            &spot,
            61,
            Verdict::AskProvider(true),
        );
        for offered in [
            &["reserved"][..],
            &["on-demand"],
            &["reserved", "on-demand"],
        ] {
            let mut labels = of("small", "reserved");
            labels["reservation"] = json!("r-1");
            check(
                "lifecycle/Y6",
                &labels,
                &feed(offered),
                61,
                Verdict::AskProvider(true),
            );
        }
        for offered in [&["spot"][..], &[]] {
            check(
                "lifecycle/Y7",
                &of("small", "reserved"),
                &feed(offered),
                61,
                gone(),
            );
        }
    }

    #[test]
    fn what_has_no_machine_has_not_drifted() {
        let mut waiting = claim(&json!({}), &stamps("1", "v3"));
        waiting.status = None;
        let pool = pool(&json!([]), &stamps("2", "v3"));
        assert_eq!(
            look(&waiting, &pool, &feed(&[]), 0),
            Verdict::NotLaunched,
            "lifecycle/Y8"
        );
    }
}
