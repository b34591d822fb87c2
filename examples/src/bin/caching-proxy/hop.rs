//! Header fields that belong to one connection (RFC 9110 §7.6.1).

use discovery_core::http::headers::hop_by_hop;
use http::{HeaderMap, HeaderName, header};

/// The fields that frame a message or tell a cache what it may do. A sender can't make them its own
/// affair by naming them in `Connection` (RFC 9110 §7.6.1). `Trailer` announces fields that are forwarded.
const NEVER: [HeaderName; 5] = [
    header::CACHE_CONTROL,
    header::CONTENT_LENGTH,
    header::HOST,
    header::TRAILER,
    header::VARY,
];

/// Removes the fields of a received message that are not forwarded, among them those that
/// `Connection` names.
///
/// Beside `Transfer-Encoding`, a `Content-Length` has no meaning, and is removed as well
/// (RFC 9112 §6.3). Otherwise the body, whose coding has been undone, would be cut at that length.
pub(crate) fn remove(headers: &mut HeaderMap) {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let is_hop_by_hop = hop_by_hop(headers);
    let removed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_hop_by_hop(name) && !NEVER.contains(name))
        .cloned()
        .collect();
    for name in removed {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn left(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        remove(&mut headers);
        let mut left: Vec<_> = headers.keys().map(ToString::to_string).collect();
        left.sort_unstable();
        left
    }

    #[test]
    fn the_fields_of_a_connection_are_removed() {
        let fields = [
            ("connection", "x-a , close"),
            ("connection", "X-B,content-length"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("x-a", "1"),
            ("x-b", "1"),
            ("x-c", "1"),
            ("content-length", "5"),
        ];
        assert_eq!(left(&fields), ["content-length", "trailer", "x-c"]);
    }

    #[test]
    fn a_length_beside_a_transfer_coding_is_removed() {
        let fields = [("content-length", "2"), ("transfer-encoding", "chunked")];
        assert_eq!(left(&fields), [""; 0]);
    }
}
