//! The same words and exit codes when something goes wrong.

use embedded_apiserver::{Canned, EmbeddedServer, Fault, Group, Resource, Version};
use http::StatusCode;

use super::refused::Refused;
use super::rig::{BOTH, Program, Rig, Run, WIRES, Wire};

const COMMANDS: [&[&str]; 2] = [&["api-resources"], &["api-versions"]];

/// The part of the last line on stderr that has to be kubectl's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    Same,
    /// None: kubectl's depend on how soon it sees that the connection is gone.
    Any,
    /// None: kubectl prints what Go's JSON decoder says, and not where.
    Own,
}

#[track_caller]
fn compare(what: &str, [theirs, ours]: [Run; 2], words: Words) {
    assert_eq!(ours.stdout, theirs.stdout, "{what}: {ours:?} {theirs:?}");
    assert_eq!(ours.code, theirs.code, "{what}: {ours:?} {theirs:?}");
    match words {
        // Of what does not matter kubectl tells in its log, with times and places in its source.
        _ if theirs.code == Some(0) => assert_eq!(ours.stderr, "", "{what}"),
        Words::Same => assert_eq!(ours.last_line(), theirs.last_line(), "{what}"),
        Words::Own => assert!(ours.last_line().contains("/api"), "{what}: {ours:?}"),
        Words::Any => assert!(!ours.stderr.is_empty(), "{what}: {theirs:?}"),
    }
}

fn status(code: StatusCode) -> Fault {
    Fault::Answer(Canned::status(code))
}

#[test]
fn answers_to_api_and_apis() {
    use Words::{Any, Own, Same};
    let dead = Canned::text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n");
    let page = Canned::new("<html>hello</html>").content_type("text/html");
    let plain = Canned::text(StatusCode::BAD_GATEWAY, "bad gateway");
    // client-go takes the first three for errors.
    let odd = [207, 208, 226, 410, 415, 422].map(|code| {
        let code = StatusCode::from_u16(code).expect("three digits");
        (
            "/apis",
            Fault::Answer(Canned::text(code, "so it is\n")),
            Same,
        )
    });
    let cases = [
        ("/api", status(StatusCode::FORBIDDEN), Same),
        ("/api", status(StatusCode::SERVICE_UNAVAILABLE), Same),
        ("/apis", status(StatusCode::UNAUTHORIZED), Same),
        ("/apis", status(StatusCode::FORBIDDEN), Same),
        ("/apis", status(StatusCode::NOT_FOUND), Same),
        ("/apis", status(StatusCode::TOO_MANY_REQUESTS), Same),
        ("/apis", status(StatusCode::INTERNAL_SERVER_ERROR), Same),
        ("/apis", status(StatusCode::SERVICE_UNAVAILABLE), Same),
        ("/apis", Fault::Answer(dead), Same),
        ("/apis", Fault::Answer(plain), Same),
        ("/apis", Fault::Answer(page), Own),
        ("/apis", Fault::Answer(Canned::json("{\"kind\":")), Own),
        ("/apis", Fault::Answer(Canned::json("[]")), Own),
        ("/apis", Fault::CutBody(100), Own),
        ("/apis", Fault::Cut, Any),
    ];
    for wire in WIRES {
        let Some(rig) = Rig::new(wire, EmbeddedServer::builder()) else {
            return;
        };
        for (path, fault, words) in cases.iter().chain(&odd) {
            rig.control.set_fault(*path, fault.clone());
            for command in COMMANDS {
                rig.clean();
                let what = format!("{wire:?} {command:?} {path} {fault:?}");
                compare(&what, BOTH.map(|program| rig.run(program, command)), *words);
                let tree = rig.tree(Program::Ours);
                assert_eq!(tree.below("discovery").names(), [""; 0], "{what}");
            }
            rig.control.clear_faults();
        }
    }
}

#[test]
fn no_core_group() {
    for wire in WIRES {
        let Some(rig) = Rig::new(wire, EmbeddedServer::builder()) else {
            return;
        };
        rig.control.set_fault("/api", status(StatusCode::NOT_FOUND));
        for command in COMMANDS {
            let [theirs, ours] = BOTH.map(|program| rig.run(program, command).ok());
            assert_eq!(ours, theirs, "{wire:?} {command:?}");
            assert!(ours.contains("apps/v1"));
        }
        let [theirs, ours] = BOTH.map(|program| rig.tree(program).below("discovery"));
        assert!(ours.content() == theirs.content(), "{wire:?}");
    }
}

