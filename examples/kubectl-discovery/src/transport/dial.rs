//! Connections to the server: through a proxy, with TLS.

use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use discovery_core::BoxError;
use discovery_core::http::uri::{self, host_and_port, same_origin};
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiFuture, GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tower::{ServiceExt, service_fn};
use tower_service::Service;

use super::Unsendable;
use super::connect::{percent_decoded, replace_authority, without_password};
use super::head::Heads;
use super::no_proxy::NoProxy;
use super::tls::{Identity, Tls, bounded};
use crate::errors::{InvalidPort, address, chain, go_words};
use crate::server::{Config, with_host};

/// The longest time that a connection may take to come, as in Go.
const DIAL: Duration = Duration::from_secs(30);

/// The port of a SOCKS proxy (RFC 1928 §3).
const SOCKS_PORT: u16 = 1080;

/// hyper's words for a SOCKS proxy that asks for no user. It offers one method only, where Go leaves the choice to the
/// proxy.
const NO_PASSWORDS: &str = "does not support user/pass authentication";

/// Makes connections to the addresses of requests.
#[derive(Clone)]
pub(super) struct Dialer {
    tcp: HttpConnector<Resolver>,
    proxies: Proxies,
    tls: Arc<Tls>,
    /// The name that servers' certificates have to be for, if it is not the host's.
    server_name: Option<ServerName<'static>>,
    identity: Option<Identity>,
    /// The server that the user is known to. Its address may have a zone, which requests have no more.
    server: Uri,
}

/// The proxies that servers are asked through.
#[derive(Clone)]
enum Proxies {
    One(Arc<Proxy>),
    /// Those of the environment, and the servers that are asked without.
    Environment(Arc<Matcher>, NoProxy),
    /// Those of the environment of a CGI program, in which a field of the request that it answers may be `HTTP_PROXY`.
    Untrusted(Arc<Matcher>, NoProxy),
}

/// A proxy, and who may use it.
struct Proxy {
    uri: Uri,
    basic: Option<HeaderValue>,
    raw: Option<(String, String)>,
}

/// No connection to the proxy could be made. It has no source: what was refused was not the server.
#[derive(Debug)]
pub(crate) struct ProxyError(String);

