use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Version, header, response};

use super::chunked;
use super::{Framing, Reason, says_close, status_has_body, usual_reason};
use crate::store::Value;

/// The dump of a response to `method`.
///
/// The body is not copied, unless chunks must be put around it. A response to HEAD has none,
/// whatever `body` is.
#[must_use]
pub fn encode(method: &Method, parts: &response::Parts, framing: Framing, body: Bytes) -> Value {
    let head = encode_head(method, parts, framing, Some(body.len() as u64));
    if method == Method::HEAD || !status_has_body(parts.status) {
        return Value {
            head,
            body: Bytes::new(),
        };
    }
    let body = match framing {
        Framing::Chunked => chunked::encode(&body),
        Framing::Length | Framing::Close | Framing::Bare => body,
    };
    Value { head, body }
}

/// The head alone, blank line included, for a body of `length` bytes or of unknown length.
///
/// [`Framing::Length`] without a length turns into [`Framing::Close`]. For HEAD the length
/// that counts is the one in the headers.
///
/// ```
/// use discovery_core::dump::{Framing, encode_head};
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

    let mut headers = sorted(parts);
    headers.retain(|(name, ..)| {
        // Written by the framing, not by the header. Go forgets a Connection header that says
        // close once it has understood it.
        **name != header::CONTENT_LENGTH
            && **name != header::TRANSFER_ENCODING
            && **name != header::TRAILER
            && !(**name == header::CONNECTION && says_close(&parts.headers))
    });

    let size: usize = headers
        .iter()
        .map(|(name, _, value)| name.as_str().len() + value.len() + 4)
        .sum();
    let mut out = BytesMut::with_capacity(size + 128);
    status_line(&mut out, parts);
    if framing == Framing::Close || says_close(&parts.headers) {
        out.put_slice(b"Connection: close\r\n");
    }
    let length = length.filter(|_| framing == Framing::Length);
    match (framing, length) {
        (Framing::Length, Some(length)) if length > 0 => put_content_length(&mut out, length),
        (Framing::Chunked, _) => out.put_slice(b"Transfer-Encoding: chunked\r\n"),
        _ => {}
    }
    for (_, canonical, value) in &headers {
        out.put_slice(canonical);
        out.put_slice(b": ");
        out.put_slice(value.as_bytes().trim_ascii());
        out.put_slice(b"\r\n");
    }
    if length == Some(0) && has_body {
        put_content_length(&mut out, 0);
    }
    out.put_slice(b"\r\n");
    out.freeze()
}

fn status_line(out: &mut BytesMut, parts: &response::Parts) {
    out.put_slice(match parts.version {
        Version::HTTP_09 => b"HTTP/0.9 ",
        Version::HTTP_10 => b"HTTP/1.0 ",
        Version::HTTP_2 => b"HTTP/2.0 ",
        Version::HTTP_3 => b"HTTP/3.0 ",
        _ => b"HTTP/1.1 ",
    });
    out.put_slice(parts.status.as_str().as_bytes());
    out.put_u8(b' ');
    match parts.extensions.get::<Reason>() {
        Some(reason) => out.put_slice(reason.as_bytes()),
        None => out.put_slice(usual_reason(parts.status).as_bytes()),
    }
    out.put_slice(b"\r\n");
}

fn put_content_length(out: &mut BytesMut, length: u64) {
    out.put_slice(b"Content-Length: ");
    out.put_slice(length.to_string().as_bytes());
    out.put_slice(b"\r\n");
}

/// The headers by canonical name (`x-request-id` is `X-Request-Id`), repeats in their order.
fn sorted(parts: &response::Parts) -> Vec<(&HeaderName, Vec<u8>, &HeaderValue)> {
    let mut headers: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| (name, canonical(name), value))
        .collect();
    // Stable, so that repeats stay as they are.
    headers.sort_by(|a, b| a.1.cmp(&b.1));
    headers
}

fn canonical(name: &HeaderName) -> Vec<u8> {
    let mut start = true;
    let upper = |b: &u8| {
        let b = if start { b.to_ascii_uppercase() } else { *b };
        start = b == b'-';
        b
    };
    name.as_str().as_bytes().iter().map(upper).collect()
}
