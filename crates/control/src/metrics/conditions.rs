//! The conditions of claims, pools and nodes, and how long deletions take.
//!
//! What a condition says now is read at a scrape; what it came from is counted when it changes. The
//! names without a kind are deprecated upstream and still there for claims and pools.

use std::sync::Arc;

use jiff::Timestamp;
use karpenter_api::{
    NodeClaim, NodePool,
    labels::{INITIALIZED, NODEPOOL},
    objects::Node,
};
use kube::api::ObjectMeta;
use prometheus::{CounterVec, HistogramVec, Registry};

use super::{
    family::{counter, exponential, histogram},
    lifecycle::label,
    page::{Labels, Page, line},
    seconds_since,
};
use crate::mirror::{Change, Mirror};

const COUNT: &str = "status_condition_count";
const COUNT_HELP: &str = "Conditions of objects, in labels; always 1.";
const CURRENT: &str = "status_condition_current_status_seconds";
const CURRENT_HELP: &str = "For how long a condition has had its status.";
const TRANSITIONS: &str = "status_condition_transitions_total";
const TRANSITIONS_HELP: &str = "Changes of the status of conditions.";
const TRANSITION: &str = "status_condition_transition_seconds";
const TRANSITION_HELP: &str = "For how long a condition had the status that it lost.";
const TERMINATION: &str = "termination_duration_seconds";
const TERMINATION_HELP: &str = "Time from the deletion of an object until it has gone.";
const TERMINATING: &str = "termination_current_time_seconds";
const TERMINATING_HELP: &str = "For how long an object has been deleted without having gone.";

/// A kind whose conditions are shown.
trait Shown {
    /// The kind in names of metrics.
    const NAME: &'static str;
    /// Group and kind where the deprecated names are still there.
    const DEPRECATED: Option<(&'static str, &'static str)>;

    fn metadata(&self) -> &ObjectMeta;
    fn conditions(&self) -> Vec<Stated<'_>>;
}

/// A condition as far as it is shown.
#[derive(Clone, Copy)]
struct Stated<'a> {
    kind: &'a str,
    status: &'a str,
    reason: &'a str,
    since: Option<Timestamp>,
}

impl<'a> From<&'a karpenter_api::Condition> for Stated<'a> {
    fn from(condition: &'a karpenter_api::Condition) -> Self {
        Self {
            kind: &condition.type_,
            status: &condition.status,
            reason: &condition.reason,
            since: Some(condition.last_transition_time.0),
        }
    }
}

macro_rules! shown {
    ($kind:ty, $name:literal, $title:literal) => {
        impl Shown for $kind {
            const NAME: &'static str = $name;
            const DEPRECATED: Option<(&'static str, &'static str)> = Some(("karpenter.sh", $title));

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn conditions(&self) -> Vec<Stated<'_>> {
                let status = self.status.as_ref();
                let all = status.and_then(|status| status.conditions.as_deref());
                all.unwrap_or_default().iter().map(Stated::from).collect()
            }
        }
    };
}
shown!(NodeClaim, "nodeclaim", "NodeClaim");
shown!(NodePool, "nodepool", "NodePool");

impl Shown for Node {
    const NAME: &'static str = "node";
    const DEPRECATED: Option<(&'static str, &'static str)> = None;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn conditions(&self) -> Vec<Stated<'_>> {
        let stated = self.status.conditions.iter().map(|condition| Stated {
            kind: &condition.type_,
            status: &condition.status,
            reason: condition.reason.as_deref().unwrap_or_default(),
            since: condition.last_transition_time.as_ref().map(|time| time.0),
        });
        stated.collect()
    }
}

/// The families of conditions.
pub(super) struct Conditions {
    claims: Kind,
    pools: Kind,
    nodes: Kind,
    deprecated: Deprecated,
}

/// The families of one kind.
struct Kind {
    name: &'static str,
    /// Labels of objects that are labels of the series: the object's key, the series' name.
    extra: Vec<(String, String)>,
    transitions: CounterVec,
    transition: HistogramVec,
    termination: HistogramVec,
}

struct Deprecated {
    transitions: CounterVec,
    transition: HistogramVec,
    termination: HistogramVec,
}

