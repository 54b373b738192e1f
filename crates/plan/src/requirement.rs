//! The algebra of label requirements: value sets with complement, bounds and a minimum of choices.
//!
//! A [`Requirement`] is a set of label values of one key; a [`Requirements`] is one such set per key,
//! where a missing key means any value or none. Everything that constrains a node is brought into this
//! form: selectors, affinity terms, pools, instance types, offerings, and the labels of real nodes.
//!
//! The operations reproduce upstream's, odd corners included, because pods are placed by them.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write;

use smallvec::SmallVec;

use crate::vocabulary::{KeyId, ValueId, Vocabulary};

/// The relation that a requirement is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// One of the values.
    In,
    /// None of the values; an absent label satisfies it too.
    NotIn,
    /// Any value.
    Exists,
    /// No value.
    DoesNotExist,
    /// Greater than an integer.
    Gt,
    /// Less than an integer.
    Lt,
    /// At least an integer.
    Gte,
    /// At most an integer.
    Lte,
}

impl Operator {
    /// Parses the API's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            "Gte" => Self::Gte,
            "Lte" => Self::Lte,
            _ => return None,
        })
    }

    /// The API's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
            Self::Gt => "Gt",
            Self::Lt => "Lt",
            Self::Gte => "Gte",
            Self::Lte => "Lte",
        }
    }
}

/// A set of values of one label key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: KeyId,
    complement: bool,
    /// Sorted by id, without repetition: allowed values, or excluded ones when `complement`.
    values: SmallVec<[ValueId; 2]>,
    at_least: Option<i64>,
    at_most: Option<i64>,
    min_values: Option<u32>,
    /// Some part of it needs the label to be there. The value set alone forgets that: `Exists` and
    /// `NotIn a` make `NotIn a`, which an absent label satisfies.
    needs_presence: bool,
}

impl Requirement {
    fn plain(key: KeyId, complement: bool) -> Self {
        Self {
            key,
            complement,
            values: SmallVec::new(),
            at_least: None,
            at_most: None,
            min_values: None,
            needs_presence: complement,
        }
    }

    fn with_values(mut self, values: impl IntoIterator<Item = ValueId>) -> Self {
        self.values = values.into_iter().collect();
        self.values.sort_unstable();
        self.values.dedup();
        self
    }

    /// One of the values; none at all when there are none.
    pub fn any_of(key: KeyId, values: impl IntoIterator<Item = ValueId>) -> Self {
        let set = Self::plain(key, false).with_values(values);
        Self {
            needs_presence: !set.values.is_empty(),
            ..set
        }
    }

    /// None of the values.
    pub fn none_of(key: KeyId, values: impl IntoIterator<Item = ValueId>) -> Self {
        let set = Self::plain(key, true).with_values(values);
        Self {
            needs_presence: set.values.is_empty(),
            ..set
        }
    }

    /// Any value.
    pub fn exists(key: KeyId) -> Self {
        Self::plain(key, true)
    }

    /// No value.
    pub fn does_not_exist(key: KeyId) -> Self {
        Self::plain(key, false)
    }

    /// An integer within inclusive bounds.
    pub fn between(key: KeyId, at_least: Option<i64>, at_most: Option<i64>) -> Self {
        Self {
            at_least,
            at_most,
            ..Self::plain(key, true)
        }
    }

    /// An operator of the API with its already parsed operands. `number` is the operand of a
    /// comparison.
    pub fn of(
        key: KeyId,
        operator: Operator,
        values: impl IntoIterator<Item = ValueId>,
        number: i64,
    ) -> Self {
        match operator {
            Operator::In => Self::any_of(key, values),
            Operator::NotIn => Self::none_of(key, values),
            Operator::Exists => Self::exists(key),
            Operator::DoesNotExist => Self::does_not_exist(key),
            // No integer is above the largest one.
            Operator::Gt => match number.checked_add(1) {
                Some(bound) => Self::between(key, Some(bound), None),
                None => Self::does_not_exist(key),
            },
            Operator::Lt => match number.checked_sub(1) {
                Some(bound) => Self::between(key, None, Some(bound)),
                None => Self::does_not_exist(key),
            },
            Operator::Gte => Self::between(key, Some(number), None),
            Operator::Lte => Self::between(key, None, Some(number)),
        }
    }

    /// Asks for a minimum number of distinct values among the instance types of a claim.
    pub fn with_min_values(mut self, min_values: Option<u32>) -> Self {
        self.min_values = min_values;
        self
    }

    /// The key.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// True when [`values`](Self::values) are the excluded ones.
    pub fn is_complement(&self) -> bool {
        self.complement
    }

    /// Allowed values, or excluded ones of a complement; sorted by id.
    pub fn values(&self) -> &[ValueId] {
        &self.values
    }

