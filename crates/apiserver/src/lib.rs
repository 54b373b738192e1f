//! The Kubernetes API in memory, as a tower service.
//!
//! `kube::Client` speaks to it without a socket, `kubectl` through [`http`]; nothing else differs.
//! It knows custom definitions but not Karpenter, and no time but the clock it is given. Every request
//! is answered under one lock without waiting for anything, so paused time and a seed make two runs
//! alike to the byte.
//!
//! Reading order: `kinds` and `store` (what there is), `route` (from a request to a verb), `write`,
//! `collect` and `subresource` (what verbs do), `watch` and `shape` (how answers look), `schema`,
//! `defaults` and `checks` (what is accepted), `discovery`, `openapi` and `table` (what kubectl asks).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::needless_pass_by_value))]

mod age;
mod apply;
mod body;
mod cells;
mod cells_pod;
mod checks;
mod collect;
mod collection;
mod convert;
mod defaults;
mod definition;
mod discovery;
mod error;
pub mod http;
mod jsonpath;
mod kinds;
mod metadata;
mod object;
mod openapi;
mod patch;
mod pod_checks;
mod pod_defaults;
mod protobuf;
mod query;
mod route;
mod schema;
mod seed;
mod select;
mod shape;
mod store;
mod strategic;
mod subresource;
mod table;
mod watch;
mod write;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use ::http::{Request, Response};
use kube::client::Body;

use crate::store::State;
pub use crate::{
    body::ResponseBody,
    error::FieldError,
    http::kubeconfig,
    schema::{DefaultedObject, validate_offline},
};

/// A clock: the only time the server knows.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// What a server is made from.
#[derive(Clone)]
pub struct Options {
    /// Stamps objects and judges ages; watch timeouts are on tokio's time.
    pub clock: Clock,
    /// Decides uids and generated names.
    pub seed: u64,
    /// Keep a line per write for [`Server::write_log`].
    pub record_writes: bool,
    /// How many events per kind a watch can resume over before it is told 410.
    pub history: usize,
    /// How often a watch that allows bookmarks gets one.
    pub bookmark_every: Duration,
}

impl Options {
    /// The dullest options: seed 0, no log, a thousand events, a bookmark a minute.
    pub fn new(clock: Clock) -> Options {
        Options {
            clock,
            seed: 0,
            record_writes: false,
            history: 1000,
            bookmark_every: Duration::from_mins(1),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Options")
            .field("seed", &self.seed)
            .field("record_writes", &self.record_writes)
            .field("history", &self.history)
            .field("bookmark_every", &self.bookmark_every)
            .finish_non_exhaustive()
    }
}

/// A Kubernetes API server; clones share one cluster.
#[derive(Clone, Debug)]
pub struct Server {
    state: Arc<Mutex<State>>,
}

impl Server {
    /// An empty cluster: the built-in kinds, the four namespaces, the two system priority classes.
    pub fn new(options: Options) -> Server {
        let mut state = State::new(options);
        state.seed_cluster();
        Server {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// A client of this server in namespace `default`. Must be called within a tokio runtime.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    /// One line per write so far, `verb resource namespace/name revision`, if recording is on.
    pub fn write_log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// The last resource version given out.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// When something last changed that was not a lease, an event or a node's heartbeat.
    pub fn last_material_write(&self) -> jiff::Timestamp {
        self.lock().last_material_write
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in one request must not take the cluster down with it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl tower::Service<Request<Body>> for Server {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future =
        Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>> + Send + 'static>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            Ok(match body.collect_bytes().await {
                Ok(bytes) => route::answer(&server, &head, &bytes),
                Err(_) => route::unreadable(),
            })
        })
    }
}
