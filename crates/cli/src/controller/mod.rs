//! `karpenter controller`: the autoscaler as an operator runs it.
//!
//! The command owns the process: options, log, connection, signals and how it ends. What the controllers
//! do is `karpenter_control`'s business, and no code here knows about it.

mod connect;
mod log;
mod signal;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use karpenter_cloud::Cloud;
use karpenter_control::{
    client,
    clock::Clock,
    ctx::{Ctx, Options},
    health::Check,
    lease::{Candidate, Standing, Terms},
    metrics::Metrics,
    serve::{self, MetricsPages, ProbePages},
    workers,
};
use karpenter_kwok::{Kwok, KwokOptions};
use karpenter_plan::InstanceType;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::{
    Verdict,
    options::{self, Operating, Provider, Settings},
};

/// What the default provider answers.
pub(crate) const NO_AWS: &str = "this build has no AWS provider, which is the default of \
     `karpenter controller`; build it with the cargo feature `aws` as soon as there is one, or use \
     `--provider kwok`";

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    /// What makes machines. This build has kwok: nodes without machines.
    #[arg(long, value_enum, default_value = "aws")]
    provider: Provider,
    // An attribute, because rustdoc would take the brackets for a link.
    #[arg(
        long,
        alias = "instance-types",
        value_name = "FILE",
        help = "With kwok: instance types in its JSON, instead of the built-in ones \
                [INSTANCE_TYPES_FILE_PATH]"
    )]
    instance_types_file_path: Option<String>,
    /// The kubeconfig; by default KUBECONFIG, the cluster that this runs in, or ~/.kube/config.
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; by default its current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    #[command(flatten)]
    operating: Operating,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    if arguments.provider == Provider::Aws {
        anyhow::bail!(NO_AWS);
    }
    let settings = arguments.operating.read()?;
    let types = options::instance_types(arguments.instance_types_file_path.clone())?;
    log::start(&settings)?;
    tell(&settings);
    // One thread: rounds are computed on threads of their own, and the rest is small.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(operate(arguments, settings, types))
}

/// What was made of the options, once.
fn tell(settings: &Settings) {
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    if log::commit().is_none() {
        debug!("built without a revision; lines carry no commit");
    }
    let numbers: Vec<String> = workers::numbers(settings.options.cpu_requests)
        .map(|(name, number)| format!("{name}={number}"))
        .collect();
    debug!(
        cpu_requests = settings.options.cpu_requests,
        workers = numbers.join(","),
        "worker numbers; advisory, since a reconcile is no thread"
    );
    if let Some(bytes) = workers::soft_memory_limit(settings.memory_limit) {
        info!(
            bytes,
            "soft memory limit; advisory, since nothing is collected"
        );
    }
    for (gate, on) in settings.options.gates.by_name() {
        let is_built = matches!(
            gate,
            "ReservedCapacity" | "NodeOverlay" | "StaticCapacity" | "CapacityBuffer"
        );
        if on && !is_built {
            warn!(
                gate,
                "this build does not have what the feature gate switches on"
            );
        }
    }
}

async fn operate(
    arguments: &Arguments,
    settings: Settings,
    types: Vec<InstanceType>,
) -> anyhow::Result<Verdict> {
    let stop = signal::stop()?;
    let (on_metrics, on_probes) = (
        serve::listen(settings.metrics_port, "metrics-port").await?,
        serve::listen(settings.health_probe_port, "health-probe-port").await?,
    );
    let config = connect::config(
        arguments.kubeconfig.as_deref(),
        arguments.context.as_deref(),
    )
    .await?;
    let metrics = Arc::new(Metrics::new(Clock::Real));
    if !settings.cluster_state_observability {
        metrics.disable_cluster_state();
    }
    let terms = Terms::new(
        connect::lease_namespace(&settings.leader_election_namespace, &config),
        settings.leader_election_name,
        identity()?,
    );
    // The lease and the probes have a client of their own: load on the other one must not starve them.
    let apart = client::plain(config.clone(), &metrics)?;
    let client = client::connect(config, settings.limits, &metrics)?;
    let options = Options {
        seed: u64::from(std::process::id()),
        ..settings.options
    };
    let cloud = Arc::new(Kwok::new(KwokOptions {
        client: client.clone(),
        instance_types: types,
        seed: options.seed,
    }));
    let ctx = Ctx::measured(
        client,
        Arc::clone(&cloud) as Arc<dyn Cloud>,
        Clock::Real,
        options,
        Arc::clone(&metrics),
    );
    let candidate = settings
        .leader_election
        .then(|| Candidate::new(apart.clone(), Clock::Real, terms));
    let standing = match &candidate {
        Some(candidate) => candidate.standing(),
        None => watch::channel(Standing::Leading).1,
    };
    // Beside the controllers: who has listed the claims a moment later is still in time.
    let mut leading = standing.clone();
    tokio::spawn(async move {
        let won = leading.wait_for(|standing| *standing == Standing::Leading);
        if won.await.is_ok() {
            cloud.resume().await;
        }
    });
    info!(address = %on_metrics.local_addr()?, "serving metrics");
    info!(address = %on_probes.local_addr()?, "serving probes");
    let metrics_pages = MetricsPages {
        metrics,
        profiling: settings.profiling,
    };
    let probe_pages = ProbePages {
        live: vec![Check::ping("healthz")],
        ready: vec![
            Check::manager(Arc::clone(&ctx), standing),
            Check::crd(apart),
            Check::ping("readyz"),
        ],
    };
    tokio::spawn(serve::serve(on_metrics, Arc::new(metrics_pages)));
    tokio::spawn(serve::serve(on_probes, Arc::new(probe_pages)));
    let ended = if let Some(candidate) = candidate {
        karpenter_control::run_elected(ctx, candidate, settings.warm_up, stop).await
    } else {
        karpenter_control::run(ctx, stop).await;
        Ok(())
    };
    if let Err(lost) = ended {
        // Somebody else may lead by now; whoever started this process starts it again.
        error!(error = %lost, "stopped");
        return Ok(Verdict::No);
    }
    info!("stopped");
    Ok(Verdict::Yes)
}

/// Who this process is among the candidates: the host, for people, and something that no other
/// process has.
fn identity() -> anyhow::Result<String> {
    let read = |path: &str| {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        anyhow::Ok(text.trim().to_owned())
    };
    let host = read("/proc/sys/kernel/hostname")?;
    let unique = read("/proc/sys/kernel/random/uuid")?;
    Ok(format!("{host}_{unique}"))
}
