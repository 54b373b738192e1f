//! The figures of our controller on a real control plane: how long, how much processor, how much
//! memory, what it costs an hour. Processor and memory are those of the controller's process alone.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Node};
use kube::{Api, api::ListParams};

use crate::{
    cluster::{Cluster, Real},
    deployments,
};

mod shrink;

/// How often the process is looked at.
const SAMPLE: Duration = Duration::from_millis(100);

/// How often Kubernetes is asked whether all run; asking takes processor from who is measured.
const ASK: Duration = Duration::from_millis(200);

const PATIENCE: Duration = Duration::from_mins(10);

/// What a process has used so far.
#[derive(Clone, Copy)]
struct Usage {
    seconds: f64,
    megabytes: f64,
}

/// The kernel counts processor time in hundredths of a second on every architecture we run on.
const TICKS: f64 = 100.0;

fn usage(process: u32) -> Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may hold blanks; utime and stime are the 12th and 13th after it.
    let rest = stat.rsplit_once(')').context("stat")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kilobytes: f64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .context("VmRSS")?;
    Ok(Usage {
        seconds: (ticks(11).context("utime")? + ticks(12).context("stime")?) / TICKS,
        megabytes: kilobytes / 1024.0,
    })
}

/// What was measured, as a line for people.
fn line(name: &str, wall: f64, cpu: f64, memory: &mut [f64], rest: &str) -> String {
    memory.sort_by(f64::total_cmp);
    let at = |share: usize| memory.get((memory.len() * share / 100).min(memory.len() - 1));
    format!(
        "{name}: {wall:.1} s, {cpu:.2} s of CPU, {:.1} MB p95, {:.1} MB peak{rest}",
        at(95).copied().unwrap_or_default(),
        at(100).copied().unwrap_or_default(),
    )
}

/// The machine's load, which every figure is to be read with.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("load {}, {cores} cores", load.join(" "))
}

/// One figure by its name, of those in [`ALL`].
pub fn measure(name: &str) -> Result<String> {
    match name {
        "mixed" => mixed(),
        "small-nodes" => small_nodes(),
        "deployments" => thirty(),
        "idle" => idle(),
        "scaled" => shrink::scaled(),
        "halved-deployments" => shrink::halved_deployments(),
        "halved-small-nodes" => shrink::halved_small_nodes(),
        other => bail!("no figure {other:?}; there are {}", ALL.join(", ")),
    }
}

/// All figures.
pub const ALL: [&str; 7] = [
    "mixed",
    "small-nodes",
    "deployments",
    "idle",
    "scaled",
    "halved-deployments",
    "halved-small-nodes",
];

fn pool(requirement: &str, disruption: &str) -> String {
    format!(
        "
apiVersion: karpenter.kwok.sh/v1alpha1
kind: KWOKNodeClass
metadata: {{name: default}}
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {{name: default}}
spec:
  template:
    spec:
      nodeClassRef: {{group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}}
      requirements:
      - {{key: karpenter.sh/capacity-type, operator: In, values: [on-demand]}}
      - {{key: kubernetes.io/os, operator: In, values: [linux]}}
      {requirement}
  {disruption}
---
"
    )
}

fn deployment(name: &str, replicas: u32, cpu: &str, memory: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: main
        image: example.org/{name}
        resources: {{requests: {{cpu: {cpu}, memory: {memory}}}}}
---
"
    )
}

/// Applies deployments and watches the controller until all their pods are ready.
fn until_all_run(cluster: &mut Real, name: &str, manifests: &str, pods: i32) -> Result<String> {
    let process = cluster
        .controller()
        .and_then(|one| one.id())
        .context("no controller")?;
    // It has listed everything and waits.
    cluster.pass(Duration::from_secs(5))?;
    let before = usage(process)?;
    let mut memory = Vec::new();
    let start = Instant::now();
    cluster.apply(manifests)?;
    let mut asked = Instant::now();
    loop {
        memory.push(usage(process)?.megabytes);
        cluster.pass(SAMPLE)?;
        if asked.elapsed() < ASK {
            continue;
        }
        asked = Instant::now();
        let ready = ready(cluster)?;
        if ready == pods {
            break;
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "{ready} of {pods} pods run\n{}",
            cluster.logs()
        );
    }
    let wall = start.elapsed().as_secs_f64();
    let after = usage(process)?;
    let (nodes, price) = node_prices(cluster)?;
    let rest = format!(", {nodes} nodes, ${price:.2}/h");
    Ok(line(
        name,
        wall,
        after.seconds - before.seconds,
        &mut memory,
        &rest,
    ))
}

