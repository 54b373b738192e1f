//! What could be launched: instance types and their offerings.
//!
//! Providers state plain named values ([`InstanceType`], [`Offering`], [`CatalogFeed`]); lowering turns
//! them into a [`Catalog`] with masks, so that "which types are compatible and large enough" is a
//! handful of word-wise ANDs.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::ops::Range;

use fixedbitset::FixedBitSet;
use karpenter_api::{ResourceList, objects::device};

use crate::{
    catalog::mask::{KeyMasks, Ladder},
    device::TypeDevices,
    price::Price,
    requirement::{Requirements, Undefined},
    resources::{ResourceId, Resources},
    vocabulary::{Id, IdVec, KeyId, OfferingId, TypeId, ValueId, Vocabulary},
};

mod mask;
#[cfg(test)]
mod tests;

/// What a machine keeps for itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overhead {
    /// For Kubernetes' own daemons.
    pub kube_reserved: ResourceList,
    /// For the operating system.
    pub system_reserved: ResourceList,
    /// Kept free so that the kubelet does not start evicting.
    pub eviction_threshold: ResourceList,
}

/// One way to buy an instance type: a zone, a capacity type, and whatever else sets it apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offering {
    /// What sets it apart; usually zone and capacity type, `In` with one value each.
    pub requirements: Vec<karpenter_api::Requirement>,
    /// Its price.
    pub price: Price,
    /// It can be had at present.
    pub available: bool,
    /// How many are left of a reservation; zero otherwise.
    pub reservation_capacity: i64,
    /// Amounts that replace or add to the type's capacity.
    pub capacity_override: ResourceList,
    /// Amounts that replace or add to the type's total overhead.
    pub overhead_override: ResourceList,
}

/// What a driver on a machine of an instance type will publish: devices, or counters that they share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceSliceTemplate {
    /// The driver.
    pub driver: String,
    /// The pool.
    pub pool: String,
    /// Devices; none in a template with counters.
    pub devices: Vec<device::Device>,
    /// Counters.
    pub shared_counters: Vec<device::CounterSet>,
}

/// Devices of a machine that will share the value of an attribute, which is known only at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeBinding {
    /// The attribute, with its domain.
    pub attribute: String,
    /// The devices, each by driver, pool and name; at least two.
    pub devices: Vec<(String, String, String)>,
}

/// A kind of machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstanceType {
    /// The name, as in the label `node.kubernetes.io/instance-type`.
    pub name: String,
    /// The labels that a node of this type may carry, including the name and the union of its offerings'
    /// zones and capacity types.
    pub requirements: Vec<karpenter_api::Requirement>,
    /// What the machine has.
    pub capacity: ResourceList,
    /// What of it pods cannot use.
    pub overhead: Overhead,
    /// How it can be bought.
    pub offerings: Vec<Offering>,
    /// What drivers on it will publish.
    pub resource_slices: Vec<ResourceSliceTemplate>,
    /// Attributes that devices of it will share.
    pub attribute_bindings: Vec<AttributeBinding>,
}

/// All instance types a pool may use, as the provider states them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogFeed {
    /// Equal generations mean equal contents, for one provider.
    pub generation: u64,
    /// The types, in any order.
    pub types: Arc<[InstanceType]>,
}

/// An instance type lowered.
#[derive(Clone, Debug)]
pub struct CatalogType {
    /// The name.
    pub name: Arc<str>,
    /// The labels a node of it may carry.
    pub requirements: Requirements,
    /// What the machine has.
    pub capacity: Resources,
    /// What pods may use, where no offering says otherwise.
    pub allocatable: Resources,
    /// Its offerings.
    pub offerings: Range<u32>,
    /// A NodeOverlay has changed the price of some offering.
    pub price_overlaid: bool,
    /// A NodeOverlay has changed what the machine has.
    pub capacity_overlaid: bool,
    /// What drivers on it will publish.
    pub devices: Arc<TypeDevices>,
}

impl CatalogType {
    /// Ids of its offerings.
    pub fn offering_ids(&self) -> impl Iterator<Item = OfferingId> + use<> {
        self.offerings.clone().map(OfferingId)
    }
}

