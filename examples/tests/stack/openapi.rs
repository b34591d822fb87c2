//! OpenAPI documents through the stack.

use discovery_examples::embedded::{EmbeddedServer, Group, Resource, Version};

use super::rig::{HALF, Rig};

fn group(document: &str) -> Group {
    let version = Version::new("v1").resource(Resource::new("anvils", "Anvil"));
    Group::new("acme.test").version(version.openapi(document))
}

/// A document whose hash is gone leaves the disk, also if another process has put it there.
#[tokio::test]
async fn documents_of_other_hashes_go() {
    for (wire, order) in HALF {
        let rig = Rig::new(wire, order, EmbeddedServer::builder()).await;
        let acme = "acme.test/v1".parse().expect("a group version");
        let apps = "apps/v1".parse().expect("a group version");
        let holding = |marker: &str| {
            let entries = rig.entries();
            let holds =
                |(content, _): &&(&[u8], u32)| String::from_utf8_lossy(content).contains(marker);
            entries.content().values().filter(holds).count()
        };
        for n in 0..3 {
            let marker = format!("marker-{n}");
            rig.control.set_group(group(&format!(
                r#"{{"openapi":"3.0.0","info":{{"title":"{marker}"}}}}"#
            )));
            // The index has a date and no entity tag: within a second it is the same to a server.
            rig.control.set_clock_offset(10 * n);
            // Each time another process.
            let openapi = rig.program().client.openapi();
            assert!(
                openapi
                    .v3_document(&apps)
                    .await
                    .expect("an answer")
                    .is_some()
            );
            assert!(
                openapi
                    .v3_document(&acme)
                    .await
                    .expect("an answer")
                    .is_some()
            );
            assert_eq!(holding(&marker), 1, "{wire:?} {order:?}");
            assert_eq!(holding("marker-"), 1, "{wire:?} {order:?}");
        }
        // The right ones are there still.
        rig.control.clear_log();
        let openapi = rig.program().client.openapi();
        assert!(
            openapi
                .v3_document(&apps)
                .await
                .expect("an answer")
                .is_some()
        );
        assert!(
            openapi
                .v3_document(&acme)
                .await
                .expect("an answer")
                .is_some()
        );
        assert_eq!(rig.take_paths(), ["/openapi/v3"], "{wire:?} {order:?}");
    }
}
