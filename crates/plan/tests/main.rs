//! The core from outside: objects in, plans and reasons out.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod bins;
mod buffer;
#[path = "../../api/src/cases.rs"]
mod cases;
mod check;
mod default_spread;
mod devices;
mod disruption;
mod domains;
mod explain;
mod fixtures;
mod limits;
mod market;
mod neighbors;
mod overlay;
mod properties;
mod requirement;
mod reserved;
mod scheduling;
mod static_pool;
mod topology;
mod volumes;
mod world;
