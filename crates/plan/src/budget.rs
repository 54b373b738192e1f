//! Disruption budgets: how many nodes of a pool may be disrupted at once, for which reason, when.
//!
//! For callers that already counted a pool's nodes; this module knows neither pools nor nodes.
//! One invariant: a budget that cannot be evaluated closes its pool for *every* reason, also those
//! it does not name, because a typing error must never disrupt more than its author meant.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use jiff::{SignedDuration, Timestamp};
use karpenter_api::GoDuration;
use serde::Serialize;

use crate::cron::{CronError, Schedule};

/// What a budget without any restriction allows. Upstream counts in 32 bits, signed.
pub const UNLIMITED: u32 = i32::MAX as u32;

/// Why a node is disrupted, as budgets name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum DisruptionReason {
    /// Its pods could run for less elsewhere.
    Underutilized,
    /// Nothing on it needs it.
    Empty,
    /// It no longer looks like its pool.
    Drifted,
}

impl DisruptionReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Underutilized, Self::Empty, Self::Drifted];

    /// The reason as NodePools spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Underutilized => "Underutilized",
            Self::Empty => "Empty",
            Self::Drifted => "Drifted",
        }
    }
}

impl fmt::Display for DisruptionReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why a budget cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// `nodes` is neither a count nor a percentage up to 100.
    #[error("nodes \"{0}\" is neither a count nor a percentage between 0% and 100%")]
    Nodes(String),
    /// A reason that no method has.
    #[error("reason \"{0}\" is none of Underutilized, Empty, Drifted")]
    Reason(String),
    /// A schedule alone.
    #[error("schedule needs a duration")]
    NoDuration,
    /// A duration alone.
    #[error("duration needs a schedule")]
    NoSchedule,
    /// A duration that does not parse, or ends before it begins.
    #[error("duration \"{0}\" is no span of time, write hours and minutes as in 1h30m")]
    Duration(String),
    /// A schedule that does not parse.
    #[error("schedule: {0}")]
    Schedule(#[from] CronError),
}

/// How many nodes a budget lets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nodes {
    Count(u32),
    Percent(u32),
}

/// When a budget holds: for `duration` from each fire of `schedule`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    schedule: Schedule,
    duration: SignedDuration,
}

/// One entry of a pool's `disruption.budgets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    nodes: Nodes,
    reasons: Option<Vec<DisruptionReason>>,
    window: Option<Window>,
}

/// All budgets of a pool, those that do not parse included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets(Vec<Result<Budget, BudgetError>>);

impl Budget {
    /// Reads a budget's fields as they stand in the NodePool.
    pub fn parse(
        nodes: &str,
        reasons: Option<&[String]>,
        schedule: Option<&str>,
        duration: Option<&str>,
    ) -> Result<Self, BudgetError> {
        let reasons = reasons
            .map(|reasons| reasons.iter().map(|reason| reason_named(reason)).collect())
            .transpose()?;
        let window = match (schedule, duration) {
            (None, None) => None,
            (Some(schedule), Some(duration)) => Some(Window {
                schedule: Schedule::parse(schedule)?,
                duration: duration_named(duration)?,
            }),
            (Some(_), None) => return Err(BudgetError::NoDuration),
            (None, Some(_)) => return Err(BudgetError::NoSchedule),
        };
        Ok(Self {
            nodes: nodes_named(nodes)?,
            reasons,
            window,
        })
    }

    /// Whether the budget restricts anything at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.window.is_none_or(|window| window.is_open(now))
    }

    /// Whether the budget speaks of this reason; one without reasons speaks of all.
    pub fn names(&self, reason: DisruptionReason) -> bool {
        self.reasons
            .as_ref()
            .is_none_or(|reasons| reasons.contains(&reason))
    }

    /// What the budget allows of `total` nodes at `now`; percentages round up, as upstream's do.
    pub fn value(&self, total: u32, now: Timestamp) -> u32 {
        match self.nodes {
            _ if !self.is_active(now) => UNLIMITED,
            Nodes::Count(count) => count,
            Nodes::Percent(percent) => {
                let allowed = (u64::from(total) * u64::from(percent)).div_ceil(100);
                u32::try_from(allowed).unwrap_or(UNLIMITED)
            }
        }
    }
}

