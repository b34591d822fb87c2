//! A hit on disk, the file in the page cache, beside reading the same file. A request is made in any case:
//! that is not the cache's doing.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{BenchmarkId, Criterion};
use discovery_bench_http_cache::origin::Fixed;
use discovery_bench_http_cache::{SIZES, caches, get, plain, runtime, send};

use crate::memory_hit::{each, hits};

const URI: &str = "http://127.0.0.1:6443/apis/apps/v1?timeout=32s";

pub(crate) fn bench(c: &mut Criterion) {
    again(c);
    first(c);
}

/// The entry that this process has checked already.
fn again(c: &mut Criterion) {
    let mut group = c.benchmark_group("disk_hit_again");
    let runtime = runtime();
    for size in SIZES {
        let dir = tempfile::tempdir().expect("a directory");
        let origin = Fixed::fresh(size);
        let mut ours = caches::ours(caches::disk(dir.path()), origin.clone());
        runtime.block_on(send(&mut ours, get(URI)));
        let file = only_file(dir.path());
        group.bench_function(BenchmarkId::new("read", size), |bencher| {
            bencher.iter(|| {
                black_box(get(URI));
                plain::read(black_box(&file))
            });
        });
        hits(&mut group, &runtime, "ours", size, ours);
        let dir = tempfile::tempdir().expect("a directory");
        let redb = caches::redb(dir.path(), origin.clone());
        hits(&mut group, &runtime, "redb", size, redb);
        let cacache = caches::cacache(dir.path(), origin);
        hits(&mut group, &runtime, "cacache", size, cacache);
    }
    group.finish();
}

/// The entry that another process has written: store and cache know nothing of it.
fn first(c: &mut Criterion) {
    let mut group = c.benchmark_group("disk_hit_first");
    let runtime = runtime();
    for size in SIZES {
        let dir = tempfile::tempdir().expect("a directory");
        let origin = Fixed::fresh(size);
        let ours = || caches::ours(caches::disk(dir.path()), origin.clone());
        runtime.block_on(send(&mut ours(), get(URI)));
        let hit = runtime.block_on(send(&mut ours(), get(URI)));
        assert!(hit.headers().contains_key("age"), "not a hit");
        let file = only_file(dir.path());
        group.bench_function(BenchmarkId::new("read+sum", size), |bencher| {
            bencher.iter_custom(|iterations| {
                runtime.block_on(each(
                    iterations,
                    || &file,
                    async |file| {
                        black_box(get(URI));
                        plain::read_and_sum(file)
                    },
                ))
            });
        });
        group.bench_function(BenchmarkId::new("ours", size), |bencher| {
            bencher.iter_custom(|iterations| {
                runtime.block_on(each(iterations, ours, async |cache| {
                    send(cache, get(URI)).await
                }))
            });
        });
        let dir = tempfile::tempdir().expect("a directory");
        let cacache = || caches::cacache(dir.path(), origin.clone());
        runtime.block_on(send(&mut cacache(), get(URI)));
        group.bench_function(BenchmarkId::new("cacache", size), |bencher| {
            bencher.iter_custom(|iterations| {
                runtime.block_on(each(iterations, cacache, async |cache| {
                    send(cache, get(URI)).await
                }))
            });
        });
    }
    group.finish();
}

fn only_file(dir: &Path) -> PathBuf {
    let entries = dir.read_dir().expect("a directory");
    let mut files = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file());
    let file = files.next().expect("a file");
    assert_eq!(files.next(), None);
    file
}
