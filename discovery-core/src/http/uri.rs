//! Cache keys, and the file and directory names that kubectl derives.
//!
//! kubectl's HTTP cache keeps a response under the request's URL ([`cache_key`]), in a file that is named
//! by the key's hash ([`file_name`]). Its discovery files are in a directory that is named
//! by the server's address ([`server_directory`]).
//!
//! ```
//! use discovery_core::http::uri;
//! use http::{Method, Uri};
//!
//! let uri = Uri::from_static("https://127.0.0.1:16443/api?timeout=32s");
//! let key = uri::cache_key(&Method::GET, &uri, None).unwrap();
//! assert_eq!(key, "https://127.0.0.1:16443/api?timeout=32s");
//! assert_eq!(
//!     uri::file_name(&key),
//!     "d0fd1292b06285945976ec352089fc14f605e5d309050163f55e18af8322b332",
//! );
//! ```

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri};
use sha2::{Digest, Sha256};

use super::go_url;
pub use super::go_url::InvalidEscape;

/// The length in bytes that a file name may have on all common file systems.
const MAX_COMPONENT: usize = 255;

/// The scheme and authority of requests whose URI has none.
///
/// ```
/// use discovery_core::http::uri::{self, Origin};
/// use http::{Method, Uri};
///
/// let origin = Origin::from_uri(&Uri::from_static("https://h:6443/ignored")).unwrap();
/// let uri = Uri::from_static("/api");
/// assert_eq!(uri::cache_key(&Method::GET, &uri, Some(&origin)).unwrap(), "https://h:6443/api");
/// assert_eq!(uri::cache_key(&Method::GET, &uri, None), None);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    authority: Authority,
}

/// The port of an address is not a number from 0 to 65535. See [`port`].
///
/// Its text leaves out the address, which may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPort(());

/// Why a server's address gives no directory name. The address in it has no user-info.
#[derive(Debug)]
pub struct NameError {
    server: String,
    why: &'static str,
}

/// Displays a cache key or a URI without what must not be logged.
///
/// The method, the scheme, the host, the port and the path are shown. User-info, the query and the
/// fragment are left out, and so is everything from the first control character on: the keys of
/// variants go on with request headers there. Characters that do not print are escaped. A port that
/// is no number is left out, because it may be the beginning of a password.
///
/// ```
/// use discovery_core::http::uri::Redacted;
///
/// let key = "HEAD https://me:secret@host:6443/api?token=secret\nvariant\naccept: text/html";
/// assert_eq!(Redacted::new(key).to_string(), "HEAD https://host:6443/api");
/// assert_eq!(Redacted::new("/api?token=secret").to_string(), "/api");
/// ```
#[derive(Clone, Copy)]
pub struct Redacted<'a> {
    text: &'a str,
}

/// Displays an error for a log: each URL in its text is [redacted](Redacted), and so is the key that
/// the failed operation was for. Control characters are escaped. The texts of the error's sources follow its own.
///
/// ```
/// use discovery_core::http::uri::RedactedError;
///
/// let key = "https://me:secret@host/api?token=secret";
/// let error = std::io::Error::other(format!("no room for {key}\n"));
/// let shown = RedactedError::new(&error, key).to_string();
/// assert_eq!(shown, "no room for https://host/api\\n");
/// ```
#[derive(Clone, Copy)]
pub struct RedactedError<'a> {
    error: &'a dyn Error,
    key: &'a str,
}

impl Origin {
    /// The two parts.
    #[must_use]
    pub fn new(scheme: Scheme, authority: Authority) -> Self {
        Self { scheme, authority }
    }

    /// Those of `uri`, if it has both.
    #[must_use]
    pub fn from_uri(uri: &Uri) -> Option<Self> {
        Some(Self::new(uri.scheme()?.clone(), uri.authority()?.clone()))
    }

    /// Whether `uri` names it: the scheme, the host in any case, and the port, which need not be
    /// written where it is the scheme's own (RFC 9110 §4.2.3). User-info does not count. An
    /// authority with an [invalid port](InvalidPort) is no origin, and equals none.
    ///
    /// ```
    /// use discovery_core::http::uri::Origin;
    /// use http::Uri;
    ///
    /// let origin = Origin::from_uri(&Uri::from_static("https://Host/k8s")).unwrap();
    /// assert!(origin.is_of(&Uri::from_static("https://host:443/apis")));
    /// assert!(!origin.is_of(&Uri::from_static("http://host:443/apis")));
    /// assert!(!origin.is_of(&Uri::from_static("/apis")));
    /// ```
    #[must_use]
    pub fn is_of(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return false;
        };
        let (Ok(port), Ok(own_port)) = (
            port_of(Some(scheme), authority),
            port_of(Some(&self.scheme), &self.authority),
        ) else {
            return false;
        };
        *scheme == self.scheme
            && authority.host().eq_ignore_ascii_case(self.authority.host())
            && port == own_port
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The authority.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }
}

