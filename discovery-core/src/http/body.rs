//! The one response body of this workspace's layers.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::BoxError;
use crate::internal::tee::Reader;

pin_project! {
    /// The body of a response from a caching service around bodies `B`: passed through, stored while it is read, or
    /// made from bytes.
    ///
    /// The errors of the inner body come out as they are, boxed. The size hint is exact, and the end of the stream is
    /// told, only if no error can come any more; or if the size was announced, as by `Content-Length`.
    ///
    /// ```
    /// use discovery_core::http::body::Body;
    /// use http_body_util::{BodyExt, Empty};
    ///
    /// # tokio_test::block_on(async {
    /// let body = Body::<Empty<bytes::Bytes>>::full("hello".into());
    /// assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    /// # });
    /// ```
    pub struct Body<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Passed { #[pin] body: B },
        Full { data: Option<Bytes> },
        Teed { reader: Reader },
        // The beginning has been read.
        Rest { prefix: Option<Bytes>, body: Pin<Box<B>> },
        // The beginning has been read, and then an error.
        Broken { prefix: Option<Bytes>, error: Option<BoxError> },
    }
}

impl<B> Body<B> {
    /// A body that is passed through.
    pub const fn passed(body: B) -> Self {
        Self {
            kind: Kind::Passed { body },
        }
    }

    /// A body of these bytes.
    #[must_use]
    pub fn full(data: Bytes) -> Self {
        Self {
            kind: Kind::Full { data: some(data) },
        }
    }

    /// A body that is stored while it is read.
    #[doc(hidden)]
    #[must_use]
    pub const fn teed(reader: Reader) -> Self {
        Self {
            kind: Kind::Teed { reader },
        }
    }

    /// A body of which `prefix` has been read.
    #[must_use]
    pub fn rest(prefix: Bytes, body: Pin<Box<B>>) -> Self {
        let prefix = some(prefix);
        Self {
            kind: Kind::Rest { prefix, body },
        }
    }

    /// A body that broke off with `error` after `prefix`.
    #[must_use]
    pub fn broken(prefix: Bytes, error: impl Into<BoxError>) -> Self {
        Self {
            kind: Kind::Broken {
                prefix: some(prefix),
                error: Some(error.into()),
            },
        }
    }
}

impl<B> Body<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Reads and forgets the next part, and returns whether there is more to be stored. For a body that nobody else
    /// reads.
    #[doc(hidden)]
    pub async fn store_next(mut self: Pin<&mut Self>) -> bool {
        poll_fn(|cx| {
            if let Kind::Teed { reader } = &self.kind
                && !reader.is_settled()
            {
                let frame = ready!(self.as_mut().poll_frame(cx));
                return Poll::Ready(matches!(frame, Some(Ok(_))));
            }
            Poll::Ready(false)
        })
        .await
    }
}

/// Whether a request with this body has content (RFC 9110 §6.4), as far as can be known before it is sent. The header
/// fields need not tell: HTTP clients add `Content-Length` when they send.
///
/// ```
/// use bytes::Bytes;
/// use discovery_core::http::body::has_content;
/// use http_body_util::{Empty, Full};
///
/// assert!(!has_content(&Empty::<Bytes>::new()));
/// assert!(has_content(&Full::<Bytes>::from("query")));
/// ```
pub fn has_content(body: &impl HttpBody) -> bool {
    !body.is_end_stream() && body.size_hint().exact() != Some(0)
}

fn some(data: Bytes) -> Option<Bytes> {
    Some(data).filter(|data| !data.is_empty())
}

impl<B> HttpBody for Body<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let ready = |data: Option<Bytes>| Poll::Ready(data.map(|data| Ok(Frame::data(data))));
        match self.project().kind.project() {
            KindProj::Passed { body } => body.poll_frame(cx).map_err(Into::into),
            KindProj::Full { data } => ready(data.take()),
            KindProj::Teed { reader } => reader.poll_frame(cx),
            KindProj::Rest { prefix, body } => match prefix.take() {
                None => body.as_mut().poll_frame(cx).map_err(Into::into),
                prefix => ready(prefix),
            },
            KindProj::Broken { prefix, error } => match prefix.take() {
                None => Poll::Ready(error.take().map(Err)),
                prefix => ready(prefix),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Passed { body } => body.is_end_stream(),
            Kind::Full { data } => data.is_none(),
            Kind::Teed { reader } => reader.is_end_stream(),
            Kind::Rest { prefix, body } => prefix.is_none() && body.is_end_stream(),
            Kind::Broken { prefix, error } => prefix.is_none() && error.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let len = |data: &Option<Bytes>| data.as_ref().map_or(0, Bytes::len) as u64;
        match &self.kind {
            Kind::Passed { body } => body.size_hint(),
            Kind::Full { data } => SizeHint::with_exact(len(data)),
            Kind::Teed { reader } => reader.size_hint(),
            Kind::Rest { prefix, body } => {
                let (rest, prefix) = (body.size_hint(), len(prefix));
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(prefix));
                if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(prefix)) {
                    hint.set_upper(upper);
                }
                hint
            }
            // An exact hint would be taken for the size of a whole body.
            Kind::Broken { .. } => SizeHint::default(),
        }
    }
}

/// An empty body.
impl<B> Default for Body<B> {
    fn default() -> Self {
        Self::full(Bytes::new())
    }
}

impl<B> fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Passed { .. } => "Body(passed)",
            Kind::Full { .. } => "Body(full)",
            Kind::Teed { .. } => "Body(teed)",
            Kind::Rest { .. } => "Body(rest)",
            Kind::Broken { .. } => "Body(broken)",
        })
    }
}
