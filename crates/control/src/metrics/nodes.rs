//! What nodes have, what their pods take of it, and how old they are: read at a scrape.
//!
//! The labels of a node are put into text once and copied for each of its series, since every
//! well-known label is one of theirs and a large cluster has tens of thousands of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use karpenter_api::{
    Quantity, ResourceList,
    labels::{CORE, NODEPOOL},
    objects::Node,
};
use karpenter_plan::{Resources, Vocabulary};

use super::{
    lifecycle::label,
    page::{Labels, Page, line},
    seconds_since,
};
use crate::mirror::{Mirror, PodEntry};

/// Name and help of the families with one series per node and resource, in the order of
/// [`Usage::amounts`].
const FAMILIES: [(&str, &str); 6] = [
    (
        "karpenter_nodes_allocatable",
        "What pods may use of a node.",
    ),
    (
        "karpenter_nodes_total_pod_requests",
        "What the pods of a node request, those of DaemonSets aside.",
    ),
    (
        "karpenter_nodes_total_pod_limits",
        "What the pods of a node may use at the most, those of DaemonSets aside.",
    ),
    (
        "karpenter_nodes_total_daemon_requests",
        "What the DaemonSet pods of a node request.",
    ),
    (
        "karpenter_nodes_total_daemon_limits",
        "What the DaemonSet pods of a node may use at the most.",
    ),
    (
        "karpenter_nodes_system_overhead",
        "What pods may not use of a node.",
    ),
];

/// Amounts by resource, as metrics show them.
type Amounts = BTreeMap<String, f64>;

/// The labels of node series: names in order, and where each value comes from.
pub(super) struct NodeLabels(Vec<(String, Source)>);

/// Where the value of a label comes from.
enum Source {
    /// The first of these labels of the node that is there.
    Node(Vec<String>),
    /// The node's name.
    Name,
    /// The node's phase, which has been empty for years.
    Phase,
    /// Whether it is ours.
    Managed,
    /// The resource that the series is about.
    Resource,
}

impl NodeLabels {
    /// The labels of a provider's nodes.
    pub(super) fn new(well_known: &[String]) -> Self {
        let mut all: BTreeMap<String, Source> = BTreeMap::new();
        let core = CORE.iter().copied();
        for key in core.chain(well_known.iter().map(String::as_str)) {
            let Some(name) = label_name(key) else {
                continue;
            };
            match all.entry(name).or_insert_with(|| Source::Node(Vec::new())) {
                Source::Node(keys) => keys.push(key.to_owned()),
                Source::Name | Source::Phase | Source::Managed | Source::Resource => {}
            }
        }
        all.insert("node_name".to_owned(), Source::Name);
        all.insert("phase".to_owned(), Source::Phase);
        all.insert("managed".to_owned(), Source::Managed);
        all.insert("resource_type".to_owned(), Source::Resource);
        Self(all.into_iter().collect())
    }

    /// The labels of a node that come before and after the one for the resource.
    fn of(&self, node: &Node) -> [Labels; 2] {
        let metadata = &node.metadata;
        let mut halves = [Labels::default(), Labels::default()];
        let mut half = 0;
        for (name, source) in &self.0 {
            let value = match source {
                Source::Node(keys) => keys
                    .iter()
                    .map(|key| label(metadata, key))
                    .find(|value| !value.is_empty())
                    .unwrap_or_default(),
                Source::Name => metadata.name.as_deref().unwrap_or_default(),
                Source::Phase => "",
                Source::Managed if label(metadata, NODEPOOL).is_empty() => "false",
                Source::Managed => "true",
                Source::Resource => {
                    half = 1;
                    continue;
                }
            };
            halves[half].push(name, value);
        }
        halves
    }
}

/// The text after the single slash, in lower case and with underscores.
fn label_name(key: &str) -> Option<String> {
    let (_, name) = key.split_once('/')?;
    (!name.contains('/')).then(|| name.to_lowercase().replace('-', "_"))
}

/// The label value for a resource.
pub(super) fn resource_type(resource: &str) -> String {
    resource.to_lowercase().replace('-', "_")
}

/// The figure for an amount: cores, or whole base units.
pub(super) fn figure(resource: &str, amount: Quantity) -> f64 {
    if resource == "cpu" {
        amount.as_milli_ceil() as f64 / 1000.0
    } else {
        amount.as_integer_ceil() as f64
    }
}

/// What is used of a node.
struct Usage {
    amounts: [Amounts; 6],
}