/// An offering lowered.
#[derive(Clone, Debug)]
pub struct CatalogOffering {
    /// The type it belongs to.
    pub instance_type: TypeId,
    /// What sets it apart.
    pub requirements: Requirements,
    /// The zone, if it has exactly one.
    pub zone: Option<ValueId>,
    /// `spot`, `on-demand` or `reserved`, if it has exactly one.
    pub capacity_type: Option<ValueId>,
    /// Its price.
    pub price: Price,
    /// It can be had at present.
    pub available: bool,
    /// The label that names the reservation it is bought from, and its id; for reserved offerings only.
    pub reservation: Option<(KeyId, ValueId)>,
    /// How many are left of a reservation.
    pub reservation_capacity: i64,
    /// What pods may use of a machine bought this way.
    pub allocatable: Resources,
}

/// Instance types in name order, with their offerings.
///
/// Masks are over *slots*: a slot is a type together with one amount of allocatable resources. Offerings
/// that override nothing share the type's first slot; those with equal overrides share another.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The feed's generation.
    pub generation: u64,
    /// The types, in name order.
    pub types: IdVec<TypeId, CatalogType>,
    /// The offerings, contiguous per type, in the feed's order.
    pub offerings: IdVec<OfferingId, CatalogOffering>,
    names: BTreeMap<Arc<str>, TypeId>,
    slots: Vec<Slot>,
    slot_of_offering: IdVec<OfferingId, usize>,
    type_keys: BTreeMap<KeyId, KeyMasks>,
    offering_keys: BTreeMap<KeyId, KeyMasks>,
    available: FixedBitSet,
    /// Offerings that are bought from a reservation.
    reserved: Vec<OfferingId>,
    sound: FixedBitSet,
    ladders: BTreeMap<ResourceId, Ladder>,
    device_groups: Vec<(Arc<TypeDevices>, FixedBitSet)>,
}

/// A type with one amount of allocatable resources.
#[derive(Clone, Debug)]
struct Slot {
    instance_type: TypeId,
    allocatable: Resources,
}

/// A set of slots.
pub(crate) type Slots = FixedBitSet;

impl Catalog {
    /// Numbers the types in name order and computes the masks. Offerings come grouped by type.
    pub(crate) fn build(
        generation: u64,
        mut types: Vec<(CatalogType, Vec<CatalogOffering>)>,
    ) -> Self {
        types.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        let mut catalog = Self {
            generation,
            ..Self::default()
        };
        for (mut instance_type, offerings) in types {
            let id = TypeId::from_index(catalog.types.len());
            let first_slot = catalog.slots.len();
            let base = Slot {
                instance_type: id,
                allocatable: instance_type.allocatable.clone(),
            };
            catalog.slots.push(base);
            let first = u32::try_from(catalog.offerings.len()).unwrap_or(u32::MAX);
            for mut offering in offerings {
                offering.instance_type = id;
                let found = catalog.slots[first_slot..]
                    .iter()
                    .position(|slot| slot.allocatable == offering.allocatable);
                let slot = if let Some(at) = found {
                    first_slot + at
                } else {
                    let allocatable = offering.allocatable.clone();
                    catalog.slots.push(Slot {
                        instance_type: id,
                        allocatable,
                    });
                    catalog.slots.len() - 1
                };
                catalog.offerings.push(offering);
                catalog.slot_of_offering.push(slot);
            }
            let end = u32::try_from(catalog.offerings.len()).unwrap_or(u32::MAX);
            instance_type.offerings = first..end;
            catalog.names.insert(instance_type.name.clone(), id);
            catalog.types.push(instance_type);
        }
        catalog.mask();
        catalog
    }

