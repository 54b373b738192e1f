//! Which type and offering a claim gets.
//!
//! Goal: of the types that the claim names, the cheapest available offering that agrees with all its
//! requirements and has room for its requests. A claim that names none, as those of static pools, may
//! become any type of the catalogue. Ties between types go to the type named first, since
//! claims name types in price order; ties within a type (usually zones) are drawn from the seed.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use karpenter_api::{
    NodeClaim, Quantity, ResourceList,
    labels::{INSTANCE_TYPE, Provider, normalize},
};
use karpenter_cloud::LaunchError;
use karpenter_plan::{
    InstanceType, Offering, Requirements, Vocabulary,
    requirement::{Operator, Requirement},
};

use crate::{instance_type::allocatable, seed::Seed};

/// What a claim gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    /// The type.
    pub(crate) instance_type: &'a InstanceType,
    /// The way it is bought.
    pub(crate) offering: &'a Offering,
    /// What pods may use of the machine.
    pub(crate) allocatable: &'a ResourceList,
}

/// The catalogue, prepared for being chosen from.
pub(crate) struct Selector {
    types: Arc<[InstanceType]>,
    /// What the types were prepared to, one by one.
    candidates: Vec<Candidate>,
    by_name: BTreeMap<String, usize>,
    /// Names of everything in the catalogue; cloned and extended for each claim.
    vocabulary: Vocabulary,
}

struct Candidate {
    requirements: Requirements,
    /// By offering; thousands of them differ in zone and capacity type only.
    offerings: Vec<Arc<Requirements>>,
    allocatable: ResourceList,
}

impl Selector {
    pub(crate) fn new(types: Arc<[InstanceType]>) -> Self {
        let mut vocabulary = Vocabulary::default();
        let mut lower = |requirements: &[karpenter_api::Requirement]| {
            // A catalogue is checked where it is read; what is no requirement there constrains nothing.
            requirements
                .iter()
                .fold(Requirements::new(), |mut lowered, one| {
                    if let Some(one) = lower_one(one, &mut vocabulary) {
                        lowered.add(one, &vocabulary);
                    }
                    lowered
                })
        };
        let mut known = HashSet::new();
        let mut shared = |requirements: Requirements| {
            let requirements = Arc::new(requirements);
            if let Some(found) = known.get(&requirements) {
                return Arc::clone(found);
            }
            known.insert(Arc::clone(&requirements));
            requirements
        };
        let candidates = types.iter().map(|one| {
            let offers = one.offerings.iter();
            Candidate {
                requirements: lower(&one.requirements),
                offerings: offers
                    .map(|offer| shared(lower(&offer.requirements)))
                    .collect(),
                allocatable: allocatable(one),
            }
        });
        let candidates = candidates.collect();
        let by_name = types.iter().enumerate();
        let by_name = by_name
            .map(|(index, one)| (one.name.clone(), index))
            .collect();
        Self {
            types,
            candidates,
            by_name,
            vocabulary,
        }
    }

