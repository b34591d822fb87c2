//! Long work away from the threads that drive futures.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Runs `work` on Tokio's blocking threads, or here if there is no runtime.
pub(crate) fn offload<T, F>(work: F) -> Op<io::Result<T>>
where
    T: Send + 'static,
    F: FnOnce(&Permit) -> io::Result<T> + Send + 'static,
{
    let Ok(runtime) = Handle::try_current() else {
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

/// Runs `work` on Tokio's blocking threads, where nobody waits for it, or here if there is no runtime. A runtime that ends
/// may drop it.
pub(crate) fn offload_detached(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}
