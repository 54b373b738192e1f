//! The true cause of a refusal in one sentence: of all pools the one that came nearest, and what keeps the
//! pod out of it.
//!
//! Events carry it behind upstream's sentence, so it must be cheap: it is read off a round that was run
//! already, and pods that are alike share it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::check::{Kinds, Set};
use crate::pod::Pod;
use crate::schedule::{Options, Plan, Refusal, Report, Rule, TemplateRefusal, TopologyRefusal};
use crate::snapshot::Snapshot;
use crate::vocabulary::{KeyId, PodId, PoolId, ShapeId, SubjectId};

use super::ConstraintVerdict;
use super::constraint::{Blockers, Constraint};
use super::pool::{self, PoolView, Stock, amount};

/// So many values are shown.
const SHOWN: usize = 5;

/// What tells pods apart as far as causes go.
type Alike = (ShapeId, SubjectId, Vec<(u16, i64)>, Vec<Arc<str>>);

/// The true cause of each refusal of a round, in the order of the report.
pub fn causes(
    snapshot: &Snapshot,
    plan: &Plan,
    report: &Report,
    options: &Options,
) -> Vec<(PodId, String)> {
    let Some((first, _)) = report.unplaced.first() else {
        return Vec::new();
    };
    let kinds = Kinds::new(snapshot);
    let mut views = pool::views(snapshot, &kinds, plan, *first);
    views.sort_by_key(PoolView::rank);
    let mut known: BTreeMap<Alike, String> = BTreeMap::new();
    let mut all = Vec::with_capacity(report.unplaced.len());
    for (id, refusal) in &report.unplaced {
        let pod = &*snapshot.pods[*id];
        let requests = pod.requests.iter().map(|(id, amount)| (id.0, amount));
        let alike = (
            pod.shape_id,
            pod.subject_id,
            requests.collect(),
            pod.volumes.to_vec(),
        );
        let cause = known.entry(alike).or_insert_with(|| {
            for view in &mut views {
                view.places = pool::places(snapshot, *id);
            }
            cause(&views, *id, refusal, options)
        });
        all.push((*id, cause.clone()));
    }
    all
}

/// Why a pod has no place; the pools as they look to it, in the order in which they are asked.
pub(super) fn cause(
    views: &[PoolView<'_>],
    id: PodId,
    refusal: &Refusal,
    options: &Options,
) -> String {
    let Some(snapshot) = views.first().map(|view| view.snapshot) else {
        return "there is no nodepool".into();
    };
    let pod = &*snapshot.pods[id];
    if let Refusal::DevicesIgnored
    | Refusal::DeviceClaimMissing(_)
    | Refusal::Contradiction(_)
    | Refusal::Volumes(_) = refusal
    {
        return refusal.message_with(snapshot, id, options);
    }
    let of = |view: &PoolView<'_>| {
        let (count, text) = of_pool(view, id, refusal, options);
        // A pool that the pod rules out by name is never the nearest miss.
        let is_excluded = pod.shape.alternatives.iter().all(|own| {
            own.get(KeyId::NODEPOOL).is_some_and(|requirement| {
                let name = snapshot.vocabulary.value(&view.pool.name);
                !name.is_some_and(|name| requirement.has(name, &snapshot.vocabulary))
            })
        });
        (is_excluded, count, text)
    };
    let nearest = views
        .iter()
        .map(of)
        .min_by_key(|(excluded, count, _)| (*excluded, *count));
    nearest.map_or_else(String::new, |(_, _, text)| text)
}

/// What keeps a pod out of a pool of which it meets every constraint.
pub(super) fn beside_constraints(
    view: &PoolView<'_>,
    id: PodId,
    refusal: &Refusal,
    options: &Options,
) -> String {
    let snapshot = view.snapshot;
    let pod = &*snapshot.pods[id];
    match said(refusal, view.id) {
        Some(TemplateRefusal::Topology(rule)) => of_rule(snapshot, rule),
        Some(TemplateRefusal::Volumes) => "its nodes cannot be where the pod's volumes are".into(),
        Some(
            other @ (TemplateRefusal::MinValues
            | TemplateRefusal::Reserved
            | TemplateRefusal::Devices(_)
            | TemplateRefusal::DeviceRequirements(_)
            | TemplateRefusal::DeviceTypes),
        ) => other.message(snapshot, pod, view.id, options),
        Some(
            TemplateRefusal::Taints
            | TemplateRefusal::Requirements
            | TemplateRefusal::InstanceTypes(_)
            | TemplateRefusal::NodeLimit
            | TemplateRefusal::Limits,
        ) => where_rules_lead(snapshot, pod),
        None => refusal.message_with(snapshot, id, options),
    }
}

