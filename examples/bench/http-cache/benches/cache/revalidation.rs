//! An entry that the server confirms each time, with nothing new but `Date` and a request id.

use criterion::Criterion;
use discovery_bench_http_cache::origin::Confirming;
use discovery_bench_http_cache::{SIZES, caches, runtime};

use crate::memory_hit::hits;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("revalidation");
    let runtime = runtime();
    for size in SIZES {
        // Answers the whole document, because nobody asks whether it has changed.
        let origin = Confirming::new(size);
        hits(&mut group, &runtime, "bare", size, origin.clone());
        let ours = caches::ours(caches::memory(), origin.clone());
        hits(&mut group, &runtime, "ours-memory", size, ours);
        let dir = tempfile::tempdir().expect("a directory");
        let ours = caches::ours(caches::disk(dir.path()), origin.clone());
        hits(&mut group, &runtime, "ours-disk", size, ours);
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
