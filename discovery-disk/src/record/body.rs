use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::sink::Sink;

pin_project! {
    /// The body of a response from a [`DiskStoreService`](super::DiskStoreService): the inner
    /// service's, which may be recorded while it is read, or one from the store.
    pub struct RecordBody<R> {
        #[pin]
        kind: Kind<R>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<R> {
        Passed {
            #[pin]
            body: R,
        },
        Teed {
            #[pin]
            body: R,
            sink: Box<Sink>,
            // The last frame, or the end, until the record is complete.
            last: Option<Option<Bytes>>,
        },
        Stored {
            bytes: Bytes,
        },
    }
}

impl<R> RecordBody<R> {
    pub(crate) fn passed(body: R) -> Self {
        Self {
            kind: Kind::Passed { body },
        }
    }

    pub(crate) fn teed(body: R, sink: Sink) -> Self {
        Self {
            kind: Kind::Teed {
                body,
                sink: Box::new(sink),
                last: None,
            },
        }
    }

    pub(crate) fn stored(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Stored { bytes },
        }
    }
}

impl<R: Body> Body for RecordBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project().kind.project() {
            KindProj::Passed { body } => body.poll_frame(cx).map_ok(|frame| frame.map_data(whole)),
            KindProj::Stored { bytes } => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            KindProj::Teed {
                mut body,
                sink,
                last,
            } => {
                if last.is_none() {
                    let frame = match ready!(body.as_mut().poll_frame(cx)) {
                        Some(frame) => frame.inspect_err(|_| sink.abandon("the body broke"))?,
                        None if sink.is_off() => return Poll::Ready(None),
                        None => return end(sink, last, None, cx),
                    };
                    let frame = frame.map_data(whole);
                    let Some(data) = frame.data_ref() else {
                        sink.abandon("the body has trailers");
                        return Poll::Ready(Some(Ok(frame)));
                    };
                    sink.take(data);
                    if !sink.is_off() && (sink.is_complete() || body.is_end_stream()) {
                        let data = frame.into_data().ok();
                        return end(sink, last, data, cx);
                    }
                    // Not waited for: it goes on with the next frame.
                    let _ = sink.poll_open(cx);
                    return Poll::Ready(Some(Ok(frame)));
                }
                ready!(sink.poll_finish(cx));
                let data = last.take().flatten();
                Poll::Ready(data.map(|data| Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Passed { body } => body.is_end_stream(),
            Kind::Stored { bytes } => bytes.is_empty(),
            Kind::Teed { body, sink, last } => {
                last.is_none() && sink.is_off() && body.is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Passed { body } => body.size_hint(),
            Kind::Stored { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Kind::Teed { body, last, .. } => {
                let held = last.iter().flatten().map(|data| data.len() as u64).sum();
                plus(&body.size_hint(), held)
            }
        }
    }
}

impl<R> fmt::Debug for RecordBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Passed { .. } => "passed on",
            Kind::Teed { .. } => "recorded",
            Kind::Stored { .. } => "stored",
        };
        f.debug_tuple("RecordBody").field(&kind).finish()
    }
}

/// Ends a recording; the reader gets the last data when that is done.
fn end<E>(
    sink: &mut Sink,
    last: &mut Option<Option<Bytes>>,
    data: Option<Bytes>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, E>>> {
    sink.end();
    if sink.poll_finish(cx).is_pending() {
        *last = Some(data);
        return Poll::Pending;
    }
    Poll::Ready(data.map(|data| Ok(Frame::data(data))))
}

/// A piece of a body in one. Copies nothing if it is `Bytes` already.
fn whole<D: Buf>(mut data: D) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

fn plus(hint: &SizeHint, more: u64) -> SizeHint {
    let mut sum = SizeHint::new();
    sum.set_lower(hint.lower().saturating_add(more));
    if let Some(upper) = hint.upper() {
        sum.set_upper(upper.saturating_add(more));
    }
    sum
}
