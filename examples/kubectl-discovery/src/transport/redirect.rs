//! Redirects: followed as Go's HTTP client follows them, but with credentials for the user's own
//! server alone, and never from https to http.

use std::fmt;

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::headers::is_credential;
use discovery_core::http::uri::{self, resolve, same_origin};
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tower::ServiceExt;
use tower_service::Service;

use crate::errors::InvalidPort;

/// Go sends as many requests, the first one included.
const MOST: usize = 10;

/// There is no end to the redirects.
#[derive(Debug)]
struct TooMany;

/// A redirect leads to an address that is not asked.
#[derive(Debug)]
struct BadLocation {
    /// Without user-info.
    location: String,
    why: Reason,
}

/// Another server than the one that was asked first gave no answer.
#[derive(Debug)]
pub(crate) struct Redirected {
    pub(crate) uri: Uri,
    error: BoxError,
}

#[derive(Debug)]
enum Reason {
    Port(InvalidPort),
    /// It would be a step down.
    Unencrypted,
    /// It is for no web server.
    Scheme,
    NoUrl,
}

/// Sends a GET request, to other URLs if the answer is that.
pub(super) async fn follow<S, B>(
    client: S,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<B>, BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>> + Clone,
{
    for turn in 0..MOST {
        let mut next = request.clone();
        let response = client.clone().oneshot(request).await;
        let mut response = response.map_err(|error| {
            let (uri, error) = (next.uri().clone(), error.into());
            if turn == 0 {
                error
            } else {
                BoxError::from(Redirected { uri, error })
            }
        })?;
        let Some(target) = target(next.uri(), &response)? else {
            if turn > 0 {
                // It is not the answer of the URL that was asked for, to be kept under that.
                let no_store = HeaderValue::from_static("no-store");
                response.headers_mut().insert(CACHE_CONTROL, no_store);
            }
            return Ok(response);
        };
        if !same_origin(next.uri(), &target) {
            remove_credentials(next.headers_mut());
        }
        *next.uri_mut() = target;
        request = next;
    }
    Err(TooMany.into())
}

/// The target of a response that is a redirect.
fn target<B>(asked: &Uri, response: &Response<B>) -> Result<Option<Uri>, BadLocation> {
    let is_redirect = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(LOCATION).filter(|_| is_redirect);
    let Some(location) = location.filter(|location| !location.is_empty()) else {
        return Ok(None);
    };
    let location = &escaped(location);
    let refused = |why| {
        let location = uri::without_user_info(location).into_owned();
        Err(BadLocation { location, why })
    };
    let Some(target) = resolve(asked, location) else {
        return refused(Reason::NoUrl);
    };
    if let Some(port) = InvalidPort::of(&target) {
        return refused(Reason::Port(port));
    }
    match (asked.scheme_str(), target.scheme_str()) {
        (_, Some("https")) | (Some("http"), Some("http")) => Ok(Some(target)),
        (Some("https"), Some("http")) => refused(Reason::Unencrypted),
        _ => refused(Reason::Scheme),
    }
}

/// A `Location` with escapes in the place of what may not be in a URL, where Go takes it and servers send it: spaces and
/// letters outside ASCII.
fn escaped(location: &HeaderValue) -> String {
    let mut escaped = String::new();
    for byte in location.as_bytes() {
        match byte {
            b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            byte => escaped.push(char::from(*byte)),
        }
    }
    escaped
}

/// Go drops these when a redirect leads to another server.
fn remove_credentials(headers: &mut HeaderMap) {
    let credentials = headers.keys().filter(|name| is_credential(name));
    for name in credentials.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

impl fmt::Display for Redirected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Redirected {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.error)
    }
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Go's words, which kubectl shows.
        write!(f, "stopped after {MOST} redirects")
    }
}

impl std::error::Error for TooMany {}

impl fmt::Display for BadLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location, why } = self;
        match why {
            // Go's words again: it parses any number, and can't connect to one that is too large.
            Reason::Port(port) if port.is_number() => write!(f, "{port}"),
            Reason::Port(port) => write!(
                f,
                "failed to parse Location header {location:?}: parse {location:?}: {port}"
            ),
            Reason::Unencrypted => write!(
                f,
                "the server redirects to {location:?}, which is not followed from https"
            ),
            Reason::Scheme => write!(
                f,
                "the server redirects to {location:?}, which is neither http nor https"
            ),
            Reason::NoUrl => write!(f, "the server redirects to {location:?}, which is no URL"),
        }
    }
}

