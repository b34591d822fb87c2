//! Entries that kubectl wrote, and entries as kubectl would write them.

use std::fs;
use std::path::Path;

use discovery_core::store::{Store, Value};
use discovery_disk::KubectlStore;
use discovery_disk::store::DiskStoreOptions;
use sha2::{Digest, Sha256};
use tokio_test::block_on;

use crate::files::tree;
use crate::{create, directory, get, put, write};

/// Entries that kubectl 1.32 and 1.37 wrote for a kube-apiserver 1.36: key, file name, file.
const ENTRIES: [(&str, &str, &[u8]); 2] = [
    (
        "https://127.0.0.1:16443/version?timeout=5s",
        "5ca997c6b1259d5bad9a8276486ce414c0e71401d86fe3e24cd8adcb9becfe20",
        include_bytes!("data/5ca997c6b1259d5bad9a8276486ce414c0e71401d86fe3e24cd8adcb9becfe20"),
    ),
    (
        "https://127.0.0.1:16443/api?timeout=32s",
        "d0fd1292b06285945976ec352089fc14f605e5d309050163f55e18af8322b332",
        include_bytes!("data/d0fd1292b06285945976ec352089fc14f605e5d309050163f55e18af8322b332"),
    ),
];

#[test]
fn values_that_kubectl_wrote_are_read() {
    let (_dir, cache) = directory();
    fs::create_dir_all(&cache).unwrap();
    let store = KubectlStore::new(&cache);
    for (key, name, file) in ENTRIES {
        assert_eq!(get(&store, key), None);
        fs::write(cache.join(name), file).unwrap();
        let value = get(&store, key).unwrap();
        assert_eq!(value.as_bytes(), &file[32..]);
        assert!(value.starts_with("HTTP/2.0 200 OK\r\n"), "{value}");
    }
}

#[test]
fn values_are_written_as_kubectl_writes_them() {
    for streamed in [false, true] {
        let (_dir, cache) = directory();
        let store = KubectlStore::new(&cache);
        for (key, name, file) in ENTRIES {
            let payload = &file[32..];
            if streamed {
                let mut writer = create(&store, key, "");
                for piece in payload.chunks(100) {
                    writer = write(writer, piece.to_vec());
                }
                block_on(writer.commit()).unwrap();
            } else {
                let (head, body) = payload.split_at(60);
                block_on(store.put(key, Value::new(head.to_vec(), body.to_vec()))).unwrap();
            }
            assert_eq!(fs::read(cache.join(name)).unwrap(), file);
            #[cfg(unix)]
            {
                use std::os::unix::fs::MetadataExt;
                let mode = fs::metadata(cache.join(name)).unwrap().mode();
                assert_eq!(mode & 0o7777, 0o660);
            }
        }
        let names: Vec<_> = tree(&cache).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [ENTRIES[0].1, ENTRIES[1].1]);
        assert!(cache.join(".diskv-temp").is_dir());
    }
}

#[test]
fn a_long_stream_has_its_sum_filled_in() {
    let (_dir, cache) = directory();
    let store = KubectlStore::new(&cache);
    let mut writer = create(&store, "key", "head ");
    let mut expected = Vec::from(&b"head "[..]);
    for n in 0..300u32 {
        let piece = vec![n as u8; 7_000];
        expected.extend_from_slice(&piece);
        writer = write(writer, piece);
    }
    block_on(writer.commit()).unwrap();
    let [(_, file)] = &tree(&cache)[..] else {
        panic!("one file expected");
    };
    assert_eq!(file[..32], *Sha256::digest(&expected));
    assert!(file[32..] == expected);
    let got = block_on(KubectlStore::new(&cache).get("key")).unwrap();
    assert_eq!(got, Some(Value::new("", expected)));
}

#[test]
fn damage_is_absence_and_is_repaired() {
    let (key, name, file) = ENTRIES[0];
    let damages: Vec<Vec<u8>> = vec![
        Vec::new(),
        file[..1].to_vec(),
        file[..31].to_vec(),
        // The sum alone would be right only for nothing.
        file[..32].to_vec(),
        file[..file.len() - 1].to_vec(),
        [file, b"\n"].concat(),
        [&[file[0] ^ 1], &file[1..]].concat(),
        [&file[..31], &[file[31] ^ 0x80], &file[32..]].concat(),
        [&file[..400], &[file[400] ^ 1], &file[401..]].concat(),
        vec![0; file.len()],
        file[32..].to_vec(),
        b"not an entry at all, but long enough to have a checksum in front".to_vec(),
    ];
    for damage in damages {
        let (_dir, cache) = directory();
        fs::create_dir_all(&cache).unwrap();
        fs::write(cache.join(name), &damage).unwrap();
        let store = KubectlStore::new(&cache);
        assert_eq!(get(&store, key), None, "{damage:.40?}");
        // Still there, but not counted as checked.
        assert_eq!(get(&store, key), None, "{damage:.40?}");
        block_on(store.put(key, Value::new("", &file[32..]))).unwrap();
        assert_eq!(fs::read(cache.join(name)).unwrap(), file);
        assert_eq!(get(&store, key).unwrap().as_bytes(), &file[32..]);
    }
}

/// The sum of nothing, and nothing: an empty value, as kubectl has it too.
#[test]
fn an_empty_value_has_a_sum() {
    let (_dir, cache) = directory();
    let store = KubectlStore::new(&cache);
    put(&store, "key", "");
    assert_eq!(get(&store, "key").as_deref(), Some(""));
    assert_eq!(tree(&cache)[0].1, *Sha256::digest(b""));
}

/// A file that was found to be right and is then changed in place is found to be wrong, unless its
/// size and both its times are as before; no ordinary program can do that.
#[test]
fn a_file_that_changed_is_checked_again() {
    let (_dir, cache) = directory();
    let store = KubectlStore::new(&cache);
    let key_file = |cache: &Path| cache.join(&tree(cache)[0].0);
    put(&store, "key", "value");
    assert_eq!(get(&store, "key").as_deref(), Some("value"));

    // Other bytes of another length.
    let file = key_file(&cache);
    let mut bytes = fs::read(&file).unwrap();
    bytes.push(b'!');
    fs::write(&file, &bytes).unwrap();
    assert_eq!(get(&store, "key"), None);

    // Of the same length, with another modification time.
    put(&store, "key", "value");
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
    let file = key_file(&cache);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    let opened = fs::File::options().write(true).open(&file).unwrap();
    opened
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(get(&store, "key"), None);
}

#[test]
fn the_limit_is_that_of_the_value_without_its_sum() {
    let (_dir, cache) = directory();
    let store = KubectlStore::with_options(&cache, DiskStoreOptions::new().max_value_size(8));
    put(&store, "key", "12345678");
    assert_eq!(get(&store, "key").as_deref(), Some("12345678"));
    block_on(store.put("key", Value::new("", "123456789"))).unwrap_err();
    assert_eq!(store.dir(), cache);
    assert_eq!(store.disk().dir(), cache);
    let shown = format!("{store:?}");
    assert!(
        shown.starts_with("KubectlStore { disk: DiskStore { "),
        "{shown}"
    );
}
