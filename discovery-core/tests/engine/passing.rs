//! Requests that pass the cache.

use std::task::Poll;

use discovery_core::engine::{Engine, Refresh};
use discovery_core::testing::{BodyScript, Gate};
use discovery_core::{Accept, Format};
use http::header::{
    ACCEPT, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};

use crate::tools::*;

#[derive(Clone, Debug, PartialEq)]
struct Mark(u8);

fn request(method: Method, path: &str) -> Req {
    let body = content_of(&method);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(ACCEPT, "application/json");
    request
        .header("x-own", "1")
        .extension(Mark(1))
        .body(Full::from(body))
        .unwrap()
}

/// A GET request with content would pass for that alone.
fn content_of(method: &Method) -> &'static str {
    if method == Method::GET { "" } else { "request" }
}

#[track_caller]
fn passes(service: &TestService, server: &mut Server, request: Req) {
    let content = content_of(request.method());
    passes_with(service, server, request, content);
}

#[track_caller]
fn passes_with(service: &TestService, server: &mut Server, request: Req, content: &str) {
    let (method, uri, headers) = (
        request.method().clone(),
        request.uri().clone(),
        request.headers().clone(),
    );
    let mut call = call(service, request);
    let (arrived, answer) = server.next();
    assert_eq!(
        (arrived.method(), arrived.uri(), arrived.headers()),
        (&method, &uri, &headers)
    );
    assert_eq!(arrived.extensions().get(), Some(&Mark(1)));
    let body = tokio_test::block_on(arrived.into_body().collect())
        .unwrap()
        .to_bytes();
    assert_eq!(body, content);
    server.idle();
    let response = Response::builder()
        .status(418)
        .header("x-own", "2")
        .extension(Mark(2));
    answer.send_response(response.body(full("response")).unwrap());
    let response = done(&mut call);
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-own"]),
        (418, &"2".parse().unwrap())
    );
    assert_eq!(response.headers().len(), 1);
    assert_eq!(response.extensions().get(), Some(&Mark(2)));
    assert_eq!(response.body().size_hint().exact(), Some(8));
    assert_eq!(text(response), "response");
}

#[test]
fn requests_that_are_not_discovery_pass_untouched() {
    let (engine, service, mut server) = world(Keep::default());
    // Knowing everything is no reason to meddle.
    warm(&service, &mut server);
    let mut requests = Vec::new();
    for method in [
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ] {
        for path in ["/api", "/apis", "/apis/a", "/apis/a/v1"] {
            requests.push(request(method.clone(), path));
        }
    }
    for path in [
        "/",
        "/api/",
        "/apis/",
        "/api/v1/",
        "/apis/a/",
        "/apis/a/v1/",
        "/version",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/api/v1",
        "/healthz",
        "/api/v1/pods",
        "/api/v1/pods?watch=true",
        "/api/v1/namespaces/x/secrets/y",
        "/apis/a/v1/xs?watch=1",
        "/api/v1/watch/pods",
        "/apis/..",
        "/apis/a/..",
        "/api/%76%31",
        "//apis",
        "/apis//v1",
    ] {
        requests.push(request(Method::GET, path));
    }
    for name in [
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_MATCH,
        IF_UNMODIFIED_SINCE,
        RANGE,
    ] {
        let mut request = request(Method::GET, "/apis");
        request.headers_mut().insert(name, "x".parse().unwrap());
        // Not even a refresh is for the cache then.
        request.extensions_mut().insert(Refresh::next());
        requests.push(request);
    }
    let protobuf = "application/vnd.kubernetes.protobuf";
    let table = "application/json;as=Table;g=meta.k8s.io;v=v1";
    for (path, accept) in [
        ("/apis", "text/html"),
        ("/api", "application/yaml"),
        ("/apis", protobuf),
        ("/apis/a", table),
        ("/apis/a", Format::V2.content_type()),
        ("/apis/a/v1", Format::V2.content_type()),
        ("/api/v1", protobuf),
    ] {
        let mut request = request(Method::GET, path);
        request
            .headers_mut()
            .insert(ACCEPT, accept.parse().unwrap());
        requests.push(request);
    }
    let expected = requests.len() as u64;
    for request in requests {
        passes(&service, &mut server, request);
    }
    let statistics = engine.handle().stats();
    assert_eq!(
        (statistics.passed, statistics.hits, statistics.misses),
        (expected, 0, 1)
    );
    // The refresh did not take what was known.
    assert_eq!(done(&mut call(&service, get("/apis"))).status(), 200);
    server.idle();
}

