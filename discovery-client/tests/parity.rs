//! Servers of every shape, each asked in every way, through no cache and through each: the answers are the same.

use std::convert::Infallible;

use bytes::Bytes;
use discovery_client::{DiscoveryClient, Stack};
use discovery_core::{BoxError, GroupVersion};
use discovery_disk::DiskDiscoveryLayer;
use discovery_memory::MemoryDiscoveryLayer;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service};

type Req = Request<Full<Bytes>>;
type Res = Response<Full<Bytes>>;

/// The answer to a path, and whether an aggregated one is accepted.
type Serve = fn(path: &str, aggregated: bool) -> Res;

/// A server, and what is to be found there.
struct Shape {
    name: &'static str,
    serve: Serve,
    /// The names of the groups, or a part of the error.
    groups: Result<&'static [&'static str], &'static str>,
    /// The resources of `v1` and `g/v1`; `None` if they can't be had.
    lists: [Option<&'static [&'static str]>; 2],
    /// The group versions that are told as failed.
    failed: &'static [&'static str],
}

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
const JSON: &str = "application/json";

const CORE: &str = r#"{"kind":"APIVersions","versions":["v1"]}"#;
const GROUPS: &str = r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"g","versions":[{"groupVersion":"g/v1","version":"v1"}],"preferredVersion":{"groupVersion":"g/v1","version":"v1"}}]}"#;
const PODS: &str = r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get"]}]}"#;
const XS: &str = r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"g/v1","resources":[{"name":"xs","singularName":"x","namespaced":false,"kind":"X","verbs":["get"]}]}"#;
const NONE: &str = r#"{"kind":"APIResourceList","groupVersion":"g/v1","resources":[]}"#;
const AGGREGATED_CORE: &str = r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"creationTimestamp":null},"versions":[{"version":"v1","resources":[{"resource":"pods","responseKind":{"group":"","version":"v1","kind":"Pod"},"scope":"Namespaced","singularResource":"pod","verbs":["get"]}],"freshness":"Current"}]}]}"#;
const AGGREGATED: &str = r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"g"},"versions":[{"version":"v1","resources":[{"resource":"xs","responseKind":{"group":"g","version":"v1","kind":"X"},"scope":"Cluster","singularResource":"x","verbs":["get"]}],"freshness":"Current"}]}]}"#;

fn answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> Res {
    let response = Response::builder().status(status);
    let response = response.header("content-type", content_type);
    response.body(Full::new(body.into())).unwrap()
}

fn json(body: impl Into<Bytes>) -> Res {
    answer(200, JSON, body)
}