    fn mask(&mut self) {
        let of_slots = self
            .slots
            .iter()
            .map(|slot| &self.types[slot.instance_type].requirements);
        self.type_keys = KeyMasks::of(of_slots);
        self.offering_keys = KeyMasks::of(self.offerings.values().map(|own| &own.requirements));
        self.available = self
            .offerings
            .values()
            .map(|offering| offering.available)
            .enumerate()
            .fold(
                FixedBitSet::with_capacity(self.offerings.len()),
                |mut mask, (at, available)| {
                    mask.set(at, available);
                    mask
                },
            );
        self.reserved = self
            .offerings
            .iter()
            .filter(|(_, offering)| offering.reservation.is_some())
            .map(|(id, _)| id)
            .collect();
        self.sound = FixedBitSet::with_capacity(self.slots.len());
        for (at, slot) in self.slots.iter().enumerate() {
            self.sound.set(at, !slot.allocatable.has_negative());
        }
        self.ladders = Ladder::of(self.slots.iter().map(|slot| &slot.allocatable));
        for (at, slot) in self.slots.iter().enumerate() {
            let devices = &self.types[slot.instance_type].devices;
            let same = |(own, _): &(Arc<TypeDevices>, FixedBitSet)| {
                Arc::ptr_eq(own, devices) || own == devices
            };
            let group = self.device_groups.iter().position(same).unwrap_or_else(|| {
                let slots = FixedBitSet::with_capacity(self.slots.len());
                self.device_groups.push((devices.clone(), slots));
                self.device_groups.len() - 1
            });
            self.device_groups[group].1.insert(at);
        }
    }

    /// The type of that name.
    pub fn type_named(&self, name: &str) -> Option<TypeId> {
        self.names.get(name).copied()
    }

    /// The offering of a type in a zone and of a capacity type.
    pub fn offering(
        &self,
        instance_type: TypeId,
        zone: ValueId,
        capacity_type: ValueId,
    ) -> Option<OfferingId> {
        self.types[instance_type].offering_ids().find(|&id| {
            let offering = &self.offerings[id];
            offering.zone == Some(zone) && offering.capacity_type == Some(capacity_type)
        })
    }

