//! NodeOverlays: corrections to prices and capacities of instance types (scheduling 10.3).
//!
//! All overlays are judged together against the types as the provider states them, pool by pool, since
//! two may contradict each other in one pool only, and an overlay that conflicts anywhere is applied
//! nowhere. What they come to is another feed, which is lowered like the provider's own.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{
    cmp::Reverse,
    hash::{Hash, Hasher},
};

use karpenter_api::{NodeOverlay, ResourceList};

use crate::{
    catalog::{CatalogFeed, InstanceType},
    lower::Lowering,
    pool::Pool,
    price::Price,
    requirement::{Requirements, Undefined},
    vocabulary::Vocabulary,
};

/// What every machine has and no overlay may change.
const CORE_RESOURCES: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];

/// Why an overlay is not applied: the reason and message of its condition `ValidationSucceeded`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It says what cannot be meant; the texts name field and cause.
    Invalid(String),
    /// Another overlay of equal weight corrects the same.
    Conflict,
}

impl Fault {
    /// The condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "RuntimeValidation",
            Self::Conflict => "Conflict",
        }
    }

    /// The condition's message.
    pub fn message(&self) -> &str {
        match self {
            Self::Invalid(message) => message,
            Self::Conflict => "conflict with another overlay",
        }
    }
}

/// What became of an overlay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verdict {
    /// The overlay's name.
    pub name: Arc<str>,
    /// Why it is not applied, if it is not.
    pub fault: Option<Fault>,
}

/// A change of price.
#[derive(Clone, Copy, Debug, PartialEq)]
enum PriceChange {
    /// Dollars per hour that take the place of the price.
    Replace(f64),
    /// Dollars per hour that are added.
    Add(f64),
    /// A factor.
    Scale(f64),
}

impl PriceChange {
    /// What `spec.price` or `spec.priceAdjustment` say.
    fn of(overlay: &NodeOverlay) -> Result<Option<Self>, String> {
        let parse = |field: &str, text: &str, number: &str| {
            number
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())
                .ok_or_else(|| format!("spec.{field}: {text:?} is no number"))
        };
        if let Some(text) = &overlay.spec.price {
            return Ok(Some(Self::Replace(parse("price", text, text)?)));
        }
        let Some(text) = &overlay.spec.price_adjustment else {
            return Ok(None);
        };
        let field = "priceAdjustment";
        Ok(Some(match text.strip_suffix('%') {
            Some(percent) => Self::Scale(1.0 + parse(field, text, percent)? / 100.0),
            None => Self::Add(parse(field, text, text)?),
        }))
    }

    /// Kind and bits, for comparison.
    fn numbers(self) -> (u8, u64) {
        match self {
            Self::Replace(dollars) => (0, dollars.to_bits()),
            Self::Add(dollars) => (1, dollars.to_bits()),
            Self::Scale(factor) => (2, factor.to_bits()),
        }
    }

    /// The price after the change; it does not fall below zero.
    fn apply(self, price: Price) -> Price {
        Price::from_dollars(match self {
            Self::Replace(dollars) => dollars,
            Self::Add(dollars) => price.dollars() + dollars,
            Self::Scale(factor) => price.dollars() * factor,
        })
    }
}

/// An overlay that can be meant.
struct Overlay<'a> {
    name: &'a str,
    weight: i32,
    requirements: Requirements,
    price: Option<PriceChange>,
    capacity: &'a ResourceList,
}

/// The corrections of one type in one pool.
#[derive(Clone, Debug, Default)]
struct Correction {
    /// By position among the type's offerings: the first change that claimed the price, and the weight of
    /// the last.
    prices: BTreeMap<usize, (PriceChange, i32)>,
    /// The first claim of each resource.
    capacity: ResourceList,
    /// Weight and resources of the last overlay that claimed any.
    last_capacity: Option<(i32, BTreeSet<String>)>,
}

/// The corrections of a pool: the position of each type among the feed's, and its corrections.
type Corrections = BTreeMap<usize, Correction>;

/// What overlays have made of a feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Corrected {
    /// The feed, with a generation of its own.
    pub feed: CatalogFeed,
    /// Names of the types of which some price was changed.
    pub prices: BTreeSet<String>,
    /// Names of the types whose capacity was changed.
    pub capacities: BTreeSet<String>,
}

/// A pool and what its provider states of it, if it states anything.
pub type PoolFeed<'a> = (&'a Pool, Option<&'a CatalogFeed>);

/// The labels of a type and of its offerings; nothing where they have no meaning.
type Labels = Option<(Requirements, Vec<Option<Requirements>>)>;

