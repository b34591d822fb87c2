//! A cache, a server that answers when it is told to, and callers that are polled by hand.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::Bytes;
pub(crate) use discovery_core::engine::Options;
use discovery_core::engine::{self, Cache, DiscoveryService, Engine, ParsedAnswer, Scope};
use discovery_core::store::Op;
use discovery_core::testing::{self, fixtures};
use discovery_core::{Format, Snapshot};
use http::header::ACCEPT;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use tokio_test::task::{self, Spawn};
use tower_service::Service;
use tower_test::mock::{self, Handle, Mock, SendResponse};

pub(crate) type Req = Request<Full<Bytes>>;
pub(crate) type ResBody = BoxBody<Bytes, io::Error>;
pub(crate) type Res = Response<ResBody>;
pub(crate) type Answer = Result<Response<engine::Body<ResBody>>, tower::BoxError>;
pub(crate) type Call = Spawn<Pin<Box<dyn Future<Output = Answer> + Send>>>;

/// Keeps everything until it is told not to.
#[derive(Default)]
pub(crate) struct Keep {
    pub(crate) known: Mutex<Arc<Snapshot>>,
    pub(crate) answers_unknown: bool,
    pub(crate) forgets_stale: bool,
    /// Takes until it is polled twice.
    pub(crate) slow: bool,
}

impl Keep {
    fn op<T: Send + 'static>(&self, value: T) -> Op<T> {
        if self.slow {
            Op::wait(async {
                tokio::task::yield_now().await;
                value
            })
        } else {
            Op::Ready(value)
        }
    }
}

impl Cache for Keep {
    fn name(&self) -> &'static str {
        "keep"
    }

    fn load(&self, _need: &Scope) -> Op<Arc<Snapshot>> {
        self.op(self.known.lock().unwrap().clone())
    }

    fn save(&self, found: &Arc<Snapshot>) -> Op<()> {
        Arc::make_mut(&mut *self.known.lock().unwrap()).merge(found);
        self.op(())
    }

    fn invalidate(&self) {
        *self.known.lock().unwrap() = Arc::default();
    }

    fn fresh(&self) -> bool {
        true
    }

    fn answers_unknown(&self) -> bool {
        self.answers_unknown
    }

    fn tells_stale(&self) -> bool {
        !self.forgets_stale
    }
}

pub(crate) struct Server {
    handle: Handle<Req, Res>,
}

impl Server {
    pub(crate) fn new() -> (Mock<Req, Res>, Self) {
        let (service, handle) = mock::pair();
        (service, Self { handle })
    }

    pub(crate) fn poll(&mut self) -> Option<(Req, SendResponse<Res>)> {
        match self.handle.poll_request() {
            Poll::Ready(request) => Some(request.expect("the service is there")),
            Poll::Pending => None,
        }
    }

    /// From now on the service is never ready.
    pub(crate) fn fail(&mut self, error: impl Into<tower::BoxError>) {
        self.handle.send_error(error);
    }

    /// The request that has come.
    #[track_caller]
    pub(crate) fn next(&mut self) -> (Req, SendResponse<Res>) {
        self.poll().expect("a request")
    }

    /// The request that has come, which is for this path.
    #[track_caller]
    pub(crate) fn expect(&mut self, path: &str) -> SendResponse<Res> {
        let (request, answer) = self.next();
        assert_eq!(request.uri().path(), path);
        answer
    }

    #[track_caller]
    pub(crate) fn idle(&mut self) {
        if let Some((request, _)) = self.poll() {
            panic!("a request for {}", request.uri());
        }
    }

    /// Answers the requests for the groups, which must both be there.
    #[track_caller]
    pub(crate) fn groups(&mut self, api: Res, apis: Res) {
        let (first, second) = (self.expect("/api"), self.expect("/apis"));
        first.send_response(api);
        second.send_response(apis);
    }
}

pub(crate) type TestService = DiscoveryService<Mock<Req, Res>, Keep>;

pub(crate) fn world(keep: Keep) -> (Engine<Keep>, TestService, Server) {
    let (inner, server) = Server::new();
    let engine = Engine::new(keep, Options::new());
    let service = engine.service(inner);
    (engine, service, server)
}

/// Waits until the service is ready, and calls it.
pub(crate) fn call<S>(service: &S, request: Req) -> Call
where
    S: Service<Req, Response = Response<engine::Body<ResBody>>, Error = tower::BoxError>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let mut service = service.clone();
    let future = async move {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    };
    let mut call: Call = task::spawn(Box::pin(future));
    // The first poll does all that can be done now.
    if let Poll::Ready(answer) = call.poll() {
        return task::spawn(Box::pin(std::future::ready(answer)));
    }
    call
}

#[track_caller]
pub(crate) fn pending(call: &mut Call) {
    assert!(call.poll().is_pending());
}

#[track_caller]
pub(crate) fn done(call: &mut Call) -> Response<engine::Body<ResBody>> {
    result(call).unwrap()
}

#[track_caller]
pub(crate) fn result(call: &mut Call) -> Answer {
    // A slow operation is so for one poll.
    for _ in 0..8 {
        if let Poll::Ready(answer) = call.poll() {
            return answer;
        }
    }
    panic!("no answer yet")
}

pub(crate) fn text(response: Response<engine::Body<ResBody>>) -> String {
    tokio_test::block_on(testing::read_text(response))
}

pub(crate) fn known(response: &Response<engine::Body<ResBody>>) -> &ParsedAnswer {
    response.extensions().get().expect("what it was made from")
}

pub(crate) fn get(path: &str) -> Req {
    accepting(path, "application/json")
}

pub(crate) fn accepting(path: &str, accept: &str) -> Req {
    let request = Request::get(path).header(ACCEPT, accept);
    request.body(Full::default()).unwrap()
}

pub(crate) fn full(body: impl Into<Bytes>) -> ResBody {
    Full::new(body.into())
        .map_err(|never| match never {})
        .boxed()
}

pub(crate) fn json(format: Format, body: impl Into<Bytes>) -> Res {
    fixtures::document::<Bytes>(format, body).map(full)
}

pub(crate) fn status(code: u16) -> Res {
    fixtures::status::<Bytes>(code).map(full)
}

pub(crate) const V1: &str = r#"{"kind":"APIVersions","versions":["v1"]}"#;
pub(crate) const A: &str = r#"{"kind":"APIGroupList","groups":[{"name":"a","versions":[{"groupVersion":"a/v1","version":"v1"}],"preferredVersion":{"groupVersion":"a/v1","version":"v1"}}]}"#;
pub(crate) const CORE: &str = r#"{"kind":"APIGroupDiscoveryList","items":[{"versions":[{"version":"v1","resources":[{"resource":"pods","responseKind":{"kind":"Pod"},"scope":"Namespaced","verbs":["get"]}]}]}]}"#;
/// With a group of which nothing but a stale version is known.
pub(crate) const OTHERS: &str = r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"a"},"versions":[{"version":"v1","resources":[{"resource":"xs","responseKind":{"kind":"X"},"verbs":["get"]}]}]},{"metadata":{"name":"s"},"versions":[{"version":"v1","freshness":"Stale"}]}]}"#;

pub(crate) fn list(of: &str) -> Res {
    json(Format::Legacy, fixtures::resource_list(of, &["xs"]))
}

/// Lets the service learn everything from an aggregated server.
pub(crate) fn warm(service: &TestService, server: &mut Server) {
    let mut first = call(service, get("/apis"));
    server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
    done(&mut first);
}
