//! Time for the whole assembly: a fixed instant of the calendar plus what tokio says has passed. Under a paused
//! runtime that is virtual time, else real time; nobody below can tell.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The calendar read off tokio's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Timestamp,
    start: Instant,
}

impl Clock {
    /// A clock that reads `epoch` now. Must be called within a tokio runtime.
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self {
            epoch,
            start: Instant::now(),
        }
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The calendar time of an instant.
    pub fn at(&self, instant: Instant) -> Timestamp {
        let passed = instant.saturating_duration_since(self.start);
        let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        self.epoch.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// The same clock as our controllers read it.
    pub fn shared(&self) -> karpenter_control::clock::Clock {
        karpenter_control::clock::Clock::Virtual {
            epoch: self.epoch,
            origin: self.start,
        }
    }
}