/// The TCP port that a request for `uri` goes to: the one that is written, or else the default port
/// of `http` and `https`. `None` for a relative URI, and for other schemes without a port.
///
/// `http::Uri` accepts any text as a port, and its `port_u16` returns `None` for one that is not a
/// number from 0 to 65535. A client that falls back to the scheme's default port then sends the
/// request, with its credentials, to a service that nobody named. Every address is therefore checked
/// here before it is used.
///
/// ```
/// use discovery_core::http::uri::port;
/// use http::Uri;
///
/// assert_eq!(port(&Uri::from_static("https://[::1]:6443/api")), Ok(Some(6443)));
/// // An empty port means the default (RFC 9110 §4.2.3).
/// assert_eq!(port(&Uri::from_static("http://host:/")), Ok(Some(80)));
/// assert_eq!(port(&Uri::from_static("/api")), Ok(None));
///
/// let error = port(&Uri::from_static("https://me:secret@host:644333/")).unwrap_err();
/// assert_eq!(error.to_string(), "the port is not a number from 0 to 65535");
/// ```
///
/// # Errors
///
/// When something other than a number from 0 to 65535 follows the host. Only digits are a number:
/// `+1` is none.
pub fn port(uri: &Uri) -> Result<Option<u16>, InvalidPort> {
    uri.authority()
        .map_or(Ok(None), |authority| port_of(uri.scheme(), authority))
}

/// The key under which kubectl keeps the answer to a request, or `None` for a relative URI
/// without an `origin`, and for a URI with an [invalid port](InvalidPort).
///
/// It is the URL for GET and `METHOD URL` for other methods. The scheme is in lower case, the
/// authority as it is given, the path without `.`, `..` and empty segments, the query sorted by
/// name. A final slash counts: `/apis` and `/apis/` have different answers.
///
/// ```
/// use discovery_core::http::uri;
/// use http::{Method, Uri};
///
/// let uri = Uri::from_static("https://u:p@Host/a/./b//c/../d?b=2&a=1");
/// assert_eq!(uri::cache_key(&Method::HEAD, &uri, None).unwrap(), "HEAD https://u:p@Host/a/b/d?a=1&b=2");
/// ```
#[must_use]
pub fn cache_key(method: &Method, uri: &Uri, origin: Option<&Origin>) -> Option<String> {
    let (scheme, authority) = match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) => (scheme, authority),
        // An authority alone is the target of CONNECT, which has no answer to keep.
        (None, Some(_)) => return None,
        _ => origin.map(|origin| (&origin.scheme, &origin.authority))?,
    };
    port_of(Some(scheme), authority).ok()?;
    let path = clean_path(uri.path());
    let query = uri.query().map(sorted_query);

    let prefix = if method == Method::GET {
        ""
    } else {
        method.as_str()
    };
    let size = prefix.len() + scheme.as_str().len() + authority.as_str().len() + path.len() + 5;
    let mut key = String::with_capacity(size + query.as_deref().map_or(0, str::len));
    if !prefix.is_empty() {
        key.push_str(prefix);
        key.push(' ');
    }
    key.extend(scheme.as_str().chars().map(|c| c.to_ascii_lowercase()));
    key.push_str("://");
    key.push_str(authority.as_str());
    key.push_str(&path);
    if let Some(query) = query {
        key.push('?');
        key.push_str(&query);
    }
    Some(key)
}

