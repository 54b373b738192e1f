//! What controllers do, whatever they do it to: runs, queues, and who leads.
//!
//! The families are those of the library that upstream is built with, because dashboards read them.
//! A queue and the controller it belongs to share a name, which is therefore two labels.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus::{Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, Registry};
use tokio::time::Instant;

use super::{
    family::{counter, exponential, gauge, histogram},
    page::{Labels, Page},
};

/// Buckets of the controller library for the time that a run takes.
const RUNS: [f64; 40] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0,
    25.0, 30.0, 40.0, 50.0, 60.0,
];

tokio::task_local! {
    /// The controller that runs on this task.
    static CONTROLLER: &'static str;
}

/// The controller that runs on this task; empty if none does.
pub(super) fn current_controller() -> &'static str {
    CONTROLLER.try_with(|name| *name).unwrap_or_default()
}

/// The families of the controller library.
pub(super) struct Runtime {
    leading: GaugeVec,
    runs: CounterVec,
    errors: CounterVec,
    terminal_errors: CounterVec,
    panics: CounterVec,
    time: HistogramVec,
    active: GaugeVec,
    workers: GaugeVec,
    depth: GaugeVec,
    adds: CounterVec,
    retries: CounterVec,
    waiting: HistogramVec,
    work: HistogramVec,
    controllers: Mutex<BTreeMap<&'static str, Arc<Controller>>>,
}

impl Runtime {
    pub(super) fn new(registry: &Registry) -> Self {
        let count = |name, help, labels: &[&str]| counter(registry, name, help, labels);
        let show = |name, help, labels: &[&str]| gauge(registry, name, help, labels);
        let long = exponential(1e-8, 10.0, 12);
        Self {
            leading: show(
                "leader_election_master_status",
                "Whether this process holds the lease: 1 if it does.",
                &["name"],
            ),
            runs: count(
                "controller_runtime_reconcile_total",
                "Runs of a controller, by how they ended.",
                &["controller", "result"],
            ),
            errors: count(
                "controller_runtime_reconcile_errors_total",
                "Runs of a controller that failed.",
                &["controller"],
            ),
            terminal_errors: count(
                "controller_runtime_terminal_reconcile_errors_total",
                "Runs that failed and are not tried again; there are none here.",
                &["controller"],
            ),
            panics: count(
                "controller_runtime_reconcile_panics_total",
                "Runs that panicked; a panic ends the process here.",
                &["controller"],
            ),
            time: histogram(
                registry,
                "controller_runtime_reconcile_time_seconds",
                "Time that a run of a controller takes.",
                &["controller"],
                &RUNS,
            ),
            active: show(
                "controller_runtime_active_workers",
                "Runs of a controller under way.",
                &["controller"],
            ),
            workers: show(
                "controller_runtime_max_concurrent_reconciles",
                "Runs of a controller that may be under way at the same time.",
                &["controller"],
            ),
            depth: show(
                "workqueue_depth",
                "Objects that are due and wait for a worker.",
                &["controller", "name", "priority"],
            ),
            adds: count(
                "workqueue_adds_total",
                "Objects that became due.",
                &["controller", "name"],
            ),
            retries: count(
                "workqueue_retries_total",
                "Objects that are looked at again after a failure.",
                &["controller", "name"],
            ),
            waiting: histogram(
                registry,
                "workqueue_queue_duration_seconds",
                "Time that a due object waits for a worker.",
                &["controller", "name"],
                &long,
            ),
            work: histogram(
                registry,
                "workqueue_work_duration_seconds",
                "Time that a worker takes for an object.",
                &["controller", "name"],
                &long,
            ),
            controllers: Mutex::default(),
        }
    }

    pub(super) fn set_leading(&self, lease: &str, leads: bool) {
        self.leading
            .with_label_values(&[lease])
            .set(if leads { 1.0 } else { 0.0 });
    }

