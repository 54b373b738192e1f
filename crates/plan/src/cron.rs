//! Cron schedules for budget windows: five fields or a macro, always in UTC.
//!
//! The dialect is that of the parser Karpenter uses (the "standard" parser of Go's `robfig/cron`
//! v3), quirks included, since a schedule that means something else here would open or close a
//! budget at another hour. This module knows nothing about budgets, and it has no clock.
//!
//! Quirks kept on purpose:
//! - a field of commas only (`,`) is accepted and matches nothing;
//! - `*-5` is `*`: what follows the star's hyphen is not read;
//! - `7/2` is `7-max/2`, and a number may carry a plus sign;
//! - a star loses its "any day" meaning as soon as it has a step above one (`*/2`), and then the
//!   day of the month and the day of the week are alternatives rather than both required;
//! - a schedule that does not fire before the end of the fifth following year never fires.
//!
//! `@every` is not accepted: the NodePool schema refuses it before it could arrive here.

use alloc::string::{String, ToString};

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// A parsed schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    minute: Field,
    hour: Field,
    day_of_month: Field,
    month: Field,
    day_of_week: Field,
}

/// Why a schedule does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Neither five fields nor a macro.
    #[error("expected exactly 5 fields, found {found}: \"{schedule}\"")]
    FieldCount {
        /// The schedule as written.
        schedule: String,
        /// How many fields it has.
        found: usize,
    },
    /// A word starting with `@` that is no macro.
    #[error(
        "unrecognized macro \"{0}\": use @yearly, @monthly, @weekly, @daily, @hourly or 5 fields"
    )]
    UnknownMacro(String),
    /// A part that is neither a number nor a name known to its field.
    #[error("\"{0}\" is neither a number nor a name of this field")]
    NotANumber(String),
    /// More hyphens or slashes than one in a range.
    #[error("\"{0}\" has more than one hyphen or slash")]
    TooManyParts(String),
    /// A range outside the field's bounds.
    #[error("\"{expression}\" is outside {min}-{max}")]
    OutOfBounds {
        /// The range as written.
        expression: String,
        /// Smallest value of the field.
        min: u8,
        /// Largest value of the field.
        max: u8,
    },
    /// A range that runs backwards.
    #[error("\"{0}\" runs backwards: write the smaller end first")]
    Reversed(String),
    /// A step of zero.
    #[error("\"{0}\" has a step of zero")]
    ZeroStep(String),
}

/// The values one field matches, and whether it was written as a plain star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    bits: u64,
    star: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.bits >> value & 1 == 1)
    }
}

/// What a field accepts: its bounds and the names that stand for numbers, the first for `min`.
struct Bounds {
    min: u8,
    max: u8,
    names: &'static [&'static str],
}

const MINUTE: Bounds = Bounds {
    min: 0,
    max: 59,
    names: &[],
};
const HOUR: Bounds = Bounds {
    min: 0,
    max: 23,
    names: &[],
};
const DAY_OF_MONTH: Bounds = Bounds {
    min: 1,
    max: 31,
    names: &[],
};
const MONTH: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const DAY_OF_WEEK: Bounds = Bounds {
    min: 0,
    max: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Schedule {
    /// Reads five fields or one of the macros.
    pub fn parse(schedule: &str) -> Result<Self, CronError> {
        let schedule = schedule.trim();
        let fields = match schedule {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other if other.starts_with('@') => {
                return Err(CronError::UnknownMacro(other.to_string()));
            }
            other => other,
        };
        let mut parts = fields.split_whitespace();
        let (Some(minute), Some(hour), Some(day_of_month), Some(month), Some(day_of_week), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            let found = fields.split_whitespace().count();
            return Err(CronError::FieldCount {
                schedule: schedule.to_string(),
                found,
            });
        };
        Ok(Self {
            minute: field(minute, &MINUTE)?,
            hour: field(hour, &HOUR)?,
            day_of_month: field(day_of_month, &DAY_OF_MONTH)?,
            month: field(month, &MONTH)?,
            day_of_week: field(day_of_week, &DAY_OF_WEEK)?,
        })
    }

    /// The first fire strictly after `instant`, on a whole second; `None` when there is none
    /// before the end of the fifth following year.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        // Upstream starts at the next whole second, so a fraction never hides a fire.
        let whole = Timestamp::from_second(instant.as_second() - i64::from(is_before(instant)))
            .ok()?
            .checked_add(SignedDuration::from_secs(1))
            .ok()?;
        let start = next_minute(Offset::UTC.to_datetime(whole))?;
        let last_year = start.year().checked_add(5)?;
        let mut date = start.date();
        let mut from = (start.hour(), start.minute());
        while date.year() <= last_year {
            if !self.month.has(date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
                from = (0, 0);
                continue;
            }
            if self.day_matches(date)
                && let Some((hour, minute)) = self.time_from(from)
            {
                return Offset::UTC.to_timestamp(date.at(hour, minute, 0, 0)).ok();
            }
            date = date.tomorrow().ok()?;
            from = (0, 0);
        }
        None
    }

    /// Both day fields must match when either is a star; otherwise one of them is enough.
    fn day_matches(&self, date: Date) -> bool {
        let of_month = self.day_of_month.has(date.day());
        let of_week = self.day_of_week.has(date.weekday().to_sunday_zero_offset());
        if self.day_of_month.star || self.day_of_week.star {
            of_month && of_week
        } else {
            of_month || of_week
        }
    }

    /// The first matching hour and minute of a day at or after `from`.
    fn time_from(&self, from: (i8, i8)) -> Option<(i8, i8)> {
        (from.0..24)
            .filter(|&hour| self.hour.has(hour))
            .find_map(|hour| {
                let first = if hour == from.0 { from.1 } else { 0 };
                (first..60)
                    .find(|&minute| self.minute.has(minute))
                    .map(|minute| (hour, minute))
            })
    }
}

