//! Invalidating the outermost cache reaches those below; and answers when the server is gone.

use std::fs;

use embedded_apiserver::{EmbeddedServer, Group, Resource, Version};

use super::rig::{EVERY, HALF, Rig, failed, found, groups};

fn acme() -> Group {
    Group::new("acme.test").version(Version::new("v1").resource(Resource::new("anvils", "Anvil")))
}

#[tokio::test]
async fn a_new_resource_shows_after_invalidation() {
    for (wire, order) in EVERY {
        for legacy in [false, true] {
            let what = format!("{wire:?} {order:?} legacy: {legacy}");
            let server = EmbeddedServer::builder().crds(5).legacy_only(legacy);
            let rig = Rig::new(wire, order, server).await;
            let program = rig.program();
            program.run().await;
            rig.control.clear_log();
            rig.control.set_group(acme());
            let old = program.discover().await;
            assert!(old.snapshot.resources("acme.test/v1").is_none(), "{what}");
            assert_eq!(rig.taken().len(), 0, "{what}");

            rig.outermost(&program).invalidate();
            let new = program.discover().await;
            assert!(new.snapshot.is_complete() && new.failed.is_empty());
            assert!(new.snapshot.resources("acme.test/v1").is_some(), "{what}");
            let expected = if legacy {
                2 + new.snapshot.lists().len()
            } else {
                2
            };
            assert_eq!(rig.taken().len(), expected, "{what}");

            // For the next program as well, and for kubectl.
            let files = rig.files();
            assert!(
                files
                    .files
                    .contains_key("acme.test/v1/serverresources.json")
            );
            assert_eq!(found(&rig.program().discover().await), found(&new));
            assert_eq!(rig.taken().len(), 0, "{what}");
        }
    }
}

#[tokio::test]
async fn a_list_alone_is_new_after_invalidation() {
    for (wire, order) in EVERY {
        for legacy in [false, true] {
            let what = format!("{wire:?} {order:?} legacy: {legacy}");
            let server = EmbeddedServer::builder().crds(5).legacy_only(legacy);
            let rig = Rig::new(wire, order, server).await;
            let program = rig.program();
            program.run().await;
            let changed = rig.control.edit_group_version("apps/v1", |version| {
                version.resources.push(Resource::new("rockets", "Rocket"));
            });
            assert!(changed);
            let list = async || {
                let (status, list) = program.get("/apis/apps/v1").await;
                assert!(status.is_success(), "{what}: {status}");
                String::from_utf8(list.to_vec()).expect("text")
            };
            assert!(!list().await.contains("rockets"), "{what}");
            rig.outermost(&program).invalidate();
            assert!(list().await.contains("rockets"), "{what}");
            let found = program.discover().await;
            let apps = found.snapshot.resources("apps/v1").expect("a list");
            assert!(
                apps.resources.iter().any(|it| it.name == "rockets"),
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn known_groups_are_answered_when_the_server_is_gone() {
    for (wire, order) in HALF {
        for legacy in [false, true] {
            let what = format!("{wire:?} {order:?} legacy: {legacy}");
            let server = EmbeddedServer::builder().crds(5).legacy_only(legacy);
            let rig = Rig::new(wire, order, server).await;
            let cold = rig.program().discover().await;
            let dir = rig.root.path().join(rig.server_dir());
            for group in ["apps", "batch", "policy"] {
                fs::remove_dir_all(dir.join(group)).expect("its lists are there");
            }
            let program = rig.program();
            // Otherwise another test's server might get the port.
            let _port = rig.server.successor();
            let Rig { server, .. } = rig;
            server.shutdown().await;

            let partial = program.client.discover().await;
            let partial = partial.unwrap_or_else(|failure| panic!("{what}: {failure:?}"));
            let missing = ["apps/v1", "batch/v1", "policy/v1"];
            assert_eq!(failed(&partial), missing, "{what}");
            for (group_version, failure) in &partial.failed {
                assert!(
                    failure.is_transport(),
                    "{what} {group_version}: {failure:?}"
                );
            }
            assert!(groups(&partial) == groups(&cold), "{what}");
            let mut expected = found(&cold);
            expected.retain(|(name, _)| !missing.contains(&name.as_str()));
            assert_eq!(found(&partial), expected, "{what}");
        }
    }
}
