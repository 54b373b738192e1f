//! Processes beside each other: who leads, who waits, and what a cut connection does to either.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyStream, StreamBody, combinators::UnsyncBoxBody};
use k8s_openapi::api::{coordination::v1::Lease, core::v1 as core};
use karpenter_api::NodeClaim;
use karpenter_apiserver::Server;
use karpenter_control::{
    client::{self, Limits},
    clock::Clock,
    ctx::{Computing, Ctx, Options},
    health::Check,
    lease::{Candidate, Lost, Standing, Terms},
    run_elected,
    serve::{Pages, ProbePages},
};
use karpenter_kwok::{Kwok, KwokOptions, catalog};
use kube::{Api, Client, api::ListParams, client::Body};
use serde_json::json;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::Instant,
};
use tower::{BoxError, service_fn};

use crate::world::World;

const LEASE: &str = "karpenter-leader-election";

/// A way to the server that can be cut, and that counts what went through.
#[derive(Clone)]
struct Line {
    server: Server,
    cut: watch::Sender<bool>,
    stalled: watch::Sender<bool>,
    requests: Arc<AtomicUsize>,
}

impl Line {
    fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
            cut: watch::Sender::new(false),
            stalled: watch::Sender::new(false),
            requests: Arc::default(),
        }
    }

    /// Requests fail and watches end, or they do not any more.
    fn set_cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }

    /// Watches that are open say nothing more; requests from here on are answered.
    fn stall(&self) {
        self.stalled.send_replace(true);
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    async fn send(
        self,
        request: Request<Body>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError> {
        if *self.cut.borrow() {
            return Err("connection refused".into());
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut server = self.server.clone();
        let Ok(response) = tower::Service::call(&mut server, request).await;
        let mut cut = self.cut.subscribe();
        let ended = async move {
            let _ = cut.wait_for(|cut| *cut).await;
        };
        let stalled = (!*self.stalled.borrow()).then(|| self.stalled.subscribe());
        Ok(response.map(|body| {
            let frames = BodyStream::new(body)
                .then(move |frame| {
                    let stalled = stalled.clone();
                    async move {
                        if let Some(mut stalled) = stalled {
                            let _ = stalled.wait_for(|stalled| !*stalled).await;
                        }
                        frame.map_err(BoxError::from)
                    }
                })
                .take_until(ended.boxed());
            UnsyncBoxBody::new(StreamBody::new(frames))
        }))
    }

    /// A client without layers.
    fn plain(&self) -> Client {
        let line = self.clone();
        Client::new(
            service_fn(move |request| line.clone().send(request)),
            "default",
        )
    }

    /// A client as controllers have it.
    fn layered(&self, limits: Limits) -> Client {
        let line = self.clone();
        client::client(
            service_fn(move |request| line.clone().send(request)),
            limits,
        )
    }
}

/// One process of the product.
struct Process {
    ctx: Arc<Ctx>,
    line: Line,
    standing: watch::Receiver<Standing>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), Lost>>,
}

impl Process {
    fn start(world: &World, identity: &str, warm_up: bool) -> Self {
        let line = Line::new(&world.server);
        let cloud = Kwok::new(KwokOptions {
            client: line.layered(Limits::default()),
            instance_types: catalog::generated(),
            seed: 1,
        });
        let options = Options {
            computing: Computing::Inline,
            ..Options::default()
        };
        let client = line.layered(Limits::default());
        let ctx = Ctx::new(client, Arc::new(cloud), world.ctx.clock, options);
        let candidate = candidate(&line, world.ctx.clock, identity);
        let standing = candidate.standing();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(run_elected(Arc::clone(&ctx), candidate, warm_up, async {
            let _ = stopped.await;
        }));
        Self {
            ctx,
            line,
            standing,
            stop,
            running,
        }
    }

    fn leads(&self) -> bool {
        *self.standing.borrow() == Standing::Leading
    }

    /// The status of a probe, and its words.
    async fn probe(&self, path: &str) -> (u16, String) {
        let pages = ProbePages {
            live: vec![Check::ping("healthz")],
            ready: vec![
                Check::manager(Arc::clone(&self.ctx), self.standing.clone()),
                Check::crd(self.line.plain()),
                Check::ping("readyz"),
            ],
        };
        let page = pages.page(path, "verbose").await;
        crate::probes::read(page).await
    }

    fn metrics(&self) -> String {
        self.ctx.metrics.render()
    }
}

fn candidate(line: &Line, clock: Clock, identity: &str) -> Candidate {
    Candidate::new(line.plain(), clock, Terms::new("default", LEASE, identity))
}

async fn lease(world: &World) -> Lease {
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "default");
    leases.get(LEASE).await.unwrap()
}

