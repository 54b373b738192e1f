//! Exact quantities: `500m`, `1.5Gi`, `2e3`.
//!
//! A quantity is an integer number of billionths, so sums and comparisons are exact. It keeps the family of
//! suffixes it was written in and prints Kubernetes' canonical form: the largest suffix that leaves no
//! fraction. Finer than a billionth rounds away from zero; what does not fit saturates (at about 1.7e29),
//! and, as in Kubernetes, a binary quantity is capped at 2^63 - 1.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Amounts by resource name, in name order.
pub type ResourceList = BTreeMap<String, Quantity>;

/// The pattern that the CRDs demand of a quantity.
pub const PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Billionths in one unit.
const NANOS: i128 = 1_000_000_000;
/// Billionths in a thousandth.
const NANOS_PER_MILLI: i128 = 1_000_000;
/// Decimal suffixes by their power of ten.
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
/// Binary suffixes by their power of 1024, from one.
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// The family of suffixes that a quantity is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `1500m`, `2k`.
    #[default]
    DecimalSi,
    /// `512Mi`.
    BinarySi,
    /// `2e3`.
    DecimalExponent,
}

/// An exact amount of something; equality, order and hash are those of the amount, not of the notation.
#[derive(Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// A text that is not a quantity.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("{0:?} is not a quantity, write a number with an optional suffix such as 500m or 2Gi")]
pub struct ParseQuantityError(pub String);

impl Quantity {
    /// Zero, in decimal notation.
    pub const ZERO: Self = Self {
        nanos: 0,
        format: Format::DecimalSi,
    };

    /// A whole number of units, in decimal notation.
    pub const fn from_integer(units: i64) -> Self {
        Self {
            nanos: units as i128 * NANOS,
            format: Format::DecimalSi,
        }
    }

    /// A number of thousandths, in decimal notation.
    pub const fn from_milli(thousandths: i64) -> Self {
        Self {
            nanos: thousandths as i128 * NANOS_PER_MILLI,
            format: Format::DecimalSi,
        }
    }

    /// A whole number of units, in binary notation, as bytes are written.
    pub const fn from_bytes(bytes: i64) -> Self {
        Self {
            nanos: bytes as i128 * NANOS,
            format: Format::BinarySi,
        }
    }

    /// A number of billionths in the given notation.
    pub const fn from_nanos(nanos: i128, format: Format) -> Self {
        Self { nanos, format }
    }

    /// The amount in billionths.
    pub const fn nanos(self) -> i128 {
        self.nanos
    }

    /// The family of suffixes it prints in.
    pub const fn format(self) -> Format {
        self.format
    }

    /// The same amount in another notation.
    #[must_use]
    pub const fn with_format(self, format: Format) -> Self {
        Self {
            nanos: self.nanos,
            format,
        }
    }

    /// Whether the amount is zero.
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether the amount is below zero.
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The amount in thousandths, rounded up and saturated.
    pub fn as_milli_ceil(self) -> i64 {
        saturate(divide_ceil(self.nanos, NANOS_PER_MILLI))
    }

    /// The amount in whole units, rounded up and saturated.
    pub fn as_integer_ceil(self) -> i64 {
        saturate(divide_ceil(self.nanos, NANOS))
    }

    /// The amount in whole units if it is one.
    pub fn as_integer_exact(self) -> Option<i64> {
        (self.nanos % NANOS == 0)
            .then(|| i64::try_from(self.nanos / NANOS).ok())
            .flatten()
    }

    /// The amount as the nearest floating point number, for figures shown to people and for metrics.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an approximation is what is asked for"
    )]
    pub fn as_f64(self) -> f64 {
        let (whole, rest) = (self.nanos / NANOS, self.nanos % NANOS);
        whole as f64 + rest as f64 / NANOS as f64
    }

    /// The smaller of two amounts.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        if other.nanos < self.nanos {
            other
        } else {
            self
        }
    }

    /// The larger of two amounts.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        if other.nanos > self.nanos {
            other
        } else {
            self
        }
    }

    /// The amount times a count, saturated.
    #[must_use]
    pub fn times(self, count: i64) -> Self {
        Self {
            nanos: self.nanos.saturating_mul(i128::from(count)),
            format: self.format,
        }
    }
}