/// Whether the instant lies before the whole second its truncation names (before 1970).
fn is_before(instant: Timestamp) -> bool {
    instant.subsec_nanosecond() < 0
}

/// The first whole minute at or after a whole second.
fn next_minute(instant: DateTime) -> Option<DateTime> {
    if instant.second() == 0 {
        return Some(instant);
    }
    instant
        .with()
        .second(0)
        .build()
        .ok()?
        .checked_add(1.minute())
        .ok()
}

/// One field: ranges between commas. Empty parts are skipped, as upstream does.
fn field(text: &str, bounds: &Bounds) -> Result<Field, CronError> {
    let mut whole = Field {
        bits: 0,
        star: false,
    };
    for expression in text.split(',').filter(|part| !part.is_empty()) {
        let part = range(expression, bounds)?;
        whole.bits |= part.bits;
        whole.star |= part.star;
    }
    Ok(whole)
}

/// One range: `5`, `1-5`, `*`, `?`, each with an optional `/step`.
fn range(expression: &str, bounds: &Bounds) -> Result<Field, CronError> {
    let mut slashes = expression.split('/');
    let ends = slashes.next().unwrap_or_default();
    let step = slashes.next();
    if slashes.next().is_some() {
        return Err(CronError::TooManyParts(expression.to_string()));
    }
    let mut hyphens = ends.split('-');
    let low = hyphens.next().unwrap_or_default();
    let high = hyphens.next();
    let mut star = low == "*" || low == "?";
    let (start, mut end) = if star {
        (u64::from(bounds.min), u64::from(bounds.max))
    } else {
        if hyphens.next().is_some() {
            return Err(CronError::TooManyParts(expression.to_string()));
        }
        let start = number_or_name(low, bounds)?;
        (
            start,
            high.map_or(Ok(start), |high| number_or_name(high, bounds))?,
        )
    };
    let step = match step {
        None => 1,
        Some(text) => {
            let step = number(text)?;
            if high.is_none() {
                end = u64::from(bounds.max);
            }
            star &= step <= 1;
            step
        }
    };
    if start < u64::from(bounds.min) || end > u64::from(bounds.max) {
        return Err(CronError::OutOfBounds {
            expression: expression.to_string(),
            min: bounds.min,
            max: bounds.max,
        });
    }
    if start > end {
        return Err(CronError::Reversed(expression.to_string()));
    }
    if step == 0 {
        return Err(CronError::ZeroStep(expression.to_string()));
    }
    let mut bits = 0;
    let mut value = start;
    while value <= end {
        bits |= 1 << value;
        value = value.saturating_add(step);
    }
    Ok(Field { bits, star })
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u64, CronError> {
    bounds
        .names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text))
        .map_or_else(
            || number(text),
            |index| Ok(u64::from(bounds.min) + index as u64),
        )
}

