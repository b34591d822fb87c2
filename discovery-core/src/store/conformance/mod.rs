//! Checks that a store keeps the [contract](super#contract).
//!
//! [`run`] is for stores that keep what they are given as long as the checks don't give them more
//! than some 64 MiB; [`run_forgetful`] for those that may forget. [`run_shared`] is for stores that
//! share what is underneath, for example a directory. The single checks are public too, to see
//! which one fails, or to leave one out.
//!
//! A check panics when the store breaks the contract. Checks need no async runtime, but run in one
//! as well; those that need real concurrency start threads, and wait in them without a runtime.
//!
//! ```
//! use discovery_core::store::{MapStore, NoStore, conformance};
//!
//! # tokio_test::block_on(async {
//! conformance::run(MapStore::new).await;
//! conformance::run_forgetful(|| NoStore).await;
//! # });
//! ```

mod basic;
mod concurrent;
mod keys;
mod model;
mod tools;

use std::sync::Arc;

use super::{Store, Value};

pub use self::basic::{
    big_values, cancelled_operations, dropped_writer_leaves_no_trace, empty_values,
    last_write_wins, many_writes, nothing_before_commit, remove_tells, split_does_not_matter,
    starts_empty,
};
pub use self::concurrent::{concurrent_removes, concurrent_writers, nothing_comes_back};
pub use self::keys::odd_keys;
pub use self::model::model;

/// What a check may expect of a store's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// What is put is there until it is replaced or removed.
    Keeps,
    /// What is put may be gone at any time.
    Forgets,
}

/// Runs all checks on stores that `make` makes, each of them new and empty.
///
/// # Panics
///
/// When a store breaks the contract, or forgets.
pub async fn run<S: Store>(make: impl Fn() -> S) {
    run_all(&make, Memory::Keeps).await;
}

/// Runs all checks on stores that `make` makes, each of them new and empty, where every value may
/// be forgotten at any time.
///
/// # Panics
///
/// When a store breaks the contract.
pub async fn run_forgetful<S: Store>(make: impl Fn() -> S) {
    run_all(&make, Memory::Forgets).await;
}

/// Checks two stores that share what is underneath: what one has written, the other reads. `make`
/// makes a new and empty pair.
///
/// ```
/// use discovery_core::store::{MapStore, conformance};
///
/// # tokio_test::block_on(conformance::run_shared(|| {
/// let store = MapStore::new();
/// (store.clone(), store)
/// # }));
/// ```
///
/// # Panics
///
/// When the stores break the contract, or do not share.
pub async fn run_shared<S: Store>(make: impl Fn() -> (S, S)) {
    let pair = || tools::Alternating::new(make());
    run_all(&pair, Memory::Keeps).await;
}

async fn run_all<S: Store>(make: &impl Fn() -> S, memory: Memory) {
    run_basic(make, memory).await;
    // As callers hold stores: behind a pointer, or two.
    run_basic(
        &|| -> Arc<Box<dyn Store>> { Arc::new(Box::new(make())) },
        memory,
    )
    .await;

    big_values(&make(), memory).await;
    odd_keys(&make(), memory).await;
    for seed in 1..=6 {
        model(&make(), memory, seed).await;
    }
    cancelled_operations(&make(), memory).await;
    concurrent_writers(&make(), memory);
    concurrent_removes(&make(), memory);
    nothing_comes_back(&make(), memory).await;
}

async fn run_basic<S: Store>(make: &impl Fn() -> S, memory: Memory) {
    starts_empty(&make(), memory).await;
    last_write_wins(&make(), memory).await;
    split_does_not_matter(&make(), memory).await;
    nothing_before_commit(&make(), memory).await;
    dropped_writer_leaves_no_trace(&make(), memory).await;
    remove_tells(&make(), memory).await;
    empty_values(&make(), memory).await;
    many_writes(&make(), memory).await;
}

impl Memory {
    /// Checks what a store has under a key.
    #[track_caller]
    fn expect(self, got: Option<&Value>, expected: Option<&Value>, what: &str) {
        match (got, expected) {
            (None, None) => {}
            (None, Some(_)) => assert_eq!(self, Self::Forgets, "{what}: the value is gone"),
            (Some(got), None) => panic!("{what}: nothing expected, {} bytes found", got.len()),
            (Some(got), Some(expected)) => assert!(
                same(got, expected),
                "{what}: {} bytes expected, {} found, or others",
                expected.len(),
                got.len(),
            ),
        }
    }

    /// Checks what a store says to have removed.
    #[track_caller]
    fn expect_removed(self, got: bool, expected: bool, what: &str) {
        let forgotten = self == Self::Forgets && expected;
        assert!(
            got == expected || forgotten,
            "{what}: removed: {got}, expected: {expected}",
        );
    }
}

/// What `==` says, in fewer steps where the compiler does not optimise.
fn same(one: &Value, other: &Value) -> bool {
    one.clone().into_bytes() == other.clone().into_bytes()
}
