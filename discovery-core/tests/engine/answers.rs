//! The answers to callers, their formats, and the requests that are sent for them.

use std::sync::Arc;

use discovery_core::kube::document::{
    ApiGroup, ApiGroupDiscoveryList, ApiGroupList, ApiResourceList, decode,
};
use discovery_core::{Accept, Format, Snapshot};
use http::Request;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
};
use http_body::Body as _;
use http_body_util::Full;

use crate::tools::*;

#[test]
fn the_miss_of_one_fills_both() {
    for path in ["/api", "/apis", "/apis/a"] {
        let (engine, service, mut server) = world(Keep::default());
        let mut first = call(&service, get(path));
        // Both requests are there before any answer.
        server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
        let response = done(&mut first);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert!(!known(&response).hit);
        assert_eq!(known(&response).cache, "keep");
        for path in ["/api", "/apis", "/apis/a", "/api/v1", "/apis/a/v1"] {
            let response = done(&mut call(&service, get(path)));
            server.idle();
            assert!(known(&response).hit);
            let length = response.headers()[CONTENT_LENGTH]
                .to_str()
                .unwrap()
                .to_owned();
            assert_eq!(text(response).len().to_string(), length, "{path}");
        }
        let statistics = engine.handle().stats();
        assert_eq!(
            (statistics.hits, statistics.misses, statistics.sent),
            (5, 1, 2)
        );
        assert_eq!((statistics.coalesced, statistics.passed), (0, 0));
    }
}

#[test]
fn a_cache_that_takes_its_time() {
    let (engine, service, mut server) = world(Keep {
        slow: true,
        ..Keep::default()
    });
    let mut first = call(&service, get("/apis"));
    pending(&mut first);
    pending(&mut first);
    server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
    assert_eq!(done(&mut first).status(), 200);
    let mut second = call(&service, get("/api"));
    assert!(known(&done(&mut second)).hit);
    server.idle();
    assert_eq!(engine.handle().stats().hits, 1);
}

/// kube-rs' `run()` takes legacy documents only: they are split out of the aggregated ones.
#[test]
fn legacy_documents_from_an_aggregated_server() {
    let (_, service, mut server) = world(Keep::default());
    let mut first = call(&service, get("/apis"));
    let (api, apis) = (server.next(), server.next());
    for (request, _) in [&api, &apis] {
        assert_eq!(request.headers()[ACCEPT], Accept::KUBECTL);
    }
    api.1.send_response(json(Format::V2, CORE));
    apis.1.send_response(json(Format::V2, OTHERS));
    let groups: ApiGroupList = decode(text(done(&mut first)).as_bytes()).unwrap();
    // The group that has no versions left is not there, or kube-rs would give up on everything.
    assert_eq!(groups.groups.len(), 1);
    let body = text(done(&mut call(&service, get("/api"))));
    assert_eq!(
        body,
        r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]}"#
    );
    let group: ApiGroup =
        decode(text(done(&mut call(&service, get("/apis/a")))).as_bytes()).unwrap();
    assert_eq!(
        (&*group.kind, &*group.preferred_version.version),
        ("APIGroup", "v1")
    );
    let list: ApiResourceList =
        decode(text(done(&mut call(&service, get("/apis/a/v1")))).as_bytes()).unwrap();
    assert_eq!(
        (&*list.group_version, &*list.resources[0].name),
        ("a/v1", "xs")
    );
    server.idle();
}

/// The kept documents have the group all the same, as kubectl's file has.
#[test]
fn a_group_of_stale_versions_is_kept() {
    for forgets_stale in [false, true] {
        let (engine, service, mut server) = world(Keep {
            forgets_stale,
            ..Keep::default()
        });
        warm(&service, &mut server);
        let kept = engine.cache().known.lock().unwrap().clone();
        let names: Vec<_> = kept
            .groups()
            .unwrap()
            .groups
            .iter()
            .map(|group| group.name.to_string())
            .collect();
        assert_eq!(names, ["", "a", "s"]);
        assert_eq!(kept.format(), Some(Format::V2));
        assert!(kept.is_complete());
        let hit = done(&mut call(&service, get("/apis")));
        let told = known(&hit).snapshot.stale().len();
        assert_eq!(told, usize::from(!forgets_stale));
    }
}

