use std::error::Error;
use std::fmt::{self, Write};
use std::io;
use std::path::{Path, PathBuf};

use discovery_core::http::uri::{Redacted, RedactedError};

/// An action that failed, and its path; the cause is the source.
#[derive(Debug)]
struct PathError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Says in an I/O error what was tried, and keeps its kind.
pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |source| {
        io::Error::new(
            source.kind(),
            PathError {
                action,
                path: path.to_owned(),
                source,
            },
        )
    }
}

/// Displays an error with its causes, and without what must not be logged.
pub(crate) fn why(error: &dyn Error) -> RedactedError<'_> {
    RedactedError::new(error, "")
}

/// Displays a path without what must not be logged: names that a program has chosen may be keys.
pub(crate) struct Shown<'a>(pub(crate) &'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.to_string_lossy();
        if path.contains('?') || path.contains(":/") {
            return Redacted::new(&path).fmt(f);
        }
        path.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_debug()),
            false => f.write_char(c),
        })
    }
}

impl Error for PathError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.action, Shown(&self.path))
    }
}
