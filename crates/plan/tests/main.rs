//! The core from outside: objects in, plans and reasons out.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod check;
mod default_spread;
mod disruption;
mod explain;
mod fixtures;
mod properties;
mod requirement;
mod scheduling;
mod topology;
mod volumes;
mod world;