impl Dialer {
    /// Opens no socket.
    pub(super) fn new(config: &Config) -> Result<Self, BoxError> {
        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(DIAL));
        let tls = Tls::new(&config.cluster)?;
        if config.url.scheme() == Some(&Scheme::HTTPS) {
            // Errors in the configuration are found before anything is sent.
            tls.client(None, &[])?;
        }
        let proxies = Proxies::new(config)?;
        // One that can't be used is told before anything is sent.
        proxies.to(&config.url)?;
        let name = config.cluster.tls_server_name.as_deref();
        // Nobody looks at a certificate's name if all are trusted.
        let has_use = !config.cluster.insecure_skip_tls_verify;
        let server_name = match name.map(given_name) {
            Some(Err(why)) if has_use => return Err(why),
            given => given.and_then(Result::ok),
        };
        Ok(Self {
            tcp,
            proxies,
            tls: Arc::new(tls),
            server_name,
            identity: None,
            server: config.url.clone(),
        })
    }

    /// Shows the server this certificate, if it asks for one; but no other server that it redirects to, and no proxy.
    pub(super) fn identity(&self, identity: Option<Identity>) -> Self {
        Self {
            identity,
            ..self.clone()
        }
    }

    /// The credentials for the proxy, for each request that it forwards.
    pub(super) fn proxy_authorization(&self, target: &Uri) -> Option<HeaderValue> {
        self.proxies.to(target).ok()??.basic.clone()
    }

    async fn dial(self, mut target: Uri) -> Result<Stream, BoxError> {
        let mut server = self.server.clone();
        without_zone(&mut server);
        let is_server = same_origin(&server, &target);
        if is_server {
            target = self.server.clone();
        }
        let has_tls = target.scheme() == Some(&Scheme::HTTPS);
        let (io, is_forwarded) = match self.proxies.to(&target)? {
            None => (
                Io::of(self.tcp.clone().oneshot(target.clone()).await?),
                false,
            ),
            Some(proxy) => {
                let is_socks = proxy.is_socks();
                let io = self.to_proxy(&proxy.uri).await?;
                match (is_socks, has_tls) {
                    (true, _) => (self.socks(&proxy, io, &target).await?, false),
                    (false, true) => (proxy.tunnel(io, &target).await?, false),
                    // The whole URL goes to the proxy (RFC 9112 §3.2.2), without a tunnel.
                    (false, false) => (io, true),
                }
            }
        };
        if !has_tls {
            return Ok(Stream::new(io, is_forwarded, false));
        }
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(&target)?,
        };
        let identity = self.identity.clone().filter(|_| is_server);
        let client = self.tls.client(identity, &["h2", "http/1.1"])?;
        let (io, is_h2) = encrypt(io, name, client).await?;
        Ok(Stream::new(io, is_forwarded, is_h2))
    }

    /// Goes through SOCKS, and without the user and the password where the proxy wants none.
    async fn socks(&self, proxy: &Proxy, io: Io, target: &Uri) -> Result<Io, BoxError> {
        match proxy.socks(io, target, proxy.raw.clone()).await {
            Err(error) if proxy.raw.is_some() && error.0.contains(NO_PASSWORDS) => {
                let io = self.to_proxy(&proxy.uri).await?;
                Ok(proxy.socks(io, target, None).await?)
            }
            done => Ok(done?),
        }
    }

    async fn to_proxy(&self, proxy: &Uri) -> Result<Io, ProxyError> {
        let tcp = self.tcp.clone().oneshot(proxy.clone()).await;
        let io = Io::of(tcp.map_err(|error| ProxyError::dialing(proxy, &error))?);
        if proxy.scheme() != Some(&Scheme::HTTPS) {
            return Ok(io);
        }
        let name = server_name(proxy).map_err(ProxyError::new)?;
        let client = self.tls.client(None, &["http/1.1"]);
        let client = client.map_err(ProxyError::new)?;
        let encrypted = encrypt(io, name, client).await;
        Ok(encrypted.map_err(ProxyError::new)?.0)
    }
}

/// TLS over a connection, and whether HTTP/2 is spoken on it.
async fn encrypt(
    io: Io,
    name: ServerName<'static>,
    client: ClientConfig,
) -> Result<(Io, bool), BoxError> {
    let connector = TlsConnector::from(Arc::new(client));
    let stream = bounded(connector.connect(name, io)).await?;
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Io(Box::new(stream)), is_h2))
}

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        Box::pin(self.clone().dial(target))
    }
}

/// The name that a kubeconfig gives to a server.
fn given_name(name: &str) -> Result<ServerName<'static>, BoxError> {
    let inside = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    ServerName::try_from(inside.unwrap_or(name).to_owned())
        .map_err(|_| format!("the tls-server-name {name:?} is no name of a host").into())
}

/// The name that a certificate has to be for: the host, without the zone of an address (RFC 6874 §4).
fn server_name(uri: &Uri) -> Result<ServerName<'static>, BoxError> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let host = host.split_once('%').map_or(host, |(address, _)| address);
    Ok(ServerName::try_from(host.to_owned())?)
}

