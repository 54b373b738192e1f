//! How status is reported: setting conditions, when their time moves, and how `Ready` follows from the rest.
//!
//! Everything works on a plain list of conditions, with time and generation as arguments, truncated to
//! seconds as the API stores them. A condition's time moves only when its status changes. The list is kept
//! in order of that time, with `Ready` last, which is what people see in `kubectl describe`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::common::Condition;

/// The root: whether the object can be used.
pub const READY: &str = "Ready";
/// NodePool, NodeOverlay, EC2NodeClass: the specification is valid as far as admission could not tell.
pub const VALIDATION_SUCCEEDED: &str = "ValidationSucceeded";
/// NodePool: its NodeClass is there and ready.
pub const NODE_CLASS_READY: &str = "NodeClassReady";
/// NodePool: launches end in registered nodes.
pub const NODE_REGISTRATION_HEALTHY: &str = "NodeRegistrationHealthy";
/// NodePool: its requirements leave instance types to launch. Ours, not upstream's: it is written only
/// once it is False, and `Ready` does not depend on it.
pub const INSTANCE_TYPES_COMPATIBLE: &str = "InstanceTypesCompatible";
/// NodePool: everything that it says about disruption can be read. Ours, not upstream's: it is there only while it
/// is False, none of the pool's nodes is disrupted voluntarily then, and `Ready` does not depend on it.
pub const DISRUPTION_VALID: &str = "DisruptionValid";
/// NodeClaim: the machine was ordered.
pub const LAUNCHED: &str = "Launched";
/// NodeClaim: the node joined.
pub const REGISTERED: &str = "Registered";
/// NodeClaim: the node is ready for pods.
pub const INITIALIZED: &str = "Initialized";
/// NodeClaim: the node was quiet for long enough.
pub const CONSOLIDATABLE: &str = "Consolidatable";
/// NodeClaim: the node is not what it would be made like today.
pub const DRIFTED: &str = "Drifted";
/// NodeClaim: the pods that must go have gone.
pub const DRAINED: &str = "Drained";
/// NodeClaim: the volumes are detached.
pub const VOLUMES_DETACHED: &str = "VolumesDetached";
/// NodeClaim: the provider was told to delete the machine.
pub const INSTANCE_TERMINATING: &str = "InstanceTerminating";
/// NodeClaim: the node has what was promised.
pub const CONSISTENT_STATE_FOUND: &str = "ConsistentStateFound";
/// NodeClaim: why it is being disrupted.
pub const DISRUPTION_REASON: &str = "DisruptionReason";

/// The status of something that holds.
pub const TRUE: &str = "True";
/// The status of something that does not hold.
pub const FALSE: &str = "False";
/// The status of something that is not known.
pub const UNKNOWN: &str = "Unknown";

/// The reason of a condition that nobody has looked at.
pub const AWAITING_RECONCILIATION: &str = "AwaitingReconciliation";
/// The reason of a root that waits for its dependents.
pub const RECONCILING_DEPENDENTS: &str = "ReconcilingDependents";
/// The reason of a root with a dependent that is False.
pub const UNHEALTHY_DEPENDENTS: &str = "UnhealthyDependents";

/// What a NodePool's readiness follows from.
pub const NODEPOOL_DEPENDENTS: [&str; 2] = [VALIDATION_SUCCEEDED, NODE_CLASS_READY];
/// What a NodeClaim's readiness follows from.
pub const NODECLAIM_DEPENDENTS: [&str; 3] = [LAUNCHED, REGISTERED, INITIALIZED];

/// The condition of that type.
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether there is a condition of that type and it is True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    get(conditions, type_).is_some_and(Condition::is_true)
}

/// Whether there is a condition of that type and it is False.
pub fn is_false(conditions: &[Condition], type_: &str) -> bool {
    get(conditions, type_).is_some_and(Condition::is_false)
}

/// Sets a condition to True and says whether anything changed. An empty reason becomes the type.
pub fn set_true(
    conditions: &mut Vec<Condition>,
    type_: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
    generation: i64,
) -> bool {
    let reason = if reason.is_empty() { type_ } else { reason };
    set(
        conditions,
        Setting {
            type_,
            status: TRUE,
            reason,
            message,
            now,
            generation,
        },
    )
}

/// Sets a condition to False and says whether anything changed.
pub fn set_false(
    conditions: &mut Vec<Condition>,
    type_: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
    generation: i64,
) -> bool {
    set(
        conditions,
        Setting {
            type_,
            status: FALSE,
            reason,
            message,
            now,
            generation,
        },
    )
}

/// Sets a condition to Unknown and says whether anything changed.
pub fn set_unknown(
    conditions: &mut Vec<Condition>,
    type_: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
    generation: i64,
) -> bool {
    set(
        conditions,
        Setting {
            type_,
            status: UNKNOWN,
            reason,
            message,
            now,
            generation,
        },
    )
}