    /// The smallest allowed integer.
    pub fn at_least(&self) -> Option<i64> {
        self.at_least
    }

    /// The largest allowed integer.
    pub fn at_most(&self) -> Option<i64> {
        self.at_most
    }

    /// The minimum number of distinct values.
    pub fn min_values(&self) -> Option<u32> {
        self.min_values
    }

    /// The only allowed value, if there is exactly one.
    pub fn single_value(&self) -> Option<ValueId> {
        match (self.complement, self.values.as_slice()) {
            (false, &[value]) => Some(value),
            _ => None,
        }
    }

    /// One of `In`, `NotIn`, `Exists`, `DoesNotExist`; bounds count as `Exists`.
    pub fn operator(&self) -> Operator {
        match (self.complement, self.values.is_empty()) {
            (true, true) => Operator::Exists,
            (true, false) => Operator::NotIn,
            (false, true) => Operator::DoesNotExist,
            (false, false) => Operator::In,
        }
    }

    /// True when an absent label satisfies the requirement.
    pub fn allows_absence(&self) -> bool {
        matches!(self.operator(), Operator::NotIn | Operator::DoesNotExist)
    }

    /// True when a node that lacks the label cannot satisfy everything this was made of.
    pub fn needs_presence(&self) -> bool {
        self.needs_presence
    }

    fn is_bounded(&self) -> bool {
        self.at_least.is_some() || self.at_most.is_some()
    }

    /// True when the value is in the set.
    pub fn has(&self, value: ValueId, vocabulary: &Vocabulary) -> bool {
        (self.values.binary_search(&value).is_ok() != self.complement)
            && within(value, self.at_least, self.at_most, vocabulary)
    }

    /// The values in both sets.
    pub fn intersection(&self, other: &Self, vocabulary: &Vocabulary) -> Self {
        let (at_least, at_most) = combined_bounds(self, other);
        let min_values = self.min_values.max(other.min_values);
        let needs_presence = self.needs_presence || other.needs_presence;
        if crossed(at_least, at_most) {
            let none = Self::does_not_exist(self.key).with_min_values(min_values);
            return Self {
                needs_presence,
                ..none
            };
        }
        let complement = self.complement && other.complement;
        let listed = |own: &Self, value: &ValueId| own.values.binary_search(value).is_ok();
        let mut values: SmallVec<[ValueId; 2]> = match (self.complement, other.complement) {
            (true, true) => self.values.iter().chain(&other.values).copied().collect(),
            (true, false) => other
                .values
                .iter()
                .copied()
                .filter(|v| !listed(self, v))
                .collect(),
            (false, true) => self
                .values
                .iter()
                .copied()
                .filter(|v| !listed(other, v))
                .collect(),
            (false, false) => self
                .values
                .iter()
                .copied()
                .filter(|v| listed(other, v))
                .collect(),
        };
        values.sort_unstable();
        values.dedup();
        values.retain(|value| within(*value, at_least, at_most, vocabulary));
        let (at_least, at_most) = if complement {
            (at_least, at_most)
        } else {
            (None, None)
        };
        Self {
            key: self.key,
            complement,
            values,
            at_least,
            at_most,
            min_values,
            needs_presence,
        }
    }

    /// True when some value is in both sets. Two complements always have one: excluded values never
    /// exhaust a range in upstream's eyes.
    pub fn intersects(&self, other: &Self, vocabulary: &Vocabulary) -> bool {
        let (at_least, at_most) = combined_bounds(self, other);
        if crossed(at_least, at_most) {
            return false;
        }
        let survives = |value: &ValueId, excluded: &Self| {
            (excluded.values.binary_search(value).is_ok() != excluded.complement)
                && within(*value, at_least, at_most, vocabulary)
        };
        match (self.complement, other.complement) {
            (true, true) => true,
            (true, false) => other.values.iter().any(|value| survives(value, self)),
            (false, _) => self.values.iter().any(|value| survives(value, other)),
        }
    }

    /// True when the requirements of one key do not contradict each other: they share a value, or both
    /// are content with an absent label.
    pub fn agrees(&self, other: &Self, vocabulary: &Vocabulary) -> bool {
        // Upstream asks for less: a claim with a pod that needs the label and another that excludes
        // values of it would also take one that forbids the label, and then the first never runs.
        let absent = |own: &Self| own.allows_absence() && !own.needs_presence;
        (absent(self) && absent(other)) || self.intersects(other, vocabulary)
    }

