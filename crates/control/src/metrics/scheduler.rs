//! Scheduling rounds: how long they take, and what they leave.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{GaugeVec, HistogramVec, Registry};
use tokio::time::Instant;

use super::{
    family::{DURATIONS, gauge, histogram},
    page::{Labels, Page},
};

/// The families of the scheduler.
pub(crate) struct Scheduler {
    duration: HistogramVec,
    ignored: GaugeVec,
    unschedulable: GaugeVec,
    by_zone: GaugeVec,
    running: Arc<Mutex<BTreeMap<String, Round>>>,
}

/// A round that is being computed.
struct Round {
    controller: &'static str,
    pods: usize,
    since: Instant,
}

impl Scheduler {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            duration: histogram(
                registry,
                "karpenter_scheduler_scheduling_duration_seconds",
                "Time that a scheduling round takes to be computed.",
                &["controller"],
                &DURATIONS,
            ),
            ignored: gauge(
                registry,
                "karpenter_scheduler_ignored_pods_count",
                "Pods that the last round did not look at, because they are invalid or not ours.",
                &[],
            ),
            unschedulable: gauge(
                registry,
                "karpenter_scheduler_unschedulable_pods_count",
                "Pods that the last round found no place for.",
                &["controller"],
            ),
            by_zone: gauge(
                registry,
                "karpenter_scheduler_pending_pods_by_effective_zone_count",
                "Pending pods of the last round by the one zone they can run in, or `flexible`.",
                &["controller", "zone"],
            ),
            running: Arc::default(),
        }
    }

    /// A round begins that has so many pods to place; its series are there while the answer lives.
    pub(crate) fn round(&self, controller: &'static str, id: String, pods: usize) -> Running {
        let since = Instant::now();
        let round = Round {
            controller,
            pods,
            since,
        };
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), round);
        Running {
            duration: self.duration.clone(),
            rounds: Arc::clone(&self.running),
            controller,
            since,
            id,
        }
    }

    /// What a round leaves.
    pub(crate) fn left(
        &self,
        controller: &str,
        ignored: usize,
        unschedulable: usize,
        zones: &BTreeMap<String, usize>,
    ) {
        let none: [&str; 0] = [];
        self.ignored.with_label_values(&none).set(ignored as f64);
        self.unschedulable
            .with_label_values(&[controller])
            .set(unschedulable as f64);
        self.by_zone.reset();
        for (zone, pods) in zones {
            self.by_zone
                .with_label_values(&[controller, zone])
                .set(*pods as f64);
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, round) in &*running {
            let labels = Labels::new([("controller", round.controller), ("scheduling_id", id)]);
            page.gauge(
                "karpenter_scheduler_queue_depth",
                "Pods that the round under way has to place.",
                &labels,
                round.pods as f64,
            );
            page.gauge(
                "karpenter_scheduler_unfinished_work_seconds",
                "For how long the round under way has been computed.",
                &labels,
                round.since.elapsed().as_secs_f64(),
            );
        }
    }
}

/// A round under way; when it is dropped, the round has ended.
pub(crate) struct Running {
    duration: HistogramVec,
    rounds: Arc<Mutex<BTreeMap<String, Round>>>,
    controller: &'static str,
    since: Instant,
    id: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.duration
            .with_label_values(&[self.controller])
            .observe(self.since.elapsed().as_secs_f64());
        self.rounds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_round_is_shown_while_it_is_computed() {
        let scheduler = Scheduler::new(&Registry::new());
        let shown = || {
            let mut page = Page::default();
            scheduler.write(&mut page);
            page.finish()
        };
        assert_eq!(shown(), "");
        let running = scheduler.round("provisioner", "1f".to_owned(), 3);
        tokio::time::advance(Duration::from_secs(2)).await;
        let labels = r#"{controller="provisioner",scheduling_id="1f"}"#;
        for line in [
            format!("karpenter_scheduler_queue_depth{labels} 3\n"),
            format!("karpenter_scheduler_unfinished_work_seconds{labels} 2\n"),
        ] {
            assert!(shown().contains(&line), "{line} in {}", shown());
        }
        drop(running);
        assert_eq!(shown(), "");
    }
}
