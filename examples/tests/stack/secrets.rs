//! No byte of a Secret or of a token is ever in the cache directory.

use std::collections::BTreeMap;

use bytes::Bytes;
use discovery_core::Endpoint;
use discovery_disk::{DiskDiscoveryLayer, KubectlStore};
use discovery_http_cache::HttpCacheLayer;
use discovery_memory::MemoryDiscoveryLayer;
use embedded_apiserver::{
    CONFIG_MAP_MARKER, Canned, EmbeddedServer, Fault, SECRET_MARKER, SECRETS,
};
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{CACHE_CONTROL, ETAG},
    request,
};
use http_body_util::{BodyExt, Full};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, Discovery,
    api::{ListParams, PostParams},
    client::ClientBuilder,
};
use tower::{ServiceExt, buffer::BufferLayer};

use super::{
    kube_config::config,
    rig::{EVERY, Order, Program, Rig, TOKEN, Wire},
};

const SECRET: &str = "/api/v1/namespaces/default/secrets/database";

/// The marker as it is in the Secret, and what it stands for.
const PLAIN: &str = "correct-horse-battery-staple";

fn assert_no_secrets(rig: &Rig, what: &str) {
    let tree = rig.tree();
    assert!(!tree.files.is_empty(), "{what}: there is a cache");
    for needle in [
        SECRET_MARKER,
        PLAIN,
        CONFIG_MAP_MARKER,
        TOKEN,
        "Bearer",
        "Varied-Authorization",
    ] {
        assert_eq!(tree.contains(needle.as_bytes()), None, "{what}: {needle}");
    }
}

/// Ways to a Secret that a server might understand, and a cache might take for something harmless.
const WAYS: [&str; 14] = [
    SECRET,
    "/api/v1/secrets",
    "/api/v1/namespaces/default/secrets",
    "//api/v1/namespaces/default/secrets/database",
    "/api/../api/v1/namespaces/default/secrets/database",
    "/api/v1%2fnamespaces%2fdefault%2fsecrets%2fdatabase",
    "/apis/%2e%2e/api%2fv1%2fsecrets",
    "/apis/../api/v1/secrets",
    "/version/../api/v1/namespaces/default/secrets/database",
    "/openapi/v2/../../api/v1/secrets",
    "/openapi/v3/../../api/v1/namespaces/default/secrets/database",
    "/openapi/v3/%2e%2e/%2e%2e/api/v1/namespaces/default/secrets/database",
    "/openapi/v3/.%2E/..%2fapi/v1/secrets/database",
    "/openapi/v3//api/v1/namespaces/default/secrets/database",
];

/// A server that answers each of these ways with a Secret, and praises it to caches.
fn careless(rig: &Rig) {
    let secret = format!(
        r#"{{"kind":"Secret","apiVersion":"v1","metadata":{{"name":"database","namespace":"default"}},"data":{{"password":"{SECRET_MARKER}"}}}}"#
    );
    let canned = Canned::json(secret)
        .header(ETAG, HeaderValue::from_static("\"secret\""))
        .header(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=3600"),
        );
    for way in WAYS {
        rig.control.set_fault(way, Fault::Answer(canned.clone()));
    }
}

