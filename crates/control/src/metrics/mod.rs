//! What is counted and measured, under upstream's names: dashboards and alerts read these.
//!
//! One [`Metrics`] belongs to one [`Ctx`](crate::ctx::Ctx): there is nothing global, so that many
//! worlds run in one process. Two kinds of numbers: what happened is counted where it happens, in the
//! families of a registry; what *is* (nodes, pods, pools, conditions) is read from the mirror when
//! somebody asks, so that nothing has to be kept in step and deleted objects vanish by themselves.
//!
//! Nothing here decides anything, and no controller reads a metric.

mod family;
mod page;
mod runtime;

use std::sync::{
    Arc, PoisonError, RwLock, Weak,
    atomic::{AtomicBool, Ordering},
};

use prometheus::{Registry, TextEncoder};

use crate::{clock::Clock, mirror::Mirror};
use page::Page;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All numbers of one autoscaler.
pub struct Metrics {
    registry: Registry,
    #[allow(
        dead_code,
        reason = "read by the series of the cluster's state, which follow"
    )]
    clock: Clock,
    shows_cluster_state: AtomicBool,
    mirror: RwLock<Weak<Mirror>>,
    /// What controllers do, whatever they do it to.
    runtime: runtime::Runtime,
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new(clock: Clock) -> Self {
        let registry = Registry::new();
        build_info(&registry);
        Self {
            runtime: runtime::Runtime::new(&registry),
            registry,
            clock,
            shows_cluster_state: AtomicBool::new(true),
            mirror: RwLock::new(Weak::new()),
        }
    }

    /// Leaves out what grows with the cluster: the series of nodes, pods and pools, and of the
    /// conditions of claims, pools and nodes (`--disable-cluster-state-observability`).
    pub fn disable_cluster_state(&self) {
        self.shows_cluster_state.store(false, Ordering::Relaxed);
    }

    /// Whether this process leads, under the name of the lease.
    pub fn set_leading(&self, lease: &str, leads: bool) {
        self.runtime.set_leading(lease, leads);
    }

    /// Reads nodes, pods, pools and claims from this mirror from now on.
    pub(crate) fn observe(&self, mirror: &Arc<Mirror>) {
        *self.mirror.write().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(mirror);
    }

    /// Everything, as text in the format that Prometheus reads.
    pub fn render(&self) -> String {
        let mut page = Page::default();
        let encoder = TextEncoder::new();
        for family in self.registry.gather() {
            let text = page.family(family.name());
            // Encoding fails only for families without name or samples, and those are not gathered.
            let _ = encoder.encode_utf8(std::slice::from_ref(&family), text);
        }
        page.finish()
    }
}

/// Which program this is, as a series that is always 1.
fn build_info(registry: &Registry) {
    let info = family::gauge(
        registry,
        "karpenter_build_info",
        "The program that is running, in labels; always 1.",
        &["version", "goversion", "goarch", "commit"],
    );
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    info.with_label_values(&[
        env!("CARGO_PKG_VERSION"),
        // There is no Go in here; the label stays because dashboards join on it.
        concat!("rust", env!("CARGO_PKG_RUST_VERSION")),
        architecture,
        option_env!("KARPENTER_COMMIT").unwrap_or_default(),
    ])
    .set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_leads_or_not() {
        let metrics = Metrics::new(Clock::Real);
        for (leads, line) in [
            (
                true,
                "leader_election_master_status{name=\"karpenter\"} 1\n",
            ),
            (
                false,
                "leader_election_master_status{name=\"karpenter\"} 0\n",
            ),
        ] {
            metrics.set_leading("karpenter", leads);
            assert!(metrics.render().contains(line));
        }
    }

    #[test]
    fn the_program_names_itself() {
        let text = Metrics::new(Clock::Real).render();
        let line = text
            .lines()
            .find(|line| line.starts_with("karpenter_build_info{commit=\""));
        assert!(line.is_some_and(|line| line.ends_with(" 1")), "{text}");
        assert!(text.contains("# TYPE karpenter_build_info gauge\n"));
    }
}
