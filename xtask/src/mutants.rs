//! Changes the core on purpose, in many small ways, and asks of each change whether some test fails.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::run::{cache, cargo, finish, root, say, target};

/// Another version makes other changes, so its figures could not be compared.
const VERSION: &str = "27.1.0";

/// Tests that take as long as all others together.
const SLOW: &[&str] = &["properties::", "each_corruption", "buffer::size"];

/// One shard, `-- SHARD/SHARDS` counted from zero; words after that go to `cargo mutants`. What is
/// changed and which tests are asked is in `.cargo/mutants.toml`, the figures in `docs/mutants.md`.
///
/// The slow tests and those within the crate are asked only about changes that the others let pass.
pub(crate) fn mutants() -> Result<(), String> {
    let words: Vec<String> = env::args()
        .skip_while(|word| word != "--")
        .skip(1)
        .collect();
    let [shard, more @ ..] = &words[..] else {
        return Err("say which shard: `cargo xtask mutants -- 0/4`".into());
    };
    let program = installed()?;
    let results = built()
        .join("mutants-found")
        .join(shard.replace('/', "-of-"));
    if results.exists() {
        fs::remove_dir_all(&results).map_err(|error| format!("{}: {error}", results.display()))?;
    }
    fs::create_dir_all(&results).map_err(|error| format!("{}: {error}", results.display()))?;
    let mut quick = one_pass(&program, shard, &results, more);
    quick.args(["--", "--"]);
    quick.args(SLOW.iter().flat_map(|test| ["--skip", test]));
    if let Err(missed) = finish(quick) {
        say(&missed);
    }
    let mut rest = one_pass(&program, shard, &results, more);
    rest.args(["--iterate", "--cargo-arg=--lib"]);
    finish(rest)
}

fn one_pass(program: &Path, shard: &str, results: &Path, more: &[String]) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(root())
        .args(["mutants", "--package", "karpenter-plan"])
        .args(["--shard", shard, "--output"])
        .arg(results)
        .args(more)
        .env("CARGO_TARGET_DIR", built())
        // One mutant differs from the next by a word.
        .env("CARGO_INCREMENTAL", "1");
    command
}

/// The code that is changed is a copy elsewhere, which a relative folder would not mean the same to.
fn built() -> PathBuf {
    root().join(target())
}

/// `cargo mutants` is built once into the cache folder beside the build artifacts.
fn installed() -> Result<PathBuf, String> {
    let tools = cache()?.join("tools");
    let program = tools.join("bin/cargo-mutants");
    if !program.exists() {
        let mut install = cargo(&["install", "cargo-mutants", "--locked", "--version", VERSION]);
        install.arg("--root").arg(&tools);
        finish(install)?;
    }
    Ok(program)
}
