//! Requests whose connection ended before an answer came.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tower::ServiceExt;
use tower_service::Service;

/// How often a request is sent again, and the wait before, as in client-go.
const MOST: usize = 10;
const WAIT: Duration = Duration::from_secs(1);

/// Sends a request, and again if the connection was closed before an answer came: by a server that restarts, or a proxy
/// that has lost it. Only a GET, which changes nothing.
pub(super) async fn send<S>(
    client: S,
    request: Request<Full<Bytes>>,
) -> Result<S::Response, S::Error>
where
    S: Service<Request<Full<Bytes>>, Error: Error + 'static> + Clone,
{
    let mut left = MOST;
    loop {
        match client.clone().oneshot(request.clone()).await {
            Err(error) if left > 0 && request.method() == Method::GET && was_closed(&error) => {
                left -= 1;
                tracing::info!(%error, left, "sending again: the connection was closed");
                tokio::time::sleep(WAIT).await;
            }
            answer => return answer,
        }
    }
}

/// Whether the other side has closed the connection without an answer.
fn was_closed(error: &(dyn Error + 'static)) -> bool {
    let mut closed = false;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            closed |= error.is_incomplete_message() || error.is_canceled();
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // The other side has said why: it will say so again.
            if let Some(why) = error.get_ref()
                && why.is::<rustls::Error>()
            {
                return false;
            }
            closed |= matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
            );
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let is_graceful = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            closed |= is_graceful || error.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        cause = error.source();
    }
    closed
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The number of requests, and whether one was answered, of a server that closes so many connections.
    async fn sent(method: Method, closes: usize, kind: io::ErrorKind) -> (usize, bool) {
        sent_with(method, closes, || kind.into()).await
    }

    async fn sent_with(
        method: Method,
        closes: usize,
        error: impl Fn() -> io::Error,
    ) -> (usize, bool) {
        let count = AtomicUsize::new(0);
        let client = tower::service_fn(|_| {
            let closed = count.fetch_add(1, Ordering::Relaxed) < closes;
            std::future::ready(if closed { Err(error()) } else { Ok(()) })
        });
        let request = Request::builder()
            .method(method)
            .body(Full::default())
            .unwrap();
        let answered = send(client, request).await.is_ok();
        (count.into_inner(), answered)
    }

    #[tokio::test(start_paused = true)]
    async fn a_get_is_sent_again_up_to_ten_times() {
        let reset = io::ErrorKind::ConnectionReset;
        assert_eq!(sent(Method::GET, 0, reset).await, (1, true));
        assert_eq!(sent(Method::GET, 3, reset).await, (4, true));
        assert_eq!(sent(Method::GET, 10, reset).await, (11, true));
        assert_eq!(sent(Method::GET, 11, reset).await, (11, false));
        assert_eq!(sent(Method::POST, 1, reset).await, (1, false));
        // Nobody is there: that is not a connection that was closed.
        assert_eq!(
            sent(Method::GET, 1, io::ErrorKind::ConnectionRefused).await,
            (1, false)
        );
        // A server that refuses the certificate closes the connection, too.
        let alert = || {
            let alert = rustls::AlertDescription::CertificateRequired;
            io::Error::new(reset, rustls::Error::AlertReceived(alert))
        };
        assert_eq!(sent_with(Method::GET, 1, alert).await, (1, false));
    }
}