impl Usage {
    fn of(node: &Node, pods: &[Arc<PodEntry>], vocabulary: &Vocabulary) -> Self {
        let status = &node.status;
        let capacity = figures(status.capacity.as_ref());
        let allocatable = figures(status.allocatable.as_ref());
        let mut requests = [Resources::new(), Resources::new()];
        let mut limits = [Amounts::new(), Amounts::new()];
        let mut counts = [0_u32, 0];
        for pod in pods.iter().filter(|pod| !pod.terminal) {
            let kind = usize::from(pod.daemon);
            requests[kind].add(&pod.lowered.requests);
            counts[kind] += 1;
            for (resource, amount) in &pod.limits {
                *limits[kind].entry(resource_type(resource)).or_default() += amount;
            }
        }
        for (limits, count) in limits.iter_mut().zip(counts) {
            if count > 0 {
                limits.insert("pods".to_owned(), count.into());
            }
        }
        let [pod_requests, daemon_requests] = requests.map(|all| lowered(&all, vocabulary));
        let [pod_limits, daemon_limits] = limits;
        let overhead = capacity
            .iter()
            .map(|(resource, amount)| {
                let usable = allocatable.get(resource).copied().unwrap_or_default();
                // Thousandths are as fine as amounts are; beyond is noise of the subtraction.
                let rest = ((amount - usable) * 1000.0).round() / 1000.0;
                (resource.clone(), rest)
            })
            .collect();
        Self {
            amounts: [
                allocatable,
                pod_requests,
                pod_limits,
                daemon_requests,
                daemon_limits,
                overhead,
            ],
        }
    }
}

fn figures(list: Option<&ResourceList>) -> Amounts {
    list.into_iter()
        .flatten()
        .map(|(resource, amount)| (resource_type(resource), figure(resource, *amount)))
        .collect()
}

/// What was lowered into thousandths, as it was.
fn lowered(resources: &Resources, vocabulary: &Vocabulary) -> Amounts {
    resources
        .iter()
        .map(|(id, milli)| {
            let resource = vocabulary.resource_name(id);
            (resource_type(resource), milli as f64 / 1000.0)
        })
        .collect()
}

/// Writes the series of every node, and of the cluster as a whole.
pub(super) fn write(page: &mut Page, mirror: &Mirror, labels: &NodeLabels, now: Timestamp) {
    let nodes: Vec<(Arc<Node>, Vec<Arc<PodEntry>>)> = mirror
        .all::<Node>()
        .into_iter()
        .map(|node| {
            let pods = mirror.pods_on(node.metadata.name.as_deref().unwrap_or_default());
            (node, pods)
        })
        .collect();
    if nodes.is_empty() {
        return;
    }
    // Read after the pods: names are only ever added to the ids that they were lowered to.
    let vocabulary = mirror.vocabulary();
    let series: Vec<([Labels; 2], Usage)> = nodes
        .iter()
        .map(|(node, pods)| (labels.of(node), Usage::of(node, pods, &vocabulary)))
        .collect();
    for (index, (name, help)) in FAMILIES.into_iter().enumerate() {
        if series
            .iter()
            .all(|(_, usage)| usage.amounts[index].is_empty())
        {
            continue;
        }
        let text = page.begin(name, help, "gauge");
        for ([before, after], usage) in &series {
            for (resource, amount) in &usage.amounts[index] {
                let resource = Labels::new([("resource_type", resource.as_str())]);
                let labels = [before.inner(), resource.inner(), after.inner()];
                line(text, name, &labels, *amount);
            }
        }
    }
    let name = "karpenter_nodes_current_lifetime_seconds";
    let text = page.begin(name, "Age of a node.", "gauge");
    for ((node, _), ([before, after], _)) in nodes.iter().zip(&series) {
        let age = node
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(0.0, |created| seconds_since(created.0, now));
        line(text, name, &[before.inner(), after.inner()], age);
    }
    write_utilization(page, series.iter().map(|(_, usage)| usage));
}

fn add(total: &mut Amounts, part: &Amounts) {
    for (resource, amount) in part {
        *total.entry(resource.clone()).or_default() += amount;
    }
}

/// How much of what all nodes offer is requested.
fn write_utilization<'a>(page: &mut Page, usage: impl Iterator<Item = &'a Usage>) {
    let mut offered = Amounts::new();
    let mut requested = Amounts::new();
    for Usage { amounts } in usage {
        let [allocatable, pods, _, daemons, _, _] = amounts;
        add(&mut offered, allocatable);
        add(&mut requested, pods);
        add(&mut requested, daemons);
    }
    let shown: BTreeSet<&String> = offered
        .iter()
        .filter(|(_, amount)| **amount > 0.0)
        .map(|(resource, _)| resource)
        .collect();
    for resource in shown {
        let share = requested.get(resource).copied().unwrap_or_default() / offered[resource];
        page.gauge(
            "karpenter_cluster_utilization_percent",
            "How much of what pods may use is requested.",
            &Labels::new([("resource_type", resource.as_str())]),
            share * 100.0,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, expected: Option<&str>) {
        assert_eq!(label_name(key).as_deref(), expected, "{key}");
    }

    #[test]
    fn names_of_labels() {
        check("topology.k8s.aws/zone-id", Some("zone_id"));
        check("karpenter.k8s.aws/instance-cpu", Some("instance_cpu"));
        check("karpenter.sh/nodepool", Some("nodepool"));
        check("plain", None);
    }

    #[test]
    fn names_and_figures_of_resources() {
        let figure = |resource: &str, amount: &str| figure(resource, amount.parse().unwrap());
        assert_eq!(resource_type("ephemeral-storage"), "ephemeral_storage");
        assert_eq!(resource_type("nvidia.com/gpu"), "nvidia.com/gpu");
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9);
        close(figure("cpu", "250m"), 0.25);
        close(figure("memory", "1Ki"), 1024.0);
        close(figure("pods", "110"), 110.0);
    }
}
