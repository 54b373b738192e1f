//! Watches: history, initial events, bookmarks, and the stream that carries them.
//!
//! A watch never waits for anything but its own channel and tokio's timers, so paused time drives it.
//! The bytes of an object are shared with the store; only the few bytes around them are its own.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep},
};

use crate::{
    Server,
    error::{ApiError, Result},
    select::Filter,
    shape::Shape,
    store::{Change, Event, Route, State},
};

/// What the client asked of a watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchOptions {
    pub(crate) resource_version: String,
    pub(crate) bookmarks: bool,
    /// `sendInitialEvents`, if given.
    pub(crate) initial: Option<bool>,
    pub(crate) timeout: Option<Duration>,
}

/// A watch that names no timeout ends after this long, so that a forgotten one does not live forever.
const DEFAULT_TIMEOUT: Duration = Duration::from_hours(1);

/// The body of a watch response.
pub(crate) struct WatchStream {
    server: Server,
    route: Route,
    shape: Shape,
    receiver: mpsc::UnboundedReceiver<(Change, Arc<Event>)>,
    pending: VecDeque<Bytes>,
    end: Pin<Box<Sleep>>,
    bookmark: Option<Pin<Box<Sleep>>>,
    /// The last revision the client has heard of; a bookmark that repeats it is not sent.
    told: u64,
    ended: bool,
}

impl std::fmt::Debug for WatchStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("WatchStream")
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

/// Open a watch under the lock; everything that happened before is queued, everything after follows.
pub(crate) fn open(
    server: &Server,
    state: &mut State,
    route: &Route,
    filter: &Filter,
    shape: Shape,
    options: &WatchOptions,
) -> Result<WatchStream> {
    let mut pending = VecDeque::new();
    let mut ended = false;
    let from = options.resource_version.as_str();
    let unset = from.is_empty() || from == "0";
    let initial = options.initial.unwrap_or(unset);
    if initial {
        for stored in state.collection(route.id).list(filter, None) {
            push_event(&mut pending, "ADDED", shape.one(route, stored));
        }
        if options.initial == Some(true) && options.bookmarks {
            push_event(
                &mut pending,
                "BOOKMARK",
                bookmark(route, &shape, state.revision, true),
            );
        }
    } else if !unset {
        let revision: u64 = from.parse().map_err(|_| {
            ApiError::bad_request(format!("invalid resource version {from:?}: not a number"))
        })?;
        let collection = state.collection(route.id);
        if let Some(events) = collection.since(revision) {
            for event in events {
                if let Some(change) = event.seen_by(filter) {
                    push_event(&mut pending, word(change), shape.one(route, &event.object));
                }
            }
        } else {
            let gone = ApiError::gone(format!(
                "too old resource version: {revision} ({})",
                collection.forgotten()
            ));
            push_event(&mut pending, "ERROR", gone.body());
            ended = true;
        }
    }
    let every = state.options.bookmark_every;
    let receiver = state.collection_mut(route.id).watch(filter.clone());
    Ok(WatchStream {
        server: server.clone(),
        route: route.clone(),
        shape,
        receiver,
        pending,
        end: Box::pin(tokio::time::sleep(
            options.timeout.unwrap_or(DEFAULT_TIMEOUT),
        )),
        told: 0,
        bookmark: options
            .bookmarks
            .then(|| Box::pin(tokio::time::sleep(every))),
        ended,
    })
}

impl WatchStream {
    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(bytes) = self.pending.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match self.receiver.poll_recv(context) {
                Poll::Ready(Some((change, event))) => {
                    self.told = event.object.meta.revision;
                    let object = self.shape.one(&self.route, &event.object);
                    push_event(&mut self.pending, word(change), object);
                    continue;
                }
                Poll::Ready(None) => {
                    self.ended = true;
                    continue;
                }
                Poll::Pending => {}
            }
            if self.end.as_mut().poll(context).is_ready() {
                self.ended = true;
                continue;
            }
            if let Some(timer) = &mut self.bookmark
                && timer.as_mut().poll(context).is_ready()
            {
                let (revision, every) = {
                    let state = self.server.lock();
                    (state.revision, state.options.bookmark_every)
                };
                // Under the lock nothing was published since the channel was found empty only if
                // it still is: otherwise the events come first and the bookmark with the next tick.
                if self.receiver.is_empty() && revision > self.told {
                    self.told = revision;
                    let mark = bookmark(&self.route, &self.shape, revision, false);
                    push_event(&mut self.pending, "BOOKMARK", mark);
                }
                timer.as_mut().reset(Instant::now() + every);
                continue;
            }
            return Poll::Pending;
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.ended && self.pending.is_empty()
    }

    pub(crate) fn size_hint() -> SizeHint {
        SizeHint::default()
    }
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Added => "ADDED",
        Change::Modified => "MODIFIED",
        Change::Deleted => "DELETED",
    }
}

/// Three frames an event, so that the object's bytes stay shared.
fn push_event(pending: &mut VecDeque<Bytes>, word: &'static str, object: Bytes) {
    let head = match word {
        "ADDED" => r#"{"type":"ADDED","object":"#,
        "MODIFIED" => r#"{"type":"MODIFIED","object":"#,
        "DELETED" => r#"{"type":"DELETED","object":"#,
        "BOOKMARK" => r#"{"type":"BOOKMARK","object":"#,
        _ => r#"{"type":"ERROR","object":"#,
    };
    pending.push_back(Bytes::from_static(head.as_bytes()));
    pending.push_back(object);
    pending.push_back(Bytes::from_static(b"}\n"));
}

fn bookmark(route: &Route, shape: &Shape, revision: u64, initial_end: bool) -> Bytes {
    let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object: Value = match shape {
        Shape::Table(_) => json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata, "columnDefinitions": [], "rows": [],
        }),
        Shape::Full | Shape::Metadata => json!({
            "kind": route.shown.kind,
            "apiVersion": route.shown.api_version(route.version.min(route.shown.versions.len() - 1)),
            "metadata": metadata,
        }),
    };
    Bytes::from(object.to_string())
}
