//! Names from a server, and addresses of servers, that would be paths to somewhere else.

use std::fs;

use discovery_client::Stack;
use embedded_apiserver::{Canned, EmbeddedServer, Fault, Group, Resource, Version};
use http::StatusCode;

use super::{
    events,
    rig::{HALF, Order, Rig, Wire, failed, found},
    tree::Tree,
};

fn bad_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "../../x",
        "..",
        ".",
        "a/b",
        "/etc/x",
        "a/../../../x",
        ".hidden",
        "nul\0x",
        "back\\slash",
        "a b",
        "é",
        "%2e%2e%2fx",
        "x\n",
    ]
    .map(str::to_owned)
    .into();
    names.push("x".repeat(5_000));
    names.push("x".repeat(254));
    names
}

fn version(name: &str) -> Version {
    Version::new(name).resource(Resource::new("anvils", "Anvil"))
}

/// Moves the cache some levels down, so that what leaves it is seen.
fn deep(rig: &Rig) -> (Stack, std::path::PathBuf) {
    deep_at(rig, &rig.server.url())
}

fn deep_at(rig: &Rig, address: &str) -> (Stack, std::path::PathBuf) {
    let root = rig.root.path().join("a/b/c/d");
    let stack = Stack::new(address, &root).expect("an address");
    (stack, root)
}

