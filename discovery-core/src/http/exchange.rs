//! One request and its whole answer.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body as HttpBody;

use super::body::Body;
use crate::BoxError;

/// A body that was read to its end, or as far as it went.
///
/// ```
/// use discovery_core::http::exchange::{Collected, collect};
/// use http_body_util::Full;
/// # tokio_test::block_on(async {
///
/// let body = || Full::new(bytes::Bytes::from("body"));
/// assert!(matches!(collect(body(), 4).await, Collected::Whole(data) if data == "body"));
/// assert!(matches!(collect(body(), 3).await, Collected::TooLarge(..)));
/// # });
/// ```
pub enum Collected<B: HttpBody> {
    /// All of it.
    Whole(Bytes),
    /// More than the limit: the data that was read, and the rest to come.
    TooLarge(Bytes, Pin<Box<B>>),
    /// It broke off: the data that was read, and the error.
    Broken(Bytes, B::Error),
}

/// Reads a body of up to `limit` bytes. Trailers are dropped. The example is at [`Collected`].
pub async fn collect<B: HttpBody<Data = Bytes>>(body: B, limit: u64) -> Collected<B> {
    let mut body = Box::pin(body);
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame {
            Ok(frame) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                // Most bodies come in one piece, which need not be copied.
                match first.take() {
                    None if all.is_empty() => first = Some(data),
                    before => {
                        all.extend_from_slice(&before.unwrap_or_default());
                        all.extend_from_slice(&data);
                    }
                }
            }
            Err(error) => return Collected::Broken(joined(first, all), error),
        }
        let read = first.as_ref().map_or(0, Buf::remaining) + all.len();
        if read as u64 > limit {
            return Collected::TooLarge(joined(first, all), body);
        }
    }
    Collected::Whole(joined(first, all))
}

fn joined(first: Option<Bytes>, all: BytesMut) -> Bytes {
    first.unwrap_or_else(|| all.freeze())
}

/// Sends a request once the service is ready, and reads the answer.
#[cfg(feature = "discovery")]
pub(crate) async fn exchange<S, B, RB>(
    service: S,
    request: http::Request<B>,
    limit: u64,
) -> Result<(http::response::Parts, Collected<RB>), S::Error>
where
    S: tower_service::Service<http::Request<B>, Response = http::Response<RB>>,
    RB: HttpBody<Data = Bytes>,
{
    let (parts, body) = crate::internal::reserved::Oneshot::new(service, request)
        .await?
        .into_parts();
    Ok((parts, collect(body, limit).await))
}

impl<B> Collected<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Makes a body of it again, which reads as the first one did.
    pub fn into_body(self) -> Body<B> {
        match self {
            Self::Whole(data) => Body::full(data),
            Self::TooLarge(data, rest) => Body::rest(data, rest),
            Self::Broken(data, error) => Body::broken(data, error),
        }
    }
}

impl<B: HttpBody> fmt::Debug for Collected<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, data) = match self {
            Self::Whole(data) => ("Whole", data),
            Self::TooLarge(data, _) => ("TooLarge", data),
            Self::Broken(data, _) => ("Broken", data),
        };
        f.debug_tuple(name).field(&data.len()).finish()
    }
}
