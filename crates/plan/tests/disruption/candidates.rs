//! Section 19.1: which nodes may go at all.

use karpenter_plan::disrupt::{
    Class, candidate,
    candidate::Audience,
    protection::{Protection, protections},
};
use serde_json::{Value, json};

use super::{alone, ask, names, options, proposal};
use crate::world::{NOW, Objects, TestBudget, TestNode, TestPod, budget, node, pod, pool};

/// Node `n` is no candidate, for this reason.
#[track_caller]
fn check_blocked(row: &str, objects: &Objects, message: &str, audience: Audience) {
    let snapshot = objects.snapshot(NOW);
    let (command, report) = ask(&snapshot, &options(&[]));
    // A claim without a Node goes by its own name.
    let id = snapshot
        .node_named("n")
        .or(snapshot.node_named("n-claim"))
        .unwrap();
    let reason = report
        .blocked
        .iter()
        .find(|(blocked, _)| *blocked == id)
        .map(|(_, reason)| reason);
    let reason = reason.unwrap_or_else(|| panic!("{row}: not blocked, wanted: {message}"));
    assert_eq!(reason.message(&snapshot), message, "{row}");
    assert_eq!(reason.audience(), audience, "{row}: {message}");
    assert!(
        !names(command.as_ref()).contains(&"n".to_string()),
        "{message}"
    );
}

#[test]
fn each_check_has_its_reason() {
    let nobody = |row, node: TestNode, message| {
        check_blocked(row, &alone(node), message, Audience::Nobody);
    };
    let both = |row, node: TestNode, message| {
        check_blocked(row, &alone(node), message, Audience::Both);
    };
    let forbidden = "disruption is blocked through the \"karpenter.sh/do-not-disrupt\" annotation";
    let annotated = node("n").annotation("karpenter.sh/do-not-disrupt", "true");
    both("disruption/C12", annotated, forbidden);
    nobody(
        "disruption/C14",
        node("n").unmanaged(),
        "node isn't managed by karpenter",
    );
    check_blocked(
        "disruption/C14",
        &alone(node("n").claim_only()),
        "nodeclaim does not have an associated node",
        Audience::NodeClaim,
    );
    both(
        "disruption/C15",
        node("n").nominated_until("2024-05-01T12:00:01Z"),
        "node is nominated for a pending pod",
    );
    let marked = "node is deleting or marked for deletion";
    both("disruption/C16", node("n").marked(), marked);
    both("disruption/C16", node("n").deleting(), marked);
    both(
        "disruption/C16",
        node("n").with("InstanceTerminating"),
        marked,
    );
    both(
        "disruption/C16",
        node("n").uninitialized(),
        "node isn't initialized",
    );
    both(
        "disruption/C16",
        node("n").no_pool(),
        "node doesn't have required label (label=karpenter.sh/nodepool)",
    );
    both(
        "disruption/C17",
        node("n").pool("gone"),
        "NodePool not found (NodePool=gone)",
    );
    for bare in [pool("bare").without_types(), pool("bare").broken()] {
        let mut objects = alone(node("n").pool("bare"));
        objects.pools.push(bare);
        let message = "NodePool not found (NodePool=bare)";
        check_blocked("", &objects, message, Audience::Both);
    }
}

#[test]
fn nodes_of_a_command_are_taken() {
    let objects = alone(node("n"));
    let snapshot = objects.snapshot(NOW);
    let command = proposal(&snapshot).unwrap();
    let (again, report) = ask(&snapshot, &options(&[command]));
    assert_eq!(again, None, "disruption/C19");
    let [(_, reason)] = &report.blocked[..] else {
        panic!("disruption/C19: {report:?}")
    };
    let message = "candidate is already being disrupted";
    assert_eq!(reason.message(&snapshot), message, "disruption/C19");
    assert_eq!(reason.audience(), Audience::Nobody, "disruption/C19");
}

