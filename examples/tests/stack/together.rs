//! Many at once: tasks of one program, and programs on one directory.

use std::sync::Arc;

use embedded_apiserver::EmbeddedServer;

use super::{
    rig::{EVERY, HALF, Order, Rig, Wire, found, groups, strangers},
    tree::Tree,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_share_one_fetch() {
    for (wire, order) in EVERY {
        for legacy in [false, true] {
            let server = EmbeddedServer::builder().legacy_only(legacy);
            let rig = Rig::new(wire, order, server).await;
            let program = rig.program();
            let hold = rig.control.hold("/apis");
            let tasks: Vec<_> = (0..500)
                .map(|_| {
                    let client = program.client.clone();
                    tokio::spawn(async move { client.discover().await })
                })
                .collect();
            rig.until(|counters| counters.path("/apis") == 1).await;
            rig.until_missed(&program, 500).await;
            drop(hold);
            let mut lists = 0;
            for task in tasks {
                let found = task.await.expect("no panic").expect("the groups");
                assert!(found.snapshot.is_complete() && found.failed.is_empty());
                lists = found.snapshot.lists().len();
            }
            let expected = if legacy { 2 + lists } else { 2 };
            assert_eq!(rig.taken().len(), expected, "{wire:?} {order:?} {legacy}");
        }
    }
}

#[tokio::test]
async fn those_who_lead_may_go_away() {
    for (wire, order) in EVERY {
        let rig = Rig::new(wire, order, EmbeddedServer::builder()).await;
        let program = rig.program();
        let holds = [rig.control.hold("/api"), rig.control.hold("/apis")];
        let spawn = || {
            let client = program.client.clone();
            tokio::spawn(async move { client.discover().await })
        };
        let leader = spawn();
        rig.until(|counters| counters.path("/api") == 1 && counters.path("/apis") == 1)
            .await;
        let followers: Vec<_> = (0..16).map(|_| spawn()).collect();
        // On this one thread each of them then waits for the leader already.
        rig.until_missed(&program, 1 + 16).await;
        assert_eq!(rig.control.counters().total, 2);
        leader.abort();
        assert!(leader.await.is_err());
        // Another one asks in its place.
        rig.until(|counters| counters.path("/api") == 2 && counters.path("/apis") == 2)
            .await;
        drop(holds);
        for follower in followers {
            let found = follower.await.expect("no panic").expect("the groups");
            assert!(found.snapshot.is_complete());
        }
        assert_eq!(rig.taken().len(), 4, "{wire:?} {order:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_on_one_directory() {
    for (wire, order) in HALF {
        for legacy in [false, true] {
            let what = format!("{wire:?} {order:?} {legacy}");
            let server = EmbeddedServer::builder().crds(5).legacy_only(legacy);
            let rig = Rig::new(wire, order, server).await;
            let alone = rig.program().discover().await;
            let expected = rig.files();
            for refresh in [false, true] {
                if !refresh {
                    rig.clean();
                }
                let tasks: Vec<_> = (0..4)
                    .map(|_| {
                        let program = rig.program();
                        tokio::spawn(async move {
                            if refresh {
                                program.client.invalidate();
                            }
                            (program.client.discover().await, program.handles)
                        })
                    })
                    .collect();
                for task in tasks {
                    let (together, handles) = task.await.expect("no panic");
                    let together = together.expect("the groups");
                    assert_eq!(found(&together), found(&alone), "{what}");
                    assert!(groups(&together) == groups(&alone), "{what}");
                    assert_eq!(handles.files.disk_stats().write_errors, 0, "{what}");
                    assert_eq!(handles.http.stats().errors, 0, "{what}");
                }
                // Nothing is left over, and nothing is mixed up.
                assert!(rig.files().content() == expected.content(), "{what}");
                assert_eq!(strangers(&rig.entries()), [""; 0], "{what}");
                rig.control.clear_log();
                rig.program().run().await;
                assert_eq!(rig.taken().len(), 0, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_below_a_path() {
    for (wire, order) in EVERY {
        let server = EmbeddedServer::builder()
            .crds(5)
            .base_path("/k8s/clusters/c-1");
        let rig = Rig::new(wire, order, server).await;
        assert!(rig.server_dir().ends_with("/k8s/clusters/c_1"));
        let cold = rig.program().discover().await;
        let log = rig.taken();
        let targets: Vec<_> = log.iter().map(|entry| entry.target.as_str()).collect();
        assert_eq!(targets.len(), 2);
        assert!(
            targets.contains(&"/k8s/clusters/c-1/api?timeout=32s"),
            "{targets:?}"
        );
        assert_eq!(rig.files().names().len(), 1 + cold.snapshot.lists().len());
        assert_eq!(rig.entries().names().len(), 2);

        let before = rig.tree();
        assert_eq!(found(&rig.program().discover().await), found(&cold));
        assert_eq!(rig.taken().len(), 0);
        rig.program().rerun().await;
        assert_eq!(rig.control.counters().not_modified, 2);
        assert_eq!(rig.tree().rewritten_since(&before), [""; 0]);
    }
}

#[tokio::test]
async fn two_servers_share_a_root() {
    let first = Rig::plain(EmbeddedServer::builder().crds(5)).await;
    let second = Rig::plain(EmbeddedServer::builder()).await;
    let stack = |rig: &Rig| {
        discovery_client::Stack::new(&rig.server.url(), first.root.path()).expect("an address")
    };
    let one = first.program_of(stack(&first)).discover().await;
    let two = second.program_of(stack(&second)).discover().await;
    assert_ne!(found(&one), found(&two));
    for rig in [&first, &second] {
        rig.control.clear_log();
    }
    assert_eq!(
        found(&first.program_of(stack(&first)).discover().await),
        found(&one)
    );
    assert_eq!(
        found(&second.program_of(stack(&second)).discover().await),
        found(&two)
    );
    assert_eq!((first.taken().len(), second.taken().len()), (0, 0));
    assert_eq!(Tree::of(&first.root.path().join("http")).names().len(), 4);
}

#[tokio::test]
async fn one_stack_for_many_services() {
    let rig = Rig::new(Wire::Plain, Order::LongLived, EmbeddedServer::builder()).await;
    let program = Arc::new(rig.program());
    let (one, two) = tokio::join!(program.get("/apis"), program.discover());
    assert!(one.0.is_success() && two.snapshot.is_complete());
    assert_eq!(rig.taken().len(), 2);
    for path in ["/api", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1"] {
        assert!(program.get(path).await.0.is_success(), "{path}");
    }
    assert_eq!(rig.taken().len(), 0);
}
