//! The memory that a warm client holds of a cluster of 10,000 resources in 1,000 groups.
//!
//! A program of its own, because what counts allocations costs time.

use bytes::Bytes;
use discovery_client::DiscoveryClient;
use discovery_client::mapper::RestMapper;
use http_body_util::Full;
use peak_alloc::PeakAlloc;
use tower::Layer;

#[path = "../cluster.rs"]
#[allow(dead_code, reason = "the other program uses the rest")]
mod cluster;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() {
    let document = Bytes::from(cluster::document());
    let size = document.len() as f64;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let before = ALLOCATOR.current_usage();
    let memory = discovery_memory::MemoryDiscoveryLayer::new();
    let client = DiscoveryClient::<_, Full<Bytes>>::new(
        memory.layer(cluster::aggregated::<Full<Bytes>>(&document)),
    );
    let found = runtime.block_on(client.discover()).expect("an answer");
    drop(found);
    let warm = ALLOCATOR.current_usage() - before;
    let found = runtime.block_on(client.discover()).expect("an answer");
    let mapper = RestMapper::new(&found.snapshot);
    let mapped = ALLOCATOR.current_usage() - before;
    assert!(mapper.resolve("k42").is_ok());

    let theirs = runtime.block_on(async {
        let client = kube::Client::new(
            cluster::aggregated::<kube::client::Body>(&document),
            "default",
        );
        let before = ALLOCATOR.current_usage();
        let discovery = kube::Discovery::new(client).run_aggregated().await;
        let held = ALLOCATOR.current_usage() - before;
        assert!(discovery.is_ok());
        held
    });
    cluster::figures(&[
        ("memory/json/bytes", size),
        ("memory/ours/bytes", warm as f64),
        ("memory/mapper/bytes", mapped as f64),
        ("memory/kube-rs/bytes", theirs as f64),
    ]);
    println!(
        "memory held, the JSON having {size} bytes: {warm} behind the memory layer, {mapped} with a mapper, kube-rs \
         {theirs}"
    );
    let ratio = warm as f64 / size;
    cluster::check(
        "memory held / aggregated JSON (at most 1.5)",
        ratio,
        ratio <= 1.5,
    );
}
