//! The OpenAPI client: its requests, what it keeps, and what it does with bad answers.

use bytes::Bytes;
use discovery_client::DiscoveryClient;
use discovery_client::openapi::{Document, Explain, ExplainError, OpenApi, OpenApiFormat};
use discovery_client::request_defaults::RequestDefaultsLayer;
use discovery_core::GroupVersion;
use discovery_core::testing::{BodyScript, Gate, ScriptedService, TestError};
use http::header::ACCEPT;
use http::{Response, StatusCode, Uri};
use http_body_util::Full;
use tokio_test::task::spawn;
use tower_layer::Layer;

type Server = ScriptedService<BodyScript, TestError>;
type Client = DiscoveryClient<Server, Full<Bytes>>;

const INDEX: &str = "/openapi/v3";
const APPS: &str = "/openapi/v3/apis/apps/v1";

fn server() -> (Server, Client) {
    let server = ScriptedService::new();
    (server.clone(), DiscoveryClient::new(server))
}

fn apps() -> GroupVersion {
    "apps/v1".parse().unwrap()
}

/// The index of a server whose only document is that of `apps/v1`.
fn index(url: &str) -> String {
    serde_json::json!({"paths": {"apis/apps/v1": {"serverRelativeURL": url}}}).to_string()
}

fn ok(body: impl Into<BodyScript>) -> Response<BodyScript> {
    Response::new(body.into())
}

