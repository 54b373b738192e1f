//! Where the programs are: `cargo xtask control-plane` built them, or `KUBEBUILDER_ASSETS` has them.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

/// Says where `cargo xtask control-plane` puts programs.
pub const FOLDER: &str = "KARPENTER_CONTROL_PLANE";

/// The path of a program.
pub fn program(name: &str) -> Result<PathBuf> {
    // kubectl is always the built one, so that every run drains and deletes in the same way.
    let assets = (name != "kubectl")
        .then(|| env::var_os("KUBEBUILDER_ASSETS"))
        .flatten();
    let folders = [assets, env::var_os(FOLDER)];
    let found = folders
        .iter()
        .flatten()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!(
            "no {name}; run this through `cargo xtask`, or set {FOLDER} to what `cargo xtask control-plane` prints"
        ),
    }
}