/// The key of a request by RFC 9110 §4.2.3: equivalent `http` and `https` URIs have the same key, and
/// others never have. `None` for a relative URI, and for one with an [invalid port](InvalidPort).
///
/// The scheme and the host are in lower case; an empty port and the scheme's own are left out; an empty
/// path becomes `/`; dot segments are removed; characters that need no percent-encoding are decoded, and
/// the hexadecimal digits of the others are in upper case (RFC 3986 §6.2.2, §6.2.3). Empty segments and the
/// order of a query count, and so does user information. Other methods than GET stand before the URI.
///
/// A URI that is in this form already costs one scan.
///
/// ```
/// use discovery_core::http::uri;
/// use http::{Method, Uri};
///
/// let key = |uri| uri::normalized(&Method::GET, &Uri::from_static(uri)).unwrap();
/// assert_eq!(key("http://Example.com:80/%7ea/./b%2fc?%c3%a9"), "http://example.com/~a/b%2Fc?%C3%A9");
/// assert_eq!(key("https://h:?q"), "https://h/?q");
/// assert_ne!(key("http://h/a//b"), key("http://h/a/b"));
/// ```
#[must_use]
pub fn normalized(method: &Method, uri: &Uri) -> Option<String> {
    let (scheme, authority) = (uri.scheme()?, uri.authority()?);
    let prefix = match *method {
        Method::GET => "",
        _ => method.as_str(),
    };
    let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let size = prefix.len() + scheme.as_str().len() + authority.as_str().len() + target.len();
    let mut key = String::with_capacity(size + 5);
    if !prefix.is_empty() {
        key.push_str(prefix);
        key.push(' ');
    }
    // Most URIs are as they should be, which one look at their bytes tells.
    if is_normal(scheme, authority) && is_normal_target(target) {
        key.push_str(scheme.as_str());
        key.push_str("://");
        key.push_str(authority.as_str());
        key.push_str(target);
        return Some(key);
    }
    port_of(Some(scheme), authority).ok()?;
    // The `http` crate parses schemes to lower case, but for those that it does not know.
    push_lowercase(&mut key, scheme.as_str());
    key.push_str("://");
    push_authority(&mut key, scheme, authority.as_str());
    match decode_unreserved(uri.path()) {
        // RFC 3986 §6.2.3.
        Cow::Borrowed("") => key.push('/'),
        path => key.push_str(&remove_dot_segments(&path)),
    }
    if let Some(query) = uri.query() {
        key.push('?');
        key.push_str(&decode_unreserved(query));
    }
    Some(key)
}

/// Whether two authorities are one for a scheme: the host in any case, and the port, which need not be
/// written where it is the scheme's own (RFC 9110 §4.2.3). User information does not count.
///
/// ```
/// use discovery_core::http::uri::same_authority;
/// use http::uri::{Authority, Scheme};
///
/// let authority = Authority::from_static;
/// assert!(same_authority(&Scheme::HTTP, &authority("Host:80"), &authority("host")));
/// assert!(!same_authority(&Scheme::HTTPS, &authority("host:80"), &authority("host")));
/// ```
#[must_use]
pub fn same_authority(scheme: &Scheme, one: &Authority, other: &Authority) -> bool {
    let normal = |authority: &Authority| {
        let mut text = String::with_capacity(authority.as_str().len());
        push_authority(&mut text, scheme, split_user(authority.as_str()).1);
        text
    };
    one == other || normal(one) == normal(other)
}

/// Whether two URIs have one origin (RFC 9110 §4.3.1): the scheme and the [authority](same_authority).
///
/// ```
/// use discovery_core::http::uri::same_origin;
/// use http::Uri;
///
/// let uri = Uri::from_static;
/// assert!(same_origin(&uri("https://h/a"), &uri("https://u@H:443/b")));
/// assert!(!same_origin(&uri("https://h/a"), &uri("http://h/a")));
/// assert!(!same_origin(&uri("/a"), &uri("/a")));
/// ```
#[must_use]
pub fn same_origin(one: &Uri, other: &Uri) -> bool {
    Origin::from_uri(one).is_some_and(|origin| origin.is_of(other))
}

/// A URI reference as a URI (RFC 3986 §5.2), without its fragment. `None` if `base` is relative, or if the
/// result is no URI with an authority.
///
/// ```
/// use discovery_core::http::uri::resolve;
/// use http::Uri;
///
/// let base = Uri::from_static("http://h/a/b?q");
/// assert_eq!(resolve(&base, "../c#f").unwrap(), "http://h/c");
/// assert_eq!(resolve(&base, "//other/c").unwrap(), "http://other/c");
/// ```
#[must_use]
pub fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme()?, base.authority()?);
    let reference = reference.split('#').next()?;
    let (scheme, authority, path) = if reference.is_empty() {
        (
            scheme.clone(),
            authority.clone(),
            base.path_and_query()?.clone(),
        )
    } else if reference.starts_with("//") || has_scheme(reference) {
        let absolute: Uri = match reference.strip_prefix("//") {
            Some(rest) => format!("{scheme}://{rest}").parse().ok()?,
            None => reference.parse().ok()?,
        };
        let parts = absolute.into_parts();
        let path = parts.path_and_query;
        (
            parts.scheme?,
            parts.authority?,
            path.unwrap_or_else(|| PathAndQuery::from_static("/")),
        )
    } else {
        let path = if reference.starts_with('/') {
            reference.parse()
        } else if reference.starts_with('?') {
            format!("{}{reference}", base.path()).parse()
        } else {
            let (directory, _) = base.path().rsplit_once('/')?;
            format!("{directory}/{reference}").parse()
        };
        (scheme.clone(), authority.clone(), path.ok()?)
    };
    let path = match remove_dot_segments(path.path()) {
        Cow::Borrowed(_) => path,
        Cow::Owned(clean) => match path.query() {
            Some(query) => format!("{clean}?{query}").parse().ok()?,
            None => clean.parse().ok()?,
        },
    };
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build()
        .ok()
}

