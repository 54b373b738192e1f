//! What is looked at from time to time rather than on a change.
#![allow(dead_code)] // The controllers that act on these decisions come next.

mod garbage;
