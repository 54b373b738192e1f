//! The cluster that is real: a control plane, and our controller as a process beside it.

use std::{env, process::Command};

use anyhow::{Context, Result, bail};
use kube::Client;
use tokio::runtime::Runtime;

use super::Cluster;
use crate::{
    control_plane::{ControlPlane, Parts, program},
    controller::Controller,
    verdicts::install_definitions,
};

/// One of one replica need not wait for the lease of one that was killed.
const ALONE: &[(&str, &str)] = &[("DISABLE_LEADER_ELECTION", "true")];

/// A real control plane with our controller.
pub struct Real {
    // In the order in which they are to end.
    controller: Option<Controller>,
    /// The control plane.
    pub plane: ControlPlane,
    client: Client,
    runtime: Runtime,
}

impl Real {
    /// Everything from nothing, our CRDs included.
    pub fn start() -> Result<Self> {
        let mut cluster = Self::without_controller()?;
        cluster.start_controller()?;
        Ok(cluster)
    }

    /// The control plane and our CRDs.
    pub fn without_controller() -> Result<Self> {
        let runtime = Runtime::new()?;
        let (plane, client) = runtime.block_on(async {
            let plane = ControlPlane::start(&env::temp_dir(), Parts::All).await?;
            let client = plane.client().await?;
            install_definitions(&client).await?;
            anyhow::Ok((plane, client))
        })?;
        Ok(Self {
            controller: None,
            plane,
            client,
            runtime,
        })
    }

    /// Another controller beside the one that is the cluster's.
    pub fn replica(&self, name: &str, variables: &[(&str, &str)]) -> Result<Controller> {
        Controller::start(&self.plane, name, variables)
    }

    /// The controller that is the cluster's, while there is one.
    pub fn controller(&mut self) -> Option<&mut Controller> {
        self.controller.as_mut()
    }

    /// Starts the API server again.
    pub fn restart_api_server(&mut self) -> Result<()> {
        self.runtime.block_on(self.plane.restart_api_server())
    }

    /// Lets etcd forget the past.
    pub fn compact(&self) -> Result<i64> {
        self.runtime.block_on(self.plane.compact())
    }

    /// Runs the built kubectl and returns what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(program("kubectl")?)
            .arg("--kubeconfig")
            .arg(self.plane.kubeconfig())
            .args(arguments)
            .output()
            .context("kubectl")?;
        if !output.status.success() {
            bail!(
                "kubectl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Cluster for Real {
    fn client(&self) -> Client {
        self.client.clone()
    }

    fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    fn start_controller(&mut self) -> Result<()> {
        if let Some(controller) = &mut self.controller {
            return controller.restart();
        }
        self.controller = Some(Controller::start(&self.plane, "karpenter", ALONE)?);
        Ok(())
    }

    fn kill_controller(&mut self) {
        if let Some(controller) = &mut self.controller {
            controller.kill();
        }
    }

    fn drain(&self, node: &str) -> Result<()> {
        self.kubectl(&["drain", node, "--ignore-daemonsets", "--timeout=120s"])?;
        Ok(())
    }

    fn delete(&self, kind: &str, name: &str) -> Result<()> {
        self.kubectl(&["delete", kind, name, "--wait=false"])?;
        Ok(())
    }

    fn healthy(&mut self) -> Result<()> {
        if let Some(controller) = &mut self.controller {
            controller.healthy()?;
        }
        Ok(())
    }

    fn logs(&self) -> String {
        let ours = self.controller.as_ref().map(Controller::log);
        format!("{}{}", self.plane.logs(), ours.unwrap_or_default())
    }
}
