//! A provider's instance types into a catalogue with masks.

use alloc::{string::String, sync::Arc, vec::Vec};

use karpenter_api::{Quantity, ResourceList};

use super::{Lowering, requirement::Entry};
use crate::{
    catalog::{Catalog, CatalogFeed, CatalogOffering, CatalogType, InstanceType, Offering},
    overlay::Corrected,
    requirement::{Requirement, Requirements},
    resources::{ResourceId, Resources},
    vocabulary::{KeyId, TypeId, ValueId},
};

impl Lowering {
    /// A catalogue, to be shared by all pools that get the same feed. Types and offerings whose
    /// requirements have no meaning are left out.
    pub fn catalog(&mut self, feed: &CatalogFeed) -> Arc<Catalog> {
        let types = self.types(feed);
        Arc::new(Catalog::build(feed.generation, types))
    }

    /// A catalogue of types that NodeOverlays have corrected.
    pub fn corrected_catalog(&mut self, corrected: &Corrected) -> Arc<Catalog> {
        let mut types = self.types(&corrected.feed);
        for (own, _) in &mut types {
            own.price_overlaid = corrected.prices.contains(&*own.name);
            own.capacity_overlaid = corrected.capacities.contains(&*own.name);
        }
        Arc::new(Catalog::build(corrected.feed.generation, types))
    }

    fn types(&mut self, feed: &CatalogFeed) -> Vec<(CatalogType, Vec<CatalogOffering>)> {
        feed.types
            .iter()
            .filter_map(|instance_type| self.instance_type(instance_type).ok())
            .collect()
    }

    fn instance_type(
        &mut self,
        instance_type: &InstanceType,
    ) -> Result<(CatalogType, Vec<CatalogOffering>), String> {
        // A claim lists its types by name, so the name must be among the values.
        self.value(&instance_type.name);
        let lowered = CatalogType {
            name: self.string(&instance_type.name),
            requirements: self.all_of(&instance_type.requirements)?,
            capacity: self.capacity(Some(&instance_type.capacity)),
            allocatable: self.allocatable(instance_type, None),
            price_overlaid: false,
            capacity_overlaid: false,
            offerings: 0..0,
            devices: self.type_devices(instance_type)?,
        };
        let offerings = instance_type
            .offerings
            .iter()
            .filter_map(|offering| self.offering(instance_type, offering).ok())
            .collect();
        Ok((lowered, offerings))
    }

    fn offering(
        &mut self,
        instance_type: &InstanceType,
        offering: &Offering,
    ) -> Result<CatalogOffering, String> {
        let requirements = self.all_of(&offering.requirements)?;
        let only = |key| requirements.get(key).and_then(Requirement::single_value);
        let reservation = self
            .reservation_key
            .filter(|_| only(KeyId::CAPACITY_TYPE) == Some(ValueId::RESERVED))
            .and_then(|key| Some((key, only(key)?)));
        Ok(CatalogOffering {
            // Numbered when the catalogue is built.
            instance_type: TypeId(0),
            zone: only(KeyId::ZONE),
            capacity_type: only(KeyId::CAPACITY_TYPE),
            price: offering.price,
            available: offering.available,
            reservation,
            reservation_capacity: offering.reservation_capacity,
            allocatable: self.allocatable(instance_type, Some(offering)),
            requirements,
        })
    }

    /// The entries together; fails at the first that has no meaning.
    pub(crate) fn all_of(
        &mut self,
        entries: &[karpenter_api::Requirement],
    ) -> Result<Requirements, String> {
        let mut requirements = Requirements::new();
        for entry in entries {
            let requirement = self.requirement(Entry::from(entry))?;
            requirements.add(requirement, &self.vocabulary);
        }
        requirements.shrink();
        Ok(requirements)
    }

    /// Capacity less overhead; huge pages are cut out of memory, which does not fall below zero.
    fn allocatable(&mut self, of: &InstanceType, offering: Option<&Offering>) -> Resources {
        let mut capacity = of.capacity.clone();
        let mut overhead = ResourceList::new();
        let parts = [
            &of.overhead.kube_reserved,
            &of.overhead.system_reserved,
            &of.overhead.eviction_threshold,
        ];
        for (name, quantity) in parts.into_iter().flatten() {
            *overhead.entry(name.clone()).or_insert(Quantity::ZERO) += *quantity;
        }
        if let Some(offering) = offering {
            capacity.extend(offering.capacity_override.clone());
            overhead.extend(offering.overhead_override.clone());
        }
        let mut allocatable = self.capacity(Some(&capacity));
        let hugepages: i64 = allocatable
            .iter()
            .filter(|(id, _)| self.vocabulary.resource_name(*id).starts_with("hugepages-"))
            .map(|(_, amount)| amount)
            .sum();
        allocatable.subtract_present(&self.requests(Some(&overhead)));
        if hugepages > 0 {
            let memory = allocatable
                .get(ResourceId::MEMORY)
                .saturating_sub(hugepages)
                .max(0);
            allocatable.set(ResourceId::MEMORY, memory);
        }
        allocatable
    }
}
