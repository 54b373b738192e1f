//! What controllers do, whatever they do it to: runs, queues, and who leads.
//!
//! The families are those of the library that upstream is built with, because dashboards read them.

use prometheus::{GaugeVec, Registry};

use super::family::gauge;

/// The families of the controller library.
pub(super) struct Runtime {
    leading: GaugeVec,
}

impl Runtime {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            leading: gauge(
                registry,
                "leader_election_master_status",
                "Whether this process holds the lease: 1 if it does.",
                &["name"],
            ),
        }
    }

    pub(super) fn set_leading(&self, lease: &str, leads: bool) {
        self.leading
            .with_label_values(&[lease])
            .set(if leads { 1.0 } else { 0.0 });
    }
}
