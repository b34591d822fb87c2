use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use http::{header, response};
use memchr::memchr_iter;

use super::chunked::{self, without_return};
use super::{DumpError, Framing, Kind, Reason, Uncompressed};
use super::{is_chunked, says_close, status_has_body, usual_reason};
use crate::store::Value;

/// More than any server sends as headers; what claims more is not worth reading.
const MAX_HEAD: usize = 256 * 1024;

/// The head of a dump, decoded.
///
/// It can be kept and used again for values that begin with the same bytes, whatever their
/// body: see [`begins`](Head::begins).
///
/// ```
/// use discovery_core::http::dump::{Framing, Head};
/// use discovery_core::store::Value;
/// use http::Method;
///
/// let value = Value::new("", "HTTP/2.0 200 OK\nConnection: close\n\nuntil the end");
/// let head = Head::decode(&Method::GET, &value)?;
/// assert_eq!(head.framing(), Framing::Close);
/// assert_eq!(head.body(value)?, "until the end");
/// # Ok::<_, discovery_core::http::dump::DumpError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Head {
    parts: response::Parts,
    framing: Framing,
    extent: Extent,
    bytes: Bytes,
}

/// Which of the bytes behind the head are the body.
#[derive(Clone, Copy, Debug)]
enum Extent {
    First(u64),
    Chunks,
    All,
}

/// The response in a dump. The body is a part of the value's bytes, not a copy, unless it
/// consists of several chunks.
///
/// `method` is that of the request: the answer to HEAD looks as if it had a body. The headers that
/// speak about the message as it was sent, `Connection` and `Transfer-Encoding`, are left
/// out; a body that Go's transport had decompressed gets the extension [`Uncompressed`].
///
/// # Errors
///
/// When the bytes are not a whole dump.
pub fn decode(method: &Method, value: &Value) -> Result<Response<Bytes>, DumpError> {
    let head = Head::decode(method, value)?;
    let body = head.body(value.clone())?;
    let mut parts = head.parts;
    parts.headers.remove(header::CONNECTION);
    parts.headers.remove(header::TRANSFER_ENCODING);
    if head.framing == Framing::Bare {
        parts.extensions.insert(Uncompressed);
    }
    Ok(Response::from_parts(parts, body))
}

impl Head {
    /// Decodes the head of the answer to a request with `method`.
    ///
    /// # Errors
    ///
    /// When the bytes do not begin with a whole head, or one of more than 256 KiB.
    pub fn decode(method: &Method, value: &Value) -> Result<Self, DumpError> {
        let bytes = head_bytes(value)?;
        let mut lines = head_lines(&bytes);
        let mut parts = status_line(lines.next().unwrap_or_default(), &bytes)?;
        parts.headers = headers(lines, &bytes)?;

        let (framing, extent) = framing(method, &parts)?;
        Ok(Self {
            parts,
            framing,
            extent,
            bytes,
        })
    }

    /// Status, version and headers, as they are stored unless they were [changed](Self::parts_mut) since:
    /// those about the framing included. The
    /// extensions hold a [`Reason`] if it is not the usual one.
    #[must_use]
    pub fn parts(&self) -> &response::Parts {
        &self.parts
    }

    /// The same, to be changed by who keeps the head: where it ends and what the body is was settled when
    /// it was decoded.
    pub fn parts_mut(&mut self) -> &mut response::Parts {
        &mut self.parts
    }

    /// How the dump says where the body ends.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The bytes that this was decoded from, blank line included.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether `value` has this same head, so that decoding it would give this again.
    #[must_use]
    pub fn begins(&self, value: &Value) -> bool {
        let size = self.bytes.len();
        if value.head.len() >= size {
            return value.head[..size] == self.bytes;
        }
        let (first, second) = self.bytes.split_at(value.head.len());
        value.head == first && value.body.starts_with(second)
    }

    /// The body in `value`, which must [begin](Head::begins) with this head.
    ///
    /// # Errors
    ///
    /// When the body ends too early or is not chunked as it should be.
    pub fn body(&self, value: Value) -> Result<Bytes, DumpError> {
        let mut rest = rest(value, self.bytes.len())?;
        match self.extent {
            Extent::All => Ok(rest),
            Extent::Chunks => chunked::decode(&rest),
            Extent::First(size) => {
                let size = usize::try_from(size).map_err(|_| Kind::Truncated)?;
                if size > rest.len() {
                    return Err(Kind::Truncated.into());
                }
                rest.truncate(size);
                Ok(rest)
            }
        }
    }
}

/// The bytes before the body, in an allocation that does not keep a large body alive.
fn head_bytes(value: &Value) -> Result<Bytes, DumpError> {
    match head_size(&value.head) {
        Ok(size) => return Ok(value.head.slice(..size)),
        Err(error) if !error.is_truncated() => return Err(error),
        Err(_) => {}
    }
    if value.head.is_empty() {
        let size = head_size(&value.body)?;
        return Ok(Bytes::copy_from_slice(&value.body[..size]));
    }
    // The split is somewhere in the head: join no more than a head can have.
    let more = value.body.len().min(MAX_HEAD + 1);
    let joined = [&value.head[..], &value.body[..more]].concat();
    let size = head_size(&joined)?;
    Ok(Bytes::copy_from_slice(&joined[..size]))
}

