//! OpenAPI documents through the stack.

use embedded_apiserver::{EmbeddedServer, Group, Resource, Version};

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
        // Each time another process.
        let read_both = async || {
            let openapi = rig.program().client.openapi();
            for name in ["apps/v1", "acme.test/v1"] {
                let name = name.parse().expect("a group version");
                let document = openapi.v3_document(&name).await.expect("an answer");
                assert!(document.is_some());
            }
        };
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
            read_both().await;
            assert_eq!(holding(&marker), 1, "{wire:?} {order:?}");
            assert_eq!(holding("marker-"), 1, "{wire:?} {order:?}");
        }
        // The right ones are there still.
        rig.control.clear_log();
        read_both().await;
        assert_eq!(rig.take_paths(), ["/openapi/v3"], "{wire:?} {order:?}");
    }
}
