//! The body of an answer: bytes at once, or a watch.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::watch::WatchStream;

/// What the server answers with.
#[derive(Debug)]
pub struct ResponseBody(Kind);

#[derive(Debug)]
enum Kind {
    Once(Option<Bytes>),
    Watch(Box<WatchStream>),
}

impl ResponseBody {
    pub(crate) fn once(bytes: Bytes) -> ResponseBody {
        ResponseBody(Kind::Once(Some(bytes)))
    }

    pub(crate) fn watch(stream: WatchStream) -> ResponseBody {
        ResponseBody(Kind::Watch(Box::new(stream)))
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Once(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Watch(stream) => stream.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Once(bytes) => bytes.is_none(),
            Kind::Watch(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Once(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Once(None) => SizeHint::with_exact(0),
            Kind::Watch(_) => WatchStream::size_hint(),
        }
    }
}
