//! What a person wants to see of the local cluster: pods, nodes, claims, and what changed since the
//! last look. Fed by watches; knows nothing of terminals.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use karpenter_api::{
    NodeClaim, labels,
    objects::{Node, Pod},
};
use serde::Serialize;
use tokio::time::Instant;

/// The label under which KWOK nodes carry their price, dollars per hour.
const PRICE: &str = "eks-node-viewer/instance-price";

/// A pod as far as the board shows it.
struct PodRow {
    seen: Instant,
    /// Whether it had no node when it was first seen.
    waited: bool,
    bound: Option<Instant>,
    node: Option<String>,
    running: bool,
    finished: bool,
    terminating: bool,
}

/// A node as far as the board shows it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct NodeRow {
    pub(crate) instance_type: String,
    pub(crate) zone: String,
    pub(crate) capacity_type: String,
    /// Dollars per hour; `None` for nodes that carry no price.
    pub(crate) price: Option<f64>,
    pub(crate) state: &'static str,
}

/// How many pods are in which state.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct PodCounts {
    pub(crate) pending: usize,
    pub(crate) starting: usize,
    pub(crate) running: usize,
    pub(crate) finished: usize,
    pub(crate) terminating: usize,
}

/// The summary of `karpenter local` (`cli.md`).
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    pub(crate) nodes: usize,
    pub(crate) instance_types: BTreeMap<String, usize>,
    pub(crate) price_per_hour: f64,
    pub(crate) pods_placed: usize,
    pub(crate) pods_pending: Vec<PendingPod>,
    pub(crate) pending_to_bound_seconds: Percentiles,
}

/// A pod without a home.
#[derive(Serialize, PartialEq, Debug)]
pub(crate) struct PendingPod {
    pub(crate) pod: String,
    pub(crate) reason: String,
}

/// How long pods waited, seconds; `None` when none waited.
#[derive(Serialize, PartialEq, Debug)]
pub(crate) struct Percentiles {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
}

/// The board: the state of the local cluster, and the lines that tell what changed.
#[derive(Default)]
pub(crate) struct Board {
    pods: BTreeMap<String, PodRow>,
    nodes: BTreeMap<String, NodeRow>,
    claims: BTreeSet<String>,
    waits: Vec<Duration>,
    counts: PodCounts,
    news: Vec<String>,
}

impl Board {
    pub(crate) fn pod(&mut self, pod: &Pod, now: Instant) {
        let row = self.pods.entry(key(pod)).or_insert_with(|| PodRow {
            seen: now,
            waited: pod.spec.node_name.is_none(),
            bound: None,
            node: None,
            running: false,
            finished: false,
            terminating: false,
        });
        row.node.clone_from(&pod.spec.node_name);
        if row.node.is_some() && row.bound.is_none() {
            row.bound = Some(now);
            if row.waited {
                self.waits.push(now - row.seen);
            }
        }
        let phase = pod.status.phase.as_deref().unwrap_or_default();
        row.running = phase == "Running";
        row.finished = phase == "Succeeded" || phase == "Failed";
        row.terminating = pod.metadata.deletion_timestamp.is_some();
    }

    pub(crate) fn pod_gone(&mut self, pod: &Pod) {
        self.pods.remove(&key(pod));
    }

