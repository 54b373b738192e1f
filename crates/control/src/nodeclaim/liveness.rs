//! How long a claim may take to become a node.
//!
//! Pure. The clocks start at the last transition of a condition, not at the creation: a reason that
//! changes within Unknown restarts nothing.

use jiff::{SignedDuration, Timestamp};
use karpenter_api::{
    conditions::{LAUNCHED, REGISTERED},
    nodeclaim::NodeClaim,
};

use super::draft::Draft;

/// How patient we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From the creation to an answer of the provider.
    pub(crate) launch: SignedDuration,
    /// From then, in fact also from the creation, to a registered node.
    pub(crate) registration: SignedDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            launch: SignedDuration::from_mins(5),
            registration: SignedDuration::from_mins(15),
        }
    }
}

/// What there is to do about a claim that is not a node yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, ever: it is a node.
    Keep,
    /// Nothing before this instant.
    Wait(Timestamp),
    /// It took too long: the cause, as the disruption counter names it.
    Delete(&'static str),
}

/// Looks at the clocks of a claim.
pub(crate) fn next_step(claim: &Draft<NodeClaim>, limits: &Limits, now: Timestamp) -> Step {
    if claim.is_true(REGISTERED) {
        return Step::Keep;
    }
    let end = |type_, limit| {
        let since = claim.since(type_).unwrap_or(now);
        since.checked_add(limit).unwrap_or(Timestamp::MAX)
    };
    let registration = end(REGISTERED, limits.registration);
    let mut next = registration;
    if !claim.is_true(LAUNCHED) {
        let launch = end(LAUNCHED, limits.launch);
        if now >= launch {
            return Step::Delete("launch_timeout");
        }
        next = next.min(launch);
    }
    if now >= registration {
        return Step::Delete("registration_timeout");
    }
    Step::Wait(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(minutes: i64) -> Timestamp {
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        noon + SignedDuration::from_mins(minutes)
    }

    /// A claim made at noon; each condition is type, status and the minute of its transition.
    fn claim(conditions: &[(&str, &str, i64)]) -> Draft<NodeClaim> {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(type_, status, minute)| {
                json!({"type": type_, "status": status, "lastTransitionTime": at(*minute)})
            })
            .collect();
        let claim: NodeClaim = serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {"name": "a", "creationTimestamp": at(0)},
            "spec": {
                "nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [],
            },
            "status": {"conditions": conditions},
        }))
        .unwrap();
        Draft::new(&claim, at(0))
    }

    fn check(row: &str, conditions: &[(&str, &str, i64)], now: Timestamp, expected: Step) {
        let limits = Limits::default();
        assert_eq!(
            next_step(&claim(conditions), &limits, now),
            expected,
            "{row}"
        );
    }

    #[test]
    fn clocks() {
        let launched = ("Launched", "True", 0);
        check("lifecycle/L7", &[], at(1), Step::Wait(at(5)));
        check("lifecycle/L8", &[], at(6), Step::Delete("launch_timeout"));
        let recent = ("Launched", "Unknown", 58);
        let registered_recently = ("Registered", "Unknown", 58);
        check(
            "lifecycle/L10",
            &[recent, registered_recently],
            at(60),
            Step::Wait(at(63)),
        );
        check("launched, waiting", &[launched], at(1), Step::Wait(at(15)));
        check(
            "lifecycle/L11",
            &[launched],
            at(20),
            Step::Delete("registration_timeout"),
        );
        check(
            "lifecycle/L12",
            &[launched, ("Registered", "True", 1)],
            at(20),
            Step::Keep,
        );
        check(
            "lifecycle/L13",
            &[launched, registered_recently],
            at(60),
            Step::Wait(at(73)),
        );
        let duplicated = ("Registered", "False", 1);
        check(
            "lifecycle/R9",
            &[launched, duplicated],
            at(15),
            Step::Wait(at(16)),
        );
        check(
            "lifecycle/R9",
            &[launched, duplicated],
            at(16),
            Step::Delete("registration_timeout"),
        );
        let limits = Limits {
            launch: SignedDuration::from_secs(45),
            ..Limits::default()
        };
        let step = next_step(&claim(&[]), &limits, at(1));
        assert_eq!(step, Step::Delete("launch_timeout"), "lifecycle/L9");
    }
}
