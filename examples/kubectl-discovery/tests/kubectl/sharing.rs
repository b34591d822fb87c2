//! Each finds, accepts and revalidates what the other has cached.

use std::{collections::BTreeSet, fs, thread};

use discovery_core::http::uri::server_directory;
use discovery_disk::DiskDiscoveryLayer;
use embedded_apiserver::EmbeddedServer;
use http::StatusCode;
use kube::{Discovery, client::ClientBuilder};
use tower::buffer::BufferLayer;

use super::{
    entry::Kept,
    kube_config::config,
    rig::{BOTH, Program, Rig, WIRES, Wire, old_kubectl},
    tree::Tree,
};

/// Every server that there is, with both caches filled by `api-resources`.
fn filled() -> impl Iterator<Item = (String, Rig)> {
    WIRES.into_iter().flat_map(|wire| {
        [false, true].into_iter().filter_map(move |legacy| {
            let server = EmbeddedServer::builder().crds(30).legacy_only(legacy);
            let rig = Rig::new(wire, server)?;
            let [theirs, ours] = BOTH.map(|program| rig.run(program, &["api-resources"]).ok());
            assert_eq!(ours, theirs, "{wire:?} legacy: {legacy}");
            assert!(ours.contains("widget"));
            Some((format!("{wire:?} legacy: {legacy}"), rig))
        })
    })
}

fn not_modified(rig: &Rig) -> usize {
    let log = rig.taken();
    log.iter()
        .filter(|entry| entry.status == Some(StatusCode::NOT_MODIFIED))
        .count()
}

#[test]
fn the_same_trees() {
    for (what, rig) in filled() {
        let [theirs, ours] = BOTH.map(|program| rig.tree(program));
        assert_eq!(ours.names(), theirs.names(), "{what}");
        assert_eq!(ours.dirs, theirs.dirs, "{what}");
        let (ours_files, theirs_files) = (ours.below("discovery"), theirs.below("discovery"));
        for (name, (bytes, mode)) in theirs_files.content() {
            let file = ours_files.file(name);
            let same = (file.bytes.as_slice(), file.mode) == (bytes, mode);
            assert!(
                same,
                "{what}: {name} differs: mode {:o}, {mode:o}",
                file.mode
            );
        }
        for (name, theirs) in theirs.below("http").files {
            let file = ours.file(&format!("http/{name}"));
            assert_eq!(file.mode, theirs.mode, "{what}: {name}");
            let (ours, theirs) = (Kept::of(&file.bytes), Kept::of(&theirs.bytes));
            assert_eq!(ours.status, theirs.status, "{what}: {name}");
            assert_eq!(ours.headers, theirs.headers, "{what}: {name}");
            assert!(
                ours.body == theirs.body,
                "{what}: {name}: the bodies differ"
            );
        }
    }
}

#[test]
fn cached_runs_of_either_program_send_nothing() {
    for (what, rig) in filled() {
        let expected = rig.run(Program::Kubectl, &["api-resources"]).ok();
        let before = BOTH.map(|program| rig.tree(program));
        rig.control.clear_log();
        for (program, other) in [
            (Program::Kubectl, Program::Ours),
            (Program::Ours, Program::Kubectl),
        ] {
            let run = rig.run_on(program, &rig.root(other), &["api-resources", "--cached"]);
            assert_eq!(run.ok(), expected, "{what}: {program:?}");
            assert_eq!(rig.taken().len(), 0, "{what}: {program:?}");
        }
        assert!(BOTH.map(|program| rig.tree(program)) == before, "{what}");
    }
}

#[test]
fn each_revalidates_the_others_entries() {
    for (what, rig) in filled() {
        let legacy = what.ends_with("true");
        let expected = rig
            .run(Program::Kubectl, &["api-resources", "--cached"])
            .ok();
        let content = BOTH.map(|program| rig.tree(program));
        rig.control.clear_log();
        for (program, other) in [
            (Program::Ours, Program::Kubectl),
            (Program::Kubectl, Program::Ours),
        ] {
            let before = rig.tree(other);
            let run = rig.run_on(program, &rig.root(other), &["api-resources"]);
            assert_eq!(run.ok(), expected, "{what}: {program:?}");
            // Legacy documents have no validators.
            let asked = rig.control.counters().total as usize;
            let entries = before.below("http").names().len();
            assert_eq!(asked, entries, "{what}: {program:?}");
            let expected = if legacy { 0 } else { entries };
            assert_eq!(not_modified(&rig), expected, "{what}: {program:?}");
            if program == Program::Ours && !legacy {
                let tree = rig.tree(other);
                assert_eq!(tree.rewritten_since(&before), [""; 0], "{what}");
            }
        }
        // The discovery files are what they were; kubectl has written them again.
        let after = BOTH.map(|program| rig.tree(program));
        for (after, before) in after.iter().zip(&content) {
            assert_eq!(after.names(), before.names(), "{what}");
            let (after, before) = (after.below("discovery"), before.below("discovery"));
            assert!(after.content() == before.content(), "{what}");
        }
    }
}

