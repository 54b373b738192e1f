//! Appointments: what a controller has to look at again, and when.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

/// At most one appointment per key.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
    at: BTreeMap<K, Instant>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            at: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets or moves the appointment of a key.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        self.cancel(&key);
        self.due.insert((at, key.clone()));
        self.at.insert(key, at);
    }

    /// Sets an appointment, or moves it forward to an earlier time.
    pub(crate) fn set_no_later(&mut self, key: K, at: Instant) {
        if self.at.get(&key).is_none_or(|known| *known > at) {
            self.set(key, at);
        }
    }

    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some(at) = self.at.remove(key) {
            self.due.remove(&(at, key.clone()));
        }
    }

    pub(crate) fn has(&self, key: &K) -> bool {
        self.at.contains_key(key)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the next key whose time has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn appointments_come_in_order_and_move() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.set("b", after(2));
        timers.set("a", after(3));
        timers.set("a", after(1));
        timers.set_no_later("b", after(9));
        timers.set("c", after(2));
        timers.cancel(&"c");
        assert!(timers.has(&"a") && !timers.has(&"c"));
        assert_eq!(timers.next(), Some(after(1)));
        assert_eq!(timers.pop_due(after(0)), None);
        assert_eq!(timers.pop_due(after(2)), Some("a"));
        assert_eq!(timers.pop_due(after(2)), Some("b"));
        assert_eq!(timers.pop_due(after(9)), None);
    }
}
