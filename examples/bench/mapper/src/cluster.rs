//! The clusters that are measured.

use std::future::ready;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

pub(crate) const GROUPS: usize = 1000;
pub(crate) const RESOURCES: usize = 10;
const TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const CORE: &str =
    r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[]}"#;

/// Prints a figure, and whether it is what is wanted.
pub(crate) fn check(wanted: &str, figure: f64, met: bool) {
    let mark = if met { "MET    " } else { "NOT MET" };
    println!("  {mark}  {wanted}: {figure:.2}");
}

/// Prints figures for a program to read: name and value, between tabs. Only with the argument `--figures`.
pub(crate) fn figures(figures: &[(&str, f64)]) {
    if std::env::args().any(|argument| argument == "--figures") {
        for (name, value) in figures {
            println!("figure\t{name}\t{value}");
        }
    }
}

/// The aggregated answer of 1,000 groups with ten resources each.
pub(crate) fn document() -> String {
    let resource = |n: usize| {
        format!(
            r#"{{"resource":"kind{n}s","responseKind":{{"group":"","version":"","kind":"Kind{n}"}},"scope":"Namespaced","singularResource":"kind{n}","verbs":["delete","deletecollection","get","list","patch","create","update","watch"],"shortNames":["k{n}"],"categories":["all"]}}"#
        )
    };
    let group = |g: usize| {
        let resources: Vec<_> = (0..RESOURCES)
            .map(|r| resource(g * RESOURCES + r))
            .collect();
        format!(
            r#"{{"metadata":{{"name":"g{g}.bench.test","creationTimestamp":null}},"versions":[{{"version":"v1","resources":[{}],"freshness":"Current"}}]}}"#,
            resources.join(",")
        )
    };
    let groups: Vec<_> = (0..GROUPS).map(group).collect();
    format!(
        r#"{{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{{}},"items":[{}]}}"#,
        groups.join(",")
    )
}

/// A server that tells everything in one answer.
pub(crate) fn aggregated<B: Send + 'static>(
    document: &Bytes,
) -> impl tower::Service<Request<B>, Response = Response<Full<Bytes>>, Error = io::Error, Future: Send>
+ Clone
+ Send
+ 'static {
    let document = document.clone();
    tower::service_fn(move |request: Request<B>| {
        let body = match request.uri().path() {
            "/api" => Bytes::from_static(CORE.as_bytes()),
            _ => document.clone(),
        };
        let response = Response::builder().header("content-type", TYPE);
        ready(response.body(Full::new(body)).map_err(io::Error::other))
    })
}

/// A server that has to be asked for each list, and takes its time for each answer.
pub(crate) fn legacy<B: Send + 'static>(
    groups: usize,
    latency: Duration,
) -> impl tower::Service<Request<B>, Response = Response<Full<Bytes>>, Error = io::Error, Future: Send>
+ Clone
+ Send
+ 'static {
    let version = |n: usize| format!(r#"{{"groupVersion":"g{n}.bench.test/v1","version":"v1"}}"#);
    let group = move |n: usize| {
        let version = version(n);
        format!(
            r#"{{"name":"g{n}.bench.test","versions":[{version}],"preferredVersion":{version}}}"#
        )
    };
    let groups: Vec<_> = (0..groups).map(group).collect();
    let groups = Bytes::from(format!(
        r#"{{"kind":"APIGroupList","apiVersion":"v1","groups":[{}]}}"#,
        groups.join(",")
    ));
    tower::service_fn(move |request: Request<B>| {
        let list = |name: &str| {
            format!(
                r#"{{"kind":"APIResourceList","groupVersion":"{name}","resources":[{{"name":"as","singularName":"a","namespaced":true,"kind":"A","verbs":["get","list"]}}]}}"#
            )
        };
        let body = match request.uri().path() {
            "/api" => Bytes::from_static(br#"{"kind":"APIVersions","versions":["v1"]}"#),
            "/apis" => groups.clone(),
            "/api/v1" => list("v1").into(),
            path => list(path.trim_start_matches("/apis/")).into(),
        };
        let response = Response::builder().header("content-type", "application/json");
        let response = response.body(Full::new(body)).map_err(io::Error::other);
        async move {
            tokio::time::sleep(latency).await;
            response
        }
    })
}