    pub(crate) fn node(&mut self, node: &Node) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let label = |key: &str| {
            node.metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(key))
                .cloned()
        };
        let state = if node.metadata.deletion_timestamp.is_some() {
            "terminating"
        } else if node
            .spec
            .taints
            .iter()
            .any(|taint| taint.key == labels::taints::DISRUPTED)
        {
            "disrupted"
        } else if label(labels::INITIALIZED).is_some() {
            "ready"
        } else if label(labels::REGISTERED).is_some() {
            "registered"
        } else if node.is_ready() {
            "up"
        } else {
            "starting"
        };
        let row = NodeRow {
            instance_type: label("node.kubernetes.io/instance-type").unwrap_or_default(),
            zone: label("topology.kubernetes.io/zone").unwrap_or_default(),
            capacity_type: label("karpenter.sh/capacity-type").unwrap_or_default(),
            price: label(PRICE).and_then(|price| price.parse().ok()),
            state,
        };
        let before = self.nodes.insert(name.clone(), row.clone());
        let line = match before {
            None => Some(format!("node {name} appeared: {}", machine(&row))),
            Some(before) if before.state != row.state => {
                Some(format!("node {name} is {}", row.state))
            }
            Some(_) => None,
        };
        self.news.extend(line);
    }

    pub(crate) fn node_gone(&mut self, node: &Node) {
        let name = node.metadata.name.clone().unwrap_or_default();
        if let Some(row) = self.nodes.remove(&name) {
            self.news
                .push(format!("node {name} is gone: {}", machine(&row)));
        }
    }

    pub(crate) fn claim(&mut self, claim: &NodeClaim) {
        let name = claim.metadata.name.clone().unwrap_or_default();
        if self.claims.insert(name.clone()) {
            let pool = claim
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(labels::NODEPOOL))
                .cloned()
                .unwrap_or_default();
            self.news
                .push(format!("nodeclaim {name} created for pool {pool}"));
        }
    }

    pub(crate) fn claim_gone(&mut self, claim: &NodeClaim) {
        let name = claim.metadata.name.clone().unwrap_or_default();
        if self.claims.remove(&name) {
            self.news.push(format!("nodeclaim {name} is gone"));
        }
    }

    /// Pods by state, now.
    pub(crate) fn counts(&self) -> PodCounts {
        let mut counts = PodCounts::default();
        for row in self.pods.values() {
            let count = if row.terminating {
                &mut counts.terminating
            } else if row.finished {
                &mut counts.finished
            } else if row.running {
                &mut counts.running
            } else if row.node.is_some() {
                &mut counts.starting
            } else {
                &mut counts.pending
            };
            *count += 1;
        }
        counts
    }

    /// The lines that tell what changed since the last call, oldest first.
    pub(crate) fn news(&mut self) -> Vec<String> {
        let mut news = std::mem::take(&mut self.news);
        let counts = self.counts();
        if counts != self.counts {
            self.counts = counts;
            news.push(counts.line());
        }
        news
    }

    /// Nodes with the number of pods on each, in order of names.
    pub(crate) fn nodes(&self) -> Vec<(String, NodeRow, usize)> {
        let mut pods: BTreeMap<&str, usize> = BTreeMap::new();
        for row in self.pods.values().filter(|row| !row.finished) {
            if let Some(node) = &row.node {
                *pods.entry(node).or_default() += 1;
            }
        }
        self.nodes
            .iter()
            .map(|(name, row)| {
                (
                    name.clone(),
                    row.clone(),
                    pods.get(name.as_str()).copied().unwrap_or_default(),
                )
            })
            .collect()
    }

    /// Dollars per hour of all nodes that carry a price.
    pub(crate) fn price(&self) -> f64 {
        let price: f64 = self.nodes.values().filter_map(|row| row.price).sum();
        // An empty sum of floats is minus zero.
        price + 0.0
    }

    /// The summary; `reason` says why a pending pod was refused, if the controllers said so.
    pub(crate) fn summary(&self, reason: impl Fn(&str) -> Option<String>) -> Summary {
        let mut instance_types = BTreeMap::new();
        for row in self.nodes.values() {
            *instance_types.entry(row.instance_type.clone()).or_default() += 1;
        }
        let pods_pending = self
            .pods
            .iter()
            .filter(|(_, row)| row.node.is_none() && !row.finished && !row.terminating)
            .map(|(pod, _)| PendingPod {
                pod: pod.clone(),
                reason: reason(pod).unwrap_or_else(|| "not looked at".into()),
            })
            .collect();
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        Summary {
            nodes: self.nodes.len(),
            instance_types,
            price_per_hour: (self.price() * 1e6).round() / 1e6,
            pods_placed: self.pods.values().filter(|row| row.node.is_some()).count(),
            pods_pending,
            pending_to_bound_seconds: Percentiles {
                p50: percentile(&waits, 50),
                p99: percentile(&waits, 99),
            },
        }
    }
}

