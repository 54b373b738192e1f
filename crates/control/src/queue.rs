//! Work per object: what is due, in which order, how often again.
//!
//! A controller owns a [`Queue`] of keys and one function that reconciles a key. The queue promises:
//!
//! 1. one key is never reconciled twice at once; a key added meanwhile runs once more afterwards;
//! 2. keys that are due at the same time start in key order, at most `workers` at a time;
//! 3. a failure is tried again after a pause that doubles per object, an answer may name the instant
//!    of the next look; both are superseded by the next run, whatever caused it;
//! 4. no hash order, no jitter and no clock but tokio's: equal runs reconcile in equal order.
//!
//! It knows nothing of Kubernetes: triggers are closures that call [`Queue::add`].

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    error::Error as StdError,
    fmt::{self, Debug, Display},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::{Instrument, debug, error};

use crate::{
    metrics::{Ending, Metrics},
    subject::{Runs, Subject},
};

/// When to look at the object again, after a successful reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Only when something triggers it.
    Wait,
    /// After this long, unless something triggers it before.
    After(Duration),
    /// At this instant, unless something triggers it before.
    At(Timestamp),
}

impl Next {
    /// The earlier of two answers.
    pub fn earlier(self, other: Self, now: Timestamp) -> Self {
        match (self.delay(now), other.delay(now)) {
            (Some(own), Some(others)) if others < own => other,
            (None, Some(_)) => other,
            _ => self,
        }
    }

    fn delay(self, now: Timestamp) -> Option<Duration> {
        match self {
            Self::Wait => None,
            Self::After(delay) => Some(delay),
            Self::At(at) => {
                Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
            }
        }
    }
}

/// Why a reconcile did not reach its end. It is tried again with back-off either way.
#[derive(Debug)]
pub enum Failure {
    /// Somebody else wrote the object first, or it is gone: routine, and not worth a log line.
    Conflict(String),
    /// Anything else.
    Error(Box<dyn StdError + Send + Sync>),
}

impl Failure {
    /// Any error.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Error(error.into())
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(what) => formatter.write_str(what),
            Self::Error(error) => Display::fmt(error, formatter),
        }
    }
}

/// How many at once, and how patiently again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Reconciles in flight.
    pub workers: usize,
    /// The pause after the first failure of an object; each further one doubles it.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Policy {
    /// Upstream's default rate limiter: 5 ms doubling to 1000 s. Ours stops at one minute, because a
    /// fault that ends should not be noticed a quarter of an hour later.
    pub const DEFAULT: Self = Self::new(10, 5, 60_000);
    /// Claim lifecycle: 1 s to 60 s.
    pub const LIFECYCLE: Self = Self::new(64, 1_000, 60_000);
    /// Node termination and evictions: 100 ms to 10 s.
    pub const TERMINATION: Self = Self::new(64, 100, 10_000);
    /// What upstream calls its reasonable limiter: 100 ms to 1 min.
    pub const REASONABLE: Self = Self::new(10, 100, 60_000);

    /// Workers, first and longest pause in milliseconds.
    pub const fn new(workers: usize, first_milliseconds: u64, longest_milliseconds: u64) -> Self {
        Self {
            workers,
            first_pause: Duration::from_millis(first_milliseconds),
            longest_pause: Duration::from_millis(longest_milliseconds),
        }
    }

    fn pause(&self, failures: u32) -> Duration {
        let doubled = 1_u32
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u32::MAX);
        self.first_pause
            .saturating_mul(doubled)
            .min(self.longest_pause)
    }
}

/// Keys to reconcile. Clones are handles to the same queue.
pub struct Queue<Key> {
    shared: Arc<Shared<Key>>,
}

impl<Key> Clone for Queue<Key> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

struct Shared<Key> {
    state: Mutex<State<Key>>,
    woken: Notify,
}

struct State<Key> {
    /// Due now, and since when.
    ready: BTreeMap<Key, Instant>,
    /// Due later, by instant and then key.
    timed: BTreeSet<(Instant, Key)>,
    /// The instant in `timed` per key.
    due: BTreeMap<Key, Instant>,
    /// Being reconciled; true if it was added again meanwhile.
    running: BTreeMap<Key, bool>,
    failures: BTreeMap<Key, u32>,
    /// Keys that became due since somebody last counted.
    added: u64,
}

