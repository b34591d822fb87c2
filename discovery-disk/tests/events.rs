//! The events of the layers and stores at every level. This is the only test in its process: whether
//! a place records events at all is decided once for all threads.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_core::http::uri;
use discovery_core::store::{Store, Value};
use discovery_core::sync::clock::ManualClock;
use discovery_core::testing::{EventLevel, Events, ScriptedStore, StoreOp};
use discovery_disk::record::{DiskStoreLayer, Mode};
use discovery_disk::store::DiskStoreOptions;
use discovery_disk::{DiskDiscoveryLayer, DiskStore, KubectlStore};
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty, Full};
use tokio_test::block_on;
use tower::{Layer, ServiceExt};

const URI: &str = "https://user:p%40ss@h/x?token=SECRET&b=1";

const SECRETS: [&str; 6] = ["user", "p%40ss", "p@ss", "p%2540ss", "SECRET", "token="];

/// Checks the events so far, and returns the warnings among them.
fn take_warnings(events: &Events, kind: &str) -> Vec<String> {
    events.assert_without(&SECRETS);
    let events = events.take();
    assert!(!events.is_empty(), "{kind}");
    let warnings = events.iter().filter(|event| event.is_warning());
    warnings.map(ToString::to_string).collect()
}

/// Fails with errors that tell the key.
fn failing() -> ScriptedStore {
    let store = ScriptedStore::new();
    for op in StoreOp::ALL {
        store.fail_with(op, |key| io::Error::other(format!("no such host\n: {key}")));
    }
    store
}

fn send(layer: &DiskStoreLayer, request: Request<Empty<Bytes>>, response: &Response<&'static str>) {
    let answer = response.clone().map(Full::<Bytes>::from);
    let server = tower::service_fn(move |_: Request<Empty<Bytes>>| {
        let answer = answer.clone();
        async { Ok::<_, Infallible>(answer) }
    });
    block_on(async {
        let response = layer.layer(server).oneshot(request).await.unwrap();
        // A body that is cut short fails.
        let _ = response.into_body().collect().await;
    });
}

fn get(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

fn with_secret(
    mut request: Request<Empty<Bytes>>,
    name: header::HeaderName,
) -> Request<Empty<Bytes>> {
    request
        .headers_mut()
        .insert(name, "SECRET".parse().unwrap());
    request
}

/// Misses, hits, bodies that are not recorded, damage, and requests that bypass.
fn use_all(layer: &DiskStoreLayer, damage: impl Fn()) {
    let response = |length: Option<&str>| {
        let mut response = Response::new("body");
        if let Some(length) = length {
            let length = length.parse().unwrap();
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
        }
        response
    };
    for mode in [Mode::ReadThrough, Mode::Record, Mode::Replay] {
        let layer = layer.clone().mode(mode);
        for _ in 0..2 {
            send(&layer, get(URI), &response(None));
            send(
                &layer,
                with_secret(get(URI), header::RANGE),
                &response(None),
            );
            send(
                &layer,
                with_secret(get(URI), header::COOKIE),
                &response(None),
            );
            send(&layer, get("/x?token=SECRET"), &response(None));
            damage();
            send(&layer, get(URI), &response(None));
            damage();
            send(&layer, get(URI), &response(Some("5")));
            damage();
            let short = layer.clone().max_body_size(3);
            send(&short, get(URI), &response(Some("4")));
            damage();
            send(&short, get(URI), &response(None));
        }
    }
}

#[test]
fn no_event_has_a_credential_a_query_or_a_line_break_and_each_warning_is_given_once() {
    let events = Events::new("discovery_");
    let dir = tempfile::tempdir().unwrap();
    let sub = |name: &str| dir.path().join(name);
    let plain = |key: &str| format!("{}.x", key.replace("://", ":/")).into();
    let variant = |parts: &http::request::Parts| {
        let key = uri::cache_key(&parts.method, &parts.uri, None)?;
        Some(format!("{key}\nvariant\naccept: SECRET\u{1b}[31m"))
    };
    let stores: [(&str, Arc<dyn Store>); 4] = [
        (
            "disk",
            Arc::new(DiskStore::with_options(
                sub("a"),
                DiskStoreOptions::new().max_value_size(900),
            )),
        ),
        (
            "names",
            Arc::new(DiskStore::with_options(
                sub("b"),
                DiskStoreOptions::new()
                    .file_names(plain)
                    .max_value_size(900),
            )),
        ),
        ("kubectl", Arc::new(KubectlStore::new(sub("c")))),
        ("failing", Arc::new(failing())),
    ];
    events.capture(|| {
        for (kind, store) in &stores {
            for (keys, layer) in [
                ("urls", DiskStoreLayer::new(Arc::clone(store))),
                (
                    "variants",
                    DiskStoreLayer::new(Arc::clone(store)).key(variant),
                ),
            ] {
                let key = match keys {
                    "urls" => URI.replace("token=SECRET&b=1", "b=1&token=SECRET"),
                    _ => format!("{}\nvariant\naccept: SECRET\u{1b}[31m", sorted()),
                };
                let damage = || {
                    let _ = block_on(store.put(&key, Value::new("", "garbage")));
                };
                use_all(&layer, damage);
                // Too large for two of the stores.
                let large = Value::new("", vec![b'x'; 1_000]);
                let _ = block_on(store.put(&key, large));
                send(&layer, get(URI), &Response::new("body"));
                let mut warnings = take_warnings(&events, kind);
                warnings.sort();
                let distinct = warnings.len();
                warnings.dedup();
                assert_eq!(distinct, warnings.len(), "{warnings:?}");
                assert!((2..=4).contains(&distinct), "{kind} {keys} {warnings:?}");
            }
        }
    });
    let names: Vec<_> = std::fs::read_dir(sub("a"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".diskv-temp")
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    for name in names {
        assert!(name.starts_with("https%3a%2f%2fh%2fx~"), "{name}");
    }

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = sub("open to all");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        events.capture(|| {
            let store = DiskStore::new(&open);
            for _ in 0..2 {
                assert_eq!(block_on(store.get("key")).unwrap(), None);
                block_on(store.put("key", Value::default())).unwrap_err();
            }
            let warnings = take_warnings(&events, "not trusted");
            assert_eq!(warnings.len(), 1);
            assert!(
                warnings[0].contains("others may write to it"),
                "{warnings:?}"
            );
        });
    }

    let occupied = sub("file");
    std::fs::write(&occupied, "no directory").unwrap();
    events.capture(|| {
        let server = Uri::from_static("https://user:p%40ss@h");
        let layer = DiskDiscoveryLayer::new(occupied).server(&server);
        let groups = r#"{"kind":"APIGroupList","groups":[{"name":"a\u000ab","versions":[]}]}"#;
        for (api, apis) in [
            (r#"{"kind":"APIVersions","versions":["v1"]}"#, groups),
            ("?", "\n"),
        ] {
            let server = move |request: Request<Full<Bytes>>| async move {
                let answer = if request.uri().path() == "/api" {
                    api
                } else {
                    apis
                };
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer)))
            };
            let service = layer.layer(tower::service_fn(server));
            for _ in 0..2 {
                let request = Request::get("https://user:p%40ss@h/api?token=SECRET");
                let request = request.header("cache-control", "no-cache");
                let request = request.body(Full::default()).unwrap();
                let _ = block_on(service.clone().oneshot(request));
            }
        }
        let warnings = take_warnings(&events, "discovery");
        assert_eq!(warnings.len(), 1);
        // The reason, and not only the action that failed.
        assert!(warnings[0].contains("Not a directory"), "{warnings:?}");
        discovery_decisions(&events, &sub("decisions"));
    });
}

