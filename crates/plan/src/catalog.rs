//! What could be launched: instance types and their offerings.
//!
//! Providers state plain named values ([`InstanceType`], [`Offering`], [`CatalogFeed`]); lowering turns
//! them into a [`Catalog`] with masks, so that "which types are compatible and large enough" is a
//! handful of word-wise ANDs.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::ops::Range;

use karpenter_api::ResourceList;

use crate::{
    price::Price,
    requirement::Requirements,
    resources::Resources,
    vocabulary::{IdVec, OfferingId, TypeId, ValueId},
};

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
    /// How many are left of a reservation.
    pub reservation_capacity: i64,
    /// What pods may use of a machine bought this way.
    pub allocatable: Resources,
}

/// Instance types in name order, with their offerings.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The feed's generation.
    pub generation: u64,
    /// The types, in name order.
    pub types: IdVec<TypeId, CatalogType>,
    /// The offerings, contiguous per type, in the feed's order.
    pub offerings: IdVec<OfferingId, CatalogOffering>,
    names: BTreeMap<Arc<str>, TypeId>,
}

impl Catalog {
    /// The type of that name.
    pub fn type_named(&self, name: &str) -> Option<TypeId> {
        self.names.get(name).copied()
    }
}
