//! Callers that take the parsed documents.

use std::sync::Arc;

use bytes::Bytes;
use discovery_core::engine::{GroupsOnly, ParsedAnswer, WantParsed};
use discovery_core::kube::document::{ApiGroupList, ApiResource, ApiResourceList, decode};
use discovery_core::kube::plan::drive;
use discovery_core::{Accept, Format, GroupVersion, Plan, Snapshot};
use http_body::Body as _;
use http_body_util::Full;
use tokio_test::task;

use crate::tools::*;

fn typed(path: &str) -> Req {
    let mut request = accepting(path, Accept::KUBECTL);
    request.extensions_mut().insert(WantParsed);
    request
}

/// The groups `g0/v1`, `g1/v1`, …, and lists of the first few of them.
fn partial(groups: usize, lists: usize) -> Keep {
    let mut snapshot = Snapshot::default();
    let names: Vec<_> = (0..groups).map(|n| format!("g{n}/v1")).collect();
    let texts: Vec<_> = names
        .iter()
        .map(|name| {
            format!(
                r#"{{"name":"{}","versions":[{{"groupVersion":"{name}","version":"v1"}}]}}"#,
                &name[..2]
            )
        })
        .collect();
    let json = format!(
        r#"{{"kind":"APIGroupList","groups":[{}]}}"#,
        texts.join(",")
    );
    snapshot.set_groups(decode::<ApiGroupList>(json.as_bytes()).unwrap());
    for name in &names[..lists] {
        let of: GroupVersion = name.parse().unwrap();
        snapshot.insert(&of, ApiResourceList::new(&of, vec![ApiResource::default()]));
    }
    let keep = Keep::default();
    *keep.known.lock().unwrap() = Arc::new(snapshot);
    keep
}

#[test]
fn they_get_what_is_known_and_no_body() {
    let (_, service, mut server) = world(Keep::default());
    let mut first = call(&service, typed("/apis"));
    for _ in 0..2 {
        let (request, answer) = server.next();
        assert!(
            request.extensions().get::<WantParsed>().is_some(),
            "for the caches below"
        );
        let body = if request.uri() == "/api" {
            CORE
        } else {
            OTHERS
        };
        answer.send_response(json(Format::V2, body));
    }
    let first = done(&mut first);
    for path in ["/api", "/apis", "/apis/a", "/apis/a/v1"] {
        let response = done(&mut call(&service, typed(path)));
        assert_eq!(response.status(), 200);
        assert!(response.body().is_end_stream(), "{path}");
        let known = known(&response);
        assert!(known.hit);
        let list = known.snapshot.resources("a/v1").unwrap();
        assert!(Arc::ptr_eq(
            list,
            self::known(&first).snapshot.resources("a/v1").unwrap()
        ));
    }
    server.idle();
}

/// As kubectl does: an aggregated answer brings what is missing, and is a 304 where nothing has changed.
#[test]
fn where_a_list_is_missing_the_server_is_asked_for_all() {
    for missing in [0, 1, 9] {
        let (_, service, mut server) = world(partial(9, 9 - missing));
        let mut apis = call(&service, typed("/apis"));
        if missing == 0 {
            assert!(known(&done(&mut apis)).snapshot.is_complete());
            server.idle();
        } else {
            let (_api, _apis) = (server.expect("/api"), server.expect("/apis"));
            pending(&mut apis);
        }
        // `/api` is answered from the groups, whatever else is missing.
        let api = done(&mut call(&service, typed("/api")));
        assert!(known(&api).hit);
        // Those that want a body want everything.
        let mut aggregated = call(&service, accepting("/apis", Accept::KUBECTL));
        assert_eq!(aggregated.poll().is_ready(), missing == 0);
    }
}

#[test]
fn who_wants_no_lists_is_not_told_to_wait_for_them() {
    let (_, service, mut server) = world(partial(9, 0));
    for path in ["/api", "/apis"] {
        let mut request = typed(path);
        request.extensions_mut().insert(GroupsOnly);
        let response = done(&mut call(&service, request));
        assert!(known(&response).hit, "{path}");
    }
    server.idle();
    // Those who want a body get the right one.
    let mut request = accepting("/apis", Accept::KUBECTL);
    request.extensions_mut().insert(GroupsOnly);
    assert!(call(&service, request).poll().is_pending());
}

