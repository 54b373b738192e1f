//! Figures of consolidation: a cluster that has lost part of its pods, until it is at rest again.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Context, Result, ensure};
use karpenter_api::NodeClaim;
use kube::{Api, ResourceExt, api::ListParams};

use super::{
    ASK, Duration, PATIENCE, SAMPLE, deployment, line, node_prices, pool, ready, until_all_run,
    usage,
};
use crate::{
    cluster::{Cluster, Real},
    deployments,
};

/// At rest is where no claim came or went and no pod waited for so long.
const REST: Duration = Duration::from_secs(45);

/// Pools in these figures may be consolidated at once.
const AT_ONCE: &str = "disruption: {consolidateAfter: 0s, budgets: [{nodes: 100%}]}";

/// A thousand pods of two sizes, of which seven hundred stay.
pub(super) fn scaled() -> Result<String> {
    let apps = |count| {
        deployment("small", count, "900m", "3100Mi") + &deployment("large", count, "3500m", "28Gi")
    };
    shrink(
        "1,000 pods to 700",
        &pool("", AT_ONCE),
        &apps(500),
        1000,
        &apps(350),
        700,
    )
}

/// Thirty deployments, of which half the pods stay.
pub(super) fn halved_deployments() -> Result<String> {
    let (before, after) = (deployments::manifests(1), deployments::manifests(2));
    let pool = pool("", AT_ONCE);
    let (many, half) = (deployments::pods(1), deployments::pods(2));
    shrink("30 deployments halved", &pool, &before, many, &after, half)
}

/// Fourteen hundred pods on nodes of four processors, of which half stay.
pub(super) fn halved_small_nodes() -> Result<String> {
    let four = "- {key: karpenter.kwok.sh/instance-cpu, operator: In, values: ['4']}";
    let apps = |count| deployment("web", count, "900m", "1500Mi");
    shrink(
        "1,400 pods halved",
        &pool(four, AT_ONCE),
        &apps(1400),
        1400,
        &apps(700),
        700,
    )
}

fn shrink(
    name: &str,
    pool: &str,
    before: &str,
    many: i32,
    after: &str,
    few: i32,
) -> Result<String> {
    let mut cluster = Real::start()?;
    cluster.apply(pool)?;
    until_all_run(&mut cluster, name, before, many)?;
    let process = cluster
        .controller()
        .and_then(|one| one.id())
        .context("no controller")?;
    let known = claims(&mut cluster)?;
    let mut last = known.clone();
    let mut created = 0;
    let mut memory = Vec::new();
    let begun = usage(process)?;
    let start = Instant::now();
    cluster.apply(after)?;
    let mut changed = Instant::now();
    let mut at_last = begun;
    let mut asked = Instant::now();
    while changed.elapsed() < REST {
        memory.push(usage(process)?.megabytes);
        cluster.pass(SAMPLE)?;
        if asked.elapsed() < ASK {
            continue;
        }
        asked = Instant::now();
        let now = claims(&mut cluster)?;
        let state = cluster.state()?;
        let is_moving = state.unbound() > 0 || state.pods.iter().any(|pod| pod.deleting);
        if now != last || is_moving {
            created += now.difference(&last).count();
            changed = Instant::now();
            at_last = usage(process)?;
            last = now;
        }
        ensure!(start.elapsed() < PATIENCE, "no rest\n{}", cluster.logs());
    }
    let ready = ready(&mut cluster)?;
    ensure!(
        ready == few,
        "{ready} of {few} pods run\n{}",
        cluster.state()?.describe()
    );
    let (nodes, price) = node_prices(&mut cluster)?;
    let rest = format!(
        ", {} nodes of {} left, {created} created, ${price:.2}/h",
        nodes,
        known.len()
    );
    let wall = changed.duration_since(start).as_secs_f64();
    let cpu = at_last.seconds - begun.seconds;
    Ok(line(name, wall, cpu, &mut memory, &rest))
}

fn claims(cluster: &mut Real) -> Result<BTreeSet<String>> {
    let claims: Api<NodeClaim> = Api::all(cluster.client());
    let listed = cluster.run(claims.list(&ListParams::default()))?;
    Ok(listed.iter().map(ResourceExt::name_any).collect())
}