/// Pods of deployments that are ready.
fn ready(cluster: &mut Real) -> Result<i32> {
    let deployments: Api<Deployment> = Api::all(cluster.client());
    let listed = cluster.run(deployments.list(&ListParams::default()))?;
    let ready = |one: &Deployment| one.status.as_ref()?.ready_replicas;
    Ok(listed.iter().filter_map(ready).sum())
}

/// How many nodes there are, and what an hour of them costs.
fn node_prices(cluster: &mut Real) -> Result<(usize, f64)> {
    let nodes: Api<Node> = Api::all(cluster.client());
    let nodes = cluster.run(nodes.list(&ListParams::default()))?;
    let price = |node: &Node| {
        let labels = node.metadata.labels.as_ref()?;
        labels
            .get("eks-node-viewer/instance-price")?
            .parse::<f64>()
            .ok()
    };
    Ok((nodes.items.len(), nodes.iter().filter_map(price).sum()))
}

/// A thousand pods of two sizes at once.
fn mixed() -> Result<String> {
    let mut cluster = Real::start()?;
    cluster.apply(&pool("", ""))?;
    let apps =
        deployment("small", 500, "900m", "3100Mi") + &deployment("large", 500, "3500m", "28Gi");
    until_all_run(&mut cluster, "1,000 pods", &apps, 1000)
}

/// A thousand pods of thirty deployments with rules of every sort.
fn thirty() -> Result<String> {
    let mut cluster = Real::start()?;
    cluster.apply(&pool("", ""))?;
    let apps = deployments::manifests(1);
    until_all_run(&mut cluster, "30 deployments", &apps, deployments::pods(1))
}

/// Fourteen hundred pods on nodes of four processors; then what a start on that cluster takes.
fn small_nodes() -> Result<String> {
    let mut cluster = Real::start()?;
    cluster.apply(&pool(
        "- {key: karpenter.kwok.sh/instance-cpu, operator: In, values: ['4']}",
        "",
    ))?;
    let apps = deployment("web", 1400, "900m", "1500Mi");
    let mut text = until_all_run(&mut cluster, "1,400 pods on 4-cpu nodes", &apps, 1400)?;

    cluster.kill_controller();
    cluster.apply(&deployment("late", 1, "900m", "1500Mi"))?;
    cluster.pass(Duration::from_secs(2))?;
    let before = cluster.state()?.claims.len();
    let start = Instant::now();
    let first = cluster.replica("elected", &[("LEADER_ELECTION_NAMESPACE", "kube-system")])?;
    cluster.until("the first decision", Duration::from_mins(1), |state| {
        state.claims.len() > before || state.unbound() == 0
    })?;
    let _ = write!(
        text,
        "\nstart to the first decision there: {:.1} s (1 s of it the batch window)",
        start.elapsed().as_secs_f64()
    );
    let _ = match scrapes(first.metrics) {
        Ok(found) => write!(text, "\n/metrics there: {found}"),
        Err(problem) => write!(text, "\n/metrics there: none, {problem:#}"),
    };
    Ok(text)
}

/// The middle one of five.
fn scrapes(port: u16) -> Result<String> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    for _ in 0..5 {
        let start = Instant::now();
        bytes = fetch(port)?;
        taken.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    taken.sort_by(f64::total_cmp);
    Ok(format!("{:.1} ms, {bytes} bytes", taken[2]))
}

fn fetch(port: u16) -> Result<usize> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("/metrics")?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(
        answer.starts_with(b"HTTP/1.1 200"),
        "/metrics does not answer"
    );
    Ok(answer.len())
}

/// Nothing to do for half a minute.
fn idle() -> Result<String> {
    const WATCHED: u32 = 300;
    let mut cluster = Real::start()?;
    cluster.apply(&pool("", ""))?;
    let process = cluster
        .controller()
        .and_then(|one| one.id())
        .context("no controller")?;
    cluster.pass(Duration::from_secs(10))?;
    let before = usage(process)?;
    let mut memory = Vec::new();
    let start = Instant::now();
    for _ in 0..WATCHED {
        cluster.pass(SAMPLE)?;
        memory.push(usage(process)?.megabytes);
    }
    let wall = start.elapsed().as_secs_f64();
    let cpu = usage(process)?.seconds - before.seconds;
    let share = format!(", {:.2} % of a core", 100.0 * cpu / wall);
    Ok(line("idle after start", wall, cpu, &mut memory, &share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_something() {
        let used = usage(std::process::id()).unwrap();
        assert!(used.megabytes > 1.0 && used.seconds >= 0.0);
    }

    #[test]
    fn the_largest_twentieth_does_not_count() {
        let mut memory: Vec<f64> = (1..=100).map(f64::from).collect();
        let text = line("x", 1.0, 0.5, &mut memory, "");
        assert_eq!(text, "x: 1.0 s, 0.50 s of CPU, 96.0 MB p95, 100.0 MB peak");
    }
}