impl Budgets {
    /// Takes the parsed entries of one pool.
    pub fn new(budgets: impl IntoIterator<Item = Result<Budget, BudgetError>>) -> Self {
        Self(budgets.into_iter().collect())
    }

    /// Reads the entries of one NodePool.
    pub fn of(budgets: &[karpenter_api::Budget]) -> Self {
        Self::new(budgets.iter().map(|budget| {
            Budget::parse(
                &budget.nodes,
                budget.reasons.as_deref(),
                budget.schedule.as_deref(),
                budget.duration.as_deref(),
            )
        }))
    }

    /// How many of a pool's `total` nodes may be disrupted for `reason` at `now`, those already
    /// being disrupted included. No budget at all is no restriction.
    pub fn allowed(&self, reason: DisruptionReason, total: u32, now: Timestamp) -> u32 {
        if self.first_error().is_some() {
            return 0;
        }
        self.0
            .iter()
            .flatten()
            .filter(|budget| budget.names(reason))
            .map(|budget| budget.value(total, now))
            .min()
            .unwrap_or(UNLIMITED)
    }

    /// The first entry that cannot be evaluated: it closes the pool.
    fn first_error(&self) -> Option<&BudgetError> {
        self.errors().map(|(_, error)| error).next()
    }

    /// Entries that cannot be evaluated, by their place in the list.
    pub fn errors(&self) -> impl Iterator<Item = (usize, &BudgetError)> {
        let all = self.0.iter().enumerate();
        all.filter_map(|(at, budget)| Some((at, budget.as_ref().err()?)))
    }

    /// An instant after `now` before which no budget opens or closes; `None` when none ever does.
    /// It is never late, and early only where windows overlap for very long.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.0
            .iter()
            .flatten()
            .filter_map(|budget| budget.window.as_ref()?.next_change(now))
            .min()
    }
}

impl Window {
    /// Open from each fire until just before `duration` has passed. A schedule that never fires is
    /// open for ever: upstream takes the missing fire for the year one, long past.
    fn is_open(&self, now: Timestamp) -> bool {
        match self.fire_since(now) {
            Fire::At(fire) => fire <= now,
            Fire::Never => true,
        }
    }

    /// The first fire that is less than `duration` before `now`, which may lie in the future.
    fn fire_since(&self, now: Timestamp) -> Fire {
        let since = now.checked_sub(self.duration).ok();
        since
            .and_then(|since| self.schedule.next_after(since))
            .map_or(Fire::Never, Fire::At)
    }

    fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        // Windows that overlap are one long window; it is followed for this many fires only, since
        // `* * * * *` with a day's duration never ends.
        const FOLLOWED_FIRES: usize = 100;
        let mut fire = match self.fire_since(now) {
            Fire::Never => return None,
            Fire::At(fire) if fire > now => return Some(fire),
            Fire::At(fire) => fire,
        };
        let mut end = fire.checked_add(self.duration).ok()?;
        for _ in 0..FOLLOWED_FIRES {
            match self.schedule.next_after(fire) {
                Some(next) if next <= end => fire = next,
                Some(_) | None => break,
            }
            end = fire.checked_add(self.duration).ok()?;
        }
        Some(end)
    }
}

/// The answer of a schedule.
enum Fire {
    At(Timestamp),
    Never,
}

fn reason_named(text: &str) -> Result<DisruptionReason, BudgetError> {
    DisruptionReason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == text)
        .ok_or_else(|| BudgetError::Reason(text.to_owned()))
}

/// A window that ends before it begins would never hold, so that its author would be bound by nothing.
fn duration_named(text: &str) -> Result<SignedDuration, BudgetError> {
    let duration = text.parse::<GoDuration>().ok();
    let forward = duration.filter(|duration| *duration >= GoDuration::ZERO);
    forward
        .map(|duration| SignedDuration::from_nanos(duration.nanos()))
        .ok_or_else(|| BudgetError::Duration(text.to_owned()))
}

