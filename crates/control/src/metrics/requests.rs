//! Requests to the API server, under the names of the client that upstream is built with.
//!
//! [`Counted`] stands around whatever sends requests, inside the layers that pace and repeat them: each
//! attempt counts. What is called `kind` in the labels is the resource of the path.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, Request, Response};
use kube::client::Body;
use prometheus::{CounterVec, HistogramVec, Registry};
use tokio::time::Instant;
use tower::Service;

use super::family::{counter, exponential, histogram};

/// The label `code` of a request that was not answered.
const NO_ANSWER: &str = "<error>";

/// The families of requests.
#[derive(Clone)]
pub(super) struct Requests {
    duration: HistogramVec,
    total: CounterVec,
}

impl Requests {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            duration: histogram(
                registry,
                "client_go_request_duration_seconds",
                "Time that the API server takes to answer.",
                &["verb", "group", "version", "kind", "subresource"],
                &exponential(0.001, 1.5, 20),
            ),
            total: counter(
                registry,
                "client_go_request_total",
                "Requests to the API server, by the code of the answer.",
                &["code", "method"],
            ),
        }
    }

    /// The service, with its requests counted.
    pub(super) fn around<S>(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            requests: self.clone(),
        }
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    requests: Requests,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let requests = self.requests.clone();
        let method = request.method().clone();
        let aim = Aim::of(&method, request.uri().path(), request.uri().query());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let since = Instant::now();
            let answer = answer.await;
            let code = match &answer {
                Ok(response) => response.status().as_str().to_owned(),
                Err(_) => NO_ANSWER.to_owned(),
            };
            requests
                .total
                .with_label_values(&[&*code, method.as_str()])
                .inc();
            if let Some(aim) = aim {
                requests
                    .duration
                    .with_label_values(&aim.labels())
                    .observe(since.elapsed().as_secs_f64());
            }
            answer
        })
    }
}

/// What a request is about.
#[derive(Debug, PartialEq, Eq)]
struct Aim {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
}

impl Aim {
    /// Reads a path. Nothing for what is no resource, and for watches, whose answers never end.
    fn of(method: &Method, path: &str, query: Option<&str>) -> Option<Self> {
        let is_watch = |query: &str| query.split('&').any(|each| each == "watch=true");
        if query.is_some_and(is_watch) {
            return None;
        }
        let mut parts = path.split('/').skip(1);
        let group = match parts.next()? {
            "api" => "",
            "apis" => parts.next()?,
            _ => return None,
        };
        let version = parts.next()?;
        let rest: Vec<&str> = parts.collect();
        let rest = match rest.as_slice() {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            rest => rest,
        };
        let (resource, name) = (*rest.first()?, rest.get(1));
        let verb = match (method, name) {
            (&Method::GET, None) => "LIST",
            (&Method::GET, Some(_)) => "GET",
            (&Method::POST, _) | (&Method::PUT, None) => "CREATE",
            (&Method::PUT, Some(_)) => "UPDATE",
            (&Method::PATCH, _) => "PATCH",
            (&Method::DELETE, _) => "DELETE",
            _ => return None,
        };
        Some(Self {
            verb,
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
            subresource: rest.get(2).copied().unwrap_or_default().to_owned(),
        })
    }

    fn labels(&self) -> [&str; 5] {
        [
            self.verb,
            &self.group,
            &self.version,
            &self.resource,
            &self.subresource,
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::StatusCode;
    use tower::{BoxError, ServiceExt, service_fn};

    use super::super::Metrics;
    use super::*;
    use crate::clock::Clock;

    /// `expected` is verb, group, version, resource and subresource, separated by blanks.
    fn check(method: &Method, uri: &str, expected: Option<&str>) {
        let (path, query) = uri
            .split_once('?')
            .map_or((uri, None), |(a, b)| (a, Some(b)));
        let found = Aim::of(method, path, query).map(|aim| aim.labels().join(" "));
        assert_eq!(found.as_deref(), expected, "{method} {uri}");
    }

    #[test]
    fn paths_are_read() {
        let (get, post, patch) = (&Method::GET, &Method::POST, &Method::PATCH);
        check(get, "/api/v1/nodes", Some("LIST  v1 nodes "));
        check(get, "/api/v1/nodes?watch=true&x=1", None);
        check(get, "/api/v1/nodes/a", Some("GET  v1 nodes "));
        check(get, "/api/v1/namespaces/a", Some("GET  v1 namespaces "));
        check(
            post,
            "/api/v1/namespaces/default/pods/web/eviction",
            Some("CREATE  v1 pods eviction"),
        );
        check(
            patch,
            "/apis/karpenter.sh/v1/nodeclaims/a/status",
            Some("PATCH karpenter.sh v1 nodeclaims status"),
        );
        check(
            &Method::PUT,
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/karpenter",
            Some("UPDATE coordination.k8s.io v1 leases "),
        );
        check(get, "/version", None);
        check(get, "/apis", None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_is_counted() {
        let metrics = Arc::new(Metrics::new(Clock::Real));
        let server = service_fn(|request: Request<Body>| async move {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            match request.uri().path() {
                "/api/v1/nodes" => Ok(Response::new(())),
                "/api/v1/pods" => {
                    let mut response = Response::new(());
                    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                    Ok(response)
                }
                _ => Err(BoxError::from("lost")),
            }
        });
        let counted = metrics.counted(server);
        for path in ["/api/v1/nodes", "/api/v1/nodes", "/api/v1/pods", "/version"] {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = path.parse().unwrap();
            let _ = counted.clone().oneshot(request).await;
        }
        let text = metrics.render();
        for line in [
            "client_go_request_total{code=\"200\",method=\"GET\"} 2",
            "client_go_request_total{code=\"429\",method=\"GET\"} 1",
            "client_go_request_total{code=\"<error>\",method=\"GET\"} 1",
            "client_go_request_duration_seconds_count\
             {group=\"\",kind=\"nodes\",subresource=\"\",verb=\"LIST\",version=\"v1\"} 2",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
        }
    }
}
