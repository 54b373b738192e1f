//! One program as a child of ours: started, looked at, ended, started again.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, OpenOptions},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::watchdog::Watchdog;

/// How to start a program.
pub(crate) struct Program {
    /// What it is called in messages and its log file.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: BTreeMap<String, OsString>,
    /// What it prints goes here, one run after the other.
    pub(crate) log: PathBuf,
}

/// A program that runs, or ran.
pub(crate) struct Process {
    program: Program,
    watchdog: Arc<Watchdog>,
    child: Option<Child>,
}

impl Process {
    /// Starts a program. It gets a process group of its own, so that Ctrl-C leaves the order in
    /// which things end to us.
    pub(crate) fn start(program: Program, watchdog: &Arc<Watchdog>) -> Result<Self> {
        let mut process = Self {
            program,
            watchdog: Arc::clone(watchdog),
            child: None,
        };
        process.restart()?;
        Ok(process)
    }

    /// Starts it again, if it does not run.
    pub(crate) fn restart(&mut self) -> Result<()> {
        if self.running() {
            return Ok(());
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.program.log)
            .with_context(|| self.program.log.display().to_string())?;
        let child = Command::new(&self.program.path)
            .args(&self.program.arguments)
            .envs(&self.program.variables)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| self.program.path.display().to_string())?;
        self.watchdog.born(child.id());
        self.child = Some(child);
        Ok(())
    }

    /// Its number, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs.
    pub(crate) fn running(&mut self) -> bool {
        self.ended().is_none() && self.child.is_some()
    }

    /// How it ended, if it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let status = child.try_wait().ok().flatten()?;
        self.watchdog.dead(child.id());
        self.child = None;
        Some(status)
    }

    /// Ends it at once, as `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            self.watchdog.dead(child.id());
        }
    }

    /// Asks it to end, and waits; kills it when it takes longer than `patience`. Says how it ended.
    pub(crate) fn stop(&mut self, patience: Duration) -> Option<ExitStatus> {
        let id = self.id()?.to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        None
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.program.name
    }

    /// The last lines of its log.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let text = fs::read(&self.program.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
