//! Section 19.10: a command's life.

use jiff::SignedDuration;
use karpenter_plan::{
    disrupt::{
        Command, Failure, Leftover, Replacement, Step, Target, Validity, Verdict, leftovers,
        still_valid,
    },
    snapshot::Snapshot,
};

use super::{after, ask, at, names, options, proposal, two_empty};
use crate::world::{NOW, Objects, TestNode, node, pool};

#[test]
fn a_command_is_held_for_fifteen_seconds() {
    let objects = two_empty();
    let command = proposal(&objects.snapshot(NOW)).unwrap();
    let check = |row: &str, seconds: i64, step: Step| {
        let found = command.next_step(&objects.snapshot(&after(seconds)), 0);
        assert_eq!(found, step, "{row}: after {seconds} s");
    };
    let hold = || Step::Hold {
        until: at(&after(15)),
    };
    // Until the wait is over the nodes stay; a clock that jumps past its end carries on.
    check("disruption/E10", 0, hold());
    check("disruption/E10", 14, hold());
    check("disruption/E10", 15, Step::Revalidate);
    check("disruption/E10", 31, Step::Revalidate);
    // Nothing else is proposed meanwhile.
    let mut objects = two_empty();
    objects.nodes.push(node("c"));
    let held = [command];
    let (another, report) = ask(&objects.snapshot(&after(5)), &options(&held));
    assert_eq!(another, None);
    let verdicts: Vec<Verdict> = report.methods[0]
        .verdicts
        .iter()
        .map(|(_, verdict)| verdict.clone())
        .collect();
    assert_eq!(verdicts, [Verdict::CommandHeld]);
}

/// Plays a command to its end; each step is performed on the objects as it is named.
fn play(row: &str, objects: &mut Objects, mut command: Command, expected: &[&str]) {
    let mut seen = Vec::new();
    for second in 0..100 {
        let snapshot = objects.snapshot(&after(15 + second));
        command.observe(&snapshot);
        let step = command.next_step(&snapshot, command.nodes.len());
        let targets = |targets: &[Target]| {
            targets
                .iter()
                .map(|target| target.node.to_string())
                .collect::<Vec<_>>()
        };
        let mut change = |names: Vec<String>, change: &dyn Fn(TestNode) -> TestNode| {
            for node in &mut objects.nodes {
                if names.contains(&node.name) {
                    *node = change(node.clone());
                }
            }
            names.join(",")
        };
        let text = match &step {
            Step::Hold { .. } => "hold".into(),
            Step::Revalidate => {
                let Validity {
                    command: confirmed, ..
                } = still_valid(&command, &snapshot, &options(&[]));
                command = confirmed.unwrap();
                "revalidate".into()
            }
            Step::Taint(nodes) => format!("taint {}", change(targets(nodes), &TestNode::tainted)),
            Step::Mark(nodes) => format!("mark {}", change(targets(nodes), &TestNode::marked)),
            Step::Delete(nodes) => {
                format!("delete {}", change(targets(nodes), &TestNode::deleting))
            }
            Step::Create(indices) => {
                for &index in indices {
                    let name = format!("new-{index}");
                    objects.nodes.push(node(&name).uninitialized());
                    command.replacements[index].created = Some(format!("{name}-claim").into());
                }
                format!("create {indices:?}")
            }
            Step::Wait(indices) => {
                let names = indices.iter().map(|index| format!("new-{index}")).collect();
                change(names, &TestNode::initialized);
                format!("wait {indices:?}")
            }
            Step::Undo { nodes, failure } => {
                format!("undo {}: {failure}", targets(nodes).join(","))
            }
            Step::Done => "done".into(),
        };
        seen.push(text);
        if matches!(step, Step::Done | Step::Undo { .. }) {
            break;
        }
    }
    assert_eq!(seen, expected, "{row}");
}

#[test]
fn a_deletion_is_carried_out_step_by_step() {
    let mut objects = two_empty();
    let command = proposal(&objects.snapshot(NOW)).unwrap();
    let steps = ["revalidate", "taint a,b", "mark a,b", "delete a,b", "done"];
    play("disruption/Q6", &mut objects, command, &steps);
}

