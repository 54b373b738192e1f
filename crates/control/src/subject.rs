//! What a reconcile is about, as the lines of its log say it.
//!
//! Whatever is told during a reconcile is told within its span: the controller, the object, and an id
//! that is the same for all lines of one run and no other's.

use tracing::{Span, field, info_span};

/// The key of a queue, seen as an object.
pub trait Subject {
    /// The object's namespace; empty for cluster-wide kinds.
    fn namespace(&self) -> &str;

    /// The object's name; empty if there is none.
    fn name(&self) -> &str;
}

impl Subject for String {
    fn namespace(&self) -> &'static str {
        ""
    }

    fn name(&self) -> &str {
        self
    }
}

impl Subject for &str {
    fn namespace(&self) -> &'static str {
        ""
    }

    fn name(&self) -> &str {
        self
    }
}

/// A controller that looks at everything at once.
impl Subject for () {
    fn namespace(&self) -> &'static str {
        ""
    }

    fn name(&self) -> &'static str {
        ""
    }
}

/// Numbers the runs of one controller.
#[derive(Debug)]
pub(crate) struct Runs {
    controller: &'static str,
    /// Differs between controllers and between processes.
    salt: u64,
    count: u64,
}

impl Runs {
    /// No run yet. `started` is when, so that two processes do not number alike.
    pub(crate) fn new(controller: &'static str, started: jiff::Timestamp) -> Self {
        Self {
            controller,
            salt: salt(controller, started),
            count: 0,
        }
    }

    /// The span of the next run.
    pub(crate) fn span(&mut self, subject: &impl Subject) -> Span {
        self.count += 1;
        let span = info_span!(
            "reconcile",
            controller = self.controller,
            namespace = subject.namespace(),
            name = subject.name(),
            reconcile_id = field::Empty,
            nodeclaim = field::Empty,
            nodepool = field::Empty,
            node = field::Empty,
            pod = field::Empty,
        );
        if span.is_disabled() {
            return span;
        }
        span.record("reconcile_id", identifier(self.salt, self.count).as_str());
        if let Some(kind) = kind(self.controller).filter(|_| !subject.name().is_empty()) {
            if subject.namespace().is_empty() {
                span.record(kind, subject.name());
            } else {
                let place = format!("{}/{}", subject.namespace(), subject.name());
                span.record(kind, place.as_str());
            }
        }
        span
    }
}

/// The kind of object that a controller looks at, by the controller's name.
fn kind(controller: &str) -> Option<&'static str> {
    match controller
        .split_once('.')
        .map_or(controller, |(kind, _)| kind)
    {
        "nodeclaim" => Some("nodeclaim"),
        "nodepool" | "catalog" => Some("nodepool"),
        "node" => Some("node"),
        "eviction-queue" => Some("pod"),
        _ => None,
    }
}

/// An id for something that began then: others of its name, and what began at other times, have others.
pub(crate) fn identifier_of(name: &str, began: jiff::Timestamp) -> String {
    identifier(salt(name, began), 0)
}

fn salt(name: &str, instant: jiff::Timestamp) -> u64 {
    let seed = instant.as_microsecond().unsigned_abs();
    name.bytes()
        .fold(seed, |salt, byte| mixed(salt ^ u64::from(byte)))
}

/// A number in the form of a random UUID.
fn identifier(salt: u64, count: u64) -> String {
    let high = mixed(salt ^ count);
    let low = mixed(high ^ salt.rotate_left(32));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff,
    )
}

/// Spreads neighbouring numbers over all of them.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_run_has_an_id_of_its_own() {
        let mut seen = BTreeSet::new();
        for controller in ["nodeclaim.lifecycle", "nodeclaim.disruption"] {
            for start in ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"] {
                let runs = Runs::new(controller, start.parse().unwrap());
                for count in 1..1000 {
                    let id = identifier(runs.salt, count);
                    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
                    assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
                    assert_ne!(id[..8], id[28..], "two halves, not one twice: {id}");
                    assert!(seen.insert(id));
                }
            }
        }
    }

    #[test]
    fn controllers_are_named_after_what_they_look_at() {
        for (controller, expected) in [
            ("nodeclaim.lifecycle", Some("nodeclaim")),
            ("nodepool.counter", Some("nodepool")),
            ("node.termination", Some("node")),
            ("eviction-queue", Some("pod")),
            ("provisioner", None),
        ] {
            assert_eq!(kind(controller), expected, "{controller}");
        }
    }
}
