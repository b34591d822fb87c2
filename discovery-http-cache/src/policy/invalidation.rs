//! The entries that a successful unsafe request makes invalid (RFC 9111 §4.4).

use discovery_core::http::uri::{resolve, same_origin};
use http::{HeaderMap, StatusCode, Uri, header};

/// The URIs whose entries are to be removed once the request to `target` has been answered: the target
/// itself, and those that `Location` and `Content-Location` name on the same origin.
pub(crate) fn targets(target: &Uri, status: StatusCode, headers: &HeaderMap) -> Vec<Uri> {
    // A "non-error response" is one of 2xx or 3xx (RFC 9111 §4.4).
    if !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let named = [header::LOCATION, header::CONTENT_LOCATION]
        .iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .filter_map(|reference| on_same_origin(target, reference));
    let mut all = vec![target.clone()];
    all.extend(named);
    all
}

/// The URI that a reference means, spelled with the scheme and the authority of `target`. `None` if it is
/// on another origin, whose entries are not for this server to remove.
pub(super) fn on_same_origin(target: &Uri, reference: &str) -> Option<Uri> {
    let resolved = resolve(target, reference)?;
    if !same_origin(target, &resolved) {
        return None;
    }
    let mut parts = target.clone().into_parts();
    parts.path_and_query = resolved.into_parts().path_and_query;
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn locations_on_the_same_origin_are_invalidated() {
        let target = Uri::from_static("http://h/a?b");
        let table = [
            ("/c?d#e", Some("http://h/c?d")),
            ("http://h/c", Some("http://h/c")),
            ("http://H/c", Some("http://h/c")),
            ("https://h/c", None),
            ("http://other/c", None),
            ("//other/c", None),
            ("//h/c", Some("http://h/c")),
            ("c", Some("http://h/c")),
            ("c:1", None),
            ("?x", Some("http://h/a?x")),
            ("", Some("http://h/a?b")),
            ("#e", Some("http://h/a?b")),
            ("../c", Some("http://h/c")),
            ("/c/../d", Some("http://h/d")),
            ("/c/./d/..", Some("http://h/c/")),
            ("/c/.", Some("http://h/c/")),
            ("/../../c?../d", Some("http://h/c?../d")),
            ("./..", Some("http://h/")),
            ("/c//../d", Some("http://h/c/d")),
            ("HTTP://h:80/c", Some("http://h/c")),
            ("//h:81/c", None),
            ("http://u@h/c", Some("http://h/c")),
            ("https://h:80/c", None),
            ("http://h:/c", Some("http://h/c")),
            ("http://h:80x/c", None),
            ("//h:99999/c", None),
        ];
        for (reference, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(reference));
            let found = targets(&target, StatusCode::CREATED, &headers);
            let named: Vec<String> = found[1..].iter().map(Uri::to_string).collect();
            assert_eq!(named.first().map(String::as_str), expected, "{reference}");
            assert!(targets(&target, StatusCode::NOT_FOUND, &headers).is_empty());
        }
    }
}
