//! Discovery documents under another's media type. Some servers and proxies send plain JSON's, or that of the other form:
//! kubectl takes such a document for an empty one, and prints a table that lacks resources. The document itself says which
//! it is.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use discovery_core::{Accept, BoxError, Format};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;

use super::Body;

/// The length of a document's beginning in which its kind is looked for.
const BEGINNING: usize = 256;

/// A body of which the beginning is known.
struct Peeked {
    known: VecDeque<Result<Bytes, BoxError>>,
    rest: Body,
}

/// Gives the answer to a request for all groups the media type of the document that it is.
pub(super) async fn relabelled(
    path: &str,
    request: &HeaderMap,
    response: Response<Body>,
) -> Response<Body> {
    let is_discovery = path.ends_with("/api") || path.ends_with("/apis");
    let accept = Accept::from_headers(request);
    if response.status() != StatusCode::OK || !is_discovery || accept.asks_for_more() {
        return response;
    }
    let (mut parts, mut rest) = response.into_parts();
    let (mut known, mut length) = (VecDeque::new(), 0);
    while length < BEGINNING
        && let Some(frame) = rest.frame().await
    {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                length += data.len();
                known.push_back(Ok(data));
            }
            Ok(Err(_)) => {}
            // The body breaks off there, and not before.
            Err(error) => {
                known.push_back(Err(error));
                break;
            }
        }
    }
    let data = known.iter().flatten().flatten();
    let beginning: Vec<u8> = data.take(BEGINNING).copied().collect();
    let said = Format::from_headers(&parts.headers);
    if let Some(format) = format_of(&String::from_utf8_lossy(&beginning))
        && said != Some(format)
        && accept.allows(format)
    {
        tracing::info!(path, ?said, is = ?format, "the document is another than its media type says");
        let content_type = HeaderValue::from_static(format.content_type());
        parts.headers.insert(CONTENT_TYPE, content_type);
    }
    let body = Peeked { known, rest };
    Response::from_parts(parts, body.boxed_unsync())
}

/// The form of a document that begins so.
fn format_of(beginning: &str) -> Option<Format> {
    let text_of = |field: &str| {
        let (_, behind) = beginning.split_once(&format!("\"{field}\""))?;
        let behind = behind.trim_start().strip_prefix(':')?.trim_start();
        let (text, _) = behind.strip_prefix('"')?.split_once('"')?;
        Some(text)
    };
    if !beginning.trim_start().starts_with('{') {
        return None;
    }
    match (text_of("kind")?, text_of("apiVersion")) {
        ("APIGroupDiscoveryList", Some(version)) => [Format::V2, Format::V2Beta1]
            .into_iter()
            .find(|format| format.api_version() == version),
        ("APIGroupList" | "APIVersions", _) => Some(Format::Legacy),
        _ => None,
    }
}

impl HttpBody for Peeked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(known) = self.known.pop_front() {
            return Poll::Ready(Some(known.map(Frame::data)));
        }
        Poll::Ready(ready!(Pin::new(&mut self.rest).poll_frame(cx)))
    }

    fn is_end_stream(&self) -> bool {
        self.known.is_empty() && self.rest.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use http::header::ACCEPT;
    use http_body_util::Full;

    const V2: &str =
        r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[]}"#;
    const LEGACY: &str = r#" {"groups": [], "kind" : "APIGroupList"}"#;

    async fn relabelled(path: &str, accept: &str, content_type: &str, text: &str) -> String {
        let mut request = HeaderMap::new();
        request.insert(ACCEPT, accept.parse().unwrap());
        let body = Full::from(text.to_owned()).map_err(|never| match never {});
        let response = Response::builder().header(CONTENT_TYPE, content_type);
        let response = response.body(body.boxed_unsync()).unwrap();
        let response = super::relabelled(path, &request, response).await;
        let content_type = response.headers()[CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, text);
        content_type
    }

    #[tokio::test]
    async fn a_document_has_its_own_media_type() {
        let (v2, plain) = (Format::V2.content_type(), "application/json");
        for (content_type, text, expected) in [
            (plain, V2, v2),
            ("text/html", V2, v2),
            (v2, V2, v2),
            (v2, LEGACY, plain),
            ("application/json;;", LEGACY, "application/json;;"),
            (plain, "{}", plain),
            (plain, "[\"kind\":\"APIGroupDiscoveryList\"]", plain),
            (v2, "", v2),
        ] {
            let found = relabelled("/x/apis", Accept::KUBECTL, content_type, text).await;
            assert_eq!(found, expected, "{content_type} {text}");
        }
        for (path, accept) in [
            ("/version", Accept::KUBECTL),
            ("/apis", Accept::LEGACY),
            ("/apis", Accept::NO_PEER),
        ] {
            assert_eq!(relabelled(path, accept, plain, V2).await, plain);
        }
    }
}
