//! A claim to be created, and the object that says so.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use fixedbitset::FixedBitSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use karpenter_api::{
    NodeClaim, NodeClaimSpec, NodeClassReference, Resources as ApiResources, Taint as ApiTaint,
};
use rustc_hash::FxHashMap;

use super::{
    DeviceAllocation, MinValuesPolicy, Options,
    open::OpenClaim,
    set::{SetId, Sets},
    template::Templates,
};
use crate::{
    catalog::{Catalog, Slots},
    lower::to_resource_list,
    price::Price,
    requirement::{Operator, Requirement, Requirements},
    resources::Resources,
    snapshot::Snapshot,
    taint::Taint,
    vocabulary::{KeyId, OfferingId, PodId, PoolId, TypeId, ValueId, Vocabulary},
};

/// So many instance types a claim lists at the most; providers cut further.
pub const MAX_INSTANCE_TYPES: usize = 600;

/// A NodeClaim that shall be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClaim {
    /// The pool it belongs to, whose catalogue its type and offering ids refer to.
    pub pool: PoolId,
    /// The pods it is made for, in the order of placement.
    pub pods: Vec<PodId>,
    /// The instance types that will do, cheapest first, at most 600.
    pub instance_types: Vec<TypeId>,
    /// Everything that was required, without the list of instance types.
    pub requirements: Requirements,
    /// Requests of the pods and, at the least, of the daemons that come with the node.
    pub requests: Resources,
    /// The cheapest compatible offering of the first type.
    pub cheapest: Option<OfferingId>,
    /// Its price.
    pub price: Price,
    /// Minimum numbers of values were lowered.
    pub min_values_relaxed: bool,
    /// Chooses the values of custom labels.
    pub seed: u64,
    /// Devices for ResourceClaims of the pods, by name.
    pub devices: Vec<DeviceAllocation>,
}

/// The types of a catalogue in order of price for one requirement set, with the cheapest offering of each.
type PriceOrder = Rc<[(Price, TypeId, Option<OfferingId>)]>;

/// What claims of a round share: many have the same requirements.
#[derive(Debug, Default)]
pub(super) struct PriceOrders(FxHashMap<(PoolId, SetId), PriceOrder>);

impl PriceOrders {
    fn of(&mut self, sets: &Sets<'_>, pool: PoolId, catalog: &Catalog, set: SetId) -> PriceOrder {
        let order = self.0.entry((pool, set)).or_insert_with(|| {
            let offered = catalog.offered(sets.get(set), sets.vocabulary());
            let mut priced: Vec<(Price, TypeId, Option<OfferingId>)> = catalog
                .types
                .iter()
                .map(|(id, own)| {
                    let cheapest = own
                        .offering_ids()
                        .filter(|offering| offered.contains(offering.0 as usize))
                        .min_by_key(|&offering| catalog.offerings[offering].price);
                    let price = cheapest.map_or(Price::MAX, |id| catalog.offerings[id].price);
                    (price, id, cheapest)
                })
                .collect();
            // Types are numbered in name order, which settles ties.
            priced.sort_unstable_by_key(|&(price, id, _)| (price, id));
            priced.into()
        });
        order.clone()
    }
}

/// Orders the types by price, cuts the list, adds the daemons. Fails when the cut list no longer spans a
/// minimum number of values.
pub(super) fn finish(
    options: &Options,
    sets: &Sets<'_>,
    templates: &Templates,
    orders: &mut PriceOrders,
    claim: OpenClaim,
    index: usize,
) -> Result<NewClaim, (PoolId, Vec<PodId>)> {
    let template = &templates.templates[claim.template];
    let catalog = &*template.catalog;
    let requirements = (**sets.get(claim.set)).clone();
    let mut left = FixedBitSet::with_capacity(catalog.types.len());
    left.extend(
        catalog
            .types_of(&claim.slots)
            .into_iter()
            .map(|id| id.0 as usize),
    );
    let order = orders.of(sets, template.pool, catalog, claim.set);
    let mut priced: Vec<(Price, TypeId, Option<OfferingId>)> = order
        .iter()
        .copied()
        // A claim that holds reservations cannot become a type that is not among them.
        .filter(|(_, id, cheapest)| left.contains(id.0 as usize) && cheapest.is_some())
        .collect();
    let cut = priced.len() > MAX_INSTANCE_TYPES;
    priced.truncate(MAX_INSTANCE_TYPES);
    if cut && options.min_values == MinValuesPolicy::Strict {
        let mut kept = Slots::with_capacity(catalog.slot_count());
        for (_, id, _) in &priced {
            kept.extend(catalog.slots_of(*id));
        }
        if !super::template::min_values_met(catalog, &kept, &requirements) {
            return Err((template.pool, claim.pods));
        }
    }
    let mut requests = claim.requests;
    let daemons = template
        .groups
        .iter()
        .filter(|group| claim.slots.intersection(&group.slots).next().is_some())
        .map(|group| &group.requests);
    if let Some(least) = minimum(daemons) {
        requests.add(&least);
    }
    let (price, _, cheapest) = priced
        .first()
        .copied()
        .unwrap_or((Price::MAX, TypeId(0), None));
    Ok(NewClaim {
        pool: template.pool,
        pods: claim.pods,
        instance_types: priced.into_iter().map(|(_, id, _)| id).collect(),
        requirements,
        requests,
        cheapest,
        price,
        min_values_relaxed: claim.min_values_relaxed,
        seed: mixed(options.seed ^ mixed(index as u64)),
        devices: Vec::new(),
    })
}

