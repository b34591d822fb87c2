//! A server that is answered for by hand.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use discovery_core::Format;
use discovery_core::engine::Body;
use discovery_core::testing::{
    self,
    fixtures::{self, Group},
};
use discovery_memory::{MemoryDiscovery, MemoryDiscoveryLayer};
use http::header::ACCEPT;
use http::{Request, Response};
use http_body_util::Full;
use tokio_test::task::{self, Spawn};
use tower::{Layer, Service};
use tower_test::mock::{self, Handle, Mock};

pub(crate) type Req = Request<Full<Bytes>>;
pub(crate) type Res = Response<Full<Bytes>>;
pub(crate) type Answer = Result<Response<Body<Full<Bytes>>>, tower::BoxError>;
pub(crate) type Call = Spawn<Pin<Box<dyn Future<Output = Answer> + Send>>>;

pub(crate) fn world(
    layer: &MemoryDiscoveryLayer,
) -> (MemoryDiscovery<Mock<Req, Res>>, Handle<Req, Res>) {
    let (inner, server) = mock::pair();
    (layer.layer(inner), server)
}

pub(crate) fn call<S>(service: &S, request: Req) -> Call
where
    S: Service<Req, Response = Response<Body<Full<Bytes>>>, Error = tower::BoxError>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let mut service = service.clone();
    let mut call: Call = task::spawn(Box::pin(async move {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    }));
    match call.poll() {
        Poll::Ready(answer) => task::spawn(Box::pin(std::future::ready(answer))),
        Poll::Pending => call,
    }
}

#[track_caller]
pub(crate) fn done(call: &mut Call) -> Response<Body<Full<Bytes>>> {
    match call.poll() {
        Poll::Ready(answer) => answer.unwrap(),
        Poll::Pending => panic!("no answer yet"),
    }
}

pub(crate) fn get(path: &str) -> Req {
    let request = Request::get(path).header(ACCEPT, "application/json");
    request.body(Full::default()).unwrap()
}

pub(crate) fn text(response: Response<Body<Full<Bytes>>>) -> String {
    tokio_test::block_on(testing::read_text(response))
}

#[track_caller]
pub(crate) fn idle(server: &mut Handle<Req, Res>) {
    assert!(server.poll_request().is_pending(), "a request");
}

/// Answers the request that has come, which is for this path.
#[track_caller]
pub(crate) fn answer(server: &mut Handle<Req, Res>, path: &str, response: Res) {
    let Poll::Ready(Some((request, answer))) = server.poll_request() else {
        panic!("no request for {path}");
    };
    assert_eq!(request.uri().path(), path);
    answer.send_response(response);
}

pub(crate) fn json(format: Format, body: impl Into<Bytes>) -> Res {
    fixtures::document(format, body)
}

pub(crate) fn status(code: u16) -> Res {
    fixtures::status(code)
}

pub(crate) fn list() -> Res {
    json(
        Format::Legacy,
        r#"{"kind":"APIResourceList","resources":[{"name":"xs","kind":"X"}]}"#,
    )
}

pub(crate) fn legacy(server: &mut Handle<Req, Res>) {
    let group = Group::new("a").version("v1", &[]).version("v2", &[]);
    let (api, apis) = (
        fixtures::api_versions(&["v1"]),
        fixtures::group_list(&[group]),
    );
    answer(server, "/api", json(Format::Legacy, api));
    answer(server, "/apis", json(Format::Legacy, apis));
}

pub(crate) fn aggregated(server: &mut Handle<Req, Res>) {
    let group = Group::new("a").version("v1", &["xs"]).stale_version("v2");
    for (path, groups) in [("/api", &[][..]), ("/apis", &[group])] {
        answer(server, path, json(Format::V2, fixtures::aggregated(groups)));
    }
}
