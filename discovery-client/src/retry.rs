//! Repeats requests that the server has asked to be repeated.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<()> + Send + Sync>;

/// Repeats GET requests that the server has asked to be repeated, as client-go does: those answered
/// 429 or 5xx with a `Retry-After` in whole seconds, up to ten times each.
///
/// Other answers, and errors of the inner service, come out unchanged.
///
/// ```
/// use bytes::Bytes;
/// use discovery_client::retry::RetryAfterLayer;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio_test::block_on(async {
/// let layer = RetryAfterLayer::new().sleep(|_| Box::pin(std::future::ready(())));
/// let client = ServiceBuilder::new().layer(layer).service(service_fn(
///     |_: Request<Full<Bytes>>| async {
///         let busy = Response::builder().status(429).header("retry-after", "1");
///         Ok::<_, std::io::Error>(busy.body(()).unwrap())
///     },
/// ));
/// let response = client.oneshot(Request::get("/api").body(Full::default()).unwrap()).await?;
/// assert_eq!(response.status(), 429); // At the eleventh time.
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct RetryAfterLayer {
    max: u32,
    sleep: Sleep,
}

/// A service behind a [`RetryAfterLayer`].
#[derive(Clone)]
pub struct RetryAfter<S> {
    inner: S,
    layer: RetryAfterLayer,
}

impl RetryAfterLayer {
    /// Up to ten times, with Tokio's timer.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max: 10,
            sleep: Arc::new(|duration| Box::pin(tokio::time::sleep(duration))),
        }
    }

    /// How often a request is repeated: ten times unless set.
    #[must_use]
    pub fn max(mut self, max: u32) -> Self {
        self.max = max;
        self
    }

    /// What waits: Tokio's timer unless set.
    #[must_use]
    pub fn sleep<F>(mut self, sleep: F) -> Self
    where
        F: Fn(Duration) -> BoxFuture<()> + Send + Sync + 'static,
    {
        self.sleep = Arc::new(sleep);
        self
    }
}

/// How long the server asks to wait, if it asks for the request to be repeated.
fn retry_after<RB>(response: &Response<RB>) -> Option<Duration> {
    let status = response.status();
    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return None;
    }
    let seconds = response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

impl<S, B, RB> Service<Request<B>> for RetryAfter<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: From<Bytes> + Send + 'static,
    RB: Send,
{
    type Response = Response<RB>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Response<RB>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let spare = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, spare.clone());
        if request.method() != Method::GET {
            return Box::pin(ready.call(request));
        }
        let RetryAfterLayer { max, sleep } = self.layer.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let answer = ready.call(Request::from_parts(parts.clone(), body));
            drop(ready);
            let mut response = answer.await?;
            for attempt in 1..=max {
                let Some(wait) = retry_after(&response) else {
                    break;
                };
                tracing::debug!(status = %response.status(), ?wait, attempt, "asked to retry");
                // The connection is wanted for the next try.
                drop(response);
                sleep(wait).await;
                let mut service = spare.clone();
                poll_fn(|cx| service.poll_ready(cx)).await?;
                let answer = service.call(Request::from_parts(parts.clone(), Bytes::new().into()));
                drop(service);
                response = answer.await?;
            }
            Ok(response)
        })
    }
}

impl Default for RetryAfterLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RetryAfterLayer {
    type Service = RetryAfter<S>;

    fn layer(&self, inner: S) -> RetryAfter<S> {
        RetryAfter {
            inner,
            layer: self.clone(),
        }
    }
}

impl fmt::Debug for RetryAfterLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryAfterLayer")
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for RetryAfter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryAfter")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}
