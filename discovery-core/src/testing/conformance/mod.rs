//! Checks that a store keeps the [contract](crate::store#contract).
//!
//! [`run`] is for stores that keep all values as long as the checks don't give them more than some
//! 64 MiB; [`run_forgetful`] for those that may forget. [`run_shared`] is for stores that share
//! their place, for example a directory. A [`Suite`] has settings. The single checks are public too,
//! to see which one fails, or to leave one out.
//!
//! A check panics when the store breaks the contract.
//!
//! ```
//! use discovery_core::store::{MapStore, NoStore};
//! use discovery_core::testing::conformance;
//!
//! # tokio_test::block_on(async {
//! conformance::run(MapStore::new).await;
//! conformance::run_forgetful(|| NoStore).await;
//! # });
//! ```
//!
//! # Stores that need a runtime
//!
//! The checks need no runtime, but run in one as well. Those that need real concurrency start
//! threads and wait in them without a runtime, unless the suite is told how to start a task. A store
//! that uses sockets, timers or files of a runtime needs that:
//!
//! ```
//! use discovery_core::store::MapStore;
//! use discovery_core::testing::conformance::Suite;
//!
//! #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
//! async fn main() {
//!     let suite = Suite::new().spawn(|task| drop(tokio::spawn(task)));
//!     suite.run(MapStore::new).await;
//! }
//! ```

mod basic;
mod concurrent;
mod given_up;
mod keys;
mod model;
mod tools;
mod whole;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::store::{Store, Value};
use tools::Task;

pub use self::basic::{
    big_values, dropped_writer_leaves_no_trace, empty_values, last_write_wins, many_writes,
    nothing_before_commit, remove_is_idempotent, split_does_not_matter, starts_empty,
};
pub use self::concurrent::{concurrent_removes, concurrent_writers, nothing_comes_back};
pub use self::given_up::cancelled_operations;
pub use self::keys::odd_keys;
pub use self::model::model;
pub use self::whole::{lists_counts_and_clears, options_are_hints};

/// The checks, with settings.
///
/// ```
/// use discovery_core::store::NoStore;
/// use discovery_core::testing::conformance::{self, Suite};
///
/// # tokio_test::block_on(async {
/// let suite = Suite::new().forgetful();
/// suite.run(|| NoStore).await;
/// // One check alone:
/// conformance::odd_keys(&NoStore, &suite).await;
/// # });
/// ```
#[derive(Clone)]
pub struct Suite {
    /// Whether each value may be gone at any time.
    forgets: bool,
    spawn: Arc<dyn Fn(Task) + Send + Sync>,
}

impl Suite {
    /// A suite for stores that keep a value until it is replaced or removed. It needs no runtime.
    #[must_use]
    pub fn new() -> Self {
        Self {
            forgets: false,
            spawn: Arc::new(tools::on_a_thread),
        }
    }

    /// Allows the store to forget each value at any time.
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.forgets = true;
        self
    }

    /// Sets how tasks are started: `spawn` is given futures that are to run beside each other and
    /// beside the suite, for example by `tokio::spawn`. Each runs on a thread of its own unless this
    /// is set.
    #[must_use]
    pub fn spawn<F>(mut self, spawn: F) -> Self
    where
        F: Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync + 'static,
    {
        self.spawn = Arc::new(spawn);
        self
    }

    /// Runs all checks on stores that `make` makes, each of them new and empty.
    ///
    /// # Panics
    ///
    /// When a store breaks the contract.
    pub async fn run<S: Store>(&self, make: impl Fn() -> S) {
        self.run_basic(&make).await;
        // As callers hold stores: behind a pointer, or two.
        self.run_basic(&|| -> Arc<Box<dyn Store>> { Arc::new(Box::new(make())) })
            .await;

        big_values(&make(), self).await;
        odd_keys(&make(), self).await;
        lists_counts_and_clears(&make(), self).await;
        for seed in 1..=6 {
            model(&make(), self, seed).await;
        }
        cancelled_operations(&make(), self).await;
        let shared = || -> Arc<dyn Store> { Arc::new(make()) };
        concurrent_writers(&shared(), self).await;
        concurrent_removes(&shared(), self).await;
        nothing_comes_back(&make(), self).await;
    }

    /// Runs all checks on pairs of stores that share their place: a value that one has written, the
    /// other reads. `make` makes a new and empty pair.
    ///
    /// # Panics
    ///
    /// When the stores break the contract, or do not share.
    pub async fn run_shared<S: Store>(&self, make: impl Fn() -> (S, S)) {
        self.run(|| tools::Alternating::new(make())).await;
    }

    async fn run_basic<S: Store>(&self, make: &impl Fn() -> S) {
        starts_empty(&make(), self).await;
        last_write_wins(&make(), self).await;
        split_does_not_matter(&make(), self).await;
        nothing_before_commit(&make(), self).await;
        dropped_writer_leaves_no_trace(&make(), self).await;
        remove_is_idempotent(&make(), self).await;
        empty_values(&make(), self).await;
        many_writes(&make(), self).await;
        options_are_hints(&make(), self).await;
    }

    async fn run_all(&self, tasks: Vec<Task>) {
        tools::run_all(&*self.spawn, tasks).await;
    }

    /// Checks the value that a store has under a key.
    #[track_caller]
    fn expect(&self, got: Option<&Value>, expected: Option<&Value>, what: &str) {
        match (got, expected) {
            (None, None) => {}
            (None, Some(_)) => assert!(self.forgets, "{what}: the value is gone"),
            (Some(got), None) => panic!("{what}: nothing expected, {} bytes found", got.len()),
            (Some(got), Some(expected)) => assert!(
                same(got, expected),
                "{what}: {} bytes expected, {} found, or others",
                expected.len(),
                got.len(),
            ),
        }
    }
}

impl Default for Suite {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite")
            .field("forgets", &self.forgets)
            .finish_non_exhaustive()
    }
}

/// Runs all checks on stores that `make` makes, each of them new and empty: [`Suite::run`].
///
/// # Panics
///
/// When a store breaks the contract, or forgets.
pub async fn run<S: Store>(make: impl Fn() -> S) {
    Suite::new().run(make).await;
}

/// Runs all checks on stores that `make` makes, each of them new and empty, where every value may
/// be forgotten at any time.
///
/// # Panics
///
/// When a store breaks the contract.
pub async fn run_forgetful<S: Store>(make: impl Fn() -> S) {
    Suite::new().forgetful().run(make).await;
}

/// Checks pairs of stores that share their place: [`Suite::run_shared`].
///
/// ```
/// use discovery_core::store::MapStore;
/// use discovery_core::testing::conformance;
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
    Suite::new().run_shared(make).await;
}

/// Compares as `==` does, in fewer steps where the compiler does not optimise.
fn same(one: &Value, other: &Value) -> bool {
    one.clone().into_bytes() == other.clone().into_bytes()
}
