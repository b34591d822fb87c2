//! The URL of a request, which messages about its answer name.

use bytes::Bytes;
use http::Response;

use crate::Text;

/// A response extension: the URL that was asked, for messages.
#[derive(Clone, Debug)]
pub(crate) struct AskedUrl(pub(crate) Text);

/// The URL that was asked, which the sender of the request leaves with the answer.
pub(crate) fn asked_url(answer: &Response<Bytes>, fallback: impl FnOnce() -> Text) -> Text {
    answer
        .extensions()
        .get::<AskedUrl>()
        .map_or_else(fallback, |url| url.0.clone())
}
