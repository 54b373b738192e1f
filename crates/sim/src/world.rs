//! A cluster in virtual time: days pass in moments, and two worlds of one seed write the same.
//!
//! The runtime is the world's own: one thread, no IO, time that moves only when every task waits. Its methods look
//! synchronous from outside; the cluster runs only inside of them.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use karpenter_control::ctx::Computing;
use kube::Client;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::assembly::{Assembly, Options, StartError};
use crate::clock::Clock;
use crate::manifest::{ApplyError, apply};
use crate::state::State;

/// The instant at which every world begins, unless told otherwise.
pub const GENESIS: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// How often a condition is looked at while something changes.
const STEP: Duration = Duration::from_millis(100);

/// A cluster in virtual time.
pub struct World {
    // Dropped before the runtime that it runs on.
    assembly: Assembly,
    runtime: Runtime,
}

/// Why a condition did not come about.
#[derive(Debug, thiserror::Error)]
#[error("not so after {after:?} of virtual time:\n{state}")]
pub struct NotSo {
    /// How long was waited.
    pub after: Duration,
    /// How the cluster looks.
    pub state: String,
}

impl World {
    /// A world with the dullest options.
    pub fn new(seed: u64) -> Result<Self, StartError> {
        Self::with(Options::new(GENESIS, seed))
    }

    /// A world as described; computing is inline and writes are recorded whatever the options say.
    pub fn with(mut options: Options) -> Result<Self, StartError> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        options.record_writes = true;
        options.bookmark_every = options.bookmark_every.max(Duration::from_hours(1));
        if let Some(controller) = &mut options.controller {
            controller.computing = Computing::Inline;
        }
        let assembly = runtime.block_on(Assembly::start(options))?;
        Ok(Self { assembly, runtime })
    }

    /// A client of the cluster.
    pub fn client(&self) -> Client {
        self.assembly.client.clone()
    }

    /// The world's time.
    pub fn clock(&self) -> Clock {
        self.assembly.clock
    }

    /// The cluster's parts.
    pub fn assembly(&self) -> &Assembly {
        &self.assembly
    }

    /// Runs the cluster while doing something in it.
    ///
    /// # Panics
    /// If a task of the cluster panicked: what a world without its controllers shows is worth nothing.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        let output = self.runtime.block_on(future);
        self.still_runs();
        output
    }

    fn still_runs(&self) {
        if let Some(failure) = self.assembly.failure()
            && failure.is_panic()
        {
            std::panic::resume_unwind(failure.into_panic());
        }
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) -> Result<(), ApplyError> {
        self.run(apply(&self.assembly.client, manifests))
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        self.run(async { tokio::time::sleep(duration).await });
    }

    /// How the cluster looks now.
    pub fn state(&self) -> Result<State, kube::Error> {
        self.run(State::read(&self.assembly.client))
    }

    /// Lets time pass until a condition holds, and returns the state in which it does.
    pub fn until(&self, holds: impl Fn(&State) -> bool, timeout: Duration) -> Result<State, NotSo> {
        self.run(async {
            let start = Instant::now();
            let mut seen = None;
            let mut state = State::default();
            loop {
                let revision = self.assembly.server.revision();
                if seen != Some(revision) {
                    seen = Some(revision);
                    if let Ok(read) = State::read(&self.assembly.client).await {
                        state = read;
                    }
                    if holds(&state) {
                        return Ok(state);
                    }
                }
                if start.elapsed() >= timeout {
                    return Err(NotSo {
                        after: timeout,
                        state: State::report(&self.assembly.client)
                            .await
                            .unwrap_or_else(|error| error.to_string()),
                    });
                }
                tokio::time::sleep(STEP).await;
            }
        })
    }

    /// Every write so far, one line each.
    pub fn write_log(&self) -> Vec<String> {
        self.assembly.server.write_log()
    }
}