#[test]
fn only_what_is_missing_is_done() {
    let mut objects = two_empty();
    let command = proposal(&objects.snapshot(NOW)).unwrap();
    objects.nodes[0] = node("a").deleting();
    let started = Command {
        started: Some(at(NOW)),
        ..command.clone()
    };
    play(
        "",
        &mut objects,
        started.clone(),
        &["taint b", "mark b", "delete b", "done"],
    );
    let mut objects = two_empty();
    objects.nodes[1] = node("b").tainted();
    objects.nodes[0] = node("a").tainted().marked();
    play(
        "",
        &mut objects,
        started.clone(),
        &["mark b", "delete a,b", "done"],
    );
    let mut gone = Objects::new(vec![pool("default")]);
    play("", &mut gone, started, &["done"]);
}

fn replacement(snapshot: &Snapshot) -> Replacement {
    Replacement::of_template(snapshot, snapshot.pool_named("default").unwrap(), 0)
}

#[test]
fn replacements_come_before_deletion() {
    let mut objects = two_empty();
    let snapshot = objects.snapshot(NOW);
    let command = Command {
        replacements: vec![replacement(&snapshot), replacement(&snapshot)],
        started: Some(at(NOW)),
        ..proposal(&snapshot).unwrap()
    };
    let steps = [
        "taint a,b",
        "create [0, 1]",
        "mark a,b",
        "wait [0, 1]",
        "delete a,b",
        "done",
    ];
    play("disruption/Q8", &mut objects, command.clone(), &steps);

    // A replacement that is gone before it was ready ends the command; one that was ready does not.
    let mut objects = two_empty();
    let mut lost = command.clone();
    lost.replacements[0].created = Some("lost".into());
    play(
        "disruption/Q3",
        &mut objects,
        lost.clone(),
        &["undo a,b: replacement was deleted (NodeClaim=lost)"],
    );
    lost.replacements[0].is_initialized = true;
    lost.replacements.truncate(1);
    play(
        "",
        &mut objects,
        lost,
        &["taint a,b", "mark a,b", "delete a,b", "done"],
    );

    // Ten minutes are granted, and more only for very many nodes.
    let mut objects = two_empty();
    let mut late = command.clone();
    late.started = Some(at(NOW) - SignedDuration::from_secs(10 * 60 - 15));
    assert!(matches!(
        late.next_step(&objects.snapshot(&after(15)), 2),
        Step::Taint(_)
    ));
    assert!(matches!(
        late.next_step(&objects.snapshot(&after(16)), 2),
        Step::Undo {
            failure: Failure::TimedOut,
            ..
        }
    ));
    assert!(matches!(
        late.next_step(&objects.snapshot(&after(16)), 10_000),
        Step::Taint(_)
    ));

    let failed = Command {
        failure: Some(Failure::Start("forbidden".into())),
        ..command
    };
    play(
        "",
        &mut objects,
        failed,
        &["undo a,b: starting command, forbidden"],
    );
}

#[test]
fn forgotten_commands_leave_nothing_behind() {
    let mut objects = two_empty();
    let command = proposal(&objects.snapshot(NOW)).unwrap();
    objects.nodes[0] = node("a").tainted();
    let found = |objects: &Objects, commands: &[Command]| -> Vec<(String, bool, bool)> {
        leftovers(&objects.snapshot(NOW), commands)
            .into_iter()
            .map(
                |Leftover {
                     target,
                     taint,
                     condition,
                 }| (target.node.to_string(), taint, condition),
            )
            .collect()
    };
    let in_flight = Command {
        started: Some(at(NOW)),
        ..command.clone()
    };
    let both = [("a".to_string(), true, true)];
    assert_eq!(found(&objects, &[]), both, "disruption/Q9");
    assert_eq!(found(&objects, &[in_flight]), []);
    // A held command has tainted nothing yet, so what is there is older.
    assert_eq!(found(&objects, &[command]), [("a".to_string(), true, true)]);
    objects.nodes[0] = node("a").tainted().deleting();
    assert_eq!(found(&objects, &[]), []);
    objects.nodes[0] = node("a").tainted().uninitialized();
    assert_eq!(found(&objects, &[]), [("a".to_string(), true, false)]);
    objects.nodes[0] = node("a").with("DisruptionReason");
    assert_eq!(found(&objects, &[]), [("a".to_string(), false, true)]);
}