/// Checks that each decision of a discovery layer is an event at DEBUG, with its reason, and tells which file was
/// used and how old it was.
fn discovery_decisions(events: &Events, dir: &Path) {
    let server = tower::service_fn(|request: Request<Full<Bytes>>| async move {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(
            match request.uri().path() {
                "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
                _ => r#"{"kind":"APIGroupList","groups":[]}"#,
            },
        )))
    });
    let clock = ManualClock::new(SystemTime::now());
    let layer = DiskDiscoveryLayer::new(dir).clock(clock.clone());
    let told = |path: &str| {
        let request = Request::get(format!("{path}?token=SECRET"));
        let request = request.body(Full::default()).unwrap();
        block_on(layer.layer(server).oneshot(request)).unwrap();
        let told = events.take().into_iter().map(|event| {
            let text = event.to_string();
            assert_eq!(event.level(), EventLevel::Debug, "{text}");
            assert!(!text.contains("SECRET"), "{text}");
            text
        });
        told.collect::<Vec<_>>()
    };
    let has = |told: &[String], expected: &[&str]| {
        for expected in expected {
            let found = told.iter().any(|text| text.contains(expected));
            assert!(found, "{expected} in {told:#?}");
        }
    };
    let miss = told("/apis");
    has(
        &miss,
        &[
            " cache=disk decision=miss reason=its documents are not known path=/apis",
            " decision=write file=",
            " cache=disk decision=save groups=true lists=0",
        ],
    );
    clock.advance(Duration::from_secs(60));
    let hit = told("/api");
    has(
        &hit,
        &[
            "decision=read file=",
            "servergroups.json age=Some(",
            "decision=hit path=/api",
        ],
    );
    has(
        &told("/version"),
        &["decision=pass reason=its path is not one of discovery path=/version"],
    );
    clock.advance(Duration::from_secs(7 * 60 * 60));
    has(
        &told("/apis"),
        &[
            "decision=skip reason=expired file=",
            "decision=miss",
            "decision=renew file=",
        ],
    );
    layer.handle().invalidate();
    let refreshed = told("/apis");
    has(
        &refreshed,
        &[
            "decision=refresh reason=its handle was told to invalidate it",
            "decision=skip reason=this process has not written it since the cache was invalidated file=",
        ],
    );
}

/// The key of [`URI`].
fn sorted() -> String {
    let uri = Uri::from_static(URI);
    uri::cache_key(&http::Method::GET, &uri, None).unwrap()
}
