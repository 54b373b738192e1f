//! What the process shows of itself.

use std::sync::Arc;

use http_body_util::BodyExt;
use karpenter_apiserver::Server;
use karpenter_control::{
    clock::Clock,
    health::Check,
    lease::Standing,
    metrics::Metrics,
    serve::{MetricsPages, Page, Pages, ProbePages},
};
use tokio::sync::watch;

use crate::world::{EPOCH, World};

/// The status and the text of a page.
pub(crate) async fn read(page: Page) -> (u16, String) {
    let status = page.status().as_u16();
    let text = page.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

fn probes(world: &World, server: &Server, standing: Standing) -> ProbePages {
    ProbePages {
        live: vec![Check::ping("healthz")],
        ready: vec![
            Check::manager(Arc::clone(&world.ctx), watch::channel(standing).1),
            Check::crd(server.client()),
            Check::ping("readyz"),
        ],
    }
}

async fn check(row: &str, pages: &impl Pages, path: &str, status: u16, words: &str) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (found, text) = read(pages.page(path, query).await).await;
    assert_eq!(found, status, "{row} {path}?{query}: {text}");
    assert!(text.contains(words), "{row} {path}?{query}: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_our_kinds_is_alive_but_not_ready() {
    let world = World::new().await;
    let epoch = Clock::starting_at(EPOCH.parse().unwrap());
    let bare = Server::new(karpenter_apiserver::Options::new(Arc::new(move || {
        epoch.now()
    })));
    let pages = probes(&world, &bare, Standing::Waiting);
    let row = "operations/O23";
    check(row, &pages, "/healthz", 200, "ok").await;
    check(row, &pages, "/readyz", 500, "[-]crd failed: ").await;
    check(
        row,
        &pages,
        "/readyz/crd",
        500,
        "NodePool; install the CRDs",
    )
    .await;
    check(row, &pages, "/readyz", 500, "[+]manager ok").await;
    check(row, &pages, "/readyz/manager", 200, "ok").await;
    check(row, &pages, "/readyz?exclude=crd", 200, "ok").await;
    // As soon as they are there.
    let pages = probes(&world, &world.server, Standing::Waiting);
    check(row, &pages, "/readyz", 200, "ok").await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_is_ready_once_everything_was_listed() {
    let mut world = World::new().await;
    let pages = probes(&world, &world.server, Standing::Leading);
    let row = "operations/O24";
    check(row, &pages, "/healthz", 200, "ok").await;
    check(row, &pages, "/readyz", 500, "[-]manager failed: ").await;
    check(row, &pages, "/readyz/manager", 500, "listed").await;
    check(row, &pages, "/readyz/readyz", 200, "ok").await;
    world.run();
    world.at(1).await;
    check(row, &pages, "/readyz", 200, "ok").await;
    let all = "[+]manager ok\n[+]crd ok\n[+]readyz ok\nreadyz check passed\n";
    check(row, &pages, "/readyz?verbose", 200, all).await;
    check(row, &pages, "/readyz/nothing", 404, "").await;
    check(row, &pages, "/other", 404, "").await;
    let unknown = probes(&world, &world.server, Standing::Unknown);
    check(
        "nothing heard yet",
        &unknown,
        "/readyz",
        500,
        "[-]manager failed: ",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn profiles_are_shown_only_when_asked_for() {
    let pages = |profiling| MetricsPages {
        metrics: Arc::new(Metrics::new(Clock::Real)),
        profiling,
    };
    let row = "operations/O28";
    check(row, &pages(false), "/debug/pprof/heap", 404, "").await;
    check(row, &pages(false), "/debug/pprof/", 404, "").await;
    check(row, &pages(false), "/metrics", 200, "karpenter_build_info{").await;
    check("on", &pages(true), "/debug/pprof/", 200, "cmdline").await;
    check("on", &pages(true), "/debug/pprof/cmdline", 200, "rounds").await;
    check("on", &pages(true), "/debug/pprof/heap", 501, "perf record").await;
    check("elsewhere", &pages(true), "/", 404, "").await;
}
