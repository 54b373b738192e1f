//! Section 19.7: what changes while a command is held.

use karpenter_plan::disrupt::{Command, Invalid, still_valid};
use serde_json::json;

use super::{Round, after, alone, at, check, names, options, proposal, two_empty};
use crate::world::{NOW, Objects, budget, node, pod, pool};

/// After the command for nodes `a` and `b` was held, `change` happened.
fn check_validity(
    row: &str,
    change: impl Fn(&mut Objects),
    expected: Result<&[&str], Invalid>,
    failed: usize,
) {
    let mut objects = two_empty();
    let command = proposal(&objects.snapshot(NOW)).unwrap();
    assert_eq!(names(Some(&command)), ["a", "b"], "{row}");
    change(&mut objects);
    let snapshot = objects.snapshot(&after(15));
    let held = [command.clone()];
    let validity = still_valid(&command, &snapshot, &options(&held));
    let found = validity
        .command
        .as_ref()
        .map(|command| names(Some(command)))
        .map_err(|invalid| *invalid);
    let expected = expected.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!((found, validity.failed), (expected, failed), "{row}");
    if let Ok(command) = validity.command {
        assert_eq!(command.started, Some(snapshot.now), "{row}");
    }
}

#[test]
fn held_commands_are_looked_at_again() {
    let give_pod = |name: &'static str| {
        move |objects: &mut Objects| objects.pods.push(pod(&format!("on-{name}")).on(name))
    };
    check_validity("", |_| (), Ok(&["a", "b"]), 0);
    check_validity("disruption/E7", give_pod("a"), Ok(&["b"]), 0);
    check_validity(
        "disruption/E8",
        |objects| {
            give_pod("a")(objects);
            give_pod("b")(objects);
        },
        Err(Invalid::Churn(2)),
        2,
    );
    let close = |nodes: &'static str| {
        move |objects: &mut Objects| {
            objects.pools = vec![pool("default").disruption("budgets", json!([{"nodes": nodes}]))];
        }
    };
    check_validity("", close("0"), Err(Invalid::Budget), 2);
    check_validity("", close("1"), Ok(&["a"]), 1);
    check_validity(
        "",
        |objects| objects.nodes[0] = node("a").nominated_until(&after(20)),
        Ok(&["b"]),
        0,
    );
    check_validity(
        "",
        |objects| objects.nodes[0] = node("a").without("Consolidatable"),
        Ok(&["b"]),
        0,
    );
    check_validity("", |objects| drop(objects.nodes.remove(0)), Ok(&["b"]), 0);
    // Another machine under the same names is not the one that was meant.
    check_validity(
        "",
        |objects| objects.nodes[0] = node("a").uid("another"),
        Ok(&["b"]),
        0,
    );
}

/// The command for these objects is looked at again after a change; it concerns all of its nodes or none.
#[track_caller]
fn check_again(
    row: &str,
    (objects, told_before): (Objects, &str),
    change: impl Fn(&mut Objects),
    expected: Result<(), Invalid>,
    failed: usize,
) {
    let mut objects = objects;
    let round = Round::of(&objects, &options(&[]));
    assert_eq!(round.told(), [told_before], "{row}:{}", round.verdicts());
    let held = round.commands;
    assert_eq!(held[0].due, at(&after(15)), "{row}");
    change(&mut objects);
    let snapshot = objects.snapshot(&after(15));
    let validity = still_valid(&held[0], &snapshot, &options(&held));
    let found = validity.command.map(|command| {
        // What is carried out is what was proposed.
        let started = Some(snapshot.now);
        let proposed = held[0].clone();
        assert_eq!(
            command,
            Command {
                started,
                ..proposed
            },
            "{row}"
        );
    });
    assert_eq!((found, validity.failed), (expected, failed), "{row}");
}

/// A dear node that a cheaper one replaces.
fn replaced() -> (Objects, &'static str) {
    let mut objects = alone(node("n").instance_type("large"));
    objects.pools = vec![pool("default").on_demand()];
    objects.pods = vec![pod("p").on("n")];
    (objects, "SingleNode replace n -> small as on-demand")
}

/// A node whose pod has room elsewhere.
fn deleted() -> (Objects, &'static str) {
    let mut objects = alone(node("n"));
    objects.pools = vec![pool("default").on_demand()];
    let other = node("other").annotation("karpenter.sh/do-not-disrupt", "true");
    objects.nodes.push(other);
    objects.pods = vec![pod("p").on("n")];
    (objects, "SingleNode delete n")
}