impl Proxy {
    fn of(found: &Intercept) -> Result<Self, BoxError> {
        let uri = found.uri();
        if let Some(port) = InvalidPort::of(uri) {
            return Err(Unsendable::new(ProxyError::new(port)).into());
        }
        let is_known = matches!(
            uri.scheme_str(),
            Some("http" | "https" | "socks5" | "socks5h")
        );
        if !is_known {
            return Err(unsupported(uri));
        }
        let uri = match (uri.scheme_str(), uri.port()) {
            (Some("socks5" | "socks5h"), None) => {
                let host = uri.host().unwrap_or_default();
                let mut parts = uri.clone().into_parts();
                parts.authority = Some(format!("{host}:{SOCKS_PORT}").parse()?);
                Uri::from_parts(parts)?
            }
            _ => uri.clone(),
        };
        let raw = found.raw_auth();
        Ok(Self {
            uri,
            basic: found.basic_auth().cloned(),
            raw: raw.map(|(user, password)| (user.to_owned(), password.to_owned())),
        })
    }

    fn is_socks(&self) -> bool {
        matches!(self.uri.scheme_str(), Some("socks5" | "socks5h"))
    }

    /// The proxy is there, but makes no connection.
    fn refused(&self, error: &dyn std::error::Error) -> ProxyError {
        let host = self.uri.authority().map_or("", host_and_port);
        ProxyError::new(format_args!("{host}: {}", chain(error)))
    }

    /// Asks the proxy for a connection to the server (RFC 9110 §9.3.6).
    async fn tunnel(&self, io: Io, target: &Uri) -> Result<Io, BoxError> {
        let tunnel = Tunnel::new(self.uri.clone(), service_fn(given(io)));
        let mut tunnel = self
            .basic
            .clone()
            .into_iter()
            .fold(tunnel, Tunnel::with_auth);
        let io = tunnel.call(target.clone()).await;
        Ok(io.map_err(|error| self.refused(&error))?.into_inner())
    }

    /// The same for SOCKS.
    async fn socks(
        &self,
        io: Io,
        target: &Uri,
        user: Option<(String, String)>,
    ) -> Result<Io, ProxyError> {
        let socks = SocksV5::new(self.uri.clone(), service_fn(given(io)));
        let mut socks = match user {
            Some((user, password)) => socks.with_auth(user, password),
            None => socks,
        };
        let io = socks.call(target.clone()).await;
        Ok(io.map_err(|error| self.refused(&error))?.into_inner())
    }
}

/// A connector that has its connection already.
fn given(io: Io) -> impl FnMut(Uri) -> Ready<Result<TokioIo<Io>, BoxError>> {
    let mut io = Some(TokioIo::new(io));
    move |_| {
        ready(
            io.take()
                .ok_or_else(|| "there is one connection only".into()),
        )
    }
}

impl Proxies {
    /// That of the kubeconfig, for all servers; or those of the surroundings.
    fn new(config: &Config) -> Result<Self, BoxError> {
        let Some(proxy) = &config.cluster.proxy_url else {
            return Ok(Self::environment());
        };
        let found = Matcher::builder()
            .all(with_lower_scheme(&with_host(proxy)))
            .build()
            .intercept(&config.url);
        let found = found.ok_or_else(|| match proxy.parse() {
            Ok(uri) => unsupported(&uri),
            Err(_) => "the proxy-url is no URL".into(),
        });
        Ok(Self::One(Proxy::of(&found?)?.into()))
    }

    /// As Go takes them: it does not know `ALL_PROXY`.
    fn environment() -> Self {
        let variable = |name: &str| {
            let lower = name.to_ascii_lowercase();
            let value = std::env::var(name).ok().filter(|value| !value.is_empty());
            value
                .or_else(|| std::env::var(lower).ok())
                .unwrap_or_default()
        };
        let http = variable("HTTP_PROXY");
        let matcher = Matcher::builder()
            .http(with_known_scheme(&http))
            .https(with_known_scheme(&variable("HTTPS_PROXY")))
            .build();
        let exceptions = NoProxy::new(&variable("NO_PROXY"));
        let is_cgi = std::env::var_os("REQUEST_METHOD").is_some_and(|method| !method.is_empty());
        if is_cgi && !http.is_empty() {
            return Self::Untrusted(matcher.into(), exceptions);
        }
        Self::Environment(matcher.into(), exceptions)
    }