impl Summary {
    /// The summary for people.
    pub(crate) fn lines(&self) -> String {
        let mut text = format!(
            "{} nodes, ${:.4}/h; {} pods placed, {} without a home",
            self.nodes,
            self.price_per_hour,
            self.pods_placed,
            self.pods_pending.len()
        );
        let Percentiles { p50, p99 } = &self.pending_to_bound_seconds;
        if let (Some(p50), Some(p99)) = (p50, p99) {
            let _ = write!(
                text,
                "; pending to bound: {p50:.1} s median, {p99:.1} s at worst of 99 %"
            );
        }
        for (instance_type, count) in &self.instance_types {
            let _ = write!(text, "\n  {count} x {instance_type}");
        }
        for pending in &self.pods_pending {
            let _ = write!(text, "\n  {} has no home: {}", pending.pod, pending.reason);
        }
        text
    }
}

impl PodCounts {
    fn line(self) -> String {
        let parts: Vec<String> = [
            (self.pending, "pending"),
            (self.starting, "starting"),
            (self.running, "running"),
            (self.finished, "finished"),
            (self.terminating, "terminating"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
        if parts.is_empty() {
            "pods: none".into()
        } else {
            format!("pods: {}", parts.join(", "))
        }
    }
}

fn key(pod: &Pod) -> String {
    format!(
        "{}/{}",
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        pod.metadata.name.as_deref().unwrap_or_default()
    )
}

fn machine(row: &NodeRow) -> String {
    let price = row
        .price
        .map_or_else(|| "no price".into(), |price| format!("${price:.4}/h"));
    format!(
        "{} {} {} {price}",
        row.instance_type, row.capacity_type, row.zone
    )
}

/// The value below which `percent` of the sorted values lie (nearest rank), in seconds to the
/// millisecond.
fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted
        .get(rank - 1)
        .map(|wait| (wait.as_secs_f64() * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: Option<&str>, phase: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("default".into());
        pod.metadata.name = Some(name.into());
        pod.spec.node_name = node.map(ToOwned::to_owned);
        pod.status.phase = Some(phase.into());
        pod
    }

    #[test]
    fn a_pod_that_waits_is_told_once_per_change_and_timed() {
        let start = Instant::now();
        let mut board = Board::default();
        board.pod(&pod("a", None, "Pending"), start);
        assert_eq!(board.news(), ["pods: 1 pending"]);
        assert_eq!(board.news(), Vec::<String>::new());
        board.pod(
            &pod("a", Some("n"), "Pending"),
            start + Duration::from_millis(1500),
        );
        assert_eq!(board.news(), ["pods: 1 starting"]);
        board.pod(
            &pod("a", Some("n"), "Running"),
            start + Duration::from_secs(3),
        );
        let summary = board.summary(|_| None);
        assert_eq!(summary.pods_placed, 1);
        assert_eq!(
            summary.pending_to_bound_seconds,
            Percentiles {
                p50: Some(1.5),
                p99: Some(1.5)
            }
        );
        board.pod_gone(&pod("a", Some("n"), "Running"));
        assert_eq!(board.news(), ["pods: none"]);
    }

    #[test]
    fn a_pending_pod_carries_the_controllers_reason() {
        let mut board = Board::default();
        board.pod(&pod("a", None, "Pending"), Instant::now());
        board.pod(&pod("b", None, "Pending"), Instant::now());
        let summary = board.summary(|pod| (pod == "default/a").then(|| "too large".to_owned()));
        assert_eq!(
            summary.pods_pending,
            [
                PendingPod {
                    pod: "default/a".into(),
                    reason: "too large".into()
                },
                PendingPod {
                    pod: "default/b".into(),
                    reason: "not looked at".into()
                },
            ]
        );
    }
}