#[test]
fn earlier_checks_come_first() {
    // Uninitialised, marked, nominated and forbidden all at once: the first check names the reason.
    let everything = node("n")
        .annotation("karpenter.sh/do-not-disrupt", "true")
        .nominated_until("2024-05-01T13:00:00Z");
    check_blocked(
        "",
        &alone(everything.clone()),
        "node is nominated for a pending pod",
        Audience::Both,
    );
    let everything = everything.marked();
    check_blocked(
        "",
        &alone(everything.clone()),
        "node is deleting or marked for deletion",
        Audience::Both,
    );
    check_blocked(
        "",
        &alone(everything.uninitialized()),
        "node isn't initialized",
        Audience::Both,
    );
}

/// Node `n` is a candidate, and costs so many dollars an hour.
#[track_caller]
fn check_candidate(row: &str, node: TestNode, dollars: f64) {
    let snapshot = alone(node).snapshot(NOW);
    let id = snapshot.node_named("n").unwrap();
    for class in [Class::Graceful, Class::Eventual] {
        let found = candidate(&snapshot, id, class, &[]).unwrap();
        let price = found.price.dollars();
        assert!((price - dollars).abs() < 1e-9, "{row}: {price}");
    }
}

#[test]
fn nodes_outside_the_rules_stay_candidates() {
    check_candidate("", node("n").nominated_until(NOW), 0.1);
    let annotated = |value| node("n").annotation("karpenter.sh/do-not-disrupt", value);
    check_candidate("disruption/C13", annotated("false"), 0.1);
    // Durations exist for pods only.
    check_candidate("", annotated("1h"), 0.1);
    // What is missing costs nothing, so nothing is saved by it.
    let without = |key| node("n").unlabeled(key);
    let row = "disruption/C18";
    check_candidate(row, node("n").instance_type("unheard-of"), 0.0);
    check_candidate(row, without("node.kubernetes.io/instance-type"), 0.0);
    check_candidate(row, without("karpenter.sh/capacity-type"), 0.0);
    check_candidate(row, without("topology.kubernetes.io/zone"), 0.0);
}

/// A pod on node `n` blocks it for every method with this message, or not at all.
#[track_caller]
fn check_pods(row: &str, pods: &[TestPod], budgets: &[Value], message: &str) {
    for class in [Class::Graceful, Class::Eventual] {
        check_class(row, node("n"), pods, budgets, class, message);
    }
}

/// The same for a node whose claim sets a termination grace period: what blocks it blocks the methods that
/// wait for pods, and not those that replace drifted nodes.
#[track_caller]
fn check_graceful(row: &str, pod: &TestPod, budgets: &[Value], message: &str) {
    let pods = std::slice::from_ref(pod);
    let node = || node("n").grace("1h");
    check_class(row, node(), pods, budgets, Class::Graceful, message);
}

#[track_caller]
fn check_eventual(row: &str, pod: &TestPod, budgets: &[Value]) {
    let pods = std::slice::from_ref(pod);
    let node = node("n").grace("1h");
    check_class(row, node, pods, budgets, Class::Eventual, "");
}

#[track_caller]
fn check_class(
    row: &str,
    node: TestNode,
    pods: &[TestPod],
    budgets: &[Value],
    class: Class,
    message: &str,
) {
    let mut objects = alone(node);
    objects.pods = pods.to_vec();
    objects.budgets = budgets.to_vec();
    let snapshot = objects.snapshot(NOW);
    let found = candidate(&snapshot, snapshot.node_named("n").unwrap(), class, &[]);
    let found = found.map_or_else(|reason| reason.message(&snapshot), |_| String::new());
    assert_eq!(found, message, "{row}: {class:?} {pods:?}");
}

fn protected(value: &str) -> TestPod {
    pod("p")
        .on("n")
        .annotation("karpenter.sh/do-not-disrupt", value)
}

