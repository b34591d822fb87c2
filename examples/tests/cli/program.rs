//! Runs the program as a user does.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use discovery_examples::embedded::EmbeddedServer;
use tempfile::TempDir;

/// A home directory, and what is set up for the runs.
pub(crate) struct Home {
    dir: TempDir,
    variables: Vec<(&'static str, PathBuf)>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
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

    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<PathBuf>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs with these arguments, and with nothing of our own surroundings.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-discovery"));
        command
            .env_clear()
            .env("HOME", self.path())
            .stdin(Stdio::null());
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        let output = command.args(arguments).output().unwrap();
        Run {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
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
    /// What it printed, if all went well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(
            (self.code, self.stderr.as_str()),
            (Some(0), ""),
            "{}",
            self.stdout
        );
        self.stdout
    }

    /// The last line on stderr, of a run that failed.
    #[track_caller]
    pub(crate) fn failed(&self) -> &str {
        assert_eq!(self.code, Some(1), "{self:?}");
        self.stderr.lines().last().unwrap_or_default()
    }
}

pub(crate) fn server() -> EmbeddedServer {
    EmbeddedServer::builder().start_in_thread().unwrap()
}
