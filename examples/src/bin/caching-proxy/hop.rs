//! Header fields that belong to one connection (RFC 9110 §7.6.1).

use http::{HeaderMap, HeaderName, header};

const ALWAYS: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The fields that frame a message or tell a cache what it may do. A sender can't make them its own
/// affair by naming them in `Connection` (RFC 9110 §7.6.1).
const NEVER: [HeaderName; 4] = [
    header::CACHE_CONTROL,
    header::CONTENT_LENGTH,
    header::HOST,
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
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| !NEVER.contains(name))
        .collect();
    for name in ALWAYS.iter().chain(&named) {
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
            ("x-a", "1"),
            ("x-b", "1"),
            ("x-c", "1"),
            ("content-length", "5"),
        ];
        assert_eq!(left(&fields), ["content-length", "x-c"]);
    }

    #[test]
    fn a_length_beside_a_transfer_coding_is_removed() {
        let fields = [("content-length", "2"), ("transfer-encoding", "chunked")];
        assert_eq!(left(&fields), [""; 0]);
    }
}