async fn read_everything(program: &Program) {
    for path in WAYS {
        for query in ["", "?timeout=32s"] {
            let (status, body) = program.get(&format!("{path}{query}")).await;
            assert_eq!(status, StatusCode::OK, "{path}{query}");
            let text = String::from_utf8_lossy(&body);
            assert!(text.contains(SECRET_MARKER), "{path}{query}: {text}");
        }
    }
    for path in [
        "/api/v1/configmaps",
        "/openapi/v2",
        "/openapi/v3",
        "/version",
    ] {
        let (status, _) = program.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    // Some other ways to ask for it, twice, as a cache would like it.
    for _ in 0..2 {
        for method in [Method::GET, Method::POST, Method::PUT, Method::HEAD] {
            let request = Request::builder()
                .method(&method)
                .uri(SECRET)
                .header("cache-control", "max-stale, max-age=3600")
                .header("accept", "application/json")
                .body(Full::<Bytes>::from(SECRET_MARKER))
                .expect("a request");
            let answer = program
                .service
                .clone()
                .oneshot(request)
                .await
                .expect("an answer");
            assert!(answer.status().is_success(), "{method}");
            answer.into_body().collect().await.expect("a body");
        }
    }
}

#[tokio::test]
async fn no_secret_is_stored_by_any_stack() {
    for (wire, order) in EVERY {
        for vary in [false, true] {
            let what = format!("{wire:?} {order:?} {vary}");
            let server = EmbeddedServer::builder().vary_authorization(vary);
            let rig = Rig::new(wire, order, server).await;
            let program = rig.program();
            program.run().await;
            // As the server is, then as it had better not be.
            let (status, _) = program.get(SECRET).await;
            assert_eq!(status, StatusCode::OK, "{what}");
            careless(&rig);
            read_everything(&program).await;
            program.rerun().await;
            read_everything(&rig.program()).await;
            assert_no_secrets(&rig, &what);
            let asked = rig.control.counters();
            let secret = asked.path(SECRET);
            let times = 1 + 2 * (2 + 2 * 4);
            assert_eq!(secret, times, "{what}: {asked:?}: each time anew");
            // Answers that vary by credentials are not kept, and the discovery files are all the same.
            let entries = rig.entries();
            assert_eq!(
                entries.names().is_empty(),
                vary,
                "{what}: {:?}",
                entries.names()
            );
            rig.control.clear_log();
            assert!(rig.program().discover().await.snapshot.is_complete());
            assert_eq!(rig.taken().len(), 0);
        }
    }
}

/// A kube client over all caching layers, allow-listed as the stacks are.
fn cached_client(rig: &Rig) -> Client {
    let address: http::Uri = rig.server.url().parse().expect("a URL");
    let (Some(scheme), Some(authority)) = (address.scheme(), address.authority()) else {
        panic!("{address} is absolute");
    };
    let http = HttpCacheLayer::new(KubectlStore::new(rig.root.path().join("http")))
        .kubectl()
        .authority(scheme.clone(), authority.clone())
        .cacheable(|request: &request::Parts| Endpoint::parse(request.uri.path(), "").is_some());
    let files = DiskDiscoveryLayer::new(rig.root.path().join(rig.server_dir()));
    ClientBuilder::try_from(config(&rig.server))
        .expect("a client")
        .with_layer(&BufferLayer::new(64))
        .with_layer(&http)
        .with_layer(&MemoryDiscoveryLayer::new())
        .with_layer(&files)
        .build()
}

#[tokio::test]
async fn through_kube_rs() {
    for wire in [Wire::Plain, Wire::Tls] {
        for vary in [false, true] {
            let what = format!("{wire:?} {vary}");
            let server = EmbeddedServer::builder().vary_authorization(vary);
            let rig = Rig::new(wire, Order::Kubectl, server).await;
            for _ in 0..2 {
                let client = cached_client(&rig);
                let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
                let one = secrets.get(SECRETS[0]).await.expect("a Secret");
                let data = one.data.clone().expect("data");
                assert!(
                    data.values().any(|value| value.0 == PLAIN.as_bytes()),
                    "{what}"
                );
                let all = secrets.list(&ListParams::default()).await.expect("Secrets");
                assert_eq!(all.items.len(), SECRETS.len());
                let maps: Api<ConfigMap> = Api::all(client.clone());
                maps.list(&ListParams::default())
                    .await
                    .expect("config maps");
                let new = Secret {
                    string_data: Some(BTreeMap::from([("password".into(), PLAIN.into())])),
                    metadata: one.metadata.clone(),
                    ..Secret::default()
                };
                secrets
                    .create(&PostParams::default(), &new)
                    .await
                    .expect("it comes back");
                careless(&rig);
                for way in WAYS {
                    let request = Request::get(way).body(Vec::new()).expect("a request");
                    let text = client.request_text(request).await.expect("an answer");
                    assert!(text.contains(SECRET_MARKER), "{what}: {way}");
                }
                rig.control.clear_faults();
                client.apiserver_version().await.expect("a version");
                Discovery::new(client.clone())
                    .run()
                    .await
                    .expect("discovery");
                Discovery::new(client)
                    .run_aggregated()
                    .await
                    .expect("discovery");
            }
            assert_no_secrets(&rig, &what);
            assert_eq!(rig.entries().names().is_empty(), vary, "{what}");
            assert_eq!(rig.control.counters().path(SECRET), 2 * 2, "{what}");
        }
    }
}
