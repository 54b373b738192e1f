//! Which lines are dropped: per second and message, the first hundred are told and then every
//! hundredth, so that a fault in a loop does not drown everything else.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tracing::Level;

/// Lines that are all told.
const FIRST: u64 = 100;
/// Of those that follow, one in so many.
const THEREAFTER: u64 = 100;

/// Counts the lines of the present second.
#[derive(Default)]
pub(super) struct Sampler {
    second: i64,
    counts: BTreeMap<(String, Level), u64>,
}

impl Sampler {
    /// Whether the line is told.
    pub(super) fn admits(&mut self, now: Timestamp, level: Level, message: &str) -> bool {
        let second = now.as_second();
        if second != self.second {
            self.second = second;
            self.counts.clear();
        }
        let count = self.counts.entry((message.to_owned(), level)).or_default();
        *count += 1;
        *count <= FIRST || (*count - FIRST).is_multiple_of(THEREAFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_a_hundred_lines_a_second() {
        let mut sampler = Sampler::default();
        let now: Timestamp = "2025-05-01T10:00:00Z".parse().unwrap();
        let later = now + jiff::SignedDuration::from_secs(1);
        let mut check = |now, level, message, lines: usize, told| {
            let admitted = (0..lines).filter(|_| sampler.admits(now, level, message));
            assert_eq!(admitted.count(), told, "{message} {level}");
        };
        check(now, Level::INFO, "a", 150, 100);
        check(now, Level::INFO, "a", 49, 0);
        check(now, Level::INFO, "a", 2, 1);
        check(now, Level::INFO, "b", 3, 3);
        check(now, Level::ERROR, "a", 3, 3);
        check(later, Level::INFO, "a", 100, 100);
    }
}
