//! The core from outside: objects in, plans and reasons out.
#![allow(clippy::unwrap_used)]

mod check;
mod default_spread;
mod devices;
mod disruption;
mod explain;
mod fixtures;
mod properties;
mod requirement;
mod scheduling;
mod topology;
mod volumes;
mod world;
