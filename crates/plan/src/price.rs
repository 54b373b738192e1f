//! Money in exact integers, so that sums and comparisons never depend on the order of additions.

use core::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Sub},
};

/// Units in one dollar: KWOK's spot prices have 13 decimals.
const PER_DOLLAR: f64 = 1e13;

/// Dollars per hour, counted in units of 1e-13 dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(pub i64);

impl Price {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// More than anything: the price of what cannot be bought.
    pub const MAX: Self = Self(i64::MAX);

    /// Rounds to the nearest unit, halves up; negative and undefined prices become zero.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the cast saturates, which is the rule"
    )]
    pub fn from_dollars(dollars: f64) -> Self {
        if dollars > 0.0 {
            Self((dollars * PER_DOLLAR + 0.5) as i64)
        } else {
            Self::ZERO
        }
    }

    /// For display and metrics only.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / PER_DOLLAR
    }
}

impl fmt::Display for Price {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "${:.4}/h", self.dollars())
    }
}

/// A sum of prices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost(pub i128);

impl Cost {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// For display and metrics only.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / PER_DOLLAR
    }
}

impl From<Price> for Cost {
    fn from(price: Price) -> Self {
        Self(i128::from(price.0))
    }
}

impl Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Cost {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl AddAssign<Price> for Cost {
    fn add_assign(&mut self, price: Price) {
        self.0 += i128::from(price.0);
    }
}

impl Sum<Price> for Cost {
    fn sum<I: Iterator<Item = Price>>(prices: I) -> Self {
        Self(prices.map(|price| i128::from(price.0)).sum())
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        Self(costs.map(|cost| cost.0).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_round_once() {
        for (dollars, units) in [
            (0.0, 0),
            (-1.0, 0),
            (f64::NAN, 0),
            (f64::INFINITY, i64::MAX),
            (0.1, 1_000_000_000_000),
            // Thirteen decimals, as KWOK's spot prices have.
            (0.024_640_000_000_1, 246_400_000_001),
            (1e-14, 0),
            (6e-14, 1),
        ] {
            assert_eq!(Price::from_dollars(dollars).0, units, "{dollars}");
        }
    }

    #[test]
    fn sums_do_not_depend_on_order() {
        let prices = [0.1, 0.2, 0.3, 1e5].map(Price::from_dollars);
        let forth: Cost = prices.into_iter().sum();
        let back: Cost = prices.into_iter().rev().sum();
        assert_eq!(forth, back);
        assert_eq!(forth - Cost::from(prices[3]), Cost(6_000_000_000_000));
    }
}