impl<Key: Ord + Clone> Default for Queue<Key> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Key: Ord + Clone> Queue<Key> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            ready: BTreeMap::new(),
            timed: BTreeSet::new(),
            due: BTreeMap::new(),
            running: BTreeMap::new(),
            failures: BTreeMap::new(),
            added: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                woken: Notify::new(),
            }),
        }
    }

    /// Reconcile this key as soon as a worker is free.
    pub fn add(&self, key: Key) {
        {
            let mut state = self.lock();
            if let Some(again) = state.running.get_mut(&key) {
                if !std::mem::replace(again, true) {
                    state.added += 1;
                }
                return;
            }
            state.becomes_due(key, Instant::now());
        }
        self.shared.woken.notify_one();
    }

    /// Reconcile this key after a while, or earlier if it is due earlier already.
    pub fn add_after(&self, key: Key, delay: Duration) {
        self.lock().schedule(key, Instant::now() + delay);
        self.shared.woken.notify_one();
    }

    /// True if no key is due or running; keys that wait for their time do not count.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.ready.is_empty() && state.running.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State<Key>> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Key: Ord + Clone> State<Key> {
    fn schedule(&mut self, key: Key, at: Instant) {
        match self.due.get(&key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => {
                let later = *later;
                self.timed.remove(&(later, key.clone()));
            }
            None => {}
        }
        self.due.insert(key.clone(), at);
        self.timed.insert((at, key));
    }

    fn unschedule(&mut self, key: &Key) {
        if let Some(at) = self.due.remove(key) {
            self.timed.remove(&(at, key.clone()));
        }
    }

    fn becomes_due(&mut self, key: Key, since: Instant) {
        if let Entry::Vacant(entry) = self.ready.entry(key) {
            entry.insert(since);
            self.added += 1;
        }
    }

    /// Moves what has become due and takes the first key that may run, with the instant from which on
    /// it might have run.
    fn take(&mut self) -> Option<(Key, Instant)> {
        let now = Instant::now();
        while self.timed.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((at, key)) = self.timed.pop_first() {
                self.due.remove(&key);
                match self.running.get_mut(&key) {
                    Some(again) => *again = true,
                    None => self.becomes_due(key, at),
                }
            }
        }
        let (key, since) = self.ready.pop_first()?;
        self.unschedule(&key);
        self.running.insert(key.clone(), false);
        Some((key, since))
    }

    fn finish(&mut self, key: Key, next: Option<Instant>) {
        if self.running.remove(&key) == Some(true) {
            // Counted when it was added.
            self.ready.insert(key, Instant::now());
        } else if let Some(at) = next {
            self.schedule(key, at);
        }
    }
}

/// Reconciles keys for ever. Dropping the future stops it.
pub async fn run<Key, Reconcile, Answer>(
    name: &'static str,
    policy: Policy,
    metrics: Arc<Metrics>,
    queue: Queue<Key>,
    reconcile: Reconcile,
) where
    Key: Ord + Clone + Debug + Send + Subject,
    Reconcile: Fn(Key) -> Answer,
    Answer: Future<Output = Result<Next, Failure>>,
{
    let clock = metrics.clock();
    let controller = metrics.queue(name, policy.workers);
    let mut runs = Runs::new(name, clock.now());
    let mut running = FuturesUnordered::new();
    loop {
        let next_due = {
            let mut state = queue.lock();
            while running.len() < policy.workers {
                let Some((key, since)) = state.take() else {
                    break;
                };
                controller.waited(since);
                let span = runs.span(&key);
                let work = span.in_scope(|| reconcile(key.clone()));
                let answer = controller.run(work, ending);
                let run = async move {
                    let result = answer.await;
                    if let Err(failure) = &result {
                        tell(failure);
                    }
                    (key, result)
                };
                running.push(run.instrument(span));
            }
            controller.queued(std::mem::take(&mut state.added), state.ready.len());
            state.timed.first().map(|(at, _)| *at)
        };
        tokio::select! {
            biased;
            Some((key, result)) = running.next(), if !running.is_empty() => {
                let mut state = queue.lock();
                let next = if let Ok(next) = result {
                    state.failures.remove(&key);
                    next.delay(clock.now())
                } else {
                    let failures = state.failures.entry(key.clone()).or_insert(0);
                    *failures = failures.saturating_add(1);
                    Some(policy.pause(*failures))
                };
                state.finish(key, next.map(|delay| Instant::now() + delay));
            }
            () = queue.shared.woken.notified() => {}
            // While every worker is busy, what is due waits for one of them to finish: a timer in
            // the past would wake this loop for ever.
            () = sleep_until(next_due.unwrap_or_else(Instant::now)),
                if next_due.is_some() && running.len() < policy.workers => {}
        }
    }
}

