//! Messages on stderr beside errors.

use std::fs;

use crate::program::{Home, server};

#[test]
fn an_unwritable_directory_is_reported_from_verbosity_1_on() {
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
        let arguments = [command, "--cache-dir", root.to_str().unwrap()];
        // As in kubectl.
        home.ask(&server, &arguments).ok();
        let run = home.ask(&server, &[&arguments[..], &["-v=1"]].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        let warnings = run
            .stderr
            .lines()
            .filter(|line| line.starts_with('W'))
            .count();
        assert_eq!(warnings > 0, is_told, "{in_the_way} {command}: {run:?}");
        // One of each cache, at most.
        assert!(warnings <= 2, "{in_the_way} {command}: {run:?}");
    }
}

#[test]
fn requests_are_logged_without_credentials_from_verbosity_1_on() {
    let (home, server) = (Home::new(), server());
    let url = server.url().replace("http://", "http://me:s3cr3t@");
    let tell = |verbosity: &str| {
        let run = home.run(&["-s", &url, "version", "-v", verbosity]);
        assert_eq!(run.code, Some(0), "{run:?}");
        run.stderr
    };
    let told = tell("1");
    let target = format!("uri=\"{}/version?timeout=32s\"", server.url());
    for text in [
        format!("] \"sending\" method=\"GET\" {target}\n"),
        format!("] \"answered\" {target} status=\"200 OK\" version=\"HTTP/1.1\"\n"),
    ] {
        assert!(told.contains(&text), "{told}");
    }
    assert_eq!(tell("0"), "");
    // The HTTP cache asks the server whether the version is still the same, and says why.
    let decisions = tell("6");
    assert!(decisions.contains(" reason=\""), "{decisions}");
    assert!(!told.contains(" reason="), "{told}");
    let all = told + &decisions + &tell("10");
    assert!(!all.contains("s3cr3t"), "{all}");
}
