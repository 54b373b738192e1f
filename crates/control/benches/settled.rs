//! What a round of disruption costs on a cluster where every node is a candidate and nothing can be gained:
//! `cargo bench --workspace --bench settled [-- NODES...] [FILE]`, 1,000 nodes without a number.
//!
//! Twenty pools held to on-demand types of 32 processors, fifteen pods on each node that ask for 98 % of its
//! processors, KWOK's own catalogue. With a `FILE` of instance types, such as `cargo xtask catalogue` writes,
//! nodes are 70 % full instead, of one pool, and pods are spread, apart, or held to zones; there each
//! candidate is asked for, whether or not another would pay before it. Prints the time of each method, how
//! many candidates reached a scheduling simulation and how many pods those placed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring tool: it prints, and it is the one place here that looks at a clock"
)]

use std::{collections::BTreeMap, env, path::Path, sync::Arc, time::Instant};

use jiff::Timestamp;
use karpenter_api::{
    NodeClaim, NodePool,
    objects::{Node, Pod},
};
use karpenter_control::mirror::Mirror;
use karpenter_plan::{
    CatalogFeed, DisruptOptions, Snapshot, WellKnown,
    disrupt::{
        Candidate, Class, Method, Pass, Verdict, candidate, consolidate::decide, whatif::WhatIfs,
    },
};
use rayon::prelude::*;
use serde_json::{Value, json};

const PODS_PER_NODE: usize = 15;
const LONG_AGO: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-01-02T00:00:00Z";
const ZONES: [&str; 3] = ["a", "b", "c"];

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": LONG_AGO})
}

/// A shape of cluster.
struct Shape {
    feed: CatalogFeed,
    pools: usize,
    requirements: Value,
    instance_type: &'static str,
    zone_prefix: &'static str,
    /// Processors and memory of the type.
    size: (u32, u32),
    /// Thousandths of a processor that each pod asks for.
    request: u32,
    mixed: bool,
}

impl Shape {
    /// Nothing to be gained: the cheapest type that fits, and nearly full.
    fn full() -> Self {
        Self {
            feed: CatalogFeed {
                generation: 1,
                types: karpenter_kwok::catalog::generated().into(),
            },
            pools: 20,
            requirements: json!([
                {"key": "karpenter.kwok.sh/instance-cpu", "operator": "In", "values": ["32"]},
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
                {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
                {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
            ]),
            instance_type: "c-32x-amd64-linux",
            zone_prefix: "test-zone-",
            size: (32, 64),
            request: 32_000 * 98 / 100 / 15,
            mixed: false,
        }
    }

    fn mixed(file: &str) -> Self {
        Self {
            feed: CatalogFeed {
                generation: 1,
                types: karpenter_kwok::file::read(Path::new(file))
                    .unwrap()
                    .types
                    .into(),
            },
            pools: 1,
            requirements: json!([
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "on-demand"]},
            ]),
            instance_type: "m5.2xlarge",
            zone_prefix: "us-east-1",
            size: (8, 32),
            request: 8_000 * 70 / 100 / 15,
            mixed: true,
        }
    }

    fn zone(&self, at: usize) -> String {
        format!("{}{}", self.zone_prefix, ZONES[at % ZONES.len()])
    }

    fn pool_name(&self, at: usize) -> String {
        format!("pool-{:02}", at % self.pools)
    }

