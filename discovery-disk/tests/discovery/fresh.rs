//! How long files count, and whose: as in client-go's cached discovery client.

use std::fs;
use std::time::{Duration, SystemTime};

use discovery_core::sync::clock::ManualClock;

use crate::tools::*;

const TTL: Duration = Duration::from_secs(6 * 60 * 60);

#[test]
fn files_count_for_six_hours_after_they_were_modified() {
    let (_dir, dir) = warm_directory();
    for (ttl, lasts) in [
        (None, TTL),
        (Some(Duration::from_secs(60)), Duration::from_secs(60)),
        (Some(Duration::ZERO), Duration::ZERO),
    ] {
        for (late, is_hit) in [(Duration::ZERO, true), (Duration::from_nanos(1), false)] {
            for name in ["servergroups.json", "a/v1/serverresources.json"] {
                set_modified(&dir.join(name), long_ago());
            }
            let layer = of_single_lists(&dir).clock(ManualClock::new(long_ago() + lasts + late));
            let layer = match ttl {
                Some(ttl) => layer.ttl(ttl),
                None => layer,
            };
            let server = Server::legacy();
            for path in ["/apis", "/apis/a/v1"] {
                server.ask(&layer, path);
            }
            assert_eq!(server.asked().is_empty(), is_hit, "{lasts:?} {late:?}");
            // That of the groups, which are its own, tells that the list may exist.
            assert_eq!(layer.disk_stats().files_read, if is_hit { 2 } else { 1 });
            // Expired files tell nothing, and so nothing is but fresh.
            assert_eq!(layer.handle().fresh(), !is_hit);
        }
    }
}

#[test]
fn a_file_from_the_future_counts_and_an_endless_time_to_live_never_ends() {
    let (_dir, dir) = warm_directory();
    let groups = dir.join("servergroups.json");
    // A file from the future counts, as in kubectl.
    let server = Server::default();
    set_modified(&groups, long_ago() + Duration::from_secs(1 << 30));
    server.ask(
        &of_single_lists(&dir).clock(ManualClock::new(long_ago())),
        "/apis",
    );
    assert!(server.asked().is_empty());
    // A time to live that goes beyond all time never ends.
    set_modified(&groups, SystemTime::UNIX_EPOCH);
    server.ask(&of_single_lists(&dir).ttl(Duration::MAX), "/apis");
    assert!(server.asked().is_empty());
}

#[test]
fn a_setter_on_a_clone_takes_effect_on_that_clone_alone() {
    let (_dir, dir) = warm_directory();
    let clock = ManualClock::new(SystemTime::now());
    let server = Server::default();
    let layer = of_single_lists(&dir).clock(clock.clone());
    server.ask(&layer, "/apis");
    let short = layer.clone().ttl(Duration::from_secs(1));
    clock.advance(Duration::from_secs(3600));
    server.ask(&layer, "/apis");
    assert!(server.asked().is_empty(), "six hours have not passed");
    server.ask(&short, "/apis");
    assert!(!server.asked().is_empty(), "a second has");
    assert_eq!(layer.handle().stats().hits, 2);
    assert_eq!(short.handle().stats().misses, 1);
    // Another clone shares.
    assert_eq!(short.clone().handle().stats().misses, 1);
}

#[test]
fn fresh_until_somebody_elses_file_was_read() {
    let (_dir, dir) = warm_directory();
    let (server, layer) = (Server::default(), of_single_lists(&dir));
    let handle = layer.handle();
    assert!(handle.fresh());
    server.ask(&layer, "/apis/b/v1");
    assert!(handle.fresh(), "there is no such file");
    server.ask(&layer, "/apis/a/v1");
    assert!(!handle.fresh());
    server.asked();

    // Even if it then fails to decode.
    fs::write(dir.join("servergroups.json"), "garbled").unwrap();
    let layer = of_single_lists(&dir);
    server.ask(&layer, "/apis");
    assert!(!layer.handle().fresh());

    // Files of this process are fresh.
    fs::remove_dir_all(&dir).unwrap();
    let layer = of_single_lists(&dir);
    server.ask(&layer, "/apis");
    assert!(server.ask_all(&layer));
    assert!(layer.handle().fresh());
    // Renewed or written by another process meanwhile, it still counts as this one's.
    fs::write(
        dir.join("a/v1/serverresources.json"),
        file("a/v1", "theirs"),
    )
    .unwrap();
    assert!(text(server.ask(&layer, "/apis/a/v1")).contains("theirs"));
    assert!(layer.handle().fresh());
}