#[tokio::test]
async fn names_of_groups_and_versions() {
    for (wire, order) in HALF {
        for legacy in [false, true] {
            let what = format!("{wire:?} {order:?} legacy: {legacy}");
            let server = EmbeddedServer::builder().legacy_only(legacy);
            let rig = Rig::new(wire, order, server).await;
            let good = found(&rig.program().discover().await);
            rig.clean();
            let names = bad_names();
            for name in &names {
                rig.control
                    .set_group(Group::new(name).version(version("v1")));
            }
            let mixed = names.iter().fold(Group::new("mixed.test"), |group, name| {
                group.version(version(name))
            });
            rig.control.set_group(mixed.version(version("v1")));
            rig.control.clear_log();

            events::collect();
            let (stack, root) = deep(&rig);
            let program = rig.program_of(stack);
            let all = program.discover().await;
            let mut expected = good.clone();
            expected.push(("mixed.test/v1".into(), 1));
            expected.sort();
            assert_eq!(found(&all), expected, "{what}");
            assert_eq!(failed(&all), [""; 0], "{what}");
            // Names that are left out are told at DEBUG: a server can serve any number of them, at each request.
            let warnings = events::warnings(rig.root.path());
            assert_eq!(warnings, [""; 0], "{what}");
            for entry in rig.taken() {
                let rest = entry
                    .path
                    .trim_start_matches("/apis/")
                    .trim_start_matches("/api/");
                let known = expected.iter().any(|(name, _)| name == rest);
                assert!(
                    known || ["/api", "/apis"].contains(&&*entry.path),
                    "{what}: {}",
                    entry.path
                );
            }

            // Nothing outside, nothing inside but what is known.
            let tree = rig.tree();
            let inside = |name: &&str| name.starts_with("a/b/c/d/");
            assert!(
                tree.names().iter().all(inside),
                "{what}: {:?}",
                tree.names()
            );
            let files = Tree::of(&root).below(&rig.server_dir());
            assert_eq!(files.names().len(), 1 + expected.len(), "{what}");
            for name in files.names() {
                let group_version = name.trim_end_matches("/serverresources.json");
                let known = expected.iter().any(|(known, _)| known == group_version);
                assert!(known || name == "servergroups.json", "{what}: {name}");
            }

            // Those who ask for such names themselves get no files either, however good the answer.
            for (path, group_version) in [
                ("/apis/..%2f..%2fx/v1", "../../x/v1"),
                ("/apis/../v1", "../v1"),
                ("/apis/.hidden/v1", ".hidden/v1"),
                ("/apis/acme.test/..", "acme.test/.."),
                ("/apis/acme.test/%2e%2e", "acme.test/.."),
                ("/apis/a/../../x", "../x"),
                ("/api/..", ".."),
                ("/api/%2e%2e", ".."),
            ] {
                let list = format!(
                    r#"{{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"{group_version}","resources":[{{"name":"anvils","singularName":"anvil","namespaced":true,"kind":"Anvil","verbs":["list"]}}]}}"#
                );
                let answer = Fault::Answer(Canned::json(list.clone()));
                rig.control.set_fault(path, answer);
                for _ in 0..2 {
                    let (status, body) = program.get(path).await;
                    assert_eq!(status, StatusCode::OK, "{what}: {path}");
                    assert_eq!(body, list, "{what}: {path}");
                    assert_eq!(rig.take_paths(), [path], "{what}");
                }
            }
            assert!(rig.tree() == tree, "{what}");

            // The documents that were read back are as good.
            let (stack, _) = deep(&rig);
            assert_eq!(
                found(&rig.program_of(stack).discover().await),
                expected,
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn hostile_names_in_files_are_refused() {
    let rig = Rig::plain(EmbeddedServer::builder()).await;
    let good = rig.program().discover().await;
    // Somebody has put a list where a bad name in the groups would lead.
    let outside = rig.root.path().join("x/v1");
    fs::create_dir_all(&outside).expect("a directory");
    let list = r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"../../x/v1","resources":[{"name":"evil"}]}"#;
    fs::write(outside.join("serverresources.json"), list).expect("a file");
    let groups = rig
        .root
        .path()
        .join(rig.server_dir())
        .join("servergroups.json");
    let text = fs::read_to_string(&groups).expect("the groups");
    let evil = r#"{"name":"../../x","versions":[{"groupVersion":"../../x/v1","version":"v1"}],"preferredVersion":{"groupVersion":"../../x/v1","version":"v1"}},"#;
    let text = text.replacen("\"groups\":[", &format!("\"groups\":[{evil}"), 1);
    fs::write(&groups, text).expect("a file");
    rig.control.clear_log();
    let again = rig.program().discover().await;
    assert_eq!(found(&again), found(&good));
    assert_eq!(rig.taken().len(), 0);
}

#[tokio::test]
async fn addresses_that_leave_the_root() {
    for order in [Order::Kubectl, Order::LongLived] {
        // As kubectl sends them.
        for (base, sent) in [
            ("/../../x", "/x"),
            ("/a/../../../x", "/x"),
            ("/..", ""),
            ("/../127.0.0.1/../..", ""),
        ] {
            let server = EmbeddedServer::builder().base_path(sent);
            let rig = Rig::new(Wire::Plain, order, server).await;
            events::collect();
            let address = format!("http://{}{base}", rig.server.addr());
            let (stack, root) = deep_at(&rig, &address);
            let program = rig.program_of(stack);
            for _ in 0..2 {
                assert!(program.discover().await.snapshot.is_complete(), "{base}");
            }
            assert_eq!(rig.taken().len(), 2, "{base}");
            let warnings = events::warnings(rig.root.path());
            assert_eq!(warnings.len(), 1, "{base}: {warnings:#?}");

            // The HTTP cache's names are sums, whatever the address.
            let tree = rig.tree();
            assert_eq!(tree.names().len(), 2, "{base}: {:?}", tree.names());
            assert_eq!(Tree::of(&root.join("http")).names().len(), 2, "{base}");
        }
    }
}

#[test]
fn a_host_that_is_a_path_stays_in_the_root() {
    let root = tempfile::tempdir().expect("a directory");
    for address in ["http://..", "http://../..", "https://../x", "..", "../.."] {
        // Refused at once, or without a directory; never with one elsewhere.
        if let Ok(stack) = Stack::new(address, root.path()) {
            let text = format!("{stack:?}");
            assert!(text.contains("discovery_dir: None"), "{address}: {text}");
        }
    }
}
