//! Changes the core on purpose, in many small ways, and asks of each change whether some test fails.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::run::{cache, cargo, finish, root, say, target};

/// Another version makes other changes, so its figures could not be compared.
const VERSION: &str = "27.1.0";

/// Tests that take longer than all others together.
const SLOW: &[&str] = &["properties::", "each_corruption", "buffer::size"];

/// One shard, `-- SHARD/SHARDS` counted from zero. What is changed and which tests are asked is in
/// `.cargo/mutants.toml`, the figures in `docs/mutants.md`.
///
/// The slow tests and those within the crate are asked only about changes that the others let pass.
pub(crate) fn mutants() -> Result<(), String> {
    let shard = env::args()
        .skip_while(|word| word != "--")
        .nth(1)
        .ok_or("say which shard: `cargo xtask mutants -- 0/4`")?;
    let program = installed()?;
    let results = built()
        .join("mutants-found")
        .join(shard.replace('/', "-of-"));
    let (first, second) = (results.join("first"), results.join("second"));
    for folder in [&first, &second] {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(|error| at(folder, &error))?;
        }
        fs::create_dir_all(found(folder)).map_err(|error| at(folder, &error))?;
    }

    let mut quick = mutating(&program, &first);
    quick.args(["--shard", &shard, "--", "--"]);
    quick.args(SLOW.iter().flat_map(|test| ["--skip", test]));
    let missed = ended(quick, &first)?;
    if missed.is_empty() {
        return Ok(());
    }

    // What is to be left out is said in the words of a run that caught it.
    let all = mutating(&program, &second)
        .arg("--list")
        .output()
        .map_err(|error| format!("cargo-mutants: {error}"))?;
    let all = String::from_utf8_lossy(&all.stdout);
    let others: String = all
        .lines()
        .filter(|mutant| !missed.iter().any(|own| own == mutant))
        .flat_map(|mutant| [mutant, "\n"])
        .collect();
    let path = found(&second).join("caught.txt");
    fs::write(&path, others).map_err(|error| at(&path, &error))?;
    let mut rest = mutating(&program, &second);
    rest.args(["--iterate", "--cargo-arg=--lib"]);
    let missed = ended(rest, &second)?;
    if missed.is_empty() {
        return Ok(());
    }
    Err(format!("no test notices\n{}", missed.join("\n")))
}

fn mutating(program: &Path, results: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(root())
        .args(["mutants", "--package", "karpenter-plan", "--output"])
        .arg(results)
        .env("CARGO_TARGET_DIR", built())
        // One mutant differs from the next by a word.
        .env("CARGO_INCREMENTAL", "1");
    command
}

/// Runs to the end, and says which changes no test noticed.
fn ended(command: Command, results: &Path) -> Result<Vec<String>, String> {
    let verdict = finish(command);
    let path = found(results).join("missed.txt");
    let missed = fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
    let timeouts = fs::read_to_string(found(results).join("timeout.txt")).unwrap_or_default();
    match verdict {
        // It also fails where something was missed or never ended, which is an answer.
        Err(problem) if missed.is_empty() && timeouts.is_empty() => return Err(problem),
        Err(problem) => say(&problem),
        Ok(()) => {}
    }
    Ok(missed.lines().map(String::from).collect())
}

fn found(results: &Path) -> PathBuf {
    results.join("mutants.out")
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The code that is changed is a copy elsewhere, to which a relative folder would be another one.
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