/// A pod of the application that [`closed`] protects.
fn web() -> TestPod {
    pod("p").on("n").label("app", "web")
}

/// A budget that allows no disruption of the application.
fn closed() -> TestBudget {
    budget("closed").allowing(0).selecting("app", "web")
}

/// What [`PROTECTED`] is followed by when it never ends.
const ENDLESS: &str =
    "; pod default/p can never be evicted: its annotation karpenter.sh/do-not-disrupt has no end";
const PROTECTED: &str = "pod has \"karpenter.sh/do-not-disrupt\" annotation (Pod=default/p)";
const CLOSED: &str = "pdb prevents pod evictions (PodDisruptionBudget=[default/closed])";

#[test]
fn pods_forbid_disruption() {
    let check = |row, pod: TestPod, message: &str| check_pods(row, &[pod], &[], message);
    let endless = format!("{PROTECTED}{ENDLESS}");
    check("disruption/C1", protected("true"), &endless);
    let daemon = protected("true").owner("DaemonSet");
    check("disruption/C2", daemon, &endless);
    check("disruption/C2", protected("true").owner("Node"), &endless);
    check("", protected("true").tolerating_disruption(), &endless);
    check("disruption/C8", protected("true").terminating(), "");
    check("disruption/C8", protected("true").phase("Succeeded"), "");
    check("disruption/C8", protected("true").phase("Failed"), "");
    check("disruption/C23", protected("invalid"), "");
    for ignored in ["false", "0s", "-5m", "abc", ""] {
        check("", protected(ignored), "");
    }
    check("", protected("10m"), PROTECTED);
    check(
        "",
        protected("1h30m").started("2024-05-01T11:00:00Z"),
        PROTECTED,
    );
}

#[test]
fn pods_forbid_disruption_for_a_while() {
    let mut objects = alone(node("n"));
    let check = |row: &str, objects: &Objects, now: &str, message: &str, until: &str| {
        let snapshot = objects.snapshot(now);
        let id = snapshot.node_named("n").unwrap();
        let found = candidate(&snapshot, id, Class::Graceful, &[]);
        let found = found.map_or_else(|reason| reason.message(&snapshot), |_| String::new());
        assert_eq!(found, message, "{row} at {now}");
        // Nothing but time has to pass, and the round says how much.
        let (_, report) = ask(&snapshot, &options(&[]));
        let instant = report.valid_until.map(|instant| instant.to_string());
        assert_eq!(instant.unwrap_or_default(), until, "{row} at {now}");
    };
    objects.pods = vec![protected("2m").started("2024-05-01T11:59:00Z")];
    let end = "2024-05-01T12:01:00Z";
    check("disruption/C20", &objects, NOW, PROTECTED, end);
    check("", &objects, "2024-05-01T12:00:59Z", PROTECTED, end);
    check("disruption/C21", &objects, end, "", "");
    check("disruption/C21", &objects, "2024-05-01T12:03:00Z", "", "");

    let mut longer = protected("10m").started(NOW);
    longer.0["metadata"]["name"] = json!("q");
    let other = PROTECTED.replace("default/p", "default/q");
    objects.pods = vec![protected("5m").started(NOW), longer];
    let (first, second) = ("2024-05-01T12:05:00Z", "2024-05-01T12:10:00Z");
    check("disruption/C22", &objects, NOW, PROTECTED, first);
    check("disruption/C22", &objects, first, &other, second);
    check("disruption/C22", &objects, second, "", "");
}

/// What there is to say about the pods of a cluster.
#[track_caller]
fn check_said(row: &str, objects: &Objects, now: &str, expected: &[&str]) {
    let snapshot = objects.snapshot(now);
    let (_, report) = ask(&snapshot, &options(&[]));
    let said: Vec<String> = protections(&snapshot, &report)
        .into_iter()
        .map(|(pod, said)| match said {
            Protection::Invalid(fault) => format!("{}: {fault}", snapshot.pods[pod].name),
            Protection::Until(end) => format!("{} until {end}", snapshot.pods[pod].name),
            Protection::Elapsed => format!("{} elapsed", snapshot.pods[pod].name),
        })
        .collect();
    assert_eq!(said, expected, "{row} at {now}");
}

