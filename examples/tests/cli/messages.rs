//! What is told on stderr beside errors.

use std::fs;

use crate::program::{Home, server};

#[test]
fn one_warning_of_a_directory_that_cannot_be_written() {
    let server = server();
    // A file where a directory should be: that stops the superuser as well.
    for (in_the_way, command, is_told) in [
        ("", "api-resources", true),
        ("", "api-versions", true),
        ("", "version", true),
        ("http", "api-resources", true),
        ("http", "version", true),
        ("discovery", "api-resources", true),
        ("discovery", "version", false),
    ] {
        let home = Home::new();
        let root = home.path().join("root");
        if !in_the_way.is_empty() {
            fs::create_dir(&root).unwrap();
        }
        fs::write(root.join(in_the_way).components().as_path(), "").unwrap();
        let run = home.ask(&server, &[command, "--cache-dir", root.to_str().unwrap()]);
        assert_eq!(run.code, Some(0), "{run:?}");
        let warnings = run.stderr.matches(" WARN ").count();
        assert_eq!(
            warnings,
            usize::from(is_told),
            "{in_the_way} {command}: {run:?}"
        );
        assert_eq!(run.stderr.lines().count(), warnings, "{run:?}");
    }
}

#[test]
fn requests_are_told_if_asked_for() {
    let (home, server) = (Home::new(), server());
    let url = server.url().replace("http://", "http://me:s3cr3t@");
    let tell = |verbosity: &str| {
        let run = home.run(&["-s", &url, "version", "-v", verbosity]);
        assert_eq!(run.code, Some(0), "{run:?}");
        run.stderr
    };
    let told = tell("1");
    let target = format!("uri={}/version?timeout=32s", server.url());
    assert!(
        told.contains(&format!("sending method=GET {target}\n")),
        "{told}"
    );
    assert!(
        told.contains(&format!("answered {target} status=200 OK version=HTTP/1.1")),
        "{told}"
    );
    assert_eq!(tell("0"), "");
    let all = tell("1") + &tell("5");
    assert!(!all.contains("s3cr3t"), "{all}");
}
