//! A miss over HTTP on loopback: without a cache, with one that stores, and without one but with the
//! store's own write after each answer.

use std::cell::Cell;
use std::fmt::Debug;
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use discovery_bench_http_cache::origin::{self, Loopback};
use discovery_bench_http_cache::{SIZES, caches, get, runtime, send};
use discovery_core::store::{Store, Value};
use discovery_memory::MemoryStore;
use http::{Request, Response};
use http_body_util::Empty;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::Service;

/// So many entries are written into one directory; then there is another.
const ENTRIES: u64 = 32;

/// How much the memory store holds. It is full most of the time: a store that grows would measure
/// how the system hands out memory.
const MEMORY: u64 = 32 << 20;

/// About the head that a dump has.
const HEAD: [u8; 300] = [b'h'; 300];

pub(crate) fn bench(c: &mut Criterion) {
    let runtime = runtime();
    let server = origin::serve(&runtime);
    let client = origin::client();
    let sent = Cell::new(0);
    let rig = Rig {
        runtime,
        server,
        sent,
    };
    for size in SIZES {
        let mut group = c.benchmark_group("miss");
        rig.misses(&mut group, "without", size, |_| client.clone());
        let memory = MemoryStore::new(MEMORY);
        let ours = caches::ours(memory.clone(), client.clone());
        rig.misses(&mut group, "ours-memory", size, |_| ours.clone());
        rig.writes(&mut group, "without+write-memory", size, &client, |_| {
            memory.clone()
        });
        rig.misses(&mut group, "ours-disk", size, |dir| {
            caches::ours(caches::disk(dir), client.clone())
        });
        rig.writes(
            &mut group,
            "without+write-disk",
            size,
            &client,
            caches::disk,
        );
        let moka = caches::moka(client.clone());
        rig.misses(&mut group, "moka", size, |_| moka.clone());
        rig.misses(&mut group, "redb", size, |dir| {
            caches::redb(dir, client.clone())
        });
        rig.misses(&mut group, "cacache", size, |dir| {
            caches::cacache(dir, client.clone())
        });
        group.finish();
    }
}

struct Rig {
    runtime: Runtime,
    server: SocketAddr,
    sent: Cell<u64>,
}

impl Rig {
    /// One that nothing is stored under.
    fn uri(&self, size: usize) -> String {
        self.sent.update(|sent| sent + 1);
        format!("http://{}/{size}/{}", self.server, self.sent.get())
    }

    fn misses<S, B>(
        &self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        name: &str,
        size: usize,
        make: impl Fn(&Path) -> S,
    ) where
        S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
        S::Error: Debug,
        B: http_body::Body,
        B::Error: Debug,
    {
        group.bench_function(BenchmarkId::new(name, size), |bencher| {
            bencher.iter_custom(|iterations| {
                in_parts(iterations, |entries, dir| {
                    let mut service = make(dir);
                    self.runtime.block_on(async {
                        // The first makes directories, and connections.
                        let first = send(&mut service, get(&self.uri(size))).await;
                        assert_eq!(first.body().len(), size);
                        let start = Instant::now();
                        for _ in 0..entries {
                            black_box(send(&mut service, get(&self.uri(size))).await);
                        }
                        start.elapsed()
                    })
                })
            });
        });
    }

    /// Writing alone would measure a write that finds the processor's caches as the last write has left
    /// them, and not as an exchange with a server does. So would writing other bytes than have just come.
    fn writes<S: Store>(
        &self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        name: &str,
        size: usize,
        client: &Loopback,
        make: impl Fn(&Path) -> S,
    ) {
        group.bench_function(BenchmarkId::new(name, size), |bencher| {
            bencher.iter_custom(|iterations| {
                in_parts(iterations, |entries, dir| {
                    let (store, mut client) = (make(dir), client.clone());
                    self.runtime.block_on(async {
                        let mut exchange = async || {
                            let uri = self.uri(size);
                            let response = send(&mut client, get(&uri)).await;
                            let value = Value::new(&HEAD[..], response.body().clone());
                            store.put(&uri, value).await.expect("kept");
                            black_box(response);
                        };
                        exchange().await;
                        let start = Instant::now();
                        for _ in 0..entries {
                            exchange().await;
                        }
                        start.elapsed()
                    })
                })
            });
        });
    }
}

/// Measures in parts with a directory each, so that not all that is written lies there at once.
fn in_parts(iterations: u64, mut part: impl FnMut(u64, &Path) -> Duration) -> Duration {
    let mut elapsed = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let entries = left.min(ENTRIES);
        let dir = directory().expect("a directory");
        elapsed += part(entries, dir.path());
        left -= entries;
    }
    elapsed
}

/// In memory, where the system has such a place: when a disk gets what was written earlier is not for this
/// to measure.
fn directory() -> io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}
