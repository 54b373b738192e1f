//! The binary `karpenter`: one file per command, and `input` that reads manifests for all of them.
//!
//! Exit codes: 0 done; 1 the answer is "no"; 2 wrong use or unreadable input.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod controller;
mod crds;
mod entry;
mod explain;
mod input;
mod local;
mod offline;
mod options;
mod output;
mod plan;
mod types;

use std::{io::IsTerminal as _, process::ExitCode};

use clap::{Parser, Subcommand};

/// The node autoscaler for Kubernetes: watches pending pods, works out which machines would hold
/// them at the lowest price, launches those, and takes them away when they are not needed.
///
/// Without a command, flags and environment variables are those of `karpenter controller`.
#[derive(Parser)]
#[command(name = "karpenter", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the autoscaler against a cluster.
    Controller(controller::Arguments),
    /// Print the CustomResourceDefinitions.
    Crds(crds::Arguments),
    /// Say why: each constraint's own verdict, the nearest miss, the smallest change that helps.
    Explain(explain::Arguments),
    /// Run a whole cluster in this process: Kubernetes API, scheduler, kubelets and our controllers.
    Local(local::Arguments),
    /// Answer offline: which nodes would be launched for these pods, and which pods have no home.
    Plan(plan::Arguments),
    /// Show the instance types as the scheduler sees them.
    Types(types::Arguments),
}

/// How a command ended, when it ended well enough to say so itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Done, and the answer is yes.
    Yes,
    /// Done, and the answer is no: a pod has no home, a server would refuse a manifest.
    No,
}

fn main() -> ExitCode {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let place = entry::Place {
        has_variables: options::has_variables(),
        on_terminal: std::io::stdout().is_terminal(),
    };
    let words = entry::rewritten(words, place);
    if words.get(1).is_some_and(|word| word == "controller") && !entry::settles_provider(&words) {
        // Before the flags are read: those of the AWS provider are unknown here.
        output::complain(&format!("karpenter: {}", controller::NO_AWS));
        return ExitCode::from(2);
    }
    let arguments = Arguments::parse_from(words);
    let ended = match arguments.command {
        Command::Controller(arguments) => controller::run(&arguments),
        Command::Crds(arguments) => crds::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Local(arguments) => local::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Types(arguments) => types::run(&arguments),
    };
    match ended {
        Ok(Verdict::Yes) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::from(1),
        Err(error) => {
            output::complain(&format!("karpenter: {error:#}"));
            ExitCode::from(2)
        }
    }
}
