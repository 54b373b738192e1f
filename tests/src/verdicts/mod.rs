//! What an API server says to Karpenter's objects: accepted, and what becomes of them, or refused,
//! and why. The verdicts of a real server are recorded; ours is held to them.

mod ask;
mod cases;

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use ask::{ask, install_definitions};
pub use cases::{Case, Verb, cases};

/// What a server said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The object was accepted; this merge patch makes what was stored from what was sent.
    Accepted(Value),
    /// It was refused.
    Refused(Refusal),
}

/// Why an object was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// Kubernetes' word for it.
    pub reason: String,
    /// Each fault as `field: reason: message`, sorted: servers differ in their order from run to run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The message, where it holds more than the causes do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Where the verdicts of a real server are kept.
pub fn recorded_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("verdicts/recorded.json")
}

/// The verdicts of a real server, by case.
pub fn recorded() -> Result<BTreeMap<String, Verdict>> {
    let path = recorded_file();
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Verdicts as the file holds them: a line per case, in order.
pub fn printed(verdicts: &BTreeMap<String, Verdict>) -> Result<String> {
    let lines: Vec<String> = verdicts
        .iter()
        .map(|(name, verdict)| {
            Ok(format!(
                "{}: {}",
                serde_json::to_string(name)?,
                serde_json::to_string(verdict)?
            ))
        })
        .collect::<Result<_>>()?;
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}
