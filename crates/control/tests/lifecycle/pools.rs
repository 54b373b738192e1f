//! Pools: counting, stamps, readiness, registration health, validation.

use serde_json::{Value, json};

use crate::world::{World, claim, pool, with};
use crate::{check, check_eq};

async fn default_pool(world: &World) -> Value {
    world.get("NodePool", "default").await.unwrap()
}

async fn condition(world: &World, type_: &str) -> String {
    world.condition("NodePool", "default", type_).await
}

#[tokio::test(start_paused = true)]
async fn a_pool_tells_what_it_has() {
    let world = World::new().await;
    let resources = async || default_pool(&world).await["status"]["resources"].clone();
    let nothing = json!({
        "cpu": "0", "memory": "0", "pods": "0", "ephemeral-storage": "0", "nodes": "0",
    });
    check_eq("lifecycle/P1", resources().await, nothing.clone());
    check_eq(
        "lifecycle/P1",
        &default_pool(&world).await["status"]["nodes"],
        &json!(0),
    );

    let provider_id = world.launched("a").await;
    world.pass(5).await;
    let claimed = with(nothing.clone(), json!({"cpu": "4", "nodes": "1"}));
    check_eq("lifecycle/P2", resources().await, claimed);
    let reported = json!({"status": {"capacity": {"cpu": "3900m", "memory": "8Gi"}}});
    world
        .create(with(crate::world::node("a", &provider_id), reported))
        .await;
    world.pass(5).await;
    let own = with(
        nothing.clone(),
        json!({"cpu": "3900m", "memory": "8Gi", "nodes": "1"}),
    );
    check_eq("lifecycle/P2", resources().await, own.clone());

    world.initialized("b").await;
    world.pass(5).await;
    let both = with(
        nothing.clone(),
        json!({"cpu": "7900m", "memory": "8Gi", "nodes": "2"}),
    );
    check_eq("lifecycle/P3", resources().await, both);
    world.delete("NodeClaim", "b").await;
    world.pass(15).await;
    check_eq("lifecycle/P3", resources().await, own);
    world.delete("NodeClaim", "a").await;
    world.pass(15).await;
    check_eq("lifecycle/P3", resources().await, nothing);
    check_eq(
        "lifecycle/P3",
        &default_pool(&world).await["status"]["nodes"],
        &json!(0),
    );
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_stamped_with_its_template() {
    let world = World::new().await;
    let stamp =
        async |key: &str| default_pool(&world).await["metadata"]["annotations"][key].clone();
    let first = stamp("karpenter.sh/nodepool-hash").await;
    check("lifecycle/P4", first.is_string());
    check_eq(
        "lifecycle/P4",
        stamp("karpenter.sh/nodepool-hash-version").await,
        json!("v3"),
    );
    world
        .patch(
            "NodePool",
            "default",
            json!({"spec": {"limits": {"cpu": "10"}}}),
        )
        .await;
    world.pass(2).await;
    check_eq(
        "lifecycle/P4",
        stamp("karpenter.sh/nodepool-hash").await,
        first.clone(),
    );
    let labels = json!({"spec": {"template": {"metadata": {"labels": {"team": "a"}}}}});
    world.patch("NodePool", "default", labels).await;
    world.pass(2).await;
    check(
        "lifecycle/P4",
        stamp("karpenter.sh/nodepool-hash").await != first,
    );
}

#[tokio::test(start_paused = true)]
async fn older_stamps_are_renewed_and_drifted_claims_keep_theirs() {
    let world = World::new().await;
    // One of them is not of the team that the pool asks for now.
    let blue = json!({"spec": {"template": {"spec": {"requirements": [
        {"key": "example.com/team", "operator": "In", "values": ["blue"]},
    ]}}}});
    world.patch("NodePool", "default", blue).await;
    for (name, team) in [("plain", "blue"), ("drifted", "red")] {
        let metadata = json!({"metadata": {
            "labels": {"example.com/team": team},
            "annotations": {
                "karpenter.sh/nodepool-hash": "old", "karpenter.sh/nodepool-hash-version": "v2",
            },
        }});
        world.create(with(claim(name), metadata)).await;
    }
    world.pass(3).await;
    let drifted = world.get("NodeClaim", "drifted").await.unwrap();
    let conditions = drifted["status"]["conditions"].as_array().unwrap();
    let reason = conditions.iter().find(|own| own["type"] == "Drifted");
    check_eq(
        "lifecycle/Y3",
        &reason.unwrap()["reason"],
        &json!("RequirementsDrifted"),
    );
    // A release of its time wrote the same on the pool and on what was made from it.
    let outdated = json!({"metadata": {"annotations": {
        "karpenter.sh/nodepool-hash": "old", "karpenter.sh/nodepool-hash-version": "v2",
    }}});
    world.patch("NodePool", "default", outdated).await;
    world.pass(2).await;
    let hash = default_pool(&world).await["metadata"]["annotations"].clone();
    check_eq(
        "lifecycle/P5",
        &hash["karpenter.sh/nodepool-hash-version"],
        &json!("v3"),
    );
    for (name, expected) in [
        ("plain", hash["karpenter.sh/nodepool-hash"].clone()),
        ("drifted", json!("old")),
    ] {
        let claim = world.get("NodeClaim", name).await.unwrap();
        let annotations = &claim["metadata"]["annotations"];
        check_eq(
            "lifecycle/P5",
            &annotations["karpenter.sh/nodepool-hash-version"],
            &json!("v3"),
        );
        check_eq(
            "lifecycle/P5",
            &annotations["karpenter.sh/nodepool-hash"],
            &expected,
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_ready_when_its_node_class_is() {
    let world = World::new().await;
    check_eq(
        "ready",
        condition(&world, "Ready").await,
        "True/Ready".into(),
    );
    let told = |status: &str| {
        json!({"status": {"conditions": [{
            "type": "Ready", "status": status, "reason": "NoSubnet", "message": "none",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}})
    };
    for (row, status, expected) in [
        ("lifecycle/P6", told("False"), "False/NoSubnet"),
        (
            "lifecycle/P6",
            json!({"status": {"conditions": []}}),
            "False/NodeClassReadinessUnknown",
        ),
        ("ready again", told("True"), "True/NodeClassReady"),
    ] {
        world.patch_status("KWOKNodeClass", "default", status).await;
        world.pass(1).await;
        check_eq(
            row,
            condition(&world, "NodeClassReady").await,
            expected.into(),
        );
    }
    let held = json!({"metadata": {"finalizers": ["test/keep"]}});
    world.patch("KWOKNodeClass", "default", held).await;
    world.delete("KWOKNodeClass", "default").await;
    world.pass(1).await;
    let terminating = "False/NodeClassTerminating".to_owned();
    check_eq(
        "lifecycle/P6",
        condition(&world, "NodeClassReady").await,
        terminating,
    );
    world
        .patch(
            "KWOKNodeClass",
            "default",
            json!({"metadata": {"finalizers": null}}),
        )
        .await;
    world.pass(1).await;
    let missing = "False/NodeClassNotFound".to_owned();
    check_eq(
        "lifecycle/P6",
        condition(&world, "NodeClassReady").await,
        missing,
    );
    check_eq(
        "lifecycle/P6",
        condition(&world, "Ready").await,
        "False/UnhealthyDependents".into(),
    );
}

/// Makes claims of the default pool that are given up after the launch timeout.
async fn fail(world: &World, names: &[&str], uid: &Value) {
    world.cloud.state().refuse_all = Some("throttled".into());
    for name in names {
        let owner = json!([{
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "default", "uid": uid,
        }]);
        let owned = json!({"metadata": {"ownerReferences": owner}});
        world.create(with(claim(name), owned)).await;
    }
    world.pass(400).await;
    for name in names {
        check("given up", world.gone("NodeClaim", name).await);
    }
}

#[tokio::test(start_paused = true)]
async fn two_failed_launches_make_a_pool_unhealthy() {
    let world = World::new().await;
    let health = async || condition(&world, "NodeRegistrationHealthy").await;
    check_eq(
        "new",
        health().await,
        "Unknown/AwaitingReconciliation".into(),
    );
    let uid = default_pool(&world).await["metadata"]["uid"].clone();
    fail(&world, &["a"], &uid).await;
    check_eq(
        "lifecycle/P8",
        health().await,
        "Unknown/AwaitingReconciliation".into(),
    );
    fail(&world, &["b"], &uid).await;
    check_eq("lifecycle/L14", health().await, "False/LaunchFailed".into());
    world.pass(600).await;
    check_eq("lifecycle/P8", health().await, "False/LaunchFailed".into());

    // A changed template starts afresh.
    let labels = json!({"spec": {"template": {"metadata": {"labels": {"team": "a"}}}}});
    world.patch("NodePool", "default", labels).await;
    world.pass(2).await;
    check_eq(
        "lifecycle/P7",
        health().await,
        "Unknown/AwaitingReconciliation".into(),
    );
    fail(&world, &["c"], &uid).await;
    check_eq(
        "lifecycle/P7",
        health().await,
        "Unknown/AwaitingReconciliation".into(),
    );
    let class = json!({"spec": {"nodeRegistrationDelay": "5s"}});
    world.patch("KWOKNodeClass", "default", class).await;
    world.pass(2).await;
    let seen = default_pool(&world).await["status"]["nodeClassObservedGeneration"].clone();
    check_eq("lifecycle/P7", seen, json!(2));
    fail(&world, &["d"], &uid).await;
    check_eq(
        "lifecycle/P7",
        health().await,
        "Unknown/AwaitingReconciliation".into(),
    );
}

#[tokio::test(start_paused = true)]
async fn a_registered_node_makes_a_pool_healthy() {
    let world = World::new().await;
    let uid = default_pool(&world).await["metadata"]["uid"].clone();
    let owner = json!([{
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "default", "uid": uid,
    }]);
    world
        .create(with(
            claim("a"),
            json!({"metadata": {"ownerReferences": owner}}),
        ))
        .await;
    world.pass(1).await;
    let claim = world.get("NodeClaim", "a").await.unwrap();
    let provider_id = claim["status"]["providerID"].as_str().unwrap();
    world.create(crate::world::node("a", provider_id)).await;
    world.pass(2).await;
    let expected = "True/NodeRegistrationHealthy".to_owned();
    check_eq(
        "healthy",
        condition(&world, "NodeRegistrationHealthy").await,
        expected,
    );
}

#[tokio::test(start_paused = true)]
async fn outcomes_of_a_former_pool_do_not_count() {
    let world = World::new().await;
    let uid = default_pool(&world).await["metadata"]["uid"].clone();
    world.cloud.state().refuse_all = Some("throttled".into());
    world.delete("NodePool", "default").await;
    world.create(pool("default")).await;
    world.pass(1).await;
    check(
        "another pool",
        default_pool(&world).await["metadata"]["uid"] != uid,
    );
    // The claims still belong to the former pool, which the server would collect; keep them.
    for name in ["a", "b", "c"] {
        let owner = json!([{
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "default", "uid": uid,
        }]);
        let kept = json!({"metadata": {
            "ownerReferences": owner, "finalizers": ["test/keep", "karpenter.sh/termination"],
        }});
        world.create(with(claim(name), kept)).await;
    }
    world.pass(400).await;
    let expected = "Unknown/AwaitingReconciliation".to_owned();
    check_eq(
        "lifecycle/L15",
        condition(&world, "NodeRegistrationHealthy").await,
        expected,
    );
}

#[tokio::test(start_paused = true)]
async fn a_template_that_cannot_work_is_told() {
    let world = World::new().await;
    let capacity = |values: &[&str]| {
        json!({"spec": {"template": {"spec": {"requirements": [{
            "key": "karpenter.sh/capacity-type", "operator": "In", "values": values,
        }]}}}})
    };
    for (row, values, expected) in [
        (
            "lifecycle/P9",
            vec!["dedicated"],
            "False/NodePoolValidationFailed",
        ),
        (
            "lifecycle/P9",
            vec!["dedicated", "spot"],
            "True/ValidationSucceeded",
        ),
    ] {
        world.patch("NodePool", "default", capacity(&values)).await;
        world.pass(1).await;
        check_eq(
            row,
            condition(&world, "ValidationSucceeded").await,
            expected.into(),
        );
    }
    check_eq("told", world.events("ValidationSucceeded").await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_pool_is_left_alone() {
    let world = World::new().await;
    let class = json!({"group": "other.sh", "kind": "OtherNodeClass", "name": "x"});
    let foreign = json!({"spec": {"template": {"spec": {"nodeClassRef": class}}}});
    let before = world.create(with(pool("foreign"), foreign)).await;
    world.pass(60).await;
    check_eq(
        "untouched",
        world.get("NodePool", "foreign").await.unwrap(),
        before,
    );
}
