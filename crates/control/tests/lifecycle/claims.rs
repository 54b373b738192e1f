//! Claims: launch, registration, initialisation, liveness, deletion, expiry, garbage.

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use karpenter_api::nodeclaim::NodeClaim;
use karpenter_cloud::{HookOutcome, LaunchError};
use karpenter_control::mirror::{Key, Mirror};
use karpenter_plan::WellKnown;
use serde_json::{Value, json};

use crate::{
    check, check_eq,
    cloud::Hook,
    world::{World, claim, node, pod, with},
};

async fn condition(world: &World, type_: &str) -> String {
    world.condition("NodeClaim", "a", type_).await
}

#[tokio::test(start_paused = true)]
async fn a_claim_gets_a_finalizer_and_one_machine() {
    let world = World::new().await;
    let provider_id = world.launched("a").await;
    world.pass(5).await;
    let claim = world.get("NodeClaim", "a").await.unwrap();
    check_eq(
        "lifecycle/L1",
        &claim["metadata"]["finalizers"],
        &json!(["karpenter.sh/termination"]),
    );
    check_eq("lifecycle/L1", world.cloud.state().attempts, 1);
    check_eq(
        "lifecycle/L1",
        &claim["status"]["providerID"],
        &json!(provider_id),
    );
    check_eq(
        "lifecycle/L1",
        condition(&world, "Launched").await,
        "True/Launched".into(),
    );
    check_eq(
        "waiting",
        condition(&world, "Registered").await,
        "Unknown/NodeNotFound".into(),
    );
    check_eq(
        "waiting",
        condition(&world, "Ready").await,
        "Unknown/ReconcilingDependents".into(),
    );
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_claim_is_left_alone() {
    let world = World::new().await;
    let class = json!({"group": "other.sh", "kind": "OtherNodeClass", "name": "x"});
    let before = world
        .create(with(claim("a"), json!({"spec": {"nodeClassRef": class}})))
        .await;
    world.pass(1200).await;
    check_eq(
        "lifecycle/L2",
        world.get("NodeClaim", "a").await.unwrap(),
        before,
    );
    check_eq("lifecycle/L2", world.cloud.state().attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_launched_goes() {
    let world = World::new().await;
    world
        .cloud
        .state()
        .answers
        .push_back(LaunchError::InsufficientCapacity("no x1".into()));
    world.create(claim("a")).await;
    world
        .until("deletion", 10, async |world| {
            world.gone("NodeClaim", "a").await
        })
        .await;
    world.pass(1).await;
    let told = world.events("InsufficientCapacityError").await;
    let expected = "NodeClaim a event: insufficient capacity: no x1".to_owned();
    check_eq("lifecycle/L3", told, vec![expected]);

    world
        .cloud
        .state()
        .answers
        .push_back(LaunchError::NodeClassNotReady("no subnet".into()));
    world.create(claim("b")).await;
    world
        .until("deletion", 10, async |world| {
            world.gone("NodeClaim", "b").await
        })
        .await;
    check("lifecycle/L4", world.cloud.state().launched.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_launch_is_told_and_tried_again() {
    let world = World::new().await;
    for _ in 0..3 {
        let answer = LaunchError::Create {
            reason: "R".into(),
            message: "M".into(),
        };
        world.cloud.state().answers.push_back(answer);
    }
    world.create(claim("a")).await;
    world.pass(2).await;
    check_eq(
        "lifecycle/L5",
        condition(&world, "Launched").await,
        "Unknown/R".into(),
    );
    let claim = world.get("NodeClaim", "a").await.unwrap();
    let all = claim["status"]["conditions"].as_array().unwrap();
    check(
        "lifecycle/L5",
        all.iter().any(|found| found["message"] == "M"),
    );
    world.pass(20).await;
    check_eq(
        "lifecycle/L5",
        condition(&world, "Launched").await,
        "True/Launched".into(),
    );
    check_eq("lifecycle/L5", world.cloud.state().attempts, 4);
}

#[tokio::test(start_paused = true)]
async fn a_lost_status_write_does_not_launch_twice() {
    let world = World::new().await;
    world.lose(Method::PATCH, "/nodeclaims/a/status", 1);
    world.launched("a").await;
    check_eq("lifecycle/L6", world.cloud.state().attempts, 1);
    check_eq("lifecycle/L6", world.cloud.state().instances.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_machine_the_claim_never_heard_of_goes_with_it() {
    let world = World::new().await;
    world.lose(Method::PATCH, "/nodeclaims/a/status", 3);
    world.create(claim("a")).await;
    world
        .until("launch", 5, async |world| world.cloud.state().attempts == 1)
        .await;
    world.delete("NodeClaim", "a").await;
    world
        .until("deletion", 60, async |world| {
            world.gone("NodeClaim", "a").await
        })
        .await;
    check(
        "no machine is left behind",
        world.cloud.state().instances.is_empty(),
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_becomes_no_node_is_given_up() {
    let world = World::new().await;
    world.cloud.state().refuse_all = Some("throttled".into());
    world.create(claim("a")).await;
    world.pass(60).await;
    check_eq(
        "lifecycle/L7",
        condition(&world, "Launched").await,
        "Unknown/LaunchFailed".into(),
    );
    world.pass(300).await;
    check("lifecycle/L8", world.gone("NodeClaim", "a").await);

    world.cloud.state().refuse_all = None;
    let provider_id = world.launched("a").await;
    world.pass(14 * 60).await;
    check(
        "launched, not yet late",
        !world.gone("NodeClaim", "a").await,
    );
    world.pass(6 * 60).await;
    check("lifecycle/L11", world.gone("NodeClaim", "a").await);
    check(
        "lifecycle/L11",
        world.cloud.state().terminations.contains(&provider_id),
    );

    world.initialized("b").await;
    world.pass(20 * 60).await;
    check("lifecycle/L12", !world.gone("NodeClaim", "b").await);
}

#[tokio::test(start_paused = true)]
async fn a_node_registers() {
    let world = World::new().await;
    world.cloud.state().labels = BTreeMap::from([("zone".to_owned(), "z1".to_owned())]);
    let extra = json!({
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "spec": {
            "taints": [{"key": "dedicated", "value": "x", "effect": "NoSchedule"}],
            "startupTaints": [{"key": "boot", "effect": "NoExecute"}],
        },
    });
    world.create(with(claim("a"), extra)).await;
    world.pass(1).await;
    let provider_id = world.get("NodeClaim", "a").await.unwrap()["status"]["providerID"].clone();
    world.create(node("n", provider_id.as_str().unwrap())).await;
    world.pass(2).await;

    let claim = world.get("NodeClaim", "a").await.unwrap();
    let node = world.get("Node", "n").await.unwrap();
    check_eq(
        "lifecycle/R1",
        condition(&world, "Registered").await,
        "True/Registered".into(),
    );
    check_eq("lifecycle/R1", &claim["status"]["nodeName"], &json!("n"));
    let labels = &node["metadata"]["labels"];
    check_eq(
        "lifecycle/R1",
        &labels["karpenter.sh/registered"],
        &json!("true"),
    );
    check_eq(
        "lifecycle/R1",
        &node["metadata"]["finalizers"],
        &json!(["karpenter.sh/termination"]),
    );
    let owner = json!([{
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": "a",
        "uid": claim["metadata"]["uid"], "blockOwnerDeletion": true,
    }]);
    check_eq("lifecycle/R1", &node["metadata"]["ownerReferences"], &owner);
    check_eq("lifecycle/R4", &labels["team"], &json!("a"));
    check_eq("lifecycle/R4", &labels["zone"], &json!("z1"));
    check_eq(
        "lifecycle/R4",
        &node["metadata"]["annotations"]["note"],
        &json!("b"),
    );
    let taints = json!([
        {"key": "dedicated", "value": "x", "effect": "NoSchedule"},
        {"key": "boot", "effect": "NoExecute"},
    ]);
    check_eq("lifecycle/R5", &node["spec"]["taints"], &taints);

    let expected = "Unknown/StartupTaintsExist".to_owned();
    check_eq(
        "lifecycle/I5",
        condition(&world, "Initialized").await,
        expected,
    );
    world
        .patch("Node", "n", json!({"spec": {"taints": [taints[0]]}}))
        .await;
    world.pass(60).await;
    check_eq(
        "lifecycle/I5",
        condition(&world, "Initialized").await,
        "True/Initialized".into(),
    );
    let node = world.get("Node", "n").await.unwrap();
    check_eq("lifecycle/R8", &node["spec"]["taints"], &json!([taints[0]]));
    let label = &node["metadata"]["labels"]["karpenter.sh/initialized"];
    check_eq("lifecycle/I1", label, &json!("true"));
    check_eq(
        "lifecycle/I12",
        condition(&world, "Ready").await,
        "True/Ready".into(),
    );
    check(
        "taint was there",
        world.events("UnregisteredTaintMissing").await.is_empty(),
    );
    let told = world.events("Registered").await;
    let text = "Status condition transitioned, Type: Registered, Status: Unknown -> True, \
                Reason: Registered";
    check_eq("transition", told, vec![text.to_owned()]);
}

/// Registers a node that is made from `extra`, and returns it.
async fn registered(name: &str, extra: Value) -> (World, Value) {
    let world = World::new().await;
    let taints = json!({"spec": {"taints": [{"key": "dedicated", "effect": "NoSchedule"}]}});
    world.create(with(claim("a"), taints)).await;
    world.pass(1).await;
    let claim = world.get("NodeClaim", "a").await.unwrap();
    let provider_id = claim["status"]["providerID"].as_str().unwrap();
    world.create(with(node(name, provider_id), extra)).await;
    world.pass(2).await;
    check_eq(
        "registers",
        condition(&world, "Registered").await,
        "True/Registered".into(),
    );
    let node = world.get("Node", name).await.unwrap();
    (world, node)
}

#[tokio::test(start_paused = true)]
async fn nodes_that_come_prepared() {
    let (world, _) = registered("n", json!({"spec": {"taints": null}})).await;
    check_eq(
        "lifecycle/R3",
        world.events("UnregisteredTaintMissing").await.len(),
        1,
    );

    let dedicated = json!([{"key": "dedicated", "effect": "NoSchedule"}]);
    for (row, value, taints) in [
        ("lifecycle/R6", "true", &Value::Null),
        ("lifecycle/R7", "yes", &dedicated),
    ] {
        let label = json!({"metadata": {"labels": {"karpenter.sh/do-not-sync-taints": value}}});
        let (_, node) = registered("n", label).await;
        check_eq(row, &node["spec"]["taints"], taints);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_owned_once() {
    let world = World::new().await;
    let provider_id = world.launched("a").await;
    let claim = world.get("NodeClaim", "a").await.unwrap();
    let owner = json!([{
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": "a",
        "uid": claim["metadata"]["uid"],
    }]);
    let owned = json!({"metadata": {"ownerReferences": owner}});
    world.create(with(node("n", &provider_id), owned)).await;
    world.pass(2).await;
    let node = world.get("Node", "n").await.unwrap();
    check_eq("lifecycle/R2", &node["metadata"]["ownerReferences"], &owner);
}

#[tokio::test(start_paused = true)]
async fn two_nodes_of_one_machine_are_a_fault_that_stays() {
    let world = World::new().await;
    world.cloud.state().lingering = usize::MAX;
    // The claim hears of its machine only when both nodes are there.
    world.lose(Method::PATCH, "/nodeclaims/a/status", 1);
    world.create(node("m", "fake://a-1")).await;
    world.create(node("n", "fake://a-1")).await;
    world.create(claim("a")).await;
    world.pass(5).await;
    let expected = "False/MultipleNodesFound".to_owned();
    check_eq(
        "lifecycle/R9",
        condition(&world, "Registered").await,
        expected.clone(),
    );
    world.remove("Node", "m").await;
    world.pass(10 * 60).await;
    check_eq(
        "lifecycle/R9",
        condition(&world, "Registered").await,
        expected,
    );
    world.pass(6 * 60).await;
    let claim = world.get("NodeClaim", "a").await.unwrap();
    check(
        "lifecycle/R9",
        !claim["metadata"]["deletionTimestamp"].is_null(),
    );
}

#[tokio::test(start_paused = true)]
async fn hooks_hold_registration_back() {
    let (one, two) = (Hook::done("one"), Hook::pending("two"));
    let world = World::with_hooks(vec![one.clone(), two.clone()]).await;
    let provider_id = world.launched("a").await;
    world.create(node("n", &provider_id)).await;
    world.pass(2).await;
    let expected = "Unknown/RegistrationHookPending".to_owned();
    check_eq(
        "lifecycle/R11",
        condition(&world, "Registered").await,
        expected.clone(),
    );
    let node = world.get("Node", "n").await.unwrap();
    let taints = json!([{"key": "karpenter.sh/unregistered", "effect": "NoExecute"}]);
    check_eq("lifecycle/R11", &node["spec"]["taints"], &taints);
    let label = &node["metadata"]["labels"]["karpenter.sh/registered"];
    check_eq("lifecycle/R11", label, &Value::Null);
    check("synced already", !node["metadata"]["finalizers"].is_null());
    let message = async || {
        let claim = world.get("NodeClaim", "a").await.unwrap();
        let all = claim["status"]["conditions"].as_array().unwrap().clone();
        let found = all
            .iter()
            .find(|found| found["type"] == "Registered")
            .unwrap();
        found["message"].as_str().unwrap().to_owned()
    };
    check_eq("lifecycle/R13", message().await, "two".into());

    one.answer(Err("no answer".into()));
    world.pass(20).await;
    check_eq(
        "lifecycle/R12",
        condition(&world, "Registered").await,
        expected,
    );
    check_eq("lifecycle/R14", message().await, "one, two".into());
    check("lifecycle/R14", one.asked() > 1 && two.asked() > 1);

    one.answer(Ok(HookOutcome::done()));
    let labels = BTreeMap::from([("partition".to_owned(), "3".to_owned())]);
    two.answer(Ok(HookOutcome::Done { labels }));
    world.pass(60).await;
    check_eq(
        "lifecycle/R15",
        condition(&world, "Registered").await,
        "True/Registered".into(),
    );
    for kind in [("NodeClaim", "a"), ("Node", "n")] {
        let object = world.get(kind.0, kind.1).await.unwrap();
        check_eq(
            "lifecycle/R16",
            &object["metadata"]["labels"]["partition"],
            &json!("3"),
        );
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_that_are_done_hold_nothing_back() {
    for hooks in [vec![], vec![Hook::done("one")]] {
        let world = World::with_hooks(hooks).await;
        world.initialized("a").await;
        check_eq(
            "lifecycle/R10",
            condition(&world, "Registered").await,
            "True/Registered".into(),
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_initialized_when_it_has_what_was_asked_for() {
    let world = World::new().await;
    let gpu = json!({"spec": {"resources": {"requests": {"cpu": "1", "example.com/gpu": "1"}}}});
    world.create(with(claim("a"), gpu)).await;
    world.pass(1).await;
    let claim = world.get("NodeClaim", "a").await.unwrap();
    let provider_id = claim["status"]["providerID"].as_str().unwrap();
    let not_ready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    check_eq(
        "lifecycle/I2",
        condition(&world, "Initialized").await,
        "Unknown/AwaitingReconciliation".into(),
    );
    world.create(with(node("n", provider_id), not_ready)).await;
    world.pass(2).await;
    let found = condition(&world, "Initialized").await;
    check_eq("lifecycle/I3", found, "Unknown/NodeNotReady".into());
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    world.patch_status("Node", "n", ready).await;
    world.pass(2).await;
    let found = condition(&world, "Initialized").await;
    check_eq(
        "lifecycle/I4",
        found,
        "Unknown/ResourceNotRegistered".into(),
    );
    let taints = json!([{"key": "readiness.k8s.io/x", "effect": "NoSchedule"}]);
    world
        .patch("Node", "n", json!({"spec": {"taints": taints}}))
        .await;
    let gpu = json!({"status": {"allocatable": {"example.com/gpu": "1"}}});
    world.patch_status("Node", "n", gpu).await;
    world.pass(2).await;
    let found = condition(&world, "Initialized").await;
    check_eq(
        "lifecycle/I7",
        found,
        "Unknown/KnownEphemeralTaintsExist".into(),
    );
    world
        .patch("Node", "n", json!({"spec": {"taints": null}}))
        .await;
    world.pass(2).await;
    check_eq(
        "lifecycle/I4",
        condition(&world, "Initialized").await,
        "True/Initialized".into(),
    );
}

#[tokio::test(start_paused = true)]
async fn a_deleted_claim_takes_its_node_then_its_machine_then_goes() {
    let world = World::new().await;
    world.initialized("a").await;
    world.create(pod("web", "a")).await;
    world.cloud.state().lingering = 3;
    world.delete("NodeClaim", "a").await;
    world.pass(3).await;
    let node = world.get("Node", "a").await.unwrap();
    check(
        "lifecycle/D1",
        !node["metadata"]["deletionTimestamp"].is_null(),
    );
    check("lifecycle/D1", world.cloud.state().terminations.is_empty());
    world.remove("Pod", "web").await;
    world.pass(7).await;
    let expected = "True/InstanceTerminating".to_owned();
    check_eq(
        "lifecycle/D4",
        condition(&world, "InstanceTerminating").await,
        expected,
    );
    check_eq(
        "lifecycle/D9",
        condition(&world, "Ready").await,
        "True/Ready".into(),
    );
    check("lifecycle/D4", !world.gone("Node", "a").await);
    world
        .until("end", 60, async |world| world.gone("NodeClaim", "a").await)
        .await;
    check("lifecycle/D1", world.gone("Node", "a").await);
    check("lifecycle/D1", world.cloud.state().instances.is_empty());
    let told = world.events("Finalized").await;
    check_eq(
        "told",
        told,
        vec!["Finalized karpenter.sh/termination".to_owned(); 2],
    );
}

#[tokio::test(start_paused = true)]
async fn all_nodes_of_a_machine_go_with_its_claim() {
    let world = World::new().await;
    let provider_id = world.initialized("a").await;
    let owned = json!({"metadata": {
        "finalizers": ["karpenter.sh/termination"],
        "labels": {"karpenter.kwok.sh/kwoknodeclass": "default"},
    }});
    world.create(with(node("b", &provider_id), owned)).await;
    world.delete("NodeClaim", "a").await;
    world
        .until("both nodes", 30, async |world| {
            world.gone("Node", "a").await && world.gone("Node", "b").await
        })
        .await;
    world
        .until("claim", 30, async |world| {
            world.gone("NodeClaim", "a").await
        })
        .await;
    check("lifecycle/D2", world.cloud.state().instances.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_cannot_be_ended_keeps_its_claim() {
    let world = World::new().await;
    world.launched("a").await;
    world.cloud.state().broken = true;
    world.delete("NodeClaim", "a").await;
    world.pass(120).await;
    let claim = world.get("NodeClaim", "a").await.unwrap();
    check_eq(
        "lifecycle/D3",
        &claim["metadata"]["finalizers"],
        &json!(["karpenter.sh/termination"]),
    );
    world.cloud.state().broken = false;
    world
        .until("end", 120, async |world| world.gone("NodeClaim", "a").await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_a_node_goes_alone() {
    let world = World::new().await;
    world.cloud.state().refuse_all = Some("throttled".into());
    world
        .create(with(
            node("foreign", ""),
            json!({"spec": {"providerID": null}}),
        ))
        .await;
    world.create(claim("a")).await;
    world.pass(2).await;
    world.delete("NodeClaim", "a").await;
    world
        .until("end", 2, async |world| world.gone("NodeClaim", "a").await)
        .await;
    check("lifecycle/D5", world.cloud.state().terminations.is_empty());
    let foreign = world.get("Node", "foreign").await.unwrap();
    check(
        "lifecycle/D5",
        foreign["metadata"]["deletionTimestamp"].is_null(),
    );

    world.cloud.state().refuse_all = None;
    let hook = Hook::pending("hook");
    let world = World::with_hooks(vec![hook]).await;
    let provider_id = world.launched("a").await;
    world.create(node("n", &provider_id)).await;
    world.pass(2).await;
    world.cloud.state().lingering = 1;
    world.delete("NodeClaim", "a").await;
    world.pass(3).await;
    let expected = "True/InstanceTerminating".to_owned();
    check_eq(
        "lifecycle/D6",
        condition(&world, "InstanceTerminating").await,
        expected,
    );
    let node = world.get("Node", "n").await.unwrap();
    check(
        "lifecycle/D6",
        node["metadata"]["deletionTimestamp"].is_null(),
    );
    world
        .until("end", 10, async |world| world.gone("NodeClaim", "a").await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_told_once() {
    let world = World::new().await;
    let grace = json!({"spec": {"terminationGracePeriod": "5m"}});
    for (row, name, extra, set) in [
        ("lifecycle/D7", "none", json!({}), Value::Null),
        (
            "lifecycle/D7",
            "set",
            grace.clone(),
            json!("2026-01-01T00:05:11Z"),
        ),
        (
            "lifecycle/D8",
            "told",
            with(
                grace,
                json!({"metadata": {"annotations": {
                    "karpenter.sh/nodeclaim-termination-timestamp": "2026-01-01T00:01:00Z",
                }}}),
            ),
            json!("2026-01-01T00:01:00Z"),
        ),
    ] {
        let world = if name == "set" {
            &World::new().await
        } else {
            &world
        };
        world.cloud.state().broken = true;
        world.create(with(claim(name), extra)).await;
        world.pass(10).await;
        world.delete("NodeClaim", name).await;
        world.pass(1).await;
        let claim = world.get("NodeClaim", name).await.unwrap();
        let annotations = &claim["metadata"]["annotations"];
        check_eq(
            row,
            &annotations["karpenter.sh/nodeclaim-termination-timestamp"],
            &set,
        );
    }
}

#[tokio::test(start_paused = true)]
async fn claims_expire() {
    let world = World::new().await;
    world
        .create(with(claim("a"), json!({"spec": {"expireAfter": "200s"}})))
        .await;
    world
        .create(with(claim("b"), json!({"spec": {"expireAfter": "Never"}})))
        .await;
    world.pass(190).await;
    check("lifecycle/X1", !world.gone("NodeClaim", "a").await);
    world.pass(15).await;
    check("lifecycle/X2", world.gone("NodeClaim", "a").await);
    // b becomes a node, since nothing else would keep it.
    let claim = world.get("NodeClaim", "b").await.unwrap();
    world
        .create(node("b", claim["status"]["providerID"].as_str().unwrap()))
        .await;
    world.pass(24 * 3600).await;
    check("lifecycle/X3", !world.gone("NodeClaim", "b").await);
}

#[tokio::test(start_paused = true)]
async fn claims_whose_machine_is_gone_are_collected() {
    let world = World::new().await;
    let mut machines = BTreeMap::new();
    for name in ["ready", "down", "missing"] {
        machines.insert(name, world.initialized(name).await);
    }
    machines.insert("unregistered", world.launched("unregistered").await);
    machines.insert("node-gone", world.initialized("node-gone").await);
    // The node's object alone goes: nobody holds it, and its machine is still there.
    world
        .patch(
            "Node",
            "node-gone",
            json!({"metadata": {"finalizers": null}}),
        )
        .await;
    world.remove("Node", "node-gone").await;
    world
        .patch("Node", "missing", json!({"metadata": {"finalizers": null}}))
        .await;
    world.remove("Node", "missing").await;
    let down = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    world.patch_status("Node", "down", down).await;
    for name in ["ready", "down", "missing", "unregistered"] {
        world.cloud.state().instances.remove(&machines[name]);
    }
    world.pass(150).await;
    check("lifecycle/X5", world.gone("NodeClaim", "down").await);
    check("lifecycle/X5", world.gone("NodeClaim", "missing").await);
    check("lifecycle/X6", !world.gone("NodeClaim", "ready").await);
    check(
        "lifecycle/X7",
        !world.gone("NodeClaim", "unregistered").await,
    );
    check("lifecycle/X8", !world.gone("NodeClaim", "node-gone").await);
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_and_go_are_events() {
    let world = World::new().await;
    world.initialized("a").await;
    let last = async || {
        let claim = world.get("NodeClaim", "a").await.unwrap();
        claim["status"]["lastPodEventTime"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    check_eq("before", last().await, String::new());
    world.create(pod("one", "a")).await;
    let first = world.now();
    tokio::time::sleep(Duration::from_millis(100)).await;
    check_eq("lifecycle/X11", last().await, first.clone());
    world.pass(5).await;
    world.create(pod("two", "a")).await;
    world.pass(1).await;
    check_eq("lifecycle/X12", last().await, first.clone());
    world.pass(10).await;
    world.create(pod("three", "a")).await;
    let later = world.now();
    tokio::time::sleep(Duration::from_millis(100)).await;
    check_eq("lifecycle/X12", last().await, later);
    world.pass(30).await;
    let before = last().await;
    world.create(pod("lost", "nowhere")).await;
    world.remove("Pod", "lost").await;
    world.pass(5).await;
    check_eq("lifecycle/X13", last().await, before);
}

#[tokio::test(start_paused = true)]
async fn what_was_forgotten_by_a_restart_is_found_again() {
    let mut world = World::new().await;
    let provider_id = world.launched("a").await;
    world.restart().await;
    world.create(node("a", &provider_id)).await;
    world.pass(3).await;
    check_eq(
        "restart",
        condition(&world, "Initialized").await,
        "True/Initialized".into(),
    );
    check_eq("restart", world.cloud.state().attempts, 1);
    world.delete("NodeClaim", "a").await;
    world.pass(2).await;
    world.restart().await;
    world
        .until("end", 30, async |world| world.gone("NodeClaim", "a").await)
        .await;
    check("restart", world.gone("Node", "a").await);
}

/// Upstream has a controller that drops claims which a late answer brought back into memory; ours
/// never come back.
#[test]
fn late_answers_bring_no_claim_back() {
    let mirror = Mirror::new(&WellKnown::default());
    let state = |version: u64, provider_id: Option<&str>| -> NodeClaim {
        let versioned = json!({
            "apiVersion": "karpenter.sh/v1",
            "metadata": {"uid": "1", "resourceVersion": version.to_string()},
            "status": {"providerID": provider_id},
        });
        serde_json::from_value(with(claim("a"), versioned)).unwrap()
    };
    let known = || mirror.named::<NodeClaim>("a").is_some();
    for provider_id in [None, Some("fake://a")] {
        let mirror = Mirror::new(&WellKnown::default());
        mirror.apply(state(5, provider_id));
        check("lifecycle/X14", mirror.named::<NodeClaim>("a").is_some());
    }
    mirror.apply(state(5, None));
    mirror.delete::<NodeClaim>(&Key::cluster("a"), "1");
    check("lifecycle/X14", !known());
    mirror.observe(state(6, None));
    check("lifecycle/X14", !known());
    mirror.delete::<NodeClaim>(&Key::cluster("a"), "1");
    check("lifecycle/X14", !known());
}