fn legacy(path: &str, _: bool) -> Res {
    match path {
        "/api" => json(CORE),
        "/apis" => json(GROUPS),
        "/api/v1" => json(PODS),
        "/apis/g/v1" => json(XS),
        "/version" => json(r#"{"major":"1","minor":"37","gitVersion":"v1.37.1"}"#),
        _ => answer(404, "text/plain", "404 page not found\n"),
    }
}

fn aggregated(path: &str, accepted: bool) -> Res {
    match path {
        "/api" if accepted => answer(200, V2, AGGREGATED_CORE),
        "/apis" if accepted => answer(200, V2, AGGREGATED),
        _ => legacy(path, accepted),
    }
}

/// An aggregated server, but for the answer to `/apis`.
fn apis(path: &str, accepted: bool, answer: impl FnOnce() -> Res) -> Res {
    match path {
        "/apis" => answer(),
        _ => aggregated(path, accepted),
    }
}

/// A legacy server, but for this answer.
fn but(path: &str, other: &str, answer: impl FnOnce() -> Res) -> Res {
    if path == other {
        answer()
    } else {
        legacy(path, false)
    }
}

const BOTH: [Option<&[&str]>; 2] = [Some(&["pods"]), Some(&["xs"])];
const ALL: Result<&[&str], &str> = Ok(&["", "g"]);

const fn whole(name: &'static str, serve: Serve) -> Shape {
    Shape {
        name,
        serve,
        groups: ALL,
        lists: BOTH,
        failed: &[],
    }
}

const fn broken(name: &'static str, serve: Serve, error: &'static str) -> Shape {
    Shape {
        groups: Err(error),
        ..whole(name, serve)
    }
}

const SHAPES: [Shape; 30] = [
    whole("aggregated", aggregated),
    whole("legacy", legacy),
    whole("v2beta1 only, which is not asked for", |path, _| {
        legacy(path, false)
    }),
    whole("v2beta1 all the same", |path, accepted| match path {
        "/api" if accepted => answer(200, V2BETA1, AGGREGATED_CORE),
        "/apis" if accepted => answer(200, V2BETA1, AGGREGATED),
        _ => legacy(path, accepted),
    }),
    whole("an aggregated /api and a legacy /apis", |path, accepted| {
        apis(path, accepted, || json(GROUPS))
    }),
    whole(
        "a legacy /api and an aggregated /apis",
        |path, accepted| match path {
            "/apis" => aggregated(path, accepted),
            _ => legacy(path, accepted),
        },
    ),
    Shape {
        groups: Ok(&["g"]),
        lists: [None, Some(&["xs"])],
        ..whole("no core group, aggregated", |path, accepted| match path {
            "/api" | "/api/v1" => answer(404, "text/plain", "404 page not found\n"),
            _ => aggregated(path, accepted),
        })
    },
    Shape {
        groups: Ok(&["g"]),
        lists: [None, Some(&["xs"])],
        ..whole("no core group, legacy", |path, _| match path {
            "/api" | "/api/v1" => answer(404, "text/plain", "404 page not found\n"),
            _ => legacy(path, false),
        })
    },
    whole("a legacy server that tells no content type", |path, _| {
        let mut answer = legacy(path, false);
        answer.headers_mut().remove("content-type");
        answer
    }),
    whole("a legacy server that calls it text", |path, _| {
        let mut answer = legacy(path, false);
        let text = http::HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert("content-type", text);
        answer
    }),
    broken(
        "406 to what is aggregated",
        |path, accepted| match path {
            "/api" | "/apis" if accepted => answer(406, "text/plain", ""),
            _ => legacy(path, accepted),
        },
        "content type that the client supports",
    ),
    whole(
        "parameters in another order and case",
        |path, accepted| match path {
            "/apis" => answer(
                200,
                "Application/JSON; AS=APIGroupDiscoveryList; v=v2; g=\"apidiscovery.k8s.io\"",
                AGGREGATED,
            ),
            _ => aggregated(path, accepted),
        },
    ),
    whole("a charset", |path, accepted| {
        apis(path, accepted, || {
            answer(200, &format!("{V2};charset=utf-8"), AGGREGATED)
        })
    }),
    broken(
        "parameters lost",
        |path, accepted| apis(path, accepted, || json(AGGREGATED)),
        "not a discovery document",
    ),
    broken(
        "another representation",
        |path, accepted| {
            apis(path, accepted, || {
                answer(200, &format!("{V2};profile=x"), AGGREGATED)
            })
        },
        "not a discovery document",
    ),
    Shape {
        lists: [Some(&["pods"]), Some(&[])],
        ..whole("an empty list, aggregated", |path, accepted| match path {
            "/apis" => answer(
                200,
                V2,
                r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"g"},"versions":[{"version":"v1"}]}]}"#,
            ),
            "/apis/g/v1" => json(NONE),
            _ => aggregated(path, accepted),
        })
    },
    Shape {
        lists: [Some(&["pods"]), Some(&[])],
        failed: &["g/v1"],
        ..whole("an empty list, legacy", |path, _| {
            but(path, "/apis/g/v1", || json(NONE))
        })
    },
    Shape {
        lists: [Some(&["pods"]), None],
        failed: &["g/v1"],
        ..whole("a dead list", |path, _| {
            but(path, "/apis/g/v1", || {
                answer(503, "text/plain", "service unavailable\n")
            })
        })
    },
    Shape {
        lists: [Some(&["pods"]), None],
        failed: &["g/v1"],
        ..whole("a forbidden list", |path, _| {
            but(path, "/apis/g/v1", || answer(403, "text/plain", "no\n"))
        })
    },
    Shape {
        lists: [Some(&["pods"]), None],
        failed: &["g/v1"],
        ..whole("a list that is a page", |path, _| {
            but(path, "/apis/g/v1", || answer(200, "text/html", "<html>"))
        })
    },
    Shape {
        lists: [None, None],
        failed: &["g/v1", "v1"],
        ..whole("no list at all", |path, _| match path {
            "/api/v1" | "/apis/g/v1" => answer(500, "text/plain", ""),
            _ => legacy(path, false),
        })
    },
    broken(
        "no /apis",
        |path, accepted| {
            apis(path, accepted, || {
                answer(404, "text/plain", "404 page not found\n")
            })
        },
        "could not find the requested resource",
    ),
    broken(
        "/apis in trouble",
        |path, accepted| apis(path, accepted, || answer(503, "text/plain", "")),
        "currently unable to handle the request",
    ),
    broken(
        "who are you",
        |path, _| match path {
            "/api" | "/apis" => answer(401, JSON, r#"{"kind":"Status","code":401}"#),
            _ => legacy(path, false),
        },
        "asked for the client to provide credentials",
    ),
    broken(
        "a page",
        |path, _| but(path, "/apis", || json("<html>")),
        "not a discovery document",
    ),
    Shape {
        groups: Ok(&["", "g"]),
        ..whole("no kind", |path, _| match path {
            "/api" => json(CORE.replace(r#""kind":"APIVersions","#, "")),
            "/apis" => json(GROUPS.replace(r#""kind":"APIGroupList","#, "")),
            "/api/v1" => json(PODS.replace(r#""kind":"APIResourceList","#, "")),
            "/apis/g/v1" => json(XS.replace(r#""kind":"APIResourceList","#, "")),
            path => legacy(path, false),
        })
    },
    whole("fields that nobody knows, and null", |path, _| match path {
        "/apis" => json(GROUPS.replace(
            r#""apiVersion":"v1""#,
            r#""apiVersion":null,"new":{"a":[1,null]}"#,
        )),
        "/api/v1" => json(PODS.replace(
            r#""verbs""#,
            r#""shortNames":null,"categories":null,"new":[],"verbs""#,
        )),
        path => legacy(path, false),
    }),
    whole("fields that are there twice", |path, _| {
        but(path, "/apis", || {
            json(GROUPS.replace(r#""name":"g""#, r#""name":"h","name":"g""#))
        })
    }),
    Shape {
        groups: Ok(&[""]),
        lists: [Some(&["pods"]), None],
        ..whole("no groups", |path, _| match path {
            "/apis" => json(r#"{"kind":"APIGroupList","groups":null}"#),
            "/apis/g/v1" => answer(404, "text/plain", "404 page not found\n"),
            _ => legacy(path, false),
        })
    },
    Shape {
        groups: Ok(&["", "g"]),
        lists: [None, Some(&["xs"])],
        ..whole("a core group without versions", |path, _| match path {
            "/api" => json(r#"{"kind":"APIVersions","versions":[]}"#),
            "/api/v1" => answer(404, "text/plain", "404 page not found\n"),
            _ => legacy(path, false),
        })
    },
];

/// Asks in every way, twice, since the second time a cache answers; tells how often it has compared.
async fn compare<S, RB>(what: &str, shape: &Shape, service: S) -> usize
where
    S: Service<Req, Response = Response<RB>> + Clone,
    S::Error: Into<BoxError>,
    RB: http_body::Body<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    let what = format!("{}, {what}", shape.name);
    let client = DiscoveryClient::<S, Full<Bytes>>::new(service);
    let versions: [GroupVersion; 2] = ["v1", "g/v1"].map(|name| name.parse().unwrap());
    let mut compared = 0;
    for _ in 0..2 {
        // The groups.
        let groups = client.groups().await;
        match (&groups, shape.groups) {
            (Ok(groups), Ok(expected)) => {
                let names: Vec<_> = groups.groups.iter().map(|group| &*group.name).collect();
                assert_eq!(names, expected, "{what}");
            }
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{what}: {error}");
            }
            _ => panic!("{what}: {groups:?}"),
        }
        // Everything, and what of it is preferred.
        let discovered = client.discover().await;
        let preferred = client.preferred_resources().await;
        let namespaced = client.preferred_namespaced_resources().await;
        if let Ok(discovered) = &discovered {
            let failed: Vec<_> = discovered.failed.keys().map(GroupVersion::as_str).collect();
            assert_eq!(failed, shape.failed, "{what}");
            let listed = discovered.snapshot.group_versions();
            let expected = |at: usize| {
                let is_there =
                    listed.contains(&versions[at]) && !failed.contains(&versions[at].as_str());
                shape.lists[at].filter(|_| is_there).unwrap_or_default()
            };
            for (at, group_version) in versions.iter().enumerate() {
                let list = discovered.snapshot.resources(group_version.as_str());
                let names: Vec<_> = list
                    .iter()
                    .flat_map(|list| &list.resources)
                    .map(|r| &*r.name)
                    .collect();
                assert_eq!(names, expected(at), "{what}: {group_version}");
            }
            let names = |found: &discovery_client::Preferred| -> Vec<String> {
                found
                    .resources
                    .iter()
                    .map(|found| found.name.to_string())
                    .collect()
            };
            let all = [expected(0), expected(1)].concat();
            assert_eq!(names(preferred.as_ref().unwrap()), all, "{what}");
            assert_eq!(names(namespaced.as_ref().unwrap()), expected(0), "{what}");
        }
        assert_eq!(discovered.is_ok(), shape.groups.is_ok(), "{what}");
        assert_eq!(preferred.is_ok(), shape.groups.is_ok(), "{what}");
        // One list, and one resource.
        for (group_version, expected) in versions.iter().zip(shape.lists) {
            let list = client.resources(group_version).await;
            let names = list
                .as_ref()
                .map(|list| -> Vec<_> { list.resources.iter().map(|r| &*r.name).collect() });
            assert_eq!(names.ok().as_deref(), expected, "{what}: {group_version}");
            let name = if group_version.group().is_empty() {
                "pods"
            } else {
                "xs"
            };
            let is_served = client.is_served(&group_version.with_resource(name)).await;
            let is_listed = expected.is_some_and(|names| names.contains(&name));
            assert_eq!(
                is_served.unwrap_or_default(),
                is_listed,
                "{what}: {group_version}"
            );
            if shape.groups.is_ok() {
                let listed = client.supports_version(group_version).await.unwrap();
                let is_listed = discovered.as_ref().unwrap().snapshot.group_versions();
                assert_eq!(listed, is_listed.contains(group_version), "{what}");
            }
        }
        let nothing = client.resources(&"nothing/v1".parse().unwrap()).await;
        assert!(nothing.unwrap_err().is_not_found(), "{what}");
        let version = client.server_version().await.unwrap();
        assert_eq!(version.git_version, "v1.37.1", "{what}");
        compared += 12;
    }
    compared
}

#[tokio::test]
async fn every_server_is_the_same_through_every_cache() {
    let mut compared = 0;
    for shape in &SHAPES {
        let serve = shape.serve;
        let server = tower::service_fn(move |request: Req| {
            let accept = request.headers().get("accept");
            let accept = accept.and_then(|accept| accept.to_str().ok());
            let is_aggregated =
                accept.is_some_and(|accept| accept.contains("APIGroupDiscoveryList"));
            std::future::ready(Ok::<_, Infallible>(serve(
                request.uri().path(),
                is_aggregated,
            )))
        });
        let dir = tempfile::tempdir().unwrap();
        let memory = MemoryDiscoveryLayer::new();
        let disk = DiskDiscoveryLayer::new(dir.path().join("files"));
        let stack = || Stack::new("https://h:6443", dir.path().join("stack")).unwrap();
        compared += compare("bare", shape, server).await;
        compared += compare("memory", shape, memory.layer(server)).await;
        compared += compare("disk", shape, disk.layer(server)).await;
        compared += compare("kubectl's stack", shape, stack().kubectl(server).0).await;
        let (long_lived, _) = Stack::new("https://l:6443", dir.path())
            .unwrap()
            .long_lived(server);
        compared += compare("the long-lived stack", shape, long_lived).await;
        // Another process on the same files.
        compared += compare("kubectl's stack, warm", shape, stack().kubectl(server).0).await;
    }
    assert!(compared >= 200 * 4, "{compared}");
}