impl std::error::Error for BadLocation {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_against_the_url_of_the_request() {
        let base = "http://h:1/k8s/api?x=1".parse().unwrap();
        for (reference, expected) in [
            ("http://other/api#f", Some("http://other/api")),
            ("//other:2/api", Some("http://other:2/api")),
            ("/login?to=/api", Some("http://h:1/login?to=/api")),
            ("/to?http://x", Some("http://h:1/to?http://x")),
            ("?y", Some("http://h:1/k8s/api?y")),
            ("apis", Some("http://h:1/k8s/apis")),
            ("http://", None),
            ("/a b", None),
        ] {
            let found = resolve(&base, reference).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), expected, "{reference}");
        }
    }

    #[tokio::test]
    async fn a_redirect_to_an_invalid_port_is_not_followed() {
        for (location, message) in [
            (
                "http://u:secret@h:80x/b",
                "failed to parse Location header \"http://h:80x/b\": parse \"http://h:80x/b\": \
                 invalid port \":80x\" after host",
            ),
            ("//h:99999/b", "dial tcp: address 99999: invalid port"),
        ] {
            let client = tower::service_fn(move |request: Request<Full<Bytes>>| async move {
                assert_eq!(request.uri(), "http://h/a");
                let response = Response::builder().status(302).header(LOCATION, location);
                Ok::<_, BoxError>(response.body(()).unwrap())
            });
            let request = Request::get("http://h/a").body(Full::default()).unwrap();
            let error = follow(client, request).await.unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[tokio::test]
    async fn a_redirect_that_is_not_followed_is_named() {
        for (location, message) in [
            (
                "http://u:secret@h/b",
                "the server redirects to \"http://h/b\", which is not followed from https",
            ),
            (
                "ftp://h/b",
                "the server redirects to \"ftp://h/b\", which is neither http nor https",
            ),
            (
                "http://",
                "the server redirects to \"http://\", which is no URL",
            ),
        ] {
            let client = tower::service_fn(move |_| async move {
                let response = Response::builder().status(302).header(LOCATION, location);
                Ok::<_, BoxError>(response.body(()).unwrap())
            });
            let request = Request::get("https://h/a").body(Full::default()).unwrap();
            let error = follow(client, request).await.unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_location_is_escaped_where_servers_forget_it() {
        for (location, expected) in [
            ("/a b?c d", "/a%20b?c%20d"),
            ("/caf\u{e9}|\\", "/caf%C3%A9%7C%5C"),
            ("http://h/a%20b#c", "http://h/a%20b#c"),
        ] {
            let location = HeaderValue::from_bytes(location.as_bytes()).unwrap();
            assert_eq!(escaped(&location), expected);
        }
    }

    #[tokio::test]
    async fn a_server_without_an_answer_is_named() {
        let client = tower::service_fn(|request: Request<Full<Bytes>>| async move {
            if request.uri() != "http://h/a" {
                return Err(BoxError::from("refused"));
            }
            let response = Response::builder().status(302).header(LOCATION, "//i/b c");
            Ok(response.body(()).unwrap())
        });
        let request = Request::get("http://h/a").body(Full::default()).unwrap();
        let error = follow(client, request).await.unwrap_err();
        assert_eq!(error.to_string(), "refused");
        let redirected = error.downcast_ref::<Redirected>().unwrap();
        assert_eq!(redirected.uri, "http://i/b%20c");
    }

    #[tokio::test]
    async fn credentials_stay_with_the_server() {
        let client = tower::service_fn(|request: Request<Full<Bytes>>| async move {
            let secrets = request
                .headers()
                .keys()
                .filter(|name| *name != "accept")
                .count();
            let location = match (request.uri().to_string().as_str(), secrets) {
                ("http://h:1/a", 2) => Some("/b"),
                ("http://h:1/b", 2) => Some("http://h:2/c"),
                // And not even on the way back.
                ("http://h:2/c", 0) => Some("http://h:1/d"),
                ("http://h:1/d", 0) => Some("https://h:1/e"),
                ("https://h:1/e", 0) => None,
                other => return Err(BoxError::from(format!("{other:?}"))),
            };
            let response = Response::builder().status(302);
            let response = location.into_iter().fold(response, |response, location| {
                response.header(LOCATION, location)
            });
            Ok(response.body(()).unwrap())
        });
        let request = Request::get("http://h:1/a")
            .header(http::header::AUTHORIZATION, "secret")
            .header("impersonate-user", "secret")
            .header("accept", "x")
            .body(Full::default());
        let response = follow(client, request.unwrap()).await.unwrap();
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }
}
