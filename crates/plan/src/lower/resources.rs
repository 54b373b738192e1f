//! Quantities into exact integers and back.

use alloc::{string::ToString, sync::Arc};

use karpenter_api::{Quantity, ResourceList, quantity::Format};

use super::Lowering;
use crate::{
    resources::{ResourceId, Resources},
    vocabulary::Vocabulary,
};

/// Billionths in a thousandth.
const NANOS_PER_MILLI: i128 = 1_000_000;

impl Lowering {
    fn resource(&mut self, name: &str) -> ResourceId {
        match self.vocabulary.resource(name) {
            Some(id) => id,
            None => Arc::make_mut(&mut self.vocabulary).intern_resource(name),
        }
    }

    /// What is asked for: rounded up.
    pub(super) fn requests(&mut self, list: Option<&ResourceList>) -> Resources {
        list.into_iter()
            .flatten()
            .map(|(name, quantity)| (self.resource(name), quantity.as_milli_ceil()))
            .collect()
    }

    /// What is there: rounded down.
    pub(crate) fn capacity(&mut self, list: Option<&ResourceList>) -> Resources {
        list.into_iter()
            .flatten()
            .map(|(name, quantity)| (self.resource(name), milli_floor(*quantity)))
            .collect()
    }
}

fn milli_floor(quantity: Quantity) -> i64 {
    let milli = quantity.nanos().div_euclid(NANOS_PER_MILLI);
    i64::try_from(milli).unwrap_or(if milli < 0 { i64::MIN } else { i64::MAX })
}

/// Canonical quantities: bytes with binary suffixes, everything else with decimal ones.
pub fn to_resource_list(resources: &Resources, vocabulary: &Vocabulary) -> ResourceList {
    resources
        .iter()
        .map(|(id, milli)| {
            let name = vocabulary.resource_name(id);
            let bytes = matches!(id, ResourceId::MEMORY | ResourceId::EPHEMERAL_STORAGE)
                || name.starts_with("hugepages-");
            let format = if bytes {
                Format::BinarySi
            } else {
                Format::DecimalSi
            };
            let nanos = i128::from(milli) * NANOS_PER_MILLI;
            (name.to_string(), Quantity::from_nanos(nanos, format))
        })
        .collect()
}
