//! The pure core: snapshots in, plans and reasons out.
