//! The server behind the proxy.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use discovery_core::key;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::hop;
use crate::tls::Tls;

const CONNECT: Duration = Duration::from_secs(10);
const RESPOND: Duration = Duration::from_secs(60);

/// Sends each request on a connection of its own, once: what to do about a failure is the cache's
/// business, and then the client's.
#[derive(Clone)]
pub(crate) struct Upstream {
    target: Target,
    tls: Option<Tls>,
}

/// The URL of the server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    scheme: Scheme,
    authority: Authority,
    /// `HOST:PORT`.
    address: String,
    /// Put in front of each path.
    prefix: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    BadRequest,
    /// A tunnel was asked for.
    Tunnel,
    Connect(std::io::Error),
    Exchange(hyper::Error),
    Timeout,
}

impl Target {
    /// The host, if TLS is to be spoken to it.
    pub(crate) fn tls_host(&self) -> Option<&str> {
        (self.scheme == Scheme::HTTPS).then(|| self.authority.host().trim_matches(['[', ']']))
    }
}

impl Upstream {
    /// With TLS if the URL says so.
    pub(crate) const fn new(target: Target, tls: Option<Tls>) -> Self {
        Self { target, tls }
    }

    /// Turns a request to the proxy into one to the server.
    pub(crate) fn address<B>(&self, mut request: Request<B>) -> Result<Request<B>, Failure> {
        if request.method() == Method::CONNECT {
            return Err(Failure::Tunnel);
        }
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", PathAndQuery::as_str);
        let path = format!("{}{path}", self.target.prefix);
        let uri = Uri::builder()
            .scheme(self.target.scheme.clone())
            .authority(self.target.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|_| Failure::BadRequest)?;
        *request.uri_mut() = uri;
        // RFC 9110 §7.6.3: the protocol of the message as it came.
        let via = match request.version() {
            Version::HTTP_10 => "1.0 caching-proxy",
            _ => "1.1 caching-proxy",
        };
        let headers = request.headers_mut();
        hop::remove(headers);
        // The client's names the proxy. The cache takes one that differs from the URI for another server's.
        headers.remove(header::HOST);
        headers.append(header::VIA, HeaderValue::from_static(via));
        Ok(request)
    }
}

impl Service<Request<Incoming>> for Upstream {
    type Response = Response<Incoming>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        Box::pin(exchange(self.clone(), request))
    }
}

async fn exchange(
    Upstream { target, tls }: Upstream,
    request: Request<Incoming>,
) -> Result<Response<Incoming>, Failure> {
    let connecting = async {
        let stream = TcpStream::connect(&target.address).await?;
        Ok(match tls {
            Some(tls) => Connected::Tls(Box::new(tls.connect(stream).await?)),
            None => Connected::Plain(stream),
        })
    };
    let stream = timeout(CONNECT, connecting)
        .await
        .map_err(|_| Failure::Timeout)?
        .map_err(Failure::Connect)?;
    match stream {
        Connected::Plain(stream) => send(&target, stream, request).await,
        Connected::Tls(stream) => send(&target, *stream, request).await,
    }
}

enum Connected {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn send<IO>(
    target: &Target,
    stream: IO,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, Failure>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the server failed");
        }
    });

    let host = HeaderValue::from_str(target.authority.as_str()).map_err(|_| Failure::BadRequest)?;
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path
        .unwrap_or_else(|| PathAndQuery::from_static("/"))
        .into();
    // The proxy's own, whatever the client's is (RFC 9110 §2.5).
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    headers.insert(header::HOST, host);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let response = timeout(RESPOND, sender.send_request(request)).await;
    Ok(response.map_err(|_| Failure::Timeout)??)
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| "not a URL")?;
        let scheme = uri.scheme().cloned().ok_or("no scheme")?;
        if !["http", "https"].contains(&scheme.as_str()) {
            return Err("neither http:// nor https://");
        }
        if uri.query().is_some() {
            return Err("a query makes no sense here");
        }
        let authority = uri.authority().ok_or("no host")?.clone();
        if authority.as_str().contains('@') {
            return Err("user names are not supported");
        }
        let port = key::port(&uri).ok().flatten();
        let port = port.ok_or("the port is not a number from 0 to 65535")?;
        Ok(Self {
            scheme,
            address: format!("{}:{port}", authority.host()),
            authority,
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl Failure {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Tunnel => StatusCode::NOT_IMPLEMENTED,
            Self::Connect(_) | Self::Exchange(_) => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::Exchange(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadRequest => "the request's target is malformed",
            Self::Tunnel => "this proxy makes no tunnels",
            Self::Connect(_) => "the server can't be reached",
            Self::Exchange(_) => "the server gave no proper answer",
            Self::Timeout => "the server took too long",
        })
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Exchange(error) => Some(error),
            Self::BadRequest | Self::Tunnel | Self::Timeout => None,
        }
    }
}
