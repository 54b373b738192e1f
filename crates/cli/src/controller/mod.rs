//! `karpenter controller`: the autoscaler as an operator runs it.
//!
//! The command owns the process: options, log, connection, signals and how it ends. What the controllers
//! do is `karpenter_control`'s business, and no code here knows about it.

mod connect;
mod log;
mod signal;

use std::{path::PathBuf, sync::Arc};

use karpenter_control::{
    client,
    clock::Clock,
    ctx::{Ctx, Options},
    metrics::Metrics,
    workers,
};
use karpenter_kwok::{Kwok, KwokOptions};
use karpenter_plan::InstanceType;
use tracing::{debug, info, warn};

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
    /// With kwok: instance types in its JSON, instead of the built-in ones
    /// [INSTANCE_TYPES_FILE_PATH].
    #[arg(long, alias = "instance-types", value_name = "FILE")]
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
        if on && gate != "ReservedCapacity" {
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
    let config = connect::config(
        arguments.kubeconfig.as_deref(),
        arguments.context.as_deref(),
    )
    .await?;
    let metrics = Arc::new(Metrics::new(Clock::Real));
    if !settings.cluster_state_observability {
        metrics.disable_cluster_state();
    }
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
    // Beside the controllers: who has listed the claims a moment later is still in time.
    let owed = Arc::clone(&cloud);
    tokio::spawn(async move { owed.resume().await });
    let ctx = Ctx::measured(client, cloud, Clock::Real, options, metrics);
    karpenter_control::run(ctx, stop).await;
    info!("stopped");
    Ok(Verdict::Yes)
}
