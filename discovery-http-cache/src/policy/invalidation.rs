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
        .filter_map(|reference| resolve(target, reference));
    let mut all = vec![target.clone()];
    all.extend(named);
    all
}

/// A reference (RFC 3986 §5) as a URI on the origin of `target`; `None` if it is on another.
///
/// One with dot segments is not resolved: what it names has to wait until it is stale.
pub(crate) fn resolve(target: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next()?;
    let path: PathAndQuery = if reference.is_empty() {
        target.path_and_query()?.clone()
    } else if reference.starts_with("//") || has_scheme(reference) {
        let uri: Uri = match reference.strip_prefix("//") {
            Some(rest) => format!("{}://{rest}", target.scheme_str()?).parse(),
            None => reference.parse(),
        }
        .ok()?;
        let same = uri.scheme() == target.scheme() && uri.authority() == target.authority();
        same.then(|| uri.path_and_query().cloned())??
    } else if reference.starts_with('/') {
        reference.parse().ok()?
    } else if reference.starts_with('?') {
        format!("{}{reference}", target.path()).parse().ok()?
    } else {
        let (directory, _) = target.path().rsplit_once('/')?;
        format!("{directory}/{reference}").parse().ok()?
    };
    if path
        .path()
        .split('/')
        .any(|segment| matches!(segment, "." | ".."))
    {
        return None;
    }
    let mut parts = target.clone().into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}

fn has_scheme(reference: &str) -> bool {
    let end = reference.find(['/', '?']).unwrap_or(reference.len());
    reference[..end].contains(':')
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
            ("//h/c", Some("http://h/c")),
            ("c", Some("http://h/c")),
            ("c:1", None),
            ("?x", Some("http://h/a?x")),
            ("", Some("http://h/a?b")),
            ("#e", Some("http://h/a?b")),
            ("../c", None),
            ("/c/../d", None),
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
