//! Long work away from the threads that drive futures.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use discovery_core::store::Op;
use tokio::runtime::Handle;

/// Permission to make a change visible. It ends when nobody waits for the change any more, so that
/// an operation that was given up can't overwrite what came after it.
#[derive(Default)]
pub(crate) struct Permit {
    /// `None` if nobody can take it back.
    revoked: Option<Arc<Mutex<bool>>>,
}

struct RevokeOnDrop(Arc<Mutex<bool>>);

impl Permit {
    /// Runs `change` unless the operation was given up, which can't happen meanwhile: giving it
    /// up waits for `change`, which is no more than a rename or a removal.
    pub(crate) fn run<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let revoked = self.revoked.as_deref().map(lock);
        if revoked.as_deref() == Some(&true) {
            return Err(io::Error::other("given up"));
        }
        change()
    }
}

impl Drop for RevokeOnDrop {
    fn drop(&mut self) {
        *lock(&self.0) = true;
    }
}

fn lock(revoked: &Mutex<bool>) -> MutexGuard<'_, bool> {
    revoked.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The runtime that has threads for long work, if there is one. A process that may not start threads, as its user has too
/// many or `ulimit -u` says so, has none: Tokio would panic.
pub(crate) fn blocking_threads() -> Option<Handle> {
    static CAN_START: OnceLock<bool> = OnceLock::new();
    let runtime = Handle::try_current().ok()?;
    let can_start = || {
        let started = thread::Builder::new().spawn(|| ());
        // A thread that nobody waits for ends by itself.
        started.is_ok()
    };
    CAN_START.get_or_init(can_start).then_some(runtime)
}

/// Runs `work` on Tokio's blocking threads, or here if there are none.
pub(crate) fn offload<T, F>(work: F) -> Op<io::Result<T>>
where
    T: Send + 'static,
    F: FnOnce(&Permit) -> io::Result<T> + Send + 'static,
{
    let Some(runtime) = blocking_threads() else {
        return Op::Ready(work(&Permit::default()));
    };
    let revoked = Arc::default();
    let revoke = RevokeOnDrop(Arc::clone(&revoked));
    let permit = Permit {
        revoked: Some(revoked),
    };
    let task = runtime.spawn_blocking(move || work(&permit));
    Op::wait(async move {
        let outcome = task.await;
        drop(revoke);
        outcome.unwrap_or_else(|error| Err(io::Error::other(error)))
    })
}

/// Runs `work` on Tokio's blocking threads, where nobody waits for it, or here if there are none. A runtime that ends may
/// drop it.
pub(crate) fn offload_detached(work: impl FnOnce() + Send + 'static) {
    match blocking_threads() {
        Some(runtime) => drop(runtime.spawn_blocking(work)),
        None => work(),
    }
}

/// Runs `work` on a blocking thread if it is long and there are such, and here otherwise. On a
/// blocking thread it goes on to its end, even if nobody waits for it any more.
pub(crate) fn offload_if<T: Default + Send + 'static>(
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Op<T> {
    // Finding out whether there are such starts a thread, once.
    let threads = if long { blocking_threads() } else { None };
    match threads {
        Some(runtime) => {
            let task = runtime.spawn_blocking(work);
            Op::wait(async move {
                task.await.unwrap_or_else(|error| {
                    tracing::error!(%error, "work on another thread was lost");
                    T::default()
                })
            })
        }
        None => Op::Ready(work()),
    }
}
