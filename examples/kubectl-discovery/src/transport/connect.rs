//! A connection to the server: proxy, TLS, credentials, gzip.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::dump::Uncompressed;
use discovery_core::http::uri::host_and_port;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, PROXY_AUTHORIZATION};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connect, Connection as Connected, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::ConfigExt;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::set_header::SetRequestHeaderLayer;

use super::credentials::{authorization, check_impersonation};
use super::forward::Forward;
use super::gzip;
use super::handshake::{self, First};
use super::redirect::follow;
use super::repeat;
use super::tls::{self, Bounded, Dial};
use super::{Connection, Unsendable};
use crate::errors::InvalidPort;

/// The largest head of a response, as in Go.
const MAX_HEAD: usize = 10 << 20;

/// The most lines that it may have. Go has no such limit.
const MAX_HEADERS: usize = 10_000;

/// Reads certificates and tokens, but opens no socket.
pub(super) fn connect(config: &Config) -> Result<Connection, BoxError> {
    check_impersonation(&config.auth_info)?;
    let authorization = authorization(&config.auth_info)?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(config.connect_timeout);
    let Some(proxy) = proxy(config)? else {
        return over(config, authorization, tcp);
    };
    if let Some(port) = InvalidPort::of(proxy.uri()) {
        return Err(Unsendable::new(format_args!("proxyconnect tcp: {port}")).into());
    }
    let (uri, auth) = (proxy.uri().clone(), proxy.basic_auth().cloned());
    match uri.scheme_str() {
        Some("http") if !has_tls(config) => {
            speak(config, authorization, Forward::new(uri, tcp), auth)
        }
        Some("http") => {
            let tunnel = Tunnel::new(uri, tcp);
            let tunnel = auth.into_iter().fold(tunnel, Tunnel::with_auth);
            over(config, authorization, tunnel)
        }
        Some("socks5" | "socks5h") => {
            let socks = SocksV5::new(uri, tcp);
            match proxy.raw_auth() {
                Some((user, password)) => {
                    let socks = socks.with_auth(user.into(), password.into());
                    over(config, authorization, socks)
                }
                None => over(config, authorization, socks),
            }
        }
        _ => Err(unsupported(&uri)),
    }
}

/// The proxy of the kubeconfig; or that of the surroundings, but not to this machine, as in Go.
fn proxy(config: &Config) -> Result<Option<Intercept>, BoxError> {
    let target = &config.cluster_url;
    let given = config.proxy_url.as_ref();
    if let Some(proxy) = given {
        let found = Matcher::builder()
            .all(proxy.to_string())
            .build()
            .intercept(target);
        return found.map(Some).ok_or_else(|| unsupported(proxy));
    }
    let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    Ok(if local {
        None
    } else {
        matcher().intercept(target)
    })
}

/// The proxies of the environment, as Go takes them: it does not know `ALL_PROXY`, and the host in a pattern such as
/// `*.test` begins with a dot.
fn matcher() -> Matcher {
    let variable = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        value
            .or_else(|| std::env::var(lower).ok())
            .unwrap_or_default()
    };
    let exceptions = variable("NO_PROXY");
    let exceptions: Vec<_> = exceptions
        .split(',')
        .map(str::trim)
        .map(|pattern| match pattern.strip_prefix('*') {
            Some(rest) if !rest.is_empty() => rest,
            _ => pattern,
        })
        .collect();
    Matcher::builder()
        .http(variable("HTTP_PROXY"))
        .https(variable("HTTPS_PROXY"))
        .no(exceptions.join(","))
        .build()
}

fn unsupported(proxy: &Uri) -> BoxError {
    let proxy = without_password(proxy);
    format!("can't go through the proxy {proxy}: only http and socks5 will do").into()
}

fn over<C>(
    config: &Config,
    authorization: Option<HeaderValue>,
    connector: C,
) -> Result<Connection, BoxError>
where
    C: tower_service::Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: hyper::rt::Read + hyper::rt::Write + Connected + Send + Unpin + 'static,
    C::Future: Send + Unpin + 'static,
    C::Error: Into<BoxError>,
{
    if !has_tls(config) {
        return speak(config, authorization, connector, None);
    }
    let mut builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls::client_config(config)?)
        .https_only();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into()?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    speak(
        config,
        authorization,
        Bounded(
            builder
                .enable_all_versions()
                .wrap_connector(Dial(connector)),
        ),
        None,
    )
}

fn has_tls(config: &Config) -> bool {
    config.cluster_url.scheme_str() == Some("https")
}

/// HTTP over a connector: HTTP/2 where TLS has agreed on it, else HTTP/1.1. With credentials for a
/// proxy if that is to see each request.
fn speak<C>(
    config: &Config,
    authorization: Option<HeaderValue>,
    connector: C,
    proxy_auth: Option<HeaderValue>,
) -> Result<Connection, BoxError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http1_max_headers(MAX_HEADERS)
        .http1_max_buf_size(MAX_HEAD)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http2_max_header_list_size(MAX_HEAD as u32)
        .build::<_, Full<Bytes>>(connector);
    let first = First::default();
    let client = service_fn(move |request| handshake::send(client.clone(), first.clone(), request));
    let client = service_fn(move |request| repeat::send(client.clone(), request));
    let client = ServiceBuilder::new()
        .map_request(move |mut request: Request<_>| {
            if let Some(auth) = &proxy_auth {
                let headers = request.headers_mut();
                headers.insert(PROXY_AUTHORIZATION, auth.clone());
            }
            request
        })
        .map_response(|mut response: Response<_>| {
            // The HTTP cache stores other fields of a response that came compressed.
            if gzip::is_gzip(response.headers()) {
                response.extensions_mut().insert(Uncompressed);
            }
            response
        })
        .service(client);
    let client = ServiceBuilder::new()
        .map_request(with_url_credentials)
        .service_fn(move |request| follow(client.clone(), request));
    let client = ServiceBuilder::new()
        .layer(config.extra_headers_layer()?)
        .option_layer(
            authorization.map(|value| SetRequestHeaderLayer::overriding(AUTHORIZATION, value)),
        )
        .service(client);
    let client = BoxCloneSyncService::<_, Response<Incoming>, BoxError>::new(client);
    if config.disable_compression {
        let client = client
            .map_response(|response| response.map(|body| body.map_err(Into::into).boxed_unsync()));
        return Ok(BoxCloneSyncService::new(client));
    }
    let client = service_fn(move |mut request: Request<_>| {
        let client = client.clone();
        async move {
            let accepted = request.headers_mut().entry(ACCEPT_ENCODING);
            accepted.or_insert(HeaderValue::from_static("gzip"));
            gzip::decoded(client.oneshot(request).await?).await
        }
    });
    Ok(BoxCloneSyncService::new(client))
}

/// Sends user and password of a URL as Go does, unless there are other credentials.
fn with_url_credentials<B>(mut request: Request<B>) -> Request<B> {
    let Some(authority) = request.uri().authority() else {
        return request;
    };
    let Some((user_info, host)) = authority.as_str().rsplit_once('@') else {
        return request;
    };
    let decoded = percent_decoded(user_info);
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

fn replace_authority(uri: &mut Uri, authority: Authority) {
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(authority);
    if let Ok(changed) = Uri::from_parts(parts) {
        *uri = changed;
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
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
