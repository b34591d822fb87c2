//! The events of the cache at every level. This is the only test in its process: whether a place
//! records events at all is decided once for all threads.

mod common;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::World;
use discovery_core::store::{Op, PutOptions, Store, Value, Writer};
use discovery_http_cache::HttpCacheLayer;
use http::Request;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// All events, with their fields.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<(Level, String)>>>);

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        use fmt::Write;
        write!(self.0, " {field}={value}").unwrap();
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("discovery_http_cache")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut Text(&mut text));
        let level = *event.metadata().level();
        self.0.lock().unwrap().push((level, text));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Fails with errors that tell the key.
struct Failing;

impl Failing {
    fn fail<T: Send>(key: &str) -> Op<io::Result<T>> {
        Op::Ready(Err(io::Error::other(format!("no such host\n: {key}"))))
    }
}

impl Store for Failing {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        Self::fail(key)
    }

    fn put_with(&self, key: &str, _: Value, _: PutOptions) -> Op<io::Result<()>> {
        Self::fail(key)
    }

    fn create_with(&self, key: &str, _: Bytes, _: PutOptions) -> Op<io::Result<Box<dyn Writer>>> {
        Self::fail(key)
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        Self::fail(key)
    }
}

#[test]
fn no_event_has_a_credential_a_query_or_a_line_break_and_each_warning_is_given_once() {
    const URI: &str = "https://user:p%40ss@h/a?token=SECRET&b=1";
    const VARY: (&str, &str) = ("vary", "accept");

    let events = Events::default();
    tracing::subscriber::with_default(events.clone(), || {
        tokio_test::block_on(async {
            let world = World::strict();
            for uri in ["/a?token=SECRET", "/b"] {
                world.server.ok(&[FRESH], "one");
                let get = Request::get(uri).body(common::empty()).unwrap();
                world.send(get).await.unwrap();
                world.server.ok(&[], "");
                let post = Request::post(uri).body(common::empty()).unwrap();
                world.send(post).await.unwrap();
            }
            for _ in 0..3 {
                let garbage = Value::new("", "garbage");
                world.store.put(URI, garbage).await.unwrap();
                world.server.ok(&[FRESH], "one");
                let get = Request::get(URI).body(common::empty()).unwrap();
                world.send(get).await.unwrap();
            }
            // Variants, whose keys have line breaks and request headers.
            let request = |value: &str| {
                let request = Request::get(URI).header("accept", value);
                request.body(common::empty()).unwrap()
            };
            world.store.remove(URI).await.unwrap();
            for value in ["SECRET", "SECRET2", "SECRET", "SECRET2"] {
                world.server.ok(&[FRESH, VARY], "one");
                world.send(request(value)).await.unwrap();
            }
            let keys = world.store.all_keys();
            assert!(keys.iter().any(|key| key.contains('\n')), "{keys:?}");
            world.server.ok(&[], "");
            let options = Request::options(URI).body(common::empty()).unwrap();
            world.send(options).await.unwrap();
            world.server.ok(&[], "");
            let post = Request::post(URI).body(common::empty()).unwrap();
            world.send(post).await.unwrap();

            let server = world.server.clone();
            let service = HttpCacheLayer::new(Failing).layer(server);
            for _ in 0..2 {
                world.server.ok(&[FRESH], "one");
                let response = service.clone().oneshot(request("SECRET")).await.unwrap();
                response.into_body().collect().await.unwrap();
            }
        });
    });
    let events = events.0.lock().unwrap();
    assert!(events.len() > 30, "{}", events.len());
    for (_, text) in &*events {
        for secret in ["user", "p%40ss", "SECRET", "token="] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    let warnings = events.iter().filter(|(level, _)| *level <= Level::WARN);
    let warnings: Vec<_> = warnings.map(|(_, text)| text).collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    // Each decision has its key and its reason.
    assert!(events.iter().any(|(_, text)| {
        text.contains("key=https://h/a ")
            && text.contains("decision=miss")
            && text.contains("reason=to be stored")
    }));
}
