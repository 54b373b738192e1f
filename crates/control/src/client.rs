//! The layers between our controllers and any Kubernetes API: rate, write cap, retry.
//!
//! The same layers stand before a real cluster and before the embedded one, so that what is tested
//! is what runs. Three policies live here and nowhere else:
//!
//! 1. requests are admitted by a token bucket on tokio time (upstream's QPS and burst);
//! 2. at most [`Limits::writes`] writes are in flight, because kube's client speaks HTTP/1 and each
//!    concurrent write is a connection of its own;
//! 3. 429, 503 and 504 are retried with growing pauses, but never for an eviction: there a 429 is an
//!    answer (a disruption budget says no), and hiding it would stall a drain for minutes.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use kube::{Client, Config, client::Body};
use tokio::{sync::Semaphore, time::Instant};
use tower::{BoxError, Service, ServiceExt};

use crate::metrics::Metrics;

/// What the layers admit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Requests a second, in the long run.
    pub queries_per_second: u32,
    /// Requests that may come at once after a quiet time.
    pub burst: u32,
    /// Writes in flight.
    pub writes: usize,
    /// How often a refused request is sent again before the refusal is handed up.
    pub retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queries_per_second: 200,
            burst: 300,
            writes: 64,
            retries: 5,
        }
    }
}

/// The first pause before a retry; each further one doubles, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A kube client over `service` with our layers around it.
pub fn client<S, B>(service: S, limits: Limits) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(Layered::new(service, limits), "default")
}

/// A kube client of a real cluster with our layers around it.
///
/// # Errors
/// When the configuration holds credentials that cannot be used.
pub fn connect(config: Config, limits: Limits, metrics: &Metrics) -> Result<Client, kube::Error> {
    let namespace = config.default_namespace.clone();
    let bare = plain(config, metrics)?;
    Ok(Client::new(Layered::new(sending(bare), limits), namespace))
}

/// A kube client of a real cluster whose requests are counted and nothing else: for the lease, whose
/// renewal must not wait behind anything else.
///
/// # Errors
/// As [`connect`].
pub fn plain(mut config: Config, metrics: &Metrics) -> Result<Client, kube::Error> {
    // kube's own retry would repeat evictions that a disruption budget refuses.
    config.default_retry = false;
    let namespace = config.default_namespace.clone();
    let bare = Client::try_from(config)?;
    Ok(Client::new(metrics.counted(sending(bare)), namespace))
}

/// A client as a service that layers can stand around.
fn sending(
    client: Client,
) -> impl Service<
    Request<Body>,
    Response = Response<Body>,
    Error = kube::Error,
    Future = impl Future<Output = Result<Response<Body>, kube::Error>> + Send,
> + Clone
+ Send
+ 'static {
    tower::service_fn(move |request| {
        let client = client.clone();
        async move { client.send(request).await }
    })
}

/// A service that paces, caps and retries what it passes on.
#[derive(Clone)]
pub struct Layered<S> {
    inner: S,
    limits: Limits,
    bucket: Arc<Mutex<Bucket>>,
    writes: Arc<Semaphore>,
}

impl<S> Layered<S> {
    /// The layers around a service.
    pub fn new(inner: S, limits: Limits) -> Self {
        Self {
            inner,
            limits,
            bucket: Arc::new(Mutex::new(Bucket::new(
                limits.queries_per_second,
                limits.burst,
            ))),
            writes: Arc::new(Semaphore::new(limits.writes)),
        }
    }
}

impl<S, B> Service<Request<Body>> for Layered<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Each request waits for its own copy of the inner service below.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self {
            inner,
            limits,
            bucket,
            writes,
        } = self.clone();
        Box::pin(async move {
            let is_write = request.method() != Method::GET;
            let may_retry = !request.uri().path().ends_with("/eviction");
            let _permit = if is_write {
                Some(writes.acquire_owned().await.map_err(BoxError::from)?)
            } else {
                None
            };
            let mut request = request;
            let mut attempt = 0;
            loop {
                let ready_at = bucket.lock().unwrap_or_else(PoisonError::into_inner).take();
                tokio::time::sleep_until(ready_at).await;
                let again = if may_retry && attempt < limits.retries {
                    copy(&request)
                } else {
                    None
                };
                let response = inner.clone().oneshot(request).await.map_err(Into::into)?;
                let Some(next) = again.filter(|_| is_refusal(response.status())) else {
                    return Ok(response);
                };
                tokio::time::sleep(pause(attempt, &response)).await;
                attempt += 1;
                request = next;
            }
        })
    }
}

/// The server is busy: the same request may succeed later.
fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// How long to wait: as the server asks, else doubling. No jitter: equal runs make equal writes.
fn pause<B>(attempt: u32, response: &Response<B>) -> Duration {
    let asked = response
        .headers()
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .map(Duration::from_secs);
    let growing = FIRST_PAUSE
        .saturating_mul(1 << attempt.min(16))
        .min(LONGEST_PAUSE);
    asked.map_or(growing, |asked| asked.max(growing))
}