fn head_size(bytes: &[u8]) -> Result<usize, DumpError> {
    let mut start = 0;
    for end in memchr_iter(b'\n', &bytes[..bytes.len().min(MAX_HEAD)]) {
        if without_return(&bytes[start..end]).is_empty() {
            return Ok(end + 1);
        }
        start = end + 1;
    }
    Err(if bytes.len() > MAX_HEAD {
        Kind::HeadTooLarge.into()
    } else {
        Kind::Truncated.into()
    })
}

/// The lines before the blank one.
fn head_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr_iter(b'\n', bytes)
        .map(move |end| {
            let line = without_return(&bytes[start..end]);
            start = end + 1;
            line
        })
        .take_while(|line| !line.is_empty())
}

/// The bytes after the first `size` ones.
fn rest(value: Value, size: usize) -> Result<Bytes, DumpError> {
    if size > value.len() {
        return Err(Kind::Truncated.into());
    }
    let Value {
        mut head, mut body, ..
    } = value;
    Ok(match size.checked_sub(head.len()) {
        Some(size) => {
            body.advance(size);
            body
        }
        None => {
            head.advance(size);
            Value::new(head, body).into_bytes()
        }
    })
}

fn status_line(line: &[u8], bytes: &Bytes) -> Result<response::Parts, DumpError> {
    const WHAT: Kind = Kind::Malformed("status line");
    let (version, line) = line.split_at_checked(9).ok_or(WHAT)?;
    let version = match version {
        b"HTTP/0.9 " => Version::HTTP_09,
        b"HTTP/1.0 " => Version::HTTP_10,
        b"HTTP/1.1 " => Version::HTTP_11,
        b"HTTP/2.0 " => Version::HTTP_2,
        b"HTTP/3.0 " => Version::HTTP_3,
        _ => return Err(WHAT.into()),
    };
    let (status, reason) = line.split_at_checked(3).ok_or(WHAT)?;
    let status = StatusCode::from_bytes(status).map_err(|_| WHAT)?;
    let reason = match reason {
        [] => reason,
        [b' ', reason @ ..] => reason,
        _ => return Err(WHAT.into()),
    };

    let (mut parts, ()) = Response::new(()).into_parts();
    parts.version = version;
    parts.status = status;
    if reason != usual_reason(status).as_bytes() {
        let reason = Reason::new(bytes.slice_ref(reason)).ok_or(WHAT)?;
        parts.extensions.insert(reason);
    }
    Ok(parts)
}

fn headers<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    bytes: &Bytes,
) -> Result<HeaderMap, DumpError> {
    const WHAT: Kind = Kind::Malformed("header");
    /// The map grows for a response with more fields.
    const USUAL: usize = 64;
    // All lines but the first and the blank one.
    let count = memchr_iter(b'\n', bytes).count().saturating_sub(2);
    let mut headers = HeaderMap::with_capacity(count.min(USUAL));
    for line in lines {
        // Not memchr: names are short.
        let colon = line.iter().position(|b| *b == b':').ok_or(WHAT)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| WHAT)?;
        let value = bytes.slice_ref(line[colon + 1..].trim_ascii());
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| WHAT)?;
        headers.try_append(name, value).map_err(|_| WHAT)?;
    }
    Ok(headers)
}

/// Where the body ends (RFC 9112 §6.3).
fn framing(method: &Method, parts: &response::Parts) -> Result<(Framing, Extent), DumpError> {
    let headers = &parts.headers;
    let chunked = headers.contains_key(header::TRANSFER_ENCODING)
        && !matches!(parts.version, Version::HTTP_09 | Version::HTTP_10);
    if chunked && !is_chunked(headers) {
        return Err(Kind::Malformed("transfer coding").into());
    }
    let length = content_length(headers)?;

    let framing = match length {
        _ if chunked => Framing::Chunked,
        Some(_) => Framing::Length,
        None if !status_has_body(parts.status) => Framing::Length,
        None if says_close(headers) => Framing::Close,
        None => Framing::Bare,
    };
    let extent = match (framing, length) {
        _ if method == Method::HEAD || !status_has_body(parts.status) => Extent::First(0),
        (Framing::Chunked, _) => Extent::Chunks,
        (Framing::Length, Some(length)) => Extent::First(length),
        _ => Extent::All,
    };
    Ok((framing, extent))
}

/// The value of `Content-Length`. Several are fine if they are the same (RFC 9110 §8.6).
///
/// ```
/// use discovery_core::http::dump::content_length;
/// use http::HeaderMap;
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(content_length(&headers)?, None);
/// headers.insert("content-length", 5.into());
/// assert_eq!(content_length(&headers)?, Some(5));
/// headers.insert("content-length", "+5".parse().unwrap());
/// assert!(content_length(&headers).is_err());
/// # Ok::<_, discovery_core::http::dump::DumpError>(())
/// ```
///
/// # Errors
///
/// When it is not one number.
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, DumpError> {
    const WHAT: Kind = Kind::Malformed("Content-Length");
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.any(|value| value != first) {
        return Err(WHAT.into());
    }
    // Rust's integers may begin with a plus sign, lengths may not.
    first
        .to_str()
        .ok()
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .map(Some)
        .ok_or_else(|| WHAT.into())
}
