//! The test program runs itself again: a test that is named by the environment plays a part, and
//! does nothing otherwise.

use std::env;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const DIRECTORY: &str = "DISCOVERY_DISK_TEST_DIRECTORY";
const NUMBER: &str = "DISCOVERY_DISK_TEST_NUMBER";

/// Starts a process that plays a part.
pub(crate) fn start(part: &str, directory: &Path, number: u8) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("processes::{part}"), "--nocapture"])
        .env(DIRECTORY, directory)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The directory and the number, in a process that plays a part.
pub(crate) fn part() -> Option<(String, u8)> {
    let number = env::var(NUMBER).ok()?.parse().ok()?;
    Some((env::var(DIRECTORY).ok()?, number))
}

/// Waits until processes have played their parts.
pub(crate) fn succeed(children: Vec<Child>) {
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(said.contains("1 passed"), "{said}");
    }
}

/// Said by a process that writes until it is killed, when it has begun.
pub(crate) fn say_written() {
    #[allow(
        clippy::print_stdout,
        reason = "read by the test that started this process"
    )]
    {
        println!("written");
    }
}

/// Waits until a process has said so.
pub(crate) fn wait_until_written(child: &mut Child) {
    let mut said = Vec::new();
    let out = child.stdout.as_mut().unwrap();
    while !said.ends_with(b"written\n") {
        let mut byte = [0];
        assert_eq!(out.read(&mut byte).unwrap(), 1, "the victim ended early");
        said.extend_from_slice(&byte);
    }
}
