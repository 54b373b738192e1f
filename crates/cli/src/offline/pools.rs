//! What the controllers would have said of a NodePool that nobody has looked at yet.

use jiff::Timestamp;
use karpenter_api::{NodePool, NodePoolStatus, conditions, labels::WellKnown, validation};

/// Gives a pool without conditions those that it would get. A pool of a dump keeps its own. Returns
/// what a person should know.
pub(super) fn judge(
    pool: &mut NodePool,
    classes: &[String],
    well_known: &WellKnown,
    now: Timestamp,
) -> Vec<String> {
    let status = pool.status.get_or_insert_with(NodePoolStatus::default);
    if status
        .conditions
        .as_ref()
        .is_some_and(|conditions| !conditions.is_empty())
    {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    let problems = validation::nodepool(pool, well_known);
    let generation = pool.metadata.generation.unwrap_or(1);
    let mut set = Vec::new();
    if problems.is_empty() {
        conditions::set_true(&mut set, "ValidationSucceeded", "", "", now, generation);
    } else {
        warnings.push(format!(
            "NodePool {name} is not used: {}",
            problems.join("; ")
        ));
        conditions::set_false(
            &mut set,
            "ValidationSucceeded",
            "NodePoolValidationFailed",
            &problems.join("; "),
            now,
            generation,
        );
    }
    let class = &pool.spec.template.spec.node_class_ref.name;
    if !classes.contains(class) {
        warnings.push(format!(
            "NodePool {name} refers to a node class {class} that is not among the input; \
             taken to be ready"
        ));
    }
    conditions::set_true(&mut set, "NodeClassReady", "", "", now, generation);
    conditions::roll_up(
        &mut set,
        &["ValidationSucceeded", "NodeClassReady"],
        now,
        generation,
    );
    if let Some(status) = &mut pool.status {
        status.conditions = Some(set);
    }
    warnings
}
