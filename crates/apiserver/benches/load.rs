//! What a thousand pods cost: created, bound, run and deleted under four watches.
//!
//! `cargo bench -p karpenter-apiserver --bench load`
#![allow(clippy::print_stdout)]

use std::{sync::Arc, time::Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use karpenter_apiserver::{Options, Server};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, WatchParams},
};
use serde_json::{Value, json};

const PODS: usize = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::new(Options::new(Arc::new(jiff::Timestamp::now)));
    let client = server.client();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    for _ in 0..4 {
        let raw = kube::api::Request::new("/api/v1/pods").watch(&WatchParams::default(), "0")?;
        let stream = client.request_events::<Value>(raw).await?;
        tokio::spawn(async move { stream.for_each(|_| std::future::ready(())).await });
    }
    let start = Instant::now();
    let lap = |what: &str| {
        println!(
            "{what}: {:.0} ms, {} kB resident",
            start.elapsed().as_secs_f64() * 1000.0,
            resident()
        );
    };
    lap("start");
    for index in 0..PODS {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": format!("pod-{index}"), "labels": {"app": "inflate"}},
            "spec": {"containers": [{"name": "main", "image": "registry.k8s.io/pause:3.9",
                "resources": {"requests": {"cpu": "900m", "memory": "3100Mi"}}}]},
        }))?;
        pods.create(&PostParams::default(), &pod).await?;
    }
    lap("created");
    for index in 0..PODS {
        let name = format!("pod-{index}");
        let binding =
            json!({"metadata": {"name": name}, "target": {"name": format!("node-{}", index / 10)}});
        let _: Value = pods
            .create_subresource("binding", &name, &PostParams::default(), &binding)
            .await?;
    }
    lap("bound");
    for index in 0..PODS {
        let status = json!({"status": {"phase": "Running", "conditions": [
            {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]}});
        pods.patch_status(
            &format!("pod-{index}"),
            &PatchParams::default(),
            &Patch::Merge(&status),
        )
        .await?;
    }
    lap("running");
    for index in 0..PODS {
        let name = format!("pod-{index}");
        pods.delete(&name, &DeleteParams::default()).await?;
        pods.delete(&name, &DeleteParams::default().grace_period(0))
            .await?;
    }
    lap("deleted");
    Ok(())
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or_default();
    line.trim_start_matches("VmRSS:")
        .trim()
        .trim_end_matches(" kB")
        .to_owned()
}