/// The same request once more, if its body is not a stream.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// A token bucket that answers with the instant at which the caller may go.
///
/// Callers are served in the order in which they ask: a token is spent even before it exists, and
/// the next caller waits behind it.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Time that one token takes to grow.
    interval: Duration,
    /// Time that a full bucket is worth.
    depth: Duration,
    /// The instant at which the bucket would be empty of debt: tokens are available once it is at
    /// most `depth` ahead of now.
    empty_at: Instant,
}

impl Bucket {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            depth: interval * burst.max(1),
            empty_at: Instant::now(),
        }
    }

    /// Spends one token and says from when on it counts.
    pub(crate) fn take(&mut self) -> Instant {
        let now = Instant::now();
        self.empty_at = self.empty_at.max(now) + self.interval;
        self.empty_at
            .checked_sub(self.depth)
            .map_or(now, |at| at.max(now))
    }

    /// Spends one token if there is one.
    pub(crate) fn try_take(&mut self) -> bool {
        let now = Instant::now();
        let empty_at = self.empty_at.max(now) + self.interval;
        let granted = empty_at <= now + self.depth;
        if granted {
            self.empty_at = empty_at;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tower::service_fn;

    use super::*;

    fn request(method: Method, path: &str) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        request
    }

    /// Sends one request to a server that refuses `refusals` times with `status`; returns the final
    /// status, the number of requests and the milliseconds it took.
    async fn check(
        method: Method,
        path: &str,
        status: u16,
        refusals: usize,
        retry_after: Option<&'static str>,
    ) -> (u16, usize, u128) {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        let server = service_fn(move |_: Request<Body>| {
            let refuse = seen.fetch_add(1, Ordering::SeqCst) < refusals;
            let mut response = Response::new(Body::empty());
            if refuse {
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                if let Some(seconds) = retry_after {
                    response
                        .headers_mut()
                        .insert("retry-after", seconds.parse().unwrap());
                }
            }
            async move { Ok::<_, BoxError>(response) }
        });
        let start = Instant::now();
        let layered = Layered::new(server, Limits::default());
        let response = layered.oneshot(request(method, path)).await.unwrap();
        (
            response.status().as_u16(),
            count.load(Ordering::SeqCst),
            start.elapsed().as_millis(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_retried_but_for_evictions() {
        let pods = "/api/v1/namespaces/default/pods";
        assert_eq!(check(Method::GET, pods, 429, 2, None).await, (200, 3, 300));
        assert_eq!(
            check(Method::POST, pods, 503, 1, Some("3")).await,
            (200, 2, 3000)
        );
        assert_eq!(
            check(Method::GET, pods, 504, 99, None).await,
            (504, 6, 3100)
        );
        assert_eq!(check(Method::GET, pods, 500, 1, None).await, (500, 1, 0));
        assert_eq!(check(Method::POST, pods, 409, 1, None).await, (409, 1, 0));
        let eviction = "/api/v1/namespaces/default/pods/web/eviction";
        assert_eq!(
            check(Method::POST, eviction, 429, 1, Some("1")).await,
            (429, 1, 0)
        );
    }

    /// Sends `count` requests at once, each taking one second; returns how long all took and how many
    /// were in flight at most.
    async fn flood(method: Method, count: usize, limits: Limits) -> (u128, usize) {
        let gauge = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let seen = Arc::clone(&gauge);
        let server = service_fn(move |_: Request<Body>| {
            let seen = Arc::clone(&seen);
            async move {
                let now = seen.0.fetch_add(1, Ordering::SeqCst) + 1;
                seen.1.fetch_max(now, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                seen.0.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, BoxError>(Response::new(Body::empty()))
            }
        });
        let layered = Layered::new(server, limits);
        let start = Instant::now();
        let requests = (0..count).map(|_| {
            layered
                .clone()
                .oneshot(request(method.clone(), "/api/v1/pods"))
        });
        futures::future::join_all(requests).await;
        (start.elapsed().as_millis(), gauge.1.load(Ordering::SeqCst))
    }

    #[tokio::test(start_paused = true)]
    async fn writes_are_capped_and_requests_paced() {
        let limits = Limits {
            queries_per_second: 10,
            burst: 20,
            writes: 4,
            ..Limits::default()
        };
        assert_eq!(flood(Method::POST, 12, limits).await, (3000, 4));
        assert_eq!(flood(Method::GET, 12, limits).await, (1000, 12));
        // Twenty at once, then one every tenth of a second.
        assert_eq!(flood(Method::GET, 30, limits).await.0, 2000);
    }
}
