//! The API from outside: the CRDs, round trips, and what does not decode.
#![allow(clippy::unwrap_used)]

mod crds;
mod mutation;
mod roundtrip;
