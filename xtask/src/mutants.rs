//! Changes the code on purpose, in many small ways, and asks whether some test fails.

use std::{env, fs, process::Command};

use crate::run::{cache, cargo, finish, root, target};

/// Like the compiler's, this version is fixed: another one makes other mutants.
const VERSION: &str = "27.1.0";

/// One shard, `-- SHARD/SHARDS` counted from zero; words after that go to `cargo mutants`. What is
/// changed and which tests are asked is said by `.cargo/mutants.toml`.
pub(crate) fn mutants() -> Result<(), String> {
    let mut words = env::args().skip_while(|word| word != "--").skip(1);
    let shard = words
        .next()
        .ok_or("say which shard: `cargo xtask mutants -- 0/8`")?;
    // The copies that are changed lie elsewhere, so a relative folder would not be shared.
    let built = root().join(target());
    let results = built.join("mutants-found").join(shard.replace('/', "-of-"));
    fs::create_dir_all(&results).map_err(|error| format!("{}: {error}", results.display()))?;
    let mut command = Command::new(installed()?);
    command
        .current_dir(root())
        .args(["mutants", "--package", "karpenter-plan"])
        .args(["--shard", &shard, "--output"])
        .arg(results)
        .args(words)
        .env("CARGO_TARGET_DIR", built)
        // One mutant after another differs by a word.
        .env("CARGO_INCREMENTAL", "1");
    finish(command)
}

/// `cargo mutants` is built once into the cache folder beside the build artifacts.
fn installed() -> Result<std::path::PathBuf, String> {
    let tools = cache()?.join("tools");
    let program = tools.join("bin/cargo-mutants");
    if !program.exists() {
        let mut install = cargo(&["install", "cargo-mutants", "--locked", "--version", VERSION]);
        install.arg("--root").arg(&tools);
        finish(install)?;
    }
    Ok(program)
}
