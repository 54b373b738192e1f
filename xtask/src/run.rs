//! The commands behind the tasks.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

/// Crates in the order of their dependencies.
pub(crate) const CRATES: &[&str] = &[
    "api",
    "plan",
    "cloud",
    "kwok",
    "control",
    "apiserver",
    "sim",
    "cli",
];

pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A closed pipe is the reader's choice, not a failure of the task.
    let _ = writeln!(out, "{line}");
}

/// The workspace's root, whatever the current folder is.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| "xtask".into());
    PathBuf::from(manifest)
        .parent()
        .map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Where build artifacts go: the caller's choice, else `target`.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// What is kept between runs and belongs to no checkout.
pub(crate) fn cache() -> Result<PathBuf, String> {
    let caches = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(caches.join("karpenter"))
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}

pub(crate) fn finish(mut command: Command) -> Result<(), String> {
    say(&format!("$ {}", shown(&command)));
    let status = command
        .status()
        .map_err(|error| format!("{}: {error}", shown(&command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} ended with {status}", shown(&command)))
    }
}

fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let mut words = vec![
        program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    ];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

pub(crate) fn fmt() -> Result<(), String> {
    finish(cargo(&["fmt", "--all", "--check"]))
}

pub(crate) fn clippy() -> Result<(), String> {
    finish(cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// Where `test` leaves the verdict of every test for `rows` and for the totals.
pub(crate) fn verdicts() -> PathBuf {
    target().join("xtask-tests.txt")
}

/// Runs the README's test command, prints what it prints, and keeps one line per test:
/// binary, test, verdict.
pub(crate) fn test() -> Result<(), String> {
    let mut command = cargo(&["test", "--workspace", "--locked"]);
    say(&format!("$ {}", shown(&command)));
    // Standard error names the binary that the following lines of standard output belong to, so
    // both go into one pipe.
    let (reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
    let twin = writer.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(writer).stderr(twin);
    let mut child = command
        .spawn()
        .map_err(|error| format!("cargo test: {error}"))?;
    drop(command);
    let mut verdicts = String::new();
    let mut binary = String::new();
    for line in BufReader::new(reader).lines() {
        let line = line.map_err(|error| error.to_string())?;
        let trimmed = line.trim();
        if let Some(rest) = trimmed.strip_prefix("Running ") {
            rest.split(" (")
                .next()
                .unwrap_or(rest)
                .clone_into(&mut binary);
        } else if let Some(rest) = trimmed.strip_prefix("Doc-tests ") {
            binary = format!("doc-tests {rest}");
        } else if let Some((name, verdict)) = trimmed
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        {
            let _ = writeln!(verdicts, "{binary}\t{name}\t{verdict}");
        }
        say(&line);
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    fs::write(self::verdicts(), verdicts).map_err(|error| error.to_string())?;
    say(&totals());
    if status.success() {
        Ok(())
    } else {
        Err(format!("cargo test ended with {status}"))
    }
}

/// `N passed, N failed`, from the last `test` run.
pub(crate) fn totals() -> String {
    let text = fs::read_to_string(verdicts()).unwrap_or_default();
    let passed = text.lines().filter(|line| line.ends_with("\tok")).count();
    let failed = text
        .lines()
        .filter(|line| line.ends_with("\tFAILED"))
        .count();
    format!("{passed} passed, {failed} failed")
}

pub(crate) fn each() -> Result<(), String> {
    for name in CRATES.iter().chain(&["tests"]) {
        finish(cargo(&[
            "check",
            "--locked",
            "--package",
            &format!("karpenter-{name}"),
        ]))?;
    }
    Ok(())
}

pub(crate) fn doc() -> Result<(), String> {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    command.env("RUSTDOCFLAGS", "--deny warnings");
    finish(command)
}

/// `cargo deny` is built once into the cache folder beside the build artifacts.
pub(crate) fn deny() -> Result<(), String> {
    const VERSION: &str = "0.20.2";
    let tools = cache()?.join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.exists() {
        let mut install = cargo(&[
            "install",
            "cargo-deny",
            "--locked",
            "--version",
            VERSION,
            "--root",
        ]);
        install.arg(&tools);
        finish(install)?;
    }
    let mut command = Command::new(program);
    command
        .current_dir(root())
        .args(["check", "bans", "licenses", "sources"]);
    finish(command)
}

pub(crate) fn release() -> Result<(), String> {
    finish(cargo(&[
        "build",
        "--release",
        "--locked",
        "--bin",
        "karpenter",
    ]))
}

/// The README's main job on the release build, as a script would run it.
pub(crate) fn smoke() -> Result<(), String> {
    let mut command = Command::new(target().join("release/karpenter"));
    command
        .current_dir(root())
        .args([
            "local",
            "-f",
            "examples/inflate.yaml",
            "--until-settled",
            "-o",
            "json",
        ])
        .stdin(Stdio::null());
    finish(command)
}

pub(crate) fn bench() -> Result<(), String> {
    let mut command = Command::new("bash");
    command.current_dir(root()).arg("bench/local.sh");
    finish(command)
}

pub(crate) fn counts() -> Result<(), String> {
    let mut command = Command::new("bash");
    command.current_dir(root()).arg("bench/counts.sh");
    finish(command)
}
