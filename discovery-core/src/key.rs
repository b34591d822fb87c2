//! Cache keys, and the file and directory names that kubectl derives.
//!
//! kubectl's HTTP cache keeps a response under the request's URL ([`of`]), in a file that is named
//! by the key's hash ([`file_name`]). Its discovery files are in a directory that is named
//! by the server's address ([`server_directory`]).
//!
//! ```
//! use discovery_core::key;
//! use http::{Method, Uri};
//!
//! let uri = Uri::from_static("https://127.0.0.1:16443/api?timeout=32s");
//! let key = key::of(&Method::GET, &uri, None).unwrap();
//! assert_eq!(key, "https://127.0.0.1:16443/api?timeout=32s");
//! assert_eq!(
//!     key::file_name(&key),
//!     "d0fd1292b06285945976ec352089fc14f605e5d309050163f55e18af8322b332",
//! );
//! ```

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};

use http::uri::{Authority, Scheme};
use http::{Method, Uri};
use sha2::{Digest, Sha256};

/// What a file name may have on all common file systems.
const MAX_COMPONENT: usize = 255;

/// The scheme and authority of requests whose URI has none.
///
/// ```
/// use discovery_core::key::{self, Origin};
/// use http::{Method, Uri};
///
/// let origin = Origin::of(&Uri::from_static("https://h:6443/ignored")).unwrap();
/// let uri = Uri::from_static("/api");
/// assert_eq!(key::of(&Method::GET, &uri, Some(&origin)).unwrap(), "https://h:6443/api");
/// assert_eq!(key::of(&Method::GET, &uri, None), None);
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
/// use discovery_core::key::Redacted;
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
/// the failed operation was for. Control characters are escaped.
///
/// The error's sources are not shown.
///
/// ```
/// use discovery_core::key::RedactedError;
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
    pub fn of(uri: &Uri) -> Option<Self> {
        Some(Self::new(uri.scheme()?.clone(), uri.authority()?.clone()))
    }

    /// Whether `uri` names it: the scheme, the host in any case, and the port, which need not be
    /// written where it is the scheme's own (RFC 9110 §4.2.3). User-info does not count. An
    /// authority with an [invalid port](InvalidPort) is no origin, and equals none.
    ///
    /// ```
    /// use discovery_core::key::Origin;
    /// use http::Uri;
    ///
    /// let origin = Origin::of(&Uri::from_static("https://Host/k8s")).unwrap();
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
/// use discovery_core::key::port;
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
/// use discovery_core::key;
/// use http::{Method, Uri};
///
/// let uri = Uri::from_static("https://u:p@Host/a/./b//c/../d?b=2&a=1");
/// assert_eq!(key::of(&Method::HEAD, &uri, None).unwrap(), "HEAD https://u:p@Host/a/b/d?a=1&b=2");
/// ```
#[must_use]
pub fn of(method: &Method, uri: &Uri, origin: Option<&Origin>) -> Option<String> {
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

/// The name of the file that kubectl keeps `key` in: its SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn file_name(key: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[usize::from(nibble)];
    let sum: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let name = sum.map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    String::from_utf8(name.as_flattened().to_vec()).expect("digits")
}

/// The directory, below kubectl's `discovery` directory, for the server at an address: a relative
/// path with `/` between its components.
///
/// The rule is kubectl's: where the URL has a path, query and fragment go first, and the scheme
/// becomes lower-case; then the first `https://` and the first `http://` go; what is neither a
/// letter, a digit, nor one of `_/.()` becomes an underscore; the rest is cleaned as a path.
///
/// ```
/// use discovery_core::key::server_directory;
///
/// assert_eq!(server_directory("https://10.0.0.1:6443").unwrap(), "10.0.0.1_6443");
/// assert!(server_directory("https://10.0.0.1/../../etc").is_err());
/// ```
///
/// # Errors
///
/// When nothing is left for a name, and when the path would leave the directory or could not exist:
/// a component `..`, an absolute path, a NUL, a component of more than 255 bytes. kubectl
/// follows `..`.
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
    let bare = without_query(server)
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
    let mut directory = String::with_capacity(safe.len());
    for component in safe.split('/') {
        match component {
            "" | "." => continue,
            ".." => return refuse("it would leave the cache directory"),
            long if long.len() > MAX_COMPONENT => return refuse("a part of it is too long"),
            _ => {}
        }
        if !directory.is_empty() {
            directory.push('/');
        }
        directory.push_str(component);
    }
    if directory.is_empty() {
        return refuse("it has no host");
    }
    Ok(directory)
}

/// An address without what may be a password in it: without all that is before its last `@`, but for
/// the scheme. For messages; it need not be a proper address.
///
/// ```
/// use discovery_core::key::without_user_info;
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
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
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
    let authority = authority.as_str();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
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

/// The address as kubectl cleans it, which it does only where there is a path besides `/`.
fn without_query(server: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = server.split_once("://") else {
        return server.into();
    };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let path = rest[..end].find('/').map_or(0, |start| end - start);
    if path > 1 {
        format!("{}://{}", scheme.to_ascii_lowercase(), &rest[..end]).into()
    } else {
        server.into()
    }
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
