//! The warnings that a test caused.

use std::{
    cell::Cell,
    io,
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
    thread::{self, ThreadId},
};

use tracing::Level;

/// The events of all tests, and the threads that they came from.
static LINES: Mutex<Vec<(ThreadId, String)>> = Mutex::new(Vec::new());

thread_local! {
    static START: Cell<usize> = const { Cell::new(0) };
}

/// From now on counts what this test causes.
///
/// The subscriber is the process's: of a scoped one, `tracing` would take a place in the code for
/// silent that another test's thread has reached first.
pub(crate) fn collect() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        tracing_subscriber::fmt()
            .with_max_level(Level::WARN)
            .with_ansi(false)
            .without_time()
            .with_writer(|| Lines)
            .init();
    });
    START.set(LINES.lock().unwrap_or_else(PoisonError::into_inner).len());
}

/// The warnings and errors of the crates under test since [`collect`], a line each: those of this
/// thread, which is all of a test on the current-thread runtime but for the threads that read and
/// write files, and those of other threads that name the directory of this test.
pub(crate) fn warnings(root: &Path) -> Vec<String> {
    let root = root.to_str().expect("a path that is text");
    let ours = |(thread, line): &&(ThreadId, String)| {
        let caused = *thread == thread::current().id() || line.contains(root);
        caused && line.contains(" discovery_")
    };
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = lines[START.get()..].iter().filter(ours);
    lines.map(|(_, line)| line.trim_end().to_owned()).collect()
}

struct Lines;

impl io::Write for Lines {
    /// An event comes in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line).into_owned();
        LINES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((thread::current().id(), text));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A value that a closure in a layer fills.
#[derive(Debug, Default)]
pub(crate) struct Noted<T>(Mutex<Vec<T>>);

impl<T> Noted<T> {
    pub(crate) fn push(&self, value: T) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(value);
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
