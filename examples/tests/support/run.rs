//! Runs a program to its end.

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Far more than any run takes; only against hanging for ever.
const LIMIT: Duration = Duration::from_secs(120);

/// The outcome of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Its output, if all went well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.code == Some(0) && self.stderr.is_empty(), "{self:?}");
        self.stdout
    }

    pub(crate) fn last_line(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }
}

/// Runs a program with these arguments and these variables only, in its home.
pub(crate) fn run<A: Into<OsString>>(
    binary: &Path,
    arguments: impl IntoIterator<Item = A>,
    home: &Path,
    variables: &[(&str, OsString)],
) -> Run {
    let variables = variables.iter().map(|(name, value)| (name, value));
    let child = Command::new(binary)
        .args(arguments.into_iter().map(Into::into))
        .env_clear()
        .env("HOME", home)
        .envs(variables)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    let id = child.id().to_string();
    let (done, wait) = mpsc::channel();
    let waiter = thread::spawn(move || {
        let output = child.wait_with_output();
        // Nobody listens any more after the limit.
        let _ = done.send(());
        output
    });
    if wait.recv_timeout(LIMIT).is_err() {
        let killed = Command::new("kill").args(["-9", &id]).status();
        panic!("{} does not end; killed: {killed:?}", binary.display());
    }
    let output = waiter.join().expect("no panic").expect("an output");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Run {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
