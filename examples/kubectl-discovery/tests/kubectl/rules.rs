//! Which discovery files count: kubectl's rules, each seen in both programs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use embedded_apiserver::{Canned, EmbeddedServer, Fault, Group, Resource, Version};
use http::StatusCode;

use super::{
    rig::{BOTH, Program, Rig, Wire},
    tree::Tree,
};

const CACHED: [&str; 2] = ["api-resources", "--cached"];

const HOUR: Duration = Duration::from_secs(60 * 60);

const MINUTE: Duration = Duration::from_secs(60);

/// Both programs with their caches filled, from a server with lists or one without, and the table that they print.
fn filled() -> impl Iterator<Item = (bool, Rig, String)> {
    [false, true].into_iter().filter_map(|legacy| {
        let server = EmbeddedServer::builder().legacy_only(legacy);
        let rig = Rig::new(Wire::Plain, server)?;
        let [theirs, ours] = BOTH.map(|program| rig.run(program, &["api-resources"]).ok());
        assert_eq!(ours, theirs);
        Some((legacy, rig, theirs))
    })
}

/// A program's discovery files with names that end so.
fn files(rig: &Rig, program: Program, end: &str) -> Vec<PathBuf> {
    let root = rig.root(program).join("discovery");
    let names = Tree::of(&root).files.into_keys();
    let found: Vec<_> = names
        .filter(|name| name.ends_with(end))
        .map(|name| root.join(name))
        .collect();
    assert!(!found.is_empty(), "{end}");
    found
}

fn set_modified(file: &Path, then: SystemTime) {
    let opened = fs::File::options().append(true).open(file);
    opened
        .and_then(|opened| opened.set_modified(then))
        .expect("a file of ours");
}

fn modified(file: &Path) -> SystemTime {
    let metadata = fs::metadata(file).expect("it is there");
    metadata.modified().expect("a modification time")
}

/// Runs a program on its own cache: returns its output, and the paths that it asks for.
fn run(rig: &Rig, program: Program, arguments: &[&str]) -> (String, BTreeSet<String>) {
    rig.control.clear_log();
    let printed = rig.run(program, arguments).ok();
    let asked = rig.taken().into_iter().map(|entry| entry.path);
    (printed, asked.collect())
}

/// A file lasts six hours from its modification time, whatever else the system tells of it.
#[test]
fn files_last_six_hours_from_their_modification_time() {
    for (legacy, rig, table) in filled() {
        for end in [
            "json",
            "servergroups.json",
            "apps/v1/serverresources.json",
            "_/v1/serverresources.json",
        ] {
            let end = match end {
                // The core group's list, below the server's directory.
                "_/v1/serverresources.json" => {
                    &*format!("_{}/v1/serverresources.json", rig.server.addr().port())
                }
                end => end,
            };
            for (age, counts) in [
                (MINUTE, true),
                (6 * HOUR - MINUTE, true),
                (6 * HOUR + MINUTE, false),
                (1_000 * HOUR, false),
            ] {
                let what = format!("legacy: {legacy} {end} {age:?}");
                let then = SystemTime::now() - age;
                let [theirs, ours] = BOTH.map(|program| {
                    let files = files(&rig, program, end);
                    files.iter().for_each(|file| set_modified(file, then));
                    let (printed, asked) = run(&rig, program, &CACHED);
                    assert_eq!(printed, table, "{what} {program:?}");
                    let renewed = files.iter().all(|file| modified(file) > then + MINUTE / 2);
                    assert_eq!(renewed, !counts, "{what} {program:?}");
                    asked
                });
                assert_eq!(theirs.is_empty(), counts, "{what}");
                assert_eq!(ours.is_empty(), counts, "{what}");
                assert!(ours.is_subset(&theirs), "{what}: {ours:?} {theirs:?}");
            }
            let [theirs, ours] = BOTH.map(|program| rig.tree(program).below("discovery"));
            assert!(ours.content() == theirs.content(), "legacy: {legacy} {end}");
        }
    }
}

/// A clock that was set back leaves files from the future: they count.
#[test]
fn files_from_the_future_count() {
    for (_, rig, table) in filled() {
        for program in BOTH {
            for ahead in [MINUTE, 5 * HOUR, 1_000 * HOUR] {
                let then = SystemTime::now() + ahead;
                for file in files(&rig, program, "json") {
                    set_modified(&file, then);
                }
                let (printed, asked) = run(&rig, program, &CACHED);
                assert_eq!((printed, asked.len()), (table.clone(), 0), "{program:?}");
            }
        }
    }
}

