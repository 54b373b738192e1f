//! The same service over a socket, for `kubectl`.
//!
//! Plain HTTP/1.1 on loopback. There is no token to check, so a browser must not be able to reach the
//! cluster from a foreign page: requests with an `Origin` are refused, and so are those that came under
//! another host's name.

use std::convert::Infallible;

use ::http::{HeaderMap, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use kube::client::Body;
use tokio::net::TcpListener;
use tower::Service;

use crate::{Server, body::ResponseBody, error::ApiError};

/// Upstream's limit for one request.
const LARGEST_BODY: usize = 3 * 1024 * 1024;

/// How long to wait after a connection could not be accepted.
const RETRY: std::time::Duration = std::time::Duration::from_millis(100);

type Answer = Response<Either<ResponseBody, Full<Bytes>>>;

/// Serve until `shutdown` is ready; open connections, watches included, then end at once.
pub async fn serve(server: Server, listener: TcpListener, shutdown: impl Future) {
    let mut connections = tokio::task::JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            _ = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // kubectl waits for small frames; a watch would wait for more of them.
                    let _ = stream.set_nodelay(true);
                    let server = server.clone();
                    connections.spawn(async move {
                        let service = service_fn(move |request| answer(server.clone(), request));
                        // A client that hangs up is no fault of ours.
                        let _ = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .serve_connection(TokioIo::new(stream), service)
                            .with_upgrades()
                            .await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Out of file descriptors, most likely: trying again at once would not help.
                    tokio::time::sleep(RETRY).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    connections.shutdown().await;
}

async fn answer(mut server: Server, request: Request<Incoming>) -> Result<Answer, Infallible> {
    if let Some(why) = foreign(request.headers()) {
        return Ok(refuse(StatusCode::FORBIDDEN, why));
    }
    let (head, body) = request.into_parts();
    let Ok(collected) = Limited::new(body, LARGEST_BODY).collect().await else {
        return Ok(refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is larger than 3 MiB",
        ));
    };
    let request = Request::from_parts(head, Body::from(collected.to_bytes()));
    match server.call(request).await {
        Ok(response) => Ok(response.map(Either::Left)),
        Err(never) => match never {},
    }
}

/// Why a request is not from here, if it is not.
fn foreign(headers: &HeaderMap) -> Option<&'static str> {
    if headers.contains_key(header::ORIGIN) {
        return Some("requests from web pages are refused: this cluster has no authentication");
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let local = matches!(name, "127.0.0.1" | "localhost" | "[::1]");
    (!local).then_some("only requests to 127.0.0.1, localhost or [::1] are answered")
}

fn refuse(code: StatusCode, why: &str) -> Answer {
    let mut error = ApiError::bad_request(why);
    error.code = code.as_u16();
    error.reason = if code == StatusCode::FORBIDDEN {
        "Forbidden"
    } else {
        "RequestEntityTooLarge"
    };
    let mut response = Response::new(Either::Right(Full::new(error.body())));
    *response.status_mut() = code;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

/// A kubeconfig for a server at this address.
pub fn kubeconfig(url: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: karpenter-local\nclusters:\n- name: \
         karpenter-local\n  cluster:\n    server: {url}\ncontexts:\n- name: karpenter-local\n  \
         context:\n    cluster: karpenter-local\n    user: karpenter-local\n    namespace: \
         default\nusers:\n- name: karpenter-local\n  user: {{}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_ask() {
        let check = |host: &str, origin: Option<&str>, allowed: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(foreign(&headers).is_none(), allowed, "{host} {origin:?}");
        };
        check("127.0.0.1:8080", None, true);
        check("localhost", None, true);
        check("[::1]:80", None, true);
        check("evil.example:8080", None, false);
        check("127.0.0.1.evil.example", None, false);
        check("127.0.0.1:8080", Some("http://127.0.0.1:8080"), false);
        check("127.0.0.1:8080", Some("null"), false);
    }
}