fn number(text: &str) -> Result<u64, CronError> {
    text.parse()
        .map_err(|_| CronError::NotANumber(text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `next` is the fire after `after`; an empty one means that there is none.
    fn check(schedule: &str, after: &str, next: &str) {
        let after: Timestamp = after.parse().unwrap();
        let found = Schedule::parse(schedule).unwrap().next_after(after);
        let found = found.map(|found| found.to_string()).unwrap_or_default();
        assert_eq!(found, next, "{schedule} after {after}");
    }

    #[test]
    fn fires_strictly_after() {
        check("0 0 * * *", "2024-05-01T00:00:00Z", "2024-05-02T00:00:00Z");
        check(
            "0 0 * * *",
            "2024-04-30T23:59:59.999Z",
            "2024-05-01T00:00:00Z",
        );
        check(
            "0 0 * * *",
            "2024-05-01T00:00:00.5Z",
            "2024-05-02T00:00:00Z",
        );
        check("* * * * *", "2024-05-01T00:00:00Z", "2024-05-01T00:01:00Z");
        check("* * * * *", "2024-12-31T23:59:01Z", "2025-01-01T00:00:00Z");
        check(
            "30 8 * * *",
            "1969-12-31T08:29:59.5Z",
            "1969-12-31T08:30:00Z",
        );
    }

    #[test]
    fn reads_ranges_steps_lists_and_names() {
        check(
            "*/15 * * * *",
            "2024-05-01T10:16:00Z",
            "2024-05-01T10:30:00Z",
        );
        check(
            "5/20 * * * *",
            "2024-05-01T10:26:00Z",
            "2024-05-01T10:45:00Z",
        );
        check(
            "0 9-17/4 * * *",
            "2024-05-01T09:00:00Z",
            "2024-05-01T13:00:00Z",
        );
        check(
            "0 0 * feb *",
            "2024-05-01T00:00:00Z",
            "2025-02-01T00:00:00Z",
        );
        check(
            "0 0 * * MON-fri",
            "2024-05-03T00:00:00Z",
            "2024-05-06T00:00:00Z",
        );
        check(
            "0,30 1,2 ? * ?",
            "2024-05-01T01:10:00Z",
            "2024-05-01T01:30:00Z",
        );
        check(
            "+5 ,1 * * *",
            "2024-05-01T00:00:00Z",
            "2024-05-01T01:05:00Z",
        );
        check(
            "0 *-5 * * *",
            "2024-05-01T07:00:00Z",
            "2024-05-01T08:00:00Z",
        );
        check("0 0 29 2 *", "2024-03-01T00:00:00Z", "2028-02-29T00:00:00Z");
    }

    #[test]
    fn reads_macros() {
        let after = "2024-05-01T10:16:00Z"; // a Wednesday
        check("@hourly", after, "2024-05-01T11:00:00Z");
        check("@daily", after, "2024-05-02T00:00:00Z");
        check("@midnight", after, "2024-05-02T00:00:00Z");
        check("@weekly", after, "2024-05-05T00:00:00Z");
        check("@monthly", after, "2024-06-01T00:00:00Z");
        check("@yearly", after, "2025-01-01T00:00:00Z");
        check("@annually", after, "2025-01-01T00:00:00Z");
    }

    #[test]
    fn joins_the_day_fields() {
        // Neither is a star: the 13th or a Friday.
        check(
            "0 0 13 * fri",
            "2024-05-04T00:00:00Z",
            "2024-05-10T00:00:00Z",
        );
        check(
            "0 0 13 * fri",
            "2024-05-10T00:00:00Z",
            "2024-05-13T00:00:00Z",
        );
        // One is a star: both must hold.
        check(
            "0 0 * * fri",
            "2024-05-04T00:00:00Z",
            "2024-05-10T00:00:00Z",
        );
        check("0 0 13 * *", "2024-05-04T00:00:00Z", "2024-05-13T00:00:00Z");
        // A stepped star is no star: an odd day or a Friday.
        check(
            "0 0 */2 * fri",
            "2024-05-09T00:00:00Z",
            "2024-05-10T00:00:00Z",
        );
        check(
            "0 0 */1 * fri",
            "2024-05-04T00:00:00Z",
            "2024-05-10T00:00:00Z",
        );
    }

    #[test]
    fn may_never_fire() {
        check("0 0 30 2 *", "2024-05-01T00:00:00Z", "");
        check(", * * * *", "2024-05-01T00:00:00Z", "");
        // The next leap day is eight years away.
        check("0 0 29 2 *", "2096-03-01T00:00:00Z", "");
    }

    #[test]
    fn refuses() {
        let refused = [
            ("", "expected exactly 5 fields, found 0: \"\""),
            ("* * * *", "expected exactly 5 fields, found 4: \"* * * *\""),
            (
                "TZ=UTC * * * * *",
                "expected exactly 5 fields, found 6: \"TZ=UTC * * * * *\"",
            ),
            (
                "0 0 * * tue-mon",
                "\"tue-mon\" runs backwards: write the smaller end first",
            ),
            ("0 0 * * 7", "\"7\" is outside 0-6"),
            ("60 0 * * *", "\"60\" is outside 0-59"),
            ("0 24 * * *", "\"24\" is outside 0-23"),
            ("0 0 0 * *", "\"0\" is outside 1-31"),
            ("0 0 * 13 *", "\"13\" is outside 1-12"),
            (
                "0 0 * mon *",
                "\"mon\" is neither a number nor a name of this field",
            ),
            (
                "0 0 1-2-3 * *",
                "\"1-2-3\" has more than one hyphen or slash",
            ),
            (
                "0/1/2 0 * * *",
                "\"0/1/2\" has more than one hyphen or slash",
            ),
            ("*/0 0 * * *", "\"*/0\" has a step of zero"),
            (
                "*/-1 0 * * *",
                "\"-1\" is neither a number nor a name of this field",
            ),
            (
                "-1 0 * * *",
                "\"\" is neither a number nor a name of this field",
            ),
            (
                "@dailyish",
                "unrecognized macro \"@dailyish\": use @yearly, @monthly, @weekly, @daily, @hourly or 5 fields",
            ),
        ];
        for (schedule, message) in refused {
            assert_eq!(
                Schedule::parse(schedule).unwrap_err().to_string(),
                message,
                "{schedule}"
            );
        }
    }
}
