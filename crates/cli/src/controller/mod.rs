//! `karpenter controller`: the autoscaler as an operator runs it.
//!
//! The command owns the process: options, connection, signals and how it ends. What the controllers
//! do is `karpenter_control`'s business, and no code here knows about it.

mod connect;
mod signal;

use std::{path::PathBuf, sync::Arc};

use karpenter_control::{
    client::{self, Limits},
    clock::Clock,
    ctx::{Ctx, Options},
    metrics::Metrics,
};
use karpenter_kwok::{Kwok, KwokOptions};

use crate::{
    Verdict,
    options::{Catalogue, Scheduling},
};

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    #[command(flatten)]
    catalogue: Catalogue,
    #[command(flatten)]
    scheduling: Scheduling,
    /// The kubeconfig; by default KUBECONFIG, the cluster that this runs in, or ~/.kube/config.
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; by default its current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let types = arguments.catalogue.read()?;
    let options = Options {
        seed: u64::from(std::process::id()),
        ..arguments.scheduling.controller()?
    };
    tracing_subscriber::fmt().with_target(false).init();
    // One thread: rounds are computed on threads of their own, and the rest is small.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = signal::stop()?;
        let config = connect::config(
            arguments.kubeconfig.as_deref(),
            arguments.context.as_deref(),
        )
        .await?;
        let metrics = Arc::new(Metrics::new(Clock::Real));
        let client = client::connect(config, Limits::default(), &metrics)?;
        let cloud = Kwok::new(KwokOptions {
            client: client.clone(),
            instance_types: types,
            seed: options.seed,
        });
        let ctx = Ctx::measured(client, Arc::new(cloud), Clock::Real, options, metrics);
        karpenter_control::run(ctx, stop).await;
        Ok(Verdict::Yes)
    })
}
