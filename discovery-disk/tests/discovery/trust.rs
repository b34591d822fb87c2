//! Directories that somebody else can write to.
#![cfg(unix)]

use discovery_disk::DiskDiscoveryLayer;

use crate::tools::*;

#[test]
fn a_directory_that_all_may_write_to_is_left_alone() {
    let (_dir, dir) = warm_directory();
    set_mode(&dir, 0o777);
    let before = tree(&dir);
    let (server, layer) = (Server::default(), DiskDiscoveryLayer::new(&dir));
    assert!(!server.ask_all(&layer));
    assert_eq!(server.asked(), ["/api", "/apis"]);
    assert!(server.ask_all(&layer), "kept in memory");
    assert_eq!(tree(&dir), before);
    assert_eq!(layer.disk_stats().write_errors, 0);

    let trusting = DiskDiscoveryLayer::new(&dir).trust_any_owner(true);
    assert!(server.ask_all(&trusting));
    assert_eq!(server.asked(), [""; 0]);
}

/// Only root can give files away.
#[test]
fn another_users_directory_is_left_alone() {
    let (_dir, dir) = warm_directory();
    if std::os::unix::fs::chown(&dir, Some(12_345), None).is_err() {
        return skipped("only root can give a directory away");
    }
    let before = tree(&dir);
    let (server, layer) = (Server::default(), DiskDiscoveryLayer::new(&dir));
    assert!(!server.ask_all(&layer));
    assert!(server.ask_all(&layer), "kept in memory");
    assert_eq!(tree(&dir), before);
}