impl Conditions {
    /// The families for a provider whose node classes are named in these labels.
    pub(super) fn new(registry: &Registry, class_labels: &[String]) -> Self {
        let classes = class_labels.iter().map(String::as_str);
        let of_claims: Vec<&str> = classes.chain([NODEPOOL]).collect();
        let of_nodes: Vec<&str> = of_claims.iter().copied().chain([INITIALIZED]).collect();
        let durations = exponential(0.5, 2.0, 15);
        let generic = ["group", "kind"];
        let deprecated = Deprecated {
            transitions: counter(
                registry,
                &format!("operator_{TRANSITIONS}"),
                TRANSITIONS_HELP,
                &[&generic[..], &["type", "status", "reason"]].concat(),
            ),
            transition: histogram(
                registry,
                &format!("operator_{TRANSITION}"),
                TRANSITION_HELP,
                &[&generic[..], &["type", "status"]].concat(),
                &durations,
            ),
            termination: histogram(
                registry,
                &format!("operator_{TERMINATION}"),
                TERMINATION_HELP,
                &generic,
                &durations,
            ),
        };
        Self {
            claims: Kind::new(registry, NodeClaim::NAME, &of_claims),
            pools: Kind::new(registry, NodePool::NAME, &[]),
            nodes: Kind::new(registry, Node::NAME, &of_nodes),
            deprecated,
        }
    }

    pub(super) fn claim_changed(&self, change: &Change<Arc<NodeClaim>>, now: Timestamp) {
        self.changed(&self.claims, change, now);
    }

    pub(super) fn pool_changed(&self, change: &Change<Arc<NodePool>>, now: Timestamp) {
        self.changed(&self.pools, change, now);
    }

    pub(super) fn node_changed(&self, change: &Change<Arc<Node>>, now: Timestamp) {
        self.changed(&self.nodes, change, now);
    }

    /// Counts what changed, and measures what ended.
    fn changed<K: Shown>(&self, kind: &Kind, change: &Change<Arc<K>>, now: Timestamp) {
        let Some(new) = &change.new else {
            if let Some(old) = &change.old {
                self.gone(kind, &**old, now);
            }
            return;
        };
        let before = change.old.as_deref().map(Shown::conditions);
        for condition in new.conditions() {
            let known = before.as_ref().and_then(|all| {
                let mut all = all.iter();
                all.find(|known| known.kind == condition.kind)
            });
            // A condition that is not there is as good as Unknown.
            if known.map_or("Unknown", |known| known.status) == condition.status {
                continue;
            }
            let Stated {
                kind: of,
                status,
                reason,
                since,
            } = condition;
            let mut labels = vec![of, status, reason];
            labels.extend(kind.values(new.metadata()));
            kind.transitions.with_label_values(&labels).inc();
            if let Some((group, title)) = K::DEPRECATED {
                self.deprecated
                    .transitions
                    .with_label_values(&[group, title, of, status, reason])
                    .inc();
            }
            let Some((known, since, until)) =
                known.and_then(|known| Some((known, known.since?, since?)))
            else {
                continue;
            };
            let lasted = seconds_since(since, until);
            let mut labels = vec![of, known.status];
            labels.extend(kind.values(new.metadata()));
            kind.transition.with_label_values(&labels).observe(lasted);
            if let Some((group, title)) = K::DEPRECATED {
                self.deprecated
                    .transition
                    .with_label_values(&[group, title, of, known.status])
                    .observe(lasted);
            }
        }
    }

    fn gone<K: Shown>(&self, kind: &Kind, old: &K, now: Timestamp) {
        let Some(deletion) = &old.metadata().deletion_timestamp else {
            return;
        };
        let took = seconds_since(deletion.0, now);
        kind.termination
            .with_label_values(&kind.values(old.metadata()).collect::<Vec<_>>())
            .observe(took);
        if let Some((group, title)) = K::DEPRECATED {
            self.deprecated
                .termination
                .with_label_values(&[group, title])
                .observe(took);
        }
    }

    /// What every condition says now.
    pub(super) fn write(&self, page: &mut Page, mirror: &Mirror, now: Timestamp) {
        self.claims.write(page, &mirror.all::<NodeClaim>(), now);
        self.pools.write(page, &mirror.all::<NodePool>(), now);
        self.nodes.write(page, &mirror.all::<Node>(), now);
    }
}

