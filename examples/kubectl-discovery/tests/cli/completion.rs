//! `completion`, `man`, and what every new command has in common.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::{Home, server};

#[test]
fn there_is_a_script_for_each_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = home.run(&["completion", shell]).ok();
        assert!(script.contains("kubectl-discovery"), "{shell}");
        assert!(script.contains("api-resources"), "{shell}");
    }
    assert_eq!(home.run(&["completion", "tcsh"]).code, Some(1));
}

#[test]
fn there_is_a_page_for_the_program_and_for_each_command() {
    let home = Home::new();
    let page = home.run(&["man"]).ok();
    assert!(page.contains(".TH kubectl-discovery 1"), "{page}");
    let page = home.run(&["man", "cache", "prune"]).ok();
    assert!(
        page.contains("older") && page.contains(".SH OPTIONS"),
        "{page}"
    );
    let run = home.run(&["man", "fly"]);
    assert_eq!(run.failed(), "error: there is no command \"fly\"");
    let help = home.run(&["--help"]).ok();
    assert!(!help.contains("  man "), "{help}");
}

#[test]
fn a_closed_stdout_is_no_panic() {
    let server = server();
    let home = Home::new();
    home.ask(&server, &["api-versions"]).ok();
    for command in [
        "completion bash",
        "man",
        "cache list",
        "cache verify",
        "openapi",
        "resolve po",
    ] {
        let mut child = Command::new(Path::new(env!("CARGO_BIN_EXE_kubectl-discovery")))
            .args(["--server", &server.url()])
            .args(command.split(' '))
            .env_clear()
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!errors.contains("panic"), "{command}: {errors}");
    }
}
