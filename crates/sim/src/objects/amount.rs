//! Resource amounts as integers. A quantity is read into thousandths, rounded up, which is the finest unit that a
//! scheduler compares; anything that is no quantity becomes an amount that fits nowhere, so that a malformed pod
//! stays pending instead of stopping the watch of its kind.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

/// An amount of some resource in thousandths of its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(pub(crate) i128);

/// Amounts by resource name.
pub(crate) type Amounts = BTreeMap<String, Amount>;

/// What an unreadable quantity counts as: more than any node has, yet far from overflow when summed.
const UNREADABLE: Amount = Amount(i128::MAX / 1_000_000);

impl Amount {
    /// The amount of `units` whole units.
    pub(crate) fn whole(units: i128) -> Self {
        Self(units.saturating_mul(1000))
    }

    /// Reads a quantity with any Kubernetes suffix or a decimal exponent.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let digits_end = unsigned
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(digits_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
        let (binary, decimal) = scale(suffix)?;
        // value × 1000 = mantissa × 2^binary × 10^(decimal + 3 − digits after the point), rounded up.
        let exponent = decimal + 3 - i32::try_from(fraction.len()).ok()?;
        let scaled = mantissa.checked_mul(1_i128.checked_shl(binary)?)?;
        let thousandths = if exponent >= 0 {
            scaled.checked_mul(10_i128.checked_pow(u32::try_from(exponent).ok()?)?)?
        } else {
            match 10_i128.checked_pow(exponent.unsigned_abs()) {
                Some(divisor) => {
                    scaled.div_euclid(divisor) + i128::from(scaled.rem_euclid(divisor) != 0)
                }
                None => i128::from(scaled != 0),
            }
        };
        Some(Self(if negative { -thousandths } else { thousandths }))
    }
}

/// The powers of two and of ten that a suffix stands for.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            if power.abs() > 30 {
                return None;
            }
            (0, power)
        }
    })
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Amount;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a quantity")
            }
            fn visit_str<E>(self, text: &str) -> Result<Amount, E> {
                Ok(Amount::parse(text).unwrap_or(UNREADABLE))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Amount, E> {
                Ok(Amount::whole(number.into()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Amount, E> {
                Ok(Amount::whole(number.into()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Amount, E> {
                Ok(Amount::parse(&number.to_string()).unwrap_or(UNREADABLE))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_thousandths_rounded_up() {
        let rows: &[(&str, Option<i128>)] = &[
            ("1", Some(1000)),
            ("100m", Some(100)),
            ("0.5", Some(500)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("1e3", Some(1_000_000)),
            ("2E", Some(2_000_000_000_000_000_000_000)),
            ("1n", Some(1)),
            ("1001u", Some(2)),
            ("-1", Some(-1000)),
            ("+2k", Some(2_000_000)),
            (".5", Some(500)),
            ("", None),
            ("m", None),
            ("1 Gi", None),
            ("1e999", None),
        ];
        for (text, expected) in rows {
            assert_eq!(
                Amount::parse(text).map(|amount| amount.0),
                *expected,
                "{text}"
            );
        }
    }

    #[test]
    fn an_unreadable_quantity_fits_nowhere() {
        let amounts: Amounts =
            serde_json::from_str(r#"{"cpu": "many", "memory": 5, "x": "1"}"#).unwrap();
        assert_eq!(amounts["cpu"], UNREADABLE);
        assert_eq!(amounts["memory"], Amount(5000));
        assert_eq!(amounts["x"], Amount(1000));
    }
}