/// What a pool said to a pod, if it was asked.
fn said(refusal: &Refusal, pool: PoolId) -> Option<&TemplateRefusal> {
    match refusal {
        Refusal::Templates(refusals) => refusals
            .iter()
            .find(|(asked, _)| *asked == pool)
            .map(|(_, refusal)| refusal),
        Refusal::NoPools
        | Refusal::DevicesIgnored
        | Refusal::DeviceClaimMissing(_)
        | Refusal::Contradiction(_)
        | Refusal::Volumes(_)
        | Refusal::NoTypes
        | Refusal::Truncated(_) => None,
    }
}

/// How far a pool is from taking the pod, counted in constraints, and what keeps it.
fn of_pool(
    view: &PoolView<'_>,
    id: PodId,
    refusal: &Refusal,
    options: &Options,
) -> (usize, String) {
    let (snapshot, name) = (view.snapshot, &view.pool.name);
    let pod = &*snapshot.pods[id];
    let stock = match &view.stock {
        Ok(stock) => stock,
        Err(message) => {
            let message = message.strip_prefix("nodepool ").unwrap_or(message);
            return (usize::MAX, format!("nodepool {name} {message}"));
        }
    };
    let told = |count: usize, text: String| (count, format!("nodepool {name}: {text}"));
    match view.blockers(stock, pod) {
        Blockers::Alone(found) => {
            let reasons: Vec<String> = found.iter().map(|&one| view.detailed(stock, one)).collect();
            told(found.len(), reasons.join("; "))
        }
        Blockers::Together(found) => told(found.len(), view.together(stock, &found)),
        Blockers::None => {
            let text = beside_constraints(view, id, refusal, options);
            told(1, text)
        }
    }
}

/// Every constraint can be met, but not where the rules between pods put the pod.
fn where_rules_lead(snapshot: &Snapshot, pod: &Pod) -> String {
    let topology = &pod.shape.topology;
    let name =
        |kind: &str, key: KeyId| format!("{kind} over {}", snapshot.vocabulary.key_name(key));
    let spreads = topology
        .spreads
        .iter()
        .map(|own| name("topology spread", own.key));
    let together = topology
        .affinity
        .iter()
        .map(|own| name("pod affinity", own.key));
    let apart = topology
        .anti_affinity
        .iter()
        .map(|own| name("pod anti-affinity", own.key));
    let rules: Vec<String> = together.chain(apart).chain(spreads).collect();
    if rules.is_empty() {
        return "no instance type is left beside what this round has placed".into();
    }
    format!(
        "no instance type is offered where {} puts the pod",
        rules.join(" with ")
    )
}

/// A rule between pods that no domain satisfies.
fn of_rule(snapshot: &Snapshot, refusal: &TopologyRefusal) -> String {
    let vocabulary = &*snapshot.vocabulary;
    let key = vocabulary.key_name(refusal.key);
    let mut counts: Vec<String> = refusal
        .counts
        .iter()
        .map(|&(value, count)| format!("{}: {count}", vocabulary.value_text(value)))
        .collect();
    counts.sort_unstable();
    let more = counts.len().saturating_sub(SHOWN);
    counts.truncate(SHOWN);
    if more > 0 {
        counts.push(format!("{more} others"));
    }
    let there = refusal.counts.iter().map(|(_, count)| count).sum::<u32>() + refusal.on_hosts;
    let counts = if counts.is_empty() {
        String::new()
    } else {
        format!(" (pods {})", counts.join(", "))
    };
    match refusal.rule {
        Rule::Spread if refusal.counts.is_empty() && refusal.on_hosts == 0 => {
            format!("topology spread over {key}, of which no nodepool and no node has a value")
        }
        Rule::Spread => format!("topology spread over {key} allows no domain{counts}"),
        Rule::Affinity if there == 0 => {
            format!("no pod is there that pod affinity over {key} asks for")
        }
        Rule::Affinity => {
            format!("the pods that pod affinity over {key} asks for are elsewhere{counts}")
        }
        Rule::AntiAffinity => format!("pod anti-affinity over {key} forbids every domain{counts}"),
        Rule::Inverse => {
            format!("pod anti-affinity over {key} of other pods forbids every domain{counts}")
        }
    }
}

