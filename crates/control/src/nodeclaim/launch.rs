//! What a provider's answer to a launch means for the claim.
//!
//! Pure. The provider was asked once; what it said is turned into a verdict here, and a success into
//! the claim as it is to be stored. That an answer is never lost between the provider and the API
//! server is the business of [`Answers`]: it keeps each one until the claim is seen to hold it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use karpenter_api::nodeclaim::NodeClaim;
use karpenter_cloud::{LaunchError, Launched};

/// Conditions hold at most this much of an error's text.
const MESSAGE_LIMIT: usize = 300;

/// An answer that nobody stored within this time belongs to a claim that is gone.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// The pause after the first failed launch of a claim; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between launches.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What follows from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is a machine.
    Launched(Box<Launched>),
    /// The claim cannot be had: it goes, and its pods are scheduled anew.
    Impossible {
        /// `insufficient_capacity` or `nodeclass_not_ready`.
        cause: &'static str,
        /// What the provider said.
        message: String,
        /// Whether users are told by an event.
        told: bool,
    },
    /// It may work later: the condition says why it did not.
    Failed {
        /// The condition's reason.
        reason: String,
        /// The condition's message.
        message: String,
    },
}

/// Judges a provider's answer.
pub(crate) fn judge(answer: Result<Launched, LaunchError>) -> Verdict {
    match answer {
        Ok(launched) => Verdict::Launched(Box::new(launched)),
        Err(error @ LaunchError::InsufficientCapacity(_)) => Verdict::Impossible {
            cause: "insufficient_capacity",
            message: truncated(&error.to_string()),
            told: true,
        },
        Err(error @ LaunchError::NodeClassNotReady(_)) => Verdict::Impossible {
            cause: "nodeclass_not_ready",
            message: truncated(&error.to_string()),
            told: false,
        },
        Err(LaunchError::Create { reason, message }) => Verdict::Failed {
            reason,
            message: truncated(&message),
        },
        Err(error) => Verdict::Failed {
            reason: "LaunchFailed".to_owned(),
            message: truncated(&error.to_string()),
        },
    }
}

/// A text cut to what a condition holds.
pub(crate) fn truncated(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_LIMIT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Merges what a launch told into the claim, conditions aside. Of labels the provider's come first,
/// then those that the claim's requirements leave no choice about, and the claim's own win; of
/// annotations the provider's win.
pub(crate) fn merge(claim: &mut NodeClaim, launched: &Launched) {
    let mut labels = launched.labels.clone();
    for requirement in &claim.spec.requirements {
        if let ("In", Some([value])) =
            (requirement.operator.as_str(), requirement.values.as_deref())
        {
            labels.insert(requirement.key.clone(), value.clone());
        }
    }
    labels.extend(claim.metadata.labels.take().unwrap_or_default());
    claim.metadata.labels = Some(labels);
    claim
        .metadata
        .annotations
        .get_or_insert_default()
        .extend(launched.annotations.clone());
    let status = claim.status.get_or_insert_default();
    status.provider_id = Some(launched.provider_id.clone());
    status.image_id = Some(launched.image_id.clone()).filter(|image| !image.is_empty());
    status.capacity = Some(launched.capacity.clone());
    status.allocatable = Some(launched.allocatable.clone());
}

/// What is remembered of the launches of one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// There is a machine.
    Launched(Box<Launched>),
    /// It failed, and is not tried again before this instant.
    Failed {
        /// The end of the pause.
        again: Timestamp,
    },
}

/// What providers answered, by claim uid, until it is stored.
///
/// A machine costs money from the moment it is made. If the write that tells the claim of it is
/// lost, the next look at the claim finds the answer here and does not ask for a second machine.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    launched: Mutex<BTreeMap<String, (Box<Launched>, Timestamp)>>,
    failed: Mutex<BTreeMap<String, (u32, Timestamp)>>,
}

impl Answers {
    /// What is remembered of a claim.
    pub(crate) fn of(&self, uid: &str) -> Option<Memory> {
        if let Some((launched, _)) = lock(&self.launched).get(uid) {
            return Some(Memory::Launched(launched.clone()));
        }
        lock(&self.failed)
            .get(uid)
            .map(|(_, again)| Memory::Failed { again: *again })
    }

