//! Errors reach the caller as they came, and are not kept.

use std::io;

use bytes::Bytes;
use discovery_core::Format;
use discovery_core::engine::{self, Engine};
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};

use crate::tools::*;

/// A body in pieces, which may break off.
fn pieces(data: &[&'static str], broken: bool) -> ResBody {
    let mut frames: Vec<io::Result<Frame<Bytes>>> = data
        .iter()
        .map(|data| Ok(Frame::data(Bytes::from_static(data.as_bytes()))))
        .collect();
    if broken {
        frames.push(Err(io::ErrorKind::ConnectionReset.into()));
    }
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

/// Reads a body until it ends or breaks.
fn read(body: engine::Body<ResBody>) -> (String, Option<io::ErrorKind>) {
    tokio_test::block_on(async {
        let (mut body, mut read) = (std::pin::pin!(body), String::new());
        while let Some(frame) = body.as_mut().frame().await {
            match frame {
                Ok(frame) => {
                    read.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
                }
                Err(error) => {
                    assert!(body.as_mut().frame().await.is_none(), "that was the end");
                    let error = error.downcast::<io::Error>().expect("the body's own");
                    return (read, Some(error.kind()));
                }
            }
        }
        (read, None)
    })
}

fn refused() -> Res {
    let response = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
    let response = response.header("retry-after", "7").extension("mark");
    response.body(pieces(&["try ", "later"], false)).unwrap()
}

#[track_caller]
fn assert_refused(response: Response<engine::Body<ResBody>>) {
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["retry-after"]
        ),
        (503, &"7".parse().unwrap())
    );
    assert_eq!(response.extensions().get(), Some(&"mark"));
    assert_eq!(text(response), "try later");
}

#[test]
fn error_answers_come_out_unchanged() {
    let (engine, service, mut server) = world(Keep::default());
    for path in ["/api", "/apis"] {
        let mut call = call(&service, get(path));
        let (api, apis) = (server.expect("/api"), server.expect("/apis"));
        // The caller's own half ends it, whatever becomes of the other.
        let (own, other) = if path == "/api" {
            (api, apis)
        } else {
            (apis, api)
        };
        own.send_response(refused());
        assert_refused(done(&mut call));
        drop(other);
    }
    for path in ["/apis/a/v1", "/api/v1"] {
        let mut call = call(&service, get(path));
        server.expect(path).send_response(refused());
        assert_refused(done(&mut call));
    }
    let kept = engine.cache().known.lock().unwrap();
    assert!(kept.groups().is_none() && kept.lists().len() == 0);
    assert_eq!(engine.handle().stats().hits, 0);
}

#[test]
fn errors_of_the_service_come_out_unchanged() {
    let (_, service, mut server) = world(Keep::default());
    for path in ["/apis", "/apis/a", "/api", "/apis/a/v1"] {
        let mut call = call(&service, get(path));
        while let Some((request, answer)) = server.poll() {
            let own = if path == "/apis/a" { "/apis" } else { path };
            if request.uri().path() == own {
                answer.send_error(io::Error::new(io::ErrorKind::BrokenPipe, "mine"));
            } else {
                answer.send_error(std::fmt::Error);
            }
        }
        let error = result(&mut call)
            .unwrap_err()
            .downcast::<io::Error>()
            .unwrap();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::BrokenPipe, "mine")
        );
    }
}

