//! Durations as kubectl shows them.

use jiff::Timestamp;

/// How long ago an instant was, or `<unknown>`.
pub(crate) fn since(instant: Option<&str>, now: Timestamp) -> String {
    match instant.and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(then) => human(now.as_second() - then.as_second()),
        None => "<unknown>".to_owned(),
    }
}

/// Two units at most, the smaller one only while it matters.
pub(crate) fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |large: i64, small: i64, names: (&str, &str)| {
        let (whole, rest) = (seconds / large, seconds % large / small);
        if rest == 0 {
            format!("{whole}{}", names.0)
        } else {
            format!("{whole}{}{rest}{}", names.0, names.1)
        }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..=0 => "0s".to_owned(),
        1..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, 1, ("m", "s")),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, MINUTE, ("h", "m")),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, HOUR, ("d", "h")),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(YEAR, DAY, ("y", "d")),
        252_288_000.. => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |seconds: i64, expected: &str| assert_eq!(human(seconds), expected);
        check(-5, "<invalid>");
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(150, "2m30s");
        check(600, "10m");
        check(3 * 3600 + 60, "3h1m");
        check(8 * 3600, "8h");
        check(49 * 3600, "2d1h");
        check(10 * 86400, "10d");
        check(800 * 86400, "2y70d");
    }
}