#[test]
fn a_request_with_content_passes() {
    let (_, service, mut server) = world(Keep::default());
    warm(&service, &mut server);
    for path in ["/apis", "/apis/a/v1"] {
        let mut body = request(Method::GET, path);
        *body.body_mut() = Full::from("content");
        passes_with(&service, &mut server, body, "content");
        for (name, value) in [("content-length", "7"), ("transfer-encoding", "chunked")] {
            let mut announced = request(Method::GET, path);
            let headers = announced.headers_mut();
            headers.insert(name, value.parse().unwrap());
            passes(&service, &mut server, announced);
        }
        let mut empty = request(Method::GET, path);
        let length = "0".parse().unwrap();
        empty.headers_mut().insert("content-length", length);
        assert!(known(&done(&mut call(&service, empty))).hit);
    }
}

#[test]
fn a_request_whose_host_is_not_the_servers_passes() {
    struct Case {
        server: Option<&'static str>,
        uri: &'static str,
        hosts: &'static [&'static str],
        passes: bool,
    }
    let cases = [
        Case {
            server: Some("https://a:6443"),
            uri: "/apis",
            hosts: &["A:6443"],
            passes: false,
        },
        Case {
            server: Some("https://a"),
            uri: "/apis",
            hosts: &["a:443"],
            passes: false,
        },
        Case {
            server: None,
            uri: "https://b:6443/apis",
            hosts: &["b:6443"],
            passes: false,
        },
        Case {
            server: Some("https://a:6443"),
            uri: "/apis",
            hosts: &["b:6443"],
            passes: true,
        },
        Case {
            server: Some("https://a:6443"),
            uri: "https://a:6443/apis",
            hosts: &["b:6443"],
            passes: true,
        },
        Case {
            server: Some("https://a:6443"),
            uri: "/apis",
            hosts: &[""],
            passes: true,
        },
        Case {
            server: Some("https://a:6443"),
            uri: "/apis",
            hosts: &["a:6443", "b:6443"],
            passes: true,
        },
        Case {
            server: Some("https://a:6443"),
            uri: "/apis",
            hosts: &["me@a:6443"],
            passes: true,
        },
        // Nobody has said which server it is.
        Case {
            server: None,
            uri: "/apis",
            hosts: &["a:6443"],
            passes: true,
        },
    ];
    for case in cases {
        let options = case.server.map_or_else(Options::new, |server| {
            Options::new().server(&server.parse().unwrap())
        });
        let (inner, mut server) = Server::new();
        let service = Engine::new(Keep::default(), options).service(inner);
        warm(&service, &mut server);
        let mut asked = request(Method::GET, case.uri);
        for host in case.hosts {
            let host = host.parse().unwrap();
            asked.headers_mut().append("host", host);
        }
        if case.passes {
            passes(&service, &mut server, asked);
        } else {
            assert!(known(&done(&mut call(&service, asked))).hit);
        }
    }
}

#[test]
fn another_profile_is_neither_answered_from_nor_stored_as_the_merged_document() {
    let (engine, service, mut server) = world(Keep::default());
    let accept = format!("{};profile=nopeer", Format::V2.content_type());
    for line in [accept.clone(), format!("{accept},application/json")] {
        for path in ["/api", "/apis"] {
            let mut asked = request(Method::GET, path);
            asked.headers_mut().insert(ACCEPT, line.parse().unwrap());
            passes(&service, &mut server, asked);
        }
    }
    assert!(engine.cache().known.lock().unwrap().groups().is_none());
    // With everything known.
    warm(&service, &mut server);
    let mut asked = request(Method::GET, "/apis");
    asked.headers_mut().insert(ACCEPT, accept.parse().unwrap());
    passes(&service, &mut server, asked);
    // A server that answers with a profile that nobody asked for.
    engine.handle().invalidate();
    let mut call = call(&service, accepting("/apis", Accept::KUBECTL));
    let with_profile = |body: &'static str| {
        let response = Response::builder().header("content-type", &accept);
        response.body(full(body)).unwrap()
    };
    server.groups(with_profile(CORE), with_profile(OTHERS));
    pending(&mut call);
    server.expect("/apis").send_response(with_profile(OTHERS));
    assert_eq!(done(&mut call).headers()["content-type"], accept);
    assert!(engine.cache().known.lock().unwrap().groups().is_none());
}