/// Removes a condition and says whether there was one.
pub fn clear(conditions: &mut Vec<Condition>, type_: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.type_ != type_);
    conditions.len() != before
}

/// Adds every dependent that is missing as Unknown since the object's creation, then rolls up the root.
/// Says whether anything changed.
pub fn initialize(
    conditions: &mut Vec<Condition>,
    dependents: &[&str],
    created: Timestamp,
    now: Timestamp,
    generation: i64,
) -> bool {
    let mut changed = false;
    for dependent in dependents {
        if get(conditions, dependent).is_none() {
            let message = "object is awaiting reconciliation";
            let reason = AWAITING_RECONCILIATION;
            changed |= set_unknown(conditions, dependent, reason, message, created, generation);
        }
    }
    changed | roll_up(conditions, dependents, now, generation)
}

/// Sets `Ready` from its dependents and says whether anything changed: True if all are True at the current
/// generation, False if one is False at the current generation, else Unknown. A dependent that is missing
/// counts as Unknown.
pub fn roll_up(
    conditions: &mut Vec<Condition>,
    dependents: &[&str],
    now: Timestamp,
    generation: i64,
) -> bool {
    let current = |condition: &Condition| condition.observed_generation == Some(generation);
    let mut unhealthy: Vec<(Option<&Time>, &str, &str)> = Vec::new();
    let mut any_false = false;
    for dependent in dependents {
        match get(conditions, dependent) {
            Some(condition) if condition.is_true() && current(condition) => {}
            Some(condition) => {
                any_false |= condition.is_false() && current(condition);
                let time = Some(&condition.last_transition_time);
                unhealthy.push((time, dependent, &condition.status));
            }
            None => unhealthy.push((None, dependent, UNKNOWN)),
        }
    }
    if unhealthy.is_empty() {
        return set_true(conditions, READY, "", "", now, generation);
    }
    // The latest change is what people look for; ties keep the order of the dependents.
    unhealthy.sort_by(|(left, ..), (right, ..)| right.cmp(left));
    let pairs: Vec<String> = unhealthy
        .iter()
        .map(|(_, type_, status)| format!("{type_}={status}"))
        .collect();
    let message = pairs.join(", ");
    if any_false {
        set_false(
            conditions,
            READY,
            UNHEALTHY_DEPENDENTS,
            &message,
            now,
            generation,
        )
    } else {
        set_unknown(
            conditions,
            READY,
            RECONCILING_DEPENDENTS,
            &message,
            now,
            generation,
        )
    }
}

/// What a condition is set to.
#[derive(Clone, Copy)]
struct Setting<'a> {
    type_: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
    now: Timestamp,
    generation: i64,
}

