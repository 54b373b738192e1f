//! The whole cluster in one process: API server, CRDs, mini control plane, KWOK provider and our controllers, around
//! one clock. Under a paused runtime this is a [`World`](crate::World); in real time it is what `karpenter local`
//! runs, but for the socket and the printing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use karpenter_apiserver::Server;
use karpenter_control::client::Limits;
use karpenter_control::ctx::Ctx;
use karpenter_kwok::{Kwok, KwokOptions};
use karpenter_plan::InstanceType;
use kube::Client;
use kube::api::{Api, PostParams};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

use crate::binder::Binder;
use crate::budget::Budgets;
use crate::clock::Clock;
use crate::controller::Controller;
use crate::cordon::Cordons;
use crate::kubelet::{Kubelet, KubeletOptions};
use crate::plane::Plane;
use crate::workload::{DaemonSets, Deployments, Jobs, ReplicaSets};

/// What a cluster is made from.
pub struct Options {
    /// The calendar time at which it starts.
    pub epoch: Timestamp,
    /// Decides uids, generated names and ties.
    pub seed: u64,
    /// Whether the server remembers its writes.
    pub record_writes: bool,
    /// How fast nodes and pods move.
    pub kubelet: KubeletOptions,
    /// What the KWOK provider offers.
    pub instance_types: Vec<InstanceType>,
    /// Options of our controllers; without them none runs.
    pub controller: Option<karpenter_control::ctx::Options>,
    /// How fast our controllers may ask the server. It is in this process and nobody else asks it, so by default it
    /// is not spared as a shared one is.
    pub limits: Limits,
    /// How often a watch hears that nothing happened. Over a socket that keeps it alive; in process it only costs.
    pub bookmark_every: Duration,
}

impl Options {
    /// A cluster with the generated catalogue and our controllers.
    pub fn new(epoch: Timestamp, seed: u64) -> Self {
        Self {
            epoch,
            seed,
            record_writes: false,
            kubelet: KubeletOptions::default(),
            instance_types: karpenter_kwok::catalog::generated(),
            controller: Some(karpenter_control::ctx::Options {
                seed,
                ..Default::default()
            }),
            limits: Limits {
                queries_per_second: 5000,
                burst: 5000,
                ..Limits::default()
            },
            bookmark_every: Duration::from_mins(1),
        }
    }
}

/// Why a cluster did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The runtime of a world could not be made.
    #[error("the runtime did not start: {0}")]
    Runtime(#[from] std::io::Error),
    /// The server did not take one of the CRDs.
    #[error("the custom resource definition {name} was refused: {source}")]
    Definition {
        /// The definition's name.
        name: String,
        /// What the server said.
        source: kube::Error,
    },
}

/// A running cluster. Dropping it stops everything at once.
pub struct Assembly {
    /// The API server, to be served over a socket or asked in process.
    pub server: Server,
    /// A client of it, without the layers of our controllers.
    pub client: Client,
    /// The time that everything goes by.
    pub clock: Clock,
    /// What our controllers know, if they run.
    pub controller: Option<Arc<Ctx>>,
    shutdown: oneshot::Sender<()>,
    tasks: Mutex<JoinSet<()>>,
}

impl Assembly {
    /// Starts a cluster on the current runtime.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let clock = Clock::starting_at(options.epoch);
        let server = Server::new(karpenter_apiserver::Options {
            seed: options.seed,
            record_writes: options.record_writes,
            bookmark_every: options.bookmark_every,
            ..karpenter_apiserver::Options::new(Arc::new(move || clock.now()))
        });
        let client = server.client();
        install_definitions(&client).await?;

        let mut tasks = JoinSet::new();
        let plane = Plane::new(&client, clock, controllers(options.kubelet));
        tasks.spawn(plane.run());
        let (shutdown, stopped) = oneshot::channel();
        let controller = options.controller.map(|controller| {
            let layered = karpenter_control::client::client(server.clone(), options.limits);
            let cloud = Kwok::new(KwokOptions {
                client: layered.clone(),
                instance_types: options.instance_types,
                seed: options.seed,
            });
            let ctx = Ctx::new(layered, Arc::new(cloud), clock.shared(), controller);
            tasks.spawn(karpenter_control::run(Arc::clone(&ctx), async move {
                // A dropped sender is a shutdown too.
                let _ = stopped.await;
            }));
            ctx
        });
        Ok(Self {
            server,
            client,
            clock,
            controller,
            shutdown,
            tasks: Mutex::new(tasks),
        })
    }

    /// Whether something that should run for ever has ended, and how.
    pub fn failure(&self) -> Option<JoinError> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.try_join_next()?.err()
    }

    /// Lets our controllers end what they are doing, then stops everything.
    pub async fn stop(self) {
        let _ = self.shutdown.send(());
        let mut tasks = self
            .tasks
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        // The plane runs until it is aborted; the controllers end by themselves.
        if self.controller.is_some() {
            tasks.join_next().await;
        }
        tasks.shutdown().await;
    }
}

/// The controllers of the mini control plane in the order in which they are asked.
fn controllers(kubelet: KubeletOptions) -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(Deployments::default()),
        Box::new(ReplicaSets::default()),
        Box::new(DaemonSets::default()),
        Box::new(Jobs::default()),
        Box::new(Cordons::default()),
        Box::new(Binder::default()),
        Box::new(Kubelet::new(kubelet)),
        Box::new(Budgets::default()),
    ]
}

async fn install_definitions(client: &Client) -> Result<(), StartError> {
    let api = Api::all(client.clone());
    for definition in karpenter_api::crds::all() {
        let name = definition.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &definition)
            .await
            .map_err(|source| StartError::Definition { name, source })?;
    }
    Ok(())
}