    /// Remembers a machine.
    pub(crate) fn succeeded(&self, uid: &str, launched: &Launched, now: Timestamp) {
        lock(&self.failed).remove(uid);
        let mut all = lock(&self.launched);
        all.retain(|_, (_, since)| now.duration_since(*since) < KEPT);
        all.insert(uid.to_owned(), (Box::new(launched.clone()), now));
    }

    /// Remembers a failure and returns the instant of the next attempt.
    pub(crate) fn failed(&self, uid: &str, now: Timestamp) -> Timestamp {
        let mut all = lock(&self.failed);
        all.retain(|_, (_, again)| now.duration_since(*again) < KEPT);
        let failures = all.get(uid).map_or(0, |(failures, _)| *failures);
        let pause = FIRST_PAUSE
            .saturating_mul(1 << failures.min(6))
            .min(LONGEST_PAUSE);
        let again = now.saturating_add(pause).unwrap_or(now);
        all.insert(uid.to_owned(), (failures.saturating_add(1), again));
        again
    }

    /// Forgets a claim: it holds what there is to know, or is gone.
    pub(crate) fn forget(&self, uid: &str) {
        lock(&self.launched).remove(uid);
        lock(&self.failed).remove(uid);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(row: &str, answer: LaunchError, expected: &str) {
        let found = match judge(Err(answer)) {
            Verdict::Launched(_) => "launched".to_owned(),
            Verdict::Impossible { cause, told, .. } => format!("goes: {cause}, told: {told}"),
            Verdict::Failed { reason, message } => format!("{reason}/{message}"),
        };
        assert_eq!(found, expected, "{row}");
    }

    #[test]
    fn answers_and_what_follows() {
        check(
            "lifecycle/L3",
            LaunchError::InsufficientCapacity("none".into()),
            "goes: insufficient_capacity, told: true",
        );
        check(
            "lifecycle/L4",
            LaunchError::NodeClassNotReady("no".into()),
            "goes: nodeclass_not_ready, told: false",
        );
        check(
            "lifecycle/L5",
            LaunchError::Create {
                reason: "R".into(),
                message: "M".into(),
            },
            "R/M",
        );
        check(
            "other",
            LaunchError::Other("throttled".into()),
            "LaunchFailed/throttled",
        );
        let long = "ä".repeat(301);
        let cut = format!("LaunchFailed/{}...", "ä".repeat(300));
        check("cut", LaunchError::Other(long), &cut);
    }

    #[test]
    fn of_labels_the_claims_own_win_and_of_annotations_the_providers() {
        let mut claim: NodeClaim = serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {
                "name": "a", "labels": {"own": "claim", "both": "claim"},
                "annotations": {"own": "claim", "both": "claim"},
            },
            "spec": {"nodeClassRef": {"group": "g", "kind": "K", "name": "n"}, "requirements": [
                {"key": "single", "operator": "In", "values": ["one"]},
                {"key": "several", "operator": "In", "values": ["one", "two"]},
                {"key": "not", "operator": "NotIn", "values": ["one"]},
            ]},
        }))
        .unwrap();
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect()
        };
        let launched = Launched {
            provider_id: "kwok://a".into(),
            labels: map(&[("both", "cloud"), ("single", "cloud"), ("type", "cloud")]),
            annotations: map(&[("both", "cloud")]),
            ..Launched::default()
        };
        merge(&mut claim, &launched);
        let labels = map(&[
            ("both", "claim"),
            ("own", "claim"),
            ("single", "one"),
            ("type", "cloud"),
        ]);
        assert_eq!(claim.metadata.labels, Some(labels));
        let annotations = map(&[("both", "cloud"), ("own", "claim")]);
        assert_eq!(claim.metadata.annotations, Some(annotations));
        let status = claim.status.unwrap();
        assert_eq!(
            (status.provider_id.as_deref(), status.image_id),
            (Some("kwok://a"), None)
        );
    }

    #[test]
    fn failures_pause_longer_each_time_and_a_machine_is_remembered() {
        let answers = Answers::default();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let pauses: Vec<i64> = (0..8)
            .map(|_| answers.failed("1", now).duration_since(now).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        answers.succeeded("1", &Launched::default(), now);
        assert!(matches!(answers.of("1"), Some(Memory::Launched(_))));
        let later = now + SignedDuration::from_hours(2);
        answers.succeeded("2", &Launched::default(), later);
        assert_eq!(answers.of("1"), None, "kept for an hour");
        answers.forget("2");
        assert_eq!(answers.of("2"), None);
    }
}
