//! Responses that need never end: nobody waits for the end of one.

use http::{HeaderMap, Uri, header};

/// Kubernetes' streams, which end when the server or the client wants them to: watches, also by the
/// path that they once had, and followed logs.
pub(super) fn asks_for_stream(uri: &Uri) -> bool {
    let asks = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        matches!(name, "watch" | "follow") && !matches!(value, "false" | "0")
    };
    uri.query().is_some_and(|query| query.split('&').any(asks))
        || uri.path().split('/').any(|segment| segment == "watch")
}

/// Whether a body is of a kind that need never end.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    const KINDS: [&str; 5] = [
        "text/event-stream",
        "multipart/x-mixed-replace",
        "application/x-ndjson",
        "application/json-seq",
        "application/grpc",
    ];
    let is_watch = |parameters: &str| parameters.to_ascii_lowercase().contains("stream=watch");
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| {
            let begins = |stream: &&str| {
                let start = kind.get(..stream.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(stream))
            };
            let parameters = kind.split_once(';').map(|(_, parameters)| parameters);
            KINDS.iter().any(begins) || parameters.is_some_and(is_watch)
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn requests() {
        let table = [
            ("https://h/api/v1/pods?watch=true", true),
            ("https://h/api/v1/pods?limit=1&watch", true),
            ("https://h/api/v1/pods?watch=1", true),
            ("https://h/api/v1/pods?watch=false", false),
            ("https://h/api/v1/pods?watch=0", false),
            ("https://h/api/v1/watch/pods", true),
            ("https://h/api/v1/watches", false),
            ("https://h/api/v1/namespaces/n/pods/p/log?follow=true", true),
            ("https://h/api/v1/pods", false),
        ];
        for (uri, expected) in table {
            assert_eq!(asks_for_stream(&Uri::from_static(uri)), expected, "{uri}");
        }
    }

    #[test]
    fn responses() {
        let table = [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("multipart/x-mixed-replace;boundary=b", true),
            ("application/json;stream=watch", true),
            ("application/json; Stream=Watch", true),
            ("application/json", false),
            ("text/event", false),
            ("application/octet-stream", false),
        ];
        for (kind, expected) in table {
            let kind = HeaderValue::from_static(kind);
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.clone())]);
            assert_eq!(is_stream(&headers), expected, "{kind:?}");
        }
        assert!(!is_stream(&HeaderMap::new()));
    }
}
