//! The memory under many schedules of threads that save, load and invalidate.
//!
//! The module is compiled once more, with locks that decide who goes on.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use discovery_core::engine::{Cache, Scope};
use discovery_core::kube::document::{ApiGroupList, ApiResourceList, ApiVersions};
use discovery_core::store::Op;
use discovery_core::sync::clock::SystemClock;
use discovery_core::{GroupVersion, Snapshot};
use shuttle::rand::Rng;
use shuttle::thread;

use self::discovery::MemoryBackend;

#[allow(
    dead_code,
    unreachable_pub,
    reason = "a part of the library, of which a part is tried"
)]
#[path = "../../src/discovery.rs"]
mod discovery;
mod primitives;

fn now<T: Unpin + 'static>(op: Op<T>) -> T {
    let mut op = pin!(op);
    match op.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("memory waits for nothing"),
    }
}

fn backend() -> Arc<MemoryBackend> {
    Arc::new(MemoryBackend::new(None, false, Arc::new(SystemClock)))
}

fn group_version(number: usize) -> GroupVersion {
    format!("g/v{number}").parse().unwrap()
}

/// The groups, or a list alone.
fn groups() -> Arc<Snapshot> {
    let core = ApiVersions {
        versions: vec!["v1".into()],
        ..Default::default()
    };
    let mut snapshot = Snapshot::default();
    snapshot.set_groups(ApiGroupList::new(vec![core.to_group()]));
    Arc::new(snapshot)
}

fn list(number: usize) -> Arc<Snapshot> {
    let group_version = group_version(number);
    let mut snapshot = Snapshot::default();
    snapshot.insert(
        &group_version,
        ApiResourceList::new(&group_version, Vec::new()),
    );
    Arc::new(snapshot)
}

fn has(backend: &MemoryBackend, number: usize, whole: bool) -> bool {
    let group_version = group_version(number);
    let need = if whole {
        Scope::Everything
    } else {
        Scope::Resources(group_version.clone())
    };
    now(backend.load(&need)).knows(&group_version)
}

/// A thread finds what it and others have saved; after an invalidation nobody does.
#[test]
fn nothing_saved_is_lost_and_nothing_forgotten_comes_back() {
    let threads = || {
        let backend = backend();
        let whole = shuttle::rand::thread_rng().gen_bool(0.5);
        let with_groups = shuttle::rand::thread_rng().gen_bool(0.5);
        now(backend.save(&list(0)));
        let savers: Vec<_> = (1..4)
            .map(|number| {
                let backend = Arc::clone(&backend);
                thread::spawn(move || {
                    if with_groups && number == 1 {
                        now(backend.save(&groups()));
                    }
                    now(backend.save(&list(number)));
                    assert!(has(&backend, number, whole), "{number} was saved");
                    assert!(has(&backend, 0, !whole), "0 was saved before");
                })
            })
            .collect();
        for saver in savers {
            saver.join().unwrap();
        }
        for number in 0..4 {
            assert!(has(&backend, number, whole), "{number} is lost");
        }

        // One saves while another makes all forgotten.
        let saver = {
            let backend = Arc::clone(&backend);
            thread::spawn(move || now(backend.save(&list(4))))
        };
        backend.invalidate();
        for number in 0..4 {
            assert!(!has(&backend, number, whole), "{number} has come back");
        }
        saver.join().unwrap();
        backend.invalidate();
        assert!(!has(&backend, 4, whole), "4 has come back");
    };
    shuttle::check_random(threads, 3_000);
    shuttle::check_pct(threads, 1_000, 3);
}