    /// The series of a controller, all of them at zero at first.
    pub(super) fn controller(
        &self,
        name: &'static str,
        workers: usize,
        queue: bool,
    ) -> Arc<Controller> {
        let mut all = lock(&self.controllers);
        let known = all.entry(name).or_insert_with(|| {
            let result = |result: &str| self.runs.with_label_values(&[name, result]);
            let pair = [name, name];
            self.terminal_errors.with_label_values(&[name]);
            self.panics.with_label_values(&[name]);
            Arc::new(Controller {
                name,
                success: result("success"),
                requeue_after: result("requeue_after"),
                requeue: result("requeue"),
                error: result("error"),
                errors: self.errors.with_label_values(&[name]),
                time: self.time.with_label_values(&[name]),
                active: self.active.with_label_values(&[name]),
                queue: queue.then(|| QueueSeries {
                    depth: self.depth.with_label_values(&[name, name, "0"]),
                    adds: self.adds.with_label_values(&pair),
                    retries: self.retries.with_label_values(&pair),
                    waiting: self.waiting.with_label_values(&pair),
                    work: self.work.with_label_values(&pair),
                }),
                running: Mutex::default(),
            })
        });
        self.workers.with_label_values(&[name]).set(workers as f64);
        Arc::clone(known)
    }

    pub(super) fn write(&self, page: &mut Page) {
        let now = Instant::now();
        for controller in lock(&self.controllers).values() {
            if controller.queue.is_none() {
                continue;
            }
            let labels = Labels::new([("controller", controller.name), ("name", controller.name)]);
            let running = lock(&controller.running);
            let ages = running
                .starts
                .values()
                .map(|since| now.duration_since(*since).as_secs_f64());
            page.gauge(
                "workqueue_unfinished_work_seconds",
                "For how long the objects at work have been, all together.",
                &labels,
                // An empty sum of floats is minus zero.
                ages.clone().sum::<f64>() + 0.0,
            );
            page.gauge(
                "workqueue_longest_running_processor_seconds",
                "For how long the longest running worker has been at its object.",
                &labels,
                ages.fold(0.0, f64::max),
            );
        }
    }
}

/// The series of one controller.
pub(crate) struct Controller {
    name: &'static str,
    success: Counter,
    requeue_after: Counter,
    requeue: Counter,
    error: Counter,
    errors: Counter,
    time: Histogram,
    active: Gauge,
    queue: Option<QueueSeries>,
    running: Mutex<Running>,
}

struct QueueSeries {
    depth: Gauge,
    adds: Counter,
    retries: Counter,
    waiting: Histogram,
    work: Histogram,
}

/// When the runs under way began, by a number of their own.
#[derive(Default)]
struct Running {
    starts: BTreeMap<u64, Instant>,
    next: u64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing is left to do.
    Success,
    /// It is to be done again at some time.
    RequeueAfter,
    /// It is to be done again soon: somebody else was faster.
    Requeue,
    /// It failed.
    Error,
}

impl Controller {
    /// Performs a run and counts it.
    pub(crate) async fn run<T>(
        &self,
        work: impl Future<Output = T>,
        ending: impl FnOnce(&T) -> Ending,
    ) -> T {
        let begun = self.begin();
        let result = CONTROLLER.scope(self.name, work).await;
        begun.end(ending(&result));
        result
    }

    /// So many objects became due, and so many wait.
    pub(crate) fn queued(&self, added: u64, waiting: usize) {
        if let Some(queue) = &self.queue {
            if added > 0 {
                queue.adds.inc_by(added as f64);
            }
            queue.depth.set(waiting as f64);
        }
    }

    /// A due object found a worker after this long.
    pub(crate) fn waited(&self, since: Instant) {
        if let Some(queue) = &self.queue {
            queue.waiting.observe(since.elapsed().as_secs_f64());
        }
    }

    fn begin(&self) -> Begun<'_> {
        let since = Instant::now();
        let mut running = lock(&self.running);
        let number = running.next;
        running.next += 1;
        running.starts.insert(number, since);
        self.active.inc();
        Begun {
            controller: self,
            number,
            since,
        }
    }
}

/// A run under way; one that is dropped was cut off.
struct Begun<'a> {
    controller: &'a Controller,
    number: u64,
    since: Instant,
}

impl Begun<'_> {
    fn end(self, ending: Ending) {
        let controller = self.controller;
        let took = self.since.elapsed().as_secs_f64();
        controller.time.observe(took);
        match ending {
            Ending::Success => controller.success.inc(),
            Ending::RequeueAfter => controller.requeue_after.inc(),
            Ending::Requeue => controller.requeue.inc(),
            Ending::Error => {
                controller.error.inc();
                controller.errors.inc();
            }
        }
        if let Some(queue) = &controller.queue {
            queue.work.observe(took);
            if matches!(ending, Ending::Error | Ending::Requeue) {
                queue.retries.inc();
            }
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        lock(&self.controller.running).starts.remove(&self.number);
        self.controller.active.dec();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
