//! What a successful unsafe request makes invalid (RFC 9111 §4.4).

use http::uri::PathAndQuery;
use http::{HeaderMap, StatusCode, Uri, header};

/// The URIs whose entries go, once the request to `target` has been answered: the target itself,
/// and what `Location` and `Content-Location` name on the same origin.
pub(crate) fn targets(target: &Uri, status: StatusCode, headers: &HeaderMap) -> Vec<Uri> {
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

/// An absolute URI or an absolute path, as a URI on the origin of `target`.
fn on_same_origin(target: &Uri, reference: &str) -> Option<Uri> {
    let path: PathAndQuery = if reference.starts_with('/') && !reference.starts_with("//") {
        reference.split('#').next()?.parse().ok()?
    } else {
        let uri: Uri = reference.parse().ok()?;
        let same = uri.scheme() == target.scheme() && uri.authority() == target.authority();
        same.then(|| uri.path_and_query().cloned())??
    };
    let mut parts = target.clone().into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn locations() {
        let target = Uri::from_static("http://h/a?b");
        let table = [
            ("/c?d#e", Some("http://h/c?d")),
            ("http://h/c", Some("http://h/c")),
            ("http://H/c", Some("http://h/c")),
            ("https://h/c", None),
            ("http://other/c", None),
            ("//other/c", None),
            ("c", None),
            ("", None),
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
