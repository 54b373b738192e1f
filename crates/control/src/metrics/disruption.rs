//! Voluntary disruption: what was looked at, decided, confirmed and given up.

use std::time::Duration;

use karpenter_plan::{
    Snapshot,
    budget::DisruptionReason,
    disrupt::{
        Command, DisruptReport, Method,
        balanced::{Weighing, decision},
    },
};
use prometheus::{CounterVec, GaugeVec, HistogramVec, Registry};

use super::family::{DURATIONS, counter, gauge, histogram};

/// The families of voluntary disruption.
pub(crate) struct Disruption {
    evaluation: HistogramVec,
    decisions: CounterVec,
    decisions_by_pool: CounterVec,
    eligible: GaugeVec,
    /// Nothing is cut off by the clock here; upstream's dashboards expect the zeros.
    _timeouts: CounterVec,
    failed_validations: CounterVec,
    failures: CounterVec,
    allowed: GaugeVec,
    consuming: GaugeVec,
    scores: HistogramVec,
    moves: CounterVec,
}

/// Around one half, which is what a score must reach.
const SCORES: [f64; 8] = [0.1, 0.25, 0.33, 0.5, 1.0, 2.0, 5.0, 10.0];

impl Disruption {
    pub(super) fn new(registry: &Registry) -> Self {
        let count = |name, help, labels: &[&str]| counter(registry, name, help, labels);
        let timeouts = count(
            "karpenter_voluntary_disruption_consolidation_timeouts_total",
            "Searches for a consolidation that were cut off by the clock.",
            &["consolidation_type"],
        );
        for method in [Method::MultiNode, Method::SingleNode] {
            timeouts
                .with_label_values(&[method.consolidation_type()])
                .inc_by(0.0);
        }
        Self {
            evaluation: histogram(
                registry,
                "karpenter_voluntary_disruption_decision_evaluation_duration_seconds",
                "Time that a look for nodes to disrupt takes.",
                &["reason", "consolidation_type"],
                &DURATIONS,
            ),
            decisions: count(
                "karpenter_voluntary_disruption_decisions_total",
                "Commands that went in flight.",
                &["decision", "reason", "consolidation_type"],
            ),
            decisions_by_pool: count(
                "karpenter_voluntary_disruption_decisions_by_nodepool_total",
                "Commands that went in flight, by each NodePool that they take nodes of.",
                &["nodepool", "decision", "reason", "consolidation_type"],
            ),
            eligible: gauge(
                registry,
                "karpenter_voluntary_disruption_eligible_nodes",
                "Nodes that may be disrupted for this reason, budgets aside.",
                &["reason"],
            ),
            _timeouts: timeouts,
            failed_validations: count(
                "karpenter_voluntary_disruption_failed_validations_total",
                "Nodes of held commands that may no longer be disrupted when the time has come.",
                &["consolidation_type"],
            ),
            failures: count(
                "karpenter_voluntary_disruption_queue_failures_total",
                "Commands in flight that had to be undone.",
                &["decision", "reason", "consolidation_type"],
            ),
            allowed: gauge(
                registry,
                "karpenter_nodepools_allowed_disruptions",
                "Nodes that the budgets of a NodePool let go at the same time, by reason.",
                &["nodepool", "reason"],
            ),
            consuming: gauge(
                registry,
                "karpenter_nodepools_nodes_consuming_budgets",
                "Nodes that count against the budgets of a NodePool.",
                &["nodepool", "reason"],
            ),
            scores: histogram(
                registry,
                "karpenter_consolidation_score",
                "How much a consolidation saves for what it disturbs, where the NodePool's policy asks.",
                &["decision", "nodepool", "policy"],
                &SCORES,
            ),
            moves: count(
                "karpenter_consolidation_moves_total",
                "Consolidations that were found to pay, by whether the NodePools' policies let them pass.",
                &["decision", "nodepool", "policy"],
            ),
        }
    }

    /// A look at every node came to this, and each method took so long.
    pub(crate) fn looked(
        &self,
        snapshot: &Snapshot,
        report: &DisruptReport,
        times: &[(Method, Duration)],
    ) {
        for (method, took) in times {
            let found = report.methods.iter().find(|each| each.method == *method);
            let reason = lower(method.reason());
            // Methods of one reason share a series, and the later overwrites the earlier.
            self.eligible
                .with_label_values(&[&reason])
                .set(found.map_or(0, |found| found.eligible) as f64);
            self.evaluation
                .with_label_values(&[reason.as_str(), method.consolidation_type()])
                .observe(took.as_secs_f64());
        }
        // Pools that are gone take their series along.
        self.allowed.reset();
        self.consuming.reset();
        for (id, allowance) in report.allowances.iter() {
            let pool = &*snapshot.pools[id].name;
            for reason in DisruptionReason::ALL {
                let labels = [pool, reason.as_str()];
                self.allowed
                    .with_label_values(&labels)
                    .set(allowance.allowed(reason).into());
                self.consuming
                    .with_label_values(&labels)
                    .set(allowance.consuming.into());
            }
        }
    }

    /// A pool has weighed a move, which is made or not.
    pub(crate) fn weighed(&self, is_made: bool, weighing: &Weighing) {
        let (pool, policy) = (&*weighing.pool, weighing.policy.as_str());
        self.moves
            .with_label_values(&[decision(is_made), pool, policy])
            .inc();
        if let Some(score) = weighing.score {
            self.scores
                .with_label_values(&[weighing.decision(), pool, policy])
                .observe(score.value);
        }
    }

    /// A held command was looked at again, and so many of its nodes may no longer go.
    pub(crate) fn validated(&self, method: Method, failed: usize) {
        if failed > 0 {
            self.failed_validations
                .with_label_values(&[method.consolidation_type()])
                .inc_by(failed as f64);
        }
    }

    /// A command goes in flight.
    pub(crate) fn begun(&self, command: &Command) {
        let [decision, reason, kind] = particulars(command);
        self.decisions
            .with_label_values(&[&decision, &reason, &kind])
            .inc();
        for pool in command.pools() {
            self.decisions_by_pool
                .with_label_values(&[pool, &decision, &reason, &kind])
                .inc();
        }
    }

    /// A command in flight is undone.
    pub(crate) fn failed(&self, command: &Command) {
        let lost = command
            .replacements
            .iter()
            .filter(|replacement| !replacement.is_initialized);
        self.failures
            .with_label_values(&particulars(command))
            .inc_by(lost.count() as f64);
    }
}

/// Decision, reason and type of a command, as labels.
fn particulars(command: &Command) -> [String; 3] {
    [
        command.decision.as_str().to_owned(),
        lower(command.method.reason()),
        command.method.consolidation_type().to_owned(),
    ]
}

/// The reason as most metrics spell it.
pub(crate) fn lower(reason: DisruptionReason) -> String {
    reason.as_str().to_lowercase()
}