/// Judges all overlays against all pools. Feeds come back in the order of the pools, `None` where nothing
/// is corrected; verdicts in name order. Feeds of one generation that are corrected alike have one
/// generation again.
pub fn apply(
    lowering: &mut Lowering,
    overlays: &[Arc<NodeOverlay>],
    pools: &[PoolFeed<'_>],
) -> (Vec<Option<Corrected>>, Vec<Verdict>) {
    let mut faults: BTreeMap<&str, Option<Fault>> = BTreeMap::new();
    let mut sound = Vec::new();
    for overlay in overlays {
        let name = overlay.metadata.name.as_deref().unwrap_or_default();
        let lowered = lower(lowering, name, overlay);
        faults.insert(name, lowered.as_ref().err().cloned().map(Fault::Invalid));
        sound.extend(lowered.ok());
    }
    // Among equals the later name comes first, and the earlier one gives way.
    sound.sort_by(|a, b| (Reverse(a.weight), b.name).cmp(&(Reverse(b.weight), a.name)));
    let mut stated: BTreeMap<u64, Vec<Labels>> = BTreeMap::new();
    for feed in pools.iter().filter_map(|(_, feed)| *feed) {
        stated.entry(feed.generation).or_insert_with(|| {
            let types = feed.types.iter();
            types.map(|own| labels_of(lowering, own)).collect()
        });
    }
    let labels: Vec<Requirements> = pools
        .iter()
        .map(|(pool, _)| pool_labels(lowering, pool))
        .collect();
    let vocabulary = &**lowering.vocabulary();
    let mut corrections: Vec<Corrections> = pools.iter().map(|_| Corrections::new()).collect();
    for overlay in &sound {
        let offerings: BTreeMap<u64, Vec<Vec<usize>>> = stated
            .iter()
            .map(|(&generation, types)| (generation, overlay.offerings(types, vocabulary)))
            .collect();
        let selections: Vec<Vec<Selected<'_>>> = pools
            .iter()
            .zip(&labels)
            .map(|((_, feed), labels)| match feed {
                None => Vec::new(),
                Some(feed) => {
                    let types = &stated[&feed.generation];
                    let offerings = &offerings[&feed.generation];
                    overlay.select(labels, types, offerings, vocabulary)
                }
            })
            .collect();
        let conflicts = corrections
            .iter()
            .zip(&selections)
            .any(|(of_pool, selected)| overlay.conflicts(of_pool, selected));
        if conflicts {
            faults.insert(overlay.name, Some(Fault::Conflict));
            continue;
        }
        for (of_pool, selected) in corrections.iter_mut().zip(selections) {
            overlay.correct(of_pool, &selected);
        }
    }
    let feeds = pools
        .iter()
        .zip(&corrections)
        .map(|((_, feed), corrections)| corrected((*feed)?, corrections))
        .collect();
    let verdicts = faults
        .into_iter()
        .map(|(name, fault)| Verdict {
            name: name.into(),
            fault,
        })
        .collect();
    (feeds, verdicts)
}

fn lower<'a>(
    lowering: &mut Lowering,
    name: &'a str,
    overlay: &'a NodeOverlay,
) -> Result<Overlay<'a>, String> {
    static NOTHING: ResourceList = ResourceList::new();
    let spec = &overlay.spec;
    let mut problems = Vec::new();
    let requirements: Vec<karpenter_api::Requirement> =
        spec.requirements.iter().map(Into::into).collect();
    for requirement in &requirements {
        let is_empty = requirement.values.as_ref().is_none_or(Vec::is_empty);
        if requirement.operator == "NotIn" && is_empty {
            problems.push(format!(
                "spec.requirements: key {} with operator NotIn must have a value defined",
                requirement.key
            ));
        }
    }
    let capacity = spec.capacity.as_ref().unwrap_or(&NOTHING);
    for resource in capacity.keys() {
        if CORE_RESOURCES.contains(&resource.as_str()) {
            problems.push(format!(
                "spec.capacity: {resource} may not be set, the provider states it"
            ));
        }
    }
    let requirements = lowering
        .user_requirements(&requirements)
        .map_err(|error| problems.push(format!("spec.requirements: {error}")));
    let price = PriceChange::of(overlay).map_err(|error| problems.push(error));
    match (requirements, price) {
        (Ok(requirements), Ok(price)) if problems.is_empty() => Ok(Overlay {
            name,
            weight: spec.weight.unwrap_or(0),
            requirements,
            price,
            capacity,
        }),
        _ => Err(problems.join("; ")),
    }
}

fn labels_of(lowering: &mut Lowering, own: &InstanceType) -> Labels {
    let of_type = lowering.all_of(&own.requirements).ok()?;
    let offerings = own
        .offerings
        .iter()
        .map(|offering| lowering.all_of(&offering.requirements).ok())
        .collect();
    Some((of_type, offerings))
}

/// The labels of the pool's template, as requirements.
fn pool_labels(lowering: &mut Lowering, pool: &Pool) -> Requirements {
    let labels: Vec<_> = pool
        .labels
        .iter()
        .map(|(key, value)| karpenter_api::Requirement {
            key: key.to_string(),
            operator: "In".to_string(),
            values: Some([value.to_string()].into()),
            min_values: None,
        })
        .collect();
    // A pool whose labels have no meaning was set aside before.
    lowering.all_of(&labels).unwrap_or_default()
}

