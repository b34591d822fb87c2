//! A 304 that brings nothing but a new `Date` and another request id: what is written, what is copied.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use discovery_bench_http_cache::origin::Confirming;
use discovery_bench_http_cache::{caches, get, runtime, send};
use discovery_core::store::{Op, PutOptions, Store, Value, Writer};

use crate::report;

const URI: &str = "http://127.0.0.1:6443/version";
const SIZE: usize = 512 << 10;
const REQUESTS: u64 = 100;

pub(crate) fn run() {
    let runtime = runtime();
    watch("memory", &runtime, caches::memory());
    let dir = tempfile::tempdir().expect("a directory");
    watch("disk", &runtime, caches::disk(dir.path()));
}

fn watch(name: &str, runtime: &tokio::runtime::Runtime, store: impl Store) {
    let store = Watched {
        inner: Arc::new(store),
        writes: Arc::default(),
        last: Arc::default(),
    };
    let origin = Confirming::new(SIZE);
    let mut ours = caches::ours(store.clone(), origin.clone());
    runtime.block_on(send(&mut ours, get(URI)));
    let before = store.writes();
    let mut copies = 0;
    for _ in 0..REQUESTS {
        let response = runtime.block_on(send(&mut ours, get(URI)));
        assert_eq!(
            (response.status().as_u16(), response.body().len()),
            (200, SIZE)
        );
        copies += u64::from(!store.returned(response.body()));
    }
    assert_eq!(origin.asked(), REQUESTS + 1, "each one is validated");
    report(&format!("unchanged/{name}/writes"), store.writes() - before);
    report(&format!("unchanged/{name}/copies"), copies);
}

/// Counts what is written, and knows where in memory the last value is that was read.
#[derive(Clone)]
struct Watched {
    inner: Arc<dyn Store>,
    writes: Arc<AtomicU64>,
    last: Arc<Mutex<Range<usize>>>,
}

impl Watched {
    fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Whether these bytes are a part of what was read, and no copy.
    fn returned(&self, bytes: &Bytes) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let start = bytes.as_ptr().addr();
        last.start <= start && start + bytes.len() <= last.end
    }

    fn count(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Store for Watched {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        let last = Arc::clone(&self.last);
        self.inner.get(key).map(move |got| {
            if let Ok(Some(value)) = &got {
                let start = value.body.as_ptr().addr();
                *last.lock().unwrap_or_else(PoisonError::into_inner) =
                    start..start + value.body.len();
            }
            got
        })
    }

    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        self.count();
        self.inner.put_with(key, value, options)
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        self.count();
        self.inner.create_with(key, head, options)
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        self.count();
        self.inner.remove(key)
    }
}
