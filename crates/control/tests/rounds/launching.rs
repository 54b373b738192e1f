//! Claims that have no machine yet: unlike upstream's, our rounds do not wait for them.

use serde_json::json;

use crate::world::{Launches, World};

#[tokio::test(start_paused = true)]
async fn an_unlaunched_claim_holds_nobody_up_and_is_made_once() {
    let mut world = World::new().await;
    world.launches(Launches::Fail);
    world.run();
    world.pool("default", json!({})).await;
    world.at(5).await;
    world.pending("first", "200", json!({})).await;
    world.at(10).await;
    assert_eq!(world.claims().await.len(), 1);
    // Upstream looks at no pod while any claim is unlaunched.
    world.pending("second", "200", json!({})).await;
    world.at(15).await;
    assert_eq!(world.claims().await.len(), 2, "{}", world.dump().await);
    // One that fits beside the first stays with it: no third claim, whatever time passes.
    world.pending("small", "1", json!({})).await;
    world.at(60).await;
    assert_eq!(world.claims().await.len(), 2, "{}", world.dump().await);
    // A restart forgets what they were made for, and sees the places all the same.
    world.restart().await;
    world.at(120).await;
    assert_eq!(world.claims().await.len(), 2, "{}", world.dump().await);
    assert!(world.nodes().await.is_empty());
    world.launches(Launches::Succeed);
    world.at(240).await;
    assert_eq!(world.nodes().await.len(), 2, "{}", world.dump().await);
    assert_eq!(world.claims().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_with_nothing_left_is_asked_patiently() {
    let mut world = World::new().await;
    world.launches(Launches::NoCapacity);
    world.run();
    world.pool("default", json!({})).await;
    world.at(5).await;
    world.pending("web", "1", json!({})).await;
    world.at(65).await;
    let log = world.server.write_log();
    let asked = log
        .iter()
        .filter(|line| line.starts_with("create nodeclaims"))
        .count();
    assert!((4..=7).contains(&asked), "{asked} {}", world.dump().await);
    world.launches(Launches::Succeed);
    world.at(80).await;
    assert_eq!(world.nodes().await.len(), 1, "{}", world.dump().await);
}
