//! A server that is answered for by hand.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use discovery_core::Format;
use discovery_core::engine::Body;
use discovery_memory::{MemoryDiscovery, MemoryDiscoveryLayer};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
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
    let body = tokio_test::block_on(response.into_body().collect()).unwrap();
    String::from_utf8(body.to_bytes().into()).unwrap()
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

pub(crate) fn json(format: Format, body: &str) -> Res {
    let response = Response::builder().header(CONTENT_TYPE, format.content_type());
    response.body(body.to_owned().into()).unwrap()
}

pub(crate) fn status(code: u16) -> Res {
    Response::builder().status(code).body("no".into()).unwrap()
}

pub(crate) fn list() -> Res {
    json(
        Format::Legacy,
        r#"{"kind":"APIResourceList","resources":[{"name":"xs","kind":"X"}]}"#,
    )
}

pub(crate) fn legacy(server: &mut Handle<Req, Res>) {
    answer(
        server,
        "/api",
        json(
            Format::Legacy,
            r#"{"kind":"APIVersions","versions":["v1"]}"#,
        ),
    );
    let groups = r#"{"kind":"APIGroupList","groups":[{"name":"a","versions":[{"groupVersion":"a/v1","version":"v1"},{"groupVersion":"a/v2","version":"v2"}]}]}"#;
    answer(server, "/apis", json(Format::Legacy, groups));
}

pub(crate) fn aggregated(server: &mut Handle<Req, Res>) {
    let list = |items: &str| format!(r#"{{"kind":"APIGroupDiscoveryList","items":[{items}]}}"#);
    answer(server, "/api", json(Format::V2, &list("")));
    let versions = r#"{"version":"v1","resources":[{"resource":"xs","responseKind":{"kind":"X"},"verbs":["get"]}]},{"version":"v2","freshness":"Stale"}"#;
    let item = format!(r#"{{"metadata":{{"name":"a"}},"versions":[{versions}]}}"#);
    answer(server, "/apis", json(Format::V2, &list(&item)));
}
