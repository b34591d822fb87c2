//! `watch`: a line for each resource type that comes or goes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use embedded_apiserver::{Canned, EmbeddedServer, Fault, Group, Resource, Version};
use http::StatusCode;

use crate::program::{Home, server};

/// Far more than anything takes; only against hanging for ever.
const LIMIT: Duration = Duration::from_secs(60);

/// A running program and what it prints. It is killed at the end.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: BufReader<ChildStderr>,
}

impl Running {
    /// Starts it, and waits until it knows what there is.
    fn start(home: &Home, server: &EmbeddedServer, arguments: &[&str]) -> Self {
        Self::start_with(home, &["--server", &server.url()], arguments)
    }

    pub(crate) fn start_with(home: &Home, global: &[&str], arguments: &[&str]) -> Self {
        let mut child = Command::new(Path::new(env!("CARGO_BIN_EXE_kubectl-discovery")))
            .args(global)
            .arg("watch")
            .args(arguments)
            .env_clear()
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        errors.read_line(&mut first).unwrap();
        assert!(first.starts_with("watching "), "{first}");
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { return };
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            errors,
        }
    }

    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn rockets(verbs: &[&'static str]) -> Group {
    let resource = Resource::new("rockets", "Rocket")
        .verbs(verbs.iter().copied())
        .with_status();
    Group::new("acme.test").version(Version::new("v1").resource(resource))
}

#[test]
fn lines_tell_what_comes_changes_and_goes() {
    for arguments in [
        &["--interval=100ms", "--no-watch"][..],
        // The server announces changes long before that.
        &["--interval=10m"],
    ] {
        let (home, server) = (Home::new(), server());
        let running = Running::start(&home, &server, arguments);
        let control = server.control();
        control.set_group(rockets(&["get", "list"]));
        assert_eq!(running.line(), "+ acme.test/v1 rockets Rocket");
        control.set_group(rockets(&["get"]));
        assert_eq!(running.line(), "~ acme.test/v1 rockets Rocket");
        control.remove_group("acme.test");
        assert_eq!(running.line(), "- acme.test/v1 rockets Rocket");
    }
}

#[test]
fn it_ends_when_its_time_is_over_or_if_the_server_can_not_be_asked() {
    let (home, server) = (Home::new(), server());
    let run = home.ask(&server, &["watch", "--for=1ms"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    let refused = crate::refused::Refused::new();
    let address = format!("http://{}", refused.addr());
    let run = home.run(&["--server", &address, "watch"]);
    assert!(run.failed().contains("was refused"), "{run:?}");
}

#[test]
fn a_failure_is_reported_and_does_not_end_it() {
    let (home, server) = (Home::new(), server());
    let mut running = Running::start(&home, &server, &["--interval=100ms", "--no-watch"]);
    let control = server.control();
    let status = Canned::status(StatusCode::INTERNAL_SERVER_ERROR);
    control.set_fault("/apis", Fault::Answer(status));
    let mut lines = String::new();
    while !lines.contains("asked again from time to time\n") {
        assert_ne!(running.errors.read_line(&mut lines).unwrap(), 0, "{lines}");
    }
    control.clear_faults();
    control.set_group(rockets(&["get"]));
    assert_eq!(running.line(), "+ acme.test/v1 rockets Rocket");
}
