//! Two programs, each with a home and a cache of its own, and the server that both ask.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use embedded_apiserver::{Builder, Control, EmbeddedServer, Entry};
use tempfile::TempDir;

pub(crate) use super::run::Run;
use super::{run::run, tree::Tree};

/// The version whose files and words are to be matched.
const VERSION: &str = "v1.37.";

/// kubectl, or `None` where there is none and none is required.
pub(crate) fn kubectl() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let required =
                env::var_os("DISCOVERY_TEST_REQUIRE_KUBECTL").is_some_and(|on| on == "1");
            let found = find();
            if let Err(why) = &found {
                assert!(!required, "{why}");
                // Past the test harness, which hides what passing tests print.
                let _ = writeln!(io::stderr(), "not tested against kubectl: {why}");
            }
            found.ok()
        })
        .as_deref()
}

fn find() -> Result<PathBuf, String> {
    let path = match env::var_os("DISCOVERY_TEST_KUBECTL").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => env::split_paths(&env::var_os("PATH").unwrap_or_default())
            .map(|dir| dir.join("kubectl"))
            .find(|file| file.is_file())
            .ok_or("there is no kubectl in the PATH")?,
    };
    let home = tempfile::tempdir().map_err(|error| error.to_string())?;
    let run = run(&path, ["version", "--client"], home.path(), &[]);
    if run.code == Some(0) && run.stdout.contains(VERSION) {
        Ok(path)
    } else {
        Err(format!(
            "{} is not kubectl {VERSION}x: {run:?}",
            path.display()
        ))
    }
}

/// A kubectl from before 1.37, or `None` where there is none and none is required.
pub(crate) fn old_kubectl() -> Option<PathBuf> {
    let path = env::var_os("DISCOVERY_TEST_OLD_KUBECTL").filter(|path| !path.is_empty());
    if path.is_none() {
        let required = env::var_os("DISCOVERY_TEST_REQUIRE_KUBECTL").is_some_and(|on| on == "1");
        assert!(!required, "DISCOVERY_TEST_OLD_KUBECTL is not set");
        let _ = writeln!(
            io::stderr(),
            "not tested against an old kubectl: none is set"
        );
    }
    path.map(PathBuf::from)
}

/// The protocol that the server is reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Plain HTTP/1.1.
    Plain,
    /// HTTP/2 in TLS, with a bearer token.
    Tls,
}

pub(crate) const WIRES: [Wire; 2] = [Wire::Plain, Wire::Tls];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Kubectl,
    Ours,
}

pub(crate) const BOTH: [Program; 2] = [Program::Kubectl, Program::Ours];

pub(crate) struct Rig {
    kubectl: &'static Path,
    pub(crate) server: EmbeddedServer,
    pub(crate) control: Control,
    dir: TempDir,
}

impl Rig {
    /// `None` where there is no kubectl.
    pub(crate) fn new(wire: Wire, server: Builder) -> Option<Self> {
        let kubectl = kubectl()?;
        let server = match wire {
            Wire::Plain => server,
            Wire::Tls => server.tls(true).token("token-of-the-kubectl-tests"),
        };
        let server = server.start_in_thread().expect("a server");
        let dir = tempfile::tempdir().expect("a directory");
        server
            .write_kubeconfig(dir.path().join("kubeconfig"))
            .expect("a kubeconfig");
        Some(Self {
            kubectl,
            control: server.control(),
            server,
            dir,
        })
    }

    /// Runs a program on its own cache.
    pub(crate) fn run(&self, program: Program, arguments: &[&str]) -> Run {
        self.run_on(program, &self.root(program), arguments)
    }

    /// Runs a program on a cache.
    pub(crate) fn run_on(&self, program: Program, root: &Path, arguments: &[&str]) -> Run {
        let kubeconfig = self.dir.path().join("kubeconfig");
        self.run_with(program, root, &kubeconfig, &[], arguments)
    }

    pub(crate) fn run_with(
        &self,
        program: Program,
        root: &Path,
        kubeconfig: &Path,
        variables: &[(&str, OsString)],
        arguments: &[&str],
    ) -> Run {
        let binary = match program {
            Program::Kubectl => self.kubectl,
            Program::Ours => Path::new(env!("CARGO_BIN_EXE_kubectl-discovery")),
        };
        self.run_binary(binary, program, root, kubeconfig, variables, arguments)
    }

    /// Runs an old kubectl on a cache.
    pub(crate) fn run_old(&self, old: &Path, root: &Path, arguments: &[&str]) -> Run {
        let kubeconfig = self.dir.path().join("kubeconfig");
        self.run_binary(old, Program::Kubectl, root, &kubeconfig, &[], arguments)
    }

    fn run_binary(
        &self,
        binary: &Path,
        program: Program,
        root: &Path,
        kubeconfig: &Path,
        variables: &[(&str, OsString)],
        arguments: &[&str],
    ) -> Run {
        let home = self.dir.path().join(format!("home of {program:?}"));
        fs::create_dir_all(&home).expect("a home");
        let all = arguments.iter().map(OsString::from).chain([
            "--kubeconfig".into(),
            kubeconfig.into(),
            "--cache-dir".into(),
            root.into(),
        ]);
        run(binary, all, &home, variables)
    }

    /// The kubectl that is tested.
    pub(crate) fn kubectl(&self) -> &'static Path {
        self.kubectl
    }

    /// A program's cache.
    pub(crate) fn root(&self, program: Program) -> PathBuf {
        self.dir.path().join(format!("cache of {program:?}"))
    }

    /// A path for something of the test's own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn tree(&self, program: Program) -> Tree {
        Tree::of(&self.root(program))
    }

    /// Empties both caches.
    pub(crate) fn clean(&self) {
        for program in BOTH {
            let root = self.root(program);
            if root.exists() {
                fs::remove_dir_all(root).expect("nobody uses it");
            }
        }
    }

    /// The requests since the last time.
    pub(crate) fn taken(&self) -> Vec<Entry> {
        let log = self.control.log();
        self.control.clear_log();
        log
    }
}