/// A path without its `.` and `..` segments (RFC 3986 §5.2.4). Empty segments stay.
///
/// ```
/// use discovery_core::http::uri::remove_dot_segments;
///
/// assert_eq!(remove_dot_segments("/a/./b/../c"), "/a/c");
/// assert_eq!(remove_dot_segments("/a//../b/.."), "/a/");
/// ```
#[must_use]
pub fn remove_dot_segments(path: &str) -> Cow<'_, str> {
    let is_dots = |segment: &str| matches!(segment, "." | "..");
    // Most paths have no segment that begins with a dot.
    if !path.contains("/.") || !path.split('/').any(is_dots) {
        return path.into();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment == ".." {
            kept.pop();
        } else if segment != "." {
            kept.push(segment);
            continue;
        }
        // A directory ends with a slash.
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/")).into()
}

/// The name of the file that kubectl keeps `key` in: its SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn file_name(key: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[usize::from(nibble)];
    let sum: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let name = sum.map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    name.as_flattened()
        .iter()
        .copied()
        .map(char::from)
        .collect()
}

/// The directory, below kubectl's `discovery` directory, for the server at an address: a relative
/// path with `/` between its components.
///
/// The rule is kubectl's: where the URL has a path, it is written as Go's `net/url` writes it, without
/// its query; then the first `https://` and the first `http://` go; what is neither a
/// letter, a digit, nor one of `_/.()` becomes an underscore; the rest is cleaned as a path.
///
/// ```
/// use discovery_core::http::uri::server_directory;
///
/// assert_eq!(server_directory("https://10.0.0.1:6443").unwrap(), "10.0.0.1_6443");
/// assert_eq!(server_directory("https://10.0.0.1/ü").unwrap(), "10.0.0.1/_C3_BC");
/// assert!(server_directory("https://10.0.0.1/../../etc").is_err());
/// ```
///
/// # Errors
///
/// When nothing is left for a name, and when the path would leave the directory of its host or could not exist:
/// as many components `..` as names, an absolute path, a NUL, a component of more than 255 bytes. kubectl
/// follows each `..`.
pub fn server_directory(server: &str) -> Result<String, NameError> {
    let refuse = |why| {
        Err(NameError {
            server: without_user_info(server).into_owned(),
            why,
        })
    };
    if server.contains('\0') {
        return refuse("it has a NUL in it");
    }
    let bare = go_url::printed(server)
        .unwrap_or_else(|| server.into())
        .replacen("https://", "", 1)
        .replacen("http://", "", 1);
    if bare.starts_with('/') {
        return refuse("it has no host");
    }

    let keep = |c: char| c.is_ascii_alphanumeric() || "_/.()".contains(c);
    let safe: String = bare
        .chars()
        .map(|c| if keep(c) { c } else { '_' })
        .collect();
    let mut directory: Vec<&str> = Vec::new();
    for component in safe.split('/') {
        match component {
            "" | "." => {}
            ".." if directory.len() > 1 => _ = directory.pop(),
            ".." => return refuse("it would leave the cache directory"),
            long if long.len() > MAX_COMPONENT => return refuse("a part of it is too long"),
            name => directory.push(name),
        }
    }
    if directory.is_empty() {
        return refuse("it has no host");
    }
    Ok(directory.join("/"))
}

