//! HTTP responses as bytes, in the form that kubectl's HTTP cache keeps.
//!
//! kubectl stores a response as Go's `httputil.DumpResponse` writes it: a status line, headers in
//! a fixed order, a blank line, the body. [`encode`] writes those bytes, so that kubectl reads
//! what we stored; [`Head::decode`] and [`decode`] read them, whatever [`Framing`] they have.
//!
//! The checksum that kubectl's disk cache puts before a dump is not part of it: that is the
//! disk store's business.
//!
//! ```
//! use bytes::Bytes;
//! use discovery_core::http::dump::{self, Framing};
//! use http::{Method, Response, Version};
//!
//! let response = Response::builder()
//!     .version(Version::HTTP_2)
//!     .header("x-b", "2")
//!     .header("etag", "\"1\"")
//!     .body(Bytes::from_static(b"hello"))
//!     .unwrap();
//! let (parts, body) = response.into_parts();
//!
//! let value = dump::encode(&Method::GET, &parts, Framing::Length, body);
//! assert_eq!(
//!     value.clone().into_bytes(),
//!     "HTTP/2.0 200 OK\r\nContent-Length: 5\r\nEtag: \"1\"\r\nX-B: 2\r\n\r\nhello",
//! );
//!
//! let again = dump::decode(&Method::GET, &value)?;
//! assert_eq!(again.headers()["etag"], "\"1\"");
//! assert_eq!(again.body(), "hello");
//! # Ok::<_, dump::DumpError>(())
//! ```

mod chunked;
mod decode;
mod encode;
mod stream;

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version, header, response};

pub use self::decode::{Head, content_length, decode};
pub use self::encode::{encode, encode_head};
pub use self::stream::Encoder;

/// How a dump says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Framing {
    /// `Content-Length`, or that there can be no body.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// `Connection: close`, and the body runs to the end: the length was not known, as it
    /// often is with HTTP/2.
    Close,
    /// Nothing, and the body runs to the end: what Go writes for a body that its transport has
    /// decompressed.
    Bare,
}

/// A response extension which says that the body was decompressed on its way here.
///
/// Go's transport asks for gzip and decodes it by itself, below the cache, and its dump then has no
/// framing header at all. A layer below the cache that does the same sets this, so that
/// [`Framing::of`] knows.
///
/// ```
/// use discovery_core::http::dump::{Framing, Uncompressed};
/// use http::{Method, Response};
///
/// let (mut parts, ()) = Response::new(()).into_parts();
/// parts.extensions.insert(Uncompressed);
/// assert_eq!(Framing::of(&Method::GET, &parts, None), Framing::Bare);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uncompressed;

/// A response extension with the reason phrase, when it is not the usual one for the status.
///
/// Set by [`decode`], and honoured by [`encode`]; a transport that knows the phrase which the
/// server sent can set it too.
///
/// ```
/// use discovery_core::http::dump::{self, Reason};
/// use discovery_core::store::Value;
/// use http::Method;
///
/// let value = Value::new("", "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n");
/// let response = dump::decode(&Method::GET, &value)?;
/// assert_eq!(response.extensions().get::<Reason>().unwrap().as_bytes(), b"Fine");
/// # Ok::<_, dump::DumpError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Bytes);

/// Why bytes are not a whole dump. To a cache it is a miss.
#[derive(Debug)]
pub struct DumpError {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Truncated,
    HeadTooLarge,
    Malformed(&'static str),
}

impl Framing {
    /// The framing that Go would give a response to `method` with this head, whose body has
    /// `exact` bytes if that is known without reading it.
    ///
    /// ```
    /// use discovery_core::http::dump::Framing;
    /// use http::{Method, Response, Version};
    ///
    /// let (mut parts, ()) = Response::new(()).into_parts();
    /// parts.version = Version::HTTP_2;
    /// assert_eq!(Framing::of(&Method::GET, &parts, None), Framing::Close);
    /// parts.headers.insert("content-length", 5.into());
    /// assert_eq!(Framing::of(&Method::GET, &parts, None), Framing::Length);
    /// ```
    #[must_use]
    pub fn of(method: &Method, parts: &response::Parts, exact: Option<u64>) -> Self {
        if parts.version == Version::HTTP_11 && is_chunked(&parts.headers) {
            Self::Chunked
        } else if !status_has_body(parts.status)
            || parts.headers.contains_key(header::CONTENT_LENGTH)
        {
            Self::Length
        } else if parts.extensions.get::<Uncompressed>().is_some() {
            Self::Bare
        } else if exact.is_some() && method != Method::HEAD {
            Self::Length
        } else {
            Self::Close
        }
    }
}

impl Reason {
    /// The phrase, if it can stand in a status line.
    #[must_use]
    pub fn new(phrase: impl Into<Bytes>) -> Option<Self> {
        let phrase = phrase.into();
        let fits = |b: &u8| *b == b'\t' || (*b >= b' ' && *b != 0x7f);
        phrase.iter().all(fits).then_some(Self(phrase))
    }

    /// The phrase.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl DumpError {
    /// Whether the bytes end too early.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.kind == Kind::Truncated
    }

    /// Whether there is more of a head than one is ready to read.
    #[must_use]
    pub fn is_head_too_large(&self) -> bool {
        self.kind == Kind::HeadTooLarge
    }

    /// Whether the bytes are something else than a dump.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        matches!(self.kind, Kind::Malformed(_))
    }
}

impl From<Kind> for DumpError {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Truncated => f.write_str("the stored response ends too early"),
            Kind::HeadTooLarge => f.write_str("the head of the stored response is too large"),
            Kind::Malformed(what) => write!(f, "the stored response has a malformed {what}"),
        }
    }
}

impl Error for DumpError {}

/// Whether a response of this status can have a body (RFC 9110 §6.4.1).
fn status_has_body(status: StatusCode) -> bool {
    !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

fn is_chunked(headers: &HeaderMap) -> bool {
    headers
        .get(header::TRANSFER_ENCODING)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// Whether `Connection` has the token `close`.
fn says_close(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Go's texts for status codes. They differ from the `http` crate's for a few.
fn usual_reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        203 => "Non-Authoritative Information",
        413 => "Request Entity Too Large",
        414 => "Request URI Too Long",
        416 => "Requested Range Not Satisfiable",
        _ => status.canonical_reason().unwrap_or_default(),
    }
}