/// A constraint that no type satisfies, in a few words.
pub(super) fn reason(verdict: &ConstraintVerdict) -> String {
    let ConstraintVerdict {
        constraint, asked, ..
    } = verdict;
    match constraint.split_once(['.', ' ']) {
        Some(("resources", name)) => format!("no instance type has enough {name}"),
        Some(("requirement", key)) => format!("no instance type has {key} {asked}"),
        Some(("taint", taint)) => format!("taint {taint} is not tolerated"),
        Some(("hostPort", port)) => format!("DaemonSets take host port {port} everywhere"),
        Some(("limits", name)) => format!("its limit leaves too little {name}"),
        Some(_) => constraint.clone(),
        None => "no instance type is offered where the pod's volumes are".into(),
    }
}

impl PoolView<'_> {
    /// The same with the nearest miss.
    fn detailed(&self, stock: &Stock<'_>, constraint: Constraint<'_>) -> String {
        let verdict = self.verdict(stock, constraint);
        let detail = match (constraint, &verdict.nearest) {
            (Constraint::Resource(id, asked), Some(nearest)) => {
                let asked = amount(self.snapshot, id, asked);
                format!(
                    " ({asked} asked, {} has {})",
                    nearest.instance_type, nearest.has
                )
            }
            (Constraint::Limit(..), Some(nearest)) => format!(
                " ({}, {} has {})",
                verdict.asked, nearest.instance_type, nearest.has
            ),
            (Constraint::Limit(..), None) => format!(" ({})", verdict.asked),
            (Constraint::Requirement(requirement), _) => {
                let key = self.snapshot.vocabulary.key_name(requirement.key());
                format!(" (there is {})", self.values(stock, key))
            }
            (
                Constraint::Taint(_)
                | Constraint::Resource(..)
                | Constraint::Port(_)
                | Constraint::Volumes,
                _,
            ) => String::new(),
        };
        format!("{}{detail}", reason(&verdict))
    }

    /// The values that the pool's types have of a label.
    fn values(&self, stock: &Stock<'_>, key: &str) -> String {
        let template = crate::check::known_labels(self.snapshot, self.id);
        let mut values: Vec<&Arc<str>> = match template.get(key).and_then(Set::listed) {
            Some(listed) => listed.iter().collect(),
            None => stock
                .usable
                .iter()
                .filter_map(|&id| stock.kind(id).labels.get(key)?.listed())
                .flatten()
                .collect(),
        };
        values.sort_unstable();
        values.dedup();
        if values.is_empty() {
            return "no such label".into();
        }
        let more = values.len().saturating_sub(SHOWN);
        let shown: Vec<String> = values.iter().take(SHOWN).map(ToString::to_string).collect();
        let shown = shown.join(", ");
        match more {
            0 => shown,
            more => format!("{shown} and {more} others"),
        }
    }

    /// Constraints that some type meets each, but none all of them.
    pub(super) fn together(&self, stock: &Stock<'_>, found: &[Constraint<'_>]) -> String {
        if found.is_empty() {
            return "DaemonSets leave no room on any instance type".into();
        }
        let asked = |&one: &Constraint<'_>| {
            let verdict = self.verdict(stock, one);
            format!("{} {}", verdict.constraint, verdict.asked)
        };
        let asked: Vec<String> = found.iter().map(asked).collect();
        format!("no instance type has {}", asked.join(" together with "))
    }
}