#[test]
fn what_pods_ask_for_is_told() {
    let with = |pod: TestPod| {
        let mut objects = alone(node("n"));
        objects.pods = vec![pod];
        objects
    };
    let minute_old = with(protected("2m").started("2024-05-01T11:59:00Z"));
    let end = "2024-05-01T12:01:00Z";
    let until = "p until 2024-05-01T12:01:00Z";
    check_said("disruption/C20", &minute_old, NOW, &[until]);
    check_said("disruption/C21", &minute_old, end, &["p elapsed"]);
    let invalid = "p: \"invalid\" is not a duration, write numbers with units such as 90s or 1h30m";
    check_said(
        "disruption/C23",
        &with(protected("invalid")),
        NOW,
        &[invalid],
    );
    let negative = "p: duration \"-5m\" is not positive";
    check_said("disruption/C23", &with(protected("-5m")), NOW, &[negative]);
    // Protection without an end, and that of a pod that was never started, is told about the node alone.
    check_said("", &with(protected("true")), NOW, &[]);
    check_said("", &with(protected("2m")), NOW, &[]);
    let over = protected("invalid").phase("Succeeded");
    check_said("", &with(over), NOW, &[]);
    // Nobody gets as far as the pods of a node that is kept for reasons of its own.
    let mut kept = with(protected("invalid"));
    kept.nodes = vec![node("n").annotation("karpenter.sh/do-not-disrupt", "true")];
    check_said("", &kept, NOW, &[]);
}

#[test]
fn a_grace_period_lets_drift_ignore_pods() {
    let budgets = [closed().json()];
    check_eventual("disruption/C3", &protected("true"), &[]);
    let endless = format!("{PROTECTED}{ENDLESS}");
    check_graceful("disruption/C4", &protected("true"), &[], &endless);
    check_eventual("disruption/C5", &web(), &budgets);
    check_graceful("disruption/C6", &web(), &budgets, CLOSED);
    check_class(
        "disruption/C7",
        node("n"),
        &[web()],
        &budgets,
        Class::Eventual,
        CLOSED,
    );
}

#[test]
fn budgets_of_pods_forbid_disruption() {
    let check = |row, pod: TestPod, budget: TestBudget, message| {
        check_pods(row, &[pod], &[budget.json()], message);
    };
    let open = || budget("open").allowing(1).selecting("app", "web");
    check("", web(), closed(), CLOSED);
    check("", web().label("app", "other"), closed(), "");
    check("", web(), open(), "");
    // One disruption is allowed and two pods would go: still a candidate.
    let two = [web(), pod("q").on("n").label("app", "web")];
    check_pods("", &two, &[open().json()], "");
    // Pods that cannot be evicted anyway are not looked at.
    check("disruption/C9", web().phase("Failed"), closed(), "");
    check("disruption/C9", web().phase("Succeeded"), closed(), "");
    check("disruption/C9", web().terminating(), closed(), "");
    check("disruption/C9", web().owner("Node"), closed(), "");
    check("", web().tolerating_disruption(), closed(), "");
    let daemon = || web().owner("DaemonSet");
    check("disruption/C10", daemon(), closed(), CLOSED);
    let everything = json!([{"operator": "Exists"}]);
    let tolerant = daemon().spec("tolerations", everything);
    check("disruption/C10", tolerant, closed(), "");
    let lenient = || closed().always_allow();
    check("disruption/C24", web().ready("False"), lenient(), "");
    check("disruption/C24", web().ready("True"), lenient(), CLOSED);
    check("", web(), lenient(), CLOSED);
    check("disruption/C24", web().ready("False"), closed(), CLOSED);
    check("disruption/C25", web(), closed().namespace("other"), "");
    // Two budgets block whatever they allow.
    let several = ["a", "b"].map(|name| budget(name).allowing(5).selecting("app", "web").json());
    let message = "eviction does not support multiple PDBs (PodDisruptionBudget(s)=[default/a default/b]); \
                   pod default/p can never be evicted: more than one PodDisruptionBudget covers it (a, b)";
    check_pods("disruption/C11", &[web()], &several, message);
    // Annotations of all pods come before budgets of any.
    let mut annotated = protected("true");
    annotated.0["metadata"]["name"] = json!("q");
    let other = format!("{PROTECTED}{ENDLESS}").replace("default/p", "default/q");
    check_pods("", &[web(), annotated], &[closed().json()], &other);
}

