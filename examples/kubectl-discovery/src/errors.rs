//! Errors, in kubectl's words.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use discovery_core::http::uri;
use discovery_core::{Error as DiscoveryError, GroupVersion};
use http::{StatusCode, Uri};

use crate::transport::{Elapsed, ProxyError, Redirected, SendError, looked_up, without_password};

/// The connector's word for it, whose type is its own.
const DNS: &str = "dns error: ";

/// The same for a socket.
const DIAL: &str = "tcp connect error: ";

/// Go's words for a body that takes too long.
const BODY_TIMEOUT: &str =
    "context deadline exceeded (Client.Timeout or context cancellation while reading body)";

/// client-go's words before it.
const BODY: &str = "unexpected error when reading response body. Please retry. Original error";

/// A port that is not a number from 0 to 65535, in Go's words.
#[derive(Debug)]
pub(crate) struct InvalidPort {
    /// The text behind the host.
    text: String,
}

/// The last line on stderr of a run that fails; empty if there is nothing to say.
#[derive(Clone, Debug)]
pub(crate) struct Fatal(String);

impl Fatal {
    /// Something other than an answer of the server.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self(format!("error: {message}"))
    }

    /// A line as it stands.
    pub(crate) const fn plain(line: String) -> Self {
        Self(line)
    }

    /// No connection to the server could be made.
    pub(crate) fn not_connected(why: impl fmt::Display) -> Self {
        Self(format!("Unable to connect to the server: {why}"))
    }

    /// No one reads our output.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self(String::new()),
            _ => Self::new(format_args!("can't write: {error}")),
        }
    }

    /// Several things are wrong with the configuration.
    pub(crate) fn configuration(several: &[String]) -> Self {
        let bullets: String = several.iter().map(|one| format!("\n* {one}")).collect();
        Self(format!("Error in configuration: {bullets}"))
    }

    /// The error in the configuration, if that is why the server could not be asked.
    pub(crate) fn of_configuration(failure: &DiscoveryError) -> Option<Self> {
        find::<SendError>(failure)?.configuration().cloned()
    }

    /// The server at `server` could not be asked, or did not answer as it should.
    pub(crate) fn failure(failure: &DiscoveryError, server: &Uri) -> Self {
        if let Some(error) = find::<SendError>(failure) {
            return Self::sending(error);
        }
        if find::<Elapsed>(failure).is_some() {
            let message = message(failure, server);
            return Self(format!("{message}\nerror: {BODY}: {BODY_TIMEOUT}"));
        }
        let message = message(failure, server);
        Self(match (failure.code(), failure.reason()) {
            (Some(StatusCode::UNAUTHORIZED), _) => {
                format!("error: You must be logged in to the server ({message})")
            }
            (Some(_), Some("Invalid")) if failure.unexpected_response().is_some() => {
                let said = failure.unexpected_response().unwrap_or_default();
                format!("The request is invalid: : {said}")
            }
            (Some(_), Some(reason)) if !reason.is_empty() => {
                format!("Error from server ({reason}): {message}")
            }
            (Some(_), _) => format!("Error from server: {message}"),
            (None, _) => format!("error: {message}"),
        })
        .after(failure)
    }

    /// A request that got no answer.
    pub(crate) fn sending(error: &SendError) -> Self {
        if let Some(fatal) = error.configuration() {
            return fatal.clone();
        }
        let host = asked(error).authority().map_or("", uri::host_and_port);
        Self(if is_refused(error) {
            format!(
                "The connection to the server {host} was refused - did you specify the right host \
                 or port?"
            )
        } else {
            return Self::not_connected(words(error));
        })
    }

    /// The answer at `url` did not come to its end, with no one in between to say so.
    pub(crate) fn broken(url: &Uri, error: &(dyn Error + 'static)) -> Self {
        let url = without_password(url);
        let message = format!("the answer from {url} broke off: {}", chain(error));
        match find::<Elapsed>(error) {
            Some(_) => Self(format!("{message}\nerror: {BODY_TIMEOUT}")),
            None => Self::new(message),
        }
    }

    /// As [`failure`](Self::failure), in the words of `api-versions`.
    pub(crate) fn versions(failure: &DiscoveryError, server: &Uri) -> Self {
        let message = match find::<SendError>(failure) {
            None if find::<Elapsed>(failure).is_some() => {
                format!("{BODY}: {BODY_TIMEOUT}")
            }
            None => message(failure, server),
            Some(error) => {
                if let Some(fatal) = error.configuration() {
                    return fatal.clone();
                }
                let mut url = error.url().to_string();
                let mut words = words(error);
                if is_refused(error) {
                    let address = address(asked(error));
                    let address = address.map_or_else(String::new, |at| format!(" {at}"));
                    words = format!("dial tcp{address}: connect: connection refused");
                }
                if error.is_unsent() || words.starts_with("dial ") {
                    // Neither request got through; kubectl sends the one for `/api` first.
                    url = url.replacen("/apis?", "/api?", 1);
                }
                format!("Get \"{url}\": {words}")
            }
        };
        Self::new(format_args!(
            "couldn't get available api versions from server: {message}"
        ))
        .after(failure)
    }

    /// Some lists could not be had.
    pub(crate) fn partial<'a>(
        failed: impl IntoIterator<Item = (&'a GroupVersion, &'a DiscoveryError)>,
        server: &Uri,
    ) -> Option<Self> {
        let mut failed: Vec<_> = failed
            .into_iter()
            // kubectl's file cache drops the report of these.
            .filter(|(_, failure)| !failure.is_stale())
            .map(|(group_version, failure)| {
                format!("{group_version}: {}", list_failure(failure, server))
            })
            .collect();
        failed.sort_unstable();
        (!failed.is_empty()).then(|| {
            let failed = failed.join(", ");
            Self::new(format_args!(
                "unable to retrieve the complete list of server APIs: {failed}"
            ))
        })
    }

    /// Puts a line before it with what the server says itself, where kubectl does not tell.
    fn after(self, failure: &DiscoveryError) -> Self {
        match (failure.code(), failure.source()) {
            (Some(_), Some(said)) if said.to_string() != failure.to_string() => {
                Self(format!("the server says: {said}\n{self}"))
            }
            _ => self,
        }
    }
}