    /// The proxy for a server; none is for this machine.
    fn to(&self, target: &Uri) -> Result<Option<Arc<Proxy>>, BoxError> {
        let (matcher, exceptions) = match self {
            Self::One(proxy) => return Ok(Some(Arc::clone(proxy))),
            Self::Untrusted(..) if target.scheme() == Some(&Scheme::HTTP) => {
                let why = "refusing to use HTTP_PROXY value in CGI environment; see golang.org/s/cgihttpproxy";
                return Err(Unsendable::new(why).into());
            }
            Self::Environment(matcher, exceptions) | Self::Untrusted(matcher, exceptions) => {
                (matcher, exceptions)
            }
        };
        let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_local = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let port = uri::port(target).ok().flatten().unwrap_or_default();
        if is_local || exceptions.contains(host, port) {
            return Ok(None);
        }
        let found = matcher.intercept(target);
        found
            .map(|found| Proxy::of(&found).map(Arc::new))
            .transpose()
    }
}

/// A URL with its scheme in the letters in which it is known.
fn with_lower_scheme(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
        None => url.to_owned(),
    }
}

/// A proxy of the environment, which Go speaks HTTP to if it does not know the scheme.
fn with_known_scheme(url: &str) -> String {
    let url = with_lower_scheme(&with_host(url));
    let is_known = |scheme: &str| matches!(scheme, "http" | "https" | "socks5" | "socks5h");
    let is_scheme = |scheme: &str| {
        scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    match url.split_once("://") {
        Some((scheme, rest)) if !is_known(scheme) && is_scheme(scheme) => format!("http://{rest}"),
        _ => url,
    }
}

fn unsupported(proxy: &Uri) -> BoxError {
    let proxy = without_password(proxy);
    format!("can't go through the proxy {proxy}: only http, https and socks5 will do").into()
}

impl ProxyError {
    fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }

    fn dialing(proxy: &Uri, error: &(dyn std::error::Error + 'static)) -> Self {
        let host = proxy.authority().map_or("", host_and_port);
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.to_string().starts_with("dns error") {
                let host = proxy.host().unwrap_or_default();
                return Self(format!("dial tcp: lookup {host}: no such host"));
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                let words = go_words(error);
                return Self(if error.raw_os_error().is_some() {
                    let address = address(proxy).map_or(host.into(), |found| found.to_string());
                    format!("dial tcp {address}: connect: {words}")
                } else {
                    format!("dial tcp {host}: {words}")
                });
            }
            cause = error.source();
        }
        Self(format!("dial tcp {host}: {error}"))
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxyconnect tcp: {}", self.0)
    }
}

impl std::error::Error for ProxyError {}

/// A host of a URL as it is looked up: an IPv6 address without brackets, and with its zone as it is (RFC 6874 §2) where
/// that means something.
pub(crate) fn looked_up(host: &str) -> String {
    let inside = host.trim_start_matches('[').trim_end_matches(']');
    let Some((address, zone)) = inside.split_once("%25") else {
        return inside.into();
    };
    match address.parse::<Ipv6Addr>() {
        Ok(ip) if !ip.is_unicast_link_local() && !ip.is_multicast() => address.into(),
        Ok(_) => match String::from_utf8(percent_decoded(zone)) {
            Ok(zone) => format!("{address}%{zone}"),
            Err(_) => inside.into(),
        },
        Err(_) => inside.into(),
    }
}

/// Whether a host is a number, or numbers, that C takes for an IPv4 address and Go does not: in one piece, in octal, in
/// hexadecimal, or with zeros before. Readers disagree about what they mean.
fn is_odd_number(host: &str) -> bool {
    let is_number = |part: &str| match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()),
    };
    host.split('.').all(is_number) && host.parse::<IpAddr>().is_err()
}

