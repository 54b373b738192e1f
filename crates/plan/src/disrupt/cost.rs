//! What disrupting a pod or a node costs, without money: how much its owner would mind.
//!
//! Upstream computes in floats: `1 + deletionCost / 2^27 + priority / 2^25`, clamped to ±10. Both
//! divisors are powers of two, so the same numbers are exact here as integers counting 2^-27. The
//! one place that rounds is [`DisruptionCost::for_remaining_life`], and it says how.

use core::cmp::Ordering;
use core::iter::Sum;
use core::ops::Add;

use jiff::SignedDuration;

use crate::pod::{Owner, Pod};
use crate::price::Price;

/// A cost of disruption, in units of 2^-27.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DisruptionCost(pub i64);

impl DisruptionCost {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// What an ordinary pod costs, and what disrupting a node costs before any pod counts.
    pub const ONE: Self = Self(1 << 27);
    /// The most and, negated, the least that one pod can cost.
    const BOUND: i64 = 10 << 27;

    /// What evicting this pod costs its owner: more with its priority and its deletion cost.
    pub fn of_eviction(pod: &Pod) -> Self {
        let deletion_cost = i64::from(pod.deletion_cost);
        let priority = i64::from(pod.priority) << 2;
        Self((Self::ONE.0 + deletion_cost + priority).clamp(-Self::BOUND, Self::BOUND))
    }

    /// What moving a node's pods costs. Pods that need no new place are free, and a pod that its
    /// owner would rather see go cannot pay for another.
    pub fn of_moving<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Self {
        let moved = pods.into_iter().filter(|pod| pod.is_reschedulable());
        Self::ONE
            + moved
                .map(|pod| Self::of_eviction(pod).max(Self::ZERO))
                .sum()
    }

    /// What a node weighs in its pool's total, terminating and mirror pods included.
    pub fn of_node<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Self {
        let tracked = pods
            .into_iter()
            .filter(|pod| pod.owner != Owner::DaemonSet && !pod.is_terminal());
        Self::ONE
            + tracked
                .map(|pod| Self::of_eviction(pod).max(Self::ZERO))
                .sum()
    }

    /// The part of the cost that the node's remaining life is worth: a node about to expire loses
    /// its pods anyway. Rounded towards zero; a node that never expires keeps the whole cost.
    pub fn for_remaining_life(
        self,
        age: SignedDuration,
        expire_after: Option<SignedDuration>,
    ) -> Self {
        let Some(life) = expire_after
            .map(|life| life.as_nanos())
            .filter(|life| *life > 0)
        else {
            return self;
        };
        let remaining = (life - age.as_nanos()).clamp(0, life);
        // The quotient is no further from zero than `self`, so it always fits.
        Self(i64::try_from(i128::from(self.0) * remaining / life).unwrap_or(self.0))
    }

    /// For display and metrics only.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / Self::ONE.0 as f64
    }
}

impl Add for DisruptionCost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sum for DisruptionCost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        Self(costs.map(|cost| cost.0).sum())
    }
}

/// Money saved per cost of disruption, compared exactly. The cost must be positive.
#[derive(Clone, Copy, Debug)]
pub struct SavingsRatio {
    /// What the node costs an hour.
    pub price: Price,
    /// What moving its pods costs.
    pub cost: DisruptionCost,
}

impl Ord for SavingsRatio {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |price: Price, cost: DisruptionCost| i128::from(price.0) * i128::from(cost.0);
        product(self.price, other.cost).cmp(&product(other.price, self.cost))
    }
}

impl PartialOrd for SavingsRatio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SavingsRatio {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for SavingsRatio {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_life_scales_the_cost() {
        let check = |age, life: Option<i64>, expected: i64| {
            let scaled = DisruptionCost(1_000).for_remaining_life(
                SignedDuration::from_hours(age),
                life.map(SignedDuration::from_hours),
            );
            assert_eq!(scaled, DisruptionCost(expected), "{age} of {life:?}");
        };
        check(5, None, 1_000);
        check(0, Some(3), 1_000);
        check(1, Some(3), 666);
        check(4, Some(3), 0);
        check(-1, Some(3), 1_000);
    }

    #[test]
    fn ratios_compare_exactly() {
        let ratio = |price, cost| SavingsRatio {
            price: Price(price),
            cost: DisruptionCost(cost),
        };
        assert!(ratio(1, 3) < ratio(334, 1_000));
        assert!(ratio(i64::MAX, i64::MAX - 1) > ratio(i64::MAX - 1, i64::MAX - 1));
        assert_eq!(ratio(2, 4), ratio(1, 2));
    }
}