/// `api-resources` and `api-versions` begin with an invalidation: files that others have written don't count, however
/// new they are. With `--cached` they do.
#[test]
fn after_an_invalidation_others_files_do_not_count() {
    for (legacy, rig, table) in filled() {
        for program in BOTH {
            let (printed, asked) = run(&rig, program, &CACHED);
            assert_eq!((printed, asked.len()), (table.clone(), 0), "{program:?}");
            for command in ["api-resources", "api-versions"] {
                let (_, asked) = run(&rig, program, &[command]);
                assert!(
                    asked.contains("/api") && asked.contains("/apis"),
                    "{program:?}"
                );
            }
        }
        // Nor for a lookup that finds nothing: it is repeated without them, once.
        let [(theirs, _), (ours, count)] = BOTH.map(|program| {
            rig.control.clear_log();
            let run = rig.run(program, &["explain", "nosuchthing"]);
            assert_eq!(run.code, Some(1), "{run:?}");
            let asked: Vec<_> = rig.taken().into_iter().map(|entry| entry.path).collect();
            let unique: BTreeSet<_> = asked.iter().cloned().collect();
            (unique, asked.len())
        });
        assert!(
            theirs.contains("/apis") && ours.contains("/apis"),
            "{legacy}"
        );
        assert!(ours.is_subset(&theirs), "{ours:?} {theirs:?}");
        assert_eq!(count, ours.len(), "nothing twice");
    }
}

/// The names of the discovery files after a run, which are the same for both programs, with the same content.
fn written(rig: &Rig) -> Vec<String> {
    let [theirs, ours] = BOTH.map(|program| {
        drop(rig.run(program, &["api-resources"]));
        rig.tree(program).below("discovery")
    });
    assert!(ours.content() == theirs.content());
    theirs.files.into_keys().collect()
}

/// A list without groups or resources, and an error, leave no file; an error leaves a file that is there.
#[test]
fn nothing_is_written_for_what_is_empty_or_failed() {
    let anvils = || Version::new("v1").resource(Resource::new("anvils", "Anvil"));
    let group = |version| Group::new("acme.test").version(version);
    for legacy in [false, true] {
        let server = EmbeddedServer::builder().bare().legacy_only(legacy);
        let Some(rig) = Rig::new(Wire::Plain, server) else {
            return;
        };
        let all = rig.control.groups();
        rig.control.set_groups(Vec::new());
        if legacy {
            // An empty list of versions there makes a core group without versions.
            let none = Canned::text(StatusCode::NOT_FOUND, "404 page not found");
            rig.control.set_fault("/api", Fault::Answer(none));
        }
        assert_eq!(written(&rig), [""; 0], "legacy: {legacy}");
        rig.control.clear_faults();
        rig.control.set_groups(all);
        rig.control.set_group(group(Version::new("v1")));
        let [groups] = &written(&rig)[..] else {
            panic!("the groups alone");
        };
        assert!(groups.ends_with("/servergroups.json"));

        rig.control.set_group(group(anvils()));
        let fault = || Fault::Answer(Canned::text(StatusCode::SERVICE_UNAVAILABLE, "not now"));
        let paths = if legacy {
            &["/apis/acme.test/v1"][..]
        } else {
            &["/api", "/apis"]
        };
        let fail = || {
            paths
                .iter()
                .for_each(|path| rig.control.set_fault(*path, fault()));
        };
        fail();
        assert_eq!(written(&rig), [&**groups]);
        rig.control.clear_faults();
        let both = written(&rig);
        assert!(both[0].ends_with("/acme.test/v1/serverresources.json"));
        fail();
        assert_eq!(written(&rig), both);
        rig.control.clear_faults();

        // Ours: kubectl leaves the list from before, and tells it until it expires.
        rig.control.set_group(group(Version::new("v1")));
        let left = BOTH.map(|program| {
            drop(rig.run(program, &["api-resources"]));
            rig.tree(program).below("discovery").files.len()
        });
        assert_eq!(left, [both.len(), both.len() - 1], "legacy: {legacy}");
    }
}

/// kubectl takes much for a document that is none, and finds no resources then. For ours all of it is a miss, and the
/// file is written anew, so that kubectl has its resources again.
#[test]
fn what_is_no_document_is_a_miss_and_repaired() {
    // With whether kubectl believes it.
    let contents: [(&str, bool); 9] = [
        ("", true),
        ("{}", true),
        ("null", true),
        ("[]", false),
        ("{", false),
        (r#"{"kind":"Status","apiVersion":"v1"}"#, false),
        (r#"{"kind":"APIGroupList","apiVersion":"v1"}"#, true),
        (
            r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#,
            true,
        ),
        (
            r#"{"kind":"APIGroupList","apiVersion":"v1","froups":[{"name":"a"}]}"#,
            true,
        ),
    ];
    for (legacy, rig, table) in filled() {
        for (content, believed) in contents {
            let what = format!("legacy: {legacy} {content:?}");
            let [theirs, ours] = BOTH.map(|program| {
                let [file] = &files(&rig, program, "servergroups.json")[..] else {
                    panic!("one server, one file");
                };
                let good = fs::read(file).expect("it is there");
                fs::write(file, content).expect("it can be written");
                rig.control.clear_log();
                let run = rig.run(program, &CACHED);
                let asked = rig.taken().len();
                let found = fs::read(file).expect("it is there");
                let is_good = run.stdout == table && found == good;
                fs::write(file, good).expect("it can be written");
                (asked > 0, is_good)
            });
            assert_eq!(theirs.0, !believed, "{what}");
            assert_eq!(ours, (true, true), "{what}");
        }
    }
}
