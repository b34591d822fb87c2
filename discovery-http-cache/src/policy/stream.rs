//! Kubernetes' streams.

use http::Uri;

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

#[cfg(test)]
mod tests {
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
}