#[test]
fn files_after_a_304_are_good_for_both() {
    for (what, rig) in filled() {
        // Each has entries of the other's, revalidated by itself, and passes them on.
        let shared = rig.path("shared");
        let expected = rig
            .run_on(Program::Kubectl, &shared, &["api-resources"])
            .ok();
        for turn in [
            Program::Ours,
            Program::Kubectl,
            Program::Kubectl,
            Program::Ours,
            Program::Ours,
        ] {
            assert_eq!(
                rig.run_on(turn, &shared, &["api-resources"]).ok(),
                expected,
                "{what}"
            );
            for program in BOTH {
                rig.control.clear_log();
                let run = rig.run_on(program, &shared, &["api-resources", "--cached"]);
                assert_eq!(run.ok(), expected, "{what}: {program:?} after {turn:?}");
                assert_eq!(rig.taken().len(), 0, "{what}: {program:?} after {turn:?}");
            }
        }
        let tree = Tree::of(&shared);
        for file in tree.below("http").files.values() {
            Kept::of(&file.bytes);
        }
        let theirs = rig.tree(Program::Kubectl);
        assert!(
            tree.below("discovery").content() == theirs.below("discovery").content(),
            "{what}"
        );
    }
}

/// The same output and the same bytes as after kubectl, and no request that kubectl does not send: it asks a legacy server
/// for all lists.
#[test]
fn one_missing_file() {
    for (what, rig) in filled() {
        let root = rig.root(Program::Kubectl);
        let tree = Tree::of(&root);
        let names = tree.names();
        let mut lists = names
            .iter()
            .filter(|name| name.ends_with("/apps/v1/serverresources.json"));
        let file = root.join(lists.next().expect("a list of apps/v1"));
        let [theirs, ours] = BOTH.map(|program| {
            fs::remove_file(&file).expect("it was there");
            rig.control.clear_log();
            let run = rig.run_on(program, &root, &["api-resources", "--cached"]);
            let log = rig.taken();
            let asked = log.into_iter().map(|entry| (entry.path, entry.status));
            let mut asked: Vec<_> = asked.collect();
            asked.sort();
            (
                run.ok(),
                asked,
                fs::read_to_string(&file).expect("it is there again"),
            )
        });
        let missed = ours.1.iter().find(|asked| !theirs.1.contains(asked));
        assert_eq!(missed, None, "{what}");
        assert!(ours.1.len() <= 3, "{what}");
        assert!(ours.0 == theirs.0 && ours.2 == theirs.2, "{what}");
        rig.control.clear_log();
        for program in BOTH {
            let run = rig.run_on(program, &root, &["api-resources", "--cached"]);
            assert_eq!(run.ok(), ours.0, "{what}");
        }
        assert_eq!(rig.taken().len(), 0, "{what}");
    }
}

#[test]
fn kube_rs_reads_what_kubectl_wrote() {
    for (what, rig) in filled() {
        let root = rig.root(Program::Kubectl);
        let server = server_directory(&rig.server.url()).expect("an address like others");
        let files = DiskDiscoveryLayer::new(root.join("discovery").join(server));
        let before = rig.tree(Program::Kubectl);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let builder = || ClientBuilder::try_from(config(&rig.server)).expect("a client");
            let uncached = builder().build();
            let cached = builder()
                .with_layer(&BufferLayer::new(64))
                .with_layer(&files)
                .build();
            let expected = lines(&Discovery::new(uncached).run().await.expect("discovery"));
            rig.control.clear_log();
            let found = lines(
                &Discovery::new(cached.clone())
                    .run()
                    .await
                    .expect("discovery"),
            );
            assert_eq!(found, expected, "{what}");
            let found = Discovery::new(cached)
                .run_aggregated()
                .await
                .expect("discovery");
            assert!(found.groups().count() > 20, "{what}");
        });
        assert_eq!(rig.taken().len(), 0, "{what}");
        assert!(rig.tree(Program::Kubectl) == before, "{what}");
    }
}

#[test]
fn kubectl_finds_resources_in_our_files() {
    for (what, rig) in filled() {
        let custom = rig.control.groups().pop().expect("groups");
        let both = format!("cm,{}", custom.versions[0].resources[0].name);
        rig.control.clear_log();
        let arguments = ["get", &both, "--all-namespaces", "--output=name"];
        let run = rig.run_on(Program::Kubectl, &rig.root(Program::Ours), &arguments);
        assert!(run.stdout.contains("configmap/settings"), "{what}: {run:?}");
        // Two lists of objects, and no discovery.
        assert_eq!(rig.taken().len(), 2, "{what}");
    }
}

