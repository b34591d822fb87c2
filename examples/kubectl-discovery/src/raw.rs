//! `get --raw`: past all caches.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use discovery_client::request_defaults::go_duration;
use discovery_client::retry::RetryAfterLayer;
use discovery_core::http::exchange::{Collected, collect};
use discovery_core::http::uri::request_path;
use discovery_core::{Accept, Error as DiscoveryError};
use http::header::ACCEPT;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt};

use crate::args::Get;
use crate::errors::Fatal;
use crate::session::{Session, agent};

/// The most that is read of an error answer.
const MAX_ERROR: u64 = 1 << 20;

/// Go's words for what is no path.
const INVALID: &str = "invalid URI for request";

pub(crate) fn run(session: &Session, flags: &Get) -> Result<(), Fatal> {
    let uri = uri(session, &flags.raw)?;
    session.wait(fetch(session, uri))
}

async fn fetch(session: &Session, uri: Uri) -> Result<(), Fatal> {
    let service = ServiceBuilder::new()
        .layer(RetryAfterLayer::new())
        .layer(agent())
        .service(session.transport.limit(session.timeout));
    let request = Request::get(uri.clone())
        .header(ACCEPT, Accept::LEGACY)
        .body(Full::<Bytes>::default())
        .map_err(Fatal::new)?;
    let response = service
        .oneshot(request)
        .await
        .map_err(|error| Fatal::sending(&error))?;
    // Where nobody has to understand it, any success is one.
    if !response.status().is_success() {
        let (parts, body) = response.into_parts();
        let (Collected::Whole(body) | Collected::TooLarge(body, _) | Collected::Broken(body, _)) =
            collect(body, MAX_ERROR).await;
        let failure = DiscoveryError::status(uri.to_string(), &Response::from_parts(parts, body));
        return Err(Fatal::failure(&failure, &session.url));
    }
    // As it comes: the body may be long, or have no end.
    let mut body = response.into_body();
    let mut out = io::stdout().lock();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fatal::broken(&uri, &*error))?;
        if let Ok(data) = frame.into_data() {
            out.write_all(&data)
                .map_err(|error| Fatal::output(&error))?;
        }
    }
    out.flush().map_err(|error| Fatal::output(&error))
}

/// The path below the server's own. Of a whole URL it is the path as well, as in kubectl.
fn uri(session: &Session, raw: &str) -> Result<Uri, Fatal> {
    let timeout = session.timeout.map(go_duration);
    let refused = |why: &dyn fmt::Display| {
        Fatal::new(format_args!(
            "--raw must be a valid URL path: parse {raw:?}: {why}"
        ))
    };
    let target = target(session.url.path(), raw, timeout).map_err(|why| refused(&why))?;
    let target = target.parse::<PathAndQuery>();
    let mut parts = session.url.clone().into_parts();
    parts.path_and_query = Some(target.map_err(|_| refused(&INVALID))?);
    Uri::from_parts(parts).map_err(|_| refused(&INVALID))
}

/// The target of a request, as Go and client-go make it: the path is decoded, cleaned and encoded, and so are the pairs of
/// the query, which are sorted by their keys. A fragment is not sent.
fn target(base: &str, raw: &str, timeout: Option<String>) -> Result<String, String> {
    if raw.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".into());
    }
    let (raw, _) = raw.split_once('#').unwrap_or((raw, ""));
    let (raw, query) = raw.split_once('?').unwrap_or((raw, ""));
    let path = request_path(path_of(raw)?).map_err(|error| error.to_string())?;
    let mut target = base.trim_end_matches('/').to_owned() + &path;
    if target.is_empty() {
        target.push('/');
    }
    let mut pairs = pairs_of(query);
    if let Some(timeout) = timeout {
        pairs.insert(b"timeout".to_vec(), vec![timeout.into_bytes()]);
    }
    let mut separator = '?';
    for (key, values) in &pairs {
        for value in values {
            target.push(separator);
            separator = '&';
            encode(&mut target, key);
            target.push('=');
            encode(&mut target, value);
        }
    }
    Ok(target)
}

/// The path of a URL. A path alone begins with a slash.
fn path_of(raw: &str) -> Result<&str, String> {
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let rest = match raw.split_once(':') {
        Some(("", _)) => return Err("missing protocol scheme".into()),
        Some((scheme, rest)) if is_scheme(scheme) => {
            // Without a slash there is no path.
            let has_path = rest.starts_with('/');
            if has_path { rest } else { "" }
        }
        _ if raw.starts_with('/') || raw == "*" => raw,
        _ => return Err(INVALID.into()),
    };
    Ok(match rest.strip_prefix("//") {
        // A third slash is none of an authority's, in a path alone.
        Some(behind) if !(behind.starts_with('/') && raw.starts_with('/')) => {
            &behind[behind.find('/').unwrap_or(behind.len())..]
        }
        _ => rest,
    })
}

/// The pairs of a query that are well-formed, as Go reads them.
fn pairs_of(query: &str) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut pairs = BTreeMap::<_, Vec<_>>::new();
    let wellformed = |pair: &&str| !pair.is_empty() && !pair.contains(';');
    for pair in query.split('&').filter(wellformed) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(key), Some(value)) = (decoded(key), decoded(value)) {
            pairs.entry(key).or_default().push(value);
        }
    }
    pairs
}

/// A text of a query without its escapes; `None` if one is malformed.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                u8::try_from(16 * high + low).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    Some(decoded)
}

/// Adds bytes of a query with escapes for all but letters, digits and a few others. A space becomes a plus.
fn encode(text: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b' ' => text.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => {
                text.push(byte.into());
            }
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen with kubectl 1.37.1, by its requests.
    #[test]
    fn targets_are_decoded_cleaned_and_encoded() {
        for (raw, expected) in [
            ("/api", "/base/api"),
            ("/api/", "/base/api/"),
            ("/", "/base/"),
            ("/..", "/base"),
            ("/../api", "/base/api"),
            ("/a/./b//c", "/base/a/b/c"),
            ("/%2e%2e/api", "/base/api"),
            ("/api%2f", "/base/api/"),
            ("//api", "/base"),
            ("///api", "/base/api"),
            ("/a b/ü{}\\", "/base/a%20b/%C3%BC%7B%7D%5C"),
            ("/a:b;c", "/base/a:b;c"),
            ("*", "/base/%2A"),
            ("http://other/api", "/base/api"),
            ("x://", "/base"),
            ("x:api", "/base"),
            ("/api?", "/base/api"),
            ("/api#f", "/base/api"),
            ("/api?x=%zz&a=1;b=2", "/base/api"),
            ("/api?x=a b&x=\"&a", "/base/api?a=&x=a+b&x=%22"),
        ] {
            assert_eq!(target("/base/", raw, None).unwrap(), expected, "{raw}");
        }
        assert_eq!(target("/", "/..", None).unwrap(), "/");
        let timeout = target("/", "/a?timeout=5s&z&b=1", Some("1s".into()));
        assert_eq!(timeout.unwrap(), "/a?b=1&timeout=1s&z=");
        for (raw, why) in [
            ("api", INVALID),
            ("?x", INVALID),
            ("./api", INVALID),
            ("", INVALID),
            (":/x", "missing protocol scheme"),
            ("/api%", "invalid URL escape \"%\""),
            ("/a%2zb", "invalid URL escape \"%2z\""),
            ("/%é", "invalid URL escape \"%é\""),
            ("/\n", "net/url: invalid control character in URL"),
        ] {
            assert_eq!(target("/", raw, None).unwrap_err(), why, "{raw}");
        }
    }
}
