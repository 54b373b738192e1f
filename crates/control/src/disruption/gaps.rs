//! Who has not been asked for too long: the loop, or a method that others never let have its turn.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tracing::debug;

/// So long nobody should have to wait.
const ABNORMAL: SignedDuration = SignedDuration::from_mins(15);

/// When everybody ran last.
#[derive(Default)]
pub(super) struct Runs(BTreeMap<&'static str, Timestamp>);

impl Runs {
    /// Somebody runs now.
    pub(super) fn ran(&mut self, who: &'static str, now: Timestamp) {
        self.0.insert(who, now);
    }

    /// Tells who has not run for too long.
    pub(super) fn tell(&self, now: Timestamp) {
        for (who, time_since) in self.overdue(now) {
            debug!(method = who, %time_since, "abnormal time between runs");
        }
    }

    fn overdue(&self, now: Timestamp) -> Vec<(&'static str, SignedDuration)> {
        let since = self.0.iter();
        since
            .map(|(who, last)| (*who, now.duration_since(*last)))
            .filter(|(_, time_since)| *time_since > ABNORMAL)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_run_for_a_quarter_of_an_hour_is_named() {
        let at = |minutes| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let mut runs = Runs::default();
        assert_eq!(runs.overdue(at(60)), [], "nobody has ever run");
        runs.ran("disruption", at(0));
        runs.ran("Drift", at(5));
        assert_eq!(runs.overdue(at(15)), []);
        let late = SignedDuration::from_mins(16);
        assert_eq!(runs.overdue(at(16)), [("disruption", late)]);
        runs.ran("disruption", at(16));
        assert_eq!(runs.overdue(at(21)), [("Drift", late)]);
    }
}
