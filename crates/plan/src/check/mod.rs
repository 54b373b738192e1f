//! The judge: a plan against the snapshot it was made from.
//!
//! Run on every plan that a test makes. It shares nothing with [`schedule`](mod@crate::schedule) but
//! the values themselves: no masks, no memory of what was tried, label sets spelled out in plain
//! strings, every sum taken anew. It may therefore be slow, and it must never be taught a shortcut
//! that the scheduler takes.
//!
//! It judges what is *wrong*, not what is *worse*: a plan that wastes money passes, one that breaks a
//! promise does not. `accounts` sees that every pod is spoken for once, `existing` and `claims`
//! that each place really takes its pods, `limits` that pools keep within their bounds, `reservations`
//! that nothing is promised twice, `neighbors` that rules between pods hold in the end, `volumes` that
//! pods are where their volumes can be, `devices` that pods get the devices that they claim. `terms`
//! and `daemons` are the judge's own reading of labels and DaemonSets.

use alloc::vec::Vec;

use crate::schedule::{Plan, Report};
use crate::snapshot::{NodeMask, Snapshot, View};

mod accounts;
mod claims;
mod daemons;
mod devices;
mod existing;
mod limits;
mod neighbors;
mod reservations;
mod terms;
mod violation;
mod volumes;

// `explain` reads the world as the judge does.
pub(crate) use self::claims::{Deal, Kind, Kinds, known_labels};
pub(crate) use self::daemons::on_existing;
pub(crate) use self::existing::host_name;
pub(crate) use self::terms::{Set, Terms};
pub use self::violation::Violation;

/// Judges a plan for the world as it is.
pub fn check(snapshot: &Snapshot, plan: &Plan, report: &Report) -> Result<(), Vec<Violation>> {
    check_view(
        &View {
            base: snapshot,
            gone: NodeMask::new(),
            displaced: &[],
            closed: NodeMask::new(),
        },
        plan,
        report,
    )
}

/// Judges a plan for a what-if.
pub fn check_view(view: &View<'_>, plan: &Plan, report: &Report) -> Result<(), Vec<Violation>> {
    // Ids that name nothing would make every later question meaningless.
    let mut violations = accounts::dangling(view, plan, report);
    if violations.is_empty() {
        violations.extend(accounts::violations(view, plan, report));
        violations.extend(existing::violations(view, plan, report));
        let kinds = Kinds::new(view.base);
        violations.extend(claims::violations(view, plan, report, &kinds));
        violations.extend(limits::violations(view, plan, &kinds));
        violations.extend(reservations::violations(view.base, plan));
        violations.extend(neighbors::violations(view, plan));
        violations.extend(volumes::violations(view, plan));
        violations.extend(devices::violations(view, plan, report));
    }
    if violations.is_empty() {
        Ok(())
    } else {
        Err(violations)
    }
}
