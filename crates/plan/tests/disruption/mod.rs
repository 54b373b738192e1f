//! Rows of the disruption chapter, through real objects and the lowering: a file for each of its groups.
#![allow(clippy::unwrap_used)]

mod balanced;
mod budgets;
mod candidates;
mod costs;
mod delete;
mod drift;
mod emptiness;
mod events;
mod faulty;
mod holds;
mod life;
mod multi;
mod replace;
mod static_drift;
mod validity;

use jiff::{SignedDuration, Timestamp};
use karpenter_plan::{
    disrupt::{Command, DisruptOptions, DisruptReport, Method, Replacement, Verdict, disrupt},
    snapshot::Snapshot,
};
use serde_json::Value;

use crate::world::{NOW, Objects, TestNode, node, pool};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// So many seconds after [`NOW`].
fn after(seconds: i64) -> String {
    at(NOW)
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap()
        .to_string()
}

fn options(commands: &[Command]) -> DisruptOptions<'_> {
    DisruptOptions {
        commands,
        ..DisruptOptions::default()
    }
}

/// Spot nodes may be replaced by spot nodes.
fn hopping() -> DisruptOptions<'static> {
    DisruptOptions {
        spot_to_spot: true,
        ..DisruptOptions::default()
    }
}

/// A round, and what came of it.
struct Round {
    snapshot: Snapshot,
    commands: Vec<Command>,
    report: DisruptReport,
}

impl Round {
    fn of(objects: &Objects, options: &DisruptOptions<'_>) -> Self {
        Self::at(objects.snapshot(NOW), options)
    }

    fn at(snapshot: Snapshot, options: &DisruptOptions<'_>) -> Self {
        let (commands, report) = disrupt(&snapshot, options);
        Self {
            snapshot,
            commands,
            report,
        }
    }

    /// The commands in words.
    fn told(&self) -> Vec<String> {
        self.commands.iter().map(told).collect()
    }

    /// What a method made of a node; nothing when it was not asked, or the node is no candidate.
    fn verdict(&self, method: Method, node: &str) -> Option<&Verdict> {
        let id = self.snapshot.node_named(node).unwrap();
        let mut reports = self.report.methods.iter();
        let report = reports.find(|report| report.method == method)?;
        let mut verdicts = report.verdicts.iter();
        let found = verdicts.find(|(found, _)| *found == id);
        found.map(|(_, verdict)| verdict)
    }

    /// What events say about the nodes: `SingleNode n: text`. Numbers of ours, behind a semicolon, are left
    /// out.
    fn events(&self) -> Vec<String> {
        let mut events = Vec::new();
        for report in &self.report.methods {
            for (id, verdict) in &report.verdicts {
                let name = &self.snapshot.nodes[*id].name;
                let event = verdict.event(&self.snapshot, *id).unwrap_or_default();
                let sentence = event.split("; ").next().filter(|text| !text.is_empty());
                let method = report.method.as_str();
                events.extend(sentence.map(|text| format!("{method} {name}: {text}")));
            }
        }
        events
    }

    /// Every verdict in words, for failures.
    fn verdicts(&self) -> String {
        let snapshot = &self.snapshot;
        let mut lines = vec![String::new()];
        for report in &self.report.methods {
            for (id, verdict) in &report.verdicts {
                let (method, name) = (report.method.as_str(), &snapshot.nodes[*id].name);
                lines.push(format!("{method} {name}: {}", verdict.message(snapshot)));
            }
        }
        for (id, reason) in &self.report.blocked {
            let name = &snapshot.nodes[*id].name;
            lines.push(format!("{name}: {}", reason.message(snapshot)));
        }
        lines.join("\n  ")
    }
}

/// A command in words: `SingleNode replace n -> small as spot`.
fn told(command: &Command) -> String {
    let nodes: Vec<&str> = command.nodes.iter().map(|target| &*target.node).collect();
    let (method, decision) = (command.method.as_str(), command.decision.as_str());
    let replacement = |replacement: &Replacement| {
        if replacement.instance_types.is_empty() {
            return " -> template".to_string();
        }
        let bought = required(replacement, "karpenter.sh/capacity-type").join(" ");
        format!(" -> {} as {bought}", replacement.instance_types.join(" "))
    };
    let replacements: String = command.replacements.iter().map(replacement).collect();
    format!("{method} {decision} {}{replacements}", nodes.join(" "))
}

/// The values that a replacement leaves open for a label, in order.
fn required(replacement: &Replacement, key: &str) -> Vec<String> {
    let requirements = &replacement.object.spec.requirements;
    let own = requirements.iter().find(|own| own.key == key);
    let mut values = own.and_then(|own| own.values.clone()).unwrap_or_default();
    values.sort();
    values
}

/// The round proposes these commands and nothing else.
#[track_caller]
fn check(row: &str, objects: &Objects, expected: &[&str]) {
    check_with(row, objects, &options(&[]), expected);
}

#[track_caller]
fn check_with(row: &str, objects: &Objects, options: &DisruptOptions<'_>, expected: &[&str]) {
    let round = Round::of(objects, options);
    assert_eq!(round.told(), expected, "{row}:{}", round.verdicts());
}

/// Nothing is proposed, and these events say why.
#[track_caller]
fn check_kept(row: &str, objects: &Objects, options: &DisruptOptions<'_>, events: &[&str]) {
    let round = Round::of(objects, options);
    assert_eq!(round.told(), [""; 0], "{row}");
    assert_eq!(round.events(), events, "{row}:{}", round.verdicts());
}

/// The first command, and why the rest stays.
fn ask(snapshot: &Snapshot, options: &DisruptOptions<'_>) -> (Option<Command>, DisruptReport) {
    let (commands, report) = disrupt(snapshot, options);
    (commands.into_iter().next(), report)
}

fn proposal(snapshot: &Snapshot) -> Option<Command> {
    ask(snapshot, &options(&[])).0
}

/// The names of the proposed nodes, in name order.
fn proposed(snapshot: &Snapshot) -> Vec<String> {
    names(proposal(snapshot).as_ref())
}

fn names(command: Option<&Command>) -> Vec<String> {
    let nodes = command.into_iter().flat_map(|command| &command.nodes);
    let mut names: Vec<String> = nodes.map(|target| target.node.to_string()).collect();
    names.sort();
    names
}

fn numbered(prefix: &str, count: usize, change: impl Fn(TestNode) -> TestNode) -> Vec<TestNode> {
    (0..count)
        .map(|index| change(node(&format!("{prefix}-{index:02}"))))
        .collect()
}

fn ten(change: impl Fn(TestNode) -> TestNode) -> Vec<TestNode> {
    numbered("node", 10, change)
}

fn same(node: TestNode) -> TestNode {
    node
}

fn with_budgets(budgets: Value, nodes: Vec<TestNode>) -> Objects {
    let mut objects = Objects::new(vec![pool("default").disruption("budgets", budgets)]);
    objects.nodes = nodes;
    objects
}

fn alone(node: TestNode) -> Objects {
    let mut objects = Objects::new(vec![pool("default")]);
    objects.nodes = vec![node];
    objects
}

fn two_empty() -> Objects {
    let mut objects = Objects::new(vec![pool("default")]);
    objects.nodes = vec![node("a"), node("b")];
    objects
}