#[test]
fn a_body_that_goes_on_is_not_waited_for() {
    let (_, service, mut server) = world(Keep::default());
    let mut watch = call(&service, get("/api/v1/pods?watch=true"));
    let (gates, events) = ([(); 3].map(|()| Gate::new()), ["one", "two"]);
    let mut body = BodyScript::default();
    for (gate, event) in gates.iter().zip(events) {
        body = body.wait(gate).data(event);
    }
    let body = body.wait(&gates[2]);
    server.next().1.send_response(Response::new(body.boxed()));
    let mut body = tokio_test::task::spawn(done(&mut watch).into_body());
    let mut frame = || body.enter(|cx, body| body.poll_frame(cx));
    assert!(frame().is_pending());
    for (gate, event) in gates.iter().zip(events) {
        gate.open();
        match frame() {
            Poll::Ready(Some(Ok(frame))) => assert_eq!(frame.into_data().unwrap(), event),
            other => panic!("{other:?}"),
        }
        assert!(frame().is_pending());
    }
    gates[2].open();
    assert!(matches!(frame(), Poll::Ready(None)));
}

#[test]
fn errors_of_the_service_come_out_as_they_are() {
    let (_, service, mut server) = world(Keep::default());
    let mut call = call(&service, get("/version"));
    server.next().1.send_error(std::fmt::Error);
    assert!(result(&mut call).unwrap_err().is::<std::fmt::Error>());
}

#[test]
fn a_request_to_an_invalid_port_passes() {
    let uri = "https://a:6443x/apis";
    for server in [None, Some(uri)] {
        let (inner, mut answers) = Server::new();
        let mut options = Options::new();
        if let Some(server) = server {
            options = options.server(&server.parse().unwrap());
        }
        let service = Engine::new(Keep::default(), options).service(inner);
        warm(&service, &mut answers);
        passes(&service, &mut answers, request(Method::GET, uri));
        // The default port is another server's, or nobody has said whose.
        let mut hit = call(&service, request(Method::GET, "/apis"));
        assert!(known(&done(&mut hit)).hit);
    }
}

#[test]
fn a_request_for_another_servers_address_passes() {
    let (inner, mut server) = Server::new();
    let address = "https://u:p@A:6443/k8s/c-1/".parse().unwrap();
    let engine = Engine::new(Keep::default(), Options::new().server(&address));
    let service = engine.service(inner);
    warm(&service, &mut server);
    for uri in [
        "https://b:6443/apis",
        "https://b:6443/k8s/c-1/apis",
        "http://a:6443/k8s/c-1/apis",
        "https://a/k8s/c-1/apis",
        "https://a:64433x/k8s/c-1/apis",
        "https://a:644333/k8s/c-1/apis",
        // This server's, but not below the path.
        "https://a:6443/apis",
        // Without an authority, the path is what comes after the address.
        "/k8s/c-1/apis",
    ] {
        passes(&service, &mut server, request(Method::GET, uri));
    }
    for uri in [
        "/apis",
        "https://a:6443/k8s/c-1/apis",
        "https://a:6443/k8s/c-1/apis/a/v1",
    ] {
        let mut hit = call(&service, request(Method::GET, uri));
        assert!(known(&done(&mut hit)).hit, "{uri}");
    }
    engine.handle().invalidate();
    let _miss = call(
        &service,
        request(Method::GET, "https://a:6443/k8s/c-1/apis"),
    );
    for path in ["api", "apis"] {
        let (request, _answer) = server.next();
        assert_eq!(
            request.uri().to_string(),
            format!("https://a:6443/k8s/c-1/{path}")
        );
    }
}