async fn holder(world: &World) -> String {
    lease(world).await.spec.unwrap().holder_identity.unwrap()
}

/// Seconds until somebody leads.
async fn until_leading(standing: &mut watch::Receiver<Standing>) -> u64 {
    let start = Instant::now();
    standing
        .wait_for(|standing| *standing == Standing::Leading)
        .await
        .unwrap();
    start.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_second_replica_is_ready_and_does_nothing() {
    let world = World::new().await;
    world.pool("default", json!({})).await;
    let first = Process::start(&world, "first", false);
    world.at(5).await;
    let second = Process::start(&world, "second", false);
    world.at(20).await;
    world.pending("web", "1", json!({})).await;
    world.at(60).await;
    assert_eq!(world.claims().await.len(), 1, "the leader works");
    let row = "operations/O25";
    let (status, words) = second.probe("/readyz").await;
    world
        .check(row, status == 200 && words.contains("[+]manager ok"))
        .await;
    assert_eq!(second.probe("/healthz").await.0, 200);
    let (leading, waiting) = (first.metrics(), second.metrics());
    let mastery = format!("leader_election_master_status{{name=\"{LEASE}\"}}");
    world
        .check(row, leading.contains(&format!("{mastery} 1\n")))
        .await;
    world
        .check(row, waiting.contains(&format!("{mastery} 0\n")))
        .await;
    world
        .check(row, waiting.contains("karpenter_build_info{"))
        .await;
    // The leader's runs are counted; a replica that waits has none, and asks for the lease only: once
    // in two seconds, and the definitions for its probe.
    let runs = "controller_runtime_reconcile_total{controller=\"nodeclaim.lifecycle\"";
    world.check(row, leading.contains(runs)).await;
    world
        .check(
            row,
            !waiting.contains("controller_runtime_reconcile_total{"),
        )
        .await;
    world
        .check(row, (20..=30).contains(&second.line.requests()))
        .await;
    world.check(row, !second.ctx.mirror.is_listed()).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_gives_the_lease_up() {
    for warm_up in [false, true] {
        let world = World::new().await;
        world.pool("default", json!({})).await;
        let first = Process::start(&world, "first", warm_up);
        world.at(5).await;
        let mut second = Process::start(&world, "second", warm_up);
        world.at(8).await;
        assert!(first.leads() && !second.leads());
        assert_eq!(second.ctx.mirror.is_listed(), warm_up, "{warm_up}");
        first.stop.send(()).unwrap();
        assert_eq!(first.running.await.unwrap(), Ok(()));
        assert_eq!(holder(&world).await, "", "released at once");
        let waited = until_leading(&mut second.standing).await;
        world.check("operations/O26", waited <= 2).await;
        assert_eq!(lease(&world).await.spec.unwrap().lease_transitions, Some(1));
        // The next one takes over the work, too.
        world.pending("web", "1", json!({})).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(world.claims().await.len(), 1, "{}", world.dump().await);
        let mastery = format!("leader_election_master_status{{name=\"{LEASE}\"}}");
        assert!(
            first
                .ctx
                .metrics
                .render()
                .contains(&format!("{mastery} 0\n"))
        );
        assert!(second.metrics().contains(&format!("{mastery} 1\n")));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_last_leader_did_is_known_before_the_first_round() {
    let world = World::new().await;
    world.pool("default", json!({})).await;
    let first = Process::start(&world, "first", true);
    world.at(5).await;
    let mut second = Process::start(&world, "second", true);
    world.at(9).await;
    // The second one knows the pod, but hears nothing of the claim that is made for it.
    world.pending("web", "1", json!({})).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    second.line.stall();
    world.at(11).await;
    assert_eq!(world.claims().await.len(), 1);
    assert!(second.ctx.mirror.all::<NodeClaim>().is_empty());
    first.running.abort();
    until_leading(&mut second.standing).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(second.probe("/readyz").await.0, 200);
    assert_eq!(world.claims().await.len(), 1, "{}", world.dump().await);
}

#[tokio::test(start_paused = true)]
async fn load_on_the_other_client_does_not_starve_a_renewal() {
    let world = World::new().await;
    let line = Line::new(&world.server);
    let mut leader = candidate(&line, world.ctx.clock, "leader");
    leader.acquire().await;
    let limits = Limits {
        queries_per_second: 1,
        burst: 1,
        ..Limits::default()
    };
    let busy = line.layered(limits);
    let flood: Vec<_> = (0..200)
        .map(|_| {
            let pods: Api<core::Pod> = Api::all(busy.clone());
            tokio::spawn(async move { pods.list(&ListParams::default()).await.unwrap() })
        })
        .collect();
    let lost = tokio::time::timeout(Duration::from_mins(1), leader.hold()).await;
    let waiting = flood
        .iter()
        .filter(|request| !request.is_finished())
        .count();
    assert!(waiting > 100, "the other client is held up: {waiting}");
    world.check("operations/O27", lost.is_err()).await;
    let renewed = lease(&world).await.spec.unwrap().renew_time.unwrap().0;
    let age = world.ctx.clock.now().duration_since(renewed).as_secs();
    world.check("operations/O27", age <= 2).await;
}

/// Cuts the leader off, and returns after how many seconds it gave up and the next one took over.
async fn handover(skew: Duration) -> (u64, u64) {
    let world = World::new().await;
    let line = Line::new(&world.server);
    let clock = world.ctx.clock;
    let ahead = clock.now().checked_add(skew).unwrap();
    let mut leader = candidate(&line, Clock::starting_at(ahead), "leader");
    leader.acquire().await;
    let mut rival = candidate(&Line::new(&world.server), clock, "rival");
    let mut standing = rival.standing();
    let rival = tokio::spawn(async move {
        rival.acquire().await;
        rival
    });
    let kept = tokio::time::timeout(Duration::from_mins(1), leader.hold()).await;
    assert!(kept.is_err() && *standing.borrow() == Standing::Waiting);
    let start = Instant::now();
    line.set_cut(true);
    let lost = leader.hold().await;
    assert!(
        lost.to_string()
            .contains("default/karpenter-leader-election")
    );
    let gave_up = start.elapsed().as_secs();
    assert_eq!(*standing.borrow(), Standing::Waiting, "never two at once");
    until_leading(&mut standing).await;
    drop(rival.await.unwrap());
    (gave_up, start.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_gives_up_before_another_one_starts() {
    for skew in [0, 3600 * 24 * 365] {
        let (gave_up, took_over) = handover(Duration::from_secs(skew)).await;
        assert!((8..=10).contains(&gave_up), "{gave_up}");
        assert!((13..=17).contains(&took_over), "{took_over}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_else_took_is_lost_at_once() {
    let world = World::new().await;
    let process = Process::start(&world, "first", false);
    world.at(5).await;
    assert!(process.leads());
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "default");
    let mut stolen = lease(&world).await;
    stolen.spec.as_mut().unwrap().holder_identity = Some("thief".to_owned());
    leases
        .replace(LEASE, &kube::api::PostParams::default(), &stolen)
        .await
        .unwrap();
    let start = Instant::now();
    let lost = process.running.await.unwrap().unwrap_err();
    assert_eq!(lost.lease, "default/karpenter-leader-election");
    assert!(start.elapsed() <= Duration::from_secs(2));
    assert_eq!(
        holder(&world).await,
        "thief",
        "what is not ours is not released"
    );
}

#[tokio::test(start_paused = true)]
async fn the_api_server_goes_away_and_comes_back() {
    for outage in [3, 300] {
        let world = World::new().await;
        world.pool("default", json!({})).await;
        let line = Line::new(&world.server);
        let cloud = Kwok::new(KwokOptions {
            client: line.layered(Limits::default()),
            instance_types: catalog::generated(),
            seed: 1,
        });
        let options = Options {
            computing: Computing::Inline,
            ..Options::default()
        };
        let client = line.layered(Limits::default());
        let ctx = Ctx::new(client, Arc::new(cloud), world.ctx.clock, options);
        tokio::spawn(karpenter_control::run(ctx, std::future::pending()));
        world.at(5).await;
        line.set_cut(true);
        // What happens meanwhile is seen afterwards, deletions included.
        world.pending("gone", "1", json!({})).await;
        world.pending("web", "1", json!({})).await;
        world.at(5 + outage / 2).await;
        world.delete_pod("gone").await;
        world.at(5 + outage).await;
        assert!(world.claims().await.is_empty());
        line.set_cut(false);
        // The longest pause of a watch, and a batch.
        world.at(5 + outage + 35).await;
        let claims = world.claims().await;
        assert_eq!(claims.len(), 1, "after {outage} s: {}", world.dump().await);
        let asked = &claims[0].spec.resources.as_ref().unwrap().requests;
        assert_eq!(json!(asked)["cpu"], "1", "after {outage} s");
    }
}