/// Half of the groups is no knowledge, but it is an answer.
#[test]
fn the_callers_half_is_enough_for_the_caller() {
    let (engine, service, mut server) = world(Keep::default());
    for (path, format, expected) in [
        ("/apis", Format::V2, r#"{"kind":"APIGroupList""#),
        ("/apis", Format::Legacy, r#"{"kind":"APIGroupList""#),
        ("/apis/a", Format::V2, r#"{"kind":"APIGroup","#),
        ("/api", Format::V2, r#"{"kind":"APIVersions""#),
        ("/api", Format::Legacy, r#"{"kind":"APIVersions""#),
    ] {
        let mut call = call(&service, get(path));
        let (api, apis) = (server.expect("/api"), server.expect("/apis"));
        let documents = if format == Format::V2 {
            (CORE, OTHERS)
        } else {
            (V1, A)
        };
        if path == "/api" {
            apis.send_response(refused());
            api.send_response(json(format, documents.0));
        } else {
            api.send_error(io::Error::other("lost"));
            apis.send_response(json(format, documents.1));
        }
        let response = done(&mut call);
        assert_eq!(response.status(), 200);
        let body = text(response);
        assert!(body.starts_with(expected), "{body}");
        server.idle();
    }
    assert!(engine.cache().known.lock().unwrap().groups().is_none());
}

#[test]
fn a_body_that_breaks_off_does_so_for_the_caller() {
    let (engine, service, mut server) = world(Keep::default());
    for path in ["/apis", "/apis/a/v1"] {
        let mut call = call(&service, get(path));
        let response = Response::new(pieces(&["{\"kind\"", ":"], true));
        if path == "/apis" {
            server.groups(json(Format::V2, CORE), response);
        } else {
            server.expect(path).send_response(response);
        }
        let response = done(&mut call);
        assert_eq!(response.status(), 200);
        assert!(response.body().size_hint().exact().is_none());
        let (data, error) = read(response.into_body());
        assert_eq!(
            (data.as_str(), error.unwrap()),
            ("{\"kind\":", io::ErrorKind::ConnectionReset)
        );
    }
    // Before the first byte.
    let mut call = call(&service, get("/apis/a/v1"));
    server
        .expect("/apis/a/v1")
        .send_response(Response::new(pieces(&[], true)));
    assert!(read(done(&mut call).into_body()).1.is_some());
    assert_eq!(engine.cache().known.lock().unwrap().lists().len(), 0);
}

fn small(limit: u64) -> (Engine<Keep>, TestService, Server) {
    let (inner, server) = Server::new();
    let engine = Engine::new(Keep::default(), Options::new().max_body_size(limit));
    let service = engine.service(inner);
    (engine, service, server)
}

#[test]
fn an_answer_that_is_too_large_passes_whole() {
    let (engine, service, mut server) = small(10);
    let large = ["01234", "56789", "0", "123456789"];
    for path in ["/apis", "/apis/a/v1"] {
        let mut call = call(&service, get(path));
        let response = Response::new(pieces(&large, false));
        if path == "/apis" {
            server.groups(json(Format::Legacy, V1), response);
        } else {
            server.expect(path).send_response(response);
        }
        let response = done(&mut call);
        assert_eq!(response.body().size_hint().lower(), 11);
        assert!(!response.body().is_end_stream());
        assert_eq!(read(response.into_body()).0, large.concat());
    }
    assert!(engine.cache().known.lock().unwrap().groups().is_none());
    // Exactly the limit is not too large.
    let body = r#"{"kind":"APIResourceList","resources":[{"name":"xs","kind":"X"}]}"#;
    let (engine, service, mut server) = small(body.len() as u64);
    let mut call = call(&service, get("/apis/a/v1"));
    server.next().1.send_response(Response::new(full(body)));
    assert!(read(done(&mut call).into_body()).1.is_none());
    assert_eq!(engine.cache().known.lock().unwrap().lists().len(), 1);
}

/// The cache asked for more than the caller can read, and could not make use of it. Then the
/// caller's own request has to go.
#[test]
fn an_answer_in_a_form_that_the_caller_does_not_take_is_not_given() {
    for (path, api, apis) in [
        ("/apis", CORE, r#"{"kind":"garbled""#),
        (
            "/apis",
            CORE,
            "a large answer, as far as this cache is concerned, and aggregated too, so they say, which it is as long as nobody looks at it, or at the end of the answer, where it has nothing in it that would be worth it; well, so they say, but who would read as far as here to find it out? Nobody, really.",
        ),
        ("/apis/a", "garbled", "garbled"),
    ] {
        let (_, service, mut server) = small(300);
        let mut call = call(&service, get(path));
        server.groups(json(Format::V2, api), json(Format::V2, apis));
        pending(&mut call);
        let (request, answer) = server.next();
        assert_eq!(request.uri().path(), path);
        assert_eq!(request.headers()[http::header::ACCEPT], "application/json");
        answer.send_response(json(Format::Legacy, "the answer"));
        let response = done(&mut call);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(text(response), "the answer");
    }
}

#[test]
fn documents_that_are_malformed_come_as_they_are() {
    let (engine, service, mut server) = world(Keep::default());
    for body in ["", "{", "<html>", "null", "[]", r#"{"kind":"Status"}"#] {
        let mut groups = call(&service, get("/apis"));
        server.groups(json(Format::Legacy, V1), json(Format::Legacy, body));
        assert_eq!(text(done(&mut groups)), body);
        let mut single = call(&service, get("/apis/a/v1"));
        server
            .expect("/apis/a/v1")
            .send_response(json(Format::Legacy, body));
        assert_eq!(text(done(&mut single)), body);
    }
    let kept = engine.cache().known.lock().unwrap();
    assert!(kept.groups().is_none() && kept.lists().len() == 0);
}

#[test]
fn refusals_that_last_are_remembered_and_others_are_not() {
    const LASTING: [u16; 5] = [400, 403, 404, 406, 410];
    const PASSING: [u16; 8] = [301, 401, 408, 429, 500, 502, 503, 504];
    for code in LASTING.into_iter().chain(PASSING) {
        let lasts = LASTING.contains(&code);
        let (_, service, mut server) = world(Keep::default());
        for turn in 0..2 {
            let mut call = call(&service, get("/apis/a/v1"));
            if turn == 0 || !lasts {
                let response = Response::builder()
                    .status(code)
                    .header(CONTENT_TYPE, "text/plain");
                server
                    .expect("/apis/a/v1")
                    .send_response(response.body(full("said so")).unwrap());
            }
            let response = done(&mut call);
            assert_eq!(
                (
                    response.status().as_u16(),
                    &response.headers()[CONTENT_TYPE]
                ),
                (code, &"text/plain".parse().unwrap())
            );
            assert_eq!(text(response), "said so");
            server.idle();
        }
    }
}

#[test]
fn a_refusal_of_many_words_is_not_remembered() {
    let (engine, service, mut server) = world(Keep::default());
    for _ in 0..2 {
        let mut call = call(&service, get("/apis/a/v1"));
        let response = Response::builder()
            .status(404)
            .body(full(vec![b'x'; 70_000]));
        server.expect("/apis/a/v1").send_response(response.unwrap());
        let response = done(&mut call);
        assert_eq!(
            (response.status().as_u16(), text(response).len()),
            (404, 70_000)
        );
    }
    assert_eq!(engine.handle().stats().sent, 2);
}

/// A group version that was not there may come; the groups tell.
#[test]
fn newer_groups_end_a_refusal() {
    let (_, service, mut server) = world(Keep::default());
    let mut early = call(&service, get("/apis/a/v1"));
    server.expect("/apis/a/v1").send_response(status(404));
    assert_eq!(done(&mut early).status(), 404);
    let mut groups = call(&service, get("/apis"));
    server.groups(json(Format::Legacy, V1), json(Format::Legacy, A));
    done(&mut groups);
    let mut later = call(&service, get("/apis/a/v1"));
    server.expect("/apis/a/v1").send_response(list("a/v1"));
    assert_eq!(done(&mut later).status(), 200);
}

/// The server lists it and could not reach it: it may answer now.
#[test]
fn a_stale_group_version_is_asked_for() {
    let (_, service, mut server) = world(Keep {
        answers_unknown: true,
        ..Keep::default()
    });
    warm(&service, &mut server);
    let mut single = call(&service, get("/apis/s/v1"));
    server.expect("/apis/s/v1").send_response(list("s/v1"));
    assert_eq!(done(&mut single).status(), 200);
}
