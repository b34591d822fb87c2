//! The warnings that a test caused.

use std::{
    cell::RefCell,
    io,
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing::Level;

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Collects what happens on this thread from now on. A test on the current-thread runtime, with
/// its files read and written inline, happens on one thread.
///
/// The subscriber is the process's: a scoped one would miss events whose places other threads
/// reach at the same moment.
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
    LINES.with_borrow_mut(Vec::clear);
}

/// The warnings and errors of the crates under test since [`collect`], a line each.
pub(crate) fn warnings() -> Vec<String> {
    let text = LINES.with_borrow(|lines| String::from_utf8_lossy(lines).into_owned());
    let ours = |line: &&str| line.contains(" discovery_") && !line.contains("discovery_examples");
    text.lines().filter(ours).map(str::to_owned).collect()
}

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(line));
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
