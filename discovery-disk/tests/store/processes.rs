//! Several processes on one directory.

use std::path::Path;
use std::time::{Duration, SystemTime};

use discovery_core::store::{Store, Value};
use discovery_disk::store::DiskStoreOptions;
use discovery_disk::{DiskStore, KubectlStore};
use tokio_test::block_on;

use crate::files::tree;
use crate::parts::{part, say_written, start, succeed, wait_until_written};
use crate::{directory, write};

const PROCESSES: u8 = 8;
const ROUNDS: u32 = 20;
const KEYS: [&str; 3] = ["one", "https://10.0.0.1/api?timeout=32s", "../../escape"];

/// A value of one byte repeated, its length told by the first line.
fn signed(number: u8, round: u32) -> Value {
    let len = 1_000 + (u32::from(number) * 50_021 + round * 7_919) % 330_000;
    Value::new(format!("{len}\n"), vec![b'A' + number; len as usize])
}

fn check(value: &Value) {
    let bytes = value.clone().into_bytes();
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
    let (len, body) = (&bytes[..end], &bytes[end + 1..]);
    let len: usize = std::str::from_utf8(len).unwrap().parse().unwrap();
    assert_eq!(body.len(), len, "a torn value");
    assert!(body == vec![body[0]; len], "a mixed value");
}

fn stores(directory: &str) -> [Box<dyn Store>; 2] {
    let directory = Path::new(directory);
    [
        Box::new(DiskStore::new(directory.join("disk"))),
        Box::new(KubectlStore::new(directory.join("kubectl"))),
    ]
}

#[test]
fn part_writer() {
    let Some((directory, number)) = part() else {
        return;
    };
    for store in stores(&directory) {
        for round in 0..ROUNDS {
            let value = signed(number, round);
            for key in KEYS {
                if round % 3 == 0 {
                    let mut writer = block_on(store.create(key, value.head.clone())).unwrap();
                    for piece in value.body.chunks(50_000) {
                        writer = write(writer, value.body.slice_ref(piece));
                    }
                    block_on(writer.commit()).unwrap();
                } else {
                    block_on(store.put(key, value.clone())).unwrap();
                }
                if let Some(value) = block_on(store.get(key)).unwrap() {
                    check(&value);
                }
                if (round + u32::from(number)) % 10 == 9 {
                    block_on(store.remove(key)).unwrap();
                }
            }
        }
        // So that something is there at the end.
        block_on(store.put("last", signed(number, 0))).unwrap();
    }
}

/// Writes for ever, and says so after the first value.
#[test]
fn part_victim() {
    let Some((directory, number)) = part() else {
        return;
    };
    let [disk, kubectl] = stores(&directory);
    for round in 0.. {
        for store in [&disk, &kubectl] {
            let value = signed(number, round);
            block_on(store.put("put", value.clone())).unwrap();
            let mut writer = block_on(store.create("streamed", value.head.clone())).unwrap();
            for piece in value.body.chunks(10_000) {
                writer = write(writer, value.body.slice_ref(piece));
            }
            block_on(writer.commit()).unwrap();
        }
        if round == 0 {
            say_written();
        }
    }
}

#[test]
fn eight_processes_write_the_same_keys() {
    let (_dir, cache) = directory();
    let children: Vec<_> = (0..PROCESSES)
        .map(|number| start("part_writer", &cache, number))
        .collect();
    succeed(children);
    for store in stores(cache.to_str().unwrap()) {
        check(&block_on(store.get("last")).unwrap().unwrap());
        for key in KEYS {
            if let Some(value) = block_on(store.get(key)).unwrap() {
                check(&value);
            }
        }
    }
    for temporary in ["disk/.diskv-temp", "kubectl/.diskv-temp"] {
        assert_eq!(tree(&cache.join(temporary)), []);
    }
    // Nothing next to the two stores, and nothing above them.
    assert_eq!(cache.read_dir().unwrap().count(), 2);
    assert_eq!(cache.parent().unwrap().read_dir().unwrap().count(), 1);
}

#[test]
fn a_killed_writer_leaves_whole_values() {
    let (_dir, cache) = directory();
    for number in 0..PROCESSES {
        let mut child = start("part_victim", &cache, number);
        // It has begun; then it is killed wherever it is, which differs with every run.
        wait_until_written(&mut child);
        for store in stores(cache.to_str().unwrap()) {
            for _ in 0..number {
                let read = ["put", "streamed"].map(|key| block_on(store.get(key)).unwrap());
                read.iter().flatten().for_each(check);
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();

        for store in stores(cache.to_str().unwrap()) {
            for key in ["put", "streamed"] {
                check(&block_on(store.get(key)).unwrap().expect("written before"));
            }
            block_on(store.put("after", signed(number, 1))).unwrap();
        }
        // It leaves only the file that it was writing, which goes with the next sweep.
        let at_most_temporary: Vec<_> = tree(&cache)
            .into_iter()
            .filter(|(name, _)| name.contains(".diskv-temp/"))
            .collect();
        assert!(at_most_temporary.len() <= 2 * (usize::from(number) + 1));
    }
    for name in ["disk", "kubectl"] {
        let store = DiskStore::with_options(
            cache.join(name),
            DiskStoreOptions::new().clock(|| SystemTime::now() + Duration::from_secs(1)),
        );
        store.sweep(Duration::ZERO).unwrap();
        assert_eq!(tree(&cache.join(name).join(".diskv-temp")), []);
    }
}
