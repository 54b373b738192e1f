//! Sets of catalogue entries by what they require and by how much they have.

use alloc::{collections::BTreeMap, vec::Vec};

use fixedbitset::FixedBitSet;

use crate::{
    requirement::{Requirement, Requirements},
    resources::{ResourceId, Resources},
    vocabulary::{KeyId, ValueId, Vocabulary},
};

/// Which entries require what of one key.
#[derive(Clone, Debug)]
pub(super) struct KeyMasks {
    /// Entries that do not mention the key.
    silent: FixedBitSet,
    /// Each distinct requirement with its entries.
    groups: Vec<(Requirement, Members)>,
}

/// Entries of one group. Names are unique, so most groups of their key have one member.
#[derive(Clone, Debug)]
enum Members {
    One(usize),
    Many(FixedBitSet),
}

impl Members {
    fn add_to(&self, mask: &mut FixedBitSet) {
        match self {
            Self::One(at) => mask.insert(*at),
            Self::Many(members) => mask.union_with(members),
        }
    }

    fn insert(&mut self, at: usize, count: usize) {
        match self {
            Self::One(first) => {
                let mut members = FixedBitSet::with_capacity(count);
                members.insert(*first);
                members.insert(at);
                *self = Self::Many(members);
            }
            Self::Many(members) => members.insert(at),
        }
    }
}

impl KeyMasks {
    pub(super) fn of<'a>(entries: impl Iterator<Item = &'a Requirements>) -> BTreeMap<KeyId, Self> {
        let entries: Vec<&Requirements> = entries.collect();
        let mut keys: BTreeMap<KeyId, Self> = BTreeMap::new();
        let mut places: rustc_hash::FxHashMap<&Requirement, usize> = Default::default();
        for (at, requirements) in entries.iter().enumerate() {
            for requirement in *requirements {
                let masks = keys.entry(requirement.key()).or_insert_with(|| Self {
                    silent: super::all(entries.len()),
                    groups: Vec::new(),
                });
                masks.silent.set(at, false);
                if let Some(&place) = places.get(requirement) {
                    masks.groups[place].1.insert(at, entries.len());
                } else {
                    places.insert(requirement, masks.groups.len());
                    masks.groups.push((requirement.clone(), Members::One(at)));
                }
            }
        }
        keys
    }

    /// Values that some entry lists, each as often as it is listed.
    pub(super) fn listed(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.groups
            .iter()
            .filter(|(requirement, _)| !requirement.is_complement())
            .flat_map(|(requirement, _)| requirement.values().iter().copied())
    }

    /// Entries that do not mention the key or agree with the requirement.
    pub(super) fn agreeing(
        &self,
        requirement: &Requirement,
        vocabulary: &Vocabulary,
    ) -> FixedBitSet {
        let mut mask = self.silent.clone();
        for (own, members) in &self.groups {
            if own.agrees(requirement, vocabulary) {
                members.add_to(&mut mask);
            }
        }
        mask
    }

    /// Entries that do not need the key to be defined.
    pub(super) fn content_with_absence(&self) -> FixedBitSet {
        let mut mask = self.silent.clone();
        for (own, members) in &self.groups {
            if own.allows_absence() {
                members.add_to(&mut mask);
            }
        }
        mask
    }
}

/// Distinct amounts of one resource, each with the entries that have at least so much.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    steps: Vec<(i64, FixedBitSet)>,
}

impl Ladder {
    pub(super) fn of<'a>(
        entries: impl Iterator<Item = &'a Resources>,
    ) -> BTreeMap<ResourceId, Self> {
        let entries: Vec<&Resources> = entries.collect();
        let mut ids: Vec<ResourceId> = entries
            .iter()
            .flat_map(|own| own.iter().map(|(id, _)| id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter()
            .map(|id| {
                let mut amounts: Vec<(i64, usize)> = entries
                    .iter()
                    .enumerate()
                    .map(|(at, own)| (own.get(id), at))
                    .collect();
                amounts.sort_unstable_by(|a, b| b.cmp(a));
                let mut steps: Vec<(i64, FixedBitSet)> = Vec::new();
                let mut so_far = FixedBitSet::with_capacity(entries.len());
                for (amount, at) in amounts {
                    so_far.insert(at);
                    match steps.last_mut() {
                        Some(last) if last.0 == amount => last.1.insert(at),
                        _ => steps.push((amount, so_far.clone())),
                    }
                }
                steps.reverse();
                (id, Self { steps })
            })
            .collect()
    }

    /// Keeps the entries that have at least so much.
    pub(super) fn restrict(&self, amount: i64, mask: &mut FixedBitSet) {
        let first = self.steps.partition_point(|(step, _)| *step < amount);
        match self.steps.get(first) {
            Some((_, entries)) => mask.intersect_with(entries),
            None => mask.clear(),
        }
    }
}