#[test]
fn both_programs_at_once_leave_good_files() {
    for (what, rig) in filled() {
        let expected = rig
            .run(Program::Kubectl, &["api-resources", "--cached"])
            .ok();
        let shared = rig.path("shared");
        for flag in ["--cached", "--cached=false"] {
            thread::scope(|scope| {
                for program in [BOTH, BOTH].concat() {
                    let (rig, shared, expected, what) = (&rig, &shared, &expected, &what);
                    scope.spawn(move || {
                        let run = rig.run_on(program, shared, &["api-resources", flag]);
                        assert_eq!(&run.ok(), expected, "{what}: {program:?} {flag}");
                    });
                }
            });
            // Nothing is mixed up, and nothing is left over.
            let [tree, theirs] = [Tree::of(&shared), rig.tree(Program::Kubectl)];
            assert_eq!(tree.names(), theirs.names(), "{what} {flag}");
            let [tree, theirs] = [tree, theirs].map(|tree| tree.below("discovery"));
            assert!(tree.content() == theirs.content(), "{what} {flag}");
        }
    }
}

/// Names, kinds, verbs and scopes, a line each.
fn lines(discovery: &Discovery) -> BTreeSet<String> {
    let groups = discovery.groups();
    let resources = groups.flat_map(|group| {
        let versions = group.versions();
        versions.flat_map(|version| group.versioned_resources(version))
    });
    resources
        .map(|(resource, capabilities)| format!("{resource:?} {capabilities:?}"))
        .collect()
}

#[test]
fn addresses() {
    let odd = ["/ü x", "/%c3%bc%20x", "/a/..//%C3%BC x/./"];
    for (base, written) in [
        ("", &[""][..]),
        (
            "/k8s/clusters/c-1",
            &["/k8s/clusters/c-1", "/k8s%2Fclusters/c%2D1"],
        ),
        ("/%C3%BC%20x", &odd),
        ("/a%21%5Bb%5D~", &["/a![b]~", "/a%21[b]%7e"]),
    ] {
        let Some(rig) = Rig::new(Wire::Plain, EmbeddedServer::builder().base_path(base)) else {
            return;
        };
        let port = rig.server.addr().port();
        let mut addresses = Vec::new();
        for base in written {
            addresses.extend([
                format!("http://127.0.0.1:{port}{base}"),
                format!("http://127.0.0.1:{port}{base}/"),
                format!("http://localhost:{port}{base}"),
                format!("http://somebody:se!cret@127.0.0.1:{port}{base}"),
            ]);
        }
        if base.is_empty() {
            addresses.extend([format!("127.0.0.1:{port}"), format!("localhost:{port}")]);
            addresses.extend(["", "http://"].map(|scheme| format!("{scheme}127.1:{port}")));
            addresses.push(format!("http://[127.0.0.1]:{port}"));
        }
        for address in addresses {
            let [theirs, ours] = BOTH.map(|program| {
                rig.clean();
                let run = rig.run(program, &["api-resources", "--server", &address]);
                (run, rig.tree(program))
            });
            assert_eq!(
                (ours.0.code, &ours.0.stdout),
                (theirs.0.code, &theirs.0.stdout),
                "{address}: {ours:?} {theirs:?}"
            );
            assert_eq!(ours.1.names(), theirs.1.names(), "{address}");
            let [ours, theirs] = [ours.1, theirs.1].map(|tree| tree.below("discovery"));
            assert!(ours.content() == theirs.content(), "{address}");
        }
    }
}

#[test]
fn many_custom_resources() {
    let Some(rig) = Rig::new(Wire::Tls, EmbeddedServer::builder().crds(300)) else {
        return;
    };
    let [theirs, ours] =
        BOTH.map(|program| rig.run(program, &["api-resources", "-o", "wide"]).ok());
    assert!(ours == theirs);
    let [theirs, ours] = BOTH.map(|program| rig.tree(program));
    assert!(ours.below("discovery").content() == theirs.below("discovery").content());
    assert_eq!(ours.names(), theirs.names());
    for (name, theirs) in theirs.below("http").files {
        // The larger answer came compressed, and is kept decoded.
        let ours = Kept::of(&ours.file(&format!("http/{name}")).bytes);
        assert!(ours == Kept::of(&theirs.bytes), "{name}");
        assert!(!ours.has("Content-Encoding"));
    }
    rig.control.clear_log();
    for (program, other) in [
        (Program::Kubectl, Program::Ours),
        (Program::Ours, Program::Kubectl),
    ] {
        let cached = rig.run_on(
            program,
            &rig.root(other),
            &["api-resources", "--cached", "-o", "name"],
        );
        assert!(cached.ok().lines().count() > 300);
        assert_eq!(rig.taken().len(), 0, "{program:?}");
        rig.run_on(program, &rig.root(other), &["api-resources"])
            .ok();
        assert_eq!(not_modified(&rig), 2, "{program:?}");
    }
}