/// A command in flight for nodes `a` and `b`, tainted and marked, whose replacements `new-0` and `new-1` were
/// created.
fn in_flight() -> (Objects, Command) {
    let mut objects = two_empty();
    let snapshot = objects.snapshot(NOW);
    let mut command = Command {
        replacements: vec![replacement(&snapshot), replacement(&snapshot)],
        started: Some(at(NOW)),
        ..proposal(&snapshot).unwrap()
    };
    objects.nodes = vec![
        node("a").tainted().marked(),
        node("b").tainted().marked(),
        node("new-0").uninitialized(),
        node("new-1").uninitialized(),
    ];
    for (index, replacement) in command.replacements.iter_mut().enumerate() {
        replacement.created = Some(format!("new-{index}-claim").into());
    }
    (objects, command)
}

/// The step after so many seconds.
fn step(command: &mut Command, objects: &Objects, seconds: i64) -> Step {
    let snapshot = objects.snapshot(&after(seconds));
    command.observe(&snapshot);
    command.next_step(&snapshot, command.nodes.len())
}

#[test]
fn replacements_are_waited_for() {
    let (objects, mut command) = in_flight();
    let wait = Step::Wait(vec![0, 1]);
    assert_eq!(step(&mut command, &objects, 1), wait, "disruption/Q1");
    assert_eq!(step(&mut command, &objects, 600), wait, "disruption/Q1");
    // There is no Node yet, or not even a machine: what was created is known all the same.
    let mut early = objects;
    early.nodes[2] = node("new-0").claim_only();
    early.nodes[3] = node("new-1").unlaunched();
    assert_eq!(step(&mut command, &early, 1), wait, "disruption/Q2");
    let nodes = command.nodes.clone();
    let failure = Failure::TimedOut;
    let late = step(&mut command, &early, 11 * 60);
    assert_eq!(late, Step::Undo { nodes, failure }, "disruption/Q4");
}

#[test]
fn what_was_ready_once_is_ready() {
    let row = "disruption/Q5";
    let (mut objects, mut command) = in_flight();
    objects.nodes[2] = node("new-0");
    assert_eq!(
        step(&mut command, &objects, 1),
        Step::Wait(vec![1]),
        "{row}"
    );
    objects.nodes[2] = node("new-0").uninitialized().ready("False");
    assert_eq!(
        step(&mut command, &objects, 2),
        Step::Wait(vec![1]),
        "{row}"
    );
    objects.nodes.remove(2);
    assert_eq!(
        step(&mut command, &objects, 3),
        Step::Wait(vec![1]),
        "{row}"
    );
    objects.nodes[2] = node("new-1");
    let nodes = command.nodes.clone();
    assert_eq!(
        step(&mut command, &objects, 4),
        Step::Delete(nodes),
        "{row}"
    );
}

#[test]
fn commands_do_not_wait_for_each_other() {
    let row = "disruption/Q7";
    let (objects, mut both) = in_flight();
    let second = Command {
        nodes: vec![both.nodes.remove(1)],
        replacements: vec![both.replacements.remove(1)],
        ..both.clone()
    };
    let mut commands = [both, second];
    let mut objects = objects;
    objects.nodes[3] = node("new-1");
    let steps = commands
        .each_mut()
        .map(|command| step(command, &objects, 1));
    let nodes = commands[1].nodes.clone();
    assert_eq!(steps, [Step::Wait(vec![0]), Step::Delete(nodes)], "{row}");
    objects.nodes[1] = node("b").tainted().deleting();
    let steps = commands
        .each_mut()
        .map(|command| step(command, &objects, 2));
    assert_eq!(steps, [Step::Wait(vec![0]), Step::Done], "{row}");
}

#[test]
fn a_node_has_one_command() {
    let row = "disruption/Q10";
    let objects = two_empty();
    let snapshot = objects.snapshot(NOW);
    let command = proposal(&snapshot).unwrap();
    let started = Command {
        started: Some(at(NOW)),
        nodes: vec![command.nodes[0].clone()],
        ..command.clone()
    };
    // Nobody proposes a node that is taken,
    let (next, _) = ask(&snapshot, &options(std::slice::from_ref(&started)));
    assert_eq!(names(next.as_ref()), ["b"], "{row}");
    // and a command that was held meanwhile does without it.
    let all = [started, command];
    let validity = still_valid(&all[1], &objects.snapshot(&after(15)), &options(&all));
    let command = validity.command.unwrap();
    assert_eq!(names(Some(&command)), ["b"], "{row}");
}
