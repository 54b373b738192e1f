//! Pods that have no place, each for one true cause, and who says so: the command `explain`, and the
//! `FailedScheduling` event of the controllers.
//!
//! The worlds stand in the YAML files beside this one, one per family of rules.

#![allow(clippy::unwrap_used, missing_docs)]

mod cluster;
mod world;

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use self::world::{Blocker, TYPES, blockers};

/// What every event of a refused pod begins with.
const UPSTREAM: &str = "Failed to schedule pod, ";

/// What `karpenter explain` says of the blocker's pod, as JSON.
fn explained(blocker: &Blocker, types: &str) -> Value {
    let arguments = ["explain", "pod", "default/p", "-f", "-", "-o", "json"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_karpenter"))
        .args(arguments)
        .args(["--instance-types", types])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": blocker.objects});
    let mut input = child.stdin.take().unwrap();
    input.write_all(list.to_string().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let told = String::from_utf8_lossy(&output.stderr);
        panic!("{}: {error}: {told}", blocker.name)
    })
}

#[test]
fn there_is_one_for_each_rule() {
    let all = blockers();
    assert!(all.len() >= 60, "{}", all.len());
    let mut names: Vec<&str> = all.iter().map(|blocker| &*blocker.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len());
}

#[test]
fn the_command_names_the_true_cause() {
    let types = std::env::temp_dir().join(format!("karpenter-types-{}.json", std::process::id()));
    fs::write(&types, TYPES).unwrap();
    let mut wrong = Vec::new();
    for blocker in blockers() {
        let answer = explained(&blocker, types.to_str().unwrap());
        let cause = answer["cause"].as_str().unwrap_or_default();
        let is_refused =
            ["unschedulable", "ignored"].contains(&answer["verdict"].as_str().unwrap());
        if !is_refused || !cause.starts_with(&blocker.cause) {
            wrong.push(format!(
                "{}: {}\n  expected {}\n  found    {cause}\n  message  {}",
                blocker.name, answer["verdict"], blocker.cause, answer["message"]
            ));
        }
    }
    fs::remove_file(types).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_event_names_the_true_cause() {
    let mut wrong = Vec::new();
    for blocker in blockers().iter().filter(|blocker| blocker.has_event) {
        let event = cluster::event(blocker);
        let sentence = event.strip_prefix(UPSTREAM).unwrap_or_default();
        let told = match sentence.split_once(". Cause: ") {
            Some((upstream, cause)) if !upstream.is_empty() => cause,
            // Upstream's sentence says it already.
            Some(_) | None => sentence.trim_start_matches("ignoring pod, "),
        };
        if sentence.is_empty() || !told.starts_with(&blocker.cause) {
            wrong.push(format!(
                "{}:\n  expected {}\n  found    {event}",
                blocker.name, blocker.cause
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