    /// The choice for a claim; `identity` tells claims apart when ties are drawn.
    pub(crate) fn choose(
        &self,
        claim: &NodeClaim,
        identity: &str,
        seed: Seed,
    ) -> Result<Choice<'_>, LaunchError> {
        let named = claim.spec.requirements.iter().find(|one| {
            normalize(&one.key, Provider::Kwok) == INSTANCE_TYPE && one.operator == "In"
        });
        let named = named.and_then(|one| one.values.as_deref());
        let candidates: Vec<(&InstanceType, &Candidate)> = match named {
            Some(names) => {
                let known = names.iter().filter_map(|name| self.by_name.get(name));
                known
                    .map(|&index| (&self.types[index], &self.candidates[index]))
                    .collect()
            }
            None => self.types.iter().zip(&self.candidates).collect(),
        };
        let mut vocabulary = self.vocabulary.clone();
        let mut wanted = Requirements::new();
        for one in &claim.spec.requirements {
            let Some(lowered) = lower_one(one, &mut vocabulary) else {
                return Err(LaunchError::Other(format!(
                    "the requirement for {} cannot be read, correct its operator {} or its values",
                    one.key, one.operator
                )));
            };
            wanted.add(lowered, &vocabulary);
        }
        let requests = requests(claim);
        let mut best: Option<(&InstanceType, &Candidate, Vec<&Offering>)> = None;
        for &(instance_type, candidate) in &candidates {
            let suits = candidate.requirements.intersects(&wanted, &vocabulary)
                && fits(requests, &candidate.allocatable);
            if !suits {
                continue;
            }
            let cheapest = candidate.cheapest(&instance_type.offerings, &wanted, &vocabulary);
            let price = |offers: &[&Offering]| offers.first().map(|offer| offer.price);
            let better = match (
                price(&cheapest),
                best.as_ref().and_then(|(_, _, old)| price(old)),
            ) {
                (Some(new), Some(old)) => new < old,
                (new, _) => new.is_some(),
            };
            if better {
                best = Some((instance_type, candidate, cheapest));
            }
        }
        let choice = best.and_then(|(instance_type, candidate, offers)| {
            seed.choose("offering", identity, &offers)
                .map(|offering| Choice {
                    instance_type,
                    offering,
                    allocatable: &candidate.allocatable,
                })
        });
        choice.ok_or_else(|| {
            LaunchError::InsufficientCapacity(format!(
                "none of the {} instance types {} has an available offering that the requirements allow and room for the requests",
                named.map_or(candidates.len(), <[_]>::len),
                if named.is_some() { "named" } else { "of the catalogue" }
            ))
        })
    }
}

impl Candidate {
    /// The available offerings that suit and cost the least.
    fn cheapest<'a>(
        &self,
        offerings: &'a [Offering],
        wanted: &Requirements,
        vocabulary: &Vocabulary,
    ) -> Vec<&'a Offering> {
        let suitable = || {
            offerings
                .iter()
                .zip(&self.offerings)
                .filter(|(offering, requirements)| {
                    offering.available && requirements.intersects(wanted, vocabulary)
                })
                .map(|(offering, _)| offering)
        };
        let least = suitable().map(|offering| offering.price).min();
        suitable()
            .filter(|offering| Some(offering.price) == least)
            .collect()
    }
}

/// What the claim's pods and daemons ask for.
pub(crate) fn requests(claim: &NodeClaim) -> &ResourceList {
    static NONE: ResourceList = ResourceList::new();
    claim
        .spec
        .resources
        .as_ref()
        .and_then(|one| one.requests.as_ref())
        .unwrap_or(&NONE)
}

fn fits(requests: &ResourceList, room: &ResourceList) -> bool {
    requests
        .iter()
        .all(|(name, amount)| *amount <= room.get(name).copied().unwrap_or(Quantity::ZERO))
}

