use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use tower_service::Service;

use super::{BodyScript, Gate, TestError};

/// A server that answers as the test has told it, and remembers what it was asked. Clones are the
/// same server.
///
/// Answers are given in order ([`respond`](Self::respond), [`fail`](Self::fail)), or by path
/// ([`respond_at`](Self::respond_at)), or made for each request ([`fallback`](Self::fallback)); the
/// first of these that has an answer gives it. `ResB` is the body of the answers, and `E` the error
/// of the server. [`new`](Self::new) makes a server with the kit's own types, and `default` one with
/// others.
///
/// It keeps callers to tower's contract: a call without a `poll_ready` that was ready panics, and a
/// clone is not ready because its original was.
///
/// Tests that decide about an answer when they have seen the request may prefer `tower_test::mock`.
///
/// ```
/// use discovery_core::testing::{self, ScriptedService, TestError};
/// use http::{Request, Response};
/// use tower::ServiceExt;
///
/// # tokio_test::block_on(async {
/// let server = ScriptedService::new();
/// server.respond(Response::new("first"));
/// server.fail(TestError("connection refused"));
///
/// let get = |uri| server.clone().oneshot(Request::get(uri).body(()).unwrap());
/// assert_eq!(testing::read_text(get("/a").await.unwrap()).await, "first");
/// assert_eq!(get("/b").await.unwrap_err(), TestError("connection refused"));
/// assert_eq!(server.take_paths(), ["/a", "/b"]);
/// # });
/// ```
pub struct ScriptedService<ResB = BodyScript, E = TestError> {
    script: Arc<Mutex<Script<ResB, E>>>,
    ready: bool,
}

type Answer<ResB, E> = Result<Response<ResB>, E>;
type Make<ResB, E> = Arc<dyn Fn(&Request<()>) -> Answer<ResB, E> + Send + Sync>;

struct Script<ResB, E> {
    answers: VecDeque<Answer<ResB, E>>,
    by_path: BTreeMap<String, Make<ResB, E>>,
    fallback: Option<Make<ResB, E>>,
    answer_gate: Option<Gate>,
    ready_gate: Option<Gate>,
    ready_errors: VecDeque<E>,
    requests: Vec<Request<()>>,
}

impl ScriptedService {
    /// A server without any answer, with the kit's own body and error.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<ResB, E> ScriptedService<ResB, E> {
    /// Answers one request with `response`, after those that were told before.
    pub fn respond(&self, response: Response<impl Into<ResB>>) {
        self.lock().answers.push_back(Ok(response.map(Into::into)));
    }

    /// Fails one request, after the answers that were told before.
    pub fn fail(&self, error: E) {
        self.lock().answers.push_back(Err(error));
    }

    /// Answers every request for `path`, which is compared without the query, unless an answer is
    /// given in order. A second call for the same path replaces the first one's answer.
    ///
    /// ```
    /// use discovery_core::testing::{self, ScriptedService};
    /// use http::{Request, Response};
    /// use tower::ServiceExt;
    ///
    /// # tokio_test::block_on(async {
    /// let server = ScriptedService::new();
    /// server.respond_at("/version", |_| Response::new("1.37".into()));
    /// for uri in ["/version", "http://h/version?timeout=32s"] {
    ///     let request = Request::get(uri).body(()).unwrap();
    ///     let response = server.clone().oneshot(request).await.unwrap();
    ///     assert_eq!(testing::read_text(response).await, "1.37");
    /// }
    /// # });
    /// ```
    pub fn respond_at(
        &self,
        path: impl Into<String>,
        make: impl Fn(&Request<()>) -> Response<ResB> + Send + Sync + 'static,
    ) {
        let make: Make<ResB, E> = Arc::new(move |request| Ok(make(request)));
        self.lock().by_path.insert(path.into(), make);
    }

    /// Answers every request for which nothing else was told.
    ///
    /// ```
    /// use discovery_core::testing::{ScriptedService, TestError};
    /// use http::{Request, Response};
    /// use tower::ServiceExt;
    ///
    /// # tokio_test::block_on(async {
    /// let server = ScriptedService::new();
    /// server.fallback(|request| match request.method().is_safe() {
    ///     true => Ok(Response::new("read".into())),
    ///     false => Err(TestError("nobody may write")),
    /// });
    /// let get = Request::get("/").body(()).unwrap();
    /// let post = Request::post("/").body(()).unwrap();
    /// assert!(server.clone().oneshot(get).await.is_ok());
    /// assert!(server.clone().oneshot(post).await.is_err());
    /// # });
    /// ```
    pub fn fallback(
        &self,
        make: impl Fn(&Request<()>) -> Result<Response<ResB>, E> + Send + Sync + 'static,
    ) {
        self.lock().fallback = Some(Arc::new(make));
    }

    /// Holds back the answers to requests that come from now on, until the gate is open. The requests
    /// are remembered when they come.
    ///
    /// ```
    /// use discovery_core::testing::{Gate, ScriptedService};
    /// use http::{Request, Response};
    /// use tower::ServiceExt;
    ///
    /// let (server, gate) = (ScriptedService::new(), Gate::new());
    /// server.hold_answers(&gate);
    /// server.respond(Response::new("late"));
    /// let request = Request::get("/").body(()).unwrap();
    /// let mut call = tokio_test::task::spawn(server.clone().oneshot(request));
    /// assert!(call.poll().is_pending());
    /// assert_eq!(server.request_count(), 1);
    /// gate.open();
    /// assert!(call.is_woken() && call.poll().is_ready());
    /// ```
    pub fn hold_answers(&self, gate: &Gate) {
        self.lock().answer_gate = Some(gate.clone());
    }