/// A type, by its position in the feed, with the positions of its offerings that are selected.
type Selected<'a> = (usize, &'a [usize]);

impl Overlay<'_> {
    /// Positions of the offerings that are selected, type by type.
    fn offerings(&self, types: &[Labels], vocabulary: &Vocabulary) -> Vec<Vec<usize>> {
        let is_selected = |offering: &Option<Requirements>| {
            offering.as_ref().is_some_and(|offering| {
                let undefined = Undefined::AllowedIfWellKnown;
                self.requirements
                    .compatible(offering, undefined, vocabulary)
            })
        };
        types
            .iter()
            .map(|labels| {
                let offerings = labels.iter().flat_map(|(_, offerings)| offerings);
                let positions = offerings.enumerate();
                positions
                    .filter(|(_, offering)| is_selected(offering))
                    .map(|(position, _)| position)
                    .collect()
            })
            .collect()
    }

    /// The types of a pool that are selected with at least one offering.
    fn select<'a>(
        &self,
        labels: &Requirements,
        types: &[Labels],
        offerings: &'a [Vec<usize>],
        vocabulary: &Vocabulary,
    ) -> Vec<Selected<'a>> {
        let is_selected = |of_type: &Requirements| {
            let mut all = labels.clone();
            all.add_all(of_type, vocabulary);
            all.compatible(&self.requirements, Undefined::Refused, vocabulary)
        };
        types
            .iter()
            .zip(offerings)
            .enumerate()
            .filter(|(_, (_, offerings))| !offerings.is_empty())
            .filter(|(_, (labels, _))| labels.as_ref().is_some_and(|(own, _)| is_selected(own)))
            .map(|(at, (_, offerings))| (at, offerings.as_slice()))
            .collect()
    }

    /// Another overlay of the same weight was the last to correct any of this.
    fn conflicts(&self, known: &Corrections, selected: &[Selected<'_>]) -> bool {
        selected.iter().any(|(at, offerings)| {
            let Some(correction) = known.get(at) else {
                return false;
            };
            let shares_price = self.price.is_some()
                && offerings.iter().any(|offering| {
                    let claimed = correction.prices.get(offering);
                    claimed.is_some_and(|(_, weight)| *weight == self.weight)
                });
            let shares_capacity = correction.last_capacity.as_ref().is_some_and(|last| {
                last.0 == self.weight && self.capacity.keys().any(|name| last.1.contains(name))
            });
            shares_price || shares_capacity
        })
    }

    /// Corrects what no heavier overlay has corrected.
    fn correct(&self, corrections: &mut Corrections, selected: &[Selected<'_>]) {
        for (at, offerings) in selected {
            let correction = corrections.entry(*at).or_default();
            if let Some(price) = self.price {
                for &offering in *offerings {
                    let claimed = correction.prices.entry(offering);
                    claimed.or_insert((price, self.weight)).1 = self.weight;
                }
            }
            if !self.capacity.is_empty() {
                for (name, amount) in self.capacity {
                    let claimed = correction.capacity.entry(name.clone());
                    claimed.or_insert(*amount);
                }
                let names = self.capacity.keys().cloned().collect();
                correction.last_capacity = Some((self.weight, names));
            }
        }
    }
}

/// The feed with its corrections, if there are any. Its generation tells it from the provider's own and
/// from those of pools that are corrected otherwise.
fn corrected(feed: &CatalogFeed, corrections: &Corrections) -> Option<Corrected> {
    if corrections.is_empty() {
        return None;
    }
    let mut types: Vec<InstanceType> = feed.types.to_vec();
    let (mut prices, mut capacities) = (BTreeSet::new(), BTreeSet::new());
    for (&at, correction) in corrections {
        let own = &mut types[at];
        for (&position, (change, _)) in &correction.prices {
            let offering = &mut own.offerings[position];
            offering.price = change.apply(offering.price);
            prices.insert(own.name.clone());
        }
        for (name, amount) in &correction.capacity {
            own.capacity.insert(name.clone(), *amount);
            capacities.insert(own.name.clone());
        }
    }
    Some(Corrected {
        feed: CatalogFeed {
            generation: fingerprint(feed.generation, corrections),
            types: types.into(),
        },
        prices,
        capacities,
    })
}

/// A number that equal corrections of equal feeds share.
fn fingerprint(generation: u64, corrections: &Corrections) -> u64 {
    let mut hasher = rustc_hash::FxHasher::default();
    generation.hash(&mut hasher);
    for (at, correction) in corrections {
        at.hash(&mut hasher);
        for (position, (change, _)) in &correction.prices {
            position.hash(&mut hasher);
            change.numbers().hash(&mut hasher);
        }
        for (name, amount) in &correction.capacity {
            (name, amount.to_string()).hash(&mut hasher);
        }
    }
    hasher.finish()
}
