//! A limit on how long the upstream server may send nothing.
//!
//! tower-http's `TimeoutBody` would fail a body that has data when its reader comes late, because it
//! looks at the clock first, and it forgets the size of the body that it wraps.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use discovery_core::BoxError;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep, timeout};
use tower::Layer;
use tower_service::Service;

/// Ends an exchange in which the server sends nothing for a time: neither the head of its response,
/// nor the next part of the body.
///
/// The time for the head begins anew as long as the request's body is still being sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadTimeoutLayer {
    limit: Option<Duration>,
}

/// A service behind a [`ReadTimeoutLayer`].
#[derive(Clone, Debug)]
pub(crate) struct ReadTimeout<S> {
    inner: S,
    limit: Option<Duration>,
}

/// A request body that counts its frames.
#[derive(Debug)]
pub(crate) struct Upload<B> {
    body: B,
    frames: Arc<AtomicU64>,
}

/// A response body that fails when its next frame takes too long.
#[derive(Debug)]
pub(crate) struct ReadTimeoutBody<B> {
    body: B,
    limit: Option<Duration>,
    /// Runs while a reader waits for a frame.
    sleep: Option<Pin<Box<Sleep>>>,
    has_failed: bool,
}

/// The server has sent nothing for too long.
#[derive(Debug)]
pub(crate) struct Stalled;

impl ReadTimeoutLayer {
    /// Without a limit, the layer changes nothing.
    pub(crate) const fn new(limit: Option<Duration>) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for ReadTimeoutLayer {
    type Service = ReadTimeout<S>;

    fn layer(&self, inner: S) -> ReadTimeout<S> {
        ReadTimeout {
            inner,
            limit: self.limit,
        }
    }
}

impl<S, B, ResB> Service<Request<B>> for ReadTimeout<S>
where
    S: Service<Request<Upload<B>>, Response = Response<ResB>, Error: From<Stalled>>,
    S::Future: Send + 'static,
{
    type Response = Response<ReadTimeoutBody<ResB>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let limit = self.limit;
        let frames = Arc::<AtomicU64>::default();
        let exchange = self.inner.call(request.map(|body| Upload {
            body,
            frames: Arc::clone(&frames),
        }));
        Box::pin(async move {
            let response = head(exchange, limit, &frames).await?;
            Ok(response.map(|body| ReadTimeoutBody {
                body,
                limit,
                sleep: None,
                has_failed: false,
            }))
        })
    }
}

/// Waits for the head of a response.
async fn head<T, E: From<Stalled>>(
    exchange: impl Future<Output = Result<T, E>>,
    limit: Option<Duration>,
    sent: &AtomicU64,
) -> Result<T, E> {
    let Some(limit) = limit else {
        return exchange.await;
    };
    let mut exchange = pin!(exchange);
    loop {
        let before = sent.load(Ordering::Relaxed);
        match timeout(limit, exchange.as_mut()).await {
            Ok(result) => return result,
            Err(_) if sent.load(Ordering::Relaxed) != before => {}
            Err(_) => return Err(Stalled.into()),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Upload<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let poll = Pin::new(&mut self.body).poll_frame(cx);
        if poll.is_ready() {
            self.frames.fetch_add(1, Ordering::Relaxed);
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Body for ReadTimeoutBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.has_failed {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.sleep = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(limit) = self.limit else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.has_failed = true;
        Poll::Ready(Some(Err(Stalled.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server has sent nothing for too long")
    }
}

impl Error for Stalled {}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::pending;

    use http_body_util::{BodyExt, Full};
    use tokio::time::Instant;
    use tower::{ServiceExt, service_fn};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// A body whose frames come after pauses, and which then stalls.
    struct Slow {
        pauses: VecDeque<Duration>,
        sleep: Option<Pin<Box<Sleep>>>,
    }

    impl Slow {
        fn new(seconds: &[u64]) -> Self {
            Self {
                pauses: seconds.iter().copied().map(Duration::from_secs).collect(),
                sleep: None,
            }
        }
    }

    impl Body for Slow {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            let Some(pause) = self.pauses.front().copied() else {
                return Poll::Pending;
            };
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(pause)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
            self.pauses.pop_front();
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(1000)
        }
    }

    async fn answer<B>(
        body: B,
        limit: Option<Duration>,
    ) -> Result<Response<ReadTimeoutBody<B>>, BoxError>
    where
        B: Send + 'static,
    {
        let mut body = Some(body);
        let server = service_fn(move |_: Request<Upload<Full<Bytes>>>| {
            let body = body.take().expect("one request");
            async move { Ok::<_, BoxError>(Response::new(body)) }
        });
        let service = ReadTimeoutLayer::new(limit).layer(server);
        service.oneshot(Request::new(Full::default())).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_fails_after_the_limit() {
        let started = Instant::now();
        let mut body = answer(Slow::new(&[29, 29]), Some(LIMIT))
            .await
            .unwrap()
            .into_body();
        assert_eq!(body.size_hint().exact(), Some(1000));
        for _ in 0..2 {
            assert!(body.frame().await.unwrap().unwrap().is_data());
        }
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.is::<Stalled>(), "{error}");
        assert_eq!(started.elapsed(), 2 * Duration::from_secs(29) + LIMIT);
        // It has not come to its end.
        assert!(!body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_comes_late_gets_what_has_come() {
        let mut body = answer(Slow::new(&[1]), Some(LIMIT))
            .await
            .unwrap()
            .into_body();
        // A reader that asks once, and then is busy for longer than the limit.
        let asked = timeout(Duration::ZERO, body.frame()).await;
        assert!(asked.is_err());
        sleep(2 * LIMIT).await;
        assert!(body.frame().await.unwrap().unwrap().is_data());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_it_waits() {
        let mut body = answer(Slow::new(&[3600]), None).await.unwrap().into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        let silent = service_fn(|_: Request<Upload<Full<Bytes>>>| async {
            sleep(Duration::from_secs(3600)).await;
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
        });
        let service = ReadTimeoutLayer::new(None).layer(silent);
        service
            .oneshot(Request::new(Full::default()))
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_fails_after_the_limit() {
        let started = Instant::now();
        let silent = service_fn(|_: Request<Upload<Full<Bytes>>>| {
            pending::<Result<Response<Full<Bytes>>, BoxError>>()
        });
        let service = ReadTimeoutLayer::new(Some(LIMIT)).layer(silent);
        let error = service
            .oneshot(Request::new(Full::default()))
            .await
            .unwrap_err();
        assert!(error.is::<Stalled>(), "{error}");
        assert_eq!(started.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_may_wait_for_a_long_upload() {
        let started = Instant::now();
        // The server answers when it has read the whole request, and here never does.
        let server = service_fn(|request: Request<Upload<Slow>>| async move {
            let mut body = request.into_body();
            while body.frame().await.is_some() {}
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
        });
        let service = ReadTimeoutLayer::new(Some(LIMIT)).layer(server);
        let error = service
            .oneshot(Request::new(Slow::new(&[20; 6])))
            .await
            .unwrap_err();
        assert!(error.is::<Stalled>(), "{error}");
        let elapsed = started.elapsed();
        assert!((120..=180).contains(&elapsed.as_secs()), "{elapsed:?}");
    }
}