/// The URL that a server sees: the zone is for this machine (RFC 6874 §4).
pub(super) fn without_zone(uri: &mut Uri) {
    let Some((before, after)) = uri.authority().and_then(|authority| {
        let (before, zone) = authority.as_str().split_once("%25")?;
        let (_, after) = zone.split_once(']')?;
        before.contains('[').then_some((before, after))
    }) else {
        return;
    };
    if let Ok(authority) = format!("{before}]{after}").parse() {
        replace_authority(uri, authority);
    }
}

/// Looks up hosts as they are in URLs, where the zone of an IPv6 address is escaped (RFC 6874 §2).
#[derive(Clone)]
struct Resolver(GaiResolver);

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = io::Error;
    type Future = GaiFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> GaiFuture {
        // A name that nobody has: the system would take some numbers for an address.
        const NOBODY: &str = "invalid.";
        let found = looked_up(name.as_str());
        let found = if is_odd_number(&found) {
            NOBODY
        } else {
            &found
        };
        let found = Name::from_str(found);
        self.0.call(found.unwrap_or(name))
    }
}

/// Bytes in both directions, whatever they go through.
struct Io(Box<dyn Both>);

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

impl Io {
    fn of<T: AsyncRead + AsyncWrite + Send + Unpin + 'static>(tcp: TokioIo<T>) -> Self {
        Self(Box::new(tcp.into_inner()))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// A connection to the server, for hyper.
pub(super) struct Stream {
    io: TokioIo<Io>,
    /// Whether a proxy takes the requests, and not the server.
    is_forwarded: bool,
    is_h2: bool,
}

impl Stream {
    fn new(io: Io, is_forwarded: bool, is_h2: bool) -> Self {
        // HTTP/2 has no heads of its own.
        let io = if is_h2 {
            io
        } else {
            Io(Box::new(Heads::new(io)))
        };
        Self {
            io: TokioIo::new(io),
            is_forwarded,
            is_h2,
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.is_forwarded);
        if self.is_h2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_have_schemes_that_are_known() {
        for (url, expected) in [
            ("ftp://h:1", "http://h:1"),
            (" http://h:1", " http://h:1"),
            ("HTTPS://h:1", "https://h:1"),
            ("Socks5://h", "socks5://h"),
            ("http://:8080", "http://localhost:8080"),
            ("h:1", "h:1"),
            ("", ""),
        ] {
            assert_eq!(with_known_scheme(url), expected);
        }
    }

    #[test]
    fn numbers_are_no_hosts() {
        for odd in [
            "2130706433",
            "0x7f000001",
            "127.1",
            "0177.0.0.1",
            "127.000.000.001",
            "127.0.0.256",
            "0x",
        ] {
            assert!(is_odd_number(odd), "{odd}");
        }
        for host in [
            "127.0.0.1",
            "::1",
            "1.test",
            "x",
            "0x7f.test",
            "127.0.0.1.",
            "",
        ] {
            assert!(!is_odd_number(host), "{host}");
        }
    }

    #[test]
    fn a_zone_is_for_this_machine_alone() {
        assert_eq!(looked_up("[fe80::1%25eth0]"), "fe80::1%eth0");
        assert_eq!(looked_up("[::1]"), "::1");
        assert_eq!(looked_up("[::1%25lo]"), "::1");
        assert_eq!(looked_up("a%25b"), "a%25b");
        for (zoned, plain) in [
            (
                "https://[fe80::1%25lo]:6443/api?x",
                "https://[fe80::1]:6443/api?x",
            ),
            ("https://[fe80::1%25lo]/", "https://[fe80::1]/"),
            ("https://[::1]:6443/", "https://[::1]:6443/"),
            ("https://h/%25]", "https://h/%25]"),
        ] {
            let mut uri = zoned.parse().unwrap();
            assert!(server_name(&uri).is_ok());
            without_zone(&mut uri);
            assert_eq!(uri, plain);
        }
    }
}