/// Tells about a failure, within the span of its run.
fn tell(failure: &Failure) {
    match failure {
        Failure::Conflict(what) => debug!(%what, "reconciling again"),
        Failure::Error(error) => error!(%error, "reconcile failed"),
    }
}

/// How the controller library names what came of a reconcile.
fn ending(result: &Result<Next, Failure>) -> Ending {
    match result {
        Ok(Next::Wait) => Ending::Success,
        Ok(Next::After(_) | Next::At(_)) => Ending::RequeueAfter,
        Err(Failure::Conflict(_)) => Ending::Requeue,
        Err(Failure::Error(_)) => Ending::Error,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::clock::Clock;

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new(Clock::Real))
    }

    /// Runs a queue until `seconds` have passed and returns the log of starts, `<ms>:<key>`.
    async fn check(
        seconds: u64,
        prepare: impl Fn(&Queue<&'static str>),
        answer: impl Fn(&'static str, usize) -> Result<Next, Failure>,
    ) -> Vec<String> {
        let queue = Queue::new();
        prepare(&queue);
        let start = Instant::now();
        let log = RefCell::new(Vec::new());
        let work = run(
            "test",
            Policy::new(2, 100, 400),
            metrics(),
            queue.clone(),
            |key| {
                let count = log
                    .borrow()
                    .iter()
                    .filter(|line: &&String| line.ends_with(key))
                    .count();
                log.borrow_mut()
                    .push(format!("{}:{key}", start.elapsed().as_millis()));
                let result = answer(key, count);
                async move {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    result
                }
            },
        );
        let _ = tokio::time::timeout(Duration::from_secs(seconds), work).await;
        log.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn keys_start_in_order_and_at_most_two_at_a_time() {
        let prepare = |queue: &Queue<_>| {
            for key in ["c", "b", "a"] {
                queue.add(key);
            }
        };
        let log = check(1, prepare, |_, _| Ok(Next::Wait)).await;
        assert_eq!(log, ["0:a", "0:b", "10:c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_due_while_all_workers_are_busy_does_not_hold_up_time() {
        let prepare = |queue: &Queue<_>| {
            queue.add("a");
            queue.add("b");
            queue.add_after("c", Duration::from_millis(5));
        };
        let log = check(1, prepare, |_, _| Ok(Next::Wait)).await;
        assert_eq!(log, ["0:a", "0:b", "10:c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_per_object_and_success_forgets_them() {
        let log = check(
            3,
            |queue| queue.add("a"),
            |_, count| {
                if count == 4 {
                    Ok(Next::Wait)
                } else {
                    Err(Failure::Conflict("no".into()))
                }
            },
        )
        .await;
        assert_eq!(log, ["0:a", "110:a", "320:a", "730:a", "1140:a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_names_the_next_look_and_the_earlier_trigger_wins() {
        let prepare = |queue: &Queue<_>| {
            queue.add("a");
            queue.add_after("b", Duration::from_secs(2));
            queue.add_after("b", Duration::from_millis(500));
        };
        let answer = |_, count| {
            Ok(if count == 0 {
                Next::After(Duration::from_secs(1))
            } else {
                Next::Wait
            })
        };
        assert_eq!(
            check(9, prepare, answer).await,
            ["0:a", "500:b", "1010:a", "1510:b"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_while_it_runs_runs_once_more_afterwards() {
        let queue = Queue::new();
        queue.add("a");
        let count = RefCell::new(0);
        let work = run("test", Policy::DEFAULT, metrics(), queue.clone(), |_| {
            *count.borrow_mut() += 1;
            let first = *count.borrow() == 1;
            let queue = queue.clone();
            async move {
                if first {
                    queue.add("a");
                    queue.add("a");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok(Next::Wait)
            }
        });
        let _ = tokio::time::timeout(Duration::from_secs(1), work).await;
        assert_eq!(*count.borrow(), 2);
        assert!(queue.is_idle());
    }
}