/// The groups are known and many lists are not, and the server is not there: what is known is better
/// than nothing, for those who can make use of it.
#[test]
fn known_groups_are_the_last_resort() {
    for answers in [true, false] {
        let (_, service, mut server) = world(partial(9, 3));
        let mut calls = [
            call(&service, typed("/apis")),
            call(&service, typed("/apis")),
            call(&service, accepting("/apis", Accept::KUBECTL)),
        ];
        let (api, apis) = (server.expect("/api"), server.expect("/apis"));
        calls.iter_mut().for_each(pending);
        if answers {
            api.send_response(status(503));
            apis.send_response(status(503));
        } else {
            api.send_error(std::io::Error::other("refused"));
            apis.send_error(std::io::Error::other("refused"));
        }
        for call in &mut calls[..2] {
            let response = done(call);
            assert_eq!(response.status(), 200);
            let known = known(&response);
            assert!(known.hit);
            assert_eq!(
                (
                    known.snapshot.missing().count(),
                    known.snapshot.lists().len()
                ),
                (6, 3)
            );
        }
        if answers {
            assert_eq!(done(&mut calls[2]).status(), 503, "no use to this one");
        }
    }
    // After a refresh, nothing is known.
    let (engine, service, mut server) = world(partial(9, 3));
    engine.handle().invalidate();
    let mut apis = call(&service, typed("/apis"));
    server.groups(status(503), status(503));
    assert_eq!(done(&mut apis).status(), 503);
}

#[test]
fn a_legacy_server_has_nothing_better() {
    let keep = partial(9, 0);
    Arc::make_mut(&mut *keep.known.lock().unwrap()).set_format(Format::Legacy);
    let (_, service, mut server) = world(keep);
    assert!(known(&done(&mut call(&service, typed("/apis")))).hit);
    server.idle();
}

#[test]
fn errors_come_with_their_bodies() {
    let (_, service, mut server) = world(Keep {
        answers_unknown: true,
        ..Keep::default()
    });
    let mut apis = call(&service, typed("/apis"));
    server.groups(json(Format::V2, CORE), status(503));
    let response = done(&mut apis);
    assert!(response.extensions().get::<ParsedAnswer>().is_none());
    assert_eq!(
        (response.status().as_u16(), text(response).as_str()),
        (503, "no")
    );
    // The half that is there comes as it came.
    let mut api = call(&service, typed("/api"));
    server.groups(json(Format::V2, CORE), status(503));
    let response = done(&mut api);
    assert!(response.extensions().get::<ParsedAnswer>().is_none());
    assert_eq!(text(response), CORE);
    warm(&service, &mut server);
    let response = done(&mut call(&service, typed("/apis/b/v1")));
    assert_eq!(response.status(), 404);
    assert!(text(response).contains("NotFound"));
}

/// A plan over two caches: nothing is parsed twice, and only what is missing is asked for.
#[test]
fn a_plan_takes_parsed_documents_from_a_cache() {
    let keep = partial(9, 8);
    Arc::make_mut(&mut *keep.known.lock().unwrap()).set_format(Format::Legacy);
    let (_, below, mut server) = world(keep);
    let engine = discovery_core::engine::Engine::new(Keep::default(), Options::new());
    let above = engine.service(tower::util::MapResponse::new(
        below,
        |response: http::Response<_>| response.map(http_body_util::BodyExt::boxed),
    ));
    let walk = |server: Option<&mut Server>| {
        let mut plan = Plan::everything();
        let dress = |request: http::Request<()>| {
            let mut request = request.map(|()| Full::<Bytes>::default());
            request.extensions_mut().insert(WantParsed);
            request
        };
        let service = above.clone();
        {
            let mut drive = task::spawn(drive(&mut plan, &service, dress, 1 << 20, |_| ()));
            if let Some(server) = server {
                assert!(drive.poll().is_pending());
                server.expect("/apis/g8/v1").send_response(list("g8/v1"));
                server.idle();
            }
            assert!(drive.poll().is_ready());
        }
        plan.finish().unwrap()
    };
    let first = walk(Some(&mut server));
    assert!(first.snapshot.is_complete() && first.failed.is_empty());
    let again = walk(None);
    for (name, list) in first.snapshot.lists() {
        assert!(Arc::ptr_eq(
            list,
            again.snapshot.resources(name.as_str()).unwrap()
        ));
    }
    server.idle();
}
