//! A server with aggregated discovery: two requests, then none, then two answered by 304.

use std::time::{Duration, SystemTime};

use embedded_apiserver::{EmbeddedServer, Group, Resource, Version};
use http::StatusCode;

use super::{
    rig::{EVERY, KUBECTL, Order, Rig, Wire, found, groups},
    tree::make_old,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test]
async fn cold_asks_two_things_at_once() {
    for (wire, order) in EVERY {
        let rig = Rig::new(wire, order, EmbeddedServer::builder().crds(5)).await;
        let (api, apis) = (rig.control.hold("/api"), rig.control.hold("/apis"));
        let program = rig.program();
        let release = async {
            // Neither has its answer when both are there.
            rig.until(|counters| counters.path("/api") == 1 && counters.path("/apis") == 1)
                .await;
            drop((api, apis));
        };
        let (discovered, ()) = tokio::join!(program.discover(), release);
        assert!(discovered.snapshot.is_complete() && discovered.failed.is_empty());
        assert!(discovered.snapshot.resources("apps/v1").is_some());

        let log = rig.taken();
        assert_eq!(log.len(), 2, "{wire:?} {order:?}");
        assert!(log[0].overlaps(&log[1]));
        for entry in &log {
            assert_eq!(entry.accept(), Some(KUBECTL));
            assert_eq!(entry.target, format!("{}?timeout=32s", entry.path));
            assert_eq!(entry.authorization, wire == Wire::Tls);
            let http2 = entry.version == http::Version::HTTP_2;
            assert_eq!(http2, wire == Wire::Tls, "{wire:?}");
        }

        // Everything is there, and counts as ours.
        let files = rig.files();
        assert_eq!(files.names().len(), 1 + discovered.snapshot.lists().len());
        assert!(files.files.contains_key("v1/serverresources.json"));
        assert!(files.files.values().all(|file| file.mode == 0o660));
        assert!(files.dirs.values().all(|mode| *mode == 0o750));
        let entries = rig.entries();
        assert_eq!(entries.names().len(), 2);
        assert!(entries.files.values().all(|file| file.mode == 0o660));
        assert!(program.handles.disk.fresh());
    }
}

#[tokio::test]
async fn a_warm_program_sends_nothing() {
    for (wire, order) in EVERY {
        let rig = Rig::new(wire, order, EmbeddedServer::builder().crds(5)).await;
        let first = rig.program();
        let cold = first.discover().await;
        let before = rig.tree();
        assert_eq!(rig.taken().len(), 2);

        // The same program again, then another one.
        let second = rig.program();
        for program in [&first, &second, &second] {
            let warm = program.discover().await;
            assert_eq!(found(&warm), found(&cold));
            assert!(groups(&warm) == groups(&cold));
            assert!(warm.failed.is_empty());
            assert_eq!(rig.taken().len(), 0, "{wire:?} {order:?}");
        }
        assert!(first.handles.disk.fresh());
        assert!(!second.handles.disk.fresh());
        assert!(rig.tree() == before);

        let (status, pods) = second.get("/api/v1").await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            pods.starts_with(br#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1""#)
        );
        assert_eq!(rig.taken().len(), 0);
    }
}

#[tokio::test]
async fn a_revalidation_writes_nothing() {
    for (wire, order) in EVERY {
        let rig = Rig::new(wire, order, EmbeddedServer::builder().crds(5)).await;
        let cold = rig.program().discover().await;
        rig.control.clear_log();
        make_old(rig.root.path(), HOUR);
        let before = rig.tree();

        let program = rig.program();
        let again = program.rediscover().await;
        let log = rig.taken();
        assert_eq!(log.len(), 2);
        for entry in &log {
            assert!(entry.if_none_match().is_some());
            assert_eq!(entry.status, Some(StatusCode::NOT_MODIFIED));
        }
        assert_eq!(found(&again), found(&cold));
        assert!(groups(&again) == groups(&cold));

        let tree = rig.tree();
        assert_eq!(tree.rewritten_since(&before), [""; 0], "{wire:?} {order:?}");
        assert_eq!(tree.names(), before.names());
        // The discovery files count again from now on.
        let recent = SystemTime::now() - HOUR / 2;
        for (name, file) in rig.files().files {
            assert!(file.modified > recent, "{name}");
        }
        assert!(program.handles.disk.fresh());
        let statistics = program.handles.files.disk_stats();
        assert_eq!((statistics.files_written, statistics.bytes_written), (0, 0));
        assert_eq!(statistics.files_renewed as usize, rig.files().names().len());
        assert_eq!(program.handles.http.stats().revalidations, 2);

        // They are this program's now, and need no other look at the server.
        program.run().await;
        assert_eq!(rig.taken().len(), 0);
        assert!(program.handles.disk.fresh());
    }
}