    /// `<key> <operator> [values] >=n <=n minValues n`, as upstream prints it.
    pub fn render(&self, vocabulary: &Vocabulary) -> String {
        let operator = self.operator();
        let mut text = format!("{} {}", vocabulary.key_name(self.key), operator.name());
        if matches!(operator, Operator::In | Operator::NotIn) {
            let values = self.sorted_texts(vocabulary);
            let more = values.len().saturating_sub(SHOWN_VALUES);
            let _ = write!(text, " [{}", values[..values.len() - more].join(" "));
            if more > 0 {
                let _ = write!(text, " and {more} others");
            }
            text.push(']');
        }
        if let Some(bound) = self.at_least {
            let _ = write!(text, " >={bound}");
        }
        if let Some(bound) = self.at_most {
            let _ = write!(text, " <={bound}");
        }
        if let Some(count) = self.min_values {
            let _ = write!(text, " minValues {count}");
        }
        text
    }

    /// The entries that say the same in an object's `requirements`. Excluded values of a bounded set
    /// cannot be said and are lost, as upstream loses them.
    pub fn to_api(&self, vocabulary: &Vocabulary) -> Vec<karpenter_api::Requirement> {
        let entry = |operator: Operator, values: Vec<String>| karpenter_api::Requirement {
            key: vocabulary.key_name(self.key).to_string(),
            operator: operator.name().to_string(),
            values: if values.is_empty() {
                None
            } else {
                Some(values)
            },
            min_values: self
                .min_values
                .map(|count| i32::try_from(count).unwrap_or(i32::MAX)),
        };
        if self.is_bounded() {
            let bounds = [
                (Operator::Gte, self.at_least),
                (Operator::Lte, self.at_most),
            ];
            return bounds
                .into_iter()
                .filter_map(|(operator, bound)| Some((operator, bound?)))
                .map(|(operator, bound)| entry(operator, [bound.to_string()].into()))
                .collect();
        }
        let values = self
            .sorted_texts(vocabulary)
            .into_iter()
            .map(String::from)
            .collect();
        [entry(self.operator(), values)].into()
    }

    fn sorted_texts<'a>(&self, vocabulary: &'a Vocabulary) -> Vec<&'a str> {
        let mut texts: Vec<&str> = self
            .values
            .iter()
            .map(|value| &**vocabulary.value_text(*value))
            .collect();
        texts.sort_unstable();
        texts
    }
}

/// Upstream prints so many values and counts the rest.
const SHOWN_VALUES: usize = 5;

fn within(
    value: ValueId,
    at_least: Option<i64>,
    at_most: Option<i64>,
    vocabulary: &Vocabulary,
) -> bool {
    if at_least.is_none() && at_most.is_none() {
        return true;
    }
    vocabulary.value_number(value).is_some_and(|number| {
        at_least.is_none_or(|bound| number >= bound) && at_most.is_none_or(|bound| number <= bound)
    })
}

fn combined_bounds(a: &Requirement, b: &Requirement) -> (Option<i64>, Option<i64>) {
    let at_most = match (a.at_most, b.at_most) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    (a.at_least.max(b.at_least), at_most)
}

fn crossed(at_least: Option<i64>, at_most: Option<i64>) -> bool {
    matches!((at_least, at_most), (Some(low), Some(high)) if low > high)
}

/// Whether keys that nobody defined may be assumed to be satisfiable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undefined {
    /// Every key must be defined: for nodes that exist.
    Refused,
    /// Well-known keys may be undefined: for nodes that will be.
    AllowedIfWellKnown,
}

/// One requirement per key, sorted by key id. A missing key allows everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Requirements(Vec<Requirement>);

impl<'a> IntoIterator for &'a Requirements {
    type Item = &'a Requirement;
    type IntoIter = core::slice::Iter<'a, Requirement>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Requirements {
    /// No constraint.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives back the room that more requirements would have taken: for those that stay.
    pub(crate) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    /// The requirement of a key.
    pub fn get(&self, key: KeyId) -> Option<&Requirement> {
        self.0
            .binary_search_by_key(&key, Requirement::key)
            .ok()
            .map(|at| &self.0[at])
    }

