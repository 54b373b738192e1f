//! Durations as Go writes them: `1h30m0s`, `500ms`, and `Never` where that is allowed.
//!
//! A plain duration is printed anew, in Go's canonical style, whenever it is written; a nillable one keeps
//! the text it was given. Both are what the reference does, and users see both.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The pattern that the CRDs demand of a plain duration.
pub const PATTERN: &str = "^([0-9]+(s|m|h))+$";
/// The pattern that the CRDs demand of a duration that may be `Never`.
pub const NILLABLE_PATTERN: &str = "^(([0-9]+(s|m|h))+|Never)$";
/// The text that means that there is no duration.
pub const NEVER: &str = "Never";

/// Nanoseconds by unit, longest names first where one is a prefix of another.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A signed span of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// A text that is not a duration.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("{0:?} is not a duration, write numbers with units such as 90s or 1h30m")]
pub struct ParseDurationError(pub String);

impl GoDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A number of nanoseconds.
    pub const fn from_nanos(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// A number of seconds, saturated.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// The span in nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The span as the standard type; a negative one is zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl From<Duration> for GoDuration {
    /// Saturates at about 292 years.
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl FromStr for GoDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)
            .map(Self)
            .ok_or_else(|| ParseDurationError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after
            .find(|letter: char| letter == '.' || letter.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let whole = if whole.is_empty() {
            0
        } else {
            whole.parse::<u64>().ok()?
        };
        total += i128::from(whole).checked_mul(unit)? + fraction_of(fraction, unit);
        // The most negative value has one more nanosecond than the most positive.
        if total > i128::from(i64::MAX) + i128::from(negative) {
            return None;
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// The fraction of a unit, cut off below a nanosecond.
fn fraction_of(fraction: &str, unit: i128) -> i128 {
    let mut part: i128 = 0;
    // Digits beyond the eighteenth are far below a nanosecond of the longest unit.
    for byte in fraction
        .bytes()
        .take(18)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        part = (part + i128::from(byte - b'0') * unit) / 10;
    }
    part
}

impl fmt::Display for GoDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if nanos == 0 {
            return formatter.write_str("0s");
        }
        if self.0 < 0 {
            formatter.write_str("-")?;
        }
        match nanos {
            ..1_000 => write!(formatter, "{nanos}ns"),
            1_000..1_000_000 => write!(formatter, "{}µs", with_fraction(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(formatter, "{}ms", with_fraction(nanos, 1_000_000)),
            1_000_000_000.. => {
                let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
                if minutes >= 60 {
                    write!(formatter, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(formatter, "{}m", minutes % 60)?;
                }
                write!(formatter, "{}s", with_fraction(rest, 1_000_000_000))
            }
        }
    }
}

/// A number of units with as many decimals as it needs.
fn with_fraction(value: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN})
    }
}

/// A duration or `Never`, with the text it was written as. Two are equal when they mean the same span.
#[derive(Clone, Debug)]
pub struct NillableDuration {
    duration: Option<GoDuration>,
    text: Box<str>,
}

impl NillableDuration {
    /// No duration: the thing never happens.
    pub fn never() -> Self {
        Self {
            duration: None,
            text: NEVER.into(),
        }
    }

    /// The duration; none for `Never`.
    pub fn duration(&self) -> Option<GoDuration> {
        self.duration
    }

    /// Whether this is `Never`.
    pub fn is_never(&self) -> bool {
        self.duration.is_none()
    }

    /// The duration as the standard type; none for `Never`, zero for a negative one.
    pub fn to_std(&self) -> Option<Duration> {
        self.duration.map(GoDuration::to_std)
    }
}

impl PartialEq for NillableDuration {
    fn eq(&self, other: &Self) -> bool {
        self.duration == other.duration
    }
}

impl Eq for NillableDuration {}

impl From<GoDuration> for NillableDuration {
    fn from(duration: GoDuration) -> Self {
        Self {
            duration: Some(duration),
            text: duration.to_string().into(),
        }
    }
}

impl From<Duration> for NillableDuration {
    fn from(duration: Duration) -> Self {
        GoDuration::from(duration).into()
    }
}

impl FromStr for NillableDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let duration = if text == NEVER {
            None
        } else {
            Some(text.parse()?)
        };
        Ok(Self {
            duration,
            text: text.into(),
        })
    }
}