#[test]
fn one_dead_group_version_is_reported_as_in_kubectl() {
    let acme = || Group::new("acme.test");
    let version = |name: &str| Version::new(name).resource(Resource::new("anvils", "Anvil"));
    for wire in WIRES {
        for legacy in [false, true] {
            // Its backend is gone; it is empty; the only one of its group, or one of two.
            let groups = [
                acme().version(version("v1").stale()),
                acme().version(version("v2").stale()).version(version("v1")),
                acme().version(version("v2")).version(version("v1").stale()),
                acme().version(Version::new("v1")),
                acme().version(version("v2")).version(Version::new("v1")),
            ];
            for (turn, group) in groups.into_iter().enumerate() {
                let server = EmbeddedServer::builder().group(group).legacy_only(legacy);
                let Some(rig) = Rig::new(wire, server) else {
                    return;
                };
                for command in COMMANDS {
                    let what = format!("{wire:?} legacy: {legacy} {turn} {command:?}");
                    compare(
                        &what,
                        BOTH.map(|program| rig.run(program, command)),
                        Words::Same,
                    );
                }
                let [theirs, ours] = BOTH.map(|program| rig.tree(program).below("discovery"));
                assert!(
                    ours.content() == theirs.content(),
                    "{wire:?} {legacy} {turn}"
                );
                // From the files, and what they lack.
                let cached = ["api-resources", "--cached"];
                let what = format!("{wire:?} legacy: {legacy} {turn} cached");
                compare(
                    &what,
                    BOTH.map(|program| rig.run(program, &cached)),
                    Words::Same,
                );
            }
        }
    }
}

#[test]
fn several_dead_group_versions() {
    let Some(rig) = Rig::new(Wire::Plain, EmbeddedServer::builder().legacy_only(true)) else {
        return;
    };
    rig.control
        .fail_group_version("apps/v1", StatusCode::SERVICE_UNAVAILABLE, None);
    rig.control
        .fail_group_version("batch/v1", StatusCode::FORBIDDEN, None);
    rig.control
        .fail_group_version("v1", StatusCode::INTERNAL_SERVER_ERROR, None);
    rig.control
        .fail_group_version("policy/v1", StatusCode::NOT_FOUND, None);
    let text = Canned::text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n");
    rig.control
        .set_fault("/apis/autoscaling/v2", Fault::Answer(text));
    for command in COMMANDS {
        compare(
            &format!("{command:?}"),
            BOTH.map(|program| rig.run(program, command)),
            Words::Same,
        );
    }
}

#[test]
fn rejected_credentials_are_reported_as_in_kubectl() {
    let Some(rig) = Rig::new(Wire::Tls, EmbeddedServer::builder()) else {
        return;
    };
    let good = rig.server.kubeconfig();
    let line = good
        .lines()
        .find(|line| line.contains("token:"))
        .expect("a token");
    let wrong = good.replace(line, "    token: wrong");
    // (Without any, kubectl asks the terminal for a user and a password.)
    let password = good.replace(line, "    username: somebody\n    password: wrong");
    for (what, kubeconfig) in [("a wrong token", wrong), ("a password", password)] {
        let file = rig.path("other kubeconfig");
        std::fs::write(&file, kubeconfig).expect("a file");
        for command in COMMANDS {
            rig.clean();
            let runs =
                BOTH.map(|program| rig.run_with(program, &rig.root(program), &file, &[], command));
            assert_eq!(runs[0].code, Some(1), "{what}: {runs:?}");
            compare(&format!("{what} {command:?}"), runs, Words::Same);
            assert_eq!(rig.tree(Program::Ours).below("discovery").names(), [""; 0]);
        }
    }
}

#[test]
fn nobody_listens() {
    for wire in WIRES {
        let Some(rig) = Rig::new(wire, EmbeddedServer::builder()) else {
            return;
        };
        let nobody = Refused::new();
        let kubeconfig = rig
            .server
            .kubeconfig()
            .replace(&rig.server.addr().to_string(), &nobody.addr().to_string());
        let file = rig.path("other kubeconfig");
        std::fs::write(&file, kubeconfig).expect("a file");
        for command in COMMANDS {
            let runs =
                BOTH.map(|program| rig.run_with(program, &rig.root(program), &file, &[], command));
            assert_eq!(runs[0].code, Some(1), "{runs:?}");
            compare(&format!("{wire:?} {command:?}"), runs, Words::Same);
        }
        assert_eq!(rig.tree(Program::Ours).names(), [""; 0]);
    }
}
