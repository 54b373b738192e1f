//! The judge's own reading of label requirements: sets of plain strings.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use crate::labels::Labels;
use crate::requirement::{Requirement, Requirements};
use crate::vocabulary::Vocabulary;

/// The values that one requirement lets through.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    /// The values are those kept out, not those let in.
    excluding: bool,
    values: BTreeSet<Arc<str>>,
    at_least: Option<i64>,
    at_most: Option<i64>,
    is_well_known: bool,
    needs_presence: bool,
    pub(crate) min_values: Option<u32>,
}

impl Set {
    fn of(requirement: &Requirement, vocabulary: &Vocabulary) -> Self {
        let texts = requirement
            .values()
            .iter()
            .map(|&value| vocabulary.value_text(value).clone());
        Self {
            excluding: requirement.is_complement(),
            values: texts.collect(),
            at_least: requirement.at_least(),
            at_most: requirement.at_most(),
            is_well_known: vocabulary.is_well_known(requirement.key()),
            needs_presence: requirement.needs_presence(),
            min_values: requirement.min_values(),
        }
    }

    /// A label with this value would do.
    pub(crate) fn has(&self, value: &str) -> bool {
        let is_listed = self.values.contains(value);
        if is_listed == self.excluding {
            return false;
        }
        if self.at_least.is_none() && self.at_most.is_none() {
            return true;
        }
        value.parse::<i64>().is_ok_and(|number| {
            self.at_least.is_none_or(|least| least <= number)
                && self.at_most.is_none_or(|most| number <= most)
        })
    }

    /// Having no such label would do.
    pub(crate) fn allows_absence(&self) -> bool {
        self.excluding != self.values.is_empty()
    }

    /// A label with this value, or having none, would do.
    pub(crate) fn is_met_by(&self, value: Option<&str>) -> bool {
        let absence_does = !self.needs_presence && self.allows_absence();
        value.map_or(absence_does, |value| self.has(value))
    }

    /// The values, if they can be counted.
    pub(crate) fn listed(&self) -> Option<&BTreeSet<Arc<str>>> {
        (!self.excluding).then_some(&self.values)
    }

    /// Some label, or none, does for both.
    fn agrees(&self, other: &Self) -> bool {
        let is_absent = |own: &Self| own.allows_absence() && !own.needs_presence;
        if is_absent(self) && is_absent(other) {
            return true;
        }
        match (self.listed(), other.listed()) {
            (Some(values), _) => values
                .iter()
                .any(|value| self.has(value) && other.has(value)),
            (None, Some(values)) => values
                .iter()
                .any(|value| self.has(value) && other.has(value)),
            (None, None) => {
                let least = self.at_least.max(other.at_least);
                let most = match (self.at_most, other.at_most) {
                    (Some(one), Some(two)) => Some(one.min(two)),
                    (one, two) => one.or(two),
                };
                !matches!((least, most), (Some(least), Some(most)) if least > most)
            }
        }
    }

    /// Whatever does for this does for the other too.
    fn is_within(&self, other: &Self) -> bool {
        match self.listed() {
            Some(values) if values.is_empty() => other.allows_absence(),
            Some(values) => values.iter().all(|value| other.has(value)),
            None => {
                let least_kept = other
                    .at_least
                    .is_none_or(|least| self.at_least >= Some(least));
                let most_kept = other
                    .at_most
                    .is_none_or(|most| self.at_most.is_some_and(|own| own <= most));
                let kept_out = || other.values.iter().all(|value| !self.has(value));
                other.excluding && least_kept && most_kept && kept_out()
            }
        }
    }
}

/// One set per label key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms(BTreeMap<Arc<str>, Set>);

impl Terms {
    pub(crate) fn of(requirements: &Requirements, vocabulary: &Vocabulary) -> Self {
        let named = requirements.iter().map(|requirement| {
            let name = vocabulary.key_name(requirement.key()).clone();
            (name, Set::of(requirement, vocabulary))
        });
        Self(named.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Set> {
        self.0.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Set)> {
        self.0.iter()
    }

    /// Adds a label that is known to have one value.
    pub(crate) fn know(&mut self, key: &str, value: &str) {
        let set = Set {
            excluding: false,
            values: [Arc::from(value)].into(),
            at_least: None,
            at_most: None,
            is_well_known: false,
            needs_presence: true,
            min_values: None,
        };
        self.0.insert(Arc::from(key), set);
    }

    /// Adds the keys of which other terms merely exclude values, with what is wanted of them in the end.
    pub(super) fn define(&mut self, spoken_of: &Self, wanted: &Self) {
        for key in spoken_of
            .0
            .iter()
            .filter(|(_, set)| set.allows_absence())
            .map(|(key, _)| key)
        {
            if let Some(set) = wanted.get(key) {
                self.0.entry(key.clone()).or_insert_with(|| set.clone());
            }
        }
    }

    /// A node with exactly these labels satisfies the terms.
    pub(crate) fn are_met_by(&self, labels: &Labels, host_name: &str) -> bool {
        self.0.iter().all(|(key, set)| {
            let value = labels.get(key).map(|value| &**value);
            let value = value.or((**key == *HOST_NAME).then_some(host_name));
            set.is_met_by(value)
        })
    }

    /// No key that both speak of contradicts itself.
    pub(crate) fn intersect(&self, other: &Self) -> bool {
        self.0
            .iter()
            .all(|(key, set)| other.get(key).is_none_or(|others| set.agrees(others)))
    }

    /// A node that will be, of which these terms are known, may satisfy the wanted ones: what is not
    /// known may be assumed only of well-known labels.
    pub(crate) fn may_satisfy(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|(key, set)| match self.get(key) {
            Some(own) => own.agrees(set),
            None => set.is_well_known || set.allows_absence(),
        })
    }

    /// Keys that the wanted terms need and that nothing here defines.
    pub(crate) fn undefined<'a>(&self, wanted: &'a Self) -> Option<&'a Arc<str>> {
        let is_undefined = |key: &str, set: &Set| {
            !set.is_well_known && !set.allows_absence() && self.get(key).is_none()
        };
        wanted
            .0
            .iter()
            .find(|(key, set)| is_undefined(key, set))
            .map(|(key, _)| key)
    }

    /// The first key for which these terms let something through that the wanted ones do not.
    pub(crate) fn first_beyond<'a>(&self, wanted: &'a Self) -> Option<&'a Arc<str>> {
        let is_within = |key: &str, set: &Set| self.get(key).is_some_and(|own| own.is_within(set));
        wanted
            .0
            .iter()
            .find(|(key, set)| !is_within(key, set))
            .map(|(key, _)| key)
    }
}

const HOST_NAME: &str = karpenter_api::labels::HOSTNAME;
