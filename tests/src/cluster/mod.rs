//! What a scenario may do to a cluster, and the two clusters that let it.
//!
//! Scenarios look synchronous: the cluster runs inside of what they call. In memory time is virtual
//! and passes at once; on a real control plane it is the wall's.

mod memory;
mod real;

use std::{future::Future, time::Duration};

use anyhow::{Result, bail};
use karpenter_sim::State;
use kube::Client;
use tokio::time::Instant;

pub use memory::InMemory;
pub use real::Real;

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(200);

/// A cluster with our controllers, and the hands of who operates it.
pub trait Cluster {
    /// A client with all rights.
    fn client(&self) -> Client;

    /// Does something while the cluster runs.
    fn run<F: Future>(&self, future: F) -> F::Output;

    /// Starts our controllers, if they do not run.
    fn start_controller(&mut self) -> Result<()>;

    /// Ends our controllers as `kill -9` does: nothing is finished, nothing is said.
    fn kill_controller(&mut self);

    /// `kubectl drain`: cordons a node and evicts its pods.
    fn drain(&self, node: &str) -> Result<()>;

    /// `kubectl delete --wait=false`.
    fn delete(&self, kind: &str, name: &str) -> Result<()>;

    /// Fails when something that should run has ended.
    fn healthy(&mut self) -> Result<()>;

    /// What the parts of the cluster said last, for a failure.
    fn logs(&self) -> String;

    /// Lets time pass.
    fn pass(&mut self, duration: Duration) -> Result<()> {
        self.run(async { tokio::time::sleep(duration).await });
        self.healthy()
    }

    /// Applies manifests.
    fn apply(&self, manifests: &str) -> Result<()> {
        Ok(self.run(karpenter_sim::apply(&self.client(), manifests))?)
    }

    /// How the cluster looks.
    fn state(&self) -> Result<State> {
        Ok(self.run(State::read(&self.client()))?)
    }

    /// Waits until something is so, and returns the state in which it is.
    fn until(
        &mut self,
        what: &str,
        timeout: Duration,
        holds: impl Fn(&State) -> bool,
    ) -> Result<State> {
        let client = self.client();
        let start = self.run(async { Instant::now() });
        loop {
            // An API server that is being restarted has no state to tell.
            let state = self.run(State::read(&client)).ok();
            if let Some(state) = state.filter(&holds) {
                return Ok(state);
            }
            self.healthy()?;
            if self.run(async { start.elapsed() }) > timeout {
                let report = self.run(State::report(&client));
                bail!(
                    "not so after {timeout:?}: {what}\n{}\n{}",
                    report.unwrap_or_else(|error| error.to_string()),
                    self.logs()
                );
            }
            self.run(async { tokio::time::sleep(STEP).await });
        }
    }
}