/// The address of a server with its path as kubectl sends it: decoded, without empty, `.` and `..` segments, and encoded
/// as Go's `net/url` does. The query goes if the path is not like this already. An address without `://` stays as it is.
///
/// `http::Uri` takes paths as they are written, and refuses some that kubectl takes.
///
/// ```
/// use discovery_core::http::uri::server_url;
///
/// assert_eq!(server_url("https://h/k8s//ü x")?, "https://h/k8s/%C3%BC%20x");
/// assert!(server_url("https://h/%zz").is_err());
/// # Ok::<(), discovery_core::http::uri::InvalidEscape>(())
/// ```
///
/// # Errors
///
/// When a percent sign in the path does not begin an escape.
pub fn server_url(server: &str) -> Result<Cow<'_, str>, InvalidEscape> {
    go_url::sent(server)
}

/// A path as kubectl sends it: decoded, without empty, `.` and `..` segments, and encoded as Go's `net/url` does. A slash
/// at its end stays.
///
/// ```
/// use discovery_core::http::uri::request_path;
///
/// assert_eq!(request_path("/apis//apps/../%2e/ü x/")?, "/apis/%C3%BC%20x/");
/// # Ok::<(), discovery_core::http::uri::InvalidEscape>(())
/// ```
///
/// # Errors
///
/// When a percent sign does not begin an escape.
pub fn request_path(path: &str) -> Result<String, InvalidEscape> {
    go_url::clean(path)
}

/// An authority without its user information, which may be a password.
///
/// ```
/// use discovery_core::http::uri::host_and_port;
///
/// assert_eq!(host_and_port(&"me:secret@host:6443".parse().unwrap()), "host:6443");
/// ```
#[must_use]
pub fn host_and_port(authority: &Authority) -> &str {
    split_user(authority.as_str()).1
}

/// An address without what may be a password in it: without all that is before its last `@`, but for
/// the scheme. For messages; it need not be a proper address.
///
/// ```
/// use discovery_core::http::uri::without_user_info;
///
/// assert_eq!(without_user_info("https://me:secret@host:6443/x"), "https://host:6443/x");
/// assert_eq!(without_user_info("me:sec/ret@host"), "host");
/// ```
#[must_use]
pub fn without_user_info(server: &str) -> Cow<'_, str> {
    let Some((before, rest)) = server.rsplit_once('@') else {
        return server.into();
    };
    match before.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://{rest}").into(),
        None => rest.into(),
    }
}

impl<'a> Redacted<'a> {
    /// Shows a key or a URI. The text need not be well-formed.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text }
    }
}

impl<'a> RedactedError<'a> {
    /// Shows the error of an operation on a key; the key may be empty.
    #[must_use]
    pub fn new(error: &'a dyn Error, key: &'a str) -> Self {
        Self { error, key }
    }
}

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |c: char| c.is_control() || matches!(c, '?' | '#');
        let end = self.text.find(hidden).unwrap_or(self.text.len());
        // An authority may stand at the start, and after each `:/`: paths can have URLs in them.
        let shown = &self.text[..end];
        let (first, _) = split_segment(shown);
        let first = first.strip_suffix(':').unwrap_or(first);
        let mut rest = &shown[first.len()..];
        write_printable(f, without_user(first))?;
        while let Some(start) = rest.find(":/") {
            let slashes = rest[start + 1..].len() - rest[start + 1..].trim_start_matches('/').len();
            let (before, after) = rest.split_at(start + 1 + slashes);
            let (authority, path) = split_segment(after);
            write_printable(f, before)?;
            write_printable(f, without_false_port(without_user(authority)))?;
            rest = path;
        }
        write_printable(f, rest)
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redacted({self})")
    }
}

impl fmt::Display for RedactedError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.error.to_string();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let reason = error.to_string();
            // Some errors have their cause's text in their own.
            if !text.contains(&reason) {
                text.push_str(": ");
                text.push_str(&reason);
            }
            cause = error.source();
        }
        if !self.key.is_empty() {
            text = text.replace(self.key, &Redacted::new(self.key).to_string());
        }
        for word in text.split_inclusive(' ') {
            if word.contains(":/") {
                let url = word.trim_end_matches(|c: char| c.is_control() || c == ' ');
                Redacted::new(url).fmt(f)?;
                write_printable(f, &word[url.len()..])?;
            } else {
                write_printable(f, word)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RedactedError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedactedError({self})")
    }
}

/// Splits a text before its first slash.
fn split_segment(text: &str) -> (&str, &str) {
    text.split_at(text.find('/').unwrap_or(text.len()))
}

fn without_user(authority: &str) -> &str {
    split_user(authority).1
}

fn without_false_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !authority.ends_with(']') && !port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            host
        }
        _ => authority,
    }
}

