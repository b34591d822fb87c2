//! Modes, which depend on the umask of a process: the test program runs itself again.

use std::env;
use std::process::Command;

use discovery_core::Format;

use crate::tools::*;

const DIRECTORY: &str = "DISCOVERY_DISK_TEST_UMASK_DIRECTORY";

/// Plays the part of the other process, and does nothing otherwise.
#[test]
fn part_writer() {
    let Ok(dir) = env::var(DIRECTORY) else { return };
    let (server, layer) = (Server::default(), of_single_lists(dir));
    server.ask(&layer, "/apis");
    // A file is made, replaced, and renewed.
    server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "new")));
    layer.handle().invalidate();
    for path in ["/apis/a/v1", "/apis/a/v2"] {
        server.ask(&layer, path);
    }
}

#[test]
fn files_have_0660_and_directories_0750_less_the_umask() {
    for (umask, directories) in [
        ("000", 0o750),
        ("022", 0o750),
        ("077", 0o700),
        ("027", 0o750),
    ] {
        let (outer, dir) = directory();
        let status = Command::new("sh")
            .args([
                "-c",
                r#"umask "$0"; exec "$1" --exact modes::part_writer"#,
                umask,
            ])
            .arg(env::current_exe().unwrap())
            .env(DIRECTORY, &dir)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(tree(&dir).len(), 4);
        for (name, _) in all_files() {
            assert_eq!(mode(dir.join(&name)), 0o660, "{umask} {name}");
        }
        for name in ["", "a", "a/v1", "v1", "..", "../.."] {
            assert_eq!(mode(dir.join(name)), directories, "{umask} {name}");
        }
        drop(outer);
    }
}
