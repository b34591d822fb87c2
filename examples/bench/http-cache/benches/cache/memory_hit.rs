//! A hit in memory, its body collected, beside the service without a cache.

use std::fmt::Debug;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use discovery_bench_http_cache::origin::Fixed;
use discovery_bench_http_cache::{SIZES, body, caches, get, runtime, send};
use http::{Request, Response};
use http_body_util::Empty;
use tokio::runtime::Runtime;
use tower::Service;

const URI: &str = "http://127.0.0.1:6443/apis/apps/v1?timeout=32s";

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("memory_hit");
    let runtime = runtime();
    for size in SIZES {
        let origin = Fixed::fresh(size);
        let mut ours = caches::ours(caches::memory(), origin.clone());
        runtime.block_on(send(&mut ours, get(URI)));
        let hit = runtime.block_on(send(&mut ours, get(URI)));
        assert!(hit.headers().contains_key("age"), "not a hit");

        // The very headers that a hit has.
        let bare = Fixed::new(hit.headers().clone(), body(size));
        hits(&mut group, &runtime, "bare", size, bare);
        hits(&mut group, &runtime, "ours", size, ours);
        let moka = caches::moka(origin.clone());
        hits(&mut group, &runtime, "moka", size, moka);
        let dir = tempfile::tempdir().expect("a directory");
        let redb = caches::redb(dir.path(), origin.clone());
        hits(&mut group, &runtime, "redb", size, redb);
        let cacache = caches::cacache(dir.path(), origin);
        hits(&mut group, &runtime, "cacache", size, cacache);
    }
    group.finish();
}

/// Sends one request, so that there is something to hit, and then measures. Making the request is
/// part of it, with a cache and without.
pub(crate) fn hits<S, B>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    size: usize,
    mut service: S,
) where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    S::Error: Debug,
    B: http_body::Body,
    B::Error: Debug,
{
    let first = runtime.block_on(send(&mut service, get(URI)));
    assert_eq!(first.body().len(), size, "{name}");
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter_custom(|iterations| {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..iterations {
                    black_box(send(&mut service, get(URI)).await);
                }
                start.elapsed()
            })
        });
    });
}

/// Measures each of many runs of `routine` on what `setup` makes, and not `setup`.
pub(crate) async fn each<T, R>(
    iterations: u64,
    mut setup: impl FnMut() -> T,
    mut routine: impl AsyncFnMut(&mut T) -> R,
) -> Duration {
    let mut elapsed = Duration::ZERO;
    for _ in 0..iterations {
        let mut prepared = setup();
        let start = Instant::now();
        black_box(routine(&mut prepared).await);
        elapsed += start.elapsed();
    }
    elapsed
}
