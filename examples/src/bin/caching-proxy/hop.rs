//! What is for one connection only (RFC 9110 §7.6.1).

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

/// Takes out the fields that are not to be forwarded, and those that `Connection` names.
pub(crate) fn remove(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        // Those which the message can't be understood without are not for it to name.
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::CACHE_CONTROL)
        .collect();
    for name in ALWAYS.iter().chain(&named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn fields_of_a_connection() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-a , close"),
            ("connection", "X-B,content-length"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("x-a", "1"),
            ("x-b", "1"),
            ("x-c", "1"),
            ("content-length", "5"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        remove(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "x-c"]);
    }
}