    /// Available offerings of a type that a node with these requirements may be bought by.
    pub fn compatible_offerings<'a>(
        &'a self,
        instance_type: TypeId,
        requirements: &'a Requirements,
        vocabulary: &'a Vocabulary,
    ) -> impl Iterator<Item = OfferingId> + 'a {
        self.types[instance_type].offering_ids().filter(move |&id| {
            let offering = &self.offerings[id];
            offering.available
                && requirements.compatible(
                    &offering.requirements,
                    Undefined::AllowedIfWellKnown,
                    vocabulary,
                )
        })
    }

    /// The cheapest of the [`compatible_offerings`](Self::compatible_offerings), the first among equals.
    pub fn cheapest(
        &self,
        instance_type: TypeId,
        requirements: &Requirements,
        vocabulary: &Vocabulary,
    ) -> Option<OfferingId> {
        self.compatible_offerings(instance_type, requirements, vocabulary)
            .min_by_key(|&id| self.offerings[id].price)
    }

    /// Values of a key that some type lists.
    pub(crate) fn values(&self, key: KeyId) -> impl Iterator<Item = ValueId> + '_ {
        self.type_keys
            .get(&key)
            .into_iter()
            .flat_map(KeyMasks::listed)
    }

    /// Slots whose type does not contradict the requirements.
    pub(crate) fn slots_meeting(
        &self,
        requirements: &Requirements,
        vocabulary: &Vocabulary,
    ) -> Slots {
        let mut slots = all(self.slots.len());
        for requirement in requirements {
            if let Some(masks) = self.type_keys.get(&requirement.key()) {
                slots.intersect_with(&masks.agreeing(requirement, vocabulary));
            }
        }
        slots
    }

    /// Available offerings that a node with these requirements may be bought by.
    pub(crate) fn offered(
        &self,
        requirements: &Requirements,
        vocabulary: &Vocabulary,
    ) -> FixedBitSet {
        let mut offerings = self.available.clone();
        for (&key, masks) in &self.offering_keys {
            match requirements.get(key) {
                Some(requirement) => {
                    offerings.intersect_with(&masks.agreeing(requirement, vocabulary));
                }
                None if vocabulary.is_well_known(key) => {}
                None => offerings.intersect_with(&masks.content_with_absence()),
            }
        }
        offerings
    }

    /// The reservations that offerings are bought from, with what is left of each; an id may come more
    /// than once.
    pub(crate) fn reservations(&self) -> impl Iterator<Item = (ValueId, i64)> + '_ {
        self.reserved.iter().filter_map(|&id| {
            let offering = &self.offerings[id];
            Some((offering.reservation?.1, offering.reservation_capacity))
        })
    }

    /// The label that names reservations, if any offering is bought from one.
    pub(crate) fn reservation_key(&self) -> Option<KeyId> {
        let first = *self.reserved.first()?;
        self.offerings[first].reservation.map(|(key, _)| key)
    }

    /// The reservations that a node with these requirements and slots may be bought from now; an id may
    /// come more than once.
    pub(crate) fn reserved<'a>(
        &'a self,
        requirements: &'a Requirements,
        slots: &'a Slots,
        vocabulary: &'a Vocabulary,
    ) -> impl Iterator<Item = ValueId> + 'a {
        self.reserved.iter().filter_map(move |&id| {
            let offering = &self.offerings[id];
            let may_be = offering.available
                && slots.contains(self.slot_of_offering[id])
                && requirements.compatible(
                    &offering.requirements,
                    Undefined::AllowedIfWellKnown,
                    vocabulary,
                );
            offering
                .reservation
                .filter(|_| may_be)
                .map(|(_, reservation)| reservation)
        })
    }

    /// Slots with an available offering that a node with these requirements may be bought by.
    pub(crate) fn slots_offered(
        &self,
        requirements: &Requirements,
        vocabulary: &Vocabulary,
    ) -> Slots {
        let mut slots = FixedBitSet::with_capacity(self.slots.len());
        for offering in self.offered(requirements, vocabulary).ones() {
            slots.insert(self.slot_of_offering[OfferingId::from_index(offering)]);
        }
        slots
    }

    /// Slots in which the requests fit.
    pub(crate) fn slots_fitting(&self, requests: &Resources) -> Slots {
        let mut slots = self.sound.clone();
        for (id, amount) in requests.iter() {
            match self.ladders.get(&id) {
                Some(ladder) => ladder.restrict(amount, &mut slots),
                // No type has any of it.
                None if amount > 0 => slots.clear(),
                None => {}
            }
        }
        slots
    }

    /// Slots whose type's capacity stays within every amount that is present.
    pub(crate) fn slots_within(&self, remaining: &Resources) -> Slots {
        let mut slots = FixedBitSet::with_capacity(self.slots.len());
        for (at, slot) in self.slots.iter().enumerate() {
            let capacity = &self.types[slot.instance_type].capacity;
            slots.set(
                at,
                remaining.iter().all(|(id, left)| capacity.get(id) <= left),
            );
        }
        slots
    }

    /// The types that slots belong to, in name order.
    pub(crate) fn types_of(&self, slots: &Slots) -> Vec<TypeId> {
        let mut types: Vec<TypeId> = slots
            .ones()
            .map(|at| self.slots[at].instance_type)
            .collect();
        types.dedup();
        types
    }

    /// The slots divided by the devices that drivers on their types will publish.
    pub(crate) fn device_groups(&self) -> &[(Arc<TypeDevices>, Slots)] {
        &self.device_groups
    }

    /// The slots of a type, whatever the offering.
    pub(crate) fn slots_of(&self, instance_type: TypeId) -> impl Iterator<Item = usize> + '_ {
        let first = self
            .slots
            .partition_point(|slot| slot.instance_type < instance_type);
        (first..self.slots.len())
            .take_while(move |&at| self.slots[at].instance_type == instance_type)
    }

    /// What pods may use of a slot.
    pub(crate) fn allocatable(&self, slot: usize) -> &Resources {
        &self.slots[slot].allocatable
    }

    /// Number of slots.
    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }
}

/// Every slot of so many.
pub(crate) fn all(count: usize) -> Slots {
    let mut slots = FixedBitSet::with_capacity(count);
    slots.insert_range(..);
    slots
}