impl fmt::Display for NillableDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for NillableDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for NillableDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for NillableDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NillableDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": NILLABLE_PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn go_style() {
        let rows = [
            ("0", "0s"),
            ("0s", "0s"),
            ("+5s", "5s"),
            ("48h", "48h0m0s"),
            ("90m", "1h30m0s"),
            ("1h30m", "1h30m0s"),
            ("90s", "1m30s"),
            ("60s", "1m0s"),
            ("1.5h", "1h30m0s"),
            ("1.5s", "1.5s"),
            (".5s", "500ms"),
            ("1.s", "1s"),
            ("1500ms", "1.5s"),
            ("1500us", "1.5ms"),
            ("1500µs", "1.5ms"),
            ("1500μs", "1.5ms"),
            ("1500ns", "1.5µs"),
            ("1ns", "1ns"),
            // A repeating fraction is cut off, not rounded.
            ("0.3333333333333333333h", "19m59.999999999s"),
            ("-1m30s", "-1m30s"),
            ("1s1h", "1h0m1s"),
            ("2562047h47m16.854775807s", "2562047h47m16.854775807s"),
            ("-9223372036854775808ns", "-2562047h47m16.854775808s"),
        ];
        for (text, expected) in rows {
            let duration: GoDuration = text.parse().unwrap();
            assert_eq!(duration.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn not_durations() {
        let texts = [
            "",
            " ",
            "5",
            "s",
            ".s",
            "-",
            "+",
            "1d",
            "1 s",
            "1s ",
            "1hour",
            "Never",
            "never",
            "1s-1s",
            "2562047h47m16.854775808s",
            "99999999999999999999h",
            "-9223372036854775809ns",
        ];
        for text in texts {
            assert!(text.parse::<GoDuration>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn nillable_durations_keep_their_text() {
        for text in ["720h", "43200m", "1h30m", "0s", "Never"] {
            let json = format!("{text:?}");
            let duration: NillableDuration = serde_json::from_str(&json).unwrap();
            assert_eq!(duration.is_never(), text == "Never");
            assert_eq!(serde_json::to_string(&duration).unwrap(), json);
        }
        let parse = |text: &str| text.parse::<NillableDuration>().unwrap();
        assert_eq!(parse("720h"), parse("43200m"));
        assert_ne!(parse("0s"), NillableDuration::never());
        assert_eq!(NillableDuration::never().to_string(), "Never");
        assert_eq!(
            NillableDuration::from(Duration::from_secs(90)).to_string(),
            "1m30s"
        );
        assert!("".parse::<NillableDuration>().is_err());
        assert!("never".parse::<NillableDuration>().is_err());
    }

    #[test]
    fn plain_durations_are_printed_anew() {
        let duration: GoDuration = serde_json::from_str(r#""48h""#).unwrap();
        assert_eq!(serde_json::to_string(&duration).unwrap(), r#""48h0m0s""#);
        assert!(serde_json::from_str::<GoDuration>(r#""Never""#).is_err());
        assert!(serde_json::from_str::<GoDuration>("5").is_err());
    }

    #[test]
    fn standard_durations() {
        assert_eq!(GoDuration::from_secs(90).to_std(), Duration::from_secs(90));
        assert_eq!(GoDuration::from_secs(-90).to_std(), Duration::ZERO);
        assert_eq!(GoDuration::from(Duration::MAX).nanos(), i64::MAX);
        assert_eq!(NillableDuration::never().to_std(), None);
    }

    proptest! {
        #![proptest_config(crate::cases::cases(256))]

        #[test]
        fn printing_and_parsing_is_the_identity(nanos in any::<i64>()) {
            let duration = GoDuration::from_nanos(nanos);
            prop_assert_eq!(duration.to_string().parse::<GoDuration>().unwrap(), duration);
        }

        #[test]
        fn short_spans_too(nanos in -2_000_000_000i64..2_000_000_000) {
            let duration = GoDuration::from_nanos(nanos);
            prop_assert_eq!(duration.to_string().parse::<GoDuration>().unwrap(), duration);
        }

        #[test]
        fn nothing_panics(text in ".{0,20}") {
            let _ = text.parse::<GoDuration>();
        }
    }
}