    /// Requirements in order of key id.
    pub fn iter(&self) -> core::slice::Iter<'_, Requirement> {
        self.0.iter()
    }

    /// True when nothing is constrained.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Narrows a key.
    pub fn add(&mut self, requirement: Requirement, vocabulary: &Vocabulary) {
        match self
            .0
            .binary_search_by_key(&requirement.key, Requirement::key)
        {
            Ok(at) => self.0[at] = self.0[at].intersection(&requirement, vocabulary),
            Err(at) => self.0.insert(at, requirement),
        }
    }

    /// Replaces a key.
    pub fn replace(&mut self, requirement: Requirement) {
        match self
            .0
            .binary_search_by_key(&requirement.key, Requirement::key)
        {
            Ok(at) => self.0[at] = requirement,
            Err(at) => self.0.insert(at, requirement),
        }
    }

    /// Narrows by all of another set.
    pub fn add_all(&mut self, other: &Self, vocabulary: &Vocabulary) {
        for requirement in &other.0 {
            self.add(requirement.clone(), vocabulary);
        }
    }

    /// Frees a key.
    pub fn remove(&mut self, key: KeyId) {
        self.0.retain(|requirement| requirement.key != key);
    }

    /// True when no key that both define contradicts itself.
    pub fn intersects(&self, incoming: &Self, vocabulary: &Vocabulary) -> bool {
        let (small, large) = if self.0.len() < incoming.0.len() {
            (self, incoming)
        } else {
            (incoming, self)
        };
        small.0.iter().all(|one| {
            large
                .get(one.key)
                .is_none_or(|other| one.agrees(other, vocabulary))
        })
    }

    /// True when a node with these requirements can satisfy the incoming ones.
    pub fn compatible(
        &self,
        incoming: &Self,
        undefined: Undefined,
        vocabulary: &Vocabulary,
    ) -> bool {
        self.first_undefined(incoming, undefined, vocabulary)
            .is_none()
            && self.intersects(incoming, vocabulary)
    }

    /// The first key, by name, that the incoming requirements need and this set does not define.
    pub fn first_undefined(
        &self,
        incoming: &Self,
        undefined: Undefined,
        vocabulary: &Vocabulary,
    ) -> Option<KeyId> {
        incoming
            .0
            .iter()
            .filter(|requirement| match undefined {
                // On a node that exists, what is absent stays absent.
                Undefined::Refused => requirement.needs_presence || !requirement.allows_absence(),
                // On a node that will be, the claim gets a label for what merely excludes values.
                Undefined::AllowedIfWellKnown => {
                    !vocabulary.is_well_known(requirement.key) && !requirement.allows_absence()
                }
            })
            .filter(|requirement| self.get(requirement.key).is_none())
            .map(Requirement::key)
            .min_by(|&a, &b| vocabulary.key_name(a).cmp(vocabulary.key_name(b)))
    }

    /// Why [`compatible`](Self::compatible) says no, one text per contradiction in key order; empty
    /// when it says yes.
    pub fn incompatibilities(
        &self,
        incoming: &Self,
        undefined: Undefined,
        vocabulary: &Vocabulary,
    ) -> Vec<String> {
        if let Some(key) = self.first_undefined(incoming, undefined, vocabulary) {
            let name = vocabulary.key_name(key);
            let hint = self.hint(name, undefined, vocabulary);
            return [format!("label \"{name}\" does not have known values{hint}")].into();
        }
        let mut found: Vec<String> = incoming
            .0
            .iter()
            .filter_map(|new| Some((new, self.get(new.key)?)))
            .filter(|(new, own)| !own.agrees(new, vocabulary))
            .map(|(new, own)| {
                let name = vocabulary.key_name(new.key);
                format!(
                    "key {name}, {} not in {}",
                    new.render(vocabulary),
                    own.render(vocabulary)
                )
            })
            .collect();
        found.sort();
        found
    }

    /// A key that the user may have meant.
    fn hint(&self, name: &str, undefined: Undefined, vocabulary: &Vocabulary) -> String {
        let tail = name.split_once('/').map_or(name, |(_, tail)| tail);
        let meant = |known: &str| known.contains(name) || known.ends_with(tail);
        let mut candidates: Vec<&str> = Vec::new();
        if undefined == Undefined::AllowedIfWellKnown {
            candidates.extend(
                vocabulary
                    .well_known()
                    .into_iter()
                    .map(|key| &**vocabulary.key_name(key)),
            );
        }
        let mut own: Vec<&str> = self
            .0
            .iter()
            .map(|requirement| &**vocabulary.key_name(requirement.key))
            .collect();
        own.sort_unstable();
        candidates.extend(own);
        match candidates.into_iter().find(|candidate| meant(candidate)) {
            Some(known) => format!(" (typo of \"{known}\"?)"),
            None => String::new(),
        }
    }

    /// All requirements, sorted and joined; the host name, which users cannot constrain, is left out.
    pub fn render(&self, vocabulary: &Vocabulary) -> String {
        let texts: BTreeSet<String> = self
            .0
            .iter()
            .filter(|requirement| requirement.key != KeyId::HOSTNAME)
            .map(|requirement| requirement.render(vocabulary))
            .collect();
        texts.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// The entries of an object's `requirements`, in order of key name.
    pub fn to_api(&self, vocabulary: &Vocabulary) -> Vec<karpenter_api::Requirement> {
        let mut sorted: Vec<&Requirement> = self.0.iter().collect();
        sorted.sort_by(|a, b| vocabulary.key_name(a.key).cmp(vocabulary.key_name(b.key)));
        sorted
            .into_iter()
            .flat_map(|requirement| requirement.to_api(vocabulary))
            .collect()
    }
}