fn nodes_named(text: &str) -> Result<Nodes, BudgetError> {
    let (digits, is_percentage) = match text.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let refused = || BudgetError::Nodes(text.to_owned());
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    // A count too long to read is more than any cluster has.
    let number = digits.parse().unwrap_or(UNLIMITED).min(UNLIMITED);
    match is_percentage {
        true if number > 100 => Err(refused()),
        true => Ok(Nodes::Percent(number)),
        false => Ok(Nodes::Count(number)),
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString, vec};

    use super::*;

    const NOON: &str = "2024-05-01T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn always(nodes: &str) -> Result<Budget, BudgetError> {
        Budget::parse(nodes, None, None, None)
    }

    fn scheduled(nodes: &str, schedule: &str, duration: &str) -> Result<Budget, BudgetError> {
        Budget::parse(nodes, None, Some(schedule), Some(duration))
    }

    fn check(
        _row: &str,
        budgets: &[Result<Budget, BudgetError>],
        total: u32,
        now: &str,
        expected: [u32; 3],
    ) {
        let budgets = Budgets::new(budgets.iter().cloned());
        let allowed = DisruptionReason::ALL.map(|reason| budgets.allowed(reason, total, at(now)));
        assert_eq!(allowed, expected, "{budgets:?} of {total} at {now}");
    }

    #[test]
    fn allows_the_smallest_active_value() {
        check("disruption/B14", &[always("20%")], 19, NOON, [4, 4, 4]);
        check("", &[always("10%")], 1, NOON, [1, 1, 1]);
        check("", &[always("10%")], 0, NOON, [0, 0, 0]);
        check("", &[always("99999999999")], 5, NOON, [UNLIMITED; 3]);
        check("", &[], 5, NOON, [UNLIMITED; 3]);
        let drifted = vec!["Drifted".to_string()];
        let closed_for_drift = Budget::parse("0", Some(&drifted), None, None);
        check(
            "disruption/B15",
            &[always("10%"), closed_for_drift],
            10,
            NOON,
            [1, 1, 0],
        );
        let named_none = Budget::parse("0", Some(&[]), None, None);
        check("", &[always("3"), named_none], 10, NOON, [3, 3, 3]);
    }

    #[test]
    fn opens_windows_in_utc() {
        let nightly = [scheduled("0", "0 0 * * *", "8h")];
        check(
            "disruption/B16",
            &nightly,
            10,
            "2024-05-01T07:59:00Z",
            [0; 3],
        );
        check(
            "disruption/B16",
            &nightly,
            10,
            "2024-05-01T08:00:00Z",
            [UNLIMITED; 3],
        );
        check(
            "disruption/B16",
            &nightly,
            10,
            "2024-05-01T12:30:00Z",
            [UNLIMITED; 3],
        );
        check("", &nightly, 10, "2024-05-01T00:00:00Z", [0; 3]);
        check("", &nightly, 10, "2024-05-01T07:59:59.9Z", [0; 3]);
        check("", &nightly, 10, "2024-04-30T23:59:59.9Z", [UNLIMITED; 3]);
        let several = [
            always("8"),
            scheduled("3", "* * * * *", "1m"),
            scheduled("1", "0 0 * * *", "8h"),
        ];
        check("disruption/B17", &several, 10, NOON, [3; 3]);
        let longer_than_its_recurrence = [scheduled("2", "@daily", "30h")];
        check("", &longer_than_its_recurrence, 10, NOON, [2; 3]);
        let never = [scheduled("0", "0 0 30 2 *", "1h")];
        check("", &never, 10, NOON, [0; 3]);
    }

    #[test]
    fn fails_closed() {
        let broken = scheduled("5", "0 0 * * tue-mon", "1h");
        check("disruption/B18", &[always("8"), broken], 10, NOON, [0; 3]);
        let broken_for_drift = Budget::parse(
            "5",
            Some(&["Drifted".to_string()]),
            Some("no cron"),
            Some("1h"),
        );
        check(
            "disruption/B18",
            &[always("8"), broken_for_drift],
            10,
            NOON,
            [0; 3],
        );
        check(
            "",
            &[Budget::parse("5", None, Some("@daily"), None)],
            10,
            NOON,
            [0; 3],
        );
        for nodes in ["", "%", "101%", "-1", "1.5", "ten"] {
            check("", &[always(nodes)], 10, NOON, [0; 3]);
        }
        let unknown = Budget::parse("5", Some(&["Expired".to_string()]), None, None);
        assert_eq!(
            unknown.unwrap_err().to_string(),
            "reason \"Expired\" is none of Underutilized, Empty, Drifted"
        );
        let backwards = Budgets::new([scheduled("5", "0 0 * * tue-mon", "1h")]);
        assert_eq!(
            backwards.first_error().unwrap().to_string(),
            "schedule: \"tue-mon\" runs backwards: write the smaller end first"
        );
    }

    #[test]
    fn says_what_to_change() {
        let check = |schedule: Option<&str>, duration: Option<&str>, text: &str| {
            let budget = Budget::parse("5", None, schedule, duration);
            assert_eq!(budget.clone().unwrap_err().to_string(), text);
            let budgets = [always("8"), budget];
            self::check("", &budgets, 10, NOON, [0; 3]);
            let found = Budgets::new(budgets);
            let places: Vec<usize> = found.errors().map(|(at, _)| at).collect();
            assert_eq!(places, [1], "{text}");
        };
        check(Some("@daily"), None, "schedule needs a duration");
        check(None, Some("1h"), "duration needs a schedule");
        let span = "is no span of time, write hours and minutes as in 1h30m";
        for odd in ["-1h", "soon", "", "8"] {
            let text = format!("duration \"{odd}\" {span}");
            check(Some("@daily"), Some(odd), &text);
        }
    }

    /// `change` is the first instant after `now` at which the budget opens or closes.
    fn check_change(budget: Result<Budget, BudgetError>, now: &str, change: &str) {
        let found = Budgets::new([budget]).next_change(at(now));
        assert_eq!(
            found.map(|found| found.to_string()).unwrap_or_default(),
            change
        );
    }

    #[test]
    fn knows_its_next_change() {
        check_change(always("1"), NOON, "");
        let nightly = || scheduled("0", "0 0 * * *", "8h");
        check_change(nightly(), NOON, "2024-05-02T00:00:00Z");
        check_change(nightly(), "2024-05-02T00:00:00Z", "2024-05-02T08:00:00Z");
        check_change(nightly(), "2024-05-02T08:00:00Z", "2024-05-03T00:00:00Z");
        // Two overlapping windows are one.
        let overlapping = scheduled("0", "0 0,6 * * *", "8h");
        check_change(overlapping, "2024-05-02T01:00:00Z", "2024-05-02T14:00:00Z");
        check_change(scheduled("0", "0 0 30 2 *", "1h"), NOON, "");
    }

    #[test]
    fn changes_exactly_where_it_says() {
        let day = Timestamp::from_second(at("2024-05-01T00:00:00Z").as_second()).unwrap();
        for (schedule, duration) in [
            ("0 */7 * * *", 90),
            ("*/25 3-5 * * *", 40),
            ("5 4 * * wed,thu", 600),
            ("0 1 * * *", 5),
        ] {
            let duration = format!("{duration}m");
            let budget = Budget::parse("0", None, Some(schedule), Some(&duration)).unwrap();
            let budgets = Budgets::new([Ok(budget.clone())]);
            for minute in 0..2 * 24 * 60 {
                let now = day + SignedDuration::from_mins(minute);
                let change = budgets.next_change(now).unwrap();
                let just_before = change - SignedDuration::from_secs(1);
                assert_eq!(
                    budget.is_active(now),
                    budget.is_active(just_before),
                    "{now}"
                );
                assert_ne!(budget.is_active(now), budget.is_active(change), "{now}");
            }
        }
    }
}
