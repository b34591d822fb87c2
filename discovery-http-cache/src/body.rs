use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::tee::Tee;

pin_project! {
    /// The body of a response from [`HttpCache`](crate::HttpCache), around the bodies of the
    /// service inside.
    ///
    /// It is passed through, or goes into the store while it is read, or comes from there. One that
    /// goes into the store is stored once its last byte has been read: when it ends, or with the
    /// last of the bytes that `Content-Length` announces. It is not stored if it is dropped
    /// before, fails, or has another length.
    pub struct Body<B>
    where
        B: http_body::Body,
    {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B>
    where
        B: http_body::Body,
    {
        Passed { #[pin] body: B },
        Teed { tee: Box<Tee<B>> },
        Stored { data: Option<Bytes> },
    }
}

impl<B: http_body::Body> Body<B> {
    pub(crate) fn passed(body: B) -> Self {
        Self {
            kind: Kind::Passed { body },
        }
    }

    pub(crate) fn teed(tee: Box<Tee<B>>) -> Self {
        Self {
            kind: Kind::Teed { tee },
        }
    }

    /// Whether reading on stores more.
    pub(crate) fn is_being_stored(&self) -> bool
    where
        B: http_body::Body<Data = Bytes>,
    {
        matches!(&self.kind, Kind::Teed { tee } if tee.is_storing())
    }

    pub(crate) fn stored(data: Bytes) -> Self {
        Self {
            kind: Kind::Stored {
                data: Some(data).filter(|data| !data.is_empty()),
            },
        }
    }
}

impl<B: http_body::Body<Data = Bytes>> http_body::Body for Body<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Passed { body } => body.poll_frame(cx),
            KindProj::Teed { tee } => tee.poll_frame(cx),
            KindProj::Stored { data } => Poll::Ready(data.take().map(|data| Ok(Frame::data(data)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Passed { body } => body.is_end_stream(),
            Kind::Teed { tee } => tee.is_end_stream(),
            Kind::Stored { data } => data.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Passed { body } => body.size_hint(),
            Kind::Teed { tee } => tee.size_hint(),
            Kind::Stored { data } => {
                SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64))
            }
        }
    }
}

/// An empty body.
impl<B: http_body::Body> Default for Body<B> {
    fn default() -> Self {
        Self::stored(Bytes::new())
    }
}

impl<B: http_body::Body> fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Passed { .. } => "Body(passed through)",
            Kind::Teed { .. } => "Body(being stored)",
            Kind::Stored { .. } => "Body(stored)",
        })
    }
}