/// In the server's places, at a miss and at a hit.
#[test]
fn an_aggregated_answer_has_the_stale_versions() {
    const STALE: &str = r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[{"metadata":{"name":"s"},"versions":[{"version":"v1","freshness":"Stale"}]},{"metadata":{"name":"a"},"versions":[{"version":"v3","freshness":"Stale"},{"version":"v2","resources":[{"resource":"xs","responseKind":{"group":"","version":"","kind":"X"},"scope":"Cluster","singularResource":"x","verbs":["get"]}],"freshness":"Current"},{"version":"v1","freshness":"Stale"}]},{"metadata":{"name":"e"},"versions":[]}]}"#;
    for forgets_stale in [false, true] {
        let (_, service, mut server) = world(Keep {
            forgets_stale,
            ..Keep::default()
        });
        let mut first = call(&service, accepting("/apis", Accept::KUBECTL));
        server.groups(json(Format::V2, CORE), json(Format::V2, STALE));
        // A group without any version stops kube-rs.
        let expected = STALE.replace(r#",{"metadata":{"name":"e"},"versions":[]}"#, "");
        assert_eq!(text(done(&mut first)), expected);
        let hit = call(&service, accepting("/apis", Accept::KUBECTL));
        assert_eq!(text(done(&mut { hit })), expected);
        server.idle();
    }
}

