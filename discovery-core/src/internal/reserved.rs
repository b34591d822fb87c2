//! A service that is called by whoever made it ready.
//!
//! tower's `poll_ready` may reserve something for the next call, such as a place under a concurrency limit. The
//! reservation belongs to the very service that was polled, not to its clones. A layer that may answer by itself is
//! therefore always ready, and makes a clone of its inner service ready only when it has a request for it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

/// Waits until `service` is ready, and returns it for the call.
///
/// # Errors
///
/// The error of the service's `poll_ready`.
///
/// ```
/// use discovery_core::internal::reserved::ready;
/// use tower_service::Service;
///
/// # tokio_test::block_on(async {
/// let mut service = tower::service_fn(|name: &'static str| async move {
///     Ok::<_, std::io::Error>(format!("hello {name}"))
/// });
/// assert_eq!(ready(&mut service).await?.call("world").await?, "hello world");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub async fn ready<S: Service<R>, R>(service: &mut S) -> Result<&mut S, S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await?;
    Ok(service)
}

pin_project! {
    /// A call that waits first until its service is ready.
    ///
    /// It owns the service, and drops it once the call has begun. Dropped before, it gives the readiness back with the
    /// service. It allocates nothing.
    ///
    /// ```
    /// use discovery_core::internal::reserved::Oneshot;
    ///
    /// # tokio_test::block_on(async {
    /// let service = tower::service_fn(|name: &'static str| async move {
    ///     Ok::<_, std::io::Error>(format!("hello {name}"))
    /// });
    /// assert_eq!(Oneshot::new(service, "world").await?, "hello world");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[must_use = "a call begins only when the future is polled"]
    pub struct Oneshot<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        state: State<S, S::Future, R>,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateTaken]
    enum State<S, F, R> {
        Waiting { service: S, request: R },
        Called { #[pin] future: F },
        Done,
    }
}

impl<S: Service<R>, R> Oneshot<S, R> {
    /// A call of `service` with `request`.
    pub const fn new(service: S, request: R) -> Self {
        Self {
            state: State::Waiting { service, request },
        }
    }
}

impl<S: Service<R>, R> Future for Oneshot<S, R> {
    type Output = Result<S::Response, S::Error>;

    /// Stays pending when it is polled again after it failed to become ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProj::Waiting { service, .. } = state.as_mut().project() {
            let is_ready = ready!(service.poll_ready(cx));
            let taken = state.as_mut().project_replace(State::Done);
            if let StateTaken::Waiting {
                mut service,
                request,
            } = taken
            {
                is_ready?;
                let future = service.call(request);
                state.set(State::Called { future });
            }
        }
        match state.project() {
            StateProj::Called { future } => future.poll(cx),
            StateProj::Waiting { .. } | StateProj::Done => Poll::Pending,
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for Oneshot<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Waiting { .. } => "Oneshot(waiting)",
            State::Called { .. } => "Oneshot(called)",
            State::Done => "Oneshot(done)",
        })
    }
}
