use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Version, response};

use super::chunked;
use super::{Framing, Reason, says_close, status_has_body, usual_reason};
use crate::store::Value;

/// The canonical name of a header, and one of its values.
type Line<'a> = (&'a [u8], &'a HeaderValue);

/// The dump of a response to `method`.
///
/// The body is not copied, unless chunks must be put around it. A response to HEAD has none,
/// whatever `body` is.
#[must_use]
pub fn encode(method: &Method, parts: &response::Parts, framing: Framing, body: Bytes) -> Value {
    let head = encode_head(method, parts, framing, Some(body.len() as u64));
    if method == Method::HEAD || !status_has_body(parts.status) {
        return Value::new(head, Bytes::new());
    }
    let body = match framing {
        Framing::Chunked => chunked::encode(&body),
        Framing::Length | Framing::Close | Framing::Bare => body,
    };
    Value::new(head, body)
}

/// The head alone, blank line included, for a body of `length` bytes or of unknown length.
///
/// [`Framing::Length`] without a length turns into [`Framing::Close`]. For HEAD the length
/// that counts is the one in the headers.
///
/// ```
/// use discovery_core::http::dump::{Framing, encode_head};
/// use http::{Method, Response};
///
/// let (parts, ()) = Response::new(()).into_parts();
/// assert_eq!(
///     encode_head(&Method::GET, &parts, Framing::Close, None),
///     "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
/// );
/// ```
#[must_use]
pub fn encode_head(
    method: &Method,
    parts: &response::Parts,
    framing: Framing,
    length: Option<u64>,
) -> Bytes {
    let has_body = status_has_body(parts.status);
    let length = if method == Method::HEAD {
        super::content_length(&parts.headers).ok().flatten()
    } else if has_body {
        length
    } else {
        Some(0)
    };
    let framing = match framing {
        Framing::Length if length.is_none() => Framing::Close,
        other => other,
    };

    let mut names = Vec::with_capacity(parts.headers.len() * 16);
    let headers = sorted(parts, &mut names);
    let closes = says_close(&parts.headers);
    // Written by the framing, not by the header. Go forgets a Connection header that says close once
    // it has understood it.
    let is_framing = |name: &[u8]| match name {
        b"Content-Length" | b"Transfer-Encoding" | b"Trailer" => true,
        b"Connection" => closes,
        _ => false,
    };

    let values: usize = headers.iter().map(|(_, value)| value.len() + 4).sum();
    let mut out = Vec::with_capacity(headers.len() * 24 + values + 128);
    status_line(&mut out, parts);
    if framing == Framing::Close || closes {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    let length = length.filter(|_| framing == Framing::Length);
    match (framing, length) {
        (Framing::Length, Some(length)) if length > 0 => put_content_length(&mut out, length),
        (Framing::Chunked, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        _ => {}
    }
    for (name, value) in headers {
        if !is_framing(name) {
            put_line(&mut out, name, value.as_bytes().trim_ascii());
        }
    }
    if length == Some(0) && has_body {
        put_content_length(&mut out, 0);
    }
    out.extend_from_slice(b"\r\n");
    out.into()
}

fn status_line(out: &mut Vec<u8>, parts: &response::Parts) {
    out.extend_from_slice(match parts.version {
        Version::HTTP_09 => b"HTTP/0.9 ",
        Version::HTTP_10 => b"HTTP/1.0 ",
        Version::HTTP_2 => b"HTTP/2.0 ",
        Version::HTTP_3 => b"HTTP/3.0 ",
        _ => b"HTTP/1.1 ",
    });
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.push(b' ');
    match parts.extensions.get::<Reason>() {
        Some(reason) => out.extend_from_slice(reason.as_bytes()),
        None => out.extend_from_slice(usual_reason(parts.status).as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
}

fn put_content_length(out: &mut Vec<u8>, length: u64) {
    put_line(out, b"Content-Length", HeaderValue::from(length).as_bytes());
}

fn put_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The headers by canonical name (`x-request-id` is `X-Request-Id`), repeats in their order. The names
/// are put into `names`.
fn sorted<'a>(parts: &'a response::Parts, names: &'a mut Vec<u8>) -> Vec<Line<'a>> {
    for (name, _) in &parts.headers {
        put_canonical(names, name);
    }
    let mut names = &names[..];
    let mut headers: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            let (canonical, rest) = names.split_at(name.as_str().len());
            names = rest;
            (canonical, value)
        })
        .collect();
    // Stable, so that repeats stay as they are.
    headers.sort_by_key(|(canonical, _)| *canonical);
    headers
}

fn put_canonical(out: &mut Vec<u8>, name: &HeaderName) {
    let start = out.len();
    out.extend_from_slice(name.as_str().as_bytes());
    for word in out[start..].split_mut(|b| *b == b'-') {
        if let Some(first) = word.first_mut() {
            first.make_ascii_uppercase();
        }
    }
}
