use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use discovery_core::BoxError;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Body;

/// A body that must have ended at some time.
pub(super) struct Deadline {
    body: Body,
    sleep: Pin<Box<Sleep>>,
}

/// A request took too long.
#[derive(Debug)]
pub(crate) struct Elapsed;

impl Deadline {
    pub(super) fn new(body: Body, deadline: Instant) -> Self {
        Self {
            body,
            sleep: Box::pin(sleep_until(deadline)),
        }
    }
}

impl HttpBody for Deadline {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.sleep
            .as_mut()
            .poll(cx)
            .map(|()| Some(Err(Elapsed.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Go's words, which kubectl shows.
        f.write_str("context deadline exceeded")
    }
}

impl std::error::Error for Elapsed {}