    fn pool(&self, at: usize) -> NodePool {
        let name = self.pool_name(at);
        object(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
            "metadata": {"name": name, "uid": name, "resourceVersion": "1", "generation": 1},
            "spec": {
                "template": {"spec": {
                    "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
                    "requirements": self.requirements,
                }},
                "disruption": {"consolidateAfter": "0s", "consolidationPolicy": "WhenEmptyOrUnderutilized",
                    "budgets": [{"nodes": "100%"}]},
            },
            "status": {"conditions": [condition("Ready")]},
        }))
    }

    fn node(&self, at: usize) -> (Node, NodeClaim) {
        let name = format!("n-{at}");
        let amounts = json!({
            "cpu": self.size.0.to_string(), "memory": format!("{}Gi", self.size.1), "pods": "110",
        });
        let allocatable = json!({
            "cpu": format!("{}m", self.size.0 * 1000 - 100), "memory": format!("{}Mi", self.size.1 * 1000),
            "pods": "110",
        });
        let labels = json!({
            "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": self.zone(at / self.pools),
            "karpenter.sh/nodepool": self.pool_name(at), "karpenter.sh/capacity-type": "on-demand",
            "node.kubernetes.io/instance-type": self.instance_type,
            "karpenter.sh/registered": "true", "karpenter.sh/initialized": "true",
        });
        let conditions: Vec<Value> = ["Launched", "Registered", "Initialized", "Consolidatable"]
            .map(condition)
            .to_vec();
        let provider_id = format!("p://{name}");
        let node = object(json!({
            "metadata": {"name": name, "uid": name, "resourceVersion": "1", "labels": labels},
            "spec": {"providerID": provider_id},
            "status": {"capacity": amounts, "allocatable": allocatable, "conditions": [condition("Ready")]},
        }));
        let claim = object(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {"name": name, "uid": format!("c-{name}"), "resourceVersion": "1", "labels": labels},
            "spec": {"nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
                "requirements": []},
            "status": {"nodeName": name, "providerID": provider_id, "capacity": amounts,
                "allocatable": allocatable, "conditions": conditions},
        }));
        (node, claim)
    }

    fn pod(&self, at: usize) -> Pod {
        let name = format!("r-{at}");
        let node = at / PODS_PER_NODE;
        let app = format!("app-{}", at % 200);
        let requests = json!({"cpu": format!("{}m", self.request), "memory": "128Mi"});
        let mut spec = json!({
            "nodeName": format!("n-{node}"),
            "containers": [{"name": "main", "resources": {"requests": requests}}],
        });
        let selector = json!({"matchLabels": {"app": app}});
        match at % 200 % 5 {
            _ if !self.mixed => {}
            1 => {
                spec["topologySpreadConstraints"] = json!([{
                    "maxSkew": 3, "topologyKey": "topology.kubernetes.io/zone",
                    "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector,
                }]);
            }
            2 => {
                spec["affinity"] = json!({"podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector},
                    ],
                }});
            }
            3 => {
                spec["nodeSelector"] =
                    json!({"topology.kubernetes.io/zone": self.zone(node / self.pools)});
            }
            _ => {}
        }
        object(json!({
            "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": "1",
                "labels": {"app": app},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": app,
                    "controller": true}]},
            "spec": spec,
            "status": {"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "True"}]},
        }))
    }

    fn cluster(&self, nodes: usize) -> Mirror {
        let mirror = Mirror::new(&WellKnown {
            labels: self.feed.types[0]
                .requirements
                .iter()
                .map(|own| own.key.clone())
                .collect(),
            node_classes: vec![("karpenter.kwok.sh".to_owned(), "KWOKNodeClass".to_owned())],
            ..WellKnown::default()
        });
        for at in 0..self.pools {
            mirror.set_catalog(&self.pool_name(at), Ok(self.feed.clone()));
            mirror.apply(self.pool(at));
        }
        for at in 0..nodes {
            let (node, claim) = self.node(at);
            mirror.apply(node);
            mirror.apply(claim);
        }
        for at in 0..nodes * PODS_PER_NODE {
            mirror.apply(self.pod(at));
        }
        mirror
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn main() {
    let arguments: Vec<String> = env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let mut sizes: Vec<usize> = arguments
        .iter()
        .filter_map(|word| word.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes.push(1_000);
    }
    let file = arguments.iter().find(|word| word.parse::<usize>().is_err());
    let shape = file.map_or_else(Shape::full, |file| Shape::mixed(file));
    println!(
        "load {}",
        std::fs::read_to_string("/proc/loadavg")
            .unwrap_or_default()
            .trim()
    );
    for nodes in sizes {
        let mirror = shape.cluster(nodes);
        let now: Timestamp = NOW.parse().unwrap();
        let begun = Instant::now();
        let snapshot = mirror.snapshot(now);
        println!(
            "{nodes} nodes, {} pods; first freeze {:.1} ms",
            snapshot.pods.len(),
            milliseconds(begun)
        );
        if shape.mixed {
            every_candidate(&snapshot);
        } else {
            every_method(&snapshot);
        }
    }
}

/// Asks all methods, as a round does.
fn every_method(snapshot: &Arc<Snapshot>) {
    let begun = Instant::now();
    let mut pass = Pass::new(snapshot, DisruptOptions::default());
    println!("  candidates and budgets {:.1} ms", milliseconds(begun));
    for method in Method::ORDER {
        let begun = Instant::now();
        let found = pass.ask(method);
        println!(
            "  {} {:.1} ms, found {found}",
            method.as_str(),
            milliseconds(begun)
        );
    }
    let (_, report) = pass.finish();
    for method in report.methods {
        let mut words: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, verdict) in &method.verdicts {
            *words.entry(verdict.word()).or_default() += 1;
        }
        println!("  {}: {words:?}", method.method.as_str());
    }
}

/// Asks for each candidate alone, whatever comes of it.
fn every_candidate(snapshot: &Arc<Snapshot>) {
    let options = DisruptOptions::default();
    let candidates: Vec<Candidate> = snapshot
        .nodes
        .ids()
        .filter_map(|id| candidate(snapshot, id, Class::Graceful, &[]).ok())
        .collect();
    let what_ifs = WhatIfs::new(snapshot, &options, true);
    let begun = Instant::now();
    let answers: Vec<Result<_, Verdict>> = candidates
        .par_iter()
        .map(|candidate| decide(&what_ifs, &[candidate], false))
        .collect();
    let took = milliseconds(begun);
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in &answers {
        let word = match answer {
            Ok(gain) if gain.replacements.is_empty() => "delete",
            Ok(_) => "replace",
            Err(verdict) => verdict.word(),
        };
        *words.entry(word).or_default() += 1;
    }
    let pods: usize = candidates.iter().map(|own| own.reschedulable.len()).sum();
    println!(
        "  single-node {took:.1} ms: {} what-ifs, {pods} pods placed: {words:?}",
        candidates.len()
    );
    let prefix: Vec<&Candidate> = candidates.iter().take(101).collect();
    let begun = Instant::now();
    let mut high = prefix.len();
    while high > 1 {
        let _answer = decide(&what_ifs, &prefix[..high], false);
        high /= 2;
    }
    println!(
        "  multi-node, 101 candidates halved to 2: {:.1} ms",
        milliseconds(begun)
    );
}
