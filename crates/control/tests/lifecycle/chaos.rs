//! Whatever is lost on the way, and whenever the process ends: nothing is launched twice, and nothing
//! is left behind.

use karpenter_cloud::LaunchError;

use crate::{
    check, check_eq,
    world::{World, claim, node, pod},
};

/// What a kubelet does: join with each machine, run a pod, and end pods that are asked to leave.
async fn kubelet(world: &World) {
    let nodes = world.list("Node").await;
    for claim in world.list("NodeClaim").await {
        let Some(provider_id) = claim["status"]["providerID"].as_str() else {
            continue;
        };
        let exists = world.cloud.state().instances.contains_key(provider_id);
        let joined = nodes
            .iter()
            .any(|node| node["spec"]["providerID"] == provider_id);
        let leaving = !claim["metadata"]["deletionTimestamp"].is_null();
        if exists && !joined && !leaving {
            let name = claim["metadata"]["name"].as_str().unwrap();
            world.create(node(name, provider_id)).await;
            if world.gone("Pod", name).await {
                world.create(pod(name, name)).await;
            }
        }
    }
    for pod in world.list("Pod").await {
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            world
                .remove("Pod", pod["metadata"]["name"].as_str().unwrap())
                .await;
        }
    }
}

/// A cluster's life under a seed: six claims become nodes and go again, in bad weather.
async fn life(seed: u64, losses: u64, restarts: &[u64]) {
    let mut world = World::new().await;
    world.cloud.state().lingering = 3;
    *world.weather.lock().unwrap() = crate::world::Weather { losses, seed };
    for number in 0..6 {
        if number % 4 == seed % 4 {
            let answer = LaunchError::Other("throttled".into());
            world.cloud.state().answers.push_back(answer);
        }
        world.create(claim(&format!("c{number}"))).await;
    }
    for second in 0..180 {
        kubelet(&world).await;
        world.pass(1).await;
        if restarts.contains(&second) {
            world.restart().await;
        }
        if second == 90 {
            for claim in world.list("NodeClaim").await {
                let name = claim["metadata"]["name"].as_str().unwrap();
                let ready = world.condition("NodeClaim", name, "Ready").await;
                check_eq(&format!("seed {seed}: {name}"), ready, "True/Ready".into());
                world.delete("NodeClaim", name).await;
            }
        }
    }
    let row = format!("seed {seed}");
    check_eq(&row, world.cloud.state().launched.len(), 6);
    check_eq(&row, world.list("NodeClaim").await.len(), 0);
    check_eq(&row, world.list("Node").await.len(), 0);
    check(&row, world.cloud.state().instances.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_in_bad_weather() {
    for seed in 1..=2 {
        life(seed, 20, &[]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_by_restarts() {
    for seed in 1..=4 {
        life(seed, 10, &[0, 1, 2, 3, 5, 9, 30, 91, 92, 94, 98, 101, 110]).await;
    }
}
