//! What the last few launches of a pool came to, and what that says about the pool.
//!
//! Pure: a [`History`] is a value, and the functions here say which condition follows from it. They
//! do not know where histories are kept or how conditions are written.

use std::collections::VecDeque;

use karpenter_api::Condition;

/// How many outcomes are remembered.
///
/// Upstream divides by this number rather than by the number of outcomes seen, so one failure is
/// never enough to call a pool unhealthy and two always are.
const REMEMBERED: usize = 4;

/// The outcomes of the last launches of one pool, oldest first; true is a success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    outcomes: VecDeque<bool>,
}

/// The verdict on a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nothing has been launched since the pool or its node class last changed.
    Unknown,
    /// Fewer than half of the remembered places hold failures.
    Healthy,
    /// At least half of the remembered places hold failures.
    Unhealthy,
}

impl History {
    /// A history that ends in the verdict a restarted process finds on the pool.
    ///
    /// Upstream seeds one success but two failures: fewer failures would not be a verdict.
    pub(crate) fn seeded(healthy: bool) -> Self {
        let outcomes = if healthy {
            vec![true]
        } else {
            vec![false, false]
        };
        Self {
            outcomes: outcomes.into(),
        }
    }

    /// True when no outcome is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// The history with one more outcome, the oldest forgotten if there is no room.
    pub(crate) fn with(&self, success: bool) -> Self {
        let mut outcomes = self.outcomes.clone();
        if outcomes.len() == REMEMBERED {
            outcomes.pop_front();
        }
        outcomes.push_back(success);
        Self { outcomes }
    }

    /// The verdict.
    pub(crate) fn health(&self) -> Health {
        let failures = self.outcomes.iter().filter(|success| !**success).count();
        match (self.outcomes.is_empty(), failures * 2 >= REMEMBERED) {
            (true, _) => Health::Unknown,
            (false, true) => Health::Unhealthy,
            (false, false) => Health::Healthy,
        }
    }
}

/// What a pool's `NodeRegistrationHealthy` condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stated {
    /// It was never written.
    Nothing,
    /// Nobody knows.
    Unknown,
    /// Launches end in nodes.
    Healthy,
    /// Launches do not.
    Unhealthy,
}

impl Stated {
    /// Reads the condition.
    pub(crate) fn read(condition: Option<&Condition>) -> Self {
        match condition {
            None => Self::Nothing,
            Some(condition) if condition.is_true() => Self::Healthy,
            Some(condition) if condition.is_false() => Self::Unhealthy,
            Some(_) => Self::Unknown,
        }
    }
}

/// What is known of a pool when its registration health is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// What the condition says.
    pub(crate) condition: Stated,
    /// The generation of the pool that the condition speaks of.
    pub(crate) condition_generation: i64,
    /// The pool's own generation.
    pub(crate) pool_generation: i64,
    /// The generation of the node class that the status last took in.
    pub(crate) seen_class_generation: i64,
    /// The node class's own generation; absent if there is no such node class.
    pub(crate) class_generation: Option<i64>,
}

/// What follows from looking at a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Everything stays as it is.
    Keep,
    /// The past says nothing about what is there now: forget it, and set the condition to Unknown.
    Reset,
    /// The process restarted and forgot: take the condition's word.
    Seed {
        /// What the condition says.
        healthy: bool,
    },
}

/// Looks at a pool.
pub(crate) fn look(facts: &Facts, history: &History) -> Look {
    let Some(class_generation) = facts.class_generation else {
        return Look::Keep;
    };
    if facts.condition == Stated::Nothing
        || class_generation != facts.seen_class_generation
        || facts.pool_generation != facts.condition_generation
    {
        return Look::Reset;
    }
    match facts.condition {
        Stated::Healthy if history.is_empty() => Look::Seed { healthy: true },
        Stated::Unhealthy if history.is_empty() => Look::Seed { healthy: false },
        Stated::Nothing | Stated::Unknown | Stated::Healthy | Stated::Unhealthy => Look::Keep,
    }
}

/// The condition that an outcome calls for, given the history *before* it and the condition now.
/// `None` leaves the condition alone.
pub(crate) fn verdict_after(history: &History, success: bool, condition: Stated) -> Option<bool> {
    let health = history.with(success).health();
    match (success, health) {
        (true, Health::Healthy) => Some(true),
        (false, Health::Unhealthy) if condition != Stated::Unhealthy => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(outcomes: &str) -> History {
        History {
            outcomes: outcomes.chars().map(|outcome| outcome == '+').collect(),
        }
    }

    #[test]
    fn two_failures_of_four_are_unhealthy() {
        for (outcomes, expected) in [
            ("", Health::Unknown),
            ("+", Health::Healthy),
            ("-", Health::Healthy),
            ("--", Health::Unhealthy),
            ("+-", Health::Healthy),
            ("-+-", Health::Unhealthy),
            ("++--", Health::Unhealthy),
            ("+++-", Health::Healthy),
        ] {
            assert_eq!(history(outcomes).health(), expected, "{outcomes}");
        }
        assert_eq!(history("--++").with(true), history("-+++"));
    }

    fn check(row: &str, outcomes: &str, success: bool, condition: Stated, expected: Option<bool>) {
        assert_eq!(
            verdict_after(&history(outcomes), success, condition),
            expected,
            "{row}"
        );
    }

    #[test]
    fn verdicts() {
        check("lifecycle/R17", "", true, Stated::Unhealthy, Some(true));
        check("lifecycle/R18", "--", true, Stated::Unhealthy, None);
        check("lifecycle/L14", "-", false, Stated::Healthy, Some(false));
        check("lifecycle/L14", "-", false, Stated::Unknown, Some(false));
        check(
            "one failure is no verdict",
            "",
            false,
            Stated::Unknown,
            None,
        );
        check("false already", "-", false, Stated::Unhealthy, None);
        check(
            "a third success outvotes",
            "--+",
            true,
            Stated::Unhealthy,
            None,
        );
        check(
            "the failures are forgotten",
            "--++",
            true,
            Stated::Unhealthy,
            Some(true),
        );
    }

    fn check_look(row: &str, facts: Facts, outcomes: &str, expected: Look) {
        assert_eq!(look(&facts, &history(outcomes)), expected, "{row}");
    }

    #[test]
    fn looks() {
        let settled = Facts {
            condition: Stated::Healthy,
            condition_generation: 1,
            pool_generation: 1,
            seen_class_generation: 1,
            class_generation: Some(1),
        };
        check_look(
            "lifecycle/P7",
            Facts {
                pool_generation: 2,
                ..settled
            },
            "+",
            Look::Reset,
        );
        check_look(
            "lifecycle/P7",
            Facts {
                class_generation: Some(2),
                ..settled
            },
            "+",
            Look::Reset,
        );
        check_look(
            "never written",
            Facts {
                condition: Stated::Nothing,
                ..settled
            },
            "",
            Look::Reset,
        );
        check_look("lifecycle/P8", settled, "+", Look::Keep);
        let unhealthy = Facts {
            condition: Stated::Unhealthy,
            ..settled
        };
        check_look("lifecycle/P8", unhealthy, "--", Look::Keep);
        check_look("restart", settled, "", Look::Seed { healthy: true });
        check_look("restart", unhealthy, "", Look::Seed { healthy: false });
        check_look(
            "no node class",
            Facts {
                class_generation: None,
                ..settled
            },
            "",
            Look::Keep,
        );
        assert_eq!(History::seeded(true).health(), Health::Healthy);
        assert_eq!(History::seeded(false).health(), Health::Unhealthy);
    }
}
