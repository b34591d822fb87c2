//! A slow server of the proxy's own, for a first look at what the cache does.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// How long an answer takes.
const DELAY: Duration = Duration::from_secs(1);

/// Starts a server on loopback that takes a second for each answer, and says that it is fresh for ten.
pub(crate) async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        // The proxy is its only client. One that can't be accepted now is not worth the end of the rest.
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection of the slow server failed");
                }
            });
        }
    });
    Ok(address)
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    tokio::time::sleep(DELAY).await;
    let mut response = Response::new(format!("a slow answer to {}\n", request.uri().path()));
    let headers = response.headers_mut();
    let fresh = header::HeaderValue::from_static("max-age=10");
    headers.insert(header::CACHE_CONTROL, fresh);
    Ok(response)
}
