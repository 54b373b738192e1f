//! What runs on a real control plane: the programs of `karpenter-tests`, given what they need.

use std::{env, os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use crate::{
    control_plane,
    run::{cargo, finish, target},
};

/// Says which controller binary to run; ours is built where it does not.
const BINARY: &str = "KARPENTER";

/// The scenarios, all or those named after `--`.
pub(crate) fn system() -> Result<(), String> {
    start("system")
}

/// A cluster for people. This process becomes it, so that Ctrl-C reaches who tidies up, and nobody
/// else.
pub(crate) fn cluster() -> Result<(), String> {
    match prepared("cluster")? {
        Some(mut command) => Err(format!("karpenter-tests: {}", command.exec())),
        None => Ok(()),
    }
}

/// Records what a real API server says to our objects.
pub(crate) fn verdicts() -> Result<(), String> {
    start("verdicts")
}

/// Has a real kube-scheduler judge our placements in random worlds; `-- SEED COUNT` says which.
pub(crate) fn worlds() -> Result<(), String> {
    start("worlds")
}

/// One run of each figure, or of those named after `--`.
pub(crate) fn figures() -> Result<(), String> {
    start("figures")
}

fn start(program: &str) -> Result<(), String> {
    prepared(program)?.map_or(Ok(()), finish)
}

/// The command, with everything built; none where the control plane cannot be had.
fn prepared(program: &str) -> Result<Option<Command>, String> {
    let Some(folder) = control_plane::ensure()? else {
        return Ok(None);
    };
    let packages = ["karpenter-cli", "karpenter-tests"];
    let mut build = cargo(&["build", "--locked", "--bins"]);
    build.args(packages.iter().flat_map(|name| ["--package", name]));
    finish(build)?;
    let built = target().join("debug");
    let binary = env::var_os(BINARY).map_or_else(|| built.join("karpenter"), PathBuf::from);
    let mut command = Command::new(built.join("karpenter-tests"));
    command
        .arg(program)
        .args(env::args().skip_while(|word| word != "--").skip(1))
        .env(control_plane::FOLDER, folder)
        .env(BINARY, binary);
    Ok(Some(command))
}