fn divide_ceil(value: i128, divisor: i128) -> i128 {
    let quotient = value.div_euclid(divisor);
    if value.rem_euclid(divisor) == 0 {
        quotient
    } else {
        quotient + 1
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl std::hash::Hash for Quantity {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl Add for Quantity {
    type Output = Self;

    /// The sum; notation is the left one's, or the right one's if the left is zero, as in Kubernetes.
    fn add(self, other: Self) -> Self {
        Self {
            nanos: self.nanos.saturating_add(other.nanos),
            format: if self.nanos == 0 {
                other.format
            } else {
                self.format
            },
        }
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            nanos: self.nanos.saturating_sub(other.nanos),
            format: if self.nanos == 0 {
                other.format
            } else {
                self.format
            },
        }
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            nanos: self.nanos.saturating_neg(),
            format: self.format,
        }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
        quantities.fold(Self::ZERO, Add::add)
    }
}

impl<'a> Sum<&'a Quantity> for Quantity {
    fn sum<I: Iterator<Item = &'a Quantity>>(quantities: I) -> Self {
        quantities.copied().sum()
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Below 1024 a binary suffix would need a fraction, and a fraction of a byte has none.
        let whole_binary = self.format == Format::BinarySi
            && self.nanos.unsigned_abs() >= 1024 * NANOS.unsigned_abs()
            && self.nanos % NANOS == 0;
        if self.nanos == 0 {
            return formatter.write_char('0');
        }
        if whole_binary {
            let mut number = self.nanos / NANOS;
            let mut suffix = "";
            for name in BINARY {
                if number % 1024 != 0 {
                    break;
                }
                number /= 1024;
                suffix = name;
            }
            return write!(formatter, "{number}{suffix}");
        }
        let largest = if self.format == Format::DecimalExponent {
            i32::MAX
        } else {
            18
        };
        let (mut number, mut exponent) = (self.nanos, -9);
        while number % 1000 == 0 && exponent < largest {
            number /= 1000;
            exponent += 3;
        }
        match self.format {
            Format::DecimalExponent if exponent != 0 => write!(formatter, "{number}e{exponent}"),
            Format::DecimalExponent => write!(formatter, "{number}"),
            Format::DecimalSi | Format::BinarySi => {
                let suffix = DECIMAL.iter().find(|(_, power)| *power == exponent);
                write!(formatter, "{number}{}", suffix.map_or("", |(name, _)| name))
            }
        }
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseQuantityError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Quantity> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let whole_end = unsigned
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(unsigned.len());
    let (whole, rest) = unsigned.split_at(whole_end);
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(after) => {
            let end = after
                .find(|letter: char| !letter.is_ascii_digit())
                .unwrap_or(after.len());
            after.split_at(end)
        }
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (magnitude, format) = if let Some(power) = BINARY.iter().position(|name| *name == suffix) {
        binary(whole, fraction, u32::try_from(power).ok()? + 1)
    } else if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        (
            decimal(whole, fraction, i64::from(*power)),
            Format::DecimalSi,
        )
    } else {
        let exponent = suffix.strip_prefix(['e', 'E'])?;
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let exponent = exponent.parse::<i64>().ok()?;
        (decimal(whole, fraction, exponent), Format::DecimalExponent)
    };
    Some(Quantity {
        nanos: if negative { -magnitude } else { magnitude },
        format,
    })
}

/// Billionths of a decimal number times a power of ten, rounded up: the digits with the point moved.
fn decimal(whole: &str, fraction: &str, exponent: i64) -> i128 {
    let length = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    let point = length.saturating_add(9).saturating_add(exponent);
    let digits = whole
        .bytes()
        .chain(fraction.bytes())
        .map(|byte| i128::from(byte - b'0'));
    let mut value: i128 = 0;
    let mut used: i64 = 0;
    let mut inexact = false;
    for digit in digits {
        if used < point {
            value = value.saturating_mul(10).saturating_add(digit);
        } else {
            inexact |= digit != 0;
        }
        used += 1;
    }
    while value != 0 && value != i128::MAX && used < point {
        value = value.saturating_mul(10);
        used += 1;
    }
    value.saturating_add(i128::from(inexact))
}

/// Billionths of a decimal number times a power of 1024, rounded up, with the notation it keeps.
fn binary(whole: &str, fraction: &str, power: u32) -> (i128, Format) {
    let unit = NANOS << (10 * power);
    let mut units: i128 = 0;
    for byte in whole.bytes() {
        units = units
            .saturating_mul(10)
            .saturating_add(i128::from(byte - b'0'));
    }
    // From the last digit inwards; a lost remainder anywhere makes the whole sum inexact.
    let mut part: i128 = 0;
    let mut inexact = false;
    for byte in fraction.bytes().rev() {
        part += i128::from(byte - b'0') * unit;
        inexact |= part % 10 != 0;
        part /= 10;
    }
    let nanos = units
        .saturating_mul(unit)
        .saturating_add(part + i128::from(inexact));
    // Kubernetes prints fractions of one in decimal, and caps binary amounts.
    if nanos < NANOS && nanos > 0 {
        return (nanos, Format::DecimalSi);
    }
    (nanos.min(i128::from(i64::MAX) * NANOS), Format::BinarySi)
}

impl From<i64> for Quantity {
    fn from(units: i64) -> Self {
        Self::from_integer(units)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor)
    }
}

struct QuantityVisitor;

impl Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a quantity: a number or a string such as 500m or 2Gi")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        text.trim().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, units: i64) -> Result<Quantity, E> {
        Ok(Quantity::from_integer(units))
    }

    fn visit_u64<E: de::Error>(self, units: u64) -> Result<Quantity, E> {
        Ok(Quantity::from_nanos(
            i128::from(units) * NANOS,
            Format::DecimalSi,
        ))
    }

    fn visit_f64<E: de::Error>(self, units: f64) -> Result<Quantity, E> {
        units.to_string().parse().map_err(E::custom)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"pattern": PATTERN, "x-kubernetes-int-or-string": true})
    }
}
