//! Tells how good moves were found by pools that weigh them (section 9.4 of disruption.md).

use karpenter_api::NodePool;
use karpenter_plan::disrupt::{
    Command, DisruptReport, Method,
    balanced::{K, Score, Weighing, weighed},
};
use kube::Resource as _;
use tracing::debug;

use super::pair::Pair;
use crate::{
    ctx::Ctx,
    events::{Event, Severity},
};

/// Tells about every move that was decided about in a round.
pub(super) fn tell(ctx: &Ctx, report: &DisruptReport, commands: &[Command]) {
    for method in &report.methods {
        let found = commands.iter().find(|own| own.method == method.method);
        for (is_made, weighings) in weighed(method, found) {
            for weighing in weighings {
                ctx.metrics.disruption.weighed(is_made, weighing);
                if let Some(score) = weighing.score {
                    log(weighing, score);
                }
            }
            if let Some(command) = found.filter(|_| is_made) {
                approved(ctx, command);
            }
        }
    }
}

fn log(weighing: &Weighing, score: Score) {
    debug!(
        nodepool = &*weighing.pool,
        score = score.value,
        savings_fraction = score.savings,
        disruption_fraction = score.disruption,
        savings = weighing.savings,
        disruption_cost = weighing.disruption,
        nodepool_total_cost = weighing.totals.cost,
        nodepool_total_disruption_cost = weighing.totals.disruption,
        threshold = Score::THRESHOLD,
        k = K,
        approved = weighing.is_approved(),
        decision = weighing.decision(),
        candidates = weighing.nodes,
        "consolidation score"
    );
}

/// A move of one node is told about the node and its claim, that of several about the pools.
fn approved(ctx: &Ctx, command: &Command) {
    for weighing in &command.weighings {
        let Some(score) = weighing.score else {
            continue;
        };
        let message = format!(
            "score {:.2} >= threshold {:.2} (k: {K:.0}, savings {:.1}%, disruption {:.1}%)",
            score.value,
            Score::THRESHOLD,
            score.savings * 100.0,
            score.disruption * 100.0
        );
        let event = |about| {
            Event::about(
                about,
                Severity::Normal,
                "ConsolidationApproved",
                message.clone(),
            )
        };
        if command.method == Method::SingleNode {
            for target in &command.nodes {
                Pair::of_target(ctx, target).tell(ctx, event);
            }
        } else if let Some(pool) = ctx.mirror.named::<NodePool>(&weighing.pool) {
            ctx.events.publish(event(pool.object_ref(&())));
        }
    }
}
