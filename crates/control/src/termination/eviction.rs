//! What one attempt to evict one pod comes to.
//!
//! Pure. Whether to ask is decided from the pod as it is stored now, and what an answer means from
//! its code and text alone. Every request carries the pod's uid, so a pod that took the name of
//! another is never hit by the other's entry.

use jiff::Timestamp;

use super::drain::{DrainPod, PodKey};

/// What the API server says of a pod that more than one budget covers; it comes as a 500, and only
/// the text tells it from a real fault.
const MULTIPLE_BUDGETS: &str = "This pod has more than one PodDisruptionBudget, which the eviction \
                                subresource does not support.";

/// What to do about a queued pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It needs nothing (any more): forget it.
    Forget,
    /// It may not be asked yet: try again later.
    Later,
    /// Ask the API server to evict it.
    Evict,
}

/// Looks at the pod that is stored under a queued pod's name.
pub(crate) fn next_step(key: &PodKey, stored: Option<&DrainPod>, now: Timestamp) -> Step {
    match stored {
        Some(pod) if pod.key != *key || !pod.active() => Step::Forget,
        None => Step::Forget,
        Some(pod) if pod.evictable(now) => Step::Evict,
        Some(_) => Step::Later,
    }
}

/// What an answer to an eviction means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The pod is on its way out.
    Evicted,
    /// There is no such pod (any more).
    Gone,
    /// A budget forbids it for now; what to tell about the node.
    Blocked(String),
    /// Anything else.
    Failed,
}

/// Reads an answer: `Ok`, or code and message of the refusal.
pub(crate) fn outcome(key: &PodKey, answer: Result<(), (u16, &str)>) -> Outcome {
    let pod = format!("(Pod={}/{})", key.namespace, key.name);
    match answer {
        Ok(()) => Outcome::Evicted,
        Err((404 | 409, _)) => Outcome::Gone,
        Err((429, _)) => Outcome::Blocked(format!("evicting pod violates a PDB {pod}")),
        Err((500, message)) if message.contains(MULTIPLE_BUDGETS) => {
            Outcome::Blocked(format!("eviction does not support multiple PDBs {pod}"))
        }
        Err(_) => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::termination::drain::{Protection, Tier};

    fn key(uid: &str) -> PodKey {
        PodKey {
            namespace: "shop".into(),
            name: "web".into(),
            uid: uid.into(),
        }
    }

    fn pod() -> DrainPod {
        DrainPod {
            key: key("1"),
            tier: Tier::Plain,
            tolerates_disruption: false,
            mirror: false,
            terminal: false,
            deletion: None,
            protection: Protection::None,
        }
    }

    fn check(row: &str, stored: Option<&DrainPod>, expected: Step) {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(next_step(&key("1"), stored, now), expected, "{row}");
    }

    #[test]
    fn steps() {
        let soon = "2026-01-01T00:00:10Z".parse().unwrap();
        check("stored", Some(&pod()), Step::Evict);
        check(
            "lifecycle/N18",
            Some(&DrainPod {
                key: key("2"),
                ..pod()
            }),
            Step::Forget,
        );
        check("gone", None, Step::Forget);
        check(
            "finished",
            Some(&DrainPod {
                terminal: true,
                ..pod()
            }),
            Step::Forget,
        );
        check(
            "terminating",
            Some(&DrainPod {
                deletion: Some(soon),
                ..pod()
            }),
            Step::Forget,
        );
        for (row, protection) in [
            ("protected", Protection::Lasting),
            ("protected for a while", Protection::Until(soon)),
        ] {
            check(
                row,
                Some(&DrainPod {
                    protection,
                    ..pod()
                }),
                Step::Later,
            );
        }
    }

    fn check_answer(row: &str, answer: Result<(), (u16, &str)>, expected: &Outcome) {
        assert_eq!(outcome(&key("1"), answer), *expected, "{row}");
    }

    #[test]
    fn answers() {
        let violated = "evicting pod violates a PDB (Pod=shop/web)";
        let multiple = "eviction does not support multiple PDBs (Pod=shop/web)";
        check_answer("lifecycle/Q1", Err((404, "not found")), &Outcome::Gone);
        check_answer("lifecycle/Q1", Err((409, "uid differs")), &Outcome::Gone);
        check_answer("lifecycle/Q2", Ok(()), &Outcome::Evicted);
        check_answer(
            "lifecycle/Q3",
            Err((429, "no")),
            &Outcome::Blocked(violated.into()),
        );
        check_answer(
            "lifecycle/Q4",
            Err((500, MULTIPLE_BUDGETS)),
            &Outcome::Blocked(multiple.into()),
        );
        check_answer("a real fault", Err((500, "etcd is down")), &Outcome::Failed);
        check_answer("forbidden", Err((403, "no")), &Outcome::Failed);
    }
}