    /// Lets the server be not ready until the gate is open.
    ///
    /// ```
    /// use discovery_core::testing::{Gate, ScriptedService};
    /// use tower::{Service, ServiceExt};
    ///
    /// let (mut server, gate) = (ScriptedService::new(), Gate::new());
    /// server.hold_readiness(&gate);
    /// let mut ready = tokio_test::task::spawn(ServiceExt::<http::Request<()>>::ready(&mut server));
    /// assert!(ready.poll().is_pending());
    /// gate.open();
    /// assert!(ready.poll().is_ready());
    /// ```
    pub fn hold_readiness(&self, gate: &Gate) {
        self.lock().ready_gate = Some(gate.clone());
    }

    /// Fails the next `poll_ready` of any clone.
    ///
    /// ```
    /// use discovery_core::testing::{ScriptedService, TestError};
    /// use http::Request;
    /// use tower::ServiceExt;
    ///
    /// let server = ScriptedService::new();
    /// server.fail_readiness(TestError("overloaded"));
    /// let request = Request::get("/").body(()).unwrap();
    /// let call = tokio_test::block_on(server.clone().oneshot(request));
    /// assert_eq!(call.unwrap_err(), TestError("overloaded"));
    /// assert_eq!(server.request_count(), 0);
    /// ```
    pub fn fail_readiness(&self, error: E) {
        self.lock().ready_errors.push_back(error);
    }

    /// The number of requests that have come since the last [`take_requests`](Self::take_requests).
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.lock().requests.len()
    }

    /// The requests since the last [`take_requests`](Self::take_requests), without their bodies.
    #[must_use]
    pub fn requests(&self) -> Vec<Request<()>> {
        self.lock().requests.clone()
    }

    /// The last request, without its body.
    #[must_use]
    pub fn last_request(&self) -> Option<Request<()>> {
        self.lock().requests.last().cloned()
    }

    /// The requests since the last call, without their bodies.
    pub fn take_requests(&self) -> Vec<Request<()>> {
        std::mem::take(&mut self.lock().requests)
    }

    /// The paths of [`take_requests`](Self::take_requests), without queries.
    pub fn take_paths(&self) -> Vec<String> {
        let requests = self.take_requests();
        let paths = requests.iter().map(|request| request.uri().path());
        paths.map(str::to_owned).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Script<ResB, E>> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<ResB, E> Default for ScriptedService<ResB, E> {
    fn default() -> Self {
        let script = Script {
            answers: VecDeque::new(),
            by_path: BTreeMap::new(),
            fallback: None,
            answer_gate: None,
            ready_gate: None,
            ready_errors: VecDeque::new(),
            requests: Vec::new(),
        };
        Self {
            script: Arc::new(Mutex::new(script)),
            ready: false,
        }
    }
}

impl<ResB, E> Clone for ScriptedService<ResB, E> {
    /// The same server. The clone has to be made ready by itself.
    fn clone(&self) -> Self {
        Self {
            script: Arc::clone(&self.script),
            ready: false,
        }
    }
}

impl<ResB, E> fmt::Debug for ScriptedService<ResB, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let script = self.lock();
        f.debug_struct("ScriptedService")
            .field("answers", &script.answers.len())
            .field("requests", &script.requests)
            .finish_non_exhaustive()
    }
}

impl<B, ResB, E> Service<Request<B>> for ScriptedService<ResB, E> {
    type Response = Response<ResB>;
    type Error = E;
    type Future = ResponseFuture<ResB, E>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let gate = {
            let mut script = self.lock();
            if let Some(error) = script.ready_errors.pop_front() {
                return Poll::Ready(Err(error));
            }
            script.ready_gate.clone()
        };
        if let Some(gate) = gate {
            ready!(gate.poll_open(cx));
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    /// # Panics
    ///
    /// When this clone was not made ready, or has no answer for the request.
    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(
            std::mem::replace(&mut self.ready, false),
            "the service was called before it was ready"
        );
        let request = request.map(drop);
        let (next, gate) = {
            let mut script = self.lock();
            script.requests.push(request.clone());
            let next = script.answers.pop_front().ok_or_else(|| {
                let make = script.by_path.get(request.uri().path());
                make.or(script.fallback.as_ref()).cloned()
            });
            (next, script.answer_gate.clone())
        };
        let answer = match next {
            Ok(answer) => answer,
            Err(Some(make)) => make(&request),
            Err(None) => panic!("the server has no answer for {request:?}"),
        };
        ResponseFuture {
            answer: Some(answer),
            gate,
        }
    }
}

/// The answer of a [`ScriptedService`], where an example is.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<ResB, E> {
    answer: Option<Answer<ResB, E>>,
    gate: Option<Gate>,
}

// No field is pinned.
impl<ResB, E> Unpin for ResponseFuture<ResB, E> {}

impl<ResB, E> Future for ResponseFuture<ResB, E> {
    type Output = Result<Response<ResB>, E>;

    /// # Panics
    ///
    /// When polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(gate) = &self.gate {
            ready!(gate.poll_open(cx));
        }
        Poll::Ready(self.answer.take().expect("polled after it was ready"))
    }
}

impl<ResB, E> fmt::Debug for ResponseFuture<ResB, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}
