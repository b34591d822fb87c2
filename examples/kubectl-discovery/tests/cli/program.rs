//! Runs the program as a user does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use embedded_apiserver::EmbeddedServer;
use tempfile::TempDir;

use crate::run::{Run, run};

/// A home directory, and what is set up for the runs.
pub(crate) struct Home {
    dir: TempDir,
    variables: Vec<(&'static str, OsString)>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs with these arguments, and with nothing of our own surroundings.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let binary = Path::new(env!("CARGO_BIN_EXE_kubectl-discovery"));
        run(binary, arguments, self.path(), &self.variables)
    }

    /// Runs against a server.
    pub(crate) fn ask(&self, server: &EmbeddedServer, arguments: &[&str]) -> Run {
        let url = server.url();
        self.run(&[&["--server", url.as_str()], arguments].concat())
    }

    /// The default cache directory.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path().join(".kube/cache")
    }
}

impl Run {
    /// The last line on stderr, of a run that failed.
    #[track_caller]
    pub(crate) fn failed(&self) -> &str {
        assert_eq!(self.code, Some(1), "{self:?}");
        self.last_line()
    }
}

pub(crate) fn server() -> EmbeddedServer {
    EmbeddedServer::builder().start_in_thread().unwrap()
}