/// Three dear nodes that become a cheap one.
fn merged() -> (Objects, &'static str) {
    let mut objects = Objects::new(vec![pool("default").on_demand()]);
    for name in ["n", "o", "q"] {
        objects.nodes.push(node(name).instance_type("large"));
        let on = pod(&format!("on-{name}")).on(name);
        objects.pods.push(on.request("cpu", "1"));
    }
    (objects, "MultiNode replace n o q -> small as on-demand")
}

#[test]
fn a_command_is_carried_out_when_nothing_has_changed() {
    for proposal in [replaced(), deleted(), merged()] {
        check_again("disruption/T1", proposal, |_| (), Ok(()), 0);
    }
    // A pod more that fits changes nothing.
    let small = |objects: &mut Objects| objects.pods.push(pod("waiting"));
    for proposal in [replaced(), deleted(), merged()] {
        check_again("", proposal, small, Ok(()), 0);
    }
}

#[test]
fn a_command_is_given_up_when_the_pods_would_go_elsewhere() {
    let give_up = |row, proposal, change: &dyn Fn(&mut Objects)| {
        check_again(row, proposal, change, Err(Invalid::Scheduling), 0);
    };
    let waiting = |cpu: &'static str| {
        move |objects: &mut Objects| objects.pods.push(pod("waiting").request("cpu", cpu))
    };
    // Both fit one node still, but a large one.
    give_up("disruption/T2", replaced(), &waiting("10"));
    give_up("disruption/T2", merged(), &waiting("10"));
    // Two nodes are needed.
    give_up("disruption/T2", replaced(), &waiting("15900m"));
    let fill = |objects: &mut Objects| {
        let full = pod("more").on("other").request("cpu", "3900m");
        objects.pods.push(full);
    };
    give_up("disruption/T3", deleted(), &fill);
    // No node is needed any more.
    let room = |objects: &mut Objects| objects.nodes.push(node("room").unmanaged());
    give_up("", replaced(), &room);
    // There is no place at all.
    let choosy = |objects: &mut Objects| {
        objects.pods[0] = pod("p").on("n").selector("example.com/disk", "fast");
    };
    give_up("", replaced(), &choosy);
}

#[test]
fn a_command_is_given_up_when_a_node_must_stay() {
    let give_up = |row, change: &dyn Fn(&mut Objects)| {
        let churn = Err(Invalid::Churn(1));
        check_again(row, replaced(), change, churn, 1);
        check_again(row, deleted(), change, churn, 1);
        check_again(row, merged(), change, churn, 3);
    };
    give_up("disruption/T4", &|objects| {
        let protected = pod("new").annotation("karpenter.sh/do-not-disrupt", "true");
        objects.pods.push(protected.on("n"));
    });
    give_up("disruption/T5", &|objects| {
        let closed = budget("closed").allowing(0).selecting("app", "web");
        objects.budgets = vec![closed.json()];
        objects.pods.push(pod("new").label("app", "web").on("n"));
    });
    give_up("disruption/T7", &|objects| {
        objects.nodes[0] = objects.nodes[0].clone().nominated_until(&after(20));
    });
    give_up("", &|objects| {
        objects.nodes[0] = objects.nodes[0].clone().without("Consolidatable");
    });
    give_up("", &|objects| drop(objects.nodes.remove(0)));
}

#[test]
fn a_command_is_given_up_when_budgets_close() {
    let close = |budgets: serde_json::Value| {
        move |objects: &mut Objects| {
            let pool = pool("default").on_demand();
            objects.pools = vec![pool.disruption("budgets", budgets.clone())];
        }
    };
    let give_up = |proposal, budgets, failed| {
        let budget = Err(Invalid::Budget);
        check_again("disruption/T6", proposal, close(budgets), budget, failed);
    };
    let closed = || json!([{"nodes": "0"}]);
    give_up(replaced(), closed(), 1);
    give_up(deleted(), closed(), 1);
    give_up(merged(), closed(), 3);
    // All of its nodes or none.
    give_up(merged(), json!([{"nodes": "2"}]), 3);
    let others = json!([{"nodes": "0", "reasons": ["Empty", "Drifted"]}]);
    check_again("disruption/T6", merged(), close(others), Ok(()), 0);
}

#[test]
fn another_node_may_still_go_alone() {
    let row = "disruption/T8";
    let blocked = |objects: &mut Objects| {
        for name in ["n", "o"] {
            let protected = pod(&format!("new-{name}")).on(name);
            let protected = protected.annotation("karpenter.sh/do-not-disrupt", "true");
            objects.pods.push(protected);
        }
    };
    check_again(row, merged(), blocked, Err(Invalid::Churn(2)), 3);
    let mut objects = merged().0;
    blocked(&mut objects);
    check(row, &objects, &["SingleNode delete q"]);
}
