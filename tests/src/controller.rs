//! Our controller as an operator runs it: a process beside the control plane.

use std::{collections::BTreeMap, env, ffi::OsString, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};

use crate::control_plane::{
    ControlPlane, free_ports,
    process::{Process, Program},
};

/// Says which binary to run.
pub const BINARY: &str = "KARPENTER";

/// A controller process.
pub struct Controller {
    process: Process,
    /// Where it serves its metrics.
    pub metrics: u16,
    /// Where it says that it is well.
    pub health: u16,
}

impl Controller {
    /// Starts the binary against a control plane; it says in a log named after it what it does.
    /// Options are given as variables, as a chart does.
    pub fn start(plane: &ControlPlane, name: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let path = env::var_os(BINARY)
            .map(PathBuf::from)
            .with_context(|| format!("run this through `cargo xtask`, or set {BINARY}"))?;
        let [metrics, health] = free_ports()?;
        let mut all: BTreeMap<String, OsString> = BTreeMap::from([
            ("METRICS_PORT".into(), metrics.to_string().into()),
            ("HEALTH_PROBE_PORT".into(), health.to_string().into()),
        ]);
        all.extend(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.into())),
        );
        let kubeconfig = format!("--kubeconfig={}", plane.kubeconfig().display());
        let program = Program {
            name: name.to_owned(),
            path,
            arguments: ["controller", "--provider", "kwok", &kubeconfig]
                .map(Into::into)
                .into(),
            variables: all,
            log: plane.folder().join(format!("{name}.log")),
        };
        Ok(Self {
            process: Process::start(program, plane.watchdog())?,
            metrics,
            health,
        })
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after it was ended.
    pub fn restart(&mut self) -> Result<()> {
        self.process.restart()
    }

    /// Asks it to end, and fails unless it does so soon and with success.
    pub fn stop(&mut self) -> Result<()> {
        match self.process.stop(Duration::from_secs(10)) {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("asked to stop, it ended with {status}:\n{}", self.log()),
            None => bail!("asked to stop, it did not:\n{}", self.log()),
        }
    }

    /// Fails when it has ended by itself.
    pub fn healthy(&mut self) -> Result<()> {
        match self.process.ended() {
            Some(status) => bail!("the controller ended with {status}:\n{}", self.log()),
            None => Ok(()),
        }
    }

    /// Its number, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        format!("--- {}\n{}", self.process.name(), self.process.tail(60))
    }
}
