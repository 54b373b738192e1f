//! No reservation is promised to more claims than it has machines.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::catalog::CatalogOffering;
use crate::requirement::Operator;
use crate::schedule::Plan;
use crate::snapshot::Snapshot;
use crate::vocabulary::{KeyId, ValueId};

use super::violation::Violation;

pub(super) fn violations(snapshot: &Snapshot, plan: &Plan) -> Vec<Violation> {
    let mut machines: BTreeMap<(KeyId, ValueId), i64> = BTreeMap::new();
    let catalogs = snapshot.catalogs.values().flatten();
    let offerings = catalogs.flat_map(|catalog| catalog.offerings.values());
    for offering in offerings {
        let CatalogOffering {
            reservation: Some(reservation),
            reservation_capacity,
            ..
        } = offering
        else {
            continue;
        };
        let least = machines
            .entry(*reservation)
            .or_insert(*reservation_capacity);
        *least = (*least).min(*reservation_capacity);
    }
    let mut violations = Vec::new();
    for (index, claim) in plan.claims.iter().enumerate() {
        for ((key, id), left) in &mut machines {
            let wanted = claim.requirements.get(*key);
            let is_named = wanted.is_some_and(|wanted| {
                wanted.operator() == Operator::In && wanted.values().contains(id)
            });
            // A pod may ask for a reservation by its label where reservations are ignored.
            let only_reserved = claim
                .requirements
                .get(KeyId::CAPACITY_TYPE)
                .is_some_and(|wanted| wanted.single_value() == Some(ValueId::RESERVED));
            if is_named && only_reserved {
                *left -= 1;
                if *left < 0 {
                    violations.push(Violation::Reservation(index, *id));
                }
            }
        }
    }
    violations
}
