use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::body::{Body, has_content};
use discovery_core::internal::reserved::Oneshot;
use discovery_core::store::Op;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::bypass::{Bypassed, Route};
use crate::cache::Cache;
use crate::fetch::{Fetch, FirstLook};
use crate::options::BoxFuture;
use crate::policy::request::Bypass;

/// Answers requests from a store, or forwards them to the service inside. Made by
/// [`HttpCacheLayer`](crate::HttpCacheLayer).
///
/// It is always ready: a response from the store needs nothing from the service inside. A request that has to be
/// forwarded waits in its future until a clone of that service is ready, and is sent by that very clone.
///
/// A hit that the store knows at once is decided in `call`, and is counted and traced when that returns. Everything else
/// happens when the future is polled; until then no other request waits for it.
pub struct HttpCache<S> {
    inner: S,
    cache: Arc<Cache>,
}

pin_project! {
    /// The future of [`HttpCache`].
    pub struct ResponseFuture<S, B, ResB>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, ResB, S::Error>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, ResB, E>
    where
        S: Service<Request<B>>,
    {
        // The cache leaves the request alone.
        Bypass {
            #[pin]
            call: Oneshot<S, Request<B>>,
            cache: Arc<Cache>,
            reason: Bypass,
        },
        // The response came from the store at once.
        Hit { response: Option<Response<Body<ResB>>> },
        // Everything else.
        Miss { fetch: BoxFuture<Result<Response<Body<ResB>>, E>> },
    }
}

impl<S> HttpCache<S> {
    pub(crate) fn new(inner: S, cache: Cache) -> Self {
        Self {
            inner,
            cache: Arc::new(cache),
        }
    }
}

impl<S, B, ResB> Service<Request<B>> for HttpCache<S>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: HttpBody + Send + 'static,
    ResB: HttpBody<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
{
    type Response = Response<Body<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, ResB>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let cache = Arc::clone(&self.cache);
        let state = match cache.route(&parts, has_content(&body)) {
            Route::Lookup(lookup) => {
                let completions = cache.state.coalescer.completions();
                let moment = cache.state.generations.moment();
                let first = match cache.store.get(&lookup.key) {
                    Op::Ready(value) => {
                        let now = cache.now();
                        let value = cache.unless_late(&lookup.key, value, moment);
                        let stored = cache.decode(&lookup.key, &lookup.method, value, now);
                        match cache.hit(stored, &lookup, &parts, now) {
                            Ok(response) => {
                                let response = Some(response);
                                return State::Hit { response }.into();
                            }
                            Err(stored) => FirstLook::Found(stored),
                        }
                    }
                    op @ Op::Wait(_) => FirstLook::Waiting(op, moment),
                };
                let fetch = Fetch {
                    inner: self.inner.clone(),
                    cache,
                    parts,
                    body,
                    lookup,
                    looked: moment,
                };
                State::Miss {
                    fetch: Box::pin(fetch.run(first, completions)),
                }
            }
            Route::Bypass(reason) => State::Bypass {
                call: Oneshot::new(self.inner.clone(), Request::from_parts(parts, body)),
                cache,
                reason,
            },
            Route::Change(change) => {
                let bypassed = Bypassed {
                    inner: self.inner.clone(),
                    cache,
                    request: Request::from_parts(parts, body),
                    change,
                };
                State::Miss {
                    fetch: Box::pin(bypassed.run()),
                }
            }
        };
        state.into()
    }
}

impl<S, B, ResB> Future for ResponseFuture<S, B, ResB>
where
    S: Service<Request<B>, Response = Response<ResB>>,
{
    type Output = Result<Response<Body<ResB>>, S::Error>;

    /// A hit stays pending when it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Hit { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            StateProj::Miss { fetch } => fetch.as_mut().poll(cx),
            StateProj::Bypass {
                call,
                cache,
                reason,
            } => call.poll(cx).map_ok(|response| {
                let mut response = response.map(Body::passed);
                let status = response.status();
                cache.mark_bypassed(*reason, status, response.headers_mut());
                response
            }),
        }
    }
}

impl<S, B, ResB> From<State<S, B, ResB, S::Error>> for ResponseFuture<S, B, ResB>
where
    S: Service<Request<B>>,
{
    fn from(state: State<S, B, ResB, S::Error>) -> Self {
        Self { state }
    }
}

