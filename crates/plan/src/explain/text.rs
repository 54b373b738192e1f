//! An explanation in lines for people.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{ConstraintVerdict, PodExplanation, Verdict};

impl Verdict {
    /// The verdict as the JSON spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExistingNode => "existing-node",
            Self::NewNode => "new-node",
            Self::Unschedulable => "unschedulable",
            Self::Ignored => "ignored",
            Self::Skipped => "skipped",
        }
    }
}

impl PodExplanation {
    /// The explanation in lines, most important first.
    pub fn lines(&self) -> Vec<String> {
        let target = self
            .target
            .as_ref()
            .map(|target| format!(" ({target})"))
            .unwrap_or_default();
        let mut lines = Vec::new();
        lines.push(format!(
            "pod {}: {}{target}",
            self.name,
            self.verdict.as_str()
        ));
        lines.extend(self.cause.iter().map(|cause| format!("  because {cause}")));
        lines.extend(self.message.iter().map(|message| format!("  {message}")));
        for pool in &self.node_pools {
            lines.push(format!("  nodepool {}: {}", pool.node_pool, pool.message));
            lines.extend(pool.constraints.iter().map(constraint_line));
        }
        for node in &self.existing_nodes {
            lines.push(format!("  node {}: {}", node.node, node.message));
        }
        for change in &self.would_help {
            lines.push(format!(
                "  would help: {} ({})",
                change.change, change.result
            ));
        }
        for other in &self.alternatives {
            lines.push(format!("  possible: {other}"));
        }
        for dropped in &self.relaxed {
            lines.push(format!("  dropped: {dropped}"));
        }
        lines
    }
}

fn constraint_line(verdict: &ConstraintVerdict) -> String {
    let ConstraintVerdict {
        constraint,
        asked,
        passing,
        of,
        nearest,
    } = verdict;
    let nearest = nearest
        .as_ref()
        .map(|nearest| format!(", nearest {} has {}", nearest.instance_type, nearest.has))
        .unwrap_or_default();
    format!("    {constraint} {asked}: {passing} of {of} instance types{nearest}")
}
