//! The one place that knows what time it is.
//!
//! Rounds and reconcilers ask once, at their start, and pass the instant down; nothing below them
//! asks again. In tests and simulations the time is a fixed epoch plus what tokio's (paused) clock
//! has seen pass, so that timers and timestamps can never disagree.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Real time, or tokio's time from a fixed epoch.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The wall clock.
    Real,
    /// `epoch` at the instant `origin`, moving with tokio's clock from there.
    Virtual {
        /// The timestamp that `origin` stands for.
        epoch: Timestamp,
        /// The tokio instant at which `epoch` was.
        origin: Instant,
    },
}

impl Clock {
    /// A clock that shows `epoch` now and moves with tokio's time. Needs a runtime to be entered
    /// only when its time is paused.
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self::Virtual {
            epoch,
            origin: Instant::now(),
        }
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Real => Timestamp::now(),
            Self::Virtual { epoch, origin } => epoch
                .checked_add(jiff::SignedDuration::try_from(origin.elapsed()).unwrap_or_default())
                .unwrap_or(Timestamp::MAX),
        }
    }

    /// How long until an instant; zero if it has passed.
    pub fn until(&self, instant: Timestamp) -> Duration {
        Duration::try_from(instant.duration_since(self.now())).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_virtual_clock_moves_with_tokio_time() {
        let epoch: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(epoch);
        assert_eq!(clock.now(), epoch);
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(clock.now().to_string(), "2026-01-01T00:01:30Z");
        assert_eq!(
            clock.until("2026-01-01T00:02:00Z".parse().unwrap()),
            Duration::from_secs(30)
        );
        assert_eq!(clock.until(epoch), Duration::ZERO);
    }
}