/// Writes a text with escapes for what does not print.
fn write_printable(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_ascii_graphic() || c == ' ' {
            f.write_char(c)?;
        } else {
            write!(f, "{}", c.escape_debug())?;
        }
    }
    Ok(())
}

impl fmt::Debug for Origin {
    /// Without user-info.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("scheme", &self.scheme)
            .field("authority", &without_user_info(self.authority.as_str()))
            .finish()
    }
}

impl fmt::Display for InvalidPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the port is not a number from 0 to 65535")
    }
}

impl Error for InvalidPort {}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, why } = self;
        write!(f, "the server address {server:?} gives no directory: {why}")
    }
}

impl Error for NameError {}

fn port_of(scheme: Option<&Scheme>, authority: &Authority) -> Result<Option<u16>, InvalidPort> {
    if let Some(Some(port)) = plain_port(authority.as_str()) {
        return Ok(Some(port));
    }
    let host = host_and_port(authority);
    // The colons of an IPv6 address are inside its brackets.
    let after_host = match host.rsplit_once(']') {
        Some((_, after)) => after,
        None => host.find(':').map_or("", |colon| &host[colon..]),
    };
    let written = match after_host.strip_prefix(':') {
        Some(port) => port,
        None if after_host.is_empty() => "",
        None => return Err(InvalidPort(())),
    };
    if written.is_empty() {
        return Ok(match scheme.map(Scheme::as_str) {
            Some("https") => Some(443),
            Some("http") => Some(80),
            _ => None,
        });
    }
    // `u16::from_str` would accept a sign.
    if !written.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidPort(()));
    }
    written.parse().map(Some).map_err(|_| InvalidPort(()))
}

/// The port of an authority of small letters, digits, dots and dashes, with a port of digits that does not begin with a
/// zero, or without one. `None` for any other authority.
fn plain_port(authority: &str) -> Option<Option<u16>> {
    let bytes = authority.as_bytes();
    let host = bytes.iter().take_while(|b| HOST[usize::from(**b)]).count();
    match &bytes[host..] {
        [] => Some(None),
        [b':', digits @ ..] if matches!(digits, [b'1'..=b'9', ..]) && digits.len() <= 5 => {
            let mut port: u32 = 0;
            for digit in digits {
                port = match digit {
                    b'0'..=b'9' => 10 * port + u32::from(digit - b'0'),
                    _ => return None,
                };
            }
            u16::try_from(port).ok().map(Some)
        }
        _ => None,
    }
}

/// The bytes of a plain host.
const HOST: [bool; 256] = table(b"abcdefghijklmnopqrstuvwxyz0123456789.-");

const fn table(bytes: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
}

/// Whether a scheme and an authority are in their normal form, as far as that can be told quickly.
fn is_normal(scheme: &Scheme, authority: &Authority) -> bool {
    let own = match scheme.as_str() {
        "https" => 443,
        "http" => 80,
        _ => return false,
    };
    plain_port(authority.as_str()).is_some_and(|port| port != Some(own))
}

/// Whether a path, with its query, has no percent sign and no segment that begins with a dot, as far as that can be told
/// quickly: eight bytes at a time.
fn is_normal_target(target: &str) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    // The highest bit of each byte that is `wanted`, and maybe of some behind it.
    let find = |word: u64, wanted: u8| {
        let word = word ^ (LOW * u64::from(wanted));
        word.wrapping_sub(LOW) & !word & (LOW << 7)
    };
    let mut slash_before = 0;
    let mut is_special = |word: u64| {
        let slashes = find(word, b'/');
        let behind_slash = slashes << 8 | slash_before;
        slash_before = slashes >> 56;
        find(word, b'%') | (find(word, b'.') & behind_slash) != 0
    };
    let (words, rest) = target.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    target.starts_with('/')
        && !words
            .iter()
            .any(|word| is_special(u64::from_le_bytes(*word)))
        && !is_special(u64::from_le_bytes(last))
}

/// The path without empty, `.` and `..` segments (RFC 3986 §5.2.4, and Go's joining of paths).
fn clean_path(path: &str) -> Cow<'_, str> {
    let odd = |segment: &str| matches!(segment, "" | "." | "..");
    let Some(relative) = path.strip_prefix('/') else {
        // Only `*`, and an empty path.
        return if path.is_empty() {
            "/".into()
        } else {
            path.into()
        };
    };
    let (directories, last) = relative.rsplit_once('/').unwrap_or(("", relative));
    let plain =
        directories.is_empty() && !relative.starts_with('/') || !directories.split('/').any(odd);
    if plain && !matches!(last, "." | "..") {
        return path.into();
    }
    let mut clean: Vec<&str> = Vec::new();
    for segment in relative.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                clean.pop();
            }
            _ => clean.push(segment),
        }
    }
    let slash = if odd(last) && !clean.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}", clean.join("/")).into()
}

