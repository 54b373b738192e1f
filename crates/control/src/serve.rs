//! What the process shows of itself over HTTP: metrics on one port, probes on another.
//!
//! Plain HTTP without authentication, as dashboards and kubelets expect it. Four paths do not need a
//! router. What is shown is somebody else's: [`crate::metrics`] and [`crate::health`].

use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, task::JoinSet};
use tracing::warn;

use crate::{
    health::{self, Answer, Check},
    metrics::{self, Metrics},
};

/// How long to wait after a connection could not be accepted: out of file descriptors, most likely.
const RETRY: Duration = Duration::from_millis(100);
const TEXT: &str = "text/plain; charset=utf-8";

/// A page.
pub type Page = Response<Full<Bytes>>;

/// Something that answers paths.
pub trait Pages: Send + Sync + 'static {
    /// The page at a path, with its query.
    fn page(&self, path: &str, query: &str) -> impl Future<Output = Page> + Send;
}

/// What the metrics port answers.
pub struct MetricsPages {
    /// What is shown.
    pub metrics: Arc<Metrics>,
    /// Whether anything is answered below `/debug/pprof`.
    pub profiling: bool,
}

impl Pages for MetricsPages {
    async fn page(&self, path: &str, _: &str) -> Page {
        match path.strip_prefix("/debug/pprof") {
            Some(profile) if self.profiling => profiled(profile.trim_start_matches('/')),
            None if path == "/metrics" => {
                page(StatusCode::OK, metrics::CONTENT_TYPE, self.metrics.render())
            }
            _ => not_found(),
        }
    }
}

/// Profiles of Go's kind do not exist here; who asks is told what to ask instead.
fn profiled(profile: &str) -> Page {
    match profile {
        "cmdline" => {
            let words: Vec<String> = std::env::args().collect();
            page(StatusCode::OK, TEXT, words.join("\0"))
        }
        "" => page(
            StatusCode::OK,
            TEXT,
            "profiles: cmdline\nthis program has no Go runtime; use `perf record -p <pid>` for the \
             rest\n"
                .to_owned(),
        ),
        _ => page(
            StatusCode::NOT_IMPLEMENTED,
            TEXT,
            "this program has no Go runtime; use `perf record -p <pid>`\n".to_owned(),
        ),
    }
}

/// What the probe port answers.
pub struct ProbePages {
    /// What `/healthz` asks.
    pub live: Vec<Check>,
    /// What `/readyz` asks.
    pub ready: Vec<Check>,
}

impl Pages for ProbePages {
    async fn page(&self, path: &str, query: &str) -> Page {
        let path = path.trim_matches('/');
        let (probe, rest) = match path.split_once('/') {
            Some((probe, rest)) => (probe, Some(rest)),
            None => (path, None),
        };
        let checks = match probe {
            "healthz" => &self.live,
            "readyz" => &self.ready,
            _ => return not_found(),
        };
        match health::answer(probe, checks, rest, query).await {
            Answer::Fine(text) => page(StatusCode::OK, TEXT, text),
            Answer::Failing(text) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text),
            Answer::Unknown => not_found(),
        }
    }
}

fn not_found() -> Page {
    page(
        StatusCode::NOT_FOUND,
        TEXT,
        "404 page not found\n".to_owned(),
    )
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Page {
    let mut page = Response::new(Full::new(Bytes::from(text)));
    *page.status_mut() = status;
    page.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    page
}

/// A port is taken, or not ours to take.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on port {port}: {source}; choose another with --{flag}")]
pub struct ListenError {
    port: u16,
    flag: &'static str,
    source: io::Error,
}

/// Listens on every address of this machine; `flag` is what the operator can change.
///
/// # Errors
/// When the port is taken.
pub async fn listen(port: u16, flag: &'static str) -> Result<TcpListener, ListenError> {
    // Both families at once, where there are two.
    let both = SocketAddr::from(([0_u16; 8], port));
    let bound = match TcpListener::bind(both).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::from(([0_u8; 4], port))).await
        }
        bound => bound,
    };
    bound.map_err(|source| ListenError { port, flag, source })
}

/// Answers for ever. Dropping the future ends every connection.
pub async fn serve(listener: TcpListener, pages: Arc<impl Pages>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let pages = Arc::clone(&pages);
                    connections.spawn(async move {
                        let service = service_fn(move |request| respond(Arc::clone(&pages), request));
                        // A client that hangs up is no fault of ours.
                        let _ = http1::Builder::new()
                            .timer(TokioTimer::new())
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(RETRY).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn respond(pages: Arc<impl Pages>, request: Request<Incoming>) -> Result<Page, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = "only GET is answered\n".to_owned();
        return Ok(page(StatusCode::METHOD_NOT_ALLOWED, TEXT, text));
    }
    let uri = request.uri();
    Ok(pages
        .page(uri.path(), uri.query().unwrap_or_default())
        .await)
}
