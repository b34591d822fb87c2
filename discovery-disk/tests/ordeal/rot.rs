//! Bits that flip, and files that are cut.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use discovery_core::http::dump::{self, Framing};
use discovery_core::store::{Store, Value};
use discovery_disk::store::DiskStoreOptions;
use discovery_disk::{DiskStore, KubectlStore};
use http::{Method, Response};
use tokio_test::block_on;

use crate::{Random, number, seed};

const KEY: &str = "https://10.0.0.1:6443/apis?timeout=32s";

type Open = fn(&Path) -> Box<dyn Store>;

/// Those that have checksums.
const STORES: [Open; 2] = [
    |dir| Box::new(KubectlStore::new(dir)),
    |dir| {
        Box::new(DiskStore::with_options(
            dir,
            DiskStoreOptions::new().checksum(true),
        ))
    },
];

/// A response as the HTTP cache keeps it.
fn entry(size: usize) -> Value {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert("etag", "\"1\"".parse().unwrap());
    headers.insert("content-type", "application/json".parse().unwrap());
    let (parts, ()) = response.into_parts();
    let body: Vec<u8> = (0..size).map(|at| b' ' + (at % 90) as u8).collect();
    dump::encode(&Method::GET, &parts, Framing::Length, Bytes::from(body))
}

fn only_file(dir: &Path) -> PathBuf {
    let mut files = dir.read_dir().unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.is_file()).unwrap()
}

/// A store that has not checked the file finds the value or nothing. Returns whether it found nothing.
fn is_missing_or_right(open: Open, dir: &Path, expected: &Value, what: &str) -> bool {
    match block_on(open(dir).get(KEY)).unwrap() {
        None => true,
        Some(found) => {
            assert!(found == *expected, "{what}");
            false
        }
    }
}

#[test]
fn no_flipped_bit_and_no_cut_of_an_http_entry_is_believed() {
    for open in STORES {
        let dir = tempfile::tempdir().unwrap();
        let value = entry(2_048);
        block_on(open(dir.path()).put(KEY, value.clone())).unwrap();
        let path = only_file(dir.path());
        let whole = fs::read(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        for (at, byte) in whole.iter().copied().enumerate() {
            for bit in 0..8 {
                write_at(&file, at, byte ^ (1 << bit));
                let what = format!("bit {bit} of {at}");
                assert!(
                    is_missing_or_right(open, dir.path(), &value, &what),
                    "{what}"
                );
            }
            write_at(&file, at, byte);
        }
        assert!(!is_missing_or_right(open, dir.path(), &value, "whole"));
        for len in (0..whole.len()).rev() {
            file.set_len(len as u64).unwrap();
            assert!(
                is_missing_or_right(open, dir.path(), &value, "cut"),
                "{len}"
            );
        }
    }
}

#[test]
fn no_flipped_bit_of_a_large_entry_is_believed() {
    let mut random = Random::new(seed("rot"));
    let bits = number("ORDEAL_BITS", 400);
    for open in STORES {
        let dir = tempfile::tempdir().unwrap();
        let value = entry(175_000);
        block_on(open(dir.path()).put(KEY, value.clone())).unwrap();
        let path = only_file(dir.path());
        let whole = fs::read(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        for _ in 0..bits {
            let (at, bit) = (random.below(whole.len() as u64) as usize, random.below(8));
            write_at(&file, at, whole[at] ^ (1 << bit));
            let what = format!("bit {bit} of {at}");
            assert!(
                is_missing_or_right(open, dir.path(), &value, &what),
                "{what}"
            );
            write_at(&file, at, whole[at]);
        }
    }
}

fn write_at(mut file: &File, at: usize, byte: u8) {
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}
