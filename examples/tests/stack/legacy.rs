//! A server that has only legacy documents: one request for each list.

use std::collections::BTreeSet;

use discovery_core::GroupVersion;
use embedded_apiserver::{Canned, EmbeddedServer, Fault};
use http::StatusCode;

use super::{
    rig::{EVERY, Order, Rig, Wire, failed, found},
    tree::make_old,
};

#[tokio::test]
async fn groups_then_every_list() {
    for (wire, order) in EVERY {
        let rig = Rig::new(
            wire,
            order,
            EmbeddedServer::builder().crds(5).legacy_only(true),
        )
        .await;
        let program = rig.program();
        let cold = program.discover().await;
        assert!(cold.snapshot.is_complete() && cold.failed.is_empty());

        let log = rig.taken();
        let (groups, lists) = log.split_at(2);
        let paths: BTreeSet<_> = groups.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, BTreeSet::from(["/api", "/apis"]));
        let asked: BTreeSet<_> = lists.iter().map(|entry| entry.path.clone()).collect();
        let listed = cold.snapshot.groups().expect("groups").group_versions();
        let listed: BTreeSet<_> = listed.map(|group_version| group_version.path()).collect();
        assert_eq!(asked, listed);
        assert_eq!(lists.len(), listed.len(), "each once");
        assert!(
            lists
                .iter()
                .all(|entry| entry.accept() == Some("application/json, */*"))
        );

        let files = rig.files();
        assert_eq!(files.names().len(), 1 + listed.len());
        assert_eq!(rig.entries().names().len(), 2 + listed.len());
        let before = rig.tree();
        for warm in [program.discover().await, rig.program().discover().await] {
            assert_eq!(found(&warm), found(&cold));
        }
        assert_eq!(rig.taken().len(), 0);

        // No validators: everything comes again, and nothing of it is new but the answers' dates.
        make_old(rig.root.path(), std::time::Duration::from_secs(60));
        let again = rig.program().rediscover().await;
        assert_eq!(found(&again), found(&cold));
        assert_eq!(rig.taken().len(), 2 + listed.len());
        let tree = rig.tree();
        let rewritten = tree.rewritten_since(&before);
        assert!(
            rewritten.iter().all(|name| name.starts_with("http/")),
            "{rewritten:?}"
        );
    }
}

#[tokio::test]
async fn at_most_64_at_a_time() {
    let server = EmbeddedServer::builder()
        .custom_groups(100)
        .legacy_only(true);
    let rig = Rig::plain(server).await;
    let all: Vec<String> = (rig.control.groups().iter())
        .flat_map(|group| {
            let paths = group.versions.iter().map(|version| {
                GroupVersion::new(&group.name, &version.name)
                    .expect("a good name")
                    .path()
            });
            paths.collect::<Vec<_>>()
        })
        .collect();
    assert!(all.len() > 64);
    let holds: Vec<_> = all.iter().map(|path| rig.control.hold(path)).collect();
    let release = async {
        rig.until(|counters| counters.in_flight >= 64).await;
        drop(holds);
    };
    let program = rig.program();
    let (found, ()) = tokio::join!(program.discover(), release);
    assert!(found.snapshot.is_complete());
    let counters = rig.control.counters();
    assert_eq!(counters.max_in_flight, 64);
    assert_eq!(counters.total as usize, 2 + all.len());
}

#[tokio::test]
async fn only_lists_that_failed_are_asked_for_again() {
    for (wire, order) in EVERY {
        let server = EmbeddedServer::builder().crds(5).legacy_only(true);
        let rig = Rig::new(wire, order, server).await;
        let dead = Canned::text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n");
        rig.control.set_fault("/apis/apps/v1", Fault::Answer(dead));
        rig.control.set_fault("/api/v1", Fault::Cut);
        let first = rig.program();
        let partial = first.discover().await;
        assert_eq!(failed(&partial), ["apps/v1", "v1"], "{wire:?} {order:?}");
        let failure = |name: &str| partial.failed.get(name).expect("it failed");
        assert_eq!(
            failure("apps/v1").code(),
            Some(StatusCode::SERVICE_UNAVAILABLE)
        );
        assert_eq!(
            failure("apps/v1").to_string(),
            "the server is currently unable to handle the request"
        );
        assert!(failure("v1").is_transport());
        assert!(
            partial
                .snapshot
                .resources("rbac.authorization.k8s.io/v1")
                .is_some()
        );
        rig.control.clear_log();
        let files = rig.files();
        assert!(!files.files.contains_key("apps/v1/serverresources.json"));
        assert!(files.files.contains_key("servergroups.json"));

        // The same program: only these, and twice what may have passed. Another does not know that it is a legacy server.
        let again = ["/api/v1", "/apis/apps/v1", "/apis/apps/v1"];
        for (program, is_new) in [
            (&first, false),
            (&rig.program(), true),
            (&rig.program(), true),
        ] {
            let partial = program.discover().await;
            assert_eq!(partial.failed.len(), 2);
            let mut expected = again.to_vec();
            if is_new {
                expected.splice(..0, ["/api"]);
                expected.insert(2, "/apis");
            }
            assert_eq!(rig.take_paths(), expected, "{wire:?} {order:?}");
        }
        assert_eq!(rig.files().rewritten_since(&files), [""; 0]);

        rig.control.clear_faults();
        let whole = rig.program().discover().await;
        assert!(whole.failed.is_empty() && whole.snapshot.is_complete());
        assert_eq!(
            rig.take_paths(),
            ["/api", "/api/v1", "/apis", "/apis/apps/v1"]
        );
        rig.program().run().await;
        assert_eq!(rig.taken().len(), 0);
    }
}

