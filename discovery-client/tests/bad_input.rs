//! Answers of servers that are wrong, out of proportion, or meant to do harm: a clear error, or what can be made of them.

use bytes::Bytes;
use discovery_client::DiscoveryClient;
use discovery_client::mapper::RestMapper;
use discovery_core::testing::{ScriptedService, fixtures};
use discovery_core::{Discovered, Error, Format};
use discovery_disk::DiskDiscoveryLayer;
use discovery_memory::MemoryDiscoveryLayer;
use http_body_util::Full;
use tower::Layer;

type Server = ScriptedService<Full<Bytes>, std::io::Error>;

/// A server with this answer to `/apis`, and no core group.
fn server(format: Format, apis: String) -> Server {
    let server = Server::default();
    let apis = Bytes::from(apis);
    server.fallback(move |request| {
        Ok(match request.uri().path() {
            "/api" => fixtures::status(404),
            "/apis" => fixtures::document(format, apis.clone()),
            _ => fixtures::document(
                Format::Legacy,
                r#"{"kind":"APIResourceList","resources":[{"name":"as","kind":"A","verbs":["get"]}]}"#,
            ),
        })
    });
    server
}

/// The outcome through no cache, which is also that through both of them.
async fn discover(server: &Server) -> Result<Discovered, Error> {
    let root = tempfile::tempdir().unwrap();
    let bare = DiscoveryClient::<_, Full<Bytes>>::new(server.clone())
        .discover()
        .await;
    let disk = DiskDiscoveryLayer::new(root.path()).layer(server.clone());
    let cached = MemoryDiscoveryLayer::new().layer(disk);
    let cached = DiscoveryClient::<_, Full<Bytes>>::new(cached)
        .discover()
        .await;
    match (&bare, &cached) {
        (Ok(bare), Ok(cached)) => {
            assert_eq!(
                bare.snapshot.group_versions(),
                cached.snapshot.group_versions()
            );
            assert_eq!(bare.snapshot.stale(), cached.snapshot.stale());
            let failed = |found: &Discovered| found.failed.keys().cloned().collect::<Vec<_>>();
            assert_eq!(failed(bare), failed(cached));
        }
        (Err(bare), Err(cached)) => assert_eq!(bare.to_string(), cached.to_string()),
        (bare, cached) => panic!("{bare:?} without a cache, {cached:?} with"),
    }
    bare
}

fn aggregated(items: &str) -> String {
    format!(
        r#"{{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":{items}}}"#
    )
}

fn resource(fields: &str) -> String {
    aggregated(&format!(
        r#"[{{"metadata":{{"name":"g"}},"versions":[{{"version":"v1","resources":[{{{fields}}}]}}]}}]"#
    ))
}

