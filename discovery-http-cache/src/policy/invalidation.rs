//! What a successful unsafe request makes invalid (RFC 9111 §4.4).

use discovery_core::key::Origin;
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

/// A reference as a URI on the origin of `target` (RFC 3986 §5.2); `None` if it is on another.
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
        if !is_same_origin(target, &uri) {
            return None;
        }
        uri.path_and_query()?.clone()
    } else if reference.starts_with('/') {
        reference.parse().ok()?
    } else if reference.starts_with('?') {
        format!("{}{reference}", target.path()).parse().ok()?
    } else {
        let (directory, _) = target.path().rsplit_once('/')?;
        format!("{directory}/{reference}").parse().ok()?
    };
    let mut parts = target.clone().into_parts();
    parts.path_and_query = Some(without_dot_segments(path)?);
    Uri::from_parts(parts).ok()
}

/// RFC 9110 §4.3.1. User information is not part of an origin.
fn is_same_origin(a: &Uri, b: &Uri) -> bool {
    Origin::of(a).is_some_and(|origin| origin.is_of(b))
}

/// RFC 3986 §5.2.4.
fn without_dot_segments(path: PathAndQuery) -> Option<PathAndQuery> {
    let is_dots = |segment: &str| matches!(segment, "." | "..");
    if !path.path().split('/').any(is_dots) {
        return Some(path);
    }
    let mut out: Vec<&str> = Vec::new();
    let mut segments = path.path().split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment == ".." {
            out.pop();
        } else if segment != "." {
            out.push(segment);
            continue;
        }
        // A directory ends with a slash.
        if segments.peek().is_none() {
            out.push("");
        }
    }
    let clean = format!("/{}", out.join("/"));
    match path.query() {
        Some(query) => format!("{clean}?{query}").parse().ok(),
        None => clean.parse().ok(),
    }
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

    /// RFC 3986 §5.4, those without another authority or a fragment.
    #[test]
    fn the_examples_of_the_rfc() {
        let base = Uri::from_static("http://a/b/c/d;p?q");
        for (reference, expected) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            ("g;x=1/../y", "/b/c/y"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("/./g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./g/.", "/b/c/g/"),
            ("g/./h", "/b/c/g/h"),
            ("g/../h", "/b/c/h"),
        ] {
            let resolved = resolve(&base, reference).unwrap();
            assert_eq!(
                resolved.to_string(),
                format!("http://a{expected}"),
                "{reference}"
            );
        }
    }
}
