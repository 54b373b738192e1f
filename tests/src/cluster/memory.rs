//! The cluster in memory, in virtual time, with controllers that can be killed.

use std::{future::pending, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Node, Pod};
use karpenter_control::{
    client::Limits,
    ctx::{Computing, Ctx, Options as ControllerOptions},
};
use karpenter_kwok::{Kwok, KwokOptions, catalog};
use karpenter_sim::{GENESIS, Options, World};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, EvictParams, ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::task::JoinHandle;

use super::Cluster;
use crate::scenarios::resource;

const SEED: u64 = 4;

/// An eviction that a budget refuses is tried again, as kubectl does.
const DRAIN_PAUSE: Duration = Duration::from_secs(5);
const DRAIN_PATIENCE: u32 = 60;

/// A cluster of one process and no time.
pub struct InMemory {
    // Before the world, on whose runtime it runs.
    controller: Option<JoinHandle<()>>,
    world: World,
}

impl InMemory {
    /// A cluster with our controllers running.
    pub fn start() -> Result<Self> {
        let world = World::with(Options {
            controller: None,
            ..Options::new(GENESIS, SEED)
        })?;
        let mut cluster = Self {
            controller: None,
            world,
        };
        cluster.start_controller()?;
        Ok(cluster)
    }
}

impl Cluster for InMemory {
    fn client(&self) -> Client {
        self.world.client()
    }

    fn run<F: Future>(&self, future: F) -> F::Output {
        self.world.run(future)
    }

    fn start_controller(&mut self) -> Result<()> {
        if self.controller.is_some() {
            return Ok(());
        }
        let server = self.world.assembly().server.clone();
        let clock = self.world.clock().shared();
        let ctx = self.world.run(async {
            let client = karpenter_control::client::client(server, Limits::default());
            let cloud = Kwok::new(KwokOptions {
                client: client.clone(),
                instance_types: catalog::generated(),
                seed: SEED,
            });
            let options = ControllerOptions {
                seed: SEED,
                computing: Computing::Inline,
                ..ControllerOptions::default()
            };
            cloud.resume().await;
            Ctx::new(client, Arc::new(cloud), clock, options)
        });
        let controllers = karpenter_control::run(ctx, pending());
        self.controller = self.world.run(async { Some(tokio::spawn(controllers)) });
        Ok(())
    }

    fn kill_controller(&mut self) {
        if let Some(controller) = self.controller.take() {
            controller.abort();
            // It ends where it waits: at its next request, whose answer nobody hears.
            let _ = self.world.run(controller);
        }
    }

    fn drain(&self, node: &str) -> Result<()> {
        let client = self.client();
        self.run(async {
            let nodes: Api<Node> = Api::all(client.clone());
            let cordon = Patch::Merge(json!({"spec": {"unschedulable": true}}));
            nodes.patch(node, &PatchParams::default(), &cordon).await?;
            let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
            for _ in 0..DRAIN_PATIENCE {
                let pods = Api::<Pod>::all(client.clone()).list(&on_node).await?;
                if pods.items.is_empty() {
                    return Ok(());
                }
                for pod in pods {
                    let namespace = pod.namespace().unwrap_or_default();
                    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
                    match api.evict(&pod.name_any(), &EvictParams::default()).await {
                        Ok(_) => {}
                        Err(kube::Error::Api(status)) if [404, 429].contains(&status.code) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                tokio::time::sleep(DRAIN_PAUSE).await;
            }
            bail!("pods stay on {node}")
        })
    }

    fn delete(&self, kind: &str, name: &str) -> Result<()> {
        let api: Api<DynamicObject> = resource(&self.client(), kind)?;
        self.run(api.delete(name, &kube::api::DeleteParams::default()))
            .with_context(|| format!("deleting {kind} {name}"))?;
        Ok(())
    }

    fn healthy(&mut self) -> Result<()> {
        if self
            .controller
            .as_ref()
            .is_some_and(JoinHandle::is_finished)
        {
            bail!("the controllers have ended");
        }
        Ok(())
    }

    fn logs(&self) -> String {
        String::new()
    }
}
