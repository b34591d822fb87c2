use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use discovery_core::Format;
use discovery_core::store::Store;
use discovery_core::testing::ScriptedService;
use discovery_core::testing::fixtures::{self, Group};
use discovery_disk::DiskDiscoveryLayer;
use discovery_disk::store::DiskStoreOptions;
use discovery_disk::{DiskStore, KubectlStore};
use http::Request;
use http_body_util::Full;
use tokio_test::block_on;
use tower::{Layer, ServiceExt};

use crate::parts::{part, say_written};
use crate::values::{KINDS, check, signed, store};
use crate::{Random, number};

pub(crate) const CRASH_KEYS: [&str; 3] = ["one", "two", "three"];

/// The number of a victim that writes discovery files.
pub(crate) const DISCOVERY: u8 = KINDS;

pub(crate) const GROUPS: usize = 12;

/// Writes for ever, and says so when it has begun.
#[test]
fn part_victim() {
    let Some((directory, kind)) = part() else {
        return;
    };
    let directory = Path::new(&directory);
    let mut round = u64::from(std::process::id());
    say_written();
    loop {
        round += 1;
        if kind == DISCOVERY {
            discover(&directory.join("discovery"), round);
            continue;
        }
        let store = store(directory, kind);
        let key = CRASH_KEYS[round as usize % CRASH_KEYS.len()];
        let value = signed(key, round);
        if round.is_multiple_of(2) {
            block_on(store.put(key, value)).unwrap();
            continue;
        }
        let mut writer = block_on(store.create(key, value.head.clone())).unwrap();
        for piece in value.body.chunks(10_000) {
            writer = block_on(writer.write(value.body.slice_ref(piece))).unwrap();
        }
        block_on(writer.commit()).unwrap();
    }
}

/// Writes all files of a server whose resources are named by the round.
fn discover(directory: &Path, round: u64) {
    let resource = format!("r{round}").repeat(1 + round as usize % 300);
    let server = ScriptedService::<Full<Bytes>, std::io::Error>::default();
    server.fallback(move |request| {
        let groups: Vec<_> = match request.uri().path() {
            "/api" => vec![Group::new("").version("v1", &[&resource])],
            _ => (0..GROUPS)
                .map(|n| Group::new(format!("g{n}")).version("v1", &[&resource]))
                .collect(),
        };
        Ok(fixtures::document(
            Format::V2,
            fixtures::aggregated(&groups),
        ))
    });
    let layer = DiskDiscoveryLayer::new(directory);
    layer.handle().invalidate();
    let request = Request::get("/apis")
        .body(Full::<Bytes>::default())
        .unwrap();
    block_on(layer.layer(server).oneshot(request)).unwrap();
}

/// Reads, writes, removes and sweeps until its time is over.
#[test]
fn part_of_the_crowd() {
    let Some((directory, number_of)) = part() else {
        return;
    };
    let directory = Path::new(&directory);
    let mut random = Random::new(number("ORDEAL_SEED", 1) ^ (u64::from(number_of) << 32));
    let end = Instant::now() + Duration::from_secs(number("ORDEAL_SECONDS", 4));
    let bounded = DiskStoreOptions::new()
        .checksum(true)
        .max_values(150)
        .index(true);
    let disk = DiskStore::with_options(directory.join("bounded"), bounded);
    let kubectl = KubectlStore::new(directory.join("kubectl"));
    while Instant::now() < end {
        let store: &dyn Store = match random.below(2) {
            0 => &disk,
            _ => &kubectl,
        };
        let key = format!("key {}", random.below(200));
        match random.below(100) {
            0 => {
                disk.sweep(Duration::from_secs(3_600)).unwrap();
            }
            1 => {
                assert_eq!(disk.verify().unwrap().damaged, 0);
            }
            2..=9 => block_on(store.remove(&key)).unwrap(),
            10..=39 => block_on(store.put(&key, signed(&key, random.below(10_000)))).unwrap(),
            40..=49 => {
                let value = signed(&key, random.below(10_000));
                let mut writer = block_on(store.create(&key, value.head.clone())).unwrap();
                for piece in value.body.chunks(100_000) {
                    writer = block_on(writer.write(value.body.slice_ref(piece))).unwrap();
                }
                block_on(writer.commit()).unwrap();
            }
            _ => {
                if let Some(value) = block_on(store.get(&key)).unwrap() {
                    check(&key, value);
                }
            }
        }
    }
}
