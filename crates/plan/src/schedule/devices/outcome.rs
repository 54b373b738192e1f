//! What a plan says about devices.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

use super::{Allocator, Given, Holder};
use crate::{
    catalog::Catalog,
    device::{Amounts, DeviceName},
    vocabulary::{NodeId, TypeId},
};

/// A device for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PickedDevice {
    /// The request, `parent/sub` for an alternative.
    pub request: Arc<str>,
    /// The device.
    pub device: DeviceName,
    /// The instance type promises it; otherwise it is published.
    pub is_promised: bool,
    /// What is taken of a device that is shared.
    pub amounts: Amounts,
}

/// The devices for a ResourceClaim. Nothing is written: the scheduler of the cluster allocates once the node
/// is there, and finds that it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAllocation {
    /// Namespace and name of the ResourceClaim.
    pub claim: (Arc<str>, Arc<str>),
    /// The devices by what the machine may turn out to be: the instance types, none for a node that
    /// exists, and the devices if it is one of them.
    pub devices: Vec<(Vec<TypeId>, Vec<PickedDevice>)>,
}

impl DeviceAllocation {
    /// Drivers of the devices, whatever the machine turns out to be.
    pub fn drivers(&self) -> BTreeSet<&Arc<str>> {
        let picks = self.devices.iter().flat_map(|(_, picks)| picks);
        picks.map(|pick| &pick.device.driver).collect()
    }
}

impl Allocator<'_> {
    /// What was given to claims for pods of a claim in the making, by name.
    pub(in crate::schedule) fn of_claim(
        &self,
        at: usize,
        catalog: &Catalog,
        listed: &[TypeId],
    ) -> Vec<DeviceAllocation> {
        self.allocations(Holder::Claim(at), |group| {
            let types = catalog.types_of(&catalog.device_groups()[group].1);
            types.into_iter().filter(|id| listed.contains(id)).collect()
        })
    }

    /// What was given to claims for pods of places that exist, by place and name.
    pub(in crate::schedule) fn of_nodes(&self) -> Vec<(NodeId, DeviceAllocation)> {
        let mut all = Vec::new();
        for &holder in self.holders.keys() {
            if let Holder::Node(node) = holder {
                let own = self.allocations(holder, |_| Vec::new());
                all.extend(own.into_iter().map(|allocation| (node, allocation)));
            }
        }
        all
    }

    fn allocations(
        &self,
        holder: Holder,
        types: impl Fn(usize) -> Vec<TypeId>,
    ) -> Vec<DeviceAllocation> {
        let given = self.given.values().filter(|given| given.holder == holder);
        let allocation = |given: &Given| DeviceAllocation {
            claim: (given.claim.namespace.clone(), given.claim.name.clone()),
            devices: given
                .groups
                .iter()
                .map(|(group, picks)| {
                    let picked = picks.iter().map(|pick| PickedDevice {
                        request: pick.request.clone(),
                        device: pick.choice.device.name.clone(),
                        is_promised: matches!(pick.choice.key, super::DeviceKey::Promised(_)),
                        amounts: pick.amounts.clone(),
                    });
                    (types(*group), picked.collect())
                })
                .collect(),
        };
        let mut all: Vec<DeviceAllocation> = given.map(allocation).collect();
        all.sort_by(|a, b| a.claim.cmp(&b.claim));
        all
    }
}
