//! The KWOK provider: nodes without machines.
