//! Cache directories that can't be written: one warning, and everything works in memory.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use discovery_client::Stack;
use embedded_apiserver::EmbeddedServer;

use super::{
    events,
    rig::{EVERY, Rig},
    tree::Tree,
    wire::not_tested,
};

/// A program whose cache is below `root` discovers twice, and asks once.
async fn works_in_memory(rig: &Rig, root: &Path, what: &str) {
    let stack = Stack::new(&rig.server.url(), root).expect("an address");
    let program = rig.program_of(stack);
    rig.control.clear_log();
    events::collect();
    for _ in 0..3 {
        let found = program.discover().await;
        assert!(
            found.snapshot.is_complete() && found.failed.is_empty(),
            "{what}"
        );
    }
    assert_eq!(rig.taken().len(), 2, "{what}");
    program.rerun().await;
    assert_eq!(rig.taken().len(), 2, "{what}");
    let warnings = events::warnings(rig.root.path());
    let about_files: Vec<_> = warnings
        .iter()
        .filter(|line| line.contains("discovery files"))
        .collect();
    assert_eq!(about_files.len(), 1, "{what}: {warnings:#?}");
    // The HTTP cache has one of its own.
    assert!(warnings.len() <= 2, "{what}: {warnings:#?}");
    assert!(program.handles.disk.fresh());
}

#[tokio::test]
async fn a_file_in_its_place() {
    for (wire, order) in EVERY {
        let rig = Rig::new(wire, order, EmbeddedServer::builder()).await;
        let what = format!("{wire:?} {order:?}");

        let root = rig.root.path().join("root");
        fs::write(&root, "mine").expect("a file");
        works_in_memory(&rig, &root, &what).await;
        works_in_memory(&rig, &root.join("below"), &what).await;
        assert_eq!(fs::read(&root).expect("still there"), b"mine");
        assert_eq!(rig.tree().names(), ["root"]);

        // Only the discovery files' directory, and only the HTTP cache's.
        let root = rig.root.path().join("half");
        fs::create_dir(&root).expect("a directory");
        fs::write(root.join("discovery"), "mine").expect("a file");
        works_in_memory(&rig, &root, &what).await;
        assert_eq!(Tree::of(&root.join("http")).names().len(), 2, "{what}");
    }
}

#[tokio::test]
async fn an_http_cache_that_cannot_be_written() {
    let rig = Rig::plain(EmbeddedServer::builder()).await;
    fs::write(rig.root.path().join("http"), "mine").expect("a file");
    events::collect();
    let program = rig.program();
    assert!(program.discover().await.snapshot.is_complete());
    program.rerun().await;
    let warnings = events::warnings(rig.root.path());
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(rig.files().names().len() > 1);
    rig.control.clear_log();
    rig.program().run().await;
    assert_eq!(rig.taken().len(), 0);
}

#[tokio::test]
async fn a_read_only_directory() {
    let rig = Rig::plain(EmbeddedServer::builder()).await;
    let root = rig.root.path().join("root");
    fs::create_dir(&root).expect("a directory");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o500)).expect("it is ours");
    if fs::write(root.join("probe"), "").is_ok() {
        not_tested("a read-only directory, because the superuser may write everywhere");
        return;
    }
    works_in_memory(&rig, &root, "read-only").await;
    assert_eq!(rig.tree().names(), [""; 0]);
}

#[tokio::test]
async fn a_missing_directory_is_made() {
    let rig = Rig::plain(EmbeddedServer::builder()).await;
    let root = rig.root.path().join("a/b/c");
    let stack = || Stack::new(&rig.server.url(), &root).expect("an address");
    events::collect();
    let program = rig.program_of(stack());
    assert!(
        !rig.root.path().join("a").exists(),
        "nothing is made until there is something to write"
    );
    program.run().await;
    assert_eq!(events::warnings(rig.root.path()), [""; 0]);
    rig.control.clear_log();
    rig.program_of(stack()).run().await;
    assert_eq!(rig.taken().len(), 0);
}
