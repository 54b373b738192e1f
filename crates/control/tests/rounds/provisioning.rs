//! Pods become claims: what the shell adds to the core's plan.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use karpenter_api::{NodeClaim, NodePool, conditions};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn a_settled_cluster_is_left_alone() {
    let mut world = World::new().await;
    world.run();
    world.pool("default", json!({})).await;
    world.at(5).await;
    let revision = world.server.revision();
    world.at(24 * 3600).await;
    assert_eq!(world.server.revision(), revision, "{}", world.dump().await);
}

#[tokio::test(start_paused = true)]
async fn a_pending_pod_becomes_a_claim_after_the_quiet_time() {
    let mut world = World::new().await;
    world.run();
    world.pool("default", json!({})).await;
    world.at(5).await;
    world.pending("web", "1", json!({})).await;
    assert!(world.claims().await.is_empty());
    world.at(7).await;
    let claims = world.claims().await;
    assert_eq!(claims.len(), 1, "{}", world.dump().await);
    let claim = &claims[0];
    assert!(
        claim
            .metadata
            .name
            .as_deref()
            .unwrap()
            .starts_with("default-")
    );
    let nominated = format!(
        "Pod should schedule on: nodeclaim/{}",
        claim.metadata.name.as_deref().unwrap()
    );
    assert_eq!(world.events("Nominated").await, [nominated]);
    // Nothing more comes of it: the pod is expected there.
    let rounds = world.ctx.status.rounds();
    world.at(120).await;
    assert_eq!(world.claims().await.len(), 1);
    assert!(
        world.ctx.status.rounds() <= rounds + 2,
        "{}",
        world.ctx.status.rounds()
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_pod_costs_nothing_until_something_changes() {
    let mut world = World::new().await;
    world.run();
    world.pool("default", json!({})).await;
    world.at(5).await;
    world.pending("huge", "5000", json!({})).await;
    world.at(30).await;
    let rounds = world.ctx.status.rounds();
    assert!(rounds >= 1);
    world.at(200).await;
    assert_eq!(world.ctx.status.rounds(), rounds);
    let told = world.events("FailedScheduling").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("Failed to schedule pod, "), "{told:?}");
    // A pool is a change, even though it does not help.
    world.pool("other", json!({})).await;
    world.at(220).await;
    assert!(world.ctx.status.rounds() > rounds);
}

#[tokio::test(start_paused = true)]
async fn without_a_ready_pool_nothing_is_created_and_a_pool_that_becomes_ready_serves() {
    let mut world = World::new().await;
    world.run();
    world.at(5).await;
    world.pending("web", "1", json!({})).await;
    world.at(60).await;
    world
        .check("scheduling/E15", world.claims().await.is_empty())
        .await;
    assert!(world.events("FailedScheduling").await.is_empty());
    world.pool("default", json!({})).await;
    world.at(64).await;
    assert_eq!(world.claims().await.len(), 1, "{}", world.dump().await);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_told_of_the_node_that_has_room_for_it() {
    let mut world = World::new().await;
    world.run();
    world.pool("default", json!({})).await;
    world.at(1).await;
    let nodes = world.busy_nodes(1).await;
    world.pending("beside", "1", json!({})).await;
    world.at(world.seconds() + 5).await;
    assert_eq!(world.claims().await.len(), 1);
    let claim = world.claims().await.remove(0).metadata.name.unwrap();
    let told = world.events("Nominated").await;
    let expected = format!(
        "Pod should schedule on: nodeclaim/{claim}, node/{}",
        nodes[0]
    );
    assert_eq!(told.last(), Some(&expected), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_static_pool_serves_no_pods() {
    let mut world = World::new().await;
    world.run();
    // The feature gate is off: such a pool does nothing at all.
    world.pool("static", json!({ "replicas": 2 })).await;
    world.at(5).await;
    world.pending("web", "1", json!({})).await;
    world.at(30).await;
    world
        .check("scheduling/E16", world.claims().await.is_empty())
        .await;
    world.pool("dynamic", json!({})).await;
    world.at(40).await;
    let claims = world.claims().await;
    world.check("scheduling/E17", claims.len() == 1).await;
    assert!(
        claims[0]
            .metadata
            .name
            .as_deref()
            .unwrap()
            .starts_with("dynamic-")
    );
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_claim_that_goes_are_scheduled_anew() {
    let mut world = World::new().await;
    world.run();
    world.pool("default", json!({})).await;
    world.at(5).await;
    world.pending("web", "1", json!({})).await;
    world.at(7).await;
    let first = world.claims().await.remove(0).metadata.name.unwrap();
    let claims: Api<NodeClaim> = Api::all(world.client.clone());
    claims
        .delete(&first, &DeleteParams::default())
        .await
        .unwrap();
    world.at(20).await;
    let names: Vec<String> = world
        .claims()
        .await
        .into_iter()
        .filter(|claim| claim.metadata.deletion_timestamp.is_none())
        .filter_map(|claim| claim.metadata.name)
        .collect();
    assert_eq!(names.len(), 1, "{}", world.dump().await);
    assert_ne!(names[0], first);
}

#[tokio::test(start_paused = true)]
async fn a_restart_launches_nothing_twice() {
    let mut world = World::new().await;
    world.run();
    world.pool("default", json!({})).await;
    world.at(5).await;
    world.pending("web", "1", json!({})).await;
    world.at(7).await;
    assert_eq!(world.claims().await.len(), 1);
    world.restart().await;
    world.at(60).await;
    assert_eq!(world.claims().await.len(), 1, "{}", world.dump().await);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_does_not_decode_is_set_aside_and_others_go_on() {
    let mut world = World::new().await;
    world.admit_any_pool().await;
    world.run();
    let resource = ApiResource::erase::<karpenter_api::NodePool>(&());
    let pools: Api<DynamicObject> = Api::all_with(world.client.clone(), &resource);
    let odd = DynamicObject::new("odd", &resource).data(json!({ "spec": { "weight": "heavy" } }));
    pools.create(&PostParams::default(), &odd).await.unwrap();
    world.pool("default", json!({})).await;
    world.at(5).await;
    world.pending("web", "1", json!({})).await;
    world.at(20).await;
    assert_eq!(world.claims().await.len(), 1, "{}", world.dump().await);
    let aside = world.ctx.mirror.aside();
    assert_eq!(aside.len(), 1);
    assert_eq!((aside[0].0, &*aside[0].1.name), ("NodePool", "odd"));
    // Once it can be read it is an ordinary pool.
    pools.delete("odd", &DeleteParams::default()).await.unwrap();
    world.at(21).await;
    assert!(world.ctx.mirror.aside().is_empty());
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_node_that_goes_get_another_one() {
    let mut world = World::new().await;
    world.run();
    world.pool("default", json!({})).await;
    world.at(1).await;
    world.busy_nodes(1).await;
    // The budget keeps the pod where it is for now; a pod that is evicted at once is not moved but
    // replaced by its owner.
    let budget: PodDisruptionBudget = serde_json::from_value(json!({
        "metadata": { "name": "all", "namespace": "default" },
        "spec": { "minAvailable": 1, "selector": {} },
        "status": {
            "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
        },
    }))
    .unwrap();
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(world.client.clone(), "default");
    budgets
        .create(&PostParams::default(), &budget)
        .await
        .unwrap();
    let status = json!({ "status": budget.status });
    budgets
        .patch_status("all", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    let first = world.claims().await.remove(0).metadata.name.unwrap();
    let claims: Api<NodeClaim> = Api::all(world.client.clone());
    claims
        .delete(&first, &DeleteParams::default())
        .await
        .unwrap();
    world.at(world.seconds() + 8).await;
    let names: Vec<String> = world
        .claims()
        .await
        .into_iter()
        .filter_map(|claim| claim.metadata.name)
        .collect();
    assert_eq!(names.len(), 2, "{}", world.dump().await);
    assert!(names.contains(&first));
    // And no third one while the pod is on its way.
    world.at(world.seconds() + 60).await;
    assert_eq!(world.claims().await.len(), 2, "{}", world.dump().await);
}

#[tokio::test(start_paused = true)]
async fn equal_seeds_write_equal_logs() {
    let mut logs = Vec::new();
    for _ in 0..2 {
        let mut world = World::new().await;
        world.run();
        world.pool("default", json!({})).await;
        for index in 0..20 {
            world
                .pending(&format!("web-{index}"), "100", json!({}))
                .await;
        }
        world.at(30).await;
        world.make_nodes_ready().await;
        world.at(600).await;
        logs.push(world.server.write_log());
    }
    assert!(logs[0].len() > 60);
    assert_eq!(logs[0], logs[1]);
}

/// The scheduler puts another pod onto the node that was made for this one.
#[tokio::test(start_paused = true)]
async fn a_pod_whose_place_is_taken_gets_another_at_once() {
    // Before the node is initialized, and after: promised places are of another kind then.
    for is_taken_early in [true, false] {
        let mut world = World::new().await;
        world.run();
        world.pool("default", json!({})).await;
        world.at(5).await;
        // No two of these fit on the largest type.
        world.pending("meant", "200", json!({})).await;
        world.at(20).await;
        let first = world.nodes().await[0].metadata.name.clone().unwrap();
        if is_taken_early {
            world.pending("other", "200", json!({})).await;
            world.bind("other", &first).await;
            world.make_nodes_ready().await;
        } else {
            world.make_nodes_ready().await;
            world.at(22).await;
            world.pending("other", "200", json!({})).await;
            world.bind("other", &first).await;
        }
        world.at(25).await;
        let claims = world.claims().await.len();
        assert_eq!(claims, 2, "{is_taken_early}: {}", world.dump().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_leaves_no_type_says_so_and_others_go_on() {
    let mut world = World::new().await;
    world.run();
    let architecture =
        |value: &str| json!([{ "key": "kubernetes.io/arch", "operator": "In", "values": [value] }]);
    let requirements =
        |value: &str| json!({ "template": { "spec": { "requirements": architecture(value) } } });
    world.pool("broad", json!({})).await;
    world.pool("narrow", requirements("sparc")).await;
    world.at(5).await;
    world.pending("web", "1", json!({})).await;
    world.at(8).await;
    assert_eq!(world.claims().await.len(), 1);
    let message = "NodePool requirements filtered out all compatible available instance types";
    assert_eq!(world.events("NoCompatibleInstanceTypes").await, [message]);
    let pools: Api<NodePool> = Api::all(world.client.clone());
    let told = async |name: &str| {
        let pool = pools.get(name).await.unwrap();
        let all = pool.status.unwrap().conditions.unwrap();
        let found = conditions::get(&all, "InstanceTypesCompatible");
        let ready = conditions::is_true(&all, "Ready");
        (
            ready,
            found.map(|found| (found.status.clone(), found.message.clone())),
        )
    };
    let no = ("False".to_owned(), message.to_owned());
    assert_eq!(told("narrow").await, (true, Some(no)));
    assert_eq!(told("broad").await, (true, None));

    let patch = json!({ "spec": requirements("arm64") });
    pools
        .patch("narrow", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
    world.at(10).await;
    let yes = ("True".to_owned(), String::new());
    assert_eq!(told("narrow").await, (true, Some(yes)));
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_nodes_is_never_passed() {
    let mut world = World::new().await;
    world.run();
    world
        .pool("default", json!({"limits": {"nodes": "2"}}))
        .await;
    world.at(5).await;
    for index in 0..4 {
        let apart = json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"affinity": {"podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [{
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": {"app": "web"}},
                }],
            }}},
        });
        world.pending(&format!("web-{index}"), "1", apart).await;
    }
    world.at(60).await;
    let claims = world.claims().await;
    assert_eq!(claims.len(), 2, "{}", world.dump().await);
}