/// The query by name, repeats of one name in their order, because their order may count.
fn sorted_query(query: &str) -> Cow<'_, str> {
    let name = |pair: &&str| {
        pair.split_once('=')
            .map_or(pair.len(), |(name, _)| name.len())
    };
    let by_name = |a: &&str, b: &&str| a[..name(a)].cmp(&b[..name(b)]);
    if query.split('&').is_sorted_by(|a, b| by_name(a, b).is_le()) {
        return query.into();
    }
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_by(by_name);
    pairs.join("&").into()
}

/// The port that `scheme` has without one (RFC 9110 §4.2.1, §4.2.2).
fn default_port(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Appends an authority with the host in lower case, and without a port that says nothing.
fn push_authority(key: &mut String, scheme: &Scheme, authority: &str) {
    let (user, host_and_port) = split_user(authority);
    key.push_str(user);
    // The colons of an IPv6 address are in brackets.
    let colon = host_and_port
        .rfind(':')
        .filter(|colon| !host_and_port[*colon..].contains(']'));
    let (host, port) = colon.map_or((host_and_port, ""), |colon| {
        (&host_and_port[..colon], &host_and_port[colon + 1..])
    });
    push_lowercase(key, host);
    let number = port.parse::<u16>().ok();
    if port.is_empty() || (number.is_some() && number == default_port(scheme)) {
        return;
    }
    key.push(':');
    // Leading zeros count as little as in other numbers.
    let digits = port.trim_start_matches('0');
    key.push_str(if digits.is_empty() { "0" } else { digits });
}

/// An authority's user information, with the `@`, and the rest.
fn split_user(authority: &str) -> (&str, &str) {
    authority.split_at(authority.rfind('@').map_or(0, |at| at + 1))
}

fn push_lowercase(key: &mut String, text: &str) {
    let start = key.len();
    key.push_str(text);
    key[start..].make_ascii_lowercase();
}

/// Decodes the percent-encoded characters that are unreserved, and writes the others with digits in upper
/// case (RFC 3986 §6.2.2.1, §6.2.2.2). A text with a percent sign that encodes nothing stays as it is.
fn decode_unreserved(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut pieces = text.split('%');
    let mut decoded = String::with_capacity(text.len());
    decoded.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let Some(digits) = piece
            .get(..2)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        else {
            return text.into();
        };
        match u8::from_str_radix(digits, 16).map(char::from) {
            Ok(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => decoded.push(c),
            _ => decoded.extend(["%", &digits.to_ascii_uppercase()]),
        }
        decoded.push_str(&piece[2..]);
    }
    decoded.into()
}

/// Whether a reference begins with a scheme (RFC 3986 §4.2).
fn has_scheme(reference: &str) -> bool {
    let end = reference.find(['/', '?']).unwrap_or(reference.len());
    reference[..end].contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(uri: &str) -> String {
        normalized(&Method::GET, &uri.parse().unwrap()).unwrap()
    }

    /// Every text of up to six of these, at every place of a word of eight bytes. `$` and `.` are one less than `%`
    /// and `/`.
    #[test]
    fn eight_bytes_at_a_time_find_what_one_at_a_time_finds() {
        const BYTES: [char; 5] = ['/', '.', '%', '$', 'a'];
        let mut texts = vec![String::new()];
        for first in 0..=7 {
            let before = "b".repeat(first);
            let mut from = 0;
            texts.truncate(1);
            for _ in 0..6 {
                let to = texts.len();
                for at in from..to {
                    texts.extend(BYTES.map(|byte| format!("{}{byte}", texts[at])));
                }
                from = to;
            }
            for text in &texts {
                let target = format!("/{before}{text}");
                let is_normal = !target.contains('%') && !target.contains("/.");
                let found = is_normal_target(&target);
                assert!(!found || is_normal, "{target}");
                // The only paths that are looked at again without need are among those with an empty segment.
                assert!(found || !is_normal || target.contains("//"), "{target}");
            }
        }
        assert!(!is_normal_target(""));
        assert!(!is_normal_target("?/"));
    }

    /// RFC 9110 §4.2.3, RFC 3986 §6.2.2 and §6.2.3.
    #[test]
    fn equivalent_uris_have_one_key() {
        for (canonical, forms) in [
            (
                "http://example.com/~smith/home.html",
                &[
                    "http://example.com:80/~smith/home.html",
                    "http://EXAMPLE.com/%7Esmith/home.html",
                    "http://EXAMPLE.com:/%7esmith/home.html",
                    "HTTP://example.com:0080/%7esmith/home.html",
                    "http://example.com/x/../%7esmith/./home.html",
                    "http://example.com/x/%2e%2E/~smith/home.html",
                ][..],
            ),
            (
                "https://h/",
                &[
                    "https://h",
                    "https://h:443",
                    "https://H:443/",
                    "https://h/.",
                ],
            ),
            (
                "https://h/?q",
                &["https://h?q", "https://h:443/?q", "https://h/?%71"],
            ),
            ("http://[::1]/", &["http://[::1]:80", "http://[::1]:/"]),
            (
                "http://[::A]:8080/".to_lowercase().as_str(),
                &["http://[::A]:8080"],
            ),
            (
                "http://h:443/%2Fa%3F%C3%A9",
                &["http://h:443/%2fa%3f%c3%a9"],
            ),
            ("http://h/a?b=%2F~", &["http://h/a?b=%2f%7E"]),
            ("http://u:P@h/", &["http://u:P@H:80"]),
        ] {
            assert_eq!(normal(canonical), canonical);
            for form in forms {
                assert_eq!(normal(form), canonical, "{form}");
            }
        }
    }

    #[test]
    fn other_uris_have_other_keys() {
        let uris = [
            "http://h/a",
            "https://h/a",
            "http://h:443/a",
            "http://h:8080/a",
            "http://h./a",
            "http://u@h/a",
            "http://U@h/a",
            "http://h/A",
            "http://h/a/",
            "http://h//a",
            "http://h/a?",
            "http://h/a?x&y",
            "http://h/a?y&x",
            "http://h/%2Fa",
            "http://h/a%3Fx&y",
            "http://h/%25%37%65",
            "http://h/~",
            "http://h/%zz",
            "http://h/%7",
            "http://h/..a",
            "http://h/.a",
        ];
        for (at, one) in uris.iter().enumerate() {
            for other in &uris[at + 1..] {
                assert_ne!(normal(one), normal(other), "{one} {other}");
            }
        }
        // A decoded octet is not decoded again.
        assert_eq!(normal("http://h/%25%37%65"), "http://h/%257e");
        let uri = Uri::from_static("http://h/a");
        assert_eq!(normalized(&Method::HEAD, &uri).unwrap(), "HEAD http://h/a");
        assert_eq!(normalized(&Method::GET, &Uri::from_static("/a")), None);
        assert_eq!(normalized(&Method::GET, &Uri::from_static("h:1")), None);
    }

    #[test]
    fn the_key_of_a_key_is_the_key() {
        let pieces = [
            "%", "%2", "e", "7", "/", ".", "..", "%2e", "%7E", "%25", "?", "a",
        ];
        let count = pieces.len();
        for n in 0..count.pow(4) {
            let path: String = (0..4).map(|at| pieces[n / count.pow(at) % count]).collect();
            let Ok(uri) = format!("http://h/{path}").parse::<Uri>() else {
                continue;
            };
            let once = normalized(&Method::GET, &uri).unwrap();
            // Decoding twice could make one resource of two.
            assert_eq!(normal(&once), once, "{path}");
        }
    }

    /// RFC 3986 §5.4.
    #[test]
    fn references_are_resolved_as_in_the_examples_of_the_rfc() {
        let base = Uri::from_static("http://a/b/c/d;p?q");
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://other/x/../y?z", "https://other/y?z"),
        ] {
            let resolved = resolve(&base, reference).unwrap();
            assert_eq!(resolved.to_string(), expected, "{reference}");
        }
        for reference in ["g:h", "mailto:a", "http://", "/a b", "//"] {
            assert_eq!(resolve(&base, reference), None, "{reference}");
        }
    }

    #[test]
    fn origins() {
        let base = Uri::from_static("https://h/a");
        for (other, same) in [
            ("https://H:443/b", true),
            ("https://h:/b", true),
            ("https://u:p@h/b", true),
            ("https://h:80/b", false),
            ("http://h/b", false),
            ("https://h.other/b", false),
            ("/b", false),
        ] {
            assert_eq!(same_origin(&base, &other.parse().unwrap()), same, "{other}");
        }
    }
}