impl<S: Clone> Clone for HttpCache<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            cache: Arc::clone(&self.cache),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for HttpCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, ResB> fmt::Debug for ResponseFuture<S, B, ResB>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Bypass { .. } => "ResponseFuture(bypass)",
            State::Hit { .. } => "ResponseFuture(hit)",
            State::Miss { .. } => "ResponseFuture(miss)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use discovery_core::store::{MapStore, PutOptions, Store, Value, Writer};
    use discovery_core::sync::clock::ManualClock;
    use discovery_core::testing::ManualExecutor;
    use http::Method;
    use http_body::Frame;
    use http_body_util::Empty;
    use tokio_test::task::{self, Spawn};
    use tower::{Layer, ServiceExt};
    use tower_test::mock::{self, Handle, Mock, SendResponse};

    use super::*;
    use crate::HttpCacheLayer;

    type Req = Request<Empty<Bytes>>;
    type Res = Response<Pieces>;

    /// A body that brings these pieces and then ends as told.
    struct Pieces(VecDeque<&'static str>, End);

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum End {
        Whole,
        Cut,
        Stalled,
        Panic,
    }

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            match (self.0.pop_front(), self.1) {
                (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
                (None, End::Whole) => Poll::Ready(None),
                (None, End::Cut) => Poll::Ready(Some(Err("cut".into()))),
                (None, End::Stalled) => Poll::Pending,
                (None, End::Panic) => panic!("the body panics"),
            }
        }
    }

    /// A store whose writes panic.
    struct Panicking(MapStore);

    impl Store for Panicking {
        fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
            self.0.get(key)
        }

        fn put_with(&self, _: &str, _: Value, _: PutOptions) -> Op<io::Result<()>> {
            panic!("the store panics")
        }

        fn create_with(&self, _: &str, _: Bytes, _: PutOptions) -> Op<io::Result<Box<dyn Writer>>> {
            panic!("the store panics")
        }

        fn remove(&self, key: &str) -> Op<io::Result<()>> {
            self.0.remove(key)
        }
    }

    type Task = Spawn<tower::util::Oneshot<HttpCache<Mock<Req, Res>>, Req>>;

    struct Rig {
        service: HttpCache<Mock<Req, Res>>,
        handle: Handle<Req, Res>,
        clock: ManualClock,
        later: ManualExecutor,
    }

    impl Rig {
        fn new(store: impl Store) -> Self {
            let now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_302_600);
            let clock = ManualClock::new(now);
            let later = ManualExecutor::new();
            let layer = HttpCacheLayer::new(store)
                .clock(clock.clone())
                .executor(later.clone())
                .max_body_size(64);
            let (inner, handle) = mock::pair();
            Self {
                service: layer.layer(inner),
                handle,
                clock,
                later,
            }
        }

        fn send(&self, method: Method) -> Task {
            let request = Request::builder().method(method).uri("https://h/a");
            let request = request.body(Empty::new()).unwrap();
            task::spawn(self.service.clone().oneshot(request))
        }

        fn begin(&self, method: Method) -> Task {
            let mut task = self.send(method);
            assert!(task.poll().is_pending());
            task
        }

        fn next(&mut self) -> SendResponse<Res> {
            match task::spawn(self.handle.next_request()).poll() {
                Poll::Ready(Some((_, send))) => send,
                _ => panic!("no request is with the server"),
            }
        }

        /// Flights, bodies, refreshes and generations.
        fn counts(&self) -> [usize; 4] {
            let state = &self.service.cache.state;
            let [flights, bodies, refreshes] = state.coalescer.counts();
            [flights, bodies, refreshes, state.generations.len()]
        }
    }

    fn answer(status: u16, cc: &str, pieces: &[&'static str], end: End) -> Res {
        let response = Response::builder().status(status);
        let response = response.header("cache-control", cc).header("etag", "\"1\"");
        response
            .body(Pieces(pieces.iter().copied().collect(), end))
            .unwrap()
    }

    fn read(response: Response<Body<Pieces>>) {
        let mut body = Box::pin(response.into_body());
        let read = || {
            let cx = &mut Context::from_waker(std::task::Waker::noop());
            while let Poll::Ready(Some(Ok(_))) = body.as_mut().poll_frame(cx) {}
        };
        let _ = catch_unwind(AssertUnwindSafe(read));
    }

    const FRESH: &str = "max-age=10, stale-while-revalidate=60";

    #[test]
    fn every_end_of_a_response_leaves_the_tables_empty() {
        let long = ["0123456789"; 9];
        let table: [(u16, &str, &[&str]); 6] = [
            (200, FRESH, &["abc", "def"]),
            (200, FRESH, &[]),
            (200, FRESH, &long),
            (200, "no-store", &["abc"]),
            (200, "no-cache", &["abc"]),
            (503, "no-store", &["abc"]),
        ];
        for (status, cc, pieces) in table {
            for end in [End::Whole, End::Cut, End::Stalled, End::Panic] {
                for method in [Method::GET, Method::HEAD] {
                    for panics in [false, true] {
                        for followers in [0, 2] {
                            let mut rig = if panics {
                                Rig::new(Panicking(MapStore::new()))
                            } else {
                                Rig::new(MapStore::new())
                            };
                            let mut tasks: Vec<_> =
                                (0..=followers).map(|_| rig.begin(method.clone())).collect();
                            rig.next().send_response(answer(status, cc, pieces, end));
                            for task in &mut tasks {
                                let polled = catch_unwind(AssertUnwindSafe(|| task.poll()));
                                if let Ok(Poll::Ready(Ok(response))) = polled {
                                    read(response);
                                }
                            }
                            drop(tasks);
                            let what =
                                format!("{status} {cc} {pieces:?} {end:?} {method} {panics}");
                            assert_eq!(rig.counts(), [0; 4], "{what} {followers}");
                        }
                    }
                }
            }
        }
    }

    /// The first `gone` of four callers leave, before or after the head has come, without reading on.
    #[test]
    fn callers_that_leave_at_any_moment_leave_the_tables_empty() {
        for has_come in [false, true] {
            for gone in [&[0][..], &[1], &[0, 1], &[3, 0], &[0, 1, 2, 3]] {
                for fails in [false, true] {
                    let mut rig = Rig::new(MapStore::new());
                    let mut tasks: Vec<_> = (0..4).map(|_| Some(rig.begin(Method::GET))).collect();
                    let mut send = Some(rig.next());
                    let stalled = || answer(200, FRESH, &["abc"], End::Stalled);
                    let mut responses = Vec::new();
                    if has_come {
                        send.take().unwrap().send_response(stalled());
                        for task in tasks.iter_mut().flatten() {
                            let Poll::Ready(Ok(response)) = task.poll() else {
                                panic!("all get the head")
                            };
                            responses.push(Some(response));
                        }
                    }
                    for place in gone {
                        tasks[*place] = None;
                        if let Some(response) = responses.get_mut(*place) {
                            *response = None;
                        }
                    }
                    for task in tasks.iter_mut().flatten().filter(|_| !has_come) {
                        let _ = task.poll();
                    }
                    if let Some(send) = send {
                        if fails {
                            send.send_error("refused");
                        } else {
                            send.send_response(stalled());
                        }
                    }
                    for task in tasks.iter_mut().flatten().filter(|_| !has_come) {
                        if let Poll::Ready(Ok(response)) = task.poll() {
                            responses.push(Some(response));
                        }
                    }
                    responses.into_iter().flatten().for_each(read);
                    drop(tasks);
                    assert_eq!(rig.counts(), [0; 4], "{has_come} {gone:?} {fails}");
                }
            }
        }
    }

    #[test]
    fn background_refreshes_and_changes_leave_the_tables_empty() {
        for end in [Some(End::Whole), Some(End::Cut), Some(End::Stalled), None] {
            for status in [200, 304, 503] {
                for changes in [false, true] {
                    let mut rig = Rig::new(MapStore::new());
                    let mut first = rig.begin(Method::GET);
                    rig.next()
                        .send_response(answer(200, FRESH, &["one"], End::Whole));
                    let Poll::Ready(Ok(response)) = first.poll() else {
                        panic!("it has been answered")
                    };
                    read(response);
                    drop(first);
                    rig.clock.advance(Duration::from_secs(20));
                    assert!(rig.send(Method::GET).poll().is_ready());
                    let refresh = rig.later.take().pop().unwrap();
                    let mut refresh = task::spawn(refresh);
                    assert!(refresh.poll().is_pending());
                    let send = rig.next();
                    if changes {
                        let mut put = rig.begin(Method::PUT);
                        rig.next()
                            .send_response(answer(200, "no-store", &[], End::Whole));
                        assert!(put.poll().is_ready());
                    }
                    if let Some(end) = end {
                        send.send_response(answer(status, FRESH, &["two"], end));
                        let _ = refresh.poll();
                    }
                    drop(refresh);
                    assert_eq!(rig.counts(), [0; 4], "{end:?} {status} {changes}");
                }
            }
        }
    }

    #[test]
    fn the_lists_of_variants_in_memory_are_bounded() {
        let mut rig = Rig::new(MapStore::new());
        for n in 0..1100 {
            for accept in ["a", "b"] {
                let request = Request::get(format!("https://h/{n}")).header("accept", accept);
                let request = request.body(Empty::new()).unwrap();
                let mut task = task::spawn(rig.service.clone().oneshot(request));
                assert!(task.poll().is_pending());
                let mut response = answer(200, FRESH, &["x"], End::Whole);
                let vary = http::HeaderValue::from_static("accept");
                response.headers_mut().insert("vary", vary);
                rig.next().send_response(response);
                assert!(task.poll().is_ready());
            }
        }
        let lists = rig.service.cache.state.variants.lock().unwrap().len();
        assert_eq!(lists, 1024);
    }
}