fn failed(code: u16) -> Response<BodyScript> {
    let mut response = ok("no");
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// Paths and queries, in order.
fn taken(server: &Server) -> Vec<String> {
    let requests = server.take_requests();
    requests
        .iter()
        .map(|request| request.uri().to_string())
        .collect()
}

async fn fetch(openapi: &OpenApi<Server, Full<Bytes>>) {
    openapi.v3_document(&apps()).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_form_of_v2_is_in_accept() {
    let (server, client) = server();
    for (format, accept) in [
        (
            OpenApiFormat::Protobuf,
            "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        ),
        (OpenApiFormat::Json, "application/json"),
    ] {
        server.respond(ok("as it comes"));
        assert_eq!(client.openapi().v2(format).await.unwrap(), "as it comes");
        let request = server.last_request().unwrap();
        assert_eq!(request.headers()[ACCEPT], accept);
        assert_eq!(request.uri().path(), "/openapi/v2");
    }
}

#[tokio::test]
async fn documents_are_asked_for_once_and_only_when_wanted() {
    let (server, client) = server();
    server.respond_at(INDEX, |_| ok(index("/openapi/v3/apis/apps/v1?hash=A")));
    server.respond_at(APPS, |_| ok("{}"));
    let openapi = client.openapi();
    assert_eq!(openapi.v3_paths().await.unwrap().len(), 1);
    assert_eq!(taken(&server), [INDEX]);
    fetch(&openapi).await;
    fetch(&client.openapi()).await;
    fetch(&client.clone().openapi()).await;
    assert_eq!(taken(&server), [format!("{APPS}?hash=A")]);
    let unknown = "batch/v1".parse().unwrap();
    assert!(openapi.v3_document(&unknown).await.unwrap().is_none());
    assert_eq!(taken(&server), [""; 0]);
}

#[tokio::test]
async fn a_document_survives_an_invalidation_as_long_as_its_hash() {
    let (server, client) = server();
    server.respond_at(APPS, |_| ok("{}"));
    let openapi = client.openapi();
    let cases: [(&str, bool); 5] = [
        ("/openapi/v3/apis/apps/v1?hash=A", true),
        ("/openapi/v3/apis/apps/v1?hash=A", false),
        ("/openapi/v3/apis/apps/v1?hash=B", true),
        // The old one was dropped.
        ("/openapi/v3/apis/apps/v1?hash=A", true),
        ("/openapi/v3/apis/apps/v1?hash=A", false),
    ];
    for (url, is_asked_for) in cases {
        server.respond_at(INDEX, move |_| ok(index(url)));
        client.invalidate();
        fetch(&openapi).await;
        let expected: &[&str] = if is_asked_for {
            &[INDEX, url]
        } else {
            &[INDEX]
        };
        assert_eq!(taken(&server), expected);
    }
}

#[tokio::test]
async fn a_document_without_a_hash_is_asked_for_again() {
    let (server, client) = server();
    server.respond_at(INDEX, |_| ok(index(APPS)));
    server.respond_at(APPS, |_| ok("{}"));
    let openapi = client.openapi();
    for _ in 0..2 {
        openapi.invalidate();
        fetch(&openapi).await;
        fetch(&openapi).await;
        assert_eq!(taken(&server), [INDEX, APPS]);
    }
}

#[tokio::test]
async fn a_hash_that_is_gone_is_looked_up_in_a_new_index() {
    for code in [404, 301] {
        let (server, client) = server();
        server.respond(ok(index("/openapi/v3/apis/apps/v1?hash=A")));
        server.respond(failed(code));
        server.respond(ok(index("/openapi/v3/apis/apps/v1?hash=B")));
        server.respond(ok("{}"));
        fetch(&client.openapi()).await;
        let [a, b] = ["A", "B"].map(|hash| format!("{APPS}?hash={hash}"));
        assert_eq!(taken(&server), [INDEX, &a, INDEX, &b], "{code}");
    }
    // The new index says the same: the server contradicts itself.
    let (server, client) = server();
    server.respond_at(INDEX, |_| ok(index("/openapi/v3/apis/apps/v1?hash=A")));
    server.respond_at(APPS, |_| failed(404));
    let error = client.openapi().v3_document(&apps()).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(taken(&server).len(), 3);
}

#[tokio::test]
async fn servers_without_v3_are_told_apart() {
    for code in [404, 403, 503] {
        let (server, client) = server();
        server.respond_at(INDEX, move |_| failed(code));
        let error = client.openapi().v3_paths().await.unwrap_err();
        assert_eq!(error.code().map(|code| code.as_u16()), Some(code));
        assert_eq!(error.is_not_found(), code == 404);
        // An error is not kept.
        server.respond_at(INDEX, |_| ok(index(APPS)));
        assert_eq!(client.openapi().v3_paths().await.unwrap().len(), 1);
    }
}

#[test]
fn callers_at_the_same_time_share_one_request() {
    let (server, client) = server();
    server.respond_at(INDEX, |_| ok(index("/openapi/v3/apis/apps/v1?hash=A")));
    server.respond_at(APPS, |_| ok("{}"));
    let gate = Gate::new();
    server.hold_answers(&gate);
    let openapi = client.openapi();
    let group_version = apps();
    let mut first = spawn(openapi.v3_document(&group_version));
    let mut second = spawn(openapi.v3_document(&group_version));
    let mut third = spawn(openapi.v3_document(&group_version));
    assert!(first.poll().is_pending() && second.poll().is_pending() && third.poll().is_pending());
    // A caller that goes away leaves its duty to the next one.
    drop(first);
    gate.open();
    let mut documents = Vec::new();
    for _ in 0..10 {
        for call in [&mut second, &mut third] {
            if documents.len() < 2
                && call.is_woken()
                && let std::task::Poll::Ready(document) = call.poll()
            {
                documents.push(document.unwrap().unwrap());
            }
        }
    }
    assert!(std::sync::Arc::ptr_eq(&documents[0], &documents[1]));
    // The one that went away had sent its request already.
    let asked = taken(&server);
    assert_eq!(asked.iter().filter(|path| *path == INDEX).count(), 2);
    assert_eq!(asked.iter().filter(|path| *path != INDEX).count(), 1);
}

#[tokio::test]
async fn urls_stay_on_the_server_and_below_its_path() {
    let root = "https://proxy.test/k8s/c-1";
    let below = format!("{root}/openapi/v3/apis/apps/v1?hash=A&timeout=32s");
    for (url, asked) in [
        ("/openapi/v3/apis/apps/v1?hash=A", below.as_str()),
        ("/k8s/c-1/openapi/v3/apis/apps/v1?hash=A", &below),
        ("https://evil.test/openapi/v3/apis/apps/v1?hash=A", &below),
        ("//evil.test/openapi/v3/apis/apps/v1?hash=A", &below),
        (
            "https://u:p@proxy.test/k8s/c-1/openapi/v3/apis/apps/v1?hash=A",
            &below,
        ),
        (
            "/schemas/apps?hash=A",
            "https://proxy.test/schemas/apps?hash=A",
        ),
        (
            "ftp://evil.test/schemas/apps",
            "https://proxy.test/schemas/apps",
        ),
    ] {
        let server = Server::new();
        server.respond(ok(index(url)));
        server.respond(ok("{}"));
        let address = Uri::from_static(root);
        let service = RequestDefaultsLayer::new(&address).layer(server.clone());
        let client = DiscoveryClient::<_, Full<Bytes>>::new(service).server(&address);
        client
            .openapi()
            .v3_document(&apps())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(taken(&server)[1], asked, "{url}");
    }
}

#[tokio::test]
async fn bad_answers_are_errors() {
    for answer in ["", "[]", "null", "{\"paths\":[]}", "{\"paths\":{\"a\":1}}"] {
        let (server, client) = server();
        server.respond(ok(answer));
        let error = client.openapi().v3_paths().await.unwrap_err();
        assert!(error.code().is_none() && !error.is_transport(), "{answer}");
    }
    let deep = "[".repeat(200_000);
    for answer in ["", "[]", "{", "{\"components\":", &deep] {
        let (server, client) = server();
        server.respond(ok(index(APPS)));
        server.respond(ok(answer.to_owned()));
        assert!(client.openapi().v3_document(&apps()).await.is_err());
    }
    for url in ["", "openapi/v3", "https://evil.test", "mailto:a@b", "/a b"] {
        let (server, client) = server();
        server.respond(ok(index(url)));
        assert!(
            client.openapi().v3_document(&apps()).await.is_err(),
            "{url}"
        );
        assert_eq!(taken(&server), [INDEX], "{url}");
    }
    let (server, client) = server();
    let client = client.max_body_size(100);
    server.respond(ok(" ".repeat(101)));
    let error = client.openapi().v3_paths().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer from /openapi/v3 has more than 100 bytes"
    );
}

/// A document with one resource, `things`, and these schemas.
fn document(schemas: &serde_json::Value) -> Document {
    let kind = serde_json::json!({"group": "apps", "version": "v1", "kind": "Thing"});
    let mut schemas = schemas.clone();
    schemas["a"]["x-kubernetes-group-version-kind"] = serde_json::json!([kind]);
    let document = serde_json::json!({
        "paths": {"/apis/apps/v1/things": {"get": {"x-kubernetes-group-version-kind": kind}}},
        "components": {"schemas": schemas},
    });
    Document::parse(document.to_string().as_bytes()).unwrap()
}

fn explain(document: &Document, fields: &[&str]) -> Result<String, ExplainError> {
    let things = apps().with_resource("things");
    let explain = Explain::new(&things).fields(fields.iter().copied());
    explain.clone().to_text(document)?;
    explain.recursive(true).to_text(document)
}

#[test]
fn loops_and_shapes_that_make_no_sense_do_not_panic() {
    let reference =
        |name: &str| serde_json::json!({"$ref": format!("#/components/schemas/{name}")});
    let all_of = |name: &str| serde_json::json!({"allOf": [reference(name), reference(name)]});
    let mut doubling = serde_json::json!({"a": all_of("b0")});
    for level in 0..100 {
        doubling[format!("b{level}")] = all_of(&format!("b{}", level + 1));
    }
    let mut chain = serde_json::json!({"a": {"items": reference("b0")}});
    for level in 0..100_000 {
        chain[format!("b{level}")] =
            serde_json::json!({"items": reference(&format!("b{}", level + 1))});
    }
    for (name, schemas, fails) in [
        ("itself", serde_json::json!({"a": reference("a")}), false),
        (
            "a circle",
            serde_json::json!({"a": {"properties": {"x": reference("b")}}, "b": reference("c"), "c": reference("b")}),
            false,
        ),
        (
            "items of itself",
            serde_json::json!({"a": {"items": reference("a")}}),
            true,
        ),
        (
            "map of itself",
            serde_json::json!({"a": {"additionalProperties": reference("a")}}),
            true,
        ),
        (
            "all of itself",
            serde_json::json!({"a": {"allOf": [reference("a")]}}),
            true,
        ),
        ("doubling", doubling, true),
        ("a long chain", chain, true),
        (
            "wrong types",
            serde_json::json!({"a": {"properties": [], "items": 3, "enum": "x", "required": {}, "allOf": 7, "type": ["x"], "description": {"a": 1}}}),
            false,
        ),
        (
            "wrong fields",
            serde_json::json!({"a": {"properties": {"x": 1, "y": null, "z": [], "$ref": "#"}}}),
            false,
        ),
    ] {
        let document = document(&schemas);
        assert_eq!(explain(&document, &[]).is_err(), fails, "{name}");
        assert!(explain(&document, &["x", "y", "z"]).is_err(), "{name}");
        let schema = document.schema(&apps().with_kind("Thing")).unwrap();
        let mut below = schema;
        for _ in 0..1_000 {
            let Some(next) = below.items().or(below.values()) else {
                break;
            };
            below = next;
        }
        assert!(schema.property("nothing").is_none(), "{name}");
    }
}

#[test]
fn schemas_tell_their_parts() {
    let document = document(&serde_json::json!({
        "a": {"properties": {
            "list": {"type": "array", "items": {"$ref": "#/components/schemas/b"}},
            "map": {"type": "object", "additionalProperties": {"allOf": [{"$ref": "#/components/schemas/b"}]}},
            "any": {"type": "object", "additionalProperties": true},
            "mode": {"type": "string", "enum": ["x", "y"]},
            "port": {"allOf": [{"$ref": "#/components/schemas/c"}], "description": "Here."}}},
        "b": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        "c": {"format": "int-or-string", "description": "There."},
    }));
    let schema = document.schema(&apps().with_kind("Thing")).unwrap();
    assert!(document.schema(&apps().with_kind("Other")).is_none());
    let names: Vec<_> = schema.properties().map(|(name, _)| name).collect();
    assert_eq!(names, ["any", "list", "map", "mode", "port"]);
    let property = |name| schema.property(name).unwrap();
    for part in [property("list").items(), property("map").values()] {
        let part = part.unwrap();
        assert!(part.requires("name") && !part.requires("other"));
        assert_eq!(part.reference(), Some("b"));
        assert_eq!(part.property("name").unwrap().type_name(), Some("string"));
    }
    assert!(property("any").values().is_none());
    assert_eq!(property("mode").enumeration(), ["x", "y"]);
    assert_eq!(property("port").description(), Some("Here."));
    assert_eq!(property("port").format(), Some("int-or-string"));
}