/// Pod `p` on node `n` blocks it, and after upstream's text this is said of it.
#[track_caller]
fn check_never(pod: TestPod, budgets: &[Value], said: &str) {
    let mut objects = alone(node("n"));
    objects.pods = vec![pod];
    objects.budgets = budgets.to_vec();
    let snapshot = objects.snapshot(NOW);
    let id = snapshot.node_named("n").unwrap();
    let reason = candidate(&snapshot, id, Class::Graceful, &[]).unwrap_err();
    let message = reason.message(&snapshot);
    let (_, found) = message.split_once("; ").unwrap_or((&message, ""));
    assert_eq!(found, said, "{message}");
}

#[test]
fn pods_that_can_never_be_evicted_are_named_with_what_blocks_them_and_since_when() {
    let never = |what: &str| format!("pod default/p can never be evicted: {what}");
    let (early, late) = ("2024-04-01T00:00:00Z", "2024-04-02T00:00:00Z");
    let no_end = |since: &str| {
        never(&format!(
            "its annotation karpenter.sh/do-not-disrupt has no end{since}"
        ))
    };
    check_never(
        protected("true").started(early),
        &[],
        &no_end(", since 2024-04-01T00:00:00Z"),
    );
    check_never(protected("true"), &[], &no_end(""));
    // It ends.
    check_never(protected("1h").started(NOW), &[], "");

    let closed = || closed().closed_since(early);
    let bound = |bound: &str, since| {
        never(&format!(
            "PodDisruptionBudget default/closed allows none, with {bound}, since {since}"
        ))
    };
    let check = |budget: TestBudget, bound: &str| check_never(web(), &[budget.json()], bound);
    check(
        closed().unavailable(json!(0)),
        &bound("maxUnavailable 0", early),
    );
    check(
        closed().unavailable(json!("0%")),
        &bound("maxUnavailable 0%", early),
    );
    check(
        closed().available(&json!("100%"), 0, 0),
        &bound("minAvailable 100%", early),
    );
    check(
        closed().available(&json!(2), 2, 2),
        &bound("minAvailable 2 of 2 pods", early),
    );
    check(
        closed().available(&json!("90%"), 3, 3),
        &bound("minAvailable 90% of 3 pods", early),
    );
    // When the third is healthy, or the two that are missing have come, one may go.
    check(closed().available(&json!(2), 2, 3), "");
    check(closed().unavailable(json!(1)), "");
    // The pod came later than the budget closed.
    let later = bound("maxUnavailable 0", late);
    check_never(
        web().started(late),
        &[closed().unavailable(json!(0)).json()],
        &later,
    );
    // Pods that are not ready are free to go.
    let lenient = closed().unavailable(json!(0)).always_allow().json();
    check_never(
        web().ready("True"),
        &[lenient],
        &bound("maxUnavailable 0", early),
    );

    let several = [("a", late), ("b", early)]
        .map(|(name, made)| budget(name).selecting("app", "web").created(made).json());
    let both =
        never("more than one PodDisruptionBudget covers it (a, b), since 2024-04-02T00:00:00Z");
    check_never(web(), &several, &both);
}