/// Element by element; what some lack is dropped.
fn minimum<'a>(all: impl Iterator<Item = &'a Resources>) -> Option<Resources> {
    all.cloned().reduce(|mut least, next| {
        least.minimum(&next);
        least
    })
}

/// The complete object to create; the shell adds nothing.
pub fn node_claim(snapshot: &Snapshot, claim: &NewClaim) -> NodeClaim {
    let vocabulary = &*snapshot.vocabulary;
    let mut object = of_template(snapshot, claim.pool, &claim.requirements, claim.seed);
    if let Ok(catalog) = &snapshot.catalogs[claim.pool] {
        let mut requirements = claim.requirements.clone();
        for requirement in chosen(catalog, claim, vocabulary) {
            requirements.replace(requirement);
        }
        object.spec.requirements = requirements.to_api(vocabulary);
    }
    let annotations = object.metadata.annotations.get_or_insert_default();
    annotations.insert(
        karpenter_api::labels::annotations::MIN_VALUES_RELAXED.to_string(),
        claim.min_values_relaxed.to_string(),
    );
    annotations.extend(overlaid(snapshot, claim));
    let drivers: BTreeSet<&Arc<str>> = claim
        .devices
        .iter()
        .flat_map(DeviceAllocation::drivers)
        .collect();
    if !drivers.is_empty() {
        let drivers: Vec<&str> = drivers.into_iter().map(|driver| &**driver).collect();
        annotations.insert(
            karpenter_api::labels::annotations::REQUESTED_DRA_DRIVERS.to_string(),
            drivers.join(","),
        );
    }
    object.spec.resources = Some(ApiResources {
        requests: Some(to_resource_list(&claim.requests, vocabulary)),
    });
    object
}

/// What a pool's template says of a claim with these requirements; the seed chooses the values of custom
/// labels.
pub(crate) fn of_template(
    snapshot: &Snapshot,
    pool: PoolId,
    requirements: &Requirements,
    seed: u64,
) -> NodeClaim {
    let vocabulary = &*snapshot.vocabulary;
    let pool = &snapshot.pools[pool];
    let mut labels = strings(&pool.labels);
    for requirement in requirements {
        let key = requirement.key();
        if vocabulary.is_well_known(key) || key == KeyId::HOSTNAME {
            continue;
        }
        if let Some(value) = concrete_value(requirement, seed, vocabulary) {
            labels.insert(vocabulary.key_name(key).to_string(), value);
        }
    }
    NodeClaim {
        metadata: ObjectMeta {
            generate_name: Some(alloc::format!("{}-", pool.name)),
            labels: Some(labels),
            annotations: Some(strings(&pool.annotations)),
            owner_references: Some(
                [OwnerReference {
                    api_version: "karpenter.sh/v1".to_string(),
                    kind: "NodePool".to_string(),
                    name: pool.name.to_string(),
                    uid: pool.uid.to_string(),
                    block_owner_deletion: Some(true),
                    controller: None,
                }]
                .into(),
            ),
            ..ObjectMeta::default()
        },
        spec: NodeClaimSpec {
            node_class_ref: NodeClassReference {
                group: pool.node_class.group.to_string(),
                kind: pool.node_class.kind.to_string(),
                name: pool.node_class.name.to_string(),
            },
            requirements: requirements.to_api(vocabulary),
            taints: taints(&pool.taints),
            startup_taints: taints(&pool.startup_taints),
            resources: None,
            expire_after: pool.expire_after.clone(),
            termination_grace_period: pool.termination_grace_period,
        },
        status: None,
    }
}

