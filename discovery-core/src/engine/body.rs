use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Collected;

pin_project! {
    /// The body of a [`DiscoveryService`](super::DiscoveryService)'s response: the inner service's,
    /// or one that the cache made.
    pub struct Body<B: HttpBody> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B: HttpBody> {
        /// The inner service's.
        Inner { #[pin] body: B },
        /// Made by the cache, until it is read.
        Full { data: Option<Bytes> },
        /// The inner service's, whose beginning has been read.
        Rest { prefix: Option<Bytes>, body: Pin<Box<B>> },
        /// The inner service's, which broke off while it was read.
        Broken { prefix: Option<Bytes>, error: Option<B::Error> },
    }
}

impl<B: HttpBody<Data = Bytes>> Body<B> {
    pub(super) const fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    pub(super) fn full(data: Bytes) -> Self {
        Self {
            kind: Kind::Full {
                data: Some(data).filter(Buf::has_remaining),
            },
        }
    }

    /// What was read, for those who are to see it as it came.
    pub(super) fn collected(collected: Collected<B>) -> Self {
        let prefix = |prefix: Bytes| Some(prefix).filter(|prefix| !prefix.is_empty());
        let kind = match collected {
            Collected::Whole(data) => return Self::full(data),
            Collected::TooLarge(data, body) => Kind::Rest {
                prefix: prefix(data),
                body,
            },
            Collected::Broken(data, error) => Kind::Broken {
                prefix: prefix(data),
                error: Some(error),
            },
        };
        Self { kind }
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Body<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let ready = |data: Option<Bytes>| Poll::Ready(data.map(|data| Ok(Frame::data(data))));
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Full { data } => ready(data.take()),
            KindProj::Rest {
                prefix: prefix @ Some(_),
                ..
            }
            | KindProj::Broken {
                prefix: prefix @ Some(_),
                ..
            } => ready(prefix.take()),
            KindProj::Rest { body, .. } => body.as_mut().poll_frame(cx),
            KindProj::Broken { error, .. } => Poll::Ready(error.take().map(Err)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Full { data } => data.is_none(),
            Kind::Rest { prefix, body } => prefix.is_none() && body.is_end_stream(),
            Kind::Broken { prefix, error } => prefix.is_none() && error.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let len = |data: &Option<Bytes>| data.as_ref().map_or(0, Bytes::len) as u64;
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Full { data } => SizeHint::with_exact(len(data)),
            Kind::Rest { prefix, body } => {
                let (rest, prefix) = (body.size_hint(), len(prefix));
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(prefix));
                if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(prefix)) {
                    hint.set_upper(upper);
                }
                hint
            }
            Kind::Broken { .. } => SizeHint::default(),
        }
    }
}

impl<B: HttpBody> fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Inner { .. } => "Inner",
            Kind::Full { .. } => "Full",
            Kind::Rest { .. } => "Rest",
            Kind::Broken { .. } => "Broken",
        };
        f.debug_struct("Body")
            .field("kind", &kind)
            .finish_non_exhaustive()
    }
}
