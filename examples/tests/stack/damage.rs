//! Files that were cut off, garbled or mixed up: misses, and replaced.

use std::fs;

use embedded_apiserver::EmbeddedServer;
use http::StatusCode;

use super::rig::{HALF, Rig, found, groups};

/// Kinds of damage to a file: a name, and the new content.
fn damages(good: &[u8], other: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let middle = good.len() / 2;
    // The first byte, because one within a name makes another name, which no sum protects in
    // discovery files.
    let mut flipped = good.to_vec();
    flipped[0] ^= 0x10;
    let mut longer = good.to_vec();
    longer.extend_from_slice(b"{}");
    let mut garbage: Vec<u8> = (0..=255).cycle().take(good.len()).collect();
    garbage.rotate_left(7);
    vec![
        ("empty", Vec::new()),
        ("a byte", good[..1].to_vec()),
        ("cut in the middle", good[..middle].to_vec()),
        ("cut before the end", good[..good.len() - 2].to_vec()),
        ("a flipped bit", flipped),
        ("something after it", longer),
        ("garbage", garbage),
        ("zeros", vec![0; good.len()]),
        ("another's content", other.to_vec()),
    ]
}

/// Valid JSON that does not belong there.
const WRONG: [&str; 7] = [
    "{}\n",
    "null\n",
    "[]\n",
    "{\"kind\":\"Secret\",\"apiVersion\":\"v1\"}\n",
    "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":{}}\n",
    "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"apps/v1\",\"resources\":7}\n",
    "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"v2\",\"resources\":[]}\n",
];

#[tokio::test]
async fn damaged_discovery_files_are_fetched_again() {
    for (wire, order) in HALF {
        for legacy in [false, true] {
            let server = EmbeddedServer::builder().legacy_only(legacy);
            let rig = Rig::new(wire, order, server).await;
            let good = rig.program().discover().await;
            let before = rig.files();
            let dir = rig.root.path().join(rig.server_dir());
            let pairs = [
                ("servergroups.json", "v1/serverresources.json"),
                ("v1/serverresources.json", "apps/v1/serverresources.json"),
                ("apps/v1/serverresources.json", "servergroups.json"),
            ];
            for (name, other) in pairs {
                let mut damages = damages(&before.file(name).bytes, &before.file(other).bytes);
                damages.extend(WRONG.map(|wrong| (wrong, wrong.into())));
                for (what, content) in damages {
                    let what = format!("{wire:?} {order:?} {legacy} {name}: {what}");
                    fs::write(dir.join(name), content).expect("a file of ours");
                    rig.control.clear_log();
                    let again = rig.program().discover().await;
                    assert_eq!(found(&again), found(&good), "{what}");
                    assert!(groups(&again) == groups(&good), "{what}");
                    assert!(again.failed.is_empty(), "{what}");
                    // What is wrong with a file does not tell whether the server is a legacy one.
                    let asked = rig.taken().len();
                    let list = usize::from(legacy && name != "servergroups.json");
                    assert_eq!(asked, 2 + list, "{what}");
                    assert!(rig.files().content() == before.content(), "{what}");
                    rig.program().run().await;
                    assert_eq!(rig.taken().len(), 0, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn http_entries() {
    for (wire, order) in HALF {
        let server = EmbeddedServer::builder().crds(5);
        let rig = Rig::new(wire, order, server).await;
        let good = rig.program().discover().await;
        let entries = rig.entries();
        let dir = rig.root.path().join("http");
        let [first, second] = entries.names()[..] else {
            panic!("{:?}", entries.names());
        };
        for (name, other) in [(first, second), (second, first)] {
            let good_entry = &entries.file(name).bytes;
            let mut damages = damages(good_entry, &entries.file(other).bytes);
            for at in [31, 32, good_entry.len() / 2, good_entry.len() - 1] {
                let mut flipped = good_entry.clone();
                flipped[at] ^= 1;
                damages.push(("another flipped bit", flipped));
            }
            for (what, content) in damages {
                let what = format!("{wire:?} {order:?} {name}: {what}");
                let swapped = what.ends_with("another's content");
                fs::write(dir.join(name), content).expect("a file of ours");
                rig.control.clear_log();
                let again = rig.program().rediscover().await;
                let log = rig.taken();
                assert_eq!(log.len(), 2, "{what}");
                let with = |status| {
                    log.iter()
                        .filter(|entry| entry.status == Some(status))
                        .count()
                };
                // Of a good sum the store can't tell to which name it belongs. But the other's
                // validator does not fit, so that the server sends what is right.
                assert_eq!(with(StatusCode::OK), 1, "{what}");
                assert_eq!(with(StatusCode::NOT_MODIFIED), 1, "{what}");
                let unconditional = log
                    .iter()
                    .filter(|entry| entry.if_none_match().is_none())
                    .count();
                assert_eq!(unconditional, usize::from(!swapped), "{what}");
                assert_eq!(found(&again), found(&good), "{what}");

                // It was replaced: both are revalidated now.
                rig.program().rerun().await;
                let unchanged = [Some(StatusCode::NOT_MODIFIED); 2];
                assert_eq!(rig.take_statuses(), unchanged, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn something_else_in_the_place_of_a_file() {
    let rig = Rig::plain(EmbeddedServer::builder()).await;
    let good = rig.program().discover().await;
    let dir = rig.root.path().join(rig.server_dir());
    let list = dir.join("apps/v1/serverresources.json");

    // A link to something that is no list.
    let outside = rig.root.path().join("outside");
    fs::write(&outside, "not ours").expect("a file");
    fs::remove_file(&list).expect("it was there");
    std::os::unix::fs::symlink(&outside, &list).expect("a link");
    let again = rig.program().discover().await;
    assert_eq!(found(&again), found(&good));
    assert_eq!(fs::read(&outside).expect("it is still there"), b"not ours");

    // A directory: nothing can be renamed over it, and everything works all the same.
    fs::remove_file(&list).expect("a file or a link");
    fs::create_dir(&list).expect("a directory");
    let program = rig.program();
    assert_eq!(found(&program.discover().await), found(&good));
    rig.control.clear_log();
    assert_eq!(found(&program.discover().await), found(&good));
    assert_eq!(rig.taken().len(), 0);
}
