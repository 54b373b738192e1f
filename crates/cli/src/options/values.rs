//! Text into values, with upstream's two measures: a flag that cannot be read is an error, a variable
//! that cannot be read is as good as absent. What a *text* may be is checked by whoever reads it, and
//! then it does not matter where it came from.

use std::{collections::BTreeMap, time::Duration};

use karpenter_api::GoDuration;
use karpenter_control::gates::parse_bool;

use super::flags::{FLAGS, Flag};

/// Where values come from.
pub(crate) struct Values<'a> {
    /// The flags that were given.
    pub(crate) given: &'a BTreeMap<&'static str, String>,
    /// The environment.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Values<'_> {
    fn flag(name: &str) -> &'static Flag {
        FLAGS
            .iter()
            .find(|flag| flag.name == name)
            .expect("every option that is read is in the table, because a test reads them all")
    }

    /// The flag, else the variable even if it is empty, else the default.
    pub(crate) fn text(&self, name: &str) -> String {
        let flag = Self::flag(name);
        self.given
            .get(name)
            .cloned()
            .or_else(|| (self.variable)(flag.variable))
            .unwrap_or_else(|| flag.default.to_owned())
    }

    /// A boolean: flags are spelled out, variables may be as Go reads them.
    pub(crate) fn switch(&self, name: &str) -> anyhow::Result<bool> {
        self.read(
            name,
            "true or false",
            |text| match text {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            parse_bool,
        )
    }

    /// A whole number: flags may be hexadecimal, octal or binary, variables are decimal.
    pub(crate) fn number(&self, name: &str) -> anyhow::Result<i64> {
        self.read(name, "a whole number", whole, |text| text.parse().ok())
    }

    /// A duration such as `90s`; a negative one is none at all.
    pub(crate) fn duration(&self, name: &str) -> anyhow::Result<Duration> {
        let parse = |text: &str| text.parse::<GoDuration>().ok().map(GoDuration::to_std);
        self.read(name, "a duration such as 90s or 1m30s", parse, parse)
    }

    fn read<T>(
        &self,
        name: &str,
        wanted: &str,
        from_flag: impl Fn(&str) -> Option<T>,
        from_variable: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let flag = Self::flag(name);
        if let Some(text) = self.given.get(name) {
            return from_flag(text)
                .ok_or_else(|| anyhow::anyhow!("invalid --{name} {text:?}; it must be {wanted}"));
        }
        (self.variable)(flag.variable)
            .and_then(|text| from_variable(&text))
            .or_else(|| from_variable(flag.default))
            .ok_or_else(|| anyhow::anyhow!("{name} has no default; give --{name}"))
    }
}

/// A whole number in the notation of Go's sources.
fn whole(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['-', '+']) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match (lower.get(..2), lower.strip_prefix('0')) {
        (Some("0x"), _) => (16, &lower[2..]),
        (Some("0b"), _) => (2, &lower[2..]),
        (Some("0o"), _) => (8, &lower[2..]),
        (_, Some(octal)) if !octal.is_empty() => (8, octal),
        _ => (10, lower.as_str()),
    };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_flags_are_as_in_go() {
        for (text, expected) in [
            ("8080", Some(8080)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            ("0", Some(0)),
            ("0x1F", Some(31)),
            ("-0b11", Some(-3)),
            ("0o17", Some(15)),
            ("017", Some(15)),
            ("08", None),
            ("1.5", None),
            ("--1", None),
            ("", None),
            ("0x", None),
        ] {
            assert_eq!(whole(text), expected, "{text:?}");
        }
    }
}