fn set(conditions: &mut Vec<Condition>, setting: Setting<'_>) -> bool {
    let Setting {
        type_,
        status,
        reason,
        message,
        now,
        generation,
    } = setting;
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let previous = conditions
        .iter()
        .position(|condition| condition.type_ == type_);
    let last_transition_time = match previous.map(|index| &conditions[index]) {
        Some(found) if found.status == status => found.last_transition_time.clone(),
        _ => Time(seconds),
    };
    let condition = Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time,
        observed_generation: Some(generation),
    };
    if let Some(index) = previous {
        if conditions[index] == condition {
            return false;
        }
        conditions.remove(index);
    }
    conditions.push(condition);
    conditions.sort_by(|left, right| {
        let order = |condition: &Condition| {
            (
                condition.type_ == READY,
                condition.last_transition_time.clone(),
            )
        };
        order(left).cmp(&order(right))
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    /// `Type=Status/Reason@second` for each condition in order.
    fn shown(conditions: &[Condition]) -> Vec<String> {
        conditions
            .iter()
            .map(|condition| {
                let second = condition.last_transition_time.0.as_second() - 1_700_000_000;
                format!(
                    "{}={}/{}@{second}",
                    condition.type_, condition.status, condition.reason
                )
            })
            .collect()
    }

    #[test]
    fn a_new_claim_awaits_reconciliation_since_its_creation() {
        let mut conditions = Vec::new();
        assert!(initialize(
            &mut conditions,
            &NODECLAIM_DEPENDENTS,
            at(0),
            at(5),
            1
        ));
        assert_eq!(
            shown(&conditions),
            [
                "Launched=Unknown/AwaitingReconciliation@0",
                "Registered=Unknown/AwaitingReconciliation@0",
                "Initialized=Unknown/AwaitingReconciliation@0",
                "Ready=Unknown/ReconcilingDependents@5",
            ]
        );
        assert_eq!(conditions[0].message, "object is awaiting reconciliation");
        assert_eq!(
            conditions[3].message,
            "Launched=Unknown, Registered=Unknown, Initialized=Unknown"
        );
        assert!(!initialize(
            &mut conditions,
            &NODECLAIM_DEPENDENTS,
            at(0),
            at(9),
            1
        ));
    }

    #[test]
    fn time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        assert!(set_unknown(
            &mut conditions,
            LAUNCHED,
            "LaunchFailed",
            "one",
            at(0),
            1
        ));
        assert!(set_unknown(
            &mut conditions,
            LAUNCHED,
            "LaunchFailed",
            "two",
            at(1),
            1
        ));
        assert_eq!(shown(&conditions), ["Launched=Unknown/LaunchFailed@0"]);
        assert!(set_true(&mut conditions, LAUNCHED, "", "", at(2), 1));
        assert_eq!(shown(&conditions), ["Launched=True/Launched@2"]);
        assert!(!set_true(&mut conditions, LAUNCHED, "", "", at(3), 1));
        assert!(
            set_true(&mut conditions, LAUNCHED, "", "", at(3), 2),
            "the generation moved"
        );
        assert_eq!(shown(&conditions), ["Launched=True/Launched@2"]);
    }

    #[test]
    fn the_order_is_by_time_with_ready_last() {
        let mut conditions = Vec::new();
        initialize(&mut conditions, &NODECLAIM_DEPENDENTS, at(0), at(0), 1);
        set_true(&mut conditions, LAUNCHED, "", "", at(7), 1);
        set_true(&mut conditions, DRIFTED, "NodePoolDrifted", "", at(3), 1);
        roll_up(&mut conditions, &NODECLAIM_DEPENDENTS, at(8), 1);
        let order: Vec<&str> = conditions
            .iter()
            .map(|found| found.type_.as_str())
            .collect();
        assert_eq!(order, [REGISTERED, INITIALIZED, DRIFTED, LAUNCHED, READY]);
    }

    #[test]
    fn ready_follows_from_its_dependents() {
        // Statuses and generations of ValidationSucceeded and NodeClassReady, of an object at generation 2.
        let rows = [
            ([("True", 2), ("True", 2)], "True/Ready", ""),
            (
                [("True", 1), ("True", 2)],
                "Unknown/ReconcilingDependents",
                "ValidationSucceeded=True",
            ),
            (
                [("Unknown", 2), ("True", 2)],
                "Unknown/ReconcilingDependents",
                "ValidationSucceeded=Unknown",
            ),
            (
                [("Unknown", 2), ("False", 2)],
                "False/UnhealthyDependents",
                "NodeClassReady=False, ValidationSucceeded=Unknown",
            ),
            (
                [("False", 1), ("Unknown", 2)],
                "Unknown/ReconcilingDependents",
                "NodeClassReady=Unknown, ValidationSucceeded=False",
            ),
        ];
        for (dependents, expected, message) in rows {
            let mut conditions = Vec::new();
            for (index, (status, generation)) in dependents.into_iter().enumerate() {
                let type_ = NODEPOOL_DEPENDENTS[index];
                let setting = Setting {
                    type_,
                    status,
                    reason: "Test",
                    message: "",
                    now: at(i64::try_from(index).unwrap()),
                    generation,
                };
                set(&mut conditions, setting);
            }
            roll_up(&mut conditions, &NODEPOOL_DEPENDENTS, at(9), 2);
            let ready = get(&conditions, READY).unwrap();
            assert_eq!(
                format!("{}/{}", ready.status, ready.reason),
                expected,
                "{dependents:?}"
            );
            assert_eq!(ready.message, message, "{dependents:?}");
        }
    }

    #[test]
    fn a_missing_dependent_is_unknown() {
        let mut conditions = Vec::new();
        set_true(&mut conditions, VALIDATION_SUCCEEDED, "", "", at(0), 1);
        roll_up(&mut conditions, &NODEPOOL_DEPENDENTS, at(1), 1);
        assert_eq!(
            get(&conditions, READY).unwrap().message,
            "NodeClassReady=Unknown"
        );
    }

    #[test]
    fn clearing_says_whether_there_was_one() {
        let mut conditions = Vec::new();
        set_true(&mut conditions, DRIFTED, "AMIDrift", "", at(0), 1);
        assert!(clear(&mut conditions, DRIFTED));
        assert!(!clear(&mut conditions, DRIFTED));
        assert!(conditions.is_empty());
    }

    #[test]
    fn times_are_whole_seconds() {
        let mut conditions = Vec::new();
        let now = Timestamp::from_millisecond(1_700_000_000_999).unwrap();
        set_true(&mut conditions, DRIFTED, "AMIDrift", "", now, 1);
        assert_eq!(shown(&conditions), ["Drifted=True/AMIDrift@0"]);
    }
}