impl InvalidPort {
    /// The port of `uri`, if it is invalid.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        uri::port(uri).err()?;
        let host = uri::host_and_port(uri.authority()?);
        let start = host.rfind(']').map(|end| end + 1);
        let text = &host[start.or_else(|| host.find(':'))?..];
        Some(Self { text: text.into() })
    }

    /// Whether it is a number, but too large. Go accepts that in a URL, and fails to connect.
    pub(crate) fn is_number(&self) -> bool {
        self.text.starts_with(':') && self.text[1..].bytes().all(|byte| byte.is_ascii_digit())
    }
}

impl fmt::Display for InvalidPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_number() {
            write!(f, "dial tcp: address {}: invalid port", &self.text[1..])
        } else {
            write!(f, "invalid port {:?} after host", self.text)
        }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Fatal {}

fn list_failure(failure: &DiscoveryError, server: &Uri) -> String {
    match find::<SendError>(failure) {
        Some(error) => format!("Get \"{}\": {}", error.url(), words(error)),
        None => message(failure, server),
    }
}

/// The server that gave no answer: that of the request, or one that it redirects to.
fn asked(error: &SendError) -> &Uri {
    find::<Redirected>(error).map_or(error.url(), |redirected| &redirected.uri)
}

/// The reason why a request got no answer, in Go's words where those are known.
fn words(error: &SendError) -> String {
    if let Some(error) = find::<ProxyError>(error) {
        return error.to_string();
    }
    let text = chain(error.cause());
    let host = looked_up(asked(error).host().unwrap_or_default());
    if text.contains(DIAL)
        && let Some(why) = find::<io::Error>(error)
        && let (Some(_), Some(address)) = (why.raw_os_error(), address(asked(error)))
    {
        return format!("dial tcp {address}: connect: {}", go_words(why));
    }
    match text.split_once(DNS) {
        Some((_, why)) if why.contains("Temporary failure") => {
            format!("dial tcp: lookup {host}: Temporary failure in name resolution")
        }
        Some(_) => format!("dial tcp: lookup {host}: no such host"),
        None => text,
    }
}

/// kubectl's message for an error answer; for anything else the causes and the whole URL.
fn message(failure: &DiscoveryError, server: &Uri) -> String {
    if failure.code().is_some() {
        return failure.to_string();
    }
    let message = chain(failure);
    match failure.url().filter(|url| url.starts_with('/')) {
        Some(path) => {
            let server = without_password(server).to_string();
            message.replacen(path, &format!("{}{path}", server.trim_end_matches('/')), 1)
        }
        None => message,
    }
}

/// An error and its causes. Some errors print their cause themselves.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Go's text for an error of the operating system: without its number, and in lower case.
pub(crate) fn go_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

fn is_refused(error: &SendError) -> bool {
    find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The address that a connection to a URL goes to.
pub(crate) fn address(url: &Uri) -> Option<SocketAddr> {
    let host = looked_up(url.host()?);
    let port = uri::port(url).ok()??;
    (host.as_str(), port).to_socket_addrs().ok()?.next()
}
