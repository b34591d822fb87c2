//! HTTP over connections to the server: redirects, repeats, gzip.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::dump::Uncompressed;
use discovery_core::http::headers::remove_overridden_length;
use discovery_core::http::uri::host_and_port;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, PROXY_AUTHORIZATION};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::Connection;
use super::dial::{Dialer, without_zone};
use super::gzip;
use super::handshake::{self, First};
use super::head::{self, MAX_HEAD};
use super::redirect::follow;
use super::repeat;

/// The most lines that it may have. Go has no such limit; here each answer takes the room for as many, and up to this
/// number that comes from memory that is there already.
const MAX_HEADERS: usize = 3_500;

/// HTTP over the connections of a dialer: HTTP/2 where TLS has agreed on it, else HTTP/1.1. Opens no socket.
pub(super) fn connect(dialer: Dialer, disable_compression: bool) -> Connection {
    let proxies = dialer.clone();
    let client = Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http1_max_headers(MAX_HEADERS)
        .http1_max_buf_size(MAX_HEAD)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http2_max_header_list_size(MAX_HEAD as u32)
        .build::<_, Full<Bytes>>(dialer);
    let first = First::default();
    let client = service_fn(move |request| handshake::send(client.clone(), first.clone(), request));
    let client = service_fn(move |request| repeat::send(client.clone(), request));
    let client = ServiceBuilder::new()
        .map_request(move |mut request: Request<_>| {
            // Over TLS it is sent to the proxy when the tunnel is made.
            if request.uri().scheme() == Some(&Scheme::HTTP)
                && let Some(value) = proxies.proxy_authorization(request.uri())
            {
                let headers = request.headers_mut();
                headers.insert(PROXY_AUTHORIZATION, value);
            }
            request
        })
        .map_response(|mut response: Response<_>| {
            remove_overridden_length(response.headers_mut());
            // The HTTP cache stores other fields of a response that came compressed.
            if gzip::is_gzip(response.headers()) {
                response.extensions_mut().insert(Uncompressed);
            }
            response
        })
        .service(client);
    let client = ServiceBuilder::new()
        .map_request(with_url_credentials)
        .map_request(|mut request: Request<_>| {
            without_zone(request.uri_mut());
            request
        })
        .service_fn(move |request| follow(client.clone(), request));
    let client = BoxCloneSyncService::<_, Response<Incoming>, BoxError>::new(client);
    let client = service_fn(move |mut request: Request<_>| {
        let client = client.clone();
        async move {
            if !disable_compression {
                let accepted = request.headers_mut().entry(ACCEPT_ENCODING);
                accepted.or_insert(HeaderValue::from_static("gzip"));
            }
            let response = client.oneshot(request).await?;
            head::check(response.version(), response.headers())?;
            // Some servers compress what nobody has asked for.
            Ok(gzip::decoded(response).await)
        }
    });
    BoxCloneSyncService::new(client)
}

/// Sends user and password of a URL as Go does, unless there are other credentials.
fn with_url_credentials<B>(mut request: Request<B>) -> Request<B> {
    let Some(authority) = request.uri().authority() else {
        return request;
    };
    let Some((user_info, host)) = authority.as_str().rsplit_once('@') else {
        return request;
    };
    let mut decoded = percent_decoded(user_info);
    // A name without a password is sent with an empty one.
    if !user_info.contains(':') {
        decoded.push(b':');
    }
    let value = format!("Basic {}", STANDARD.encode(decoded));
    let host = host.parse::<Authority>();
    if let (false, Ok(mut value)) = (
        request.headers().contains_key(AUTHORIZATION),
        HeaderValue::try_from(value),
    ) {
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    if let Ok(host) = host {
        replace_authority(request.uri_mut(), host);
    }
    request
}

/// A URL for the log: without user and password, as either may be a secret.
pub(super) fn without_user(uri: &Uri) -> Uri {
    let mut uri = uri.clone();
    let host = uri.authority().and_then(|authority| {
        let host = host_and_port(authority);
        host.parse().ok()
    });
    if let Some(host) = host {
        replace_authority(&mut uri, host);
    }
    uri
}

/// A URL to show: with stars for a password, as Go shows it.
pub(crate) fn without_password(uri: &Uri) -> Uri {
    let mut uri = uri.clone();
    let hidden = uri.authority().and_then(|authority| {
        let (user_info, host) = authority.as_str().rsplit_once('@')?;
        let (user, _) = user_info.split_once(':')?;
        format!("{user}:***@{host}").parse().ok()
    });
    if let Some(hidden) = hidden {
        replace_authority(&mut uri, hidden);
    }
    uri
}

pub(super) fn replace_authority(uri: &mut Uri, authority: Authority) {
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(authority);
    if let Ok(changed) = Uri::from_parts(parts) {
        *uri = changed;
    }
}

pub(super) fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', digits @ ..] => digits
                .get(..2)
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        match escaped {
            Some(byte) => {
                decoded.push(byte);
                rest = &rest[3..];
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_url_become_basic_authorization_and_are_not_shown() {
        let request = Request::get("http://me:p%40ss@h:1/api?x=1")
            .body(())
            .unwrap();
        let request = with_url_credentials(request);
        assert_eq!(request.uri(), "http://h:1/api?x=1");
        // base64 of `me:p@ss`
        assert_eq!(request.headers()[AUTHORIZATION], "Basic bWU6cEBzcw==");
        let request = Request::get("http://me@h/").body(()).unwrap();
        // base64 of `me:`
        assert_eq!(
            with_url_credentials(request).headers()[AUTHORIZATION],
            "Basic bWU6"
        );
        assert_eq!(
            without_password(&"http://me:p@h:1/".parse().unwrap()),
            "http://me:***@h:1/"
        );
        assert_eq!(
            without_password(&"http://h:1/".parse().unwrap()),
            "http://h:1/"
        );
        for uri in [
            "http://me:p@h:1/api?x",
            "http://me@h:1/api?x",
            "http://h:1/api?x",
        ] {
            assert_eq!(without_user(&uri.parse().unwrap()), "http://h:1/api?x");
        }
    }
}