/// Files don't tell the form. A caller that accepts it gets an aggregated answer, as from the server.
#[test]
fn aggregated_documents_from_legacy_files() {
    let mut files = Snapshot::default();
    files.set_groups(decode::<ApiGroupList>(A.as_bytes()).unwrap());
    files.insert(&"a/v1".parse().unwrap(), decode::<ApiResourceList>(br#"{"kind":"APIResourceList","groupVersion":"a/v1","resources":[{"name":"xs","kind":"X"}]}"#).unwrap());
    let keep = Keep::default();
    *keep.known.lock().unwrap() = Arc::new(files);
    let (_, service, mut server) = world(keep);
    for (accept, format) in [
        (Format::V2.content_type(), Format::V2),
        (Format::V2Beta1.content_type(), Format::V2Beta1),
        (Accept::KUBECTL, Format::V2),
        (Accept::WITH_V2BETA1, Format::V2),
        ("application/json", Format::Legacy),
    ] {
        let response = done(&mut call(&service, accepting("/apis", accept)));
        assert_eq!(response.headers()[CONTENT_TYPE], format.content_type());
        let body = text(response);
        if format.is_aggregated() {
            let document: ApiGroupDiscoveryList = decode(body.as_bytes()).unwrap();
            assert_eq!(document.api_version, format.api_version());
            assert_eq!(document.items[0].versions[0].resources[0].resource, "xs");
        } else {
            decode::<ApiGroupList>(body.as_bytes()).unwrap();
        }
    }
    server.idle();
}

#[test]
fn v2beta1_is_asked_for_by_those_who_take_it() {
    let (_, service, mut server) = world(Keep::default());
    let mut first = call(&service, accepting("/apis", Format::V2Beta1.content_type()));
    let (api, apis) = (server.next(), server.next());
    assert_eq!(api.0.headers()[ACCEPT], Accept::WITH_V2BETA1);
    api.1.send_response(json(Format::V2Beta1, CORE));
    apis.1.send_response(json(Format::V2Beta1, OTHERS));
    assert_eq!(
        done(&mut first).headers()[CONTENT_TYPE],
        Format::V2Beta1.content_type()
    );
}

#[test]
fn an_aggregated_form_alone_is_not_acceptable_to_a_legacy_server() {
    let (_, service, mut server) = world(Keep::default());
    let mut first = call(&service, accepting("/apis", Format::V2.content_type()));
    server.groups(json(Format::Legacy, V1), json(Format::Legacy, A));
    let response = done(&mut first);
    assert_eq!(response.status(), 406);
    let body: serde_json::Value = serde_json::from_str(&text(response)).unwrap();
    assert_eq!(
        (&body["kind"], &body["reason"], &body["code"]),
        (&"Status".into(), &"NotAcceptable".into(), &406.into())
    );
    // The groups are known now, to others.
    done(&mut call(&service, get("/apis")));
    server.idle();
    let both = done(&mut call(&service, accepting("/apis", Accept::KUBECTL)));
    assert_eq!(both.headers()[CONTENT_TYPE], "application/json");
}

#[test]
fn a_single_list_is_asked_for_alone_by_the_callers_own_request() {
    let (engine, service, mut server) = world(Keep::default());
    let mut request = get("/apis/a/v1?timeout=32s");
    request.headers_mut().insert("x-own", "1".parse().unwrap());
    let mut first = call(&service, request);
    let (arrived, answer) = server.next();
    assert_eq!(arrived.uri(), "/apis/a/v1?timeout=32s");
    assert_eq!(
        (&arrived.headers()["x-own"], &arrived.headers()[ACCEPT]),
        (&"1".parse().unwrap(), &"application/json".parse().unwrap())
    );
    server.idle();
    let mut response = list("a/v1");
    response
        .headers_mut()
        .insert("audit-id", "7".parse().unwrap());
    answer.send_response(response);
    let response = done(&mut first);
    assert!(!response.headers().contains_key("audit-id"));
    assert!(known(&response).snapshot.resources("a/v1").is_some());
    let first = text(response);
    let again = done(&mut call(&service, get("/apis/a/v1")));
    server.idle();
    assert_eq!(first, text(again), "a miss is answered as a hit");
    assert_eq!(engine.handle().stats().sent, 1);
}

/// KubeVirt's lists, which kube-rs can't read as they come.
#[test]
fn what_was_understood_is_answered_from_the_document() {
    let (_, service, mut server) = world(Keep::default());
    let mut first = call(&service, get("/apis/a/v1"));
    let odd = r#"{"kind":"APIResourceList","groupVersion":"","resources":[
        {"name":"xs","singularName":"x","kind":"X","namespaced":true,"verbs":null}]}"#;
    server
        .expect("/apis/a/v1")
        .send_response(json(Format::Legacy, odd));
    let text = text(done(&mut first));
    assert!(
        text.starts_with(r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"a/v1""#)
    );
}

#[test]
fn an_unknown_group_version_is_answered_unasked_only_by_a_cache_that_may() {
    for answers_unknown in [true, false] {
        let (_, service, mut server) = world(Keep {
            answers_unknown,
            ..Keep::default()
        });
        warm(&service, &mut server);
        for path in ["/apis/b", "/apis/b/v1", "/apis/a/v9", "/api/v9"] {
            let mut call = call(&service, get(path));
            if answers_unknown {
                let response = done(&mut call);
                assert_eq!(response.status(), 404);
                assert!(text(response).contains(r#""reason":"NotFound""#));
            } else if path == "/apis/b" {
                server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
                assert_eq!(done(&mut call).status(), 404);
            } else {
                server.expect(path).send_response(status(404));
                assert_eq!(text(done(&mut call)), "no", "the server's own");
            }
            server.idle();
        }
    }
}

#[test]
fn both_requests_look_like_the_callers() {
    let (inner, mut server) = Server::new();
    let engine =
        discovery_core::engine::Engine::new(Keep::default(), Options::new().base_path("/k8s/c-1/"));
    let service = engine.service(inner);
    let request = Request::get("https://u:p@h:6443/k8s/c-1/apis/a?timeout=32s")
        .header(AUTHORIZATION, "Bearer x")
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "gzip")
        .extension(5_u8)
        .body(Full::default())
        .unwrap();
    let mut first = call(&service, request);
    for path in ["/api", "/apis"] {
        let (request, answer) = server.next();
        assert_eq!(
            request.uri().to_string(),
            format!("https://u:p@h:6443/k8s/c-1{path}?timeout=32s")
        );
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer x");
        assert_eq!(
            request.headers().get_all(ACCEPT).iter().collect::<Vec<_>>(),
            [Accept::KUBECTL]
        );
        // The cache could not read a compressed answer.
        assert!(!request.headers().contains_key(ACCEPT_ENCODING));
        assert_eq!(request.extensions().get(), Some(&5_u8));
        assert!(request.body().is_end_stream());
        answer.send_response(json(Format::V2, if path == "/api" { CORE } else { OTHERS }));
    }
    assert_eq!(done(&mut first).status(), 200);
    // Outside the base path is outside the server.
    let mut outside = call(&service, get("/apis"));
    server.expect("/apis").send_response(status(404));
    assert_eq!(text(done(&mut outside)), "no");
    done(&mut call(&service, get("/k8s/c-1/apis/a/v1")));
    server.idle();
}

#[test]
fn what_is_compressed_all_the_same_passes() {
    let (_, service, mut server) = world(Keep::default());
    for _ in 0..2 {
        let mut request = get("/apis/a/v1");
        request
            .headers_mut()
            .insert(ACCEPT_ENCODING, "gzip".parse().unwrap());
        let mut call = call(&service, request);
        let (request, answer) = server.next();
        assert!(!request.headers().contains_key(ACCEPT_ENCODING));
        let mut response = json(Format::Legacy, &b"\x1f\x8b\x08"[..]);
        response
            .headers_mut()
            .insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        answer.send_response(response);
        assert_eq!(done(&mut call).headers()[CONTENT_ENCODING], "gzip");
    }
}

#[test]
fn a_server_without_a_core_group() {
    let (_, service, mut server) = world(Keep {
        answers_unknown: true,
        ..Keep::default()
    });
    let mut first = call(&service, get("/api"));
    server.groups(status(404), json(Format::V2, OTHERS));
    let response = done(&mut first);
    assert_eq!(
        (response.status().as_u16(), text(response).as_str()),
        (404, "no"),
        "the server's own"
    );
    assert_eq!(done(&mut call(&service, get("/api"))).status(), 404);
    assert_eq!(done(&mut call(&service, get("/apis"))).status(), 200);
    server.idle();
}
