//! Families of a registry, and the buckets that upstream measures with.
//!
//! Names and labels are constants of this crate, so registering them cannot fail: a test renders
//! every family.

use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry};

/// Buckets for durations from milliseconds to ten minutes.
pub(super) const DURATIONS: [f64; 45] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0,
    25.0, 30.0, 40.0, 50.0, 60.0, 120.0, 150.0, 300.0, 450.0, 600.0,
];

const REGISTERS: &str = "names and labels are constants, and each name is used once";

/// Something that only grows.
pub(super) fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> CounterVec {
    let family = CounterVec::new(Opts::new(name, help), labels).expect(REGISTERS);
    registry
        .register(Box::new(family.clone()))
        .expect(REGISTERS);
    family
}

/// Something that goes up and down.
pub(super) fn gauge(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    let family = GaugeVec::new(Opts::new(name, help), labels).expect(REGISTERS);
    registry
        .register(Box::new(family.clone()))
        .expect(REGISTERS);
    family
}

/// Something that is measured again and again.
pub(super) fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let family = HistogramVec::new(options, labels).expect(REGISTERS);
    registry
        .register(Box::new(family.clone()))
        .expect(REGISTERS);
    family
}

/// `count` buckets, each `factor` times the one before.
pub(super) fn exponential(first: f64, factor: f64, count: i32) -> Vec<f64> {
    (0..count)
        .map(|exponent| first * factor.powi(exponent))
        .collect()
}