/// What NodeOverlays have changed of the listed types.
fn overlaid(snapshot: &Snapshot, claim: &NewClaim) -> BTreeMap<String, String> {
    use karpenter_api::labels::annotations::{CAPACITY_OVERLAY_APPLIED, PRICE_OVERLAY_APPLIED};
    let Ok(catalog) = &snapshot.catalogs[claim.pool] else {
        return BTreeMap::new();
    };
    let types = || claim.instance_types.iter().map(|&id| &catalog.types[id]);
    let applied = [
        (PRICE_OVERLAY_APPLIED, types().any(|own| own.price_overlaid)),
        (
            CAPACITY_OVERLAY_APPLIED,
            types().any(|own| own.capacity_overlaid),
        ),
    ];
    applied
        .into_iter()
        .filter(|(_, is_applied)| *is_applied)
        .map(|(key, _)| (key.to_string(), "true".to_string()))
        .collect()
}

/// The list of instance types and the capacity types that they can be had with.
fn chosen(catalog: &Arc<Catalog>, claim: &NewClaim, vocabulary: &Vocabulary) -> Vec<Requirement> {
    let min_values = |key| {
        claim
            .requirements
            .get(key)
            .and_then(Requirement::min_values)
    };
    // Names were interned when the catalogue was lowered: each type's own requirement has its name. A
    // catalogue that does not say so is named by the vocabulary if that has met the name at all.
    let names: Vec<ValueId> = claim
        .instance_types
        .iter()
        .filter_map(|&id| vocabulary.value(&catalog.types[id].name))
        .collect();
    let mut capacity_types: Vec<ValueId> = claim
        .instance_types
        .iter()
        .flat_map(|&id| catalog.compatible_offerings(id, &claim.requirements, vocabulary))
        .filter_map(|offering| catalog.offerings[offering].capacity_type)
        .collect();
    capacity_types.sort_unstable();
    capacity_types.dedup();
    let mut chosen = Vec::new();
    let types = Requirement::any_of(KeyId::INSTANCE_TYPE, names);
    chosen.push(types.with_min_values(min_values(KeyId::INSTANCE_TYPE)));
    if !capacity_types.is_empty() {
        let types = Requirement::any_of(KeyId::CAPACITY_TYPE, capacity_types);
        chosen.push(types.with_min_values(min_values(KeyId::CAPACITY_TYPE)));
    }
    chosen
}

fn strings(labels: &crate::Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

fn taints(taints: &[Taint]) -> Option<Vec<ApiTaint>> {
    if taints.is_empty() {
        return None;
    }
    let lowered = taints.iter().map(|taint| ApiTaint {
        key: taint.key.to_string(),
        value: Some(taint.value.to_string()).filter(|value| !value.is_empty()),
        effect: taint.effect.to_string(),
        time_added: None,
    });
    Some(lowered.collect())
}

/// A value that satisfies the requirement of a custom label, where one is needed.
fn concrete_value(requirement: &Requirement, seed: u64, vocabulary: &Vocabulary) -> Option<String> {
    let chance = mixed(seed ^ hashed(vocabulary.key_name(requirement.key())));
    match requirement.operator() {
        Operator::In => {
            let mut texts: Vec<&Arc<str>> = requirement
                .values()
                .iter()
                .map(|&value| vocabulary.value_text(value))
                .collect();
            texts.sort_unstable();
            let count = u64::try_from(texts.len()).ok()?;
            let at = usize::try_from(chance.checked_rem(count)?).ok()?;
            Some(texts[at].to_string())
        }
        Operator::Exists | Operator::NotIn => {
            let low = requirement.at_least().unwrap_or(0);
            let high = requirement.at_most().unwrap_or(i64::MAX);
            // `Lt 0` leaves no such integer, and then the label stays absent.
            let width = u64::try_from(i128::from(high) - i128::from(low) + 1).ok()?;
            let offset = chance.checked_rem(width)?;
            let tries = u64::try_from(requirement.values().len()).ok()? + 1;
            // Among one more candidate than there are excluded values one is allowed.
            (0..tries.min(width))
                .map(|step| {
                    let at = (u128::from(offset) + u128::from(step)) % u128::from(width);
                    let number = i128::from(low) + i128::try_from(at).unwrap_or(0);
                    number.to_string()
                })
                .find(|text| {
                    vocabulary
                        .value(text)
                        .is_none_or(|value| !requirement.values().contains(&value))
                })
        }
        Operator::DoesNotExist | Operator::Gt | Operator::Lt | Operator::Gte | Operator::Lte => {
            None
        }
    }
}

/// A well-spread number from a poorly spread one (splitmix64's finaliser).
pub(crate) fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number from a text (FNV-1a).
fn hashed(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_the_methods_are_known_for() {
        // The first number of splitmix64 for this state, as published with it.
        assert_eq!(mixed(1_234_567), 6_457_827_717_110_365_317);
        assert_eq!(hashed(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hashed("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hashed("foobar"), 0x8594_4171_f739_67e8);
    }
}
