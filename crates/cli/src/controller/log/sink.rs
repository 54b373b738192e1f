//! Where lines go: the standard streams and files.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
};

use anyhow::Context as _;

use super::Out;

/// One place.
enum Sink {
    Stdout,
    Stderr,
    File(File),
}

impl Sink {
    fn open(path: &str) -> anyhow::Result<Self> {
        Ok(match path {
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            path => Self::File(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .with_context(|| format!("cannot open the log file {path}"))?,
            ),
        })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Self::Stderr => io::stderr().lock().write_all(line.as_bytes()),
            Self::File(file) => file.write_all(line.as_bytes()),
        }
    }
}

/// Every place of the log, and those where its own faults are told.
pub(super) struct Sinks {
    lines: Vec<Sink>,
    faults: Vec<Sink>,
}

impl Sinks {
    pub(super) fn open(lines: &[String], faults: &[String]) -> anyhow::Result<Self> {
        let open = |paths: &[String]| -> anyhow::Result<Vec<Sink>> {
            paths.iter().map(|path| Sink::open(path)).collect()
        };
        Ok(Self {
            lines: open(lines).context("invalid --log-output-paths")?,
            faults: open(faults).context("invalid --log-error-output-paths")?,
        })
    }
}

impl Out for Sinks {
    fn line(&mut self, line: &str) {
        for sink in &mut self.lines {
            if let Err(error) = sink.write(line) {
                for fault in &mut self.faults {
                    // Nobody is left to tell.
                    let _ = fault.write(&format!("a log line was lost: {error}\n"));
                }
            }
        }
    }
}
