//! Rounds of both kinds: the real controllers against the embedded API server, under paused time.
//!
//! One program, because linking costs more than running.
#![allow(clippy::unwrap_used, missing_docs)]

mod consolidation;
mod disruption;
mod faulty;
mod launching;
mod log;
mod metrics;
mod mirror;
mod operation;
mod probes;
mod provisioning;
mod rejection;
mod renewal;
mod telling;
mod world;
