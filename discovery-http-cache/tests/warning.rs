//! Warnings: each is given once, and without what is nobody's business. They are alone in their process:
//! whether an event is recorded at all is decided once for all threads.

mod common;

use common::World;
use http::Request;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

use std::fmt;
use std::sync::{Arc, Mutex};

use discovery_core::store::{Store, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// All events, with their fields.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<(Level, String)>>>);

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
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

#[test]
fn one_warning_of_each_kind() {
    const URI: &str = "https://user:password@h/a?token=secret";

    let events = Events::default();
    tracing::subscriber::with_default(events.clone(), || {
        tokio_test::block_on(async {
            let world = World::strict();
            for uri in ["/a?token=secret", "/b"] {
                world.server.ok(&[FRESH], "one");
                let get = Request::get(uri).body(()).unwrap();
                world.send(get).await.unwrap();
                world.server.ok(&[], "");
                let post = Request::post(uri).body(()).unwrap();
                world.send(post).await.unwrap();
            }
            for _ in 0..3 {
                let garbage = Value::new("", "garbage");
                world.store.put(URI, garbage).await.unwrap();
                world.server.ok(&[FRESH], "one");
                let get = Request::get(URI).body(()).unwrap();
                world.send(get).await.unwrap();
            }
            world.server.ok(&[], "");
            let options = Request::options(URI).body(()).unwrap();
            world.send(options).await.unwrap();
        });
    });
    let events = events.0.lock().unwrap();
    let warnings: Vec<_> = events
        .iter()
        .filter(|(level, _)| *level <= Level::WARN)
        .map(|(_, text)| text)
        .collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings.iter().all(|text| !text.contains("secret")),
        "{warnings:?}"
    );
    assert!(events.len() > 10);
    assert!(
        events.iter().all(|(_, text)| !text.contains("password")),
        "{events:?}"
    );
    // Each decision has its key and its reason.
    assert!(events.iter().any(|(_, text)| {
        text.contains("key=https://***@h/a?token=secret")
            && text.contains("decision=\"miss\"")
            && text.contains("reason=\"to be stored\"")
    }));
}