#[test]
fn after_an_invalidation_only_ones_own_files_count() {
    let (_dir, dir) = warm_directory();
    let (server, layer) = (Server::legacy(), of_single_lists(&dir));
    let handle = layer.handle();
    assert!(server.ask_all(&layer) && !handle.fresh());
    handle.invalidate();
    assert!(handle.fresh());
    assert_eq!(tree(&dir), all_files(), "nothing is deleted");
    server.ask(&layer, "/apis");
    assert_eq!(server.asked(), ["/api", "/apis"]);
    server.ask(&layer, "/apis");
    server.ask(&layer, "/apis/a/v1");
    assert_eq!(
        server.asked(),
        ["/apis/a/v1"],
        "the groups are ours, the list was not"
    );
    server.ask_all(&layer);
    assert_eq!(server.asked(), ["/api/v1", "/apis/a/v2"]);
    assert!(server.ask_all(&layer) && handle.fresh());
    // Again, and what was ours is not any more.
    handle.invalidate();
    server.ask_all(&layer);
    assert_eq!(server.asked().len(), 5);
    // Another process is not concerned.
    assert!(server.ask_all(&of_single_lists(&dir)));
}

#[cfg(unix)]
#[test]
fn what_has_not_changed_is_renewed_and_not_written() {
    let (_dir, dir) = directory();
    let server = Server::default();
    server.ask(&of_single_lists(&dir), "/apis");
    let path = |name: &str| dir.join(name);
    let names: Vec<_> = all_files().into_iter().map(|(name, _)| name).collect();
    let inodes: Vec<_> = names.iter().map(|name| inode(&path(name))).collect();
    for name in &names {
        set_modified(&path(name), long_ago());
    }
    // Long expired: all is asked for, and found to be as it was.
    let now = SystemTime::now() + Duration::from_secs(5);
    let clock = ManualClock::new(now);
    let layer = of_single_lists(&dir).clock(clock.clone());
    server.ask(&layer, "/apis");
    let statistics = layer.disk_stats();
    assert_eq!(
        (
            statistics.files_renewed,
            statistics.files_written,
            statistics.bytes_written
        ),
        (4, 0, 0)
    );
    for (name, before) in names.iter().zip(&inodes) {
        assert_eq!(
            (inode(&path(name)), modified(&path(name))),
            (*before, now),
            "{name}"
        );
    }
    // They are ours now, and fresh.
    assert!(server.ask_all(&layer) && layer.handle().fresh());
    layer.handle().invalidate();
    clock.advance(Duration::from_secs(1));

    // One has changed, and one has the wrong mode.
    server.set("/apis", json(discovery_core::Format::V2, r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"a"},"versions":[
        {"version":"v2","resources":[{"resource":"new","responseKind":{"kind":"X"},"verbs":["get"]}]},
        {"version":"v1","resources":[{"resource":"xs","responseKind":{"kind":"X"},"verbs":["get"]}]}]},
        {"metadata":{"name":"s"}}]}"#));
    set_mode(path("v1/serverresources.json"), 0o640);
    server.ask(&layer, "/apis");
    let statistics = layer.disk_stats();
    assert_eq!((statistics.files_renewed, statistics.files_written), (6, 2));
    let changed: Vec<_> = names
        .iter()
        .zip(&inodes)
        .filter(|(name, before)| inode(&path(name)) != **before)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        changed,
        ["a/v2/serverresources.json", "v1/serverresources.json"]
    );
    assert_eq!(
        modified(&path("a/v1/serverresources.json")),
        now + Duration::from_secs(1)
    );
    assert_eq!(mode(path("v1/serverresources.json")), 0o660);
    assert!(server.ask_all(&layer));
}
