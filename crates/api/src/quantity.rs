//! Exact quantities: `500m`, `1.5Gi`, `2e3`.
//!
//! A quantity is an integer number of billionths, so sums and comparisons are exact. It keeps the family of
//! suffixes it was written in and prints Kubernetes' canonical form: the largest suffix that leaves no
//! fraction (Kubernetes sometimes keeps the text of an untouched quantity instead, as `1.500`, which means the
//! same). Finer than a billionth rounds away from zero; what does not fit saturates (at about 1.7e29),
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
        let (mut number, mut exponent) = (self.nanos, -9);
        while number % 1000 == 0 {
            number /= 1000;
            exponent += 3;
        }
        let suffix = DECIMAL.iter().find(|(_, power)| *power == exponent);
        match (self.format, suffix) {
            (_, Some((suffix, 0))) => write!(formatter, "{number}{suffix}"),
            (Format::DecimalSi | Format::BinarySi, Some((suffix, _))) => {
                write!(formatter, "{number}{suffix}")
            }
            // Beyond exa there are no suffixes.
            _ => write!(formatter, "{number}e{exponent}"),
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

    fn visit_unit<E: de::Error>(self) -> Result<Quantity, E> {
        Ok(Quantity::ZERO)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn canonical_form() {
        let rows = [
            // Nothing, and plain numbers.
            ("0", "0"),
            ("0Gi", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("+1", "1"),
            ("007", "7"),
            ("1.", "1"),
            (".5", "500m"),
            ("-.5", "-500m"),
            ("1000", "1k"),
            ("1500", "1500"),
            // Decimal suffixes.
            ("1n", "1n"),
            ("1000n", "1u"),
            ("1000u", "1m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.1", "100m"),
            ("1.500", "1500m"),
            ("1.5k", "1500"),
            ("2000k", "2M"),
            ("1G", "1G"),
            ("1T", "1T"),
            ("1P", "1P"),
            ("1E", "1E"),
            ("1000E", "1e21"),
            ("-3000m", "-3"),
            // Binary suffixes.
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("1024", "1024"),
            ("0.5Mi", "512Ki"),
            ("1.5Gi", "1536Mi"),
            ("1Ti", "1Ti"),
            ("1Pi", "1Pi"),
            ("7Ei", "7Ei"),
            ("0.5Ki", "512"),
            (".001Ki", "1024m"),
            (".000001Ki", "1024u"),
            ("1.0001Ki", "1024102400u"),
            ("-1.5Ki", "-1536"),
            ("-2048Ki", "-2Mi"),
            // Exponents.
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1e+3", "1e3"),
            ("1500e3", "1500e3"),
            ("10e3", "10e3"),
            ("1e4", "10e3"),
            ("1e0", "1"),
            ("1e-3", "1e-3"),
            ("15e-4", "1500e-6"),
            ("1e9", "1e9"),
            // Finer than a billionth: away from zero.
            ("0.1n", "1n"),
            ("-0.1n", "-1n"),
            ("1.0000000001", "1000000001n"),
            ("1e-100", "1e-9"),
            // Too large for a 64-bit binary quantity.
            ("8Ei", "9223372036854775807"),
            ("100Ei", "9223372036854775807"),
        ];
        for (text, expected) in rows {
            assert_eq!(quantity(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn not_quantities() {
        let texts = [
            "",
            " ",
            ".",
            "-",
            "+",
            "+-1",
            "--1",
            "m",
            "Ki",
            "1K",
            "1ki",
            "1Mib",
            "1 Gi",
            "1Gi ",
            "1e",
            "1e1.5",
            "1e+",
            "1ee3",
            "0x10",
            "1.2.3",
            "1,5",
            "١",
            "1µ",
            "NaN",
            "1e99999999999999999999",
        ];
        for text in texts {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn huge_amounts_saturate() {
        for text in ["1e30", "1e1000000", "9999999999999999999999999E"] {
            assert_eq!(quantity(text).nanos(), i128::MAX, "{text}");
            assert_eq!(quantity(text).as_integer_ceil(), i64::MAX, "{text}");
            let sum = quantity(text) + quantity("1");
            assert_eq!(sum.nanos(), i128::MAX, "{text}");
        }
        assert_eq!(quantity("-1e30").as_milli_ceil(), i64::MIN);
        assert_eq!(quantity("0e1000000").nanos(), 0);
    }

    #[test]
    fn rounding_to_integers_is_upwards() {
        let rows = [
            ("1", 1000, 1),
            ("1m", 1, 1),
            ("1500m", 1500, 2),
            ("0.0001", 1, 1),
            ("-1500m", -1500, -1),
            ("1Gi", 1_073_741_824_000, 1_073_741_824),
            ("0", 0, 0),
        ];
        for (text, milli, whole) in rows {
            assert_eq!(quantity(text).as_milli_ceil(), milli, "{text}");
            assert_eq!(quantity(text).as_integer_ceil(), whole, "{text}");
        }
        assert_eq!(quantity("2k").as_integer_exact(), Some(2000));
        assert_eq!(quantity("1500m").as_integer_exact(), None);
    }

    #[test]
    fn arithmetic_keeps_the_notation() {
        let rows = [
            (quantity("1Gi") + quantity("1Gi"), "2Gi"),
            (quantity("1Gi") + quantity("1M"), "1074741824"),
            (quantity("1Gi") + quantity("500m"), "1073741824500m"),
            (quantity("0") + quantity("1Gi"), "1Gi"),
            (quantity("1") + quantity("1Ki"), "1025"),
            (quantity("1e3") + quantity("1"), "1001"),
            (quantity("1") - quantity("1500m"), "-500m"),
            (quantity("0") - quantity("1Mi"), "-1Mi"),
            (-quantity("1Mi"), "-1Mi"),
            (quantity("100m").times(30), "3"),
        ];
        for (result, expected) in rows {
            assert_eq!(result.to_string(), expected);
        }
        let total: Quantity = ["1Gi", "512Mi"].map(quantity).iter().sum();
        assert_eq!(total.to_string(), "1536Mi");
        assert_eq!(Quantity::from_bytes(2048).to_string(), "2Ki");
        assert_eq!(Quantity::from_milli(2500).to_string(), "2500m");
    }

    #[test]
    fn equality_is_of_the_amount() {
        assert_eq!(quantity("1Ki"), quantity("1024"));
        assert_eq!(quantity("1e3"), quantity("1k"));
        assert!(quantity("1Ki") > quantity("1k"));
        assert!(quantity("-1") < quantity("0"));
    }

    #[test]
    fn json_is_text_or_a_number() {
        let rows = [
            (r#""1Gi""#, r#""1Gi""#),
            (r#"" 1Gi ""#, r#""1Gi""#),
            ("4", r#""4""#),
            ("-4", r#""-4""#),
            ("1.5", r#""1500m""#),
            ("18446744073709551615", r#""18446744073709551615""#),
            ("null", r#""0""#),
        ];
        for (json, expected) in rows {
            let decoded: Quantity = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&decoded).unwrap(), expected, "{json}");
        }
        for json in [r#""many""#, "true", "[]", "{}"] {
            assert!(serde_json::from_str::<Quantity>(json).is_err(), "{json}");
        }
    }

    proptest! {
        #![proptest_config(crate::cases::cases(256))]

        #[test]
        fn printing_and_parsing_is_the_identity(
            nanos in any::<i128>().prop_map(|nanos| nanos / 1_000_000_000),
            format in prop_oneof![
                Just(Format::DecimalSi), Just(Format::BinarySi), Just(Format::DecimalExponent),
            ],
        ) {
            let amount = Quantity::from_nanos(nanos, format);
            let text = amount.to_string();
            let capped = text.ends_with('i') && amount.as_integer_exact().is_none();
            let parsed = quantity(&text);
            if !capped {
                prop_assert_eq!(parsed, amount, "{}", text);
                prop_assert_eq!(parsed.to_string(), text);
            }
        }

        #[test]
        fn what_the_pattern_allows_parses_unless_its_exponent_is_broken(
            text in r"[+-]?([0-9]{1,25}(\.[0-9]{0,25})?|\.[0-9]{1,25})([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,4})?",
        ) {
            let parsed = quantity(&text);
            prop_assert_eq!(quantity(&parsed.to_string()), parsed);
        }

        #[test]
        fn nothing_panics(text in ".{0,20}") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn sums_are_exact(left in any::<i64>(), right in any::<i64>()) {
            let sum = Quantity::from_milli(left) + Quantity::from_milli(right);
            prop_assert_eq!(sum.nanos(), (i128::from(left) + i128::from(right)) * NANOS_PER_MILLI);
            prop_assert_eq!(sum - Quantity::from_milli(right), Quantity::from_milli(left));
        }
    }
}
