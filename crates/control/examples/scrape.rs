//! How long a scrape of a large cluster takes: nodes, pods per node.
//!
//! `cargo run --release -p karpenter-control --example scrape -- 350 4`

use std::{sync::Arc, time::Instant};

use karpenter_api::{
    NodeClaim, NodePool,
    objects::{Node, Pod},
};
use karpenter_apiserver::{Options as ServerOptions, Server};
use karpenter_control::{
    clock::Clock,
    ctx::{Ctx, Options},
};
use karpenter_kwok::{Kwok, KwokOptions, catalog};
use serde_json::{Value, json};

const SINCE: &str = "2026-01-01T00:00:00Z";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let number = |index: usize, default: usize| {
        let argument = std::env::args().nth(index);
        argument.map_or(default, |text| text.parse().expect("arguments are numbers"))
    };
    let (nodes, pods) = (number(1, 350), number(2, 4));
    let server = Server::new(ServerOptions::new(Arc::new(jiff::Timestamp::now)));
    let cloud = Kwok::new(KwokOptions {
        client: server.client(),
        instance_types: catalog::generated(),
        seed: 1,
    });
    let ctx = Ctx::new(
        server.client(),
        Arc::new(cloud),
        Clock::Real,
        Options::default(),
    );
    fill(&ctx, nodes, pods);
    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..21 {
        let since = Instant::now();
        bytes = ctx.metrics.render().len();
        times.push(since.elapsed());
    }
    times.sort();
    #[expect(clippy::print_stdout, reason = "an example tells what it found")]
    {
        println!(
            "{nodes} nodes with {pods} pods each: {:.1} ms (median of {}), {} KB",
            times[times.len() / 2].as_secs_f64() * 1000.0,
            times.len(),
            bytes / 1024
        );
    }
}

/// Puts a cluster into the mirror.
fn fill(ctx: &Ctx, nodes: usize, pods: usize) {
    let pool = json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
        "metadata": metadata("default", &json!({})),
        "spec": {
            "template": {"spec": {
                "nodeClassRef": {
                    "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
                },
                "requirements": [],
            }},
            "limits": {"cpu": "4"},
        },
        "status": {"resources": {"cpu": "4", "memory": "16Gi", "nodes": "1"}},
    });
    ctx.mirror.apply::<NodePool>(read(pool));
    for index in 0..nodes {
        let (node, claim) = (format!("node-{index}"), format!("default-{index}"));
        ctx.mirror
            .apply::<NodeClaim>(read(self::claim(&claim, &node)));
        ctx.mirror.apply::<Node>(read(self::node(&node)));
        for pod in 0..pods {
            let name = format!("web-{index}-{pod}");
            ctx.mirror.apply::<Pod>(read(self::pod(&name, &node)));
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(manifest: Value) -> T {
    serde_json::from_value(manifest).expect("the manifests of this example are complete")
}

fn metadata(name: &str, labels: &Value) -> Value {
    json!({
        "name": name, "uid": name, "resourceVersion": "1", "creationTimestamp": SINCE,
        "labels": labels,
    })
}

fn labels() -> Value {
    json!({
        "karpenter.kwok.sh/kwoknodeclass": "default",
        "karpenter.kwok.sh/instance-cpu": "4",
        "karpenter.kwok.sh/instance-family": "c",
        "karpenter.kwok.sh/instance-memory": "8192",
        "karpenter.kwok.sh/instance-size": "4x",
        "karpenter.sh/capacity-type": "on-demand",
        "karpenter.sh/initialized": "true",
        "karpenter.sh/nodepool": "default",
        "karpenter.sh/registered": "true",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "c-4x-amd64-linux",
        "topology.kubernetes.io/zone": "test-zone-a",
    })
}

fn conditions(types: &[&str]) -> Value {
    let of = |type_: &&str| {
        json!({
            "type": type_, "status": "True", "reason": type_, "message": "",
            "lastTransitionTime": SINCE,
        })
    };
    types.iter().map(of).collect()
}

fn claim(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
        "metadata": metadata(name, &labels()),
        "spec": {
            "nodeClassRef": {
                "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
            },
            "requirements": [],
        },
        "status": {
            "nodeName": node, "providerID": format!("kwok://{node}"),
            "conditions": conditions(&["Launched", "Registered", "Initialized", "Ready"]),
        },
    })
}

fn node(name: &str) -> Value {
    let amounts = json!({"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "20Gi"});
    json!({
        "metadata": metadata(name, &labels()),
        "spec": {"providerID": format!("kwok://{name}")},
        "status": {
            "capacity": amounts, "allocatable": amounts,
            "conditions": conditions(
                &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"],
            ),
        },
    })
}

fn pod(name: &str, node: &str) -> Value {
    let mut metadata = metadata(name, &json!({"app": "web"}));
    metadata["namespace"] = json!("default");
    metadata["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f", "uid": "1",
    }]);
    json!({
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": [{"name": "main", "resources": {
            "requests": {"cpu": "900m", "memory": "1500Mi"}, "limits": {"memory": "2Gi"},
        }}]},
        "status": {"phase": "Running", "conditions": conditions(&["PodScheduled", "Ready"])},
    })
}
