//! `verify` and `sweep` on stores of 25,000, 50,000 and 100,000 values of 200 bytes: time for a value, and the largest
//! memory beside what there was before. Both are to stay the same. The argument is where the directories are made.

use std::time::{Duration, Instant};

use discovery_core::store::{Op, Store, Value};
use discovery_disk::DiskStore;
use discovery_disk::store::DiskStoreOptions;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn main() {
    let place = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "/dev/shm".to_owned());
    println!(
        "{:<10}{:>24}{:>24}{:>24}",
        "values", "verify", "sweep", "sweep, a tenth goes"
    );
    for values in [25_000_u64, 50_000, 100_000] {
        let dir = tempfile::tempdir_in(&place).expect("a directory");
        let options = DiskStoreOptions::new().checksum(true);
        let store = DiskStore::with_options(dir.path(), options.clone());
        for n in 0..values {
            let put = store.put(&format!("key-{n}"), Value::new("", vec![n as u8; 200]));
            assert!(matches!(put, Op::Ready(Ok(()))));
        }
        // One that knows of no file.
        let store = DiskStore::with_options(dir.path(), options.clone());
        let verified = measure(values, || {
            let report = store.verify().expect("files");
            assert_eq!((report.values, report.damaged), (values, 0));
        });
        let swept = measure(values, || {
            assert_eq!(store.sweep(Duration::ZERO).expect("files").temporary, 0);
        });
        let bounded = DiskStore::with_options(dir.path(), options.max_values(values - 1));
        let evicted = measure(values, || {
            let report = bounded.sweep(Duration::ZERO).expect("files");
            assert!(report.evicted >= values / 10 - 10);
        });
        println!("{values:<10}{verified:>24}{swept:>24}{evicted:>24}");
    }
}

fn measure(values: u64, work: impl FnOnce()) -> String {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let start = Instant::now();
    work();
    let time = start.elapsed().as_secs_f64() * 1e6 / values as f64;
    let memory = MEMORY.peak_usage().saturating_sub(before);
    format!("{time:.2} us, {:.1} MB", memory as f64 / 1e6)
}
