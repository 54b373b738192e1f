//! The shape that all controllers of the mini control plane share: they see changes, decide when asked, and hand
//! back writes. None of them waits, reads a clock of its own, or talks to the API server.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::cluster::{Change, Cluster};
use crate::objects::Key;
use crate::timers::Timers;
use crate::write::Write;

/// What a controller may look at.
pub(crate) struct View<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) clock: Clock,
    pub(crate) now: Instant,
}

impl View<'_> {
    /// The present as the API writes it.
    pub(crate) fn time(&self) -> Timestamp {
        self.clock.at(self.now)
    }

    /// The instant of a calendar time, now if it has passed.
    pub(crate) fn instant(&self, time: Timestamp) -> Instant {
        let ahead = time.duration_since(self.time());
        self.now + Duration::try_from(ahead).unwrap_or_default()
    }
}

/// One controller.
pub(crate) trait Controller: Send {
    /// Takes note of a change.
    fn observe(&mut self, change: &Change, view: &View<'_>);

    /// Decides what to write about everything noted since the last call and everything that has come due.
    fn work(&mut self, view: &View<'_>) -> Vec<Write>;

    /// A write of this controller did not happen.
    fn failed(&mut self, write: &Write, view: &View<'_>);

    /// When the controller wants to be asked although nothing changes.
    fn wake(&self) -> Option<Instant>;
}

/// How long a controller waits before it tries again what the server refused. Whatever made the server refuse is
/// normally on its way as an event, so this is a safety net.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// The keys that a controller has to look at, now or later.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    dirty: BTreeSet<Key>,
    timers: Timers<Key>,
}

impl Queue {
    pub(crate) fn add(&mut self, key: &Key) {
        if !self.dirty.contains(key) {
            self.dirty.insert(key.clone());
        }
    }

    pub(crate) fn add_at(&mut self, key: &Key, at: Instant) {
        self.timers.set_no_later(key.clone(), at);
    }

    /// Everything to look at now, in the order of keys.
    pub(crate) fn take(&mut self, now: Instant) -> BTreeSet<Key> {
        while let Some(key) = self.timers.pop_due(now) {
            self.dirty.insert(key);
        }
        std::mem::take(&mut self.dirty)
    }

    pub(crate) fn wake(&self) -> Option<Instant> {
        self.timers.next()
    }
}
