//! The caches that are compared.

use std::path::Path;

use discovery_core::store::Store;
use discovery_disk::KubectlStore;
use discovery_http_cache::{HttpCache, HttpCacheLayer};
use discovery_memory::MemoryStore;
use http_cache::{MokaManager, StreamingManager};
use http_cache_tower::{CACacheManager, HttpCacheService, HttpCacheStreamingService, RedbManager};
use tower::Layer;

/// Ours around `inner`.
pub fn ours<S>(store: impl Store, inner: S) -> HttpCache<S> {
    HttpCacheLayer::new(store).layer(inner)
}

/// A store in memory that nothing is evicted from here.
#[must_use]
pub fn memory() -> MemoryStore {
    MemoryStore::new(1 << 30)
}

/// A store of files, as kubectl's.
#[must_use]
pub fn disk(dir: &Path) -> KubectlStore {
    KubectlStore::new(dir)
}

/// http-cache-tower in memory.
pub fn moka<S>(inner: S) -> HttpCacheService<S, MokaManager> {
    http_cache_tower::HttpCacheLayer::new(MokaManager::default()).layer(inner)
}

/// http-cache-tower in a database.
pub fn redb<S>(dir: &Path, inner: S) -> HttpCacheService<S, RedbManager> {
    let manager = RedbManager::new(dir.join("redb")).expect("a database");
    http_cache_tower::HttpCacheLayer::new(manager).layer(inner)
}

/// http-cache-tower in files.
pub fn cacache<S>(dir: &Path, inner: S) -> HttpCacheService<S, CACacheManager> {
    let manager = CACacheManager::new(dir.to_owned(), true);
    http_cache_tower::HttpCacheLayer::new(manager).layer(inner)
}

/// http-cache-tower's other engine: bodies go into files while they are read.
pub async fn streaming<S>(
    dir: &Path,
    limit: u64,
    inner: S,
) -> HttpCacheStreamingService<S, StreamingManager> {
    let manager = StreamingManager::with_max_body_size(dir.to_owned(), 1000, limit);
    let manager = manager.await.expect("a directory of its own");
    http_cache_tower::HttpCacheStreamingLayer::new(manager).layer(inner)
}