impl Kind {
    fn new(registry: &Registry, name: &'static str, extra: &[&str]) -> Self {
        let extra: Vec<(String, String)> = extra
            .iter()
            .map(|key| ((*key).to_owned(), series_label(key)))
            .collect();
        let labels = |own: &[&'static str]| {
            let extra = extra.iter().map(|(_, label)| label.as_str());
            own.iter().copied().chain(extra).collect::<Vec<_>>()
        };
        let durations = exponential(0.5, 2.0, 15);
        Self {
            name,
            transitions: counter(
                registry,
                &format!("operator_{name}_{TRANSITIONS}"),
                TRANSITIONS_HELP,
                &labels(&["type", "status", "reason"]),
            ),
            transition: histogram(
                registry,
                &format!("operator_{name}_{TRANSITION}"),
                TRANSITION_HELP,
                &labels(&["type", "status"]),
                &durations,
            ),
            termination: histogram(
                registry,
                &format!("operator_{name}_{TERMINATION}"),
                TERMINATION_HELP,
                &labels(&[]),
                &durations,
            ),
            extra,
        }
    }

    /// The values of the labels that come from the object's labels.
    fn values<'a>(&'a self, metadata: &'a ObjectMeta) -> impl Iterator<Item = &'a str> {
        self.extra.iter().map(|(key, _)| label(metadata, key))
    }

    fn write<K: Shown>(&self, page: &mut Page, objects: &[Arc<K>], now: Timestamp) {
        let mut series = Series::default();
        let mut generic = Series::default();
        for object in objects {
            self.read(&**object, now, &mut series, &mut generic);
        }
        series.write(page, &format!("operator_{}_", self.name));
        generic.write(page, "operator_");
    }

    /// Puts an object's conditions among the series of its kind, and among the deprecated ones.
    fn read<K: Shown>(
        &self,
        object: &K,
        now: Timestamp,
        series: &mut Series,
        generic: &mut Series,
    ) {
        let metadata = object.metadata();
        let named = [
            ("name", metadata.name.as_deref().unwrap_or_default()),
            (
                "namespace",
                metadata.namespace.as_deref().unwrap_or_default(),
            ),
        ];
        let extra: Vec<(&str, &str)> = self
            .extra
            .iter()
            .map(|(key, series)| (series.as_str(), label(metadata, key)))
            .collect();
        let deprecated = K::DEPRECATED.map(|(group, kind)| [("group", group), ("kind", kind)]);
        for condition in object.conditions() {
            let stated = named.into_iter().chain([
                ("reason", condition.reason),
                ("status", condition.status),
                ("type", condition.kind),
            ]);
            let age = condition
                .since
                .map_or(0.0, |since| seconds_since(since, now));
            let labels = Labels::new(extra.iter().copied().chain(stated.clone()));
            series.conditions.push((labels, age));
            if let Some(deprecated) = deprecated {
                let labels = Labels::new(deprecated.into_iter().chain(stated));
                generic.conditions.push((labels, age));
            }
        }
        if let Some(deletion) = &metadata.deletion_timestamp {
            let age = seconds_since(deletion.0, now);
            let labels = Labels::new(extra.into_iter().chain(named));
            series.terminating.push((labels, age));
            if let Some(deprecated) = deprecated {
                let labels = Labels::new(deprecated.into_iter().chain(named));
                generic.terminating.push((labels, age));
            }
        }
    }
}

/// Labels and ages, to be written family by family.
#[derive(Default)]
struct Series {
    conditions: Vec<(Labels, f64)>,
    terminating: Vec<(Labels, f64)>,
}

impl Series {
    fn write(&self, page: &mut Page, prefix: &str) {
        for (what, help, all, is_age) in [
            (COUNT, COUNT_HELP, &self.conditions, false),
            (CURRENT, CURRENT_HELP, &self.conditions, true),
            (TERMINATING, TERMINATING_HELP, &self.terminating, true),
        ] {
            if all.is_empty() {
                continue;
            }
            let name = format!("{prefix}{what}");
            let text = page.begin(&name, help, "gauge");
            for (labels, age) in all {
                let value = if is_age { *age } else { 1.0 };
                line(text, &name, &[labels.inner()], value);
            }
        }
    }
}

/// A label's key as the name of a series' label.
fn series_label(key: &str) -> String {
    key.replace(|character: char| !character.is_ascii_alphanumeric(), "_")
}