#[tokio::test]
async fn values_of_the_wrong_type_are_an_error_that_names_the_url() {
    for apis in [
        aggregated("5"),
        aggregated(r#""groups""#),
        aggregated("{}"),
        aggregated("[5]"),
        aggregated(r#"[{"metadata":{"name":5}}]"#),
        aggregated(r#"[{"metadata":{"name":"g"},"versions":[{"version":1}]}]"#),
        aggregated(r#"[{"metadata":{"name":"g"},"versions":[{"version":"v1","resources":{}}]}]"#),
        aggregated(r#"[{"metadata":{"name":"g"},"versions":[{"version":"v1","freshness":true}]}]"#),
        resource(r#""resource":5,"responseKind":{"kind":"A"}"#),
        resource(r#""resource":"as","responseKind":"A""#),
        resource(r#""resource":"as","responseKind":{"kind":["A"]}"#),
        resource(r#""resource":"as","responseKind":{"kind":"A"},"verbs":"get""#),
        resource(r#""resource":"as","responseKind":{"kind":"A"},"verbs":[1]"#),
        resource(r#""resource":"as","responseKind":{"kind":"A"},"shortNames":{"a":1}"#),
        String::new(),
        "null".into(),
        "[]".into(),
        "{".into(),
        "<html>".into(),
        format!("{}}}", aggregated("[]")),
        aggregated("[]").replace("APIGroupDiscoveryList", "Status"),
    ] {
        let server = server(Format::V2, apis.clone());
        let error = discover(&server).await.expect_err(&apis);
        let text = error.to_string();
        assert!(text.contains("/apis"), "{apis}: {text}");
        assert!(!text.contains('\n') && text.len() < 300, "{apis}: {text}");
        assert!(!error.is_transient(), "{apis}");
    }
}

#[tokio::test]
async fn odd_values_of_the_right_type_are_taken_as_they_are() {
    let odd = r#""resource":"as","responseKind":{"group":"x","version":"y","kind":"A"},"scope":"Galactic","verbs":["get","fly",""],"shortNames":["","a","a"],"categories":[""],"more":{"of":[1]}"#;
    let found = discover(&server(Format::V2, resource(odd))).await.unwrap();
    let list = found.snapshot.resources("g/v1").unwrap();
    assert!(!list.resources[0].namespaced);
    assert!(list.resources[0].supports_all(&["fly"]));
    let mapper = RestMapper::new(&found.snapshot);
    assert_eq!(mapper.resolve("a").unwrap().resource, "as");
    assert!(mapper.resolve("").is_err());

    // A name that is fit for a path passes, as in kubectl, though it is no DNS label; any other is left out.
    let names = [
        "UPPER",
        "-a",
        "a..b",
        "good",
        "a b",
        "..",
        ".a",
        "a/b",
        "é",
        &"x".repeat(300),
        "g\u{202e}",
    ];
    let item = |name: &&str| {
        format!(
            r#"{{"metadata":{{"name":"{name}"}},"versions":[{{"version":"v1","resources":[]}}]}}"#
        )
    };
    let items: Vec<_> = names.iter().map(item).collect();
    let found = discover(&server(
        Format::V2,
        aggregated(&format!("[{}]", items.join(","))),
    ))
    .await
    .unwrap();
    let names: Vec<_> = found
        .snapshot
        .group_versions()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["UPPER/v1", "-a/v1", "a..b/v1", "good/v1"]);
}

/// A server can nest as it likes: what reads it has a stack that ends.
#[tokio::test]
async fn nesting_has_an_end() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for depth in [200, 10_000, 1_000_000] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for apis in [nested.clone(), aggregated(&nested)] {
                let error = discover(&server(Format::V2, apis))
                    .await
                    .expect_err("too deep");
                assert!(error.to_string().contains("/apis"), "{error}");
            }
            // A field that nobody looks at is passed over, and takes no stack.
            let field = format!(r#"{{"kind":"APIGroupDiscoveryList","items":[],"more":{nested}}}"#);
            let found = discover(&server(Format::V2, field)).await.unwrap();
            assert!(found.snapshot.group_versions().is_empty());
        }
    }
}

/// More than the limit is not read, however it is sent; the limit can be set.
#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let padded = |bytes: usize| {
        let apis = aggregated("[]");
        format!("{}{apis}", " ".repeat(bytes - apis.len()))
    };
    let hundred = server(Format::V2, padded(100 << 20));
    let client = DiscoveryClient::<_, Full<Bytes>>::new(hundred.clone());
    let error = client.discover().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer from /apis has more than 67108864 bytes"
    );
    let found = client.max_body_size(128 << 20).discover().await.unwrap();
    assert!(found.snapshot.group_versions().is_empty());

    let small = server(Format::V2, padded(4096));
    for (limit, fits) in [(4095, false), (4096, true)] {
        let client = DiscoveryClient::<_, Full<Bytes>>::new(small.clone());
        assert_eq!(client.max_body_size(limit).discover().await.is_ok(), fits);
    }
}

/// Hundreds of thousands of groups, and names that all of them have. Whatever takes a square of that takes hours.
#[tokio::test]
async fn many_groups_take_as_long_as_they_are_many() {
    let document = |groups: usize| {
        let group = |n: usize| {
            format!(
                r#"{{"metadata":{{"name":"g{n}"}},"versions":[{{"version":"v1","resources":[{{"resource":"as","responseKind":{{"kind":"A"}},"singularResource":"a","shortNames":["s"],"categories":["all"]}}]}}]}}"#
            )
        };
        let groups: Vec<_> = (0..groups).map(group).collect();
        aggregated(&format!("[{}]", groups.join(",")))
    };
    let server = server(Format::V2, document(200_000));
    let layer = MemoryDiscoveryLayer::new();
    let client = DiscoveryClient::<_, Full<Bytes>>::new(layer.layer(server)).max_body_size(1 << 30);
    let found = client.discover().await.unwrap();
    assert_eq!(found.snapshot.group_versions().len(), 200_000);
    let mapper = RestMapper::new(&found.snapshot);
    assert_eq!(mapper.resolve("as").unwrap().full_name(), "as.v1.g0");
    assert_eq!(
        mapper.resolve("s.g199999").unwrap().full_name(),
        "as.v1.g199999"
    );
    assert!(mapper.resolve("nothing").is_err());
}