fn lower_one(one: &karpenter_api::Requirement, vocabulary: &mut Vocabulary) -> Option<Requirement> {
    let operator = Operator::parse(&one.operator)?;
    let key = vocabulary.intern_key(normalize(&one.key, Provider::Kwok));
    let texts = one.values.as_deref().unwrap_or_default();
    let number = match operator {
        Operator::Gt | Operator::Lt | Operator::Gte | Operator::Lte => {
            texts.first()?.parse().ok()?
        }
        Operator::In | Operator::NotIn | Operator::Exists | Operator::DoesNotExist => 0,
    };
    let values: Vec<_> = texts
        .iter()
        .map(|text| vocabulary.intern_value(text))
        .collect();
    Some(Requirement::of(key, operator, values, number))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use karpenter_api::NodeClaim;
    use karpenter_cloud::LaunchError;
    use karpenter_plan::InstanceType;

    use super::Selector;
    use crate::{
        catalog::{ZONES, generated},
        instance_type::values,
        seed::Seed,
    };

    fn claim(requirements: &[(&str, &str, &[&str])], requests: &[(&str, &str)]) -> NodeClaim {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodeClaim",
            "metadata": {"name": "test"},
            "spec": {
                "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
                "requirements": requirements.iter().map(|(key, operator, values)| {
                    serde_json::json!({"key": key, "operator": operator, "values": values})
                }).collect::<Vec<_>>(),
                "resources": {"requests": requests.iter().map(|(name, amount)| {
                    ((*name).to_owned(), (*amount).into())
                }).collect::<serde_json::Map<_, _>>()},
            },
        }))
        .unwrap()
    }

    /// Type and capacity type chosen, or a word of the error.
    fn check(row: &str, types: &[InstanceType], claim: &NodeClaim, expected: &str) {
        let selector = Selector::new(types.into());
        let mut zones = BTreeSet::new();
        for number in 0..64 {
            let outcome = selector.choose(claim, &format!("claim-{number}"), Seed(1));
            let text = match outcome {
                Ok(choice) => {
                    zones.insert(
                        values(&choice.offering.requirements, "topology.kubernetes.io/zone")[0]
                            .clone(),
                    );
                    let capacity_type =
                        &values(&choice.offering.requirements, "karpenter.sh/capacity-type")[0];
                    format!("{} {capacity_type}", choice.instance_type.name)
                }
                Err(LaunchError::InsufficientCapacity(_)) => "insufficient".to_owned(),
                Err(LaunchError::Other(message)) => message,
                Err(error) => panic!("{row}: {error}"),
            };
            assert_eq!(text, expected, "{row}");
        }
        let pinned = claim
            .spec
            .requirements
            .iter()
            .any(|one| one.key.ends_with("/zone"));
        if !pinned && !zones.is_empty() {
            assert_eq!(
                zones.len(),
                ZONES.len(),
                "{row}: every zone must have its turn"
            );
        }
    }

    const TYPE: &str = "node.kubernetes.io/instance-type";
    const BOTH: &[&str] = &["c-2x-amd64-linux", "s-2x-amd64-linux"];

    #[test]
    fn the_cheapest_that_suits_is_chosen() {
        let types = generated();
        let spot = "c-2x-amd64-linux spot";
        let capacity: &str = "karpenter.sh/capacity-type";
        let rows: &[(&str, NodeClaim, &str)] = &[
            (
                "operations/O55",
                claim(
                    &[(TYPE, "In", BOTH), (capacity, "In", &["spot", "on-demand"])],
                    &[],
                ),
                spot,
            ),
            (
                "order of names plays no part",
                claim(
                    &[(TYPE, "In", &["s-2x-amd64-linux", "c-2x-amd64-linux"])],
                    &[],
                ),
                spot,
            ),
            (
                "first named of equal prices",
                claim(
                    &[(TYPE, "In", &["c-2x-arm64-linux", "c-2x-amd64-linux"])],
                    &[],
                ),
                "c-2x-arm64-linux spot",
            ),
            (
                "capacity type",
                claim(&[(TYPE, "In", BOTH), (capacity, "NotIn", &["spot"])], &[]),
                "c-2x-amd64-linux on-demand",
            ),
            (
                "zone by an old name",
                claim(
                    &[
                        (TYPE, "In", BOTH),
                        (
                            "failure-domain.beta.kubernetes.io/zone",
                            "In",
                            &["test-zone-b"],
                        ),
                    ],
                    &[],
                ),
                spot,
            ),
            (
                "zone that does not exist",
                claim(
                    &[
                        (TYPE, "In", BOTH),
                        ("topology.kubernetes.io/zone", "In", &["test-zone-x"]),
                    ],
                    &[],
                ),
                "insufficient",
            ),
            (
                "requests decide",
                claim(&[(TYPE, "In", BOTH)], &[("cpu", "1"), ("memory", "6Gi")]),
                "s-2x-amd64-linux spot",
            ),
            (
                "requests up to the last byte",
                claim(&[(TYPE, "In", BOTH)], &[("memory", "4086Mi")]),
                spot,
            ),
            (
                "requests beyond the last byte",
                claim(&[(TYPE, "In", BOTH)], &[("memory", "4184865Ki")]),
                "s-2x-amd64-linux spot",
            ),
            (
                "unknown resource",
                claim(&[(TYPE, "In", BOTH)], &[("example.com/gpu", "1")]),
                "insufficient",
            ),
            (
                "unknown resource, none of it",
                claim(&[(TYPE, "In", BOTH)], &[("example.com/gpu", "0")]),
                spot,
            ),
            (
                "a label of the type",
                claim(
                    &[
                        (TYPE, "In", BOTH),
                        ("karpenter.kwok.sh/instance-family", "In", &["s"]),
                    ],
                    &[],
                ),
                "s-2x-amd64-linux spot",
            ),
            (
                "a numeric label",
                claim(
                    &[
                        (TYPE, "In", &["c-2x-amd64-linux", "c-4x-amd64-linux"]),
                        ("karpenter.kwok.sh/instance-cpu", "Gt", &["2"]),
                    ],
                    &[],
                ),
                "c-4x-amd64-linux spot",
            ),
            (
                "a label of the pool's own",
                claim(
                    &[(TYPE, "In", BOTH), ("example.com/team", "In", &["a"])],
                    &[],
                ),
                spot,
            ),
            (
                "a label that must be absent",
                claim(
                    &[
                        (TYPE, "In", BOTH),
                        ("kubernetes.io/arch", "DoesNotExist", &[]),
                    ],
                    &[],
                ),
                "insufficient",
            ),
            (
                "unknown types are passed over",
                claim(&[(TYPE, "In", &["x", "s-2x-amd64-linux"])], &[]),
                "s-2x-amd64-linux spot",
            ),
            (
                "only unknown types",
                claim(&[(TYPE, "In", &["x"])], &[]),
                "insufficient",
            ),
            (
                "no types named",
                claim(
                    &[(TYPE, "Exists", &[]), (capacity, "In", &["on-demand"])],
                    &[],
                ),
                "c-1x-amd64-linux on-demand",
            ),
            (
                "a claim that rules types out",
                claim(
                    &[
                        (TYPE, "NotIn", &["c-1x-amd64-linux", "c-1x-arm64-linux"]),
                        ("kubernetes.io/os", "In", &["linux"]),
                    ],
                    &[],
                ),
                "s-1x-amd64-linux spot",
            ),
            (
                "a requirement nobody can read",
                claim(&[(TYPE, "In", BOTH), ("a", "Near", &["1"])], &[]),
                "the requirement for a cannot be read, correct its operator Near or its values",
            ),
        ];
        for (row, claim, expected) in rows {
            check(row, &types, claim, expected);
        }
    }

    #[test]
    fn unavailable_offerings_are_passed_over() {
        let mut types = generated();
        types.retain(|one| BOTH.contains(&one.name.as_str()));
        for offering in &mut types[0].offerings {
            offering.available = false;
        }
        check(
            "c-2x is gone",
            &types,
            &claim(&[(TYPE, "In", BOTH)], &[]),
            "s-2x-amd64-linux spot",
        );
    }

    #[test]
    fn the_same_claim_gets_the_same_again() {
        let selector = Selector::new(generated().into());
        let claim = claim(&[(TYPE, "In", BOTH)], &[]);
        let zone = |identity: &str, seed: u64| {
            let choice = selector.choose(&claim, identity, Seed(seed)).unwrap();
            choice.offering.requirements.clone()
        };
        assert_eq!(zone("uid-1", 5), zone("uid-1", 5));
    }
}
