//! The server behind the proxy.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::ServiceExt;
use tower_service::Service;

use crate::hop;
use crate::read_timeout::Stalled;
use crate::tls::trusting_nobody;

/// Limit for making a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// An unused connection is kept for this time. Common servers keep it longer (Node.js 5 s); a request
/// that is sent while the server closes the connection fails.
const IDLE: Duration = Duration::from_secs(4);

/// Sends each request once, over HTTP/1.1 and on pooled connections. The cache decides what a failure
/// means, and then the client.
pub(crate) struct Upstream<B> {
    client: Client<Connector, B>,
}

/// The URL of the server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    scheme: Scheme,
    authority: Authority,
    /// Put in front of each path.
    prefix: String,
}

/// The reason why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    BadRequest,
    /// The client asked for a tunnel.
    Tunnel,
    Connect(legacy::Error),
    Exchange(legacy::Error),
    Timeout,
}

/// Makes connections, within [`CONNECT`].
#[derive(Clone)]
pub(crate) struct Connector(HttpsConnector<HttpConnector>);

impl Target {
    /// Whether TLS is spoken to the server.
    pub(crate) fn has_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Turns a request to the proxy into one to the server.
    ///
    /// `Host` names the server and not the proxy, and a body of unknown length is announced, whatever
    /// the method: the cache, and the client below it, take a GET without such a field for one
    /// without a body.
    pub(crate) fn address<B: Body>(&self, mut request: Request<B>) -> Result<Request<B>, Failure> {
        if request.method() == Method::CONNECT {
            return Err(Failure::Tunnel);
        }
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", PathAndQuery::as_str);
        let path = format!("{}{path}", self.prefix);
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|_| Failure::BadRequest)?;
        *request.uri_mut() = uri;
        let host = HeaderValue::from_str(self.authority.as_str());
        let host = host.map_err(|_| Failure::BadRequest)?;
        // RFC 9110 §7.6.3: the protocol of the message as it came.
        let via = match request.version() {
            Version::HTTP_10 => "1.0 caching-proxy",
            _ => "1.1 caching-proxy",
        };
        let body = request.body();
        let is_chunked = !body.is_end_stream() && body.size_hint().exact().is_none();
        let headers = request.headers_mut();
        hop::remove(headers);
        headers.insert(header::HOST, host);
        headers.append(header::VIA, HeaderValue::from_static(via));
        if is_chunked {
            let chunked = HeaderValue::from_static("chunked");
            headers.insert(header::TRANSFER_ENCODING, chunked);
        }
        Ok(request)
    }
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// A client that trusts servers by `tls`, and without it speaks TLS to none.
    pub(crate) fn new(tls: Option<ClientConfig>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tls = tls.unwrap_or_else(trusting_nobody);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(Connector(connector));
        Self { client }
    }
}

impl<B> Clone for Upstream<B> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
        }
    }
}

impl<B> Service<Request<B>> for Upstream<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<Incoming>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The proxy's own, whatever the client's is (RFC 9110 §2.5).
        *request.version_mut() = Version::HTTP_11;
        let exchange = self.client.request(request);
        Box::pin(async move {
            let mut response = exchange.await?;
            // Before the cache stores them, and before they are taken for ours.
            hop::remove(response.headers_mut());
            Ok(response)
        })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.clone().oneshot(uri);
        Box::pin(async move {
            let connected = timeout(CONNECT, connecting).await;
            connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        })
    }
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| "not a URL")?;
        let scheme = uri.scheme().cloned().ok_or("no scheme")?;
        if ![Scheme::HTTP, Scheme::HTTPS].contains(&scheme) {
            return Err("neither http:// nor https://");
        }
        if uri.query().is_some() {
            return Err("a query makes no sense here");
        }
        let authority = uri.authority().ok_or("no host")?.clone();
        if authority.as_str().contains('@') {
            return Err("user names are not supported");
        }
        uri::port(&uri).map_err(|_| "the port is not a number from 0 to 65535")?;
        Ok(Self {
            scheme,
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

impl From<legacy::Error> for Failure {
    fn from(error: legacy::Error) -> Self {
        if !error.is_connect() {
            return Self::Exchange(error);
        }
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(cause) = cause.downcast_ref::<io::Error>()
                && cause.kind() == io::ErrorKind::TimedOut
            {
                return Self::Timeout;
            }
            source = cause.source();
        }
        Self::Connect(error)
    }
}

impl From<Stalled> for Failure {
    fn from(_: Stalled) -> Self {
        Self::Timeout
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
            Self::Connect(error) | Self::Exchange(error) => Some(error),
            Self::BadRequest | Self::Tunnel | Self::Timeout => None,
        }
    }
}