#[test]
fn cold_asks_two_things_at_once() {
    for wire in WIRES {
        let Some(rig) = Rig::new(wire, EmbeddedServer::builder()) else {
            return;
        };
        let holds = [rig.control.hold("/api"), rig.control.hold("/apis")];
        let control = rig.control.clone();
        let watch = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.expect("a runtime").block_on(
                control.until(|counters| counters.path("/api") == 1 && counters.path("/apis") == 1),
            );
            drop(holds);
        });
        rig.run(Program::Ours, &["api-resources"]).ok();
        watch.join().expect("both came before either was answered");
        let log = rig.taken();
        assert_eq!(log.len(), 2);
        assert!(log[0].overlaps(&log[1]));
        // Over HTTP/2 one connection is for both, as in kubectl.
        if wire == Wire::Tls {
            assert_eq!(rig.control.counters().connections, 1);
        }
    }
}

/// It asks for v2beta1 as well. Neither fetches anew, nor rewrites, what the other has stored.
#[test]
fn an_old_kubectl_and_ours_share_the_http_cache() {
    let Some(old) = old_kubectl() else {
        return;
    };
    for wire in WIRES {
        let Some(rig) = Rig::new(wire, EmbeddedServer::builder().crds(5)) else {
            return;
        };
        let root = rig.root(Program::Kubectl);
        let command = ["api-resources", "-o", "name"];
        let expected = rig.run_old(&old, &root, &command).ok();
        rig.control.clear_log();
        for turn in 0..2 {
            let ours = rig.run_on(Program::Ours, &root, &command).ok();
            let theirs = rig.run_old(&old, &root, &command).ok();
            assert!(ours == expected, "{wire:?} {turn}: ours");
            assert!(theirs == expected, "{wire:?} {turn}: theirs");
            let statuses: Vec<_> = rig.taken().iter().map(|entry| entry.status).collect();
            assert_eq!(
                statuses,
                [Some(StatusCode::NOT_MODIFIED); 4],
                "{wire:?} {turn}"
            );
        }
    }
}

/// kubectl leaves the files of group versions that are gone; ours removes them.
#[test]
fn kubectl_does_not_miss_the_files_of_groups_that_are_gone() {
    for wire in WIRES {
        let server = EmbeddedServer::builder().custom_groups(5);
        let Some(rig) = Rig::new(wire, server) else {
            return;
        };
        let ours = || rig.run(Program::Ours, &["api-resources"]).ok();
        ours();
        let before = rig.tree(Program::Ours).names().len();
        rig.control.set_custom_groups(2);
        let expected = ours();
        assert!(rig.tree(Program::Ours).names().len() < before);
        let root = rig.root(Program::Ours);
        for arguments in [&["api-resources", "--cached"][..], &["api-resources"]] {
            let theirs = rig.run_on(Program::Kubectl, &root, arguments).ok();
            assert_eq!(theirs, expected, "{wire:?} {arguments:?}");
        }
        // They come back.
        rig.control.set_custom_groups(5);
        let theirs = rig.run_on(Program::Kubectl, &root, &["api-resources"]).ok();
        assert_eq!(
            rig.run(Program::Ours, &["api-resources", "--cached"]).ok(),
            theirs
        );
        assert_eq!(rig.tree(Program::Ours).names().len(), before);
    }
}

/// Nothing is known to any of them, and the server takes its time.
#[test]
fn of_twenty_that_start_at_once_one_asks() {
    let server = EmbeddedServer::builder().crds(30);
    let Some(rig) = Rig::new(Wire::Tls, server) else {
        return;
    };
    let expected = rig.run(Program::Kubectl, &["api-resources"]).ok();
    rig.control.clear_log();
    rig.control
        .set_latency(std::time::Duration::from_millis(500));
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let run = rig.run(Program::Ours, &["api-resources", "--cached"]);
                assert_eq!(run.ok(), expected);
            });
        }
    });
    let log = rig.taken();
    let paths: Vec<_> = log.iter().map(|entry| &*entry.path).collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    // Nothing of the lock is left.
    let ours = rig.tree(Program::Ours);
    assert_eq!(ours.below("discovery-state").names(), [""; 0]);
}
