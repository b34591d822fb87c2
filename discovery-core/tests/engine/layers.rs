//! Two caches, one around the other.

use std::io;

use discovery_core::Format;
use discovery_core::engine::{DiscoveryService, Engine, Refresh};
use http_body_util::BodyExt;
use tower::util::MapResponse;
use tower_test::mock::Mock;

use crate::tools::*;

type Below = DiscoveryService<Mock<Req, Res>, Keep>;
type Boxing = fn(http::Response<discovery_core::engine::Body<ResBody>>) -> Res;
type Above = DiscoveryService<MapResponse<Below, Boxing>, Keep>;

/// Another group than `a`.
const B: &str = r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"b"},"versions":[{"version":"v1","resources":[{"resource":"ys","responseKind":{"kind":"Y"},"verbs":["get"]}]}]}]}"#;

struct Two {
    above: Engine<Keep>,
    below: Engine<Keep>,
    service: Above,
    server: Server,
}

/// As disk around memory, and the other way round: memory says that there is no such thing, and
/// disk doesn't.
fn two(above_answers_unknown: bool) -> Two {
    let keep = |answers_unknown| Keep {
        answers_unknown,
        ..Keep::default()
    };
    let (inner, server) = Server::new();
    let below = Engine::new(keep(!above_answers_unknown), Options::new());
    let above = Engine::new(keep(above_answers_unknown), Options::new());
    let boxing: Boxing = |response| response.map(|body| body.map_err(io::Error::other).boxed());
    let service = above.service(MapResponse::new(below.service(inner), boxing));
    Two {
        above,
        below,
        service,
        server,
    }
}

impl Two {
    fn warm(&mut self) {
        let mut first = call(&self.service, get("/apis"));
        self.server
            .groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
        done(&mut first);
    }
}

#[test]
fn what_the_outer_cache_forgets_does_not_come_back_from_the_inner_one() {
    for order in [true, false] {
        let mut two = two(order);
        two.warm();
        two.above.handle().invalidate();
        let mut groups = call(&two.service, get("/apis"));
        two.server
            .groups(json(Format::V2, CORE), json(Format::V2, B));
        assert!(text(done(&mut groups)).contains(r#""name":"b""#));
        for engine in [&two.above, &two.below] {
            let kept = engine.cache().known.lock().unwrap().clone();
            assert_eq!(kept.groups().unwrap().groups[1].name, "b");
        }
        // Once is enough: the new ones come from there.
        for path in ["/api", "/apis", "/apis/b/v1"] {
            assert!(known(&done(&mut call(&two.service, get(path)))).hit);
        }
        two.server.idle();
        assert_eq!(two.below.handle().stats().sent, 4);
    }
}

#[test]
fn a_list_that_the_outer_cache_forgets_does_not_come_back_from_the_inner_one() {
    for order in [true, false] {
        let mut two = two(order);
        two.warm();
        two.above.handle().invalidate();
        let mut anew = call(&two.service, get("/apis/a/v1"));
        let newer = r#"{"kind":"APIResourceList","groupVersion":"a/v1","resources":[{"name":"new","kind":"N"}]}"#;
        two.server
            .expect("/apis/a/v1")
            .send_response(json(Format::Legacy, newer));
        assert!(text(done(&mut anew)).contains("new"));
        assert!(text(done(&mut call(&two.service, get("/apis/a/v1")))).contains("new"));
        two.server.idle();
    }
}

/// A request without a refresh of its own, behind one that has one.
#[test]
fn every_request_after_a_refresh_carries_it_on() {
    let mut two = two(true);
    two.warm();
    let refresh = Refresh::next();
    let mut request = get("/apis/a/v1");
    request.extensions_mut().insert(refresh);
    let _first = call(&two.service, request);
    let (first, _answer) = two.server.next();
    assert_eq!(first.extensions().get(), Some(&refresh));
    let _second = call(&two.service, get("/api/v1"));
    let (second, _answer) = two.server.next();
    assert_eq!(second.extensions().get(), Some(&refresh));
    let _third = call(&two.service, get("/apis"));
    for _ in 0..2 {
        let (third, answer) = two.server.next();
        assert_eq!(third.extensions().get(), Some(&refresh));
        drop(answer);
    }
}

/// A refresh that the inner cache obeyed by itself is the later one.
#[test]
fn an_older_refresh_from_above_changes_nothing_below() {
    let mut two = two(true);
    two.above.handle().invalidate();
    two.below.handle().invalidate();
    two.warm();
    two.above
        .cache()
        .known
        .lock()
        .unwrap()
        .clone_from(&Default::default());
    assert_eq!(done(&mut call(&two.service, get("/apis"))).status(), 200);
    two.server.idle();
}
