//! The core from outside: objects in, plans and reasons out.
#![allow(clippy::unwrap_used)]

mod check;
mod default_spread;
mod disruption;
mod explain;
mod fixtures;
mod limits;
mod properties;
mod requirement;
mod scheduling;
mod static_pool;
mod topology;
mod volumes;
mod world;
