//! The warning about relative URIs. It is alone in its process: whether an event is recorded at all is
//! decided once for all threads.

mod common;

use common::World;
use http::Request;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// One layer for relative URIs warns once.
#[test]
fn one_warning() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    #[derive(Default)]
    struct Warnings(Arc<AtomicUsize>);

    impl Subscriber for Warnings {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == Level::WARN
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    let warnings = Warnings::default();
    let count = Arc::clone(&warnings.0);
    tracing::subscriber::with_default(warnings, || {
        tokio_test::block_on(async {
            let world = World::strict();
            for uri in ["/a", "/b"] {
                world.server.ok(&[FRESH], "one");
                world
                    .send(Request::get(uri).body(()).unwrap())
                    .await
                    .unwrap();
                world.server.ok(&[], "");
                world
                    .send(Request::post(uri).body(()).unwrap())
                    .await
                    .unwrap();
            }
        });
    });
    assert_eq!(count.load(Ordering::Relaxed), 1);
}
