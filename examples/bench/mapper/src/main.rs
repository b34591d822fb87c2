//! Look-ups in a cluster of 10,000 resources in 1,000 groups, and its first discovery, in one process.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use discovery_client::DiscoveryClient;
use discovery_client::mapper::RestMapper;
use discovery_core::kube::document::{ApiGroupDiscoveryList, decode};
use http_body_util::Full;
use kube::core::GroupVersionKind;
use tower::Layer;

use crate::cluster::{GROUPS, RESOURCES, aggregated, check, document, figures, legacy};

mod cluster;

const LEGACY_GROUPS: usize = 300;
const LATENCY: Duration = Duration::from_millis(20);

fn main() {
    let document = Bytes::from(document());
    println!("the aggregated answer has {} bytes", document.len());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");

    let parse = best(20, || {
        black_box(serde_json::from_slice::<ApiGroupDiscoveryList>(&document).expect("JSON"));
    });
    assert!(decode::<ApiGroupDiscoveryList>(&document).is_ok());
    let client = DiscoveryClient::<_, Full<Bytes>>::new(aggregated::<Full<Bytes>>(&document));
    let discover = best(20, || {
        _ = black_box(runtime.block_on(client.discover()).expect("an answer"));
    });
    let theirs = best(5, || {
        black_box(runtime.block_on(discovery(&document)));
    });
    figures(&[
        ("discovery/parse/ms", millis(parse)),
        ("discovery/ours/ms", millis(discover)),
        ("discovery/kube-rs/ms", millis(theirs)),
    ]);
    println!("first discovery: parsing {parse:.2?}, ours {discover:.2?}, kube-rs {theirs:.2?}");
    let ratio = discover.as_secs_f64() / parse.as_secs_f64();
    check(
        "discovery / parsing into our types (at most 1.5)",
        ratio,
        ratio <= 1.5,
    );

    let snapshot = runtime
        .block_on(client.discover())
        .expect("an answer")
        .snapshot;
    let build = best(5, || {
        black_box(RestMapper::new(&snapshot));
    });
    figures(&[("mapper/ours/ms", millis(build))]);
    println!("making a mapper: {build:.2?}");
    let mapper = RestMapper::new(&snapshot);
    let names: Vec<_> = (0..1000)
        .map(|n| {
            (
                format!("g{}.bench.test", n * 7 % GROUPS),
                n * 13 % (GROUPS * RESOURCES),
            )
        })
        .collect();
    let kinds: Vec<_> = names
        .iter()
        .map(|(_, n)| (format!("g{}.bench.test", n / RESOURCES), format!("Kind{n}")))
        .collect();
    let short: Vec<_> = names.iter().map(|(_, n)| format!("k{n}")).collect();
    let gvks: Vec<_> = kinds
        .iter()
        .map(|(group, kind)| GroupVersionKind::gvk(group, "v1", kind))
        .collect();
    let discovery = runtime.block_on(discovery(&document));

    let kind = each(&kinds, |(group, kind)| {
        black_box(mapper.mapping(group, kind, &[]).expect("it is there"));
    });
    let name = each(&short, |name| {
        black_box(mapper.resolve(name).expect("it is there"));
    });
    let theirs = each(&gvks, |gvk| {
        black_box(discovery.resolve_gvk(gvk).expect("it is there"));
    });
    figures(&[
        ("lookup/kind/ns", kind),
        ("lookup/short name/ns", name),
        ("lookup/kube-rs/ns", theirs),
    ]);
    println!(
        "a look-up: by kind {kind:.0} ns, by short name {name:.0} ns, kube-rs' resolve_gvk {theirs:.0} ns"
    );
    check("ns by kind (at most 100, goal 50)", kind, kind <= 100.0);
    check(
        "ns by short name (at most 100, goal 50)",
        name,
        name <= 100.0,
    );
    check("kube-rs / ours by kind", theirs / kind, theirs > kind);

    let server = legacy(LEGACY_GROUPS, LATENCY);
    let bare = DiscoveryClient::<_, Full<Bytes>>::new(server.clone());
    let bare = best(3, || {
        let found = runtime.block_on(bare.discover()).expect("an answer");
        assert!(found.snapshot.is_complete());
    });
    let cached = best(3, || {
        let memory = discovery_memory::MemoryDiscoveryLayer::new();
        let client = DiscoveryClient::<_, Full<Bytes>>::new(memory.layer(server.clone()));
        let found = runtime.block_on(client.discover()).expect("an answer");
        assert!(found.snapshot.is_complete());
    });
    let theirs = best(1, || {
        runtime.block_on(async {
            let client = kube::Client::new(
                legacy::<kube::client::Body>(LEGACY_GROUPS, LATENCY),
                "default",
            );
            black_box(kube::Discovery::new(client).run().await.expect("an answer"));
        });
    });
    figures(&[
        ("legacy/bare/ms", millis(bare)),
        ("legacy/ours/ms", millis(cached)),
        ("legacy/kube-rs/ms", millis(theirs)),
    ]);
    println!(
        "a server with {LEGACY_GROUPS} lists, {LATENCY:?} each: {bare:.0?}, behind the memory layer {cached:.0?}, \
         kube-rs {theirs:.0?}"
    );
    for (what, time) in [("", bare), (" behind the memory layer", cached)] {
        let trips = time.as_secs_f64() / LATENCY.as_secs_f64();
        check(
            &format!("round trips{what} (at most 8)"),
            trips,
            trips <= 8.0,
        );
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The shortest of several runs.
fn best(runs: usize, mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..runs).map(time).min().unwrap_or_default()
}

/// The nanoseconds of one, in the best of several rounds over all.
fn each<T>(all: &[T], mut look: impl FnMut(&T)) -> f64 {
    let round = best(200, || all.iter().for_each(&mut look));
    round.as_nanos() as f64 / all.len() as f64
}

async fn discovery(document: &Bytes) -> kube::Discovery {
    let client = kube::Client::new(aggregated::<kube::client::Body>(document), "default");
    let discovery = kube::Discovery::new(client).run_aggregated();
    discovery.await.expect("an answer")
}
