//! Resource vectors in exact integers.
//!
//! Amounts are thousandths (of a core, of a byte, of a device). Requests are rounded up and capacities
//! down when they are lowered, so that nothing is ever promised that does not exist. A name that is
//! absent counts as zero, but stays absent: limits and node statuses tell the two apart.

use core::cmp::Ordering;

use smallvec::SmallVec;

/// An interned resource name; see its constants for the ones with fixed ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(pub u16);

/// Amounts by resource, sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources(SmallVec<[(ResourceId, i64); 4]>);

impl Resources {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The amount in thousandths; zero when absent.
    pub fn get(&self, id: ResourceId) -> i64 {
        self.find(id).unwrap_or(0)
    }

    /// The amount in thousandths, if the name is present.
    pub fn find(&self, id: ResourceId) -> Option<i64> {
        self.0
            .iter()
            .find(|(found, _)| *found == id)
            .map(|(_, amount)| *amount)
    }

    /// Sets an amount in thousandths, making the name present.
    pub fn set(&mut self, id: ResourceId, amount: i64) {
        match self.0.binary_search_by_key(&id, |(found, _)| *found) {
            Ok(at) => self.0[at].1 = amount,
            Err(at) => self.0.insert(at, (id, amount)),
        }
    }

    /// Removes a name.
    pub fn remove(&mut self, id: ResourceId) {
        self.0.retain(|(found, _)| *found != id);
    }

    /// Pairs in id order.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceId, i64)> + '_ {
        self.0.iter().copied()
    }

    /// True when no name is present.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds element by element.
    pub fn add(&mut self, other: &Self) {
        self.merge(other, i64::saturating_add);
    }

    /// Subtracts element by element; names only in `other` become negative.
    pub fn subtract(&mut self, other: &Self) {
        self.merge(other, i64::saturating_sub);
    }

    /// Subtracts from the names that are present and leaves the others absent.
    pub fn subtract_present(&mut self, other: &Self) {
        for (id, amount) in &mut self.0 {
            *amount = amount.saturating_sub(other.get(*id));
        }
    }

    /// The larger of each; names of both.
    pub fn maximum(&mut self, other: &Self) {
        for (id, amount) in other.iter() {
            let kept = self.find(id).map_or(amount, |own| own.max(amount));
            self.set(id, kept);
        }
    }

    /// The smaller of each; only names present in both.
    pub fn minimum(&mut self, other: &Self) {
        self.0.retain(|(id, amount)| match other.find(*id) {
            Some(others) => {
                *amount = (*amount).min(others);
                true
            }
            None => false,
        });
    }

    /// Raises negative amounts to zero.
    pub fn clamp_at_zero(&mut self) {
        for (_, amount) in &mut self.0 {
            *amount = (*amount).max(0);
        }
    }

    /// True when some amount is below zero.
    pub fn has_negative(&self) -> bool {
        self.0.iter().any(|(_, amount)| *amount < 0)
    }

    /// True when every request is met. Nothing fits into an over-committed place, not even nothing.
    pub fn fits(&self, available: &Self) -> bool {
        !available.has_negative() && self.iter().all(|(id, amount)| amount <= available.get(id))
    }

    fn merge(&mut self, other: &Self, combine: fn(i64, i64) -> i64) {
        // Most vectors have the same few names: walk both in order and insert only when one is new.
        let mut at = 0;
        for (id, amount) in other.iter() {
            loop {
                match self.0.get(at).map(|(found, _)| found.cmp(&id)) {
                    Some(Ordering::Less) => at += 1,
                    Some(Ordering::Equal) => {
                        self.0[at].1 = combine(self.0[at].1, amount);
                        break;
                    }
                    Some(Ordering::Greater) | None => {
                        self.0.insert(at, (id, combine(0, amount)));
                        break;
                    }
                }
            }
        }
    }
}

impl FromIterator<(ResourceId, i64)> for Resources {
    fn from_iter<I: IntoIterator<Item = (ResourceId, i64)>>(pairs: I) -> Self {
        let mut resources = Self::new();
        for (id, amount) in pairs {
            resources.set(id, amount);
        }
        resources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: ResourceId = ResourceId(9);

    fn of(pairs: &[(ResourceId, i64)]) -> Resources {
        pairs.iter().copied().collect()
    }

    #[test]
    fn sums_keep_every_name() {
        let mut total = of(&[(ResourceId::CPU, 1), (GPU, 2)]);
        total.add(&of(&[(ResourceId::MEMORY, 5), (GPU, 1)]));
        assert_eq!(
            total,
            of(&[(GPU, 3), (ResourceId::MEMORY, 5), (ResourceId::CPU, 1)])
        );
        total.subtract(&of(&[(ResourceId::PODS, 1), (ResourceId::CPU, 1)]));
        assert_eq!(total.find(ResourceId::CPU), Some(0));
        assert_eq!(total.find(ResourceId::PODS), Some(-1));
        total.clamp_at_zero();
        assert_eq!(total.find(ResourceId::PODS), Some(0));
    }

    #[test]
    fn absent_names_stay_absent_where_that_matters() {
        let mut limits = of(&[(ResourceId::CPU, 4)]);
        limits.subtract_present(&of(&[(ResourceId::CPU, 1), (GPU, 1)]));
        assert_eq!(limits, of(&[(ResourceId::CPU, 3)]));
        let mut least = of(&[(ResourceId::CPU, 4), (GPU, 1)]);
        least.minimum(&of(&[(ResourceId::CPU, 5)]));
        assert_eq!(least, of(&[(ResourceId::CPU, 4)]));
        least.maximum(&of(&[(GPU, -1)]));
        assert_eq!(least, of(&[(ResourceId::CPU, 4), (GPU, -1)]));
    }

    #[test]
    fn fitting() {
        let check = |requests: &[_], available: &[_], expected| {
            assert_eq!(
                of(requests).fits(&of(available)),
                expected,
                "{requests:?} in {available:?}"
            );
        };
        check(&[(GPU, 1)], &[(GPU, 1)], true);
        check(&[(GPU, 2)], &[(GPU, 1)], false);
        check(&[(GPU, 1)], &[], false);
        check(&[(GPU, 0)], &[], true);
        // An over-committed place takes nothing at all.
        check(&[], &[(GPU, -1)], false);
    }

    #[test]
    fn sums_saturate() {
        let mut total = of(&[(ResourceId::MEMORY, i64::MAX)]);
        total.add(&of(&[(ResourceId::MEMORY, 1)]));
        assert_eq!(total.get(ResourceId::MEMORY), i64::MAX);
    }
}
