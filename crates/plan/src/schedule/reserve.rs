//! Reserved capacity: what is left of each reservation, and which open claims hold some of it
//! (scheduling 4.11).
//!
//! A claim that might be bought from a reservation holds one machine of every reservation that would do,
//! since only the provider knows which it becomes. It lets go of those that later pods rule out.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{
    ReservedPolicy, TemplateRefusal,
    set::{SetId, Sets},
};
use crate::{
    catalog::{Catalog, Slots},
    requirement::{Requirement, Requirements},
    snapshot::Snapshot,
    vocabulary::{KeyId, ValueId, Vocabulary},
};

/// Reservations that one claim holds, in id order.
pub(super) type Held = Vec<ValueId>;

/// All reservations of a round.
#[derive(Debug)]
pub(super) struct Reservations {
    policy: ReservedPolicy,
    /// Machines left, by reservation. Pools may see different numbers; the least counts.
    left: BTreeMap<ValueId, i64>,
    /// Per open claim.
    held: Vec<Held>,
}

impl Reservations {
    pub(super) fn new(snapshot: &Snapshot, policy: ReservedPolicy) -> Self {
        let mut left = BTreeMap::new();
        if policy != ReservedPolicy::Ignored {
            for catalog in snapshot.catalogs.values().flatten() {
                for (id, capacity) in catalog.reservations() {
                    let least = left.entry(id).or_insert(capacity);
                    *least = capacity.min(*least);
                }
            }
        }
        Self {
            policy,
            left,
            held: Vec::new(),
        }
    }

    /// What a claim, open already or new, would hold if it had these requirements and slots.
    pub(super) fn ask(
        &self,
        claim: Option<usize>,
        catalog: &Catalog,
        sets: &Sets<'_>,
        set: SetId,
        slots: &Slots,
    ) -> Result<Held, TemplateRefusal> {
        let mut held = Held::new();
        if self.left.is_empty() {
            return Ok(held);
        }
        let before = claim.map_or(&[][..], |claim| &self.held[claim]);
        let mut is_offered = false;
        for id in catalog.reserved(sets.get(set), slots, sets.vocabulary()) {
            is_offered = true;
            let is_free = self.left.get(&id).is_some_and(|&left| left > 0);
            if is_free || before.contains(&id) {
                held.push(id);
            }
        }
        held.sort_unstable();
        held.dedup();
        // An open claim does not let go of all that it holds: what it is for counts on one of them.
        let is_refused = held.is_empty() && (is_offered || !before.is_empty());
        if is_refused && self.policy == ReservedPolicy::Strict {
            return Err(TemplateRefusal::Reserved);
        }
        Ok(held)
    }

    /// The claim holds these from now on, and no others. True if anything changed.
    pub(super) fn hold(&mut self, claim: usize, held: Held) -> bool {
        if self.held.len() <= claim {
            self.held.resize_with(claim + 1, Held::new);
        }
        if self.held[claim] == held {
            return false;
        }
        for id in core::mem::replace(&mut self.held[claim], held) {
            *self.left.entry(id).or_default() += 1;
        }
        for id in &self.held[claim] {
            let left = self.left.entry(*id).or_default();
            debug_assert!(*left > 0, "a reservation is held that has nothing left");
            *left -= 1;
        }
        true
    }

    /// The requirements of a finished claim, if it holds reservations: it is bought from them and from
    /// nothing else.
    pub(super) fn bind(
        &self,
        claim: usize,
        catalog: &Catalog,
        requirements: &Requirements,
        vocabulary: &Vocabulary,
    ) -> Option<Requirements> {
        let key = catalog.reservation_key()?;
        let held = self.held.get(claim).filter(|held| !held.is_empty())?;
        let mut requirements = requirements.clone();
        requirements.replace(Requirement::any_of(
            KeyId::CAPACITY_TYPE,
            [ValueId::RESERVED],
        ));
        requirements.add(Requirement::any_of(key, held.iter().copied()), vocabulary);
        Some(requirements)
    }
}