#[tokio::test]
async fn files_expire() {
    let rig = Rig::plain(EmbeddedServer::builder()).await;
    rig.program().run().await;
    rig.control.clear_log();
    make_old(rig.root.path(), 6 * HOUR - HOUR / 60);
    rig.program().run().await;
    assert_eq!(rig.taken().len(), 0);

    make_old(rig.root.path(), 6 * HOUR + HOUR / 60);
    let before = rig.tree();
    let program = rig.program();
    program.run().await;
    assert_eq!(rig.take_statuses(), [Some(StatusCode::NOT_MODIFIED); 2]);
    assert_eq!(rig.tree().rewritten_since(&before), [""; 0]);
    assert!(program.handles.disk.fresh());

    make_old(rig.root.path(), HOUR);
    rig.program_of(rig.stack().ttl(HOUR / 2)).run().await;
    assert_eq!(rig.take_paths(), ["/api", "/apis"]);
}

#[tokio::test]
async fn what_changed_is_written() {
    for order in [Order::Kubectl, Order::LongLived] {
        let rig = Rig::new(Wire::Plain, order, EmbeddedServer::builder().crds(5)).await;
        rig.program().run().await;
        let before = rig.tree();
        rig.control.clear_log();

        // A resource more: one list, and the answer that it came in.
        let changed = rig.control.edit_group_version("apps/v1", |version| {
            version.resources.push(Resource::new("rockets", "Rocket"));
        });
        assert!(changed);
        let found = rig.program().rediscover().await;
        let apps = found.snapshot.resources("apps/v1").expect("a list");
        assert!(
            apps.resources
                .iter()
                .any(|resource| resource.name == "rockets")
        );
        let mut statuses: Vec<_> = rig
            .taken()
            .iter()
            .map(|entry| (entry.path.clone(), entry.status))
            .collect();
        statuses.sort();
        assert_eq!(
            statuses,
            [
                ("/api".to_owned(), Some(StatusCode::NOT_MODIFIED)),
                ("/apis".to_owned(), Some(StatusCode::OK)),
            ]
        );
        let tree = rig.tree();
        let rewritten = tree.rewritten_since(&before);
        assert_eq!(rewritten.len(), 2, "{rewritten:?}");
        assert!(rewritten[0].ends_with("/apps/v1/serverresources.json"));
        assert!(rewritten[1].starts_with("http/"));
        let before = tree;

        // A group more: its list, the groups, and the answer.
        let acme = Version::new("v1").resource(Resource::new("anvils", "Anvil"));
        rig.control.set_group(Group::new("acme.test").version(acme));
        rig.program().rerun().await;
        let tree = rig.tree();
        let rewritten = tree.rewritten_since(&before);
        assert_eq!(rewritten.len(), 3, "{rewritten:?}");
        assert!(rewritten[0].ends_with("/acme.test/v1/serverresources.json"));
        assert!(rewritten[1].ends_with("/servergroups.json"));
        let before = tree;

        // And gone again: its list is no longer looked at.
        assert!(rig.control.remove_group("acme.test"));
        let program = rig.program();
        let found = program.rediscover().await;
        assert!(found.snapshot.resources("acme.test/v1").is_none());
        assert_eq!(rig.tree().rewritten_since(&before).len(), 2);
        let again = rig.program().discover().await;
        assert!(again.snapshot.resources("acme.test/v1").is_none());
    }
}

#[tokio::test]
async fn without_an_http_cache() {
    let rig = Rig::plain(EmbeddedServer::builder()).await;
    rig.program_of(rig.stack().http_store(None)).run().await;
    let before = rig.tree();
    assert!(!rig.root.path().join("http").exists());
    rig.control.clear_log();

    rig.program_of(rig.stack().http_store(None)).run().await;
    assert_eq!(rig.taken().len(), 0);
    rig.program_of(rig.stack().http_store(None)).rerun().await;
    assert_eq!(rig.take_statuses(), [Some(StatusCode::OK); 2]);
    assert_eq!(rig.tree().rewritten_since(&before), [""; 0]);
}

#[tokio::test]
async fn a_server_of_older_times() {
    // `v2beta1` is asked for by nobody here: such a server is a legacy one.
    let server = EmbeddedServer::builder().v2beta1(true);
    let rig = Rig::plain(server).await;
    rig.control.set_v2(false);
    let program = rig.program();
    let found = program.discover().await;
    assert!(found.snapshot.is_complete());
    assert_eq!(rig.taken().len(), 2 + found.snapshot.lists().len());
}
