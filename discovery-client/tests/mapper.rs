//! Names and what they stand for. The names of all resources are compared with kubectl's in the examples' tests.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_client::DiscoveryClient;
use discovery_client::mapper::{DeferredMapper, MapErrorKind, RestMapper, Scope};
use discovery_core::kube::document::{ApiGroupList, ApiResourceList, decode};
use discovery_core::sync::clock::ManualClock;
use discovery_core::testing::{Gate, ScriptedService, fixtures};
use discovery_core::{Format, Snapshot};
use http::Response;
use http_body_util::Full;

/// A version, and its resources as `plural,singular,Kind,short`.
type Version = (&'static str, &'static [&'static str]);

/// Groups with their preferred version and all versions.
fn mapper(groups: &[(&str, &str, &[Version])]) -> RestMapper {
    let mut snapshot = Snapshot::default();
    let mut json = Vec::new();
    for (group, preferred, versions) in groups {
        let prefix = if group.is_empty() {
            String::new()
        } else {
            format!("{group}/")
        };
        let entry = |version: &str| {
            format!(r#"{{"groupVersion":"{prefix}{version}","version":"{version}"}}"#)
        };
        let listed: Vec<_> = versions.iter().map(|(version, _)| entry(version)).collect();
        json.push(format!(
            r#"{{"name":"{group}","versions":[{}],"preferredVersion":{}}}"#,
            listed.join(","),
            entry(preferred)
        ));
    }
    let json = format!(r#"{{"kind":"APIGroupList","groups":[{}]}}"#, json.join(","));
    snapshot.set_groups(decode::<ApiGroupList>(json.as_bytes()).unwrap());
    let listed = snapshot.group_versions().to_vec();
    for group_version in listed {
        let (group, version) = (group_version.group(), group_version.version());
        let (_, _, versions) = groups.iter().find(|(name, ..)| *name == group).unwrap();
        let (_, resources) = versions.iter().find(|(name, _)| *name == version).unwrap();
        let resources: Vec<_> = resources
            .iter()
            .map(|text| {
                let mut parts = text.split(',');
                let mut next = || parts.next().unwrap_or_default();
                let (name, singular, kind, short) = (next(), next(), next(), next());
                let short = if short.is_empty() {
                    String::new()
                } else {
                    format!(r#","shortNames":["{short}"]"#)
                };
                format!(
                    r#"{{"name":"{name}","singularName":"{singular}","kind":"{kind}","namespaced":true,"verbs":["get"],"categories":["all"]{short}}}"#
                )
            })
            .collect();
        let json = format!(
            r#"{{"kind":"APIResourceList","resources":[{}]}}"#,
            resources.join(",")
        );
        let list = decode::<ApiResourceList>(json.as_bytes()).unwrap();
        snapshot.insert(&group_version, list);
    }
    RestMapper::new(&snapshot)
}

fn full(mapper: &RestMapper, name: &str) -> String {
    match mapper.resolve(name) {
        Ok(mapping) => mapping.full_name(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn groups_and_versions_have_a_priority() {
    let mapper = mapper(&[
        (
            "z.io",
            "v1",
            &[
                ("v2", &["as,a,A,x"]),
                ("v1", &["as,a,A,x"]),
                ("v3", &["only,,Only"]),
            ],
        ),
        (
            "",
            "v1",
            &[("v1", &["pods,pod,Pod,po", "events,event,Event,ev"])],
        ),
        (
            "a.io",
            "v1",
            &[("v1", &["as,a,A", "po,,PO", "events,event,Event,ev"])],
        ),
        ("a.io.more", "v1", &[("v1", &["bs,b,B,x"])]),
    ]);
    for (name, expected) in [
        ("as", "as.v1.z.io"),
        ("a", "as.v1.z.io"),
        ("A", "as.v1.z.io"),
        ("as.a.io", "as.v1.a.io"),
        ("as.v2.z.io", "as.v2.z.io"),
        ("A.v2.z.io", "as.v2.z.io"),
        ("only", "only.v3.z.io"),
        ("only.z", "only.v3.z.io"),
        // The core group comes first, wherever the server lists it.
        ("events", "events"),
        ("ev.a.io", "events.v1.a.io"),
        // A resource comes before a short name.
        ("po", "po.v1.a.io"),
        ("pod", "pods"),
        ("x", "as.v1.z.io"),
        ("x.a.io.more", "bs.v1.a.io.more"),
        ("x.a.io.m", "bs.v1.a.io.more"),
        ("bs.a.io", "bs.v1.a.io.more"),
        // No part of a name is one, and the case of a short name counts.
        (
            "pod.a.io",
            "the server doesn't have a resource type \"pod.a.io\"; near it are pod, po, pods",
        ),
        (
            "X",
            "the server doesn't have a resource type \"X\"; near it are x",
        ),
        ("od", "the server doesn't have a resource type \"od\""),
        (
            "pods.v2",
            "the server doesn't have a resource type \"pods.v2\"; near it are pods, pod",
        ),
        ("", "the server doesn't have a resource type \"\""),
    ] {
        assert_eq!(full(&mapper, name), expected, "{name}");
    }
    let all: Vec<_> = mapper
        .resources_for("events")
        .iter()
        .map(|found| found.full_name())
        .collect();
    assert_eq!(all, ["events", "events.v1.a.io"]);
    let kind = |group, versions: &[&str]| {
        mapper
            .mapping(group, "A", versions)
            .map(|found| found.full_name())
            .ok()
    };
    assert_eq!(kind("z.io", &[]).as_deref(), Some("as.v1.z.io"));
    assert_eq!(kind("z.io", &["v9", "v2"]).as_deref(), Some("as.v2.z.io"));
    assert_eq!(kind("z.io", &["v9"]), None);
    assert_eq!(kind("z", &[]), None);
    assert_eq!(mapper.category("all").len(), 8);
    assert!(mapper.category("none").is_empty());
    assert_eq!(mapper.mappings().len(), 9);
    assert_eq!(mapper.resolve("po").unwrap().scope, Scope::Namespaced);
    let resource = mapper.resource(&"z.io/v2".parse().unwrap(), "a").unwrap();
    assert_eq!(resource.full_name(), "as.v2.z.io");
}

/// What has the same name in one group version can't be told apart; two resources of one kind can.
#[test]
fn ambiguity_lists_the_candidates() {
    let mapper = mapper(&[(
        "g",
        "v1",
        &[("v1", &["as,x,A", "bs,x,B", "cs,c,C", "ds,d,C"])],
    )]);
    let error = mapper.resolve("x").unwrap_err();
    assert_eq!(error.to_string(), "\"x\" may be any of as.v1.g, bs.v1.g");
    assert!(
        matches!(error.kind(), MapErrorKind::Ambiguous { candidates } if candidates.len() == 2)
    );
    assert!(!error.is_no_match());
    // kubectl asks for the last resource of a kind, whichever was meant.
    assert_eq!(full(&mapper, "cs"), "ds.v1.g");
    assert_eq!(mapper.resources_for("cs")[0].resource, "cs");
}

type Server = ScriptedService<Full<Bytes>, std::io::Error>;

/// A server with one group, whose resources are these.
fn serve(server: &Server, resources: &'static [&'static str]) {
    server.fallback(move |request| {
        let group = || fixtures::Group::new("g").version("v1", resources);
        Ok(match request.uri().path() {
            "/api" => fixtures::document(Format::V2, fixtures::aggregated(&[])),
            "/apis" => fixtures::document(Format::V2, fixtures::aggregated(&[group()])),
            path => panic!("{path} is asked for"),
        })
    });
}

fn deferred(server: &Server) -> (DeferredMapper<Server, Full<Bytes>>, ManualClock) {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let mapper = DeferredMapper::new(DiscoveryClient::new(server.clone()));
    (mapper.clock(clock.clone()), clock)
}

#[tokio::test]
async fn a_miss_is_looked_for_once_more_and_then_remembered() {
    let server = Server::default();
    serve(&server, &["as"]);
    let (mapper, clock) = deferred(&server);
    assert_eq!(mapper.resolve("as").await.unwrap().full_name(), "as.v1.g");
    assert_eq!(server.request_count(), 2);
    mapper.resolve("as.g").await.unwrap();
    assert_eq!(server.request_count(), 2);

    for name in ["bs", "bs", "bs"] {
        assert!(mapper.resolve(name).await.unwrap_err().is_no_match());
    }
    assert_eq!(server.request_count(), 4);
    // It has come, but is not looked for yet, unless somebody knows better.
    serve(&server, &["as", "bs"]);
    assert!(mapper.resolve("bs").await.is_err());
    clock.advance(Duration::from_secs(10));
    assert_eq!(mapper.resolve("bs").await.unwrap().full_name(), "bs.v1.g");
    assert_eq!(server.request_count(), 6);
    assert!(
        mapper
            .mapping("g", "Nothing", &[])
            .await
            .unwrap_err()
            .is_no_match()
    );
    assert!(mapper.category("nothing").await.unwrap_err().is_no_match());
    assert!(mapper.category("nothing").await.unwrap_err().is_no_match());
    assert_eq!(server.request_count(), 10);
    serve(&server, &["cs"]);
    mapper.invalidate();
    assert!(mapper.resolve("cs").await.is_ok());
    assert_eq!(server.request_count(), 12);
}

#[tokio::test]
async fn a_discovery_that_fails_leaves_what_was_known() {
    let server = Server::default();
    server.fallback(|_| Ok(fixtures::status(503)));
    let (mapper, _) = deferred(&server);
    let error = mapper.resolve("as").await.unwrap_err();
    assert!(matches!(error.kind(), MapErrorKind::Discovery(error) if error.is_transient()));
    assert!(!error.is_no_match());
    serve(&server, &["as"]);
    assert!(mapper.resolve("as").await.is_ok());
    server.fallback(|_| Ok::<Response<Full<Bytes>>, _>(fixtures::status(503)));
    assert!(mapper.resolve("bs").await.is_err());
    assert!(mapper.resolve("as").await.is_ok());
}

#[tokio::test]
async fn callers_at_the_same_time_share_a_discovery() {
    let (server, gate) = (Server::default(), Gate::new());
    serve(&server, &["as"]);
    let held = gate.clone();
    let slow = tower::util::MapFuture::new(server.clone(), move |answer| {
        let held = held.clone();
        async move {
            held.opened().await;
            answer.await
        }
    });
    let mapper = Arc::new(DeferredMapper::<_, Full<Bytes>>::new(DiscoveryClient::new(
        slow,
    )));
    let tasks: Vec<_> = (0..500)
        .map(|n| {
            let mapper = Arc::clone(&mapper);
            tokio::spawn(async move {
                let name = ["as", "x"][n % 2];
                mapper.resolve(name).await.is_ok()
            })
        })
        .collect();
    // The first of them goes away.
    tokio::task::yield_now().await;
    tasks[0].abort();
    gate.open();
    let mut found = 0;
    for task in tasks {
        found += usize::from(task.await.unwrap_or_default());
    }
    assert_eq!(found, 499);
    assert!(server.request_count() <= 4, "{}", server.request_count());
}

/// Somebody who has missed a name does not take a discovery for an answer that had begun before.
#[tokio::test]
async fn a_discovery_that_began_before_is_not_waited_for() {
    let (server, gate) = (Server::default(), Gate::new());
    serve(&server, &["as"]);
    let (mapper, _) = deferred(&server);
    mapper.resolve("as").await.unwrap();
    server.take_requests();

    server.hold_answers(&gate);
    let resolve = |name: &'static str| {
        let mapper = mapper.clone();
        tokio::spawn(async move { mapper.resolve(name).await.is_ok() })
    };
    let early = resolve("nothing");
    while server.request_count() < 2 {
        tokio::task::yield_now().await;
    }
    serve(&server, &["as", "bs"]);
    let late = [resolve("bs"), resolve("bs.g"), resolve("bs.v1.g")];
    tokio::task::yield_now().await;
    gate.open();
    assert!(!early.await.unwrap());
    for late in late {
        assert!(late.await.unwrap());
    }
    // One for all that came late.
    assert_eq!(server.request_count(), 4);
}

#[tokio::test]
async fn of_a_server_with_lists_only_one_group_is_asked_again() {
    let server = Server::default();
    let serve = |resources: &'static [&'static str]| {
        server.fallback(move |request| {
            let groups = [
                ("a.io", ["v1", "v2"], resources),
                ("b.io", ["v1", "v2"], &["bs"]),
            ];
            let groups = groups.map(|(name, versions, resources)| {
                let group = fixtures::Group::new(name);
                versions
                    .into_iter()
                    .fold(group, |group, version| group.version(version, resources))
            });
            let path = request.uri().path();
            let json = match path {
                "/api" => fixtures::api_versions(&[]),
                "/apis" => fixtures::group_list(&groups),
                _ => {
                    let name = path.strip_prefix("/apis/").expect("a group version");
                    fixtures::resource_list(
                        name,
                        if name.starts_with('a') {
                            resources
                        } else {
                            &["bs"]
                        },
                    )
                }
            };
            Ok(fixtures::document(Format::Legacy, json))
        });
    };
    serve(&["as"]);
    let (mapper, _) = deferred(&server);
    assert!(mapper.resolve("as").await.is_ok());
    assert_eq!(server.take_requests().len(), 6);
    let paths = || {
        let mut paths = server.take_paths();
        paths.sort();
        paths
    };
    serve(&["as", "news"]);
    let news = mapper.resolve("news.a.io").await.unwrap();
    assert_eq!(news.full_name(), "news.v1.a.io");
    let of_a = ["/api", "/apis", "/apis/a.io/v1", "/apis/a.io/v2"];
    assert_eq!(paths(), of_a);
    assert!(mapper.mapping("a.io", "Nothing", &[]).await.is_err());
    assert_eq!(paths(), of_a);
    assert!(mapper.resolve("nothing.v1.b.io").await.is_err());
    assert_eq!(paths(), ["/api", "/apis", "/apis/b.io/v1", "/apis/b.io/v2"]);
    assert!(mapper.resolve("nothing.c.io").await.is_err());
    assert_eq!(paths(), ["/api", "/apis"]);
    // The others are known as before.
    for name in ["as", "news", "bs", "bs.v2.b.io"] {
        assert!(mapper.resolve(name).await.is_ok());
    }
    assert!(paths().is_empty());
    assert!(mapper.resolve("nothing").await.is_err());
    assert_eq!(paths().len(), 6);
}
