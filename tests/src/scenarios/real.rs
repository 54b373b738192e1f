//! Faults of what is around us, which only a real control plane can have.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use super::{
    PATIENCE,
    life::{all_run, settled},
    manifests::{deployment, pool},
    whole::whole,
};
use crate::cluster::{Cluster, Real};

const SMALL: &str = "{cpu: 900m, memory: 1Gi}";
const LEASE: &str = "karpenter-leader-election";

/// The API server goes in the middle of growth, and comes back.
pub(super) fn api_server_killed(cluster: &mut Real) -> Result<String> {
    settled(cluster, 6)?;
    cluster.apply(&deployment("web", 60, SMALL, ""))?;
    let before = cluster.state()?.claims.len();
    cluster.until("new claims appear", PATIENCE, |state| {
        state.claims.len() > before
    })?;
    cluster.plane.kill_api_server();
    cluster.pass(Duration::from_secs(4))?;
    cluster.restart_api_server()?;
    cluster.until("all pods run", PATIENCE, |state| all_run(state, 60))?;
    let found = whole(cluster, 60)?;
    // What went on while nobody could hear it: watches must have caught up.
    cluster.plane.kill_api_server();
    cluster.restart_api_server()?;
    cluster.apply(&deployment("web", 0, SMALL, ""))?;
    cluster.until("no node is left", PATIENCE, |state| {
        state.pods.is_empty() && state.nodes.is_empty() && state.claims.is_empty()
    })?;
    Ok(found)
}

/// etcd forgets what the watches have seen last: they must list again.
pub(super) fn past_compacted(cluster: &mut Real) -> Result<String> {
    settled(cluster, 6)?;
    cluster.compact()?;
    cluster.apply(&deployment("web", 20, SMALL, ""))?;
    cluster.until("pods run after a compaction", PATIENCE, |state| {
        all_run(state, 20)
    })?;
    // A server that starts has no past but etcd's, and there is none beyond the last change.
    cluster.plane.kill_api_server();
    cluster.compact()?;
    cluster.restart_api_server()?;
    cluster.compact()?;
    cluster.apply(&deployment("web", 40, SMALL, ""))?;
    cluster.until("pods run after the watches are lost", PATIENCE, |state| {
        all_run(state, 40)
    })?;
    whole(cluster, 40)
}

/// Of two replicas the one that leads is killed; the other takes over.
pub(super) fn leader_killed(cluster: &mut Real) -> Result<String> {
    cluster.kill_controller();
    let election = &[("LEADER_ELECTION_NAMESPACE", "kube-system")][..];
    let mut first = cluster.replica("first", election)?;
    let led_by_first = holder(cluster, |holder| !holder.is_empty())?;
    let mut second = cluster.replica("second", election)?;
    cluster.apply(&pool("red"))?;
    cluster.apply(&deployment("web", 20, SMALL, ""))?;
    cluster.until("claims are made", PATIENCE, |state| {
        !state.claims.is_empty()
    })?;
    second.healthy()?;
    first.kill();
    let led_by_second = holder(cluster, |holder| {
        !holder.is_empty() && holder != led_by_first
    })
    .with_context(|| second.log())?;
    cluster
        .until("all pods run", PATIENCE, |state| all_run(state, 20))
        .with_context(|| second.log())?;
    let found = whole(cluster, 20)?;
    // It gives the lease back: the next one need not wait for it to expire.
    second.stop()?;
    let mut third = cluster.replica("third", election)?;
    let took = std::time::Instant::now();
    holder(cluster, |holder| {
        !holder.is_empty() && holder != led_by_second
    })
    .with_context(|| third.log())?;
    ensure!(
        took.elapsed() < Duration::from_secs(10),
        "the lease was not released"
    );
    cluster.apply(&deployment("web", 0, SMALL, ""))?;
    cluster
        .until("no node is left", PATIENCE, |state| {
            state.nodes.is_empty() && state.claims.is_empty()
        })
        .with_context(|| third.log())?;
    third.stop()?;
    cluster.start_controller()?;
    Ok(found)
}

/// Waits until the lease has a holder such as wanted.
fn holder(cluster: &mut Real, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let client = cluster.client();
    let leases: Api<Lease> = Api::namespaced(client, "kube-system");
    let start = std::time::Instant::now();
    loop {
        let lease = cluster.run(leases.get_opt(LEASE))?;
        let holder = lease
            .and_then(|lease| lease.spec)
            .and_then(|spec| spec.holder_identity);
        if let Some(holder) = holder.filter(|holder| wanted(holder)) {
            return Ok(holder);
        }
        ensure!(start.elapsed() < Duration::from_mins(1), "nobody leads");
        cluster.run(async { tokio::time::sleep(Duration::from_millis(200)).await });
    }
}