#[tokio::test]
async fn many_failures() {
    let rig = Rig::plain(EmbeddedServer::builder().legacy_only(true)).await;
    for name in ["apps/v1", "batch/v1", "policy/v1"] {
        rig.control
            .fail_group_version(name, StatusCode::INTERNAL_SERVER_ERROR, None);
    }
    let first = rig.program();
    for program in [&first, &first, &rig.program()] {
        let partial = program.discover().await;
        assert_eq!(failed(&partial), ["apps/v1", "batch/v1", "policy/v1"]);
        assert_eq!(partial.failed["batch/v1"].reason(), Some("InternalError"));
    }
    // The files don't tell that the server is a legacy one. An aggregated one tells everything in
    // two answers, so the second program has tried these first. Each walk asks twice for what may have passed.
    let counters = rig.control.counters();
    assert_eq!(
        (counters.path("/apis"), counters.path("/apis/batch/v1")),
        (2, 6)
    );
    assert_eq!(counters.path("/apis/rbac.authorization.k8s.io/v1"), 1);
}

#[tokio::test]
async fn a_list_that_is_refused_for_good_is_asked_for_once() {
    for order in [Order::Kubectl, Order::LongLived] {
        let server = EmbeddedServer::builder().legacy_only(true);
        let rig = Rig::new(Wire::Plain, order, server).await;
        rig.control
            .fail_group_version("apps/v1", StatusCode::FORBIDDEN, None);
        rig.control
            .fail_group_version("batch/v1", StatusCode::NOT_FOUND, None);
        let program = rig.program();
        for _ in 0..2 {
            let partial = program.discover().await;
            assert_eq!(failed(&partial), ["apps/v1", "batch/v1"]);
            assert_eq!(
                partial.failed["apps/v1"].code(),
                Some(StatusCode::FORBIDDEN)
            );
            assert!(partial.failed["batch/v1"].is_not_found());
        }
        let counters = rig.control.counters();
        assert_eq!(
            (
                counters.path("/apis/apps/v1"),
                counters.path("/apis/batch/v1")
            ),
            (1, 1)
        );

        // Another program has to ask itself.
        rig.control.clear_log();
        rig.program().run().await;
        let asked = ["/api", "/apis", "/apis/apps/v1", "/apis/batch/v1"];
        assert_eq!(rig.take_paths(), asked);
    }
}

#[tokio::test]
async fn a_failure_leaves_older_files_alone() {
    let rig = Rig::plain(EmbeddedServer::builder().legacy_only(true)).await;
    rig.program().run().await;
    let before = rig.files();
    rig.control
        .fail_group_version("apps/v1", StatusCode::SERVICE_UNAVAILABLE, None);
    let partial = rig.program().rediscover().await;
    assert_eq!(failed(&partial), ["apps/v1"]);
    assert_eq!(rig.files().rewritten_since(&before), [""; 0]);

    // It is still there for those who did not ask for anything newer.
    rig.control.clear_log();
    assert!(rig.program().discover().await.failed.is_empty());
    assert_eq!(rig.taken().len(), 0);
}

#[tokio::test]
async fn progress_is_reported_after_each_answer() {
    let rig = Rig::plain(EmbeddedServer::builder().legacy_only(true)).await;
    let mut steps = Vec::new();
    let found = rig
        .program()
        .client
        .discover_with(|step| steps.push(step))
        .await;
    let lists = found.expect("the groups").snapshot.lists().len();
    assert_eq!(steps.len(), 2 + lists);
    let last = steps.last().expect("steps");
    assert_eq!((last.done, last.outstanding), (2 + lists, 0));
    assert!(steps.windows(2).all(|pair| pair[0].done < pair[1].done));
}

#[tokio::test]
async fn the_server_learns_aggregation() {
    let rig = Rig::plain(EmbeddedServer::builder().crds(5).legacy_only(true)).await;
    let old = rig.program().discover().await;
    rig.control.set_v2(true);
    rig.control.clear_log();
    let new = rig.program().rediscover().await;
    assert_eq!(rig.take_paths(), ["/api", "/apis"]);
    assert_eq!(found(&new), found(&old));
    // The other way round as well.
    rig.control.set_legacy_only(true);
    let old = rig.program().rediscover().await;
    assert_eq!(rig.taken().len(), 2 + old.snapshot.lists().len());
}
